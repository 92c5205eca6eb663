//! What a binding asks for, and whether it can be asked for at present. Pure.

use kube::ResourceExt as _;

use super::{
    credentials,
    intent::Wanted,
    plan::Seen,
    secret::{SecretState, secret_name},
    verdict,
};
use crate::{
    crd::{ConditionType, common::ResolvedOffering, condition},
    reconcilers::{
        backoff::later, instance::phase as instance_phase, machine::Wait, offering::BrokerState,
        parameters::Parameters, reason::Reason, secret::taken,
    },
};

/// Why nothing can be asked of a broker at present.
pub(super) struct Blocked {
    pub reason: Reason,
    pub message: String,
    pub wait: Wait,
    /// For good: nothing that happens elsewhere will help.
    pub for_good: bool,
}

/// What is to be bound, if it can be.
pub(super) fn wanted(observed: &Seen) -> Result<Wanted<'_>, Blocked> {
    let world = &observed.world;
    let name = &observed.object.spec.instance_ref.name;
    let for_change = |reason, message| Blocked { reason, message, wait: Wait::ForChange, for_good: false };
    let instance = world.instance.as_ref().ok_or_else(|| {
        let message =
            format!("spec.instanceRef.name: there is no ServiceInstance {name:?} in this namespace (yet); if the name is wrong, delete this binding and create another");
        for_change(Reason::ReferencesNonexistentInstance, message)
    })?;
    if instance.metadata.deletion_timestamp.is_some() {
        let message = format!(
            "spec.instanceRef.name: the ServiceInstance {name:?} is being deleted, and waits for this binding to go; delete it"
        );
        return Err(for_change(Reason::ReferencesNonexistentInstance, message));
    }
    let offering = match &world.offering {
        Some(Ok(offering)) => offering,
        Some(Err(unresolved)) => {
            let message =
                format!("the ServiceInstance {name:?} has no class or plan (yet): {}", unresolved.message);
            return Err(for_change(Reason::ErrorInstanceRefsUnresolved, message));
        }
        None => {
            return Err(for_change(
                Reason::ErrorInstanceRefsUnresolved,
                "the class is not known yet".to_owned(),
            ));
        }
    };
    // Until the instance has been moved to the plan that its spec asks for, it has another.
    let plan = world.present.as_ref().unwrap_or(offering);
    if !plan.bindable {
        let message = format!(
            "the plan {:?} of the class {:?} is not bindable: there are no credentials to be had for it; delete this binding",
            plan.plan_name, plan.class
        );
        return Err(Blocked { for_good: true, ..for_change(Reason::ErrorNonbindableServiceClass, message) });
    }
    if offering.broker_state == BrokerState::Missing {
        let message = format!("the {} does not exist; create it again", offering.broker);
        return Err(for_change(Reason::ReferencesNonexistentBroker, message));
    }
    let instance_status = instance.status.clone().unwrap_or_default();
    let (Some(properties), true) =
        (&instance_status.external_properties, instance_phase::is_bindable(&instance_status))
    else {
        let message = if instance_status.unusable {
            format!(
                "the ServiceInstance {name:?} cannot be used since its update failed: see its conditions, and change its plan or parameters"
            )
        } else if condition::is_true(&instance_status.conditions, ConditionType::Failed) {
            format!(
                "the ServiceInstance {name:?} has failed: see its conditions; the binding goes on when the instance is ready"
            )
        } else {
            format!("the ServiceInstance {name:?} is not ready yet; the binding goes on when it is")
        };
        return Err(for_change(Reason::ErrorInstanceNotReady, message));
    };
    let (namespace_uid, parameters) = materials(observed)?;
    // An instance of the original does not record what it was resolved to.
    let resolved = instance_status.resolved.clone().unwrap_or_else(|| offering.to_record());
    Ok(Wanted {
        instance_id: instance_phase::instance_id(instance, &instance_status),
        resolved: ResolvedOffering { plan_id: properties.plan_id().to_owned(), ..resolved },
        retrievable: offering.bindings_retrievable,
        parameters,
        namespace_uid,
    })
}

/// What does not depend on the instance: the namespace, the parameters, a free name for the Secret.
fn materials(observed: &Seen) -> Result<(&str, &Parameters), Blocked> {
    let recheck = Wait::Until(later(observed.now, observed.tunables.recheck_interval));
    let blocked = |reason, message| Blocked { reason, message, wait: recheck, for_good: false };
    let namespace = observed.object.namespace().unwrap_or_default();
    if observed.world.secret == SecretState::Foreign {
        let refused = taken(&namespace, &secret_name(&observed.object));
        return Err(blocked(Reason::ErrorInjectingBindResult, refused.message));
    }
    let namespace_uid = observed.world.namespace_uid.as_deref().ok_or_else(|| {
        let message = "the namespace of the binding is not known yet; this mends itself".to_owned();
        blocked(Reason::ErrorFindingNamespaceForInstance, message)
    })?;
    let transforms = &observed.object.spec.secret_transforms;
    credentials::check(transforms, &namespace).map_err(|message| Blocked {
        for_good: true,
        ..blocked(Reason::ErrorInjectingBindResult, verdict::given_up(&message))
    })?;
    credentials::check_secrets(transforms, &observed.world.other_secrets)
        .map_err(|message| blocked(Reason::ErrorInjectingBindResult, message))?;
    if let Some(message) = &observed.world.hindrance {
        return Err(blocked(Reason::ErrorGettingAuthCredentials, message.clone()));
    }
    match &observed.world.parameters {
        Some(Ok(parameters)) => Ok((namespace_uid, parameters)),
        // What stands in the spec is announced when it changes.
        Some(Err(error)) if observed.object.spec.parameters_from.is_empty() => Err(Blocked {
            reason: Reason::ErrorWithParameters,
            message: error.message.clone(),
            wait: Wait::ForChange,
            for_good: false,
        }),
        Some(Err(error)) => Err(blocked(Reason::ErrorWithParameters, error.message.clone())),
        None => Err(blocked(
            Reason::ErrorWithParameters,
            "the parameters have not been read yet; this mends itself".to_owned(),
        )),
    }
}
