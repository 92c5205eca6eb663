//! What does an answer to PUT, PATCH or GET mean for an instance? The answers to DELETE and to polls are in
//! `operation::answers`. All functions are pure.

use std::time::Duration;

use super::{
    FetchPurpose, Instance, InstanceReply, InstanceRequest, InstanceView,
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
        messages::RETRY_TIMEOUT,
        operation::{
            Address, AfterAnswer, Awaited, Call, OperationStatus as _,
            answers::AnswerHooks,
            call::RequestHooks as _,
            phase::CurrentOperation,
            status::{
                back_off, failed, failed_with_orphan, has_taken_too_long, is_repeated, start_mitigation,
                try_again,
            },
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
            InstanceReply::Fetch(target, purpose, outcome) => {
                Next::Record(after_fetch(view, &target, &purpose, outcome))
            }
        };
        (vec![], next)
    }

    /// If instances of the offering can be fetched, the operator fetches the instance for its dashboard URL
    /// and version (OSB 2.17, "Fetching a Service Instance").
    fn operation_succeeded(view: &InstanceView<'_>, action: InstanceAction) -> AfterAnswer<Self> {
        let (purpose, condition) = match action {
            InstanceAction::Provision => (FetchPurpose::Provisioned, PROVISIONED),
            InstanceAction::Update | InstanceAction::UpdateContext => (FetchPurpose::Updated, UPDATED),
        };
        let plan = view.dependencies.requested_offering.as_ref().filter(|plan| plan.instances_retrievable);
        match plan.zip(Self::poll_target(view, Awaited::Operation(action))) {
            Some((plan, (address, target))) => {
                let target = Target { plan_id: plan.plan_id.clone(), ..target };
                Next::Call(Call::Request(address, InstanceRequest::Fetch(target, purpose)))
            }
            None => Next::Record(ready(view, Details::default(), condition)),
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
            // The broker answered, so the operation takes no effect later.
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
            // The instance did not change, whether or not the broker took the annotations.
            InstanceAction::UpdateContext if !status.unusable => {
                ready(view, Details::default(), CONTEXT_NOT_UPDATED)
            }
            // The update may have changed a part of the instance, so the next update sends all values.
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
        && may_exist_already(view, refusal)
    {
        let purpose = FetchPurpose::Refused(refusal.message.clone());
        return Next::Call(Call::Request(address, InstanceRequest::Fetch(target, purpose)));
    }
    Next::Record(provision_answered(view, outcome))
}

/// Whether a 409 may mean that an earlier request without an answer created the instance. No other instance
/// has an id that the operator derived, and some brokers answer 409 to each repetition. The operator fetches
/// the instance to find out, if the offering allows it.
fn may_exist_already(view: &InstanceView<'_>, refusal: &Refusal) -> bool {
    let retrievable =
        view.dependencies.requested_offering.as_ref().is_some_and(|plan| plan.instances_retrievable);
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
            status::accepted(view, operation, dashboard_url.as_ref())
        }
        osb::Outcome::Refused(refusal) => provision_refused(view, &refusal),
        osb::Outcome::Unsent(unsent) => {
            let message = view.redactor().message("Error calling provision", &unsent.message);
            let status = provision_had_no_effect(view.status_copy());
            retry_or_give_up(view, status, Reason::ErrorCallingProvision, &message, None)
        }
        osb::Outcome::Unknown(unknown) => provision_unknown(view, &unknown),
    }
}

/// Records that this request had no effect. An earlier request without an answer may have had one.
fn provision_had_no_effect(mut status: ServiceInstanceStatus) -> ServiceInstanceStatus {
    if !status.progress.unanswered {
        status.deprovision_status = DeletionStatus::NotRequired;
    }
    status
}

