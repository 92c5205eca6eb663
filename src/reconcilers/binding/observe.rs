//! On what state outside the object do decisions about a binding depend? The state is read from the caches,
//! and Secrets from the API server.

use std::sync::Arc;

use super::{
    Binding,
    credentials::{self, SourceSecrets},
    pods::{self, PodCount},
    restarts::{self, RestartState},
    rotation::{self, Role},
    secret::{self, SecretState, is_secret_lost},
};
use crate::{
    caches::{Caches, cached::Cached, kind::Kind},
    clock,
    crd::{
        ServiceBinding, ServiceInstance,
        common::{BrokerKey, ResolvedOffering},
        rotation::RotationStatus,
    },
    memory_budget::Reservation,
    osb::{BindingId, ids::normal_form},
    reconcilers::{
        context::Context,
        error::ReconcileError,
        instance::Instance,
        operation::{
            Decoded,
            dependencies::{CommonDependencies, OperationDependencies},
            engine::{ObserveHooks, observe_common},
            ids::IdHooks,
            reading,
        },
        parameters,
        references::{
            self, Offering, Unresolved,
            replaced::{self, Replacement},
        },
    },
};

/// State outside a binding that decisions about it depend on.
#[derive(Clone)]
pub struct BindingDependencies {
    /// What every operation depends on.
    pub common: CommonDependencies,
    /// The instance, if it exists.
    pub instance: Option<Arc<ServiceInstance>>,
    /// The class and plan that the references of the instance resolve to now. `None` if the instance does not
    /// exist.
    pub offering: Option<Result<Offering, Unresolved>>,
    /// The class and plan that the broker has acknowledged for the instance, if the plan is still in the
    /// cluster. The spec of the instance may ask for another plan.
    pub acknowledged_offering: Option<Offering>,
    /// How long an operation may be polled, in seconds, if the plan says so.
    pub maximum_polling_duration: Option<i64>,
    /// The Secrets that transforms copy keys from. They are read with the parameters, while the next answer may
    /// have credentials.
    pub source_secrets: SourceSecrets,
    /// The state of the Secret.
    pub secret: SecretState,
    /// The pods that the binding names, if the operator watches pods.
    pub pods: Option<PodCount>,
    /// What a restart of its pods depends on, if its pods are restarted.
    pub restart: Option<RestartState>,
    /// The binding at the broker that all of this is for.
    pub role: Role,
    /// The binding that the next one replaces, if its credentials are valid.
    pub predecessor: Option<BindingId>,
}

impl BindingDependencies {
    /// The instance with its decoded status.
    pub(super) fn instance(&self) -> Option<Decoded<'_, Instance>> {
        self.instance.as_deref().map(Decoded::of)
    }

    /// Whether the broker works on an operation of the instance. A broker may refuse other operations
    /// meanwhile, so the operator sends none (OSB 2.17, "Blocking Operations").
    pub(super) fn is_instance_operation_in_progress(&self) -> bool {
        let status = self.instance.as_ref().and_then(|instance| instance.status.as_ref());
        status.is_some_and(|status| status.progress.async_op_in_progress)
    }
}

impl OperationDependencies for BindingDependencies {
    fn common(&self) -> &CommonDependencies {
        &self.common
    }

    fn maximum_polling_duration(&self) -> Option<i64> {
        self.maximum_polling_duration
    }
}

impl IdHooks for Binding {
    fn id(object: &Decoded<'_, Self>) -> String {
        object.binding_id().as_str().to_owned()
    }

    fn has_id(object: &Decoded<'_, Self>, id: &str) -> bool {
        let other = object.status.rotation.as_ref().and_then(RotationStatus::other);
        let ids = [Some(object.binding_id()), other.map(|other| other.binding_id.clone())];
        ids.into_iter().flatten().any(|own| normal_form(own.as_str()) == id)
    }

    fn by_id(id: &str, caches: &Caches) -> Vec<Arc<ServiceBinding>> {
        caches.bindings_by_id(id).iter().map(Cached::read).collect()
    }

    /// The broker of the instance, as long as the broker has nothing of the binding.
    fn broker(object: &Decoded<'_, Self>, caches: &Caches) -> Option<BrokerKey> {
        if let Some(record) = object.status.resolved.as_ref().filter(|_| object.may_exist()) {
            return Some(references::recorded_broker(record, object.namespace()));
        }
        let instance = caches.instance(object.namespace(), &object.object.spec.instance_ref.name)?;
        Instance::broker(&Decoded::of(&*instance), caches)
    }
}

impl ObserveHooks for Binding {
    fn kind(caches: &Caches) -> &Kind<ServiceBinding> {
        &caches.bindings
    }

