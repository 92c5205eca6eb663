//! What decisions about an instance depend on, read from the caches and, for Secrets, from the API server.

use std::sync::Arc;

use kube::ResourceExt as _;

use super::{Instance, defaults};
use crate::{
    caches::Caches,
    crd::{
        ServiceBinding, ServiceInstance,
        common::ResolvedOffering,
        instance::{ContextAnnotations, InstanceProperties},
    },
    json::RawObject,
    osb,
    reconcilers::{
        context::Context,
        error::ReconcileError,
        legacy,
        operation::{Standing, engine::ObserveHooks, resource::OperationDependencies},
        parameters::{self, Parameters, ParametersError},
        references::{self, Offering, Unresolved},
    },
};

/// State outside an instance that decisions about it depend on.
#[derive(Clone)]
pub struct InstanceDependencies {
    /// The class and plan that the references in spec mean now.
    pub offering: Result<Offering, Unresolved>,
    /// Another object, `namespace/name`, that has the `externalID` of this one at the same broker.
    pub external_id_owner: Option<String>,
    /// The plan that the broker has acknowledged, if it is still in the cluster.
    pub present: Option<Offering>,
    /// The plan that the operation under way is about, if it is still in the cluster.
    pub requested: Option<Offering>,
    /// What v0.3 ordered, where that is not on record yet.
    pub legacy: Option<ResolvedOffering>,
    /// Why the broker cannot be asked, as far as this cluster can tell. Determined only when it is to be asked.
    pub precondition_error: Option<String>,
    /// The parameters; `None` when no decision needs them.
    pub parameters: Option<Result<Parameters, ParametersError>>,
    /// The parameters that the instance has, or gets, without its spec.
    pub defaults: Option<RawObject>,
    /// The bindings of this instance, by name.
    pub bindings: Vec<Arc<ServiceBinding>>,
    /// Uid of the namespace; `None` while the cache does not have it.
    pub namespace_uid: Option<String>,
    /// The annotations that the broker gets in the context; `None` when it gets none ever.
    pub context_annotations: Option<ContextAnnotations>,
    /// The id of this cluster.
    pub cluster_id: String,
    /// Whether the object of the broker that was last asked exists.
    pub recorded_broker_exists: bool,
}

impl InstanceDependencies {
    /// A plan as it is now, as far as it was looked up.
    pub(super) fn plan(&self, id: &osb::PlanId) -> Option<&Offering> {
        let known = [self.offering.as_ref().ok(), self.present.as_ref(), self.requested.as_ref()];
        known.into_iter().flatten().find(|offering| offering.plan_id == *id)
    }

    /// Whether the instance may be moved to another plan. The plan that it has decides (OSB 2.17, "Updating a Service
    /// Instance"); when that is not in the cluster any more, the one that it is to have.
    pub(super) fn is_plan_updatable(&self, offering: &Offering) -> bool {
        self.present.as_ref().unwrap_or(offering).plan_updatable
    }
}

impl OperationDependencies for InstanceDependencies {
    fn release_memory(&mut self) {
        self.parameters = None;
    }

    fn parameters(&self) -> Option<&Result<Parameters, ParametersError>> {
        self.parameters.as_ref()
    }

    fn recorded_broker_exists(&self) -> bool {
        self.recorded_broker_exists
    }

    fn namespace_uid(&self) -> Option<&str> {
        self.namespace_uid.as_deref()
    }

    fn precondition_error(&self) -> Option<&str> {
        self.precondition_error.as_deref()
    }

    fn maximum_polling_duration(&self) -> Option<i64> {
        self.requested.as_ref().or(self.present.as_ref())?.maximum_polling_duration
    }
}

impl ObserveHooks for Instance {
    async fn observe(
        object: &Arc<ServiceInstance>,
        context: &Context,
    ) -> Result<InstanceDependencies, ReconcileError> {
        observe(&Standing::of(&**object), context).await
    }
}

async fn observe(
    standing: &Standing<'_, Instance>,
    context: &Context,
) -> Result<InstanceDependencies, ReconcileError> {
    let (object, status, namespace) = (standing.object, &standing.status, standing.namespace());
    let caches = &context.caches;
    let legacy = standing
        .may_exist()
        .then(|| legacy::instances::ordered(&object.spec, status, namespace, caches))
        .flatten();
    let recorded = status.resolved.as_ref().or(legacy.as_ref());
    let offering = standing.offering(caches);
    let defaults = defaults::in_force(standing, offering.as_ref().ok(), &context.settings);
    let parameters = if standing.needs_parameters(standing.asks()) {
        let sources = parameters::read(&context.client, namespace, &object.spec.parameters_from).await?;
        let given = parameters::merge(object.spec.parameters.as_ref(), &sources);
        Some(given.and_then(|given| given.over(defaults.clone()?.as_ref())))
    } else {
        None
    };
    let plan_of = |properties: Option<&InstanceProperties>| {
        let (record, properties) = recorded.zip(properties)?;
        references::recorded(record, properties.plan_id(), namespace, caches)
    };
    let (present, requested) =
        (plan_of(status.external_properties.as_ref()), plan_of(status.in_progress_properties.as_ref()));
    let (precondition_error, external_id_owner) = match &offering {
        Ok(offering) if standing.asks() => (
            context.brokers.precondition_error(caches, &offering.broker).await,
            external_id_owner(standing, offering, caches),
        ),
        Ok(_) | Err(_) => (None, None),
    };
    let mut bindings = caches.bindings_of(namespace, &object.name_any());
    // The cache has no order, and a status must not change with it.
    bindings.sort_unstable_by_key(|binding| binding.name_any());
    Ok(InstanceDependencies {
        external_id_owner,
        offering,
        present,
        requested,
        precondition_error,
        parameters,
        // Where the defaults are invalid, nothing is ordered.
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
        legacy,
    })
}

/// Another instance that has the user-given id of this one at the same broker: one that is there already, or an older
/// object. Without this check, a user of one namespace could bind to the instance of another, or delete it.
fn external_id_owner(
    standing: &Standing<'_, Instance>,
    offering: &Offering,
    caches: &Caches,
) -> Option<String> {
    let object = standing.object;
    let id = Some(&*object.spec.external_id).filter(|id| !id.is_empty() && !standing.may_exist())?;
    let age = |instance: &ServiceInstance| {
        (instance.metadata.creation_timestamp.clone().map(|time| time.0), instance.metadata.uid.clone())
    };
    let broker_of = |other: &Standing<'_, Instance>| match &other.status.resolved {
        Some(record) => Some(references::recorded_broker(record, other.namespace())),
        None => references::resolve(&other.object.spec.plan_reference, other.namespace(), caches)
            .ok()
            .map(|offering| offering.broker),
    };
    let mut others = caches.instances_by_external_id(id);
    others.extend(caches.instances_of_later_attempts());
    let owners = others.iter().filter(|other| {
        let other = Standing::<Instance>::of(other);
        other.uid() != standing.uid()
            && other.instance_id() == *id
            && (other.may_exist() || age(other.object) < age(object))
            && broker_of(&other).as_ref() == Some(&offering.broker)
    });
    // The cache has no order, and a status must not change with it.
    owners.map(|owner| format!("{}/{}", owner.namespace().unwrap_or_default(), owner.name_any())).min()
}
