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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crd::{
            ServiceClass, ServiceInstanceSpec, ServicePlan,
            class::CommonServiceClassSpec,
            instance::{DeprovisionStatus, ProvisionStatus},
            plan::CommonServicePlanSpec,
            scope::ClassObject as _,
        },
        stores::tests::{entries, filled},
    };

    fn in_namespace<K: kube::Resource>(mut object: K) -> K {
        object.meta_mut().namespace = Some("ns".into());
        object
    }

    fn plan(name: &str, id: &str) -> ServicePlan {
        let common = CommonServicePlanSpec { external_id: id.into(), ..CommonServicePlanSpec::default() };
        in_namespace(ServicePlan::build(name, "broker", "class", common))
    }

    fn stores() -> ScopeStores<Namespaced> {
        let common = CommonServiceClassSpec { external_id: "service-id".into(), ..Default::default() };
        let class = in_namespace(ServiceClass::build("class", "broker", common));
        entries(vec![class], vec![plan("small", "small-id"), plan("large", "large-id")])
    }

    fn asked(id: &str) -> InstanceProperties {
        InstanceProperties { service_plan_external_id: id.to_owned(), ..InstanceProperties::default() }
    }

    /// The plan that is found, and its id.
    fn found(class: &str, plan: Option<&str>, status: &ServiceInstanceStatus) -> Option<(String, String)> {
        let scope = ScopeKind::Namespace;
        let record = ordered_in::<Namespaced>(scope, (class, plan), status, Some("ns"), &stores())?;
        assert_eq!((&*record.broker, &*record.service_id), ("broker", "service-id"));
        Some((record.plan, record.plan_id))
    }

    #[test]
    fn the_plan_is_the_one_that_the_broker_was_last_asked_for() {
        let pair = |name: &str, id: &str| Some((name.to_owned(), id.to_owned()));
        let status = |in_progress_properties, external_properties| ServiceInstanceStatus {
            in_progress_properties,
            external_properties,
            ..ServiceInstanceStatus::default()
        };
        let settled = status(None, Some(asked("small-id")));
        assert_eq!(found("class", Some("small"), &settled), pair("small", "small-id"));
        // The spec names another plan by now, or the webhook has taken the reference away.
        assert_eq!(found("class", Some("large"), &settled), pair("small", "small-id"));
        assert_eq!(found("class", None, &settled), pair("small", "small-id"));
        let updating = status(Some(asked("large-id")), Some(asked("small-id")));
        assert_eq!(found("class", Some("large"), &updating), pair("large", "large-id"));
        // The broker is told the id even when there is no object any more.
        assert_eq!(found("class", None, &status(None, Some(asked("gone-id")))), pair("", "gone-id"));
        assert_eq!(found("class", Some("large"), &status(None, None)), pair("large", "large-id"));
        assert_eq!(found("class", None, &status(None, None)), None);
        assert_eq!(found("another", Some("small"), &settled), None);
    }

    #[test]
    fn what_is_on_record_or_was_never_ordered_is_not_inherited() {
        let named = |name: &str| Some(LocalObjectReference { name: name.into() });
        let spec = ServiceInstanceSpec {
            service_class_ref: named("class"),
            service_plan_ref: named("small"),
            ..ServiceInstanceSpec::default()
        };
        let instance = ServiceInstance::new("db", spec);
        let stores = filled(entries(vec![], vec![]), stores());
        let of = |status: &ServiceInstanceStatus| ordered(&instance, status, "ns", &stores);
        assert_eq!(of(&ServiceInstanceStatus::default()), None);
        let settled = ServiceInstanceStatus {
            provision_status: ProvisionStatus::Provisioned,
            deprovision_status: DeprovisionStatus::Required,
            ..ServiceInstanceStatus::default()
        };
        let inherited = of(&settled);
        assert_eq!(inherited.as_ref().map(|record| &*record.plan_id), Some("small-id"));
        assert_eq!(of(&ServiceInstanceStatus { resolved: inherited, ..settled }), None);
    }
}
