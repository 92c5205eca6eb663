//! What a broker's answer means for an instance, beside the answers to DELETE and to polls. Pure.

use std::time::Duration;

use super::{
    Fetching, Instance, InstanceReply, InstanceRequest, InstanceView,
    phase::InstanceAction,
    status::{self, CONTEXT_NOT_UPDATED, Details, PROVISIONED, UPDATED, ready},
};
use crate::{
    crd::{ServiceInstanceStatus, progress::DeletionStatus},
    osb::{
        self, RefusalReason,
        outcome::{Explanation, InstanceAnswer, Provisioned, Refusal, UnknownOutcome},
        wire::Target,
    },
    reconcilers::{
        memory::OperationMemory,
        messages::TOO_LONG,
        operation::{
            Address, AfterAnswer, Awaited, Call, OperationStatus as _,
            answers::AnswerHooks,
            call::RequestHooks as _,
            phase::Recorded,
            status::{back_off, failed, failed_with_orphan, has_taken_too_long, start_mitigation, try_again},
        },
        reason::Reason,
        reconciler::Next,
        writes::Write,
    },
};

impl AnswerHooks for Instance {
    fn absorb_reply(
        view: &InstanceView<'_>,
        reply: InstanceReply,
        _: &mut OperationMemory,
    ) -> (Vec<Vec<Write>>, AfterAnswer<Self>) {
        let next = match reply {
            InstanceReply::Provision(address, target, outcome) => {
                after_provision(view, address, target, outcome)
            }
            InstanceReply::Update(outcome) => Next::Record(after_update(view, outcome)),
            InstanceReply::Fetch(target, fetching, outcome) => {
                Next::Record(after_fetch(view, &target, &fetching, outcome))
            }
        };
        (vec![], next)
    }

    /// The broker tells what came of it, where it can be asked.
    fn operation_succeeded(view: &InstanceView<'_>, action: InstanceAction) -> AfterAnswer<Self> {
        let (fetching, words) = match action {
            InstanceAction::Provision => (Fetching::Provisioned, PROVISIONED),
            InstanceAction::Update | InstanceAction::UpdateContext => (Fetching::Updated, UPDATED),
        };
        let plan = view.dependencies.requested.as_ref().filter(|plan| plan.instances_retrievable);
        match plan.zip(Self::poll_target(view, Awaited::Operation(action))) {
            Some((plan, (address, target))) => {
                let target = Target { plan_id: plan.plan_id.clone(), ..target };
                Next::Call(Call::Request(address, InstanceRequest::Fetch(target, fetching)))
            }
            None => Next::Record(ready(view, Details::default(), words)),
        }
    }

    fn operation_failed(
        view: &InstanceView<'_>,
        action: InstanceAction,
        reason: Option<Reason>,
        why: &str,
        usable: Option<bool>,
    ) -> ServiceInstanceStatus {
        let mut status = with_usable(view.status_copy(), usable);
        match action {
            // The broker answered, so no late effect is to be expected.
            InstanceAction::Provision => {
                let call_failed = Reason::ProvisionCallFailed;
                let message = format!("Provision call failed: {why}");
                failed_with_orphan(
                    view,
                    status,
                    (call_failed, reason.unwrap_or(call_failed)),
                    &message,
                    false,
                )
            }
            // Whether or not the broker knows of an annotation, the instance is what it was.
            InstanceAction::UpdateContext if !status.unusable => {
                ready(view, Details::default(), CONTEXT_NOT_UPDATED)
            }
            // It is not known how far it came: the next update says everything.
            InstanceAction::Update | InstanceAction::UpdateContext => {
                status.progress.unanswered = true;
                let call_failed = Reason::UpdateInstanceCallFailed;
                let message = format!("Update call failed: {why}");
                failed(view, status, (call_failed, reason.unwrap_or(call_failed)), &message)
            }
        }
    }
}

fn after_provision(
    view: &InstanceView<'_>,
    address: Address,
    target: Target,
    outcome: osb::Outcome<Provisioned>,
) -> AfterAnswer<Instance> {
    if let osb::Outcome::Refused(refusal) = &outcome
        && is_perhaps_done(view, refusal)
    {
        let fetching = Fetching::Refused(refusal.message.clone());
        return Next::Call(Call::Request(address, InstanceRequest::Fetch(target, fetching)));
    }
    Next::Record(provision_answered(view, outcome))
}

