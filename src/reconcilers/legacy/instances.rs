//! What must be added to the status of an instance of v0.3? v0.3 wrote the references to class and plan into
//! the spec, and not into the status. All functions are pure.

use kube::Resource as _;

use crate::{
    caches::{Caches, ScopeCaches},
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind, ServiceInstanceSpec, ServiceInstanceStatus,
        common::{LocalObjectReference, ResolvedOffering},
        instance::InstanceProperties,
        scope::{BrokerObject as _, CatalogObject as _},
    },
    osb::{InstanceId, endpoint::bare_url},
};

/// The status with the class and plan that v0.3 requested. With them, a deletion needs neither the spec nor
/// the catalog.
#[must_use]
pub fn record(
    status: ServiceInstanceStatus,
    resolved: ResolvedOffering,
    instance_id: InstanceId,
    observed_update_requests: i64,
) -> ServiceInstanceStatus {
    ServiceInstanceStatus {
        instance_id,
        observed_update_requests,
        resolved: Some(resolved),
        // v0.3 wrote the defaults into the spec. They are still there unless a user has removed them.
        default_provision_parameters: None,
        ..status
    }
}

/// The class and plan that v0.3 requested for an instance. `None` if the status has them already, or if the
/// class does not exist.
#[must_use]
pub fn resolve(
    spec: &ServiceInstanceSpec,
    status: &ServiceInstanceStatus,
    namespace: &str,
    caches: &Caches,
) -> Option<ResolvedOffering> {
    if status.resolved.is_some() {
        return None;
    }
    match (named(spec.cluster_service_class_ref.as_ref()), named(spec.service_class_ref.as_ref())) {
        (Some(class), _) => {
            let plan = named(spec.cluster_service_plan_ref.as_ref());
            resolve_in::<ClusterWide>(ScopeKind::Cluster, (class, plan), status, None, &caches.cluster)
        }
        (None, Some(class)) => {
            let plan = named(spec.service_plan_ref.as_ref());
            let scope = ScopeKind::Namespace;
            resolve_in::<Namespaced>(scope, (class, plan), status, Some(namespace), &caches.namespaced)
        }
        (None, None) => None,
    }
}

fn resolve_in<S: Scope>(
    scope: ScopeKind,
    (class, plan): (&str, Option<&str>),
    status: &ServiceInstanceStatus,
    namespace: Option<&str>,
    caches: &ScopeCaches<S>,
) -> Option<ResolvedOffering> {
    let class_object = caches.class(namespace, class)?;
    let referred = plan.and_then(|plan| caches.plan(namespace, plan));
    // The reference in the spec may have changed since the request. The recorded properties have the plan of
    // the request.
    let properties = [&status.in_progress_properties, &status.external_properties];
    let requested =
        properties.into_iter().flatten().map(InstanceProperties::plan_id).find(|id| !id.is_empty());
    let plan_id = requested.or(referred.as_ref().map(|plan| &plan.common().external_id))?.clone();
    let plan_object = referred
        .filter(|plan| plan.common().external_id == plan_id)
        .or_else(|| caches.plans_by_external_id(namespace, class, plan_id.as_str()).pop());
    Some(ResolvedOffering {
        scope,
        broker: class_object.broker_name().to_owned(),
        broker_url: caches
            .broker(namespace, class_object.broker_name())
            .and_then(|broker| bare_url(&broker.common().url)),
        class: class.to_owned(),
        plan: plan_object.and_then(|plan| plan.meta().name.clone()).unwrap_or_default(),
        service_id: class_object.common().external_id.clone(),
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
        caches::tests::{entries, filled},
        crd::{
            ServiceClass, ServicePlan,
            class::CommonServiceClassSpec,
            instance::ProvisionStatus,
            plan::CommonServicePlanSpec,
            progress::DeletionStatus,
            scope::{ClassObject as _, PlanObject as _},
        },
    };

    fn in_namespace<K: kube::Resource>(mut object: K) -> K {
        object.meta_mut().namespace = Some("ns".into());
        object
    }

    fn plan(name: &str, id: &str) -> ServicePlan {
        let common = CommonServicePlanSpec { external_id: id.into(), ..CommonServicePlanSpec::default() };
        in_namespace(ServicePlan::build(name, "broker", "class", common))
    }

    fn stores() -> ScopeCaches<Namespaced> {
        let common = CommonServiceClassSpec { external_id: "service-id".into(), ..Default::default() };
        let class = in_namespace(ServiceClass::build("class", "broker", common));
        entries(vec![class], vec![plan("small", "small-id"), plan("large", "large-id")])
    }

    fn asked(id: &str) -> InstanceProperties {
        InstanceProperties { service_plan_external_id: id.into(), ..InstanceProperties::default() }
    }

    /// The plan that is found, and its id.
    fn found(class: &str, plan: Option<&str>, status: &ServiceInstanceStatus) -> Option<(String, String)> {
        let scope = ScopeKind::Namespace;
        let record = resolve_in::<Namespaced>(scope, (class, plan), status, Some("ns"), &stores())?;
        assert_eq!((&*record.broker, &*record.service_id), ("broker", "service-id"));
        Some((record.plan, record.plan_id.to_string()))
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
    fn what_is_on_record_is_not_looked_for() {
        let named = |name: &str| Some(LocalObjectReference { name: name.into() });
        let spec = ServiceInstanceSpec {
            service_class_ref: named("class"),
            service_plan_ref: named("small"),
            ..ServiceInstanceSpec::default()
        };
        let caches = filled(entries(vec![], vec![]), stores());
        let of = |status: &ServiceInstanceStatus| resolve(&spec, status, "ns", &caches);
        let settled = ServiceInstanceStatus {
            provision_status: ProvisionStatus::Provisioned,
            deprovision_status: DeletionStatus::Required,
            ..ServiceInstanceStatus::default()
        };
        let inherited = of(&settled);
        assert_eq!(inherited.as_ref().map(|record| &*record.plan_id), Some("small-id"));
        assert_eq!(of(&ServiceInstanceStatus { resolved: inherited, ..settled }), None);
    }
}
