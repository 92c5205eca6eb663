//! Which broker, class and plan an instance uses. They must not be deleted before it. Pure.

use crate::{
    caches::named::resolved,
    crd::{
        ScopeKind, ServiceInstance, ServiceInstanceStatus, instance::ProvisionStatus,
        progress::DeletionStatus,
    },
};

/// The objects that an instance uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Whether class and plan are cluster-wide.
    pub scope: ScopeKind,
    /// Name of the broker object. `None` for an instance of v0.3 without a record, which refers only to class
    /// and plan.
    pub broker: Option<&'a str>,
    /// Name of the class object.
    pub class: &'a str,
    /// Name of the object of the plan that the broker was last asked for.
    pub plan: &'a str,
    /// Id at the broker of the plan that the instance has. It is another plan while a change of plan is under
    /// way, and after the broker has refused one.
    pub present_plan: &'a str,
    /// The broker may have something for this instance, so it must get a request when the instance is
    /// deleted.
    pub at_broker: bool,
}

/// The objects that an instance uses. An instance that was never ordered uses none: its references are
/// resolved again each time, and a class that has left the catalog must not block a new class of the same
/// name.
#[must_use]
pub fn held(instance: &ServiceInstance) -> Option<Held<'_>> {
    let status = instance.status.as_ref()?;
    if status.deprovision_status == DeletionStatus::Succeeded {
        return None;
    }
    let resolved = resolved(instance)?;
    let at_broker = match &status.resolved {
        Some(_) => status.deprovision_status != DeletionStatus::NotRequired || is_under_way(status),
        // v0.3 wrote the references before it asked a broker.
        None if !was_ordered_by_v0_3(status) => return None,
        None => true,
    };
    Some(Held {
        scope: resolved.scope,
        broker: resolved.broker,
        class: resolved.class,
        plan: resolved.plan,
        present_plan: status.external_properties.as_ref().map_or("", |had| had.plan_id().as_str()),
        at_broker,
    })
}

fn was_ordered_by_v0_3(status: &ServiceInstanceStatus) -> bool {
    matches!(status.deprovision_status, DeletionStatus::Required | DeletionStatus::Failed)
        || status.provision_status == ProvisionStatus::Provisioned
        || is_under_way(status)
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
    use crate::crd::{
        ServiceInstanceSpec,
        common::{LocalObjectReference, ResolvedOffering},
        instance::InstanceOperation,
    };
    use crate::{
        crd::instance::InstanceProperties,
        osb::{PlanId, ServiceId},
    };

    fn instance(spec: ServiceInstanceSpec, status: ServiceInstanceStatus) -> ServiceInstance {
        let mut instance = ServiceInstance::new("db", spec);
        instance.status = Some(status);
        instance
    }

    fn recorded(deprovision_status: DeletionStatus) -> ServiceInstanceStatus {
        let resolved = Some(ResolvedOffering {
            scope: ScopeKind::Cluster,
            broker: "b".into(),
            broker_url: None,
            class: "c".into(),
            plan: "p".into(),
            service_id: ServiceId::default(),
            plan_id: PlanId::default(),
        });
        ServiceInstanceStatus { deprovision_status, resolved, ..ServiceInstanceStatus::default() }
    }

    #[test]
    fn an_instance_uses_what_it_ordered_until_its_deletion_is_complete() {
        for (deprovision_status, at_broker) in [
            (DeletionStatus::Unset, Some(true)),
            (DeletionStatus::Required, Some(true)),
            (DeletionStatus::Failed, Some(true)),
            (DeletionStatus::NotRequired, Some(false)),
            (DeletionStatus::Succeeded, None),
        ] {
            let instance = instance(ServiceInstanceSpec::default(), recorded(deprovision_status));
            let held = held(&instance);
            assert_eq!(held.map(|held| held.at_broker), at_broker, "{deprovision_status:?}");
            assert!(held.is_none_or(|held| (held.broker, held.class, held.plan) == (Some("b"), "c", "p")));
        }
    }

    #[test]
    fn an_instance_uses_its_present_plan_and_the_plan_that_it_asked_for() {
        let mut status = recorded(DeletionStatus::Required);
        let cluster_service_plan_external_id = "small-id".into();
        status.external_properties =
            Some(InstanceProperties { cluster_service_plan_external_id, ..InstanceProperties::default() });
        let moving = instance(ServiceInstanceSpec::default(), status);
        assert_eq!(held(&moving).map(|held| (held.plan, held.present_plan)), Some(("p", "small-id")));
    }

    #[test]
    fn a_mitigation_under_way_still_needs_the_broker() {
        let mut status = recorded(DeletionStatus::NotRequired);
        status.progress.orphan_mitigation_in_progress = true;
        assert!(held(&instance(ServiceInstanceSpec::default(), status)).unwrap().at_broker);
    }

    // v0.3 D3
    #[test]
    fn an_instance_of_v0_3_uses_what_the_references_in_its_spec_name() {
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
        let ordered = instance(spec.clone(), status(DeletionStatus::Required, InstanceOperation::None));
        let expected = Held {
            scope: ScopeKind::Namespace,
            broker: None,
            class: "c",
            plan: "p",
            present_plan: "",
            at_broker: true,
        };
        assert_eq!(held(&ordered), Some(expected));
        let ordering = instance(spec.clone(), status(DeletionStatus::Unset, InstanceOperation::Provision));
        assert_eq!(held(&ordering), Some(expected));
        assert_eq!(held(&instance(spec, ServiceInstanceStatus::default())), None);
        assert_eq!(held(&ServiceInstance::new("db", ServiceInstanceSpec::default())), None);
    }
}