fn provision_refused(view: &InstanceView<'_>, refusal: &Refusal) -> ServiceInstanceStatus {
    let message = view.redactor().message("Provision call failed", &refusal.message);
    let mut status = view.status_copy();
    // The user gave an id that something else has at the broker. The operator must not delete it.
    let is_id_of_another = refusal.reason == RefusalReason::Conflict && !view.is_id_derived();
    if is_id_of_another {
        status.progress.unanswered = false;
    }
    let permanent = is_id_of_another || refusal.reason == RefusalReason::BadRequest;
    if status.progress.unanswered && !permanent && !refusal.reason.is_passing() && view.is_id_derived() {
        // The broker would refuse the same request again, so no answer can say what the earlier request has
        // left. A 409 even says that the instance exists, as no other instance has an id that the operator
        // derived.
        return mitigate_earlier_provision(view, &message);
    }
    let status = provision_had_no_effect(status);
    if permanent {
        let reasons = (Reason::ProvisionCallFailed, Reason::ClusterServiceBrokerReturnedFailure);
        return give_up(view, status, reasons, &message);
    }
    retry_or_give_up(view, status, Reason::ProvisionCallFailed, &message, refusal.retry_after)
}

/// Starts orphan mitigation: an earlier request was not answered, and the broker refused its repetition.
fn mitigate_earlier_provision(view: &InstanceView<'_>, message: &str) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    status.progress.retries += 1;
    let message = format!("{message}; this was the repetition of a request without an answer");
    start_mitigation(view, status, Reason::ProvisionCallFailed, &message, true)
}

fn provision_unknown(view: &InstanceView<'_>, unknown: &UnknownOutcome) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    let message = view.redactor().message("Provision call failed", &unknown.message);
    let reason = match unknown.status {
        Some(_) => Reason::ProvisionCallFailed,
        None => Reason::ErrorCallingProvision,
    };
    // 201 and 202 mean that this request created the instance.
    let is_repeated = is_repeated(&status, unknown);
    if unknown.mitigate && !is_repeated && (view.is_id_derived() || matches!(unknown.status, Some(201 | 202)))
    {
        status.progress.retries += 1;
        return start_mitigation(view, status, reason, &message, !unknown.answered);
    }
    if is_repeated {
        status.progress.record_no_answer();
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
            status::accepted(view, operation, dashboard_url.as_ref())
        }
        osb::Outcome::Refused(refusal) => {
            // 4xx to a PATCH means that the broker changed nothing (OSB 2.17, "Service Broker Errors").
            let permanent = is_update_refused_for_good(&refusal) || refusal.update_repeatable == Some(false);
            let unusable = refusal.instance_usable == Some(false);
            if is_context_update(view) && !refusal.reason.is_passing() && !unusable {
                return ready(view, Details::default(), CONTEXT_NOT_UPDATED);
            }
            let failure = (Reason::UpdateInstanceCallFailed, &refusal.message);
            let status = with_usable(view.status_copy(), refusal.instance_usable);
            update_failed(view, status, failure, permanent, refusal.retry_after)
        }
        osb::Outcome::Unsent(unsent) => {
            let message = view.redactor().message("Error calling update", &unsent.message);
            retry_or_give_up(view, view.status_copy(), Reason::ErrorCallingUpdateInstance, &message, None)
        }
        osb::Outcome::Unknown(unknown) => {
            let mut status = with_usable(view.status_copy(), unknown.instance_usable);
            status.progress.unanswered |= may_have_updated(&unknown);
            let reason = match unknown.status {
                Some(_) => Reason::UpdateInstanceCallFailed,
                None => Reason::ErrorCallingUpdateInstance,
            };
            let unsupported = unknown.status == Some(NOT_IMPLEMENTED);
            if unsupported && is_context_update(view) && !status.unusable {
                return ready(view, Details::default(), CONTEXT_NOT_UPDATED);
            }
            let permanent = unsupported || unknown.update_repeatable == Some(false);
            update_failed(view, status, (reason, &unknown.message), permanent, unknown.retry_after)
        }
    }
}

/// 501: the broker has no updates.
const NOT_IMPLEMENTED: u16 = 501;

/// Whether a broker that refuses an update would refuse the same update again. That is so for 400, and for all
/// 4xx that are about the request itself, such as 404, 405 and 422 without a known error code. After 409 and
/// `AsyncRequired` the operator tries again: brokers use 409 for an operation in progress, and the operator always
/// allows asynchronous operations.
fn is_update_refused_for_good(refusal: &Refusal) -> bool {
    match refusal.reason {
        RefusalReason::BadRequest | RefusalReason::RequiresApp => true,
        // A proxy that wants credentials, a lock, and a request that came too early are about the moment.
        RefusalReason::Other => !matches!(refusal.status, 407 | 423 | 425),
        _ => false,
    }
}

