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

/// State outside an instance that decisions about it depend on.
#[derive(Clone)]
pub struct InstanceDependencies {
    /// What every operation depends on.
    pub common: CommonDependencies,
    /// The class and plan that the references in the spec resolve to now.
    pub offering: Result<Offering, Unresolved>,
    /// The class and plan that the broker has acknowledged, if the plan is still in the cluster.
    pub acknowledged_offering: Option<Offering>,
    /// The class and plan of the request in progress, if the plan is still in the cluster.
    pub requested_offering: Option<Offering>,
    /// The class and plan that v0.3 requested, if the status does not have them yet.
    pub legacy: Option<ResolvedOffering>,
    /// The default parameters of the instance.
    pub defaults: Option<RawObject>,
    /// The bindings of this instance, by name.
    pub bindings: Vec<Arc<ServiceBinding>>,
    /// The annotations that requests have in their context, or `None` if the operator sends no annotations.
    pub context_annotations: Option<ContextAnnotations>,
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
    fn common(&self) -> &CommonDependencies {
        &self.common
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
        dependencies.common.parameters =
            Some(given.map(|given| reading::keep::<Self>(given, object, memory)));
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
    let broker = offering.as_ref().ok().map(|offering| &offering.broker);
    let brokers = (recorded, broker);
    let common = observe_common(decoded, brokers, decoded.needs_request(), replacement, context).await?;
    // They are asked for only by a deletion.
    let bindings = match object.metadata.deletion_timestamp {
        Some(_) => caches.bindings_of(namespace, &object.name_any()),
        None => Vec::new(),
    };
    let mut bindings: Vec<_> = bindings.iter().map(Cached::read).collect();
    // The cache has no order. Without sorting, the status would change without a reason.
    bindings.sort_unstable_by_key(|binding| binding.name_any());
    Ok(InstanceDependencies {
        common,
        offering,
        acknowledged_offering,
        requested_offering,
        // With invalid defaults nothing is provisioned.
        defaults: defaults.unwrap_or_default(),
        bindings,
        context_annotations: context.annotation_allowlist.context(
            caches.namespace(namespace).as_deref().map(kube::ResourceExt::annotations),
            object.annotations(),
        ),
        legacy,
    })
}
