//! What is the next step for an instance? This file has the decisions that only instances have. All functions
//! are pure.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    Instance, InstanceView,
    desired::{DesiredInstance, desired_instance},
    phase::InstanceAction,
    requests, status,
};
use crate::{
    crd::{
        ConditionStatus::False, ConditionType::Ready, ServiceInstanceStatus, common::DeletionPolicy,
        condition::Conditioned as _,
    },
    reconcilers::{
        legacy,
        operation::{
            BrokerResource as _, NextStep, Phase, obstacle,
            steps::{PlanHooks, record_or, record_ready_and_wait, wait_until},
        },
        reason::Reason,
        reconciler::{Step, Wait},
        references::BrokerState,
        writes::Write,
    },
};

impl PlanHooks for Instance {
    fn legacy_record(view: &InstanceView<'_>) -> Option<ServiceInstanceStatus> {
        let resolved = view.dependencies.legacy.clone().filter(|_| view.status.resolved.is_none())?;
        let (id, requests) = (view.instance_id(), view.observed_update_requests());
        Some(legacy::instances::record(view.status_copy(), resolved, id, requests))
    }

    fn plan_present(view: &InstanceView<'_>, _: Option<Timestamp>) -> NextStep<Self> {
        if view.is_settled() {
            plan_settled(view)
        } else {
            Self::plan_request(view, InstanceAction::Update, None)
        }
    }

    fn plan_failed(view: &InstanceView<'_>) -> NextStep<Self> {
        if view.is_settled() {
            return plan_settled(view);
        }
        let action =
            if Self::exists(&view.status) { InstanceAction::Update } else { InstanceAction::Provision };
        Self::plan_request(view, action, None)
    }

    fn plan_request(
        view: &InstanceView<'_>,
        action: InstanceAction,
        not_before: Option<Timestamp>,
    ) -> NextStep<Self> {
        if action == InstanceAction::UpdateContext
            && view.is_spec_observed()
            && let Some(step) = plan_context_update(view, not_before)
        {
            return step;
        }
        // A change of the spec ends the wait.
        let wait = if view.spec_has_changed() { None } else { wait_until(view, not_before) };
        let desired = match desired_instance(view, action) {
            Ok(desired) => desired,
            Err(obstacle) => return obstacle::report_or_wait(view, &obstacle, wait),
        };
        match action {
            InstanceAction::Provision => plan_provision(view, &desired, wait),
            InstanceAction::Update | InstanceAction::UpdateContext => plan_update(view, &desired, wait),
        }
    }

    /// The bindings must be deleted before their instance. The operator deletes them if the setting
    /// `cascading_deletion` is on, unless the policy of one of them prevents it. Otherwise their users must delete
    /// them.
    fn plan_before_deletion(view: &InstanceView<'_>) -> Option<NextStep<Self>> {
        let bindings = &view.dependencies.bindings;
        if bindings.is_empty() {
            return None;
        }
        let names = bindings.iter().map(|binding| binding.name_any()).collect::<Vec<_>>().join(", ");
        if !view.settings.cascading_deletion {
            let message = format!(
                "All associated ServiceBindings must be removed before this ServiceInstance can be deleted: delete {names}"
            );
            let reason = Reason::DeprovisionBlockedByExistingCredentials;
            return Some(record_ready_and_wait(view, (False, reason, &message), Wait::ForChange));
        }
        let kept = bindings.iter().filter(|binding| binding.spec.deletion_policy == DeletionPolicy::Prevent);
        let kept = kept.map(|binding| binding.name_any()).collect::<Vec<_>>().join(", ");
        if !kept.is_empty() {
            let message = format!(
                "spec.deletionPolicy of these ServiceBindings is Prevent, so the operator deletes neither this ServiceInstance nor a \
                 ServiceBinding of it: {kept}. Set it to Delete or Retain"
            );
            let reason = Reason::DeprovisionBlockedByExistingCredentials;
            return Some(record_ready_and_wait(view, (False, reason, &message), Wait::ForChange));
        }
        let message =
            format!("The operator deletes the ServiceBindings of this ServiceInstance first: {names}");
        let to_delete = bindings.iter().filter(|binding| binding.metadata.deletion_timestamp.is_none());
        let writes: Vec<Write> = to_delete.map(|binding| Write::delete(&**binding)).collect();
        let mut status = view.status_copy();
        status.set_condition(Ready, False, Reason::ServiceBindingsDeletion, &message, view.now);
        let next = if writes.is_empty() { Step::Wait(Wait::ForChange) } else { Step::Write(writes) };
        Some(record_or(view, status, next))
    }

