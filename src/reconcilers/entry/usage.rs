//! Which broker, class and plan an instance holds on to: what must not be deleted from under it. Pure.

use crate::crd::{
    ScopeKind, ServiceInstance, ServiceInstanceStatus,
    common::LocalObjectReference,
    instance::{DeprovisionStatus, InstanceProperties, ProvisionStatus},
};

/// What an instance was ordered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Whether class and plan are cluster-wide.
    pub scope: ScopeKind,
    /// Name of the broker, where status records it. What the original left behind names only class and plan.
    pub broker: Option<&'a str>,
    /// Name of the class object.
    pub class: &'a str,
    /// Name of the plan object that the broker was last asked for.
    pub plan: &'a str,
    /// Id at the broker of the plan that the instance has. It is another one while a change of plan is under way, or after
    /// it was refused.
    pub present_plan: &'a str,
    /// The broker may have something for this instance, so it will have to be told when the instance is deleted.
    pub at_broker: bool,
}

/// What an instance holds on to. One that was never ordered holds nothing: its references are resolved anew each time,
/// and a class that has left the catalog must make room for its successor of the same name.
#[must_use]
pub fn held(instance: &ServiceInstance) -> Option<Held<'_>> {
    let status = instance.status.as_ref()?;
    if status.deprovision_status == DeprovisionStatus::Succeeded {
        return None;
    }
    let present_plan = status.external_properties.as_ref().map_or("", InstanceProperties::plan_id);
    let Some(record) = &status.resolved else {
        return held_by_original(instance, status, present_plan);
    };
    Some(Held {
        scope: record.scope,
        broker: Some(&record.broker),
        class: &record.class,
        plan: &record.plan,
        present_plan,
        at_broker: status.deprovision_status != DeprovisionStatus::NotRequired || is_under_way(status),
    })
}

/// An instance that the original ordered has no record in status before it is next worked on; its spec names the
/// objects.
fn held_by_original<'a>(
    instance: &'a ServiceInstance,
    status: &ServiceInstanceStatus,
    present_plan: &'a str,
) -> Option<Held<'a>> {
    let ordered = match status.deprovision_status {
        DeprovisionStatus::Required | DeprovisionStatus::Failed => true,
        DeprovisionStatus::Unset | DeprovisionStatus::NotRequired | DeprovisionStatus::Succeeded => {
            status.provision_status == ProvisionStatus::Provisioned || is_under_way(status)
        }
    };
    let spec = &instance.spec;
    let (scope, class, plan) = match &spec.cluster_service_class_ref {
        Some(class) => (ScopeKind::Cluster, Some(class), &spec.cluster_service_plan_ref),
        None => (ScopeKind::Namespace, spec.service_class_ref.as_ref(), &spec.service_plan_ref),
    };
    let plan = plan.as_ref().map_or("", |LocalObjectReference { name }| name);
    class.filter(|_| ordered).map(|class| Held {
        scope,
        broker: None,
        class: &class.name,
        plan,
        present_plan,
        at_broker: true,
    })
}

fn is_under_way(status: &ServiceInstanceStatus) -> bool {
    !status.current_operation.is_none()
        || status.progress.async_op_in_progress
        || status.progress.orphan_mitigation_in_progress
        || status.progress.unanswered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{ServiceInstanceSpec, common::ResolvedOffering, instance::InstanceOperation};

    fn instance(spec: ServiceInstanceSpec, status: ServiceInstanceStatus) -> ServiceInstance {
        let mut instance = ServiceInstance::new("db", spec);
        instance.status = Some(status);
        instance
    }

    fn recorded(deprovision_status: DeprovisionStatus) -> ServiceInstanceStatus {
        let resolved = Some(ResolvedOffering {
            scope: ScopeKind::Cluster,
            broker: "b".into(),
            class: "c".into(),
            plan: "p".into(),
            service_id: String::new(),
            plan_id: String::new(),
        });
        ServiceInstanceStatus { deprovision_status, resolved, ..ServiceInstanceStatus::default() }
    }

    #[test]
    fn what_was_ordered_is_held_until_its_deletion_is_complete() {
        for (deprovision_status, at_broker) in [
            (DeprovisionStatus::Unset, Some(true)),
            (DeprovisionStatus::Required, Some(true)),
            (DeprovisionStatus::Failed, Some(true)),
            (DeprovisionStatus::NotRequired, Some(false)),
            (DeprovisionStatus::Succeeded, None),
        ] {
            let instance = instance(ServiceInstanceSpec::default(), recorded(deprovision_status));
            let held = held(&instance);
            assert_eq!(held.map(|held| held.at_broker), at_broker, "{deprovision_status:?}");
            assert!(held.is_none_or(|held| (held.broker, held.class, held.plan) == (Some("b"), "c", "p")));
        }
    }

    #[test]
    fn the_plan_that_an_instance_has_is_held_beside_the_one_that_it_is_to_have() {
        let mut status = recorded(DeprovisionStatus::Required);
        let cluster_service_plan_external_id = "small-id".into();
        status.external_properties =
            Some(InstanceProperties { cluster_service_plan_external_id, ..InstanceProperties::default() });
        let moving = instance(ServiceInstanceSpec::default(), status);
        assert_eq!(held(&moving).map(|held| (held.plan, held.present_plan)), Some(("p", "small-id")));
    }

    #[test]
    fn a_mitigation_under_way_still_needs_the_broker() {
        let mut status = recorded(DeprovisionStatus::NotRequired);
        status.progress.orphan_mitigation_in_progress = true;
        assert!(held(&instance(ServiceInstanceSpec::default(), status)).unwrap().at_broker);
    }

    #[test]
    fn what_the_original_ordered_is_held_by_the_references_in_spec() {
        let name = |name: &str| Some(LocalObjectReference { name: name.into() });
        let spec = ServiceInstanceSpec {
            service_class_ref: name("c"),
            service_plan_ref: name("p"),
            ..ServiceInstanceSpec::default()
        };
        let status = |deprovision_status, current_operation| ServiceInstanceStatus {
            current_operation,
            deprovision_status,
            ..ServiceInstanceStatus::default()
        };
        let ordered = instance(spec.clone(), status(DeprovisionStatus::Required, InstanceOperation::None));
        let expected = Held {
            scope: ScopeKind::Namespace,
            broker: None,
            class: "c",
            plan: "p",
            present_plan: "",
            at_broker: true,
        };
        assert_eq!(held(&ordered), Some(expected));
        let ordering = instance(spec.clone(), status(DeprovisionStatus::Unset, InstanceOperation::Provision));
        assert_eq!(held(&ordering), Some(expected));
        assert_eq!(held(&instance(spec, ServiceInstanceStatus::default())), None);
        assert_eq!(held(&ServiceInstance::new("db", ServiceInstanceSpec::default())), None);
    }
}
