//! What a broker's answer means for a binding. Pure.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt as _;

use super::{
    BindingMachine, Call, Cause, Outcome, credentials,
    intent::{end_operation, settle, start_mitigation},
    phase::{self, Awaited, Phase},
    plan::{Seen, addressee},
    secret,
};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus::{False, True, Unknown},
        ConditionType::{Failed, Ready},
        ServiceBindingStatus,
        binding::{BindingOperation, UnbindStatus},
        condition::{self, Conditioned as _},
    },
    osb::{
        self, RefusalReason,
        outcome::{BindingAnswer, Bound, Credentials, Deleted, OperationState, Polled},
    },
    reconcilers::{
        attempt::attempt_id,
        backoff::{later, next_try},
        machine::{Absorbed, Next},
        reason::Reason,
        write::Write,
    },
};

type Then = Next<BindingMachine>;
type Writes = Vec<Vec<Write>>;

/// The least time between two descriptions of one operation that are written to status.
const DESCRIPTION_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// What did that answer mean?
pub(super) fn absorb(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<BindingMachine> {
    // What was last said of an earlier operation does not keep the next one from being described.
    let described = observed.memory.described.filter(|_| matches!(call, Call::Poll(..)));
    let answered = Some(observed.now);
    let mut memory = Memory { answered, not_before: None, failures: 0, described, ..observed.memory };
    let (writes, next) = match (call, outcome) {
        (Call::Bind(..), Outcome::Bound(outcome)) => after_bind(observed, outcome),
        (Call::Unbind(.., cause), Outcome::Deleted(outcome)) => {
            (vec![], after_unbind(observed, *cause, outcome))
        }
        (Call::Poll(..), Outcome::Polled(outcome)) => (vec![], after_poll(observed, outcome, &mut memory)),
        (Call::Fetch(..), Outcome::Fetched(outcome)) => after_fetch(observed, outcome),
        (Call::Bind(..), Outcome::Deleted(_) | Outcome::Polled(_) | Outcome::Fetched(_))
        | (Call::Unbind(..), Outcome::Bound(_) | Outcome::Polled(_) | Outcome::Fetched(_))
        | (Call::Poll(..), Outcome::Bound(_) | Outcome::Deleted(_) | Outcome::Fetched(_))
        | (Call::Fetch(..), Outcome::Bound(_) | Outcome::Deleted(_) | Outcome::Polled(_)) => {
            (vec![], Next::Record(observed.status()))
        }
    };
    Absorbed { writes, next, memory }
}

fn after_bind(observed: &Seen, outcome: osb::Outcome<Bound>) -> (Writes, Then) {
    let status = observed.status();
    let recorded = match outcome {
        osb::Outcome::Answered(Bound::Done(answer)) => return inject(observed, answer),
        osb::Outcome::Answered(Bound::Accepted { operation }) => {
            let mut polling = status;
            polling.async_op_in_progress = true;
            polling.last_operation = operation;
            polling.retries = 0;
            polling.unanswered = false;
            polling.mark(
                Ready,
                False,
                Reason::Binding,
                "The binding is being created asynchronously",
                observed.now,
            );
            polling
        }
        osb::Outcome::Refused(refusal) => {
            let message = told(observed, "Bind call failed", &refusal.message);
            if is_passing(refusal.reason) {
                try_again(observed, not_bound(status), &message, refusal.retry_after)
            } else {
                refused(observed, status, refusal.reason, &message)
            }
        }
        osb::Outcome::Unsent(unsent) => {
            try_again(observed, not_bound(status), &told(observed, "Bind call failed", &unsent.message), None)
        }
        osb::Outcome::Unknown(doubt) if doubt.mitigate => {
            let doubtful = ServiceBindingStatus { retries: status.retries + 1, ..status };
            start_mitigation(
                observed,
                &doubtful,
                &told(observed, "Bind call failed", &doubt.message),
                !doubt.answered,
            )
        }
        osb::Outcome::Unknown(doubt) => {
            let doubtful = ServiceBindingStatus { unanswered: true, ..status };
            try_again(
                observed,
                doubtful,
                &told(observed, "Bind call failed", &doubt.message),
                doubt.retry_after,
            )
        }
    };
    (vec![], Next::Record(recorded))
}

/// Refusals that say nothing about the request itself: the same one may be accepted later.
fn is_passing(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::Unauthorized
        | RefusalReason::NotReceived
        | RefusalReason::VersionMismatch
        | RefusalReason::ConcurrencyError
        | RefusalReason::MaintenanceInfoConflict
        | RefusalReason::Throttled => true,
        RefusalReason::BadRequest
        | RefusalReason::Conflict
        | RefusalReason::AsyncRequired
        | RefusalReason::RequiresApp
        | RefusalReason::Other => false,
    }
}