/// Whether a refusal may mean that an earlier request without an answer has made the instance: no other instance has our
/// id, and some brokers answer every repetition with 409. Where the broker can be asked, it is.
fn is_perhaps_done(view: &InstanceView<'_>, refusal: &Refusal) -> bool {
    let retrievable = view.dependencies.requested.as_ref().is_some_and(|plan| plan.instances_retrievable);
    refusal.reason == RefusalReason::Conflict
        && view.is_id_derived()
        && retrievable
        && view.status.progress.unanswered
}

fn provision_answered(view: &InstanceView<'_>, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => {
            ready(view, Details { dashboard_url, ..Details::default() }, PROVISIONED)
        }
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => {
            status::accepted(view, operation, dashboard_url)
        }
        osb::Outcome::Refused(refusal) => provision_refused(view, &refusal),
        osb::Outcome::Unsent(unsent) => {
            let message = view.redactor().message("Error calling provision", &unsent.message);
            let status = without_effect(view.status_copy());
            retry_or_give_up(view, status, Reason::ErrorCallingProvision, &message, None)
        }
        osb::Outcome::Unknown(unknown) => provision_in_doubt(view, &unknown),
    }
}

/// This request had no effect. An earlier one without an answer may have had.
fn without_effect(mut status: ServiceInstanceStatus) -> ServiceInstanceStatus {
    if !status.progress.unanswered {
        status.deprovision_status = DeletionStatus::NotRequired;
    }
    status
}

fn provision_refused(view: &InstanceView<'_>, refusal: &Refusal) -> ServiceInstanceStatus {
    let message = view.redactor().message("Provision call failed", &refusal.message);
    let mut status = view.status_copy();
    // An id that the user gave and that something else has at the broker is not ours to delete.
    let foreign = refusal.reason == RefusalReason::Conflict && !view.is_id_derived();
    if foreign {
        status.progress.unanswered = false;
    }
    let for_good = foreign || refusal.reason == RefusalReason::BadRequest;
    if status.progress.unanswered && !for_good && !refusal.reason.is_passing() && view.is_id_derived() {
        // The same request will not get another answer, so no answer tells what the earlier one has left. A conflict even
        // says that it has left something: no other instance has our id.
        return perhaps_left_behind(view, &message);
    }
    let status = without_effect(status);
    if for_good {
        let reasons = (Reason::ProvisionCallFailed, Reason::ClusterServiceBrokerReturnedFailure);
        return give_up(view, status, reasons, &message);
    }
    retry_or_give_up(view, status, Reason::ProvisionCallFailed, &message, refusal.retry_after)
}

/// An earlier request was never answered, and its repetition is refused.
fn perhaps_left_behind(view: &InstanceView<'_>, message: &str) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    status.progress.retries += 1;
    let message = format!("{message}; this was the repetition of a request without an answer");
    start_mitigation(view, status, Reason::ProvisionCallFailed, &message, true)
}

fn provision_in_doubt(view: &InstanceView<'_>, unknown: &UnknownOutcome) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    let message = view.redactor().message("Provision call failed", &unknown.message);
    let reason = match unknown.status {
        Some(_) => Reason::ProvisionCallFailed,
        None => Reason::ErrorCallingProvision,
    };
    // 201 and 202 say that there was nothing before.
    if unknown.mitigate && (view.is_id_derived() || matches!(unknown.status, Some(201 | 202))) {
        status.progress.retries += 1;
        return start_mitigation(view, status, reason, &message, !unknown.answered);
    }
    status.progress.unanswered = true;
    retry_or_give_up(view, status, reason, &message, unknown.retry_after)
}