/// Whether an update without a valid answer may have changed the instance. A broker that answers 5xx has changed
/// nothing (OSB 2.17, "Service Broker Errors"), unless it says that the instance cannot be used any more or that
/// the update cannot be repeated.
fn may_have_updated(unknown: &UnknownOutcome) -> bool {
    let is_server_error = matches!(unknown.status, Some(500..=599));
    let is_broken = unknown.instance_usable == Some(false) || unknown.update_repeatable == Some(false);
    !(is_server_error && unknown.answered) || is_broken
}

fn is_context_update(view: &InstanceView<'_>) -> bool {
    view.status.operation() == CurrentOperation::Operation(InstanceAction::UpdateContext)
}

/// Records `instance_usable` from the answer to a failed update (OSB 2.17, "Updating a Service Instance"). If
/// the answer does not have it, the last value stays. The default is that the instance can be used.
fn with_usable(status: ServiceInstanceStatus, usable: Option<bool>) -> ServiceInstanceStatus {
    let unusable = usable.map_or(status.unusable, |usable| !usable);
    ServiceInstanceStatus { unusable, ..status }
}

fn update_failed(
    view: &InstanceView<'_>,
    status: ServiceInstanceStatus,
    (reason, why): (Reason, &Explanation),
    permanent: bool,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    let message = view.redactor().message("Update call failed", why);
    if permanent {
        return failed(view, status, (reason, Reason::UpdateInstanceCallFailed), &message);
    }
    retry_or_give_up(view, status, reason, &message, retry_after)
}

/// Sends the same request again later, or gives up if the operation has taken too long.
fn retry_or_give_up(
    view: &InstanceView<'_>,
    mut status: ServiceInstanceStatus,
    reason: Reason,
    message: &str,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    // A failed update of the context does not change the instance, unless the broker says that it cannot be
    // used.
    let is_unchanged = is_context_update(view) && !status.unusable;
    match (has_taken_too_long(view, &status), is_unchanged) {
        (true, true) => ready(view, Details::default(), CONTEXT_NOT_UPDATED),
        (true, false) => {
            let message = format!("{RETRY_TIMEOUT}: {message}");
            give_up(view, status, (reason, Reason::ErrorReconciliationRetryTimeout), &message)
        }
        (false, true) => {
            back_off(view, &mut status, retry_after);
            status
        }
        (false, false) => try_again(view, status, reason, message, retry_after),
    }
}

/// Gives up until the spec changes. If an earlier create without an answer may have left an instance, orphan
/// mitigation deletes it.
fn give_up(
    view: &InstanceView<'_>,
    status: ServiceInstanceStatus,
    reasons: (Reason, Reason),
    message: &str,
) -> ServiceInstanceStatus {
    let creates = status.operation() == CurrentOperation::Operation(InstanceAction::Provision);
    if status.progress.unanswered && creates && view.is_id_derived() {
        failed_with_orphan(view, status, reasons, message, true)
    } else {
        failed(view, status, reasons, message)
    }
}

fn after_fetch(
    view: &InstanceView<'_>,
    target: &Target,
    purpose: &FetchPurpose,
    outcome: osb::Outcome<InstanceAnswer>,
) -> ServiceInstanceStatus {
    match (purpose, outcome) {
        (FetchPurpose::Refused(_), osb::Outcome::Answered(answer))
            if answer.plan_id.as_ref().is_none_or(|plan| *plan == target.plan_id) =>
        {
            ready(view, answer.into(), PROVISIONED)
        }
        (FetchPurpose::Refused(message), _) => {
            mitigate_earlier_provision(view, &view.redactor().message("Provision call failed", message))
        }
        // The last poll showed that the operation succeeded. Details that this answer does not have stay as
        // they are.
        (FetchPurpose::Provisioned, outcome) => ready(view, details(outcome), PROVISIONED),
        (FetchPurpose::Updated, outcome) => ready(view, details(outcome), UPDATED),
    }
}

fn details(outcome: osb::Outcome<InstanceAnswer>) -> Details {
    match outcome {
        osb::Outcome::Answered(answer) => answer.into(),
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => Details::default(),
    }
}