/// The broker refuses for good. What an earlier, unanswered bind may have done is not undone by that.
fn refused(
    observed: &Seen,
    status: ServiceBindingStatus,
    reason: RefusalReason,
    message: &str,
) -> ServiceBindingStatus {
    let foreign = reason == RefusalReason::Conflict && !observed.object.spec.external_id.is_empty();
    if status.external_properties.is_some() && !foreign {
        // The credentials were there once: another binding takes the place of this one.
        return start_mitigation(observed, &status, message, false);
    }
    let orphan = status.unanswered && !foreign;
    let asked = status.clone();
    let stuck =
        stuck(observed, status, (Reason::BindCallFailed, Reason::ServiceBindingReturnedFailure), message);
    if !orphan {
        return ServiceBindingStatus { unbind_status: UnbindStatus::NotRequired, unanswered: false, ..stuck };
    }
    start_mitigation(observed, &still_asked(asked, stuck), message, true)
}

/// What a DELETE after the end of an operation needs to know of it.
fn still_asked(asked: ServiceBindingStatus, stuck: ServiceBindingStatus) -> ServiceBindingStatus {
    ServiceBindingStatus {
        current_operation: BindingOperation::Bind,
        in_progress_properties: asked.in_progress_properties,
        last_attempt_time: asked.last_attempt_time,
        ..stuck
    }
}

/// This request had no effect; an earlier one may have had.
fn not_bound(mut status: ServiceBindingStatus) -> ServiceBindingStatus {
    if !status.unanswered && status.external_properties.is_none() {
        status.unbind_status = UnbindStatus::NotRequired;
    }
    status
}

/// Credentials go into their Secret first, and then the status says so.
fn inject(observed: &Seen, answer: BindingAnswer) -> (Writes, Then) {
    let data = answer.credentials.ok_or_else(missing).and_then(|credentials| data(observed, &credentials));
    match data {
        Ok(secret) => (vec![vec![secret]], Next::Record(settle(observed, &observed.status()))),
        Err(message) => (vec![], Next::Record(credentials_lost(observed, &message))),
    }
}

fn missing() -> String {
    "the broker's answer has no credentials; ask the broker's operator what this binding is for".to_owned()
}

fn data(observed: &Seen, credentials: &Credentials) -> Result<Write, String> {
    let object = &observed.object;
    let data = credentials::to_data(credentials, &object.spec.secret_transforms)?;
    Ok(secret::build(object, &phase::binding_id(object, &observed.status()), data))
}

/// The broker has bound, but its credentials cannot be written, and brokers need not give them twice: the binding is
/// deleted there, and another one asked for later.
pub(super) fn credentials_lost(observed: &Seen, why: &str) -> ServiceBindingStatus {
    let mut status = observed.status();
    status.retries += 1;
    status.mark(
        Ready,
        False,
        Reason::ErrorInjectingBindResult,
        &format!("Error injecting bind result: {why}"),
        observed.now,
    );
    start_mitigation(observed, &status, why, false)
}

fn after_unbind(observed: &Seen, cause: Cause, outcome: osb::Outcome<Deleted>) -> Then {
    match outcome {
        osb::Outcome::Answered(Deleted::Done) => deleted(observed, cause),
        osb::Outcome::Answered(Deleted::Accepted { operation }) => {
            let mut polling = observed.status();
            polling.async_op_in_progress = true;
            polling.last_operation = operation;
            polling.next_attempt_time = None;
            polling.operation_start_time = Some(Time(observed.now));
            if cause == Cause::Deletion {
                polling.current_operation = BindingOperation::Unbind;
                polling.mark(
                    Ready,
                    False,
                    Reason::Unbinding,
                    "The binding is being deleted asynchronously",
                    observed.now,
                );
            }
            Next::Record(polling)
        }
        osb::Outcome::Refused(refusal) => {
            Next::Record(not_deleted(observed, cause, &refusal.message, refusal.retry_after))
        }
        osb::Outcome::Unsent(unsent) => Next::Record(not_deleted(observed, cause, &unsent.message, None)),
        osb::Outcome::Unknown(doubt) => {
            Next::Record(not_deleted(observed, cause, &doubt.message, doubt.retry_after))
        }
    }
}

/// The broker has nothing any more.
fn deleted(observed: &Seen, cause: Cause) -> Then {
    match cause {
        Cause::Deletion => Next::Release,
        Cause::Mitigation => Next::Record(mitigated(observed)),
    }
}

