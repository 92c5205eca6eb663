//! Which status does the operator write? This file builds the statuses that instances and bindings have in
//! common. All functions are pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value};

use super::{
    phase::{CurrentOperation, DeletePurpose, Phase},
    resource::{BrokerResource, OperationStatus, View},
};
use crate::{
    crd::{
        ConditionStatus::{self, False, True, Unknown},
        ConditionType::{self, Failed, OrphanMitigation, Ready},
        FINALIZER,
        common::BrokerKey,
        condition::{self, Conditioned as _},
        progress::{DeletionStatus, Progress},
    },
    osb::outcome::{Explanation, UnknownOutcome},
    reconcilers::{
        identity::attempt_id,
        messages::{self, MITIGATION_COMPLETED, RETRY_TIMEOUT},
        reason::Reason,
    },
};

/// The part of building statuses that differs between instances and bindings.
pub trait StatusHooks: BrokerResource {
    /// The fields of the spec that the operator fills in, where they differ from what they are to be with this status.
    fn operator_fields(view: &View<'_, Self>, status: &Self::Status) -> Map<String, Value>;
    /// Whether the operator has derived the id among these fields.
    #[must_use]
    fn derives_id(view: &View<'_, Self>, _: &Self::Status) -> bool {
        view.is_id_derived()
    }
    /// The status of an object that was restored from a backup without its status, while a create was the last request:
    /// the broker has what was created.
    fn restored_status(view: &View<'_, Self>) -> Self::Status;
    /// Records the content of the request that the operator is about to send.
    fn record_request(view: &View<'_, Self>, status: &mut Self::Status, record: Self::RequestRecord);
    /// What an operation is called: `provision`.
    fn operation_name(operation: Self::Operation) -> &'static str;
    /// The reason and the message of `Ready` before the request of an operation is sent. `None` if `Ready`
    /// stays as it is.
    fn in_flight_condition(operation: Self::Operation) -> Option<(Reason, &'static str)>;
    /// The reason and the message of `Ready` while the broker works on an accepted operation. `None` if
    /// `Ready` stays as it is.
    fn in_progress_condition(operation: Self::Operation) -> Option<(Reason, &'static str)>;
    /// Records the fields of the spec that the printer columns show.
    fn record_printer_columns(_: &View<'_, Self>, _: &mut Self::Status) {}
    /// The status and the message of `Ready` after the operator has given up.
    fn ready_when_failed(status: &Self::Status, message: &str) -> (ConditionStatus, String);
    /// The end of the message when the operator gives up: what the user can do.
    #[must_use]
    fn after_giving_up(_: &Self::Status) -> &'static str {
        Self::TEXTS.after_giving_up
    }
    /// Whether `Ready` says why credentials cannot be written. That message is kept, as the user must correct
    /// the cause.
    #[must_use]
    fn shows_injection_failure(_: &Self::Status) -> bool {
        false
    }
    /// Sets further fields of a kind when the operator has given up.
    fn finish_failed(_: &mut Self::Status, _generation: i64) {}
    /// Records that the broker holds nothing: removes the acknowledged properties.
    fn clear_resource(status: &mut Self::Status);
    /// The number of the next attempt. No other resource of the object has its id.
    #[must_use]
    fn next_attempt(view: &View<'_, Self>) -> i64 {
        view.status.progress().attempt + 1
    }
    /// Sets the id of the next attempt.
    fn set_id(status: &mut Self::Status, id: String);
}

/// Clears the fields of an operation that has ended.
pub fn finish_operation<S: OperationStatus>(status: &mut S) {
    status.set_operation(CurrentOperation::None);
    status.progress_mut().finish_operation();
}

/// Starts orphan mitigation (OSB 2.17, "Orphan Mitigation"). If the create has no answer, the DELETE waits
/// until the create can no longer take effect.
pub fn start_mitigation<R: StatusHooks>(
    view: &View<'_, R>,
    status: R::Status,
    reason: Reason,
    why: &str,
    may_take_effect_late: bool,
) -> R::Status {
    let mut started = status;
    mitigate_create(&mut started, R::CREATE);
    let quiet_until = view.pace().quiet_until(started.progress().last_attempt_time.as_ref());
    started.progress_mut().start_mitigation(why, may_take_effect_late, quiet_until);
    *started.deletion_status_mut() = DeletionStatus::Required;
    if !condition::is_true(started.conditions(), Failed) && !R::shows_injection_failure(&started) {
        let not_before = started.progress().next_attempt_time.clone();
        let message = messages::mitigation_planned(why, R::TEXTS.noun, not_before.as_ref());
        started.set_condition(Ready, False, R::TEXTS.mitigation_started, &message, view.now);
    }
    if R::HAS_MITIGATION_CONDITION {
        started.set_condition(OrphanMitigation, True, reason, why, view.now);
    }
    started
}

/// Orphan mitigation belongs to a create. Where none is in progress, it is the one that the broker has acknowledged.
fn mitigate_create<S: OperationStatus>(status: &mut S, create: S::Operation) {
    if matches!(status.operation(), CurrentOperation::None) {
        status.set_operation(CurrentOperation::Operation(create));
        status.restore_in_progress();
    }
}

/// Handles a status that records a deletion although the object is not being deleted. A deletion cannot be
/// undone, so the object was restored from a backup, together with its status of that time. The operator
/// completes the deletion at the broker, and then creates the resource again.
pub fn restored_from_backup<R: BrokerResource>(view: &View<'_, R>) -> R::Status {
    let noun = R::TEXTS.noun;
    let why =
        format!("The status says that the {noun} was being deleted, but its object is not being deleted");
    let mut restored = view.status_copy();
    restored.set_operation(CurrentOperation::None);
    mitigate_create(&mut restored, R::CREATE);
    let progress = restored.progress_mut();
    progress.orphan_mitigation_in_progress = true;
    progress.mitigation_cause = Some(why.clone());
    *restored.deletion_status_mut() = DeletionStatus::Required;
    let message = messages::mitigation_planned(&why, noun, None);
    restored.set_condition(Ready, False, R::TEXTS.mitigation_started, &message, view.now);
    restored
}

/// Ends orphan mitigation. The next attempt uses another id. It is made no sooner than if the create had
/// failed without orphan mitigation.
pub fn mitigation_succeeded<R: StatusHooks>(view: &View<'_, R>) -> R::Status {
    let mut status = view.status_copy();
    let cause = mitigation_cause(&status);
    let cause = cause.as_deref();
    status.set_operation(CurrentOperation::None);
    status.progress_mut().finish_mitigation();
    status.clear_in_progress();
    *status.deletion_status_mut() = DeletionStatus::NotRequired;
    let attempt = R::next_attempt(view);
    status.progress_mut().attempt = attempt;
    R::clear_resource(&mut status);
    R::set_id(&mut status, attempt_id(view.given_id(), view.uid(), attempt));
    status.remove_condition(OrphanMitigation);
    let failed = view.is_true(Failed);
    let shown = condition::find(status.conditions(), Ready);
    // The user must correct the cause of this failure, so the message stays.
    let keeps_message =
        shown.is_some_and(|ready| ready.status == False) && (failed || R::shows_injection_failure(&status));
    if failed || view.pace().is_overdue(status.progress().operation_start_time.as_ref()) {
        status.progress_mut().finish_operation();
        let message = giving_up_message::<R>(
            &status,
            &format!("{RETRY_TIMEOUT}: {}", cause.unwrap_or(MITIGATION_COMPLETED)),
        );
        if !keeps_message {
            let shown = if failed { &messages::with_cause(MITIGATION_COMPLETED, cause) } else { &message };
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
        Some(cause) if keeps_message => {
            (Reason::ErrorInjectingBindResult, messages::with_next_try(cause, next))
        }
        cause => (Reason::OrphanMitigationSuccessful, messages::mitigation_completed(cause, next)),
    };
    status.set_condition(Ready, False, reason, &message, view.now);
    status
}

/// The status after a DELETE has failed. The operator never gives up a deletion: a resource that it lost
/// track of would go on to cost money, and credentials would stay valid.
pub fn delete_failed<R: BrokerResource>(
    view: &View<'_, R>,
    purpose: DeletePurpose,
    why: &Explanation,
    retry_after: Option<Duration>,
) -> R::Status {
    let texts = R::TEXTS;
    let mut status = view.status_copy();
    let message = view.redactor().message(texts.delete_failed_sentence, why);
    match purpose {
        DeletePurpose::Deletion => {
            if status.operation() != CurrentOperation::Deletion {
                begin_deletion(&mut status);
                status.progress_mut().start_operation(view.now);
            }
            let is_repeated = status.progress().retries >= MANY_RETRIES;
            let letting_go = if is_repeated { format!("; {}", letting_go::<R>()) } else { String::new() };
            let next = back_off(view, &mut status, retry_after);
            let message = messages::with_next_try(&format!("{message}{letting_go}"), next);
            status.set_condition(Ready, Unknown, texts.delete_failed, &message, view.now);
        }
        DeletePurpose::Mitigation => {
            let next = back_off(view, &mut status, retry_after);
            let message = messages::with_next_try(&format!("Orphan mitigation failed: {message}"), next);
            let (type_, state, message) = mitigation_problem::<R>(&status, message);
            status.set_condition(type_, state, Reason::OrphanMitigationFailed, &message, view.now);
        }
    }
    status.progress_mut().stop_polling();
    status
}

/// The number of failed DELETEs after which the message says how to delete the object without the broker.
const MANY_RETRIES: i64 = 4;

/// How to delete an object whose broker does not delete the resource.
#[must_use]
pub fn letting_go<R: BrokerResource>() -> String {
    let noun = R::TEXTS.noun;
    format!(
        "to delete the object without the broker, remove the finalizer {FINALIZER}: the {noun} may stay there"
    )
}

/// The object is being deleted while orphan mitigation deletes the resource. The operator polls that deletion to its
/// end, and then the object can go.
pub fn mitigation_becomes_deletion<R: BrokerResource>(view: &View<'_, R>) -> R::Status {
    let operation = view.status.progress().last_operation.clone();
    deletion_accepted(view, DeletePurpose::Deletion, operation)
}

/// The condition that shows a problem of orphan mitigation. The cause of the orphan mitigation stays visible.
pub fn mitigation_problem<R: BrokerResource>(
    status: &R::Status,
    message: String,
) -> (ConditionType, ConditionStatus, String) {
    if R::HAS_MITIGATION_CONDITION {
        return (OrphanMitigation, True, message);
    }
    let cause = mitigation_cause(status);
    (Ready, Unknown, messages::with_cause(&message, cause.as_deref()))
}

/// The cause of the orphan mitigation. Older statuses have no `mitigationCause`, but the message of `Ready`
/// has the cause.
fn mitigation_cause<S: OperationStatus>(status: &S) -> Option<String> {
    let shown = || condition::find(status.conditions(), Ready).filter(|ready| ready.status == False);
    status.progress().mitigation_cause.clone().or_else(|| Some(shown()?.message.clone()))
}

/// The status while the broker has not answered a request. The message of a retry stays, because it says why the
/// request before failed.
pub fn waiting_for_answer<R: StatusHooks>(view: &View<'_, R>, broker: &BrokerKey) -> R::Status {
    let mut status = view.status_copy();
    let Some(ready) = condition::find(status.conditions(), Ready).cloned() else { return status };
    let waits = messages::waiting(broker, view.now);
    let in_flight = match status.operation() {
        CurrentOperation::Operation(operation) => R::in_flight_condition(operation),
        CurrentOperation::None | CurrentOperation::Deletion => None,
    };
    let is_new = |reason: Reason| {
        [reason, Reason::WaitingForTurn].iter().any(|reason| ready.reason == reason.as_str())
    };
    match in_flight {
        Some((reason, message)) if is_new(reason) => {
            status.set_condition(Ready, False, reason, &format!("{message}; {waits}"), view.now);
        }
        _ => {
            if let Some(before) = messages::before_turn(&ready.message) {
                let message = format!("{before}; {waits}");
                status.set_condition(Ready, ready.status, &ready.reason, &message, view.now);
            }
        }
    }
    status
}

/// The status while the broker has not answered the DELETE for an object that is being deleted.
pub fn waiting_for_deletion<R: BrokerResource>(view: &View<'_, R>, broker: &BrokerKey) -> R::Status {
    let message = format!("The operator has sent the DELETE; {}", messages::waiting(broker, view.now));
    with_ready(view, (False, R::TEXTS.delete_in_flight, &message))
}

/// The status while a request waits for its turn. What a failed try has left to say stays. `None`: the status says it
/// already.
pub fn waiting_for_turn<R: StatusHooks>(
    view: &View<'_, R>,
    broker: &BrokerKey,
    under_way: usize,
) -> Option<R::Status> {
    let waits = messages::waiting_for_turn(broker, under_way, view.now);
    let ready = condition::find(view.status.conditions(), Ready).filter(|ready| ready.status != True);
    if ready.is_some_and(|ready| ready.message.contains(messages::WAITS_FOR_TURN)) {
        return None;
    }
    let is_retry = view.status.progress().retries > 0
        || matches!(view.phase, Phase::RequestInFlight(..) | Phase::OrphanMitigation { .. })
        || R::shows_injection_failure(&view.status);
    let (state, reason, message) = match ready.filter(|_| is_retry) {
        Some(ready) => (ready.status, ready.reason.clone(), format!("{}; {waits}", ready.message)),
        None => (False, Reason::WaitingForTurn.to_string(), format!("Not sent yet: {waits}")),
    };
    let mut status = view.status_copy();
    status.set_condition(Ready, state, reason, &message, view.now);
    status.set_conditions_generation(view.generation());
    Some(status)
}

/// The status after the broker has accepted a DELETE.
pub fn deletion_accepted<R: BrokerResource>(
    view: &View<'_, R>,
    purpose: DeletePurpose,
    operation: Option<String>,
) -> R::Status {
    let mut status = view.status_copy();
    status.progress_mut().start_polling(operation);
    // Orphan mitigation keeps the start time of the create, as the limit counts for all attempts together.
    if purpose == DeletePurpose::Deletion {
        status.progress_mut().operation_start_time = Some(Time(view.now));
        begin_deletion(&mut status);
        let (reason, message) = R::TEXTS.deleting;
        status.set_condition(Ready, False, reason, message, view.now);
    }
    status
}

/// The status of an object that other finalizers keep after the broker has confirmed its deletion.
pub fn deleted<R: StatusHooks>(view: &View<'_, R>) -> R::Status {
    let mut status = view.status_copy();
    begin_deletion(&mut status);
    finish_operation(&mut status);
    status.clear_in_progress();
    *status.deletion_status_mut() = DeletionStatus::Succeeded;
    R::clear_resource(&mut status);
    status.remove_condition(Failed);
    let (reason, message) = R::TEXTS.deleted;
    status.set_condition(Ready, False, reason, message, view.now);
    status.set_conditions_generation(view.generation());
    status
}

/// Records the deletion of the object. It replaces orphan mitigation.
fn begin_deletion<S: OperationStatus>(status: &mut S) {
    status.set_operation(CurrentOperation::Deletion);
    status.set_properties_of_deletion();
    status.progress_mut().orphan_mitigation_in_progress = false;
    status.progress_mut().mitigation_cause = None;
    status.remove_condition(OrphanMitigation);
}

/// Stops polling an operation because the object is being deleted. The operator sends a DELETE, which is
/// allowed during an operation (OSB 2.17, "Deprovisioning", "Unbinding").
pub fn switch_to_deletion<R: BrokerResource>(view: &View<'_, R>, why: &str) -> R::Status {
    let mut status = view.status_copy();
    begin_deletion(&mut status);
    let progress = status.progress_mut();
    progress.stop_polling();
    progress.start_operation(view.now);
    progress.next_attempt_time = None;
    let message = format!("{why}; the operator deletes the {}", R::TEXTS.noun);
    status.set_condition(Ready, False, R::TEXTS.delete_in_flight, &message, view.now);
    status
}

/// The object is being deleted, and the broker seems to have lost the operation. The operator sends the DELETE at once,
/// unless the broker has refused it for now. If the broker does so now, polling goes on.
pub fn delete_lost_operation<R: BrokerResource>(view: &View<'_, R>, why: &str) -> R::Status {
    let mut status = view.status_copy();
    if status.progress().next_attempt_time.is_none() {
        status.progress_mut().back_off_until(view.now);
        let message = format!("{why}; the operator deletes the {}", R::TEXTS.noun);
        status.set_condition(Ready, False, R::TEXTS.delete_in_flight, &message, view.now);
    }
    status
}

fn giving_up_message<R: StatusHooks>(status: &R::Status, message: &str) -> String {
    format!("{message}; {}", R::after_giving_up(status))
}

/// The status after the operator has given up. It tries again when the spec changes.
pub fn failed<R: StatusHooks>(
    view: &View<'_, R>,
    mut status: R::Status,
    (ready, failed): (Reason, Reason),
    message: &str,
) -> R::Status {
    let Progress { unanswered, last_attempt_time, .. } = status.progress().clone();
    finish_operation(&mut status);
    if unanswered {
        // Later decisions need to know that an earlier request has no answer.
        let progress = status.progress_mut();
        progress.unanswered = true;
        progress.last_attempt_time = last_attempt_time;
    } else {
        status.clear_in_progress();
    }
    let message = giving_up_message::<R>(&status, message);
    let (state, shown) = R::ready_when_failed(&status, &message);
    status.set_condition(Ready, state, ready, &shown, view.now);
    status.set_condition(Failed, True, failed, &message, view.now);
    R::finish_failed(&mut status, view.generation());
    status
}

/// The status after the operator has given up a create that may have left something at the broker. Orphan
/// mitigation follows.
pub fn failed_with_orphan<R: StatusHooks>(
    view: &View<'_, R>,
    status: R::Status,
    reasons: (Reason, Reason),
    message: &str,
    may_take_effect_late: bool,
) -> R::Status {
    let requested = status.clone();
    let mut failed = failed(view, status, reasons, message);
    // The DELETE needs the content and the time of the request.
    failed.set_operation(CurrentOperation::Operation(R::CREATE));
    failed.copy_in_progress(&requested);
    failed.progress_mut().last_attempt_time.clone_from(&requested.progress().last_attempt_time);
    start_mitigation(view, failed, reasons.0, message, may_take_effect_late)
}

/// How often the operator repeats a create that has no answer, before orphan mitigation.
const REPETITIONS: i64 = 3;

/// Whether a create of an unknown outcome is repeated before orphan mitigation. It is if there was no answer at
/// all: the connection was lost, or the time was over. The repetition of the same PUT does no harm (OSB 2.17,
/// "Provisioning", "Binding"), and its answer says what the first one did. After an answer with a status the
/// table in OSB 2.17, "Orphan Mitigation", decides.
#[must_use]
pub fn is_repeated<S: OperationStatus>(status: &S, unknown: &UnknownOutcome) -> bool {
    unknown.status.is_none() && status.progress().unanswered_tries < REPETITIONS
}

/// Whether an operation has taken longer than the limit.
#[must_use]
pub fn has_taken_too_long<R: BrokerResource>(view: &View<'_, R>, status: &R::Status) -> bool {
    view.pace().is_overdue(status.progress().operation_start_time.as_ref())
}

/// The status that makes the operator send the same request again later.
pub fn try_again<R: BrokerResource>(
    view: &View<'_, R>,
    mut status: R::Status,
    reason: Reason,
    message: &str,
    retry_after: Option<Duration>,
) -> R::Status {
    let next = back_off(view, &mut status, retry_after);
    status.set_condition(Ready, False, reason, &messages::with_next_try(message, next), view.now);
    status
}

/// Counts a failed try, and returns the time of the next one.
pub fn back_off<R: BrokerResource>(
    view: &View<'_, R>,
    status: &mut R::Status,
    retry_after: Option<Duration>,
) -> Timestamp {
    let next = view.pace().next_try(status.progress().retries, retry_after);
    status.progress_mut().back_off(next);
    next
}

/// The status with this `Ready` condition. It does not record the generation as observed, as the operator has
/// not acted on it yet.
pub fn with_ready<R: BrokerResource>(
    view: &View<'_, R>,
    (state, reason, message): (ConditionStatus, Reason, &str),
) -> R::Status {
    let mut status = view.status_copy();
    status.set_condition(Ready, state, reason, message, view.now);
    status.set_conditions_generation(view.generation());
    status
}

/// Whether the `Ready` condition has this reason.
#[must_use]
pub fn is_ready_for<S: OperationStatus>(status: &S, reason: Reason) -> bool {
    condition::find(status.conditions(), Ready).is_some_and(|ready| ready.reason == reason.as_str())
}
