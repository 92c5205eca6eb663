//! On what state outside the object do decisions about an instance depend? The state is read from the caches,
//! and Secrets from the API server.

use std::sync::Arc;

use kube::ResourceExt as _;

use super::{Instance, defaults};
use crate::{
    caches::{Caches, cached::Cached, kind::Kind},
    crd::{
        ServiceBinding, ServiceInstance,
        common::{BrokerKey, ResolvedOffering},
        instance::{ContextAnnotations, InstanceProperties},
    },
    json::RawObject,
    memory_budget::Reservation,
    osb,
    reconcilers::{
        context::Context,
        error::ReconcileError,
        legacy,
        operation::{
            Decoded,
            engine::ObserveHooks,
            ids::{self, IdHooks},
            reading,
            resource::{OperationDependencies, TakenId},
        },
        parameters::{self, Parameters, ParametersError},
        references::{
            self, Offering, Unresolved,
            replaced::{self, Replacement},
        },
    },
};

/// State outside an instance that decisions about it depend on.
#[derive(Clone)]
pub struct InstanceDependencies {
    /// The class and plan that the references in the spec resolve to now.
    pub offering: Result<Offering, Unresolved>,
    /// The id, if another instance has it.
    pub taken_id: Option<TakenId>,
    /// The class and plan that the broker has acknowledged, if the plan is still in the cluster.
    pub acknowledged_offering: Option<Offering>,
    /// The class and plan of the request in progress, if the plan is still in the cluster.
    pub requested_offering: Option<Offering>,
    /// The class and plan that v0.3 requested, if the status does not have them yet.
    pub legacy: Option<ResolvedOffering>,
    /// Why the operator cannot send a request to the broker, as far as it can tell without one. It is
    /// determined only when there is a request to send.
    pub precondition_error: Option<String>,
    /// The parameters, or `None` while they are not read.
    pub parameters: Option<Result<Parameters, ParametersError>>,
    /// The default parameters of the instance.
    pub defaults: Option<RawObject>,
    /// The bindings of this instance, by name.
    pub bindings: Vec<Arc<ServiceBinding>>,
    /// The uid of the namespace, or `None` while the cache does not have it.
    pub namespace_uid: Option<String>,
    /// The annotations that requests have in their context, or `None` if the operator sends no annotations.
    pub context_annotations: Option<ContextAnnotations>,
    /// The id of this cluster.
    pub cluster_id: String,
    /// Whether the object of the broker of the last request exists, or another one replaces it.
    pub recorded_broker_exists: bool,
    /// The class and plan of the broker object that replaces the recorded one, if one does.
    pub replacement: Replacement,
}

impl InstanceDependencies {
    /// The current state of a plan, if it is among those that were read.
    pub(super) fn plan(&self, id: &osb::PlanId) -> Option<&Offering> {
        let offerings = [
            self.offering.as_ref().ok(),
            self.acknowledged_offering.as_ref(),
            self.requested_offering.as_ref(),
        ];
        offerings.into_iter().flatten().find(|offering| offering.plan_id == *id)
    }

    /// Whether the instance may change to another plan. The plan that it has decides (OSB 2.17, "Updating a
    /// Service Instance"). If that plan is no longer in the cluster, the desired plan decides.
    pub(super) fn is_plan_updatable(&self, offering: &Offering) -> bool {
        self.acknowledged_offering.as_ref().unwrap_or(offering).plan_updatable
    }
}

impl OperationDependencies for InstanceDependencies {
    fn parameters(&self) -> Option<&Result<Parameters, ParametersError>> {
        self.parameters.as_ref()
    }

    fn recorded_broker_exists(&self) -> bool {
        self.recorded_broker_exists
    }

    fn replacement(&self) -> &Replacement {
        &self.replacement
    }

    fn namespace_uid(&self) -> Option<&str> {
        self.namespace_uid.as_deref()
    }

    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn precondition_error(&self) -> Option<&str> {
        self.precondition_error.as_deref()
    }

    fn taken_id(&self) -> Option<&TakenId> {
        self.taken_id.as_ref()
    }

    fn maximum_polling_duration(&self) -> Option<i64> {
        self.requested_offering.as_ref().or(self.acknowledged_offering.as_ref())?.maximum_polling_duration
    }
}

impl IdHooks for Instance {
    fn id(object: &Decoded<'_, Self>) -> String {
        object.instance_id().as_str().to_owned()
    }