/// The broker has not deleted it. Deletion is never given up: a forgotten credential stays valid for ever.
fn not_deleted(
    observed: &Seen,
    cause: Cause,
    why: &str,
    retry_after: Option<Duration>,
) -> ServiceBindingStatus {
    let mut status = observed.status();
    let message = told(observed, "Unbind call failed", why);
    match cause {
        Cause::Deletion => {
            if status.current_operation != BindingOperation::Unbind {
                status.current_operation = BindingOperation::Unbind;
                status.operation_start_time = Some(Time(observed.now));
                status.retries = 0;
            }
            status.mark(Ready, Unknown, Reason::UnbindCallFailed, &message, observed.now);
        }
        Cause::Mitigation => {
            let message = format!("Orphan mitigation failed: {message}");
            status.mark(Ready, Unknown, Reason::OrphanMitigationFailed, &message, observed.now);
        }
    }
    status.async_op_in_progress = false;
    status.last_operation = None;
    postpone(observed, &mut status, retry_after);
    status
}

/// What a bind may have left is gone: the next attempt begins afresh, under another id.
fn mitigated(observed: &Seen) -> ServiceBindingStatus {
    let mut status = observed.status();
    let retries = status.retries;
    end_operation(&mut status);
    status.orphan_mitigation_in_progress = false;
    status.in_progress_properties = None;
    status.external_properties = None;
    status.unbind_status = UnbindStatus::NotRequired;
    status.attempt += 1;
    status.binding_id =
        attempt_id(&observed.object.spec.external_id, observed.object.uid().as_deref(), status.attempt);
    if condition::is_true(&status.conditions, Failed) {
        return status;
    }
    // Why the credentials could not be written is still what the user must mend, so it stays.
    let unfit = condition::find(&status.conditions, Ready)
        .is_some_and(|ready| ready.reason == Reason::ErrorInjectingBindResult.to_string());
    if !unfit {
        let message = "Orphan mitigation was completed successfully";
        status.mark(Ready, False, Reason::OrphanMitigationSuccessful, message, observed.now);
    }
    status.retries = retries;
    status.next_attempt_time = Some(MicroTime(next_try(observed, retries.max(1) - 1, None)));
    status
}

fn after_poll(observed: &Seen, outcome: osb::Outcome<Polled>, memory: &mut Memory) -> Then {
    let status = observed.status();
    let Phase::Polling(awaited, since) = phase::phase(&status) else {
        return Next::Record(status);
    };
    let overdue = observed.now > later(since, observed.tunables.give_up_after);
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match (polled.state, awaited) {
            (OperationState::Succeeded, Awaited::Bind) => return fetch(observed),
            (OperationState::Succeeded | OperationState::Gone, Awaited::Unbind(cause)) => {
                return deleted(observed, cause);
            }
            (OperationState::Failed, _) => {
                let why = polled.description.unwrap_or_else(|| "the broker gave no reason".to_owned());
                return Next::Record(failed(observed, awaited, &why));
            }
            (OperationState::InProgress, _) if !overdue => {
                memory.not_before = polled.retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
                return Next::Record(described(observed, awaited, polled.description.as_deref(), memory));
            }
            (OperationState::InProgress, _) => ("the operation takes too long".to_owned(), None),
            // The binding exists or is being made, so this is no valid answer: go on polling.
            (OperationState::Gone, Awaited::Bind) => {
                ("the broker says that the binding is gone".to_owned(), polled.retry_after)
            }
        },
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after),
        osb::Outcome::Unsent(unsent) => (unsent.message, None),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after),
    };
    if overdue {
        let why = format!("Stopping reconciliation retries because too much time has elapsed: {problem}");
        return Next::Record(failed(observed, awaited, &why));
    }
    memory.not_before = retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
    let mut polling = status;
    let message = told(observed, "Error polling last operation", &problem);
    let state = if matches!(awaited, Awaited::Unbind(_)) { Unknown } else { False };
    polling.mark(Ready, state, Reason::ErrorPollingLastOperation, &message, observed.now);
    Next::Record(polling)
}

/// An asynchronous bind has succeeded: its credentials are to be had by a GET.
fn fetch(observed: &Seen) -> Then {
    let status = observed.status();
    match addressee(observed, &status) {
        Some((recipient, target)) => Next::Call(Call::Fetch(recipient, target)),
        None => Next::Record(status),
    }
}