fn after_update(view: &InstanceView<'_>, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => {
            ready(view, Details { dashboard_url, ..Details::default() }, UPDATED)
        }
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => {
            status::accepted(view, operation, dashboard_url)
        }
        osb::Outcome::Refused(refusal) => {
            // 4xx to a PATCH: nothing was applied (OSB 2.17, "Service Broker Errors").
            let for_good =
                refusal.reason == RefusalReason::BadRequest || refusal.update_repeatable == Some(false);
            let unusable = refusal.instance_usable == Some(false);
            if is_context_update(view) && !refusal.reason.is_passing() && !unusable {
                return ready(view, Details::default(), CONTEXT_NOT_UPDATED);
            }
            let failure = (Reason::UpdateInstanceCallFailed, &refusal.message);
            let status = with_usable(view.status_copy(), refusal.instance_usable);
            not_updated(view, status, failure, for_good, refusal.retry_after)
        }
        osb::Outcome::Unsent(unsent) => {
            let message = view.redactor().message("Error calling update", &unsent.message);
            retry_or_give_up(view, view.status_copy(), Reason::ErrorCallingUpdateInstance, &message, None)
        }
        osb::Outcome::Unknown(unknown) => {
            let mut status = with_usable(view.status_copy(), unknown.instance_usable);
            status.progress.unanswered = true;
            let reason = match unknown.status {
                Some(_) => Reason::UpdateInstanceCallFailed,
                None => Reason::ErrorCallingUpdateInstance,
            };
            let for_good = unknown.update_repeatable == Some(false);
            not_updated(view, status, (reason, &unknown.message), for_good, unknown.retry_after)
        }
    }
}

fn is_context_update(view: &InstanceView<'_>) -> bool {
    view.status.operation() == Recorded::Operation(InstanceAction::UpdateContext)
}

/// Whether the instance can be used, as the broker says with a failed update. If it does not say, what it said before
/// still holds; and at first the instance can be used.
fn with_usable(status: ServiceInstanceStatus, usable: Option<bool>) -> ServiceInstanceStatus {
    let unusable = usable.map_or(status.unusable, |usable| !usable);
    ServiceInstanceStatus { unusable, ..status }
}

fn not_updated(
    view: &InstanceView<'_>,
    status: ServiceInstanceStatus,
    (reason, why): (Reason, &Explanation),
    for_good: bool,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    let message = view.redactor().message("Update call failed", why);
    if for_good {
        return failed(view, status, (reason, Reason::UpdateInstanceCallFailed), &message);
    }
    retry_or_give_up(view, status, reason, &message, retry_after)
}

/// The same request later, unless it has gone on for too long.
fn retry_or_give_up(
    view: &InstanceView<'_>,
    mut status: ServiceInstanceStatus,
    reason: Reason,
    message: &str,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    // Whether or not the broker knows of an annotation, the instance is what it was, unless the broker says otherwise.
    let as_it_was = is_context_update(view) && !status.unusable;
    match (has_taken_too_long(view, &status), as_it_was) {
        (true, true) => ready(view, Details::default(), CONTEXT_NOT_UPDATED),
        (true, false) => {
            let message = format!("{TOO_LONG}: {message}");
            give_up(view, status, (reason, Reason::ErrorReconciliationRetryTimeout), &message)
        }
        (false, true) => {
            back_off(view, &mut status, retry_after);
            status
        }
        (false, false) => try_again(view, status, reason, message, retry_after),
    }
}

/// The operator tries nothing more until the spec changes. What an earlier create without an answer may have left is
/// deleted.
fn give_up(
    view: &InstanceView<'_>,
    status: ServiceInstanceStatus,
    reasons: (Reason, Reason),
    message: &str,
) -> ServiceInstanceStatus {
    let creates = status.operation() == Recorded::Operation(InstanceAction::Provision);
    if status.progress.unanswered && creates && view.is_id_derived() {
        failed_with_orphan(view, status, reasons, message, true)
    } else {
        failed(view, status, reasons, message)
    }
}

fn after_fetch(
    view: &InstanceView<'_>,
    target: &Target,
    fetching: &Fetching,
    outcome: osb::Outcome<InstanceAnswer>,
) -> ServiceInstanceStatus {
    match (fetching, outcome) {
        (Fetching::Refused(_), osb::Outcome::Answered(answer))
            if answer.plan_id.as_ref().is_none_or(|plan| *plan == target.plan_id) =>
        {
            ready(view, answer.into(), PROVISIONED)
        }
        (Fetching::Refused(message), _) => {
            perhaps_left_behind(view, &view.redactor().message("Provision call failed", message))
        }
        // The poll said already that it succeeded. What the broker does not tell now stays as it is.
        (Fetching::Provisioned, outcome) => ready(view, details(outcome), PROVISIONED),
        (Fetching::Updated, outcome) => ready(view, details(outcome), UPDATED),
    }
}

fn details(outcome: osb::Outcome<InstanceAnswer>) -> Details {
    match outcome {
        osb::Outcome::Answered(answer) => answer.into(),
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => Details::default(),
    }
}
