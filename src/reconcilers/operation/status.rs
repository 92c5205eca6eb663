//! The statuses that are written, as far as the kinds do it alike. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    phase::{Cause, Recorded},
    resource::{BrokerResource, OperationStatus, View},
};
use crate::{
    crd::{
        ConditionStatus::{self, False, True, Unknown},
        ConditionType::{self, Failed, OrphanMitigation, Ready},
        condition::{self, Conditioned as _},
        progress::{DeletionStatus, Progress},
    },
    osb::outcome::Explanation,
    reconcilers::{
        identity::attempt_id,
        messages::{self, TOO_LONG, UNDONE},
        reason::Reason,
    },
};

/// What a kind adds to the statuses that are written.
pub trait StatusHooks: BrokerResource {
    /// Records what is about to be asked of the broker.
    fn record_order(view: &View<'_, Self>, status: &mut Self::Status, order: Self::Order);
    /// The reason and the sentence while an operation is about to be asked for; none where the condition stays as it is.
    fn in_flight_words(operation: Self::Operation) -> Option<(Reason, &'static str)>;
    /// The reason and the sentence while an accepted operation goes on; none where the condition stays as it is.
    fn progress_words(operation: Self::Operation) -> Option<(Reason, &'static str)>;
    /// Records what the print columns show of the spec.
    fn show_spec(_: &View<'_, Self>, _: &mut Self::Status) {}
    /// `Ready` while the operator has given up: its status and message.
    fn ready_when_failed(status: &Self::Status, message: &str) -> (ConditionStatus, String);
    /// Whether `Ready` says why credentials cannot be written. What the user must correct stays on show.
    #[must_use]
    fn shows_injection_failure(_: &Self::Status) -> bool {
        false
    }
    /// Sets what else says that the operator has given up.
    fn finish_failed(_: &mut Self::Status, _generation: i64) {}
    /// The broker has nothing: drops what it acknowledged, and sets the id of the next attempt.
    fn clear_resource(status: &mut Self::Status, next_id: String);
}

/// Clears what belongs to an operation that has ended.
pub fn finish_operation<S: OperationStatus>(status: &mut S) {
    status.set_operation(Recorded::None);
    status.progress_mut().finish_operation();
}

/// Records that what a create may have left must be deleted before anything else is tried. After a create without an
/// answer, a DELETE proves something only when the create can no longer take effect.
pub fn start_mitigation<R: StatusHooks>(
    view: &View<'_, R>,
    status: R::Status,
    reason: Reason,
    why: &str,
    may_still_come: bool,
) -> R::Status {
    let mut started = status;
    let quiet = view.pace().quiet_until(started.progress().last_attempt_time.as_ref());
    started.progress_mut().start_mitigation(why, may_still_come, quiet);
    *started.deletion_status_mut() = DeletionStatus::Required;
    if !condition::is_true(started.conditions(), Failed) && !R::shows_injection_failure(&started) {
        let not_before = started.progress().next_attempt_time.clone();
        let message = messages::mitigating(why, R::WORDS.noun, not_before.as_ref());
        started.set_condition(Ready, False, R::WORDS.mitigation_started, &message, view.now);
    }
    if R::HAS_MITIGATION_CONDITION {
        started.set_condition(OrphanMitigation, True, reason, why, view.now);
    }
    started
}

/// Only a deletion records that the object is being deleted, and a deletion cannot be taken back; but an object can be
/// restored from a backup with the status that it had then. The deletion goes on, and another attempt follows.
pub fn restored<R: BrokerResource>(view: &View<'_, R>) -> R::Status {
    let noun = R::WORDS.noun;
    let why =
        format!("The status says that the {noun} was being deleted, but its object is not being deleted");
    let mut restored = view.status_copy();
    restored.set_operation(Recorded::None);
    let progress = restored.progress_mut();
    progress.orphan_mitigation_in_progress = true;
    progress.mitigation_cause = Some(why.clone());
    *restored.deletion_status_mut() = DeletionStatus::Required;
    let message = messages::mitigating(&why, noun, None);
    restored.set_condition(Ready, False, R::WORDS.mitigation_started, &message, view.now);
    restored
}

/// What a create may have left is gone. The next attempt has another id and starts afresh, not sooner than if the create
/// had merely failed.
pub fn mitigated<R: StatusHooks>(view: &View<'_, R>) -> R::Status {
    let mut status = view.status_copy();
    let cause = mitigation_cause(&status);
    let cause = cause.as_deref();
    status.set_operation(Recorded::None);
    status.progress_mut().finish_mitigation();
    status.clear_in_progress();
    *status.deletion_status_mut() = DeletionStatus::NotRequired;
    let external_id = R::spec(view.object).external_id;
    R::clear_resource(&mut status, attempt_id(external_id, view.uid(), view.status.progress().attempt + 1));
    status.remove_condition(OrphanMitigation);
    let failed = view.is_true(Failed);
    let shown = condition::find(status.conditions(), Ready);
    // Why it failed, or why its credentials cannot be written, is what the user must correct, so it stays on show.
    let stays =
        shown.is_some_and(|ready| ready.status == False) && (failed || R::shows_injection_failure(&status));
    if failed || view.pace().is_overdue(status.progress().operation_start_time.as_ref()) {
        status.progress_mut().finish_operation();
        let message = given_up::<R>(&format!("{TOO_LONG}: {}", cause.unwrap_or(UNDONE)));
        if !stays {
            let shown = if failed { &messages::before(UNDONE, cause) } else { &message };
            status.set_condition(Ready, False, Reason::OrphanMitigationSuccessful, shown, view.now);
        }
        if !failed {
            status.set_condition(Failed, True, Reason::ErrorReconciliationRetryTimeout, &message, view.now);
        }
        R::finish_failed(&mut status, view.generation());
        return status;
    }
    let retries = status.progress().retries.max(1) - 1;
    let next = view.pace().next_try(retries, None);
    status.progress_mut().back_off_until(next);
    let (reason, message) = match cause {
        Some(cause) if stays => (Reason::ErrorInjectingBindResult, messages::again(cause, next)),
        cause => (Reason::OrphanMitigationSuccessful, messages::mitigated(cause, next)),
    };
    status.set_condition(Ready, False, reason, &message, view.now);
    status
}

/// The broker has not deleted it. The operator never gives up a deletion: what it forgot would go on to cost money, or
/// credentials would stay valid.
pub fn not_deleted<R: BrokerResource>(
    view: &View<'_, R>,
    cause: Cause,
    why: &Explanation,
    retry_after: Option<Duration>,
) -> R::Status {
    let words = R::WORDS;
    let mut status = view.status_copy();
    let message = view.redactor().message(words.delete_failed_sentence, why);
    match cause {
        Cause::Deletion => {
            if status.operation() != Recorded::Deletion {
                begin_deletion(&mut status);
                status.progress_mut().start_operation(view.now);
            }
            let next = back_off(view, &mut status, retry_after);
            let message = messages::again(&message, next);
            status.set_condition(Ready, Unknown, words.delete_failed, &message, view.now);
        }
        Cause::Mitigation => {
            let next = back_off(view, &mut status, retry_after);
            let message = messages::again(&format!("Orphan mitigation failed: {message}"), next);
            let (type_, state, message) = mitigation_problem::<R>(&status, message);
            status.set_condition(type_, state, Reason::OrphanMitigationFailed, &message, view.now);
        }
    }
    status.progress_mut().stop_polling();
    status
}

/// Where a problem of orphan mitigation is shown, and how. It does not hide the cause.
pub fn mitigation_problem<R: BrokerResource>(
    status: &R::Status,
    message: String,
) -> (ConditionType, ConditionStatus, String) {
    if R::HAS_MITIGATION_CONDITION {
        return (OrphanMitigation, True, message);
    }
    let cause = mitigation_cause(status);
    (Ready, Unknown, messages::before(&message, cause.as_deref()))
}

/// Why what a create may have left is being deleted. A status from before `mitigationCause` says it in `Ready`.
fn mitigation_cause<S: OperationStatus>(status: &S) -> Option<String> {
    let shown = || condition::find(status.conditions(), Ready).filter(|ready| ready.status == False);
    status.progress().mitigation_cause.clone().or_else(|| Some(shown()?.message.clone()))
}

/// The broker has accepted a DELETE.
pub fn deletion_accepted<R: BrokerResource>(
    view: &View<'_, R>,
    cause: Cause,
    operation: Option<String>,
) -> R::Status {
    let mut status = view.status_copy();
    status.progress_mut().start_polling(operation);
    // Orphan mitigation keeps the time of the creates: the limit holds for all of them together.
    if cause == Cause::Deletion {
        status.progress_mut().operation_start_time = Some(Time(view.now));
        begin_deletion(&mut status);
        let (reason, message) = R::WORDS.deleting;
        status.set_condition(Ready, False, reason, message, view.now);
    }
    status
}

/// The deletion of the object takes over, also from orphan mitigation.
fn begin_deletion<S: OperationStatus>(status: &mut S) {
    status.set_operation(Recorded::Deletion);
    status.progress_mut().orphan_mitigation_in_progress = false;
    status.progress_mut().mitigation_cause = None;
    status.remove_condition(OrphanMitigation);
}

/// The object is being deleted, and its operation need not be waited for any more: a DELETE during an operation is legal
/// (OSB 2.17, "Deprovisioning", "Unbinding").
pub fn leave<R: BrokerResource>(view: &View<'_, R>, why: &str) -> R::Status {
    let mut status = view.status_copy();
    begin_deletion(&mut status);
    status.progress_mut().stop_polling();
    status.progress_mut().start_operation(view.now);
    let message = format!("{why}; the operator deletes the {}", R::WORDS.noun);
    status.set_condition(Ready, False, R::WORDS.delete_in_flight, &message, view.now);
    status
}

fn given_up<R: BrokerResource>(message: &str) -> String {
    format!("{message}; {}", R::WORDS.given_up)
}

/// The operator tries nothing more until the spec changes.
pub fn failed<R: StatusHooks>(
    view: &View<'_, R>,
    mut status: R::Status,
    (ready, failed): (Reason, Reason),
    message: &str,
) -> R::Status {
    let Progress { unanswered, last_attempt_time, .. } = status.progress().clone();
    finish_operation(&mut status);
    if unanswered {
        // What comes next still has to know of an earlier request without an answer.
        let progress = status.progress_mut();
        progress.unanswered = true;
        progress.last_attempt_time = last_attempt_time;
    } else {
        status.clear_in_progress();
    }
    let message = given_up::<R>(message);
    let (state, shown) = R::ready_when_failed(&status, &message);
    status.set_condition(Ready, state, ready, &shown, view.now);
    status.set_condition(Failed, True, failed, &message, view.now);
    R::finish_failed(&mut status, view.generation());
    status
}

/// The operator tries nothing more until the spec changes, but deletes what the broker may hold.
pub fn failed_with_orphan<R: StatusHooks>(
    view: &View<'_, R>,
    status: R::Status,
    reasons: (Reason, Reason),
    message: &str,
    may_still_come: bool,
) -> R::Status {
    let asked = status.clone();
    let mut failed = failed(view, status, reasons, message);
    // The DELETE needs what was asked for, and when.
    failed.set_operation(Recorded::Operation(R::CREATE));
    failed.copy_in_progress(&asked);
    failed.progress_mut().last_attempt_time.clone_from(&asked.progress().last_attempt_time);
    start_mitigation(view, failed, reasons.0, message, may_still_come)
}

/// Whether an operation has gone on for longer than it may.
#[must_use]
pub fn has_taken_too_long<R: BrokerResource>(view: &View<'_, R>, status: &R::Status) -> bool {
    view.pace().is_overdue(status.progress().operation_start_time.as_ref())
}

/// The same request is sent again later.
pub fn try_again<R: BrokerResource>(
    view: &View<'_, R>,
    mut status: R::Status,
    reason: Reason,
    message: &str,
    retry_after: Option<Duration>,
) -> R::Status {
    let next = back_off(view, &mut status, retry_after);
    status.set_condition(Ready, False, reason, &messages::again(message, next), view.now);
    status
}

/// Counts a failed try, and returns when the next one is.
pub fn back_off<R: BrokerResource>(
    view: &View<'_, R>,
    status: &mut R::Status,
    retry_after: Option<Duration>,
) -> Timestamp {
    let next = view.pace().next_try(status.progress().retries, retry_after);
    status.progress_mut().back_off(next);
    next
}

/// The status with `Ready` as said. The generation stays unseen: the operator acts on it when nothing stands in the way.
pub fn report<R: BrokerResource>(
    view: &View<'_, R>,
    (state, reason, message): (ConditionStatus, Reason, &str),
) -> R::Status {
    let mut status = view.status_copy();
    status.set_condition(Ready, state, reason, message, view.now);
    status.set_conditions_generation(view.generation());
    status
}
