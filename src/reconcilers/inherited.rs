//! What the original has left in objects that this operator has not worked on yet.
//!
//! The original did not say in status what an instance was ordered as: it wrote references to class and plan into spec. It
//! goes on record once, as if the instance had been ordered here, and from then on nobody need know who ordered it.

use kube::{Resource as _, core::ObjectMeta};

use super::instance::phase;
use crate::{
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind, ServiceInstance, ServiceInstanceStatus,
        common::{LocalObjectReference, ResolvedOffering},
        instance::InstanceProperties,
        scope::{EntryObject as _, PlanObject as _},
    },
    stores::{ScopeStores, Stores},
};

/// What an instance of the original was ordered as. `None` for one that is on record or was never ordered, and while its
/// class is not there.
#[must_use]
pub fn ordered(
    instance: &ServiceInstance,
    status: &ServiceInstanceStatus,
    namespace: &str,
    stores: &Stores,
) -> Option<ResolvedOffering> {
    if status.resolved.is_some() || !phase::may_exist(status) {
        return None;
    }
    let spec = &instance.spec;
    match (named(spec.cluster_service_class_ref.as_ref()), named(spec.service_class_ref.as_ref())) {
        (Some(class), _) => {
            let plan = named(spec.cluster_service_plan_ref.as_ref());
            ordered_in::<ClusterWide>(ScopeKind::Cluster, (class, plan), status, None, &stores.cluster)
        }
        (None, Some(class)) => {
            let plan = named(spec.service_plan_ref.as_ref());
            let of = ScopeKind::Namespace;
            ordered_in::<Namespaced>(of, (class, plan), status, Some(namespace), &stores.namespaced)
        }
        (None, None) => None,
    }
}

fn ordered_in<S: Scope>(
    scope: ScopeKind,
    (class, plan): (&str, Option<&str>),
    status: &ServiceInstanceStatus,
    namespace: Option<&str>,
    stores: &ScopeStores<S>,
) -> Option<ResolvedOffering> {
    let class_object = stores.class(namespace, class)?;
    let referred = plan.and_then(|plan| stores.plan(namespace, plan));
    // The reference to the plan is of the spec as it is now; the broker was asked for what the properties say.
    let asked = [&status.in_progress_properties, &status.external_properties];
    let asked = asked.into_iter().flatten().map(InstanceProperties::plan_id).find(|id| !id.is_empty());
    let plan_id = asked.or(referred.as_ref().map(|plan| plan.external_id()))?.to_owned();
    let here = |object: &ObjectMeta| namespace.is_none() || object.namespace.as_deref() == namespace;
    let plan_object = referred.filter(|plan| plan.external_id() == plan_id).or_else(|| {
        stores
            .plans
            .find(|plan| here(plan.meta()) && plan.class_name() == class && plan.external_id() == plan_id)
    });
    Some(ResolvedOffering {
        scope,
        broker: class_object.broker_name().to_owned(),
        class: class.to_owned(),
        plan: plan_object.and_then(|plan| plan.meta().name.clone()).unwrap_or_default(),
        service_id: class_object.external_id().to_owned(),
        plan_id,
    })
}

fn named(reference: Option<&LocalObjectReference>) -> Option<&str> {
    reference.map(|reference| &*reference.name).filter(|name| !name.is_empty())
}