    fn by_id(id: &str, caches: &Caches) -> Vec<Arc<ServiceInstance>> {
        caches.instances_by_id(id).iter().map(Cached::read).collect()
    }

    fn broker(object: &Decoded<'_, Self>, caches: &Caches) -> Option<BrokerKey> {
        match object.status.resolved.as_ref().filter(|_| object.may_exist()) {
            Some(record) => Some(references::recorded_broker(record, object.namespace())),
            None => Some(object.offering(caches).ok()?.broker),
        }
    }
}

impl ObserveHooks for Instance {
    fn kind(caches: &Caches) -> &Kind<ServiceInstance> {
        &caches.instances
    }

    async fn observe(
        object: &Arc<ServiceInstance>,
        context: &Context,
    ) -> Result<InstanceDependencies, ReconcileError> {
        let mut decoded = Decoded::<Self>::of(&**object);
        let replacement = decoded
            .status
            .resolved
            .as_ref()
            .filter(|_| decoded.may_exist())
            .and_then(|record| replaced::resolve(record, decoded.namespace(), &context.caches));
        if let Some(Ok(record)) = &replacement {
            // The status follows with the next write.
            decoded.status.to_mut().resolved = Some(record.clone());
        }
        observe(&decoded, replacement, context).await
    }

    async fn read_secrets(
        object: &ServiceInstance,
        dependencies: &mut InstanceDependencies,
        memory: Option<Reservation>,
        context: &Context,
    ) -> Result<(), ReconcileError> {
        let decoded = Decoded::<Self>::of(object);
        let sources = parameters::read(context, decoded.namespace(), &object.spec.parameters_from).await?;
        let given = parameters::merge(object.spec.parameters.as_ref(), &sources);
        let offering = dependencies.offering.as_ref().ok();
        let given = given.and_then(|given| {
            given.with_defaults(defaults::effective(&decoded, offering, &context.settings)?.as_ref())
        });
        dependencies.parameters = Some(given.map(|given| reading::keep::<Self>(given, object, memory)));
        Ok(())
    }
}

async fn observe(
    decoded: &Decoded<'_, Instance>,
    replacement: Replacement,
    context: &Context,
) -> Result<InstanceDependencies, ReconcileError> {
    let (object, status, namespace) = (decoded.object, &decoded.status, decoded.namespace());
    let caches = &context.caches;
    let legacy = decoded
        .may_exist()
        .then(|| legacy::instances::resolve(&object.spec, status, namespace, caches))
        .flatten();
    let recorded = status.resolved.as_ref().or(legacy.as_ref());
    let offering = decoded.offering(caches);
    let defaults = defaults::effective(decoded, offering.as_ref().ok(), &context.settings);
    let plan_of = |properties: Option<&InstanceProperties>| {
        let (record, properties) = recorded.zip(properties)?;
        references::resolve_recorded(record, properties.plan_id(), namespace, caches)
    };
    let (acknowledged_offering, requested_offering) =
        (plan_of(status.external_properties.as_ref()), plan_of(status.in_progress_properties.as_ref()));
    let precondition_error = match &offering {
        Ok(offering) if decoded.needs_request() => {
            context.brokers.precondition_error(caches, &offering.broker).await
        }
        Ok(_) | Err(_) => None,
    };
    let taken_id = if decoded.needs_request() || decoded.is_restored() {
        ids::taken(decoded, context).await?
    } else {
        None
    };
    // They are asked for only by a deletion.
    let bindings = match object.metadata.deletion_timestamp {
        Some(_) => caches.bindings_of(namespace, &object.name_any()),
        None => Vec::new(),
    };
    let mut bindings: Vec<_> = bindings.iter().map(Cached::read).collect();
    // The cache has no order. Without sorting, the status would change without a reason.
    bindings.sort_unstable_by_key(|binding| binding.name_any());
    Ok(InstanceDependencies {
        taken_id,
        offering,
        acknowledged_offering,
        requested_offering,
        precondition_error,
        parameters: None,
        // With invalid defaults nothing is provisioned.
        defaults: defaults.unwrap_or_default(),
        bindings,
        namespace_uid: caches.namespace_uid(namespace),
        context_annotations: context.annotation_allowlist.context(
            caches.namespace(namespace).as_deref().map(kube::ResourceExt::annotations),
            object.annotations(),
        ),
        cluster_id: context.cluster_id.clone(),
        recorded_broker_exists: recorded
            .is_some_and(|recorded| caches.has_broker(&references::recorded_broker(recorded, namespace))),
        replacement,
        legacy,
    })
}
