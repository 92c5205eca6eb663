//! What does the spec of a binding ask for, and can the operator request it from the broker now? All
//! functions are pure.

use super::{
    Binding, BindingView, credentials,
    secret::{SecretState, secret_name},
    shape,
};
use crate::{
    crd::{ConditionType::Failed, common::ResolvedOffering},
    osb::InstanceId,
    reconcilers::{
        operation::{
            BrokerResource as _,
            obstacle::{self, Obstacle},
        },
        parameters::Parameters,
        reason::Reason,
        references::{BrokerState, Offering},
        writes::secret::name_taken,
    },
};

/// What the spec asks for, with all references resolved.
pub(super) struct DesiredBinding<'a> {
    pub instance_id: InstanceId,
    /// The class, and the plan that the broker has acknowledged for the instance.
    pub resolved: ResolvedOffering,
    pub retrievable: bool,
    /// The plan that the broker has acknowledged for the instance, if it is still in the cluster, or the one that
    /// the spec of the instance asks for.
    pub plan: &'a Offering,
    pub parameters: &'a Parameters,
    pub namespace_uid: &'a str,
}

/// What the spec asks for, or the reason why the operator cannot send a request for it.
pub(super) fn desired_binding<'a>(view: &'a BindingView<'_>) -> Result<DesiredBinding<'a>, Obstacle> {
    let dependencies = view.dependencies;
    let name = &view.object.spec.instance_ref.name;
    let instance = dependencies.instance().ok_or_else(|| {
        let message =
            format!("spec.instanceRef.name: there is no ServiceInstance {name:?} in this namespace (yet); if the name is wrong, delete this binding and create another");
        Obstacle::until_change(Reason::ReferencesNonexistentInstance, message)
    })?;
    if instance.is_being_deleted() {
        let message = format!(
            "spec.instanceRef.name: the ServiceInstance {name:?} is being deleted, and waits for this binding to go; delete it"
        );
        return Err(Obstacle::until_change(Reason::ReferencesNonexistentInstance, message));
    }
    let offering = bindable_offering(view, name)?;
    let Some(properties) = instance.status.external_properties.as_ref().filter(|_| instance.is_bindable())
    else {
        let message = if instance.status.unusable {
            format!(
                "the ServiceInstance {name:?} cannot be used since its update failed: see its conditions, and change its plan or parameters"
            )
        } else if instance.is_true(Failed) {
            format!(
                "the ServiceInstance {name:?} has failed: see its conditions; the binding goes on when the instance is ready"
            )
        } else {
            format!("the ServiceInstance {name:?} is not ready yet; the binding goes on when it is")
        };
        return Err(Obstacle::until_change(Reason::ErrorInstanceNotReady, message));
    };
    let namespace_uid = obstacle::namespace_uid(view)?;
    check_secret(view)?;
    let parameters = obstacle::parameters(view)?;
    // These Secrets are read with the parameters.
    credentials::check_secrets(&view.object.spec.secret_transforms, &dependencies.source_secrets)
        .map_err(|message| Obstacle::until_recheck(Reason::ErrorInjectingBindResult, message))?;
    // The status of an instance of v0.3 does not have its class and plan.
    let resolved = instance.status.resolved.clone().unwrap_or_else(|| offering.to_record());
    Ok(DesiredBinding {
        instance_id: instance.instance_id(),
        resolved: ResolvedOffering { plan_id: properties.plan_id().clone(), ..resolved },
        retrievable: offering.bindings_retrievable,
        plan: dependencies.acknowledged_offering.as_ref().unwrap_or(offering),
        parameters,
        namespace_uid,
    })
}

/// The offering of the instance, if its plan is bindable.
fn bindable_offering<'a>(view: &'a BindingView<'_>, instance: &str) -> Result<&'a Offering, Obstacle> {
    let dependencies = view.dependencies;
    let offering = match &dependencies.offering {
        Some(Ok(offering)) => offering,
        Some(Err(unresolved)) => {
            let message = format!(
                "the ServiceInstance {instance:?} has no class or plan (yet): {}",
                unresolved.message
            );
            return Err(Obstacle::until_change(Reason::ErrorInstanceRefsUnresolved, message));
        }
        None => {
            let message = "the class of the instance is not known yet".to_owned();
            return Err(Obstacle::until_change(Reason::ErrorInstanceRefsUnresolved, message));
        }
    };
    // The acknowledged plan decides, as the spec of the instance may ask for another one.
    let plan = dependencies.acknowledged_offering.as_ref().unwrap_or(offering);
    if !plan.bindable {
        let message = format!(
            "the plan {:?} of the class {:?} is not bindable: it has no credentials; delete this binding",
            plan.plan_name, plan.class
        );
        return Err(Obstacle::until_spec_change(Reason::ErrorNonbindableServiceClass, message));
    }
    if offering.broker_state == BrokerState::Missing {
        let message = format!("the {} does not exist; create it again", offering.broker);
        return Err(Obstacle::until_change(Reason::ReferencesNonexistentBroker, message));
    }
    Ok(offering)
}

/// Whether the credentials can be written: the name of the Secret is free, and the transforms and the shape can be applied.
fn check_secret(view: &BindingView<'_>) -> Result<(), Obstacle> {
    let reason = Reason::ErrorInjectingBindResult;
    if view.dependencies.secret == SecretState::NotOwned {
        let rejected = name_taken(view.namespace(), &secret_name(view.object));
        return Err(Obstacle::until_recheck(reason, rejected.message));
    }
    let spec = &view.object.spec;
    credentials::check(&spec.secret_transforms, view.namespace()).map_err(|message| {
        Obstacle::until_spec_change(reason, format!("{message}; {}", Binding::TEXTS.after_giving_up))
    })?;
    shape::check(&spec.secret).map_err(|message| Obstacle::until_spec_change(reason, message))
}