    fn may_take_effect_late(view: &InstanceView<'_>) -> bool {
        !Self::exists(&view.status)
    }
}

/// The next step after the operator has acted on the spec. The catalog or the annotations may have changed
/// since.
fn plan_settled(view: &InstanceView<'_>) -> NextStep<Instance> {
    let status = ServiceInstanceStatus {
        available_maintenance: status::available_maintenance(view, view.status.external_properties.as_ref()),
        ..view.status_copy()
    };
    if status != *view.status {
        return Step::Record(status);
    }
    let is_present = matches!(view.phase, Phase::Present { .. });
    let update = (is_present && have_annotations_changed(view)).then(|| plan_context_update(view, None));
    update.flatten().unwrap_or(Step::Wait(Wait::ForChange))
}

/// Whether annotations have changed since the last request, and the offering has `allow_context_updates`.
fn have_annotations_changed(view: &InstanceView<'_>) -> bool {
    let dependencies = view.dependencies;
    let acknowledged =
        view.status.external_properties.as_ref().and_then(|known| known.context_annotations.as_ref());
    let accepts_context_updates = dependencies
        .acknowledged_offering
        .as_ref()
        .is_some_and(|offering| offering.context_updatable && offering.broker_state == BrokerState::Present);
    accepts_context_updates
        && dependencies.context_annotations.is_some()
        && dependencies.context_annotations.as_ref() != acknowledged
}

fn plan_context_update(view: &InstanceView<'_>, not_before: Option<Timestamp>) -> Option<NextStep<Instance>> {
    let update = requests::context_update(view)?;
    Some(wait_until(view, not_before).unwrap_or(update))
}

fn plan_provision(
    view: &InstanceView<'_>,
    desired: &DesiredInstance<'_>,
    wait: Option<NextStep<Instance>>,
) -> NextStep<Instance> {
    let in_progress = view.status.in_progress_properties.as_ref();
    if view.has_unanswered_request() && in_progress.is_some_and(|properties| !desired.matches(properties)) {
        // The request may have taken effect. Another request with the same id would ask for a different
        // instance.
        return Step::Record(status::spec_changed_while_unanswered(view));
    }
    let DesiredInstance { offering, parameters, .. } = desired;
    let schema = (offering.schemas.provision.as_ref(), &*offering.plan_name);
    if let Err(obstacle) = obstacle::check_schema(view, parameters, schema) {
        return obstacle::report(view, &obstacle);
    }
    wait.unwrap_or_else(|| requests::provision(view, desired))
}

fn plan_update(
    view: &InstanceView<'_>,
    desired: &DesiredInstance<'_>,
    wait: Option<NextStep<Instance>>,
) -> NextStep<Instance> {
    let acknowledged = view.status.external_properties.as_ref();
    let differs = acknowledged.is_none_or(|acknowledged| !desired.matches(acknowledged));
    // A PATCH without plan and parameters would be an update of the context alone, which is allowed only if
    // the offering has `allow_context_updates`.
    let has_content =
        view.dependencies.is_plan_updatable(desired.offering) || desired.parameters.to_send().is_some();
    let forced = (view.is_update_requested() || view.status.unusable) && has_content;
    if !(differs || forced || view.has_unanswered_request()) {
        return record_or(view, status::up_to_date(view, desired.offering), Step::Wait(Wait::ForChange));
    }
    let DesiredInstance { offering, parameters, .. } = desired;
    let schema = offering.schemas.update.as_ref().filter(|_| requests::sends_parameters(view, desired));
    if let Err(obstacle) = obstacle::check_schema(view, parameters, (schema, &offering.plan_name)) {
        return obstacle::report(view, &obstacle);
    }
    wait.unwrap_or_else(|| requests::update(view, desired))
}