    async fn observe(
        object: &Arc<ServiceBinding>,
        context: &Context,
    ) -> Result<BindingDependencies, ReconcileError> {
        let mut decoded = Decoded::<Self>::of(&**object);
        let replacement = replacement(&decoded, &context.caches);
        if let Some(Ok(record)) = &replacement {
            // The status follows with the next write.
            decoded.status.to_mut().resolved = Some(record.clone());
        }
        let secret = secret::observe(&decoded, context).await?;
        if rotation::role(&decoded, &secret, clock::now()) == Role::Current {
            return observe(&decoded, secret, replacement, context).await;
        }
        let successor = rotation::successor_of(&decoded);
        let decoded = Decoded::of(&successor);
        let secret = secret::observe(&decoded, context).await?;
        let dependencies = observe(&decoded, secret, replacement, context).await?;
        Ok(BindingDependencies { role: Role::Successor, ..dependencies })
    }

    async fn read_secrets(
        object: &ServiceBinding,
        dependencies: &mut BindingDependencies,
        memory: Option<Reservation>,
        context: &Context,
    ) -> Result<(), ReconcileError> {
        let decoded = Decoded::<Self>::of(object);
        let namespace = decoded.namespace();
        let sources = parameters::read(context, namespace, &object.spec.parameters_from).await?;
        let given = parameters::merge(object.spec.parameters.as_ref(), &sources);
        drop(sources);
        let needs_request = decoded.needs_request(is_secret_lost(&dependencies.secret, &decoded));
        if decoded.awaits_credentials(needs_request)
            && credentials::names_secrets(&object.spec.secret_transforms)
        {
            let memory = memory.map(Arc::new);
            let transforms = &object.spec.secret_transforms;
            dependencies.source_secrets =
                SourceSecrets::read(context, namespace, transforms, memory.clone()).await?;
            dependencies.common.parameters = Some(given.map(|given| given.keeping(memory)));
        } else {
            dependencies.common.parameters =
                Some(given.map(|given| reading::keep::<Self>(given, object, memory)));
        }
        Ok(())
    }
}

/// The class and plan of the broker object that replaces the recorded one. A binding goes where its instance
/// has gone.
fn replacement(decoded: &Decoded<'_, Binding>, caches: &Caches) -> Replacement {
    let record = decoded.status.resolved.as_ref().filter(|_| decoded.may_exist())?;
    let namespace = decoded.namespace();
    let of_instance = caches.instance(namespace, &decoded.object.spec.instance_ref.name);
    let of_instance = of_instance.as_ref().and_then(|instance| instance.status.as_ref());
    let moved = of_instance
        .filter(|status| status.instance_id == decoded.status.instance_id)
        .and_then(|status| status.resolved.as_ref())
        .filter(|moved| {
            let is_same = (moved.scope, &moved.service_id) == (record.scope, &record.service_id);
            is_same && moved.broker != record.broker
        });
    match moved {
        // The plan object is shown only. The plan id stays the one of the bind.
        Some(moved) => Some(Ok(ResolvedOffering { plan_id: record.plan_id.clone(), ..moved.clone() })),
        None => replaced::resolve(record, namespace, caches),
    }
}

async fn observe(
    decoded: &Decoded<'_, Binding>,
    secret: SecretState,
    replacement: Replacement,
    context: &Context,
) -> Result<BindingDependencies, ReconcileError> {
    let (object, status, namespace) = (decoded.object, &decoded.status, decoded.namespace());
    let caches = &context.caches;
    let instance = caches.instance(namespace, &object.spec.instance_ref.name);
    let needs_request = decoded.needs_request(is_secret_lost(&secret, decoded));
    let of_instance = instance.as_ref().and_then(|instance| instance.status.as_ref());
    // The status of a binding of v0.3 does not have its class and plan until the status of its instance has
    // them.
    let recorded = status.resolved.as_ref().or(of_instance.and_then(|status| status.resolved.as_ref()));
    let offering = instance.as_ref().map(|instance| Decoded::<Instance>::of(instance).offering(caches));
    let broker =
        offering.as_ref().and_then(|offering| offering.as_ref().ok()).map(|offering| &offering.broker);
    let common = observe_common(decoded, (recorded, broker), needs_request, replacement, context).await?;
    let acknowledged =
        of_instance.and_then(|status| status.resolved.as_ref().zip(status.external_properties.as_ref()));
    Ok(BindingDependencies {
        common,
        offering,
        acknowledged_offering: acknowledged.and_then(|(record, properties)| {
            references::resolve_recorded(record, properties.plan_id(), namespace, caches)
        }),
        maximum_polling_duration: recorded
            .filter(|_| status.progress.async_op_in_progress)
            .and_then(|record| references::resolve_recorded(record, &record.plan_id, namespace, caches))
            .and_then(|offering| offering.maximum_polling_duration),
        source_secrets: SourceSecrets::default(),
        secret,
        pods: pods::count(object, caches),
        restart: restarts::observe(decoded, context).await?,
        instance,
        role: Role::default(),
        predecessor: None,
    })
}