fn after_fetch(observed: &Seen, outcome: osb::Outcome<BindingAnswer>) -> (Writes, Then) {
    let (why, retry_after, gone) = match outcome {
        osb::Outcome::Answered(answer) => return inject(observed, answer),
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after, refusal.status == 404),
        osb::Outcome::Unsent(unsent) => (unsent.message, None, false),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after, false),
    };
    let mut status = observed.status();
    let polling = matches!(phase::phase(&status), Phase::Polling(..));
    let message = told(observed, "Fetching the binding failed", &why);
    status.mark(Ready, False, Reason::FetchingBindingFailed, &message, observed.now);
    if polling {
        // Asked again with the next poll: that the bind has succeeded does not change.
        return (vec![], Next::Record(status));
    }
    if gone {
        return (vec![], Next::Record(start_mitigation(observed, &status, &message, false)));
    }
    postpone(observed, &mut status, retry_after);
    (vec![], Next::Record(status))
}

fn failed(observed: &Seen, awaited: Awaited, why: &str) -> ServiceBindingStatus {
    let status = observed.status();
    match awaited {
        Awaited::Bind => {
            let message = told(observed, "Bind call failed", why);
            let asked = status.clone();
            let stuck = stuck(observed, status, (Reason::BindCallFailed, Reason::BindCallFailed), &message);
            // The broker answered, so no late effect is to be expected.
            start_mitigation(observed, &still_asked(asked, stuck), &message, false)
        }
        Awaited::Unbind(cause) => not_deleted(observed, cause, why, None),
    }
}

/// The broker is still at it: what it says is shown, but not every word of a talkative one is written.
fn described(
    observed: &Seen,
    awaited: Awaited,
    description: Option<&str>,
    memory: &mut Memory,
) -> ServiceBindingStatus {
    let present = observed.status();
    let (reason, sentence) = match awaited {
        Awaited::Bind => (Reason::Binding, "The binding is being created asynchronously"),
        Awaited::Unbind(Cause::Deletion) => {
            (Reason::Unbinding, "The binding is being deleted asynchronously")
        }
        // Its condition says already what is going on.
        Awaited::Unbind(Cause::Mitigation) => return present,
    };
    let message = match description {
        Some(description) if !description.is_empty() => {
            redacted(observed, format!("{sentence} ({description})"))
        }
        Some(_) | None => sentence.to_owned(),
    };
    let shown = condition::find(&present.conditions, Ready);
    let recovered = shown.is_none_or(|shown| shown.reason != reason.to_string());
    let lately = memory.described.is_some_and(|at| observed.now < later(at, DESCRIPTION_INTERVAL));
    if shown.is_some_and(|shown| shown.message == message) || (lately && !recovered) {
        return present;
    }
    memory.described = Some(observed.now);
    let mut status = present;
    status.mark(Ready, False, reason, &message, observed.now);
    status
}

/// Nothing more is tried.
fn stuck(
    observed: &Seen,
    mut status: ServiceBindingStatus,
    (ready, failed): (Reason, Reason),
    message: &str,
) -> ServiceBindingStatus {
    end_operation(&mut status);
    status.in_progress_properties = None;
    status.reconciled_generation = observed.object.metadata.generation.unwrap_or(0);
    status.mark(Ready, False, ready, message, observed.now);
    status.mark(Failed, True, failed, message, observed.now);
    status
}

/// The same again later, unless it has gone on for too long.
fn try_again(
    observed: &Seen,
    mut status: ServiceBindingStatus,
    message: &str,
    retry_after: Option<Duration>,
) -> ServiceBindingStatus {
    let since = status.operation_start_time.as_ref().map_or(observed.now, |time| time.0);
    if observed.now > later(since, observed.tunables.give_up_after) {
        let message = format!("Stopping reconciliation retries, too much time has elapsed: {message}");
        let (asked, orphan) = (status.clone(), phase::may_exist(&status));
        let stuck = stuck(
            observed,
            status,
            (Reason::BindCallFailed, Reason::ErrorReconciliationRetryTimeout),
            &message,
        );
        return if orphan {
            start_mitigation(observed, &still_asked(asked, stuck), &message, true)
        } else {
            stuck
        };
    }
    status.mark(Ready, False, Reason::BindCallFailed, message, observed.now);
    postpone(observed, &mut status, retry_after);
    status
}

fn postpone(observed: &Seen, status: &mut ServiceBindingStatus, retry_after: Option<Duration>) {
    status.next_attempt_time = Some(MicroTime(next_try(observed, status.retries, retry_after)));
    status.retries += 1;
}

/// A sentence with what the broker said, without any secret parameter that it may have echoed.
fn told(observed: &Seen, what: &str, why: &str) -> String {
    redacted(observed, format!("{what}: {why}"))
}

fn redacted(observed: &Seen, text: String) -> String {
    match &observed.world.parameters {
        Some(Ok(parameters)) => parameters.redact(&text),
        Some(Err(_)) | None => text,
    }
}
