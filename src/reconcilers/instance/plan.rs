//! What comes next for an instance, beside what all kinds have in common. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    Instance, InstanceView,
    desired::{DesiredInstance, desired_instance},
    phase::InstanceAction,
    requests, status,
};
use crate::{
    crd::{ConditionStatus::False, ConditionType::Ready, ServiceInstanceStatus, condition::Conditioned as _},
    reconcilers::{
        legacy,
        operation::{
            BrokerResource as _, NextStep, Phase, obstacle,
            plan::{PlanHooks, record_or, say, wait_until},
        },
        reason::Reason,
        reconciler::{Step, Wait},
        references::BrokerState,
        writes::Write,
    },
};

impl PlanHooks for Instance {
    fn legacy_record(view: &InstanceView<'_>) -> Option<ServiceInstanceStatus> {
        let ordered = view.dependencies.legacy.clone().filter(|_| view.status.resolved.is_none())?;
        let (id, requests) = (view.instance_id(), view.seen_update_requests());
        Some(legacy::instances::record(view.status_copy(), ordered, id, requests))
    }

    fn plan_present(view: &InstanceView<'_>, _: Option<Timestamp>) -> NextStep<Self> {
        if view.is_at_rest() {
            plan_rest(view)
        } else {
            Self::plan_request(view, InstanceAction::Update, None)
        }
    }

    fn plan_failed(view: &InstanceView<'_>) -> NextStep<Self> {
        if view.is_at_rest() {
            return plan_rest(view);
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
            && view.is_seen()
            && let Some(step) = plan_context_update(view, not_before)
        {
            return step;
        }
        let desired = match desired_instance(view, action) {
            Ok(desired) => desired,
            Err(obstacle) => return obstacle::report(view, &obstacle),
        };
        // Another spec is acted on at once.
        let wait = if view.spec_has_changed() { None } else { wait_until(view, not_before) };
        match action {
            InstanceAction::Provision => plan_provision(view, &desired, wait),
            InstanceAction::Update | InstanceAction::UpdateContext => plan_update(view, &desired, wait),
        }
    }

    /// Bindings are deleted before their instance: by the operator where it is set so, else by their users.
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
            return Some(say(view, (False, reason, &message), Wait::ForChange));
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

    fn may_create_late(view: &InstanceView<'_>) -> bool {
        !Self::exists(&view.status)
    }
}

/// The spec has been acted on. The catalog or the annotations may still have changed.
fn plan_rest(view: &InstanceView<'_>) -> NextStep<Instance> {
    let shown = ServiceInstanceStatus {
        available_maintenance: status::available_maintenance(view, view.status.external_properties.as_ref()),
        ..view.status_copy()
    };
    if shown != *view.status {
        return Step::Record(shown);
    }
    let is_present = matches!(view.phase, Phase::Present { .. });
    let update = (is_present && have_annotations_changed(view)).then(|| plan_context_update(view, None));
    update.flatten().unwrap_or(Step::Wait(Wait::ForChange))
}

/// Whether annotations have changed since the broker was last told, and the offering asks to be told.
fn have_annotations_changed(view: &InstanceView<'_>) -> bool {
    let dependencies = view.dependencies;
    let acknowledged =
        view.status.external_properties.as_ref().and_then(|known| known.context_annotations.as_ref());
    let wants = dependencies
        .present
        .as_ref()
        .is_some_and(|present| present.context_updatable && present.broker_state == BrokerState::Present);
    wants
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
    let asked = view.status.in_progress_properties.as_ref();
    if view.is_in_doubt() && asked.is_some_and(|asked| !desired.is(asked)) {
        // The request may have taken effect. A different one under the same id would be for another instance.
        return Step::Record(status::asked_for_something_else(view));
    }
    wait.unwrap_or_else(|| requests::provision(view, desired))
}

fn plan_update(
    view: &InstanceView<'_>,
    desired: &DesiredInstance<'_>,
    wait: Option<NextStep<Instance>>,
) -> NextStep<Instance> {
    let acknowledged = view.status.external_properties.as_ref();
    let differs = acknowledged.is_none_or(|acknowledged| !desired.is(acknowledged));
    // An update that says nothing would be one of the context alone, which an offering has to allow.
    let says_something =
        view.dependencies.is_plan_updatable(desired.offering) || desired.parameters.to_send().is_some();
    let forced = (view.is_update_requested() || view.status.unusable) && says_something;
    if !(differs || forced || view.is_in_doubt()) {
        return record_or(view, status::up_to_date(view, desired.offering), Step::Wait(Wait::ForChange));
    }
    wait.unwrap_or_else(|| requests::update(view, desired))
}
