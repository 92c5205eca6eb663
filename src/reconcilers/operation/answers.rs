//! What does an answer to a DELETE or to a poll mean for an instance or a binding? The functions here turn an
//! answer into the status that is written, or into the next request. All of them are pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    AfterAnswer,
    call::{Answer, Call},
    phase::{Awaited, DeletePurpose, Phase},
    plan::{deletion_waits, polling_deadline},
    resource::{BrokerResource, OperationStatus as _, View},
    status::{self, StatusHooks},
};
use crate::{
    clock::later,
    crd::{
        ConditionStatus::{False, Unknown},
        ConditionType::Ready,
        condition::Conditioned as _,
    },
    osb::{
        self, RefusalReason,
        outcome::{Deleted, Explanation, OperationState, Polled, Refusal},
    },
    reconcilers::{
        memory::OperationMemory,
        messages::{self, RETRY_TIMEOUT},
        reason::Reason,
        reconciler::{Absorbed, Next},
        writes::Write,
    },
};

/// The part of reading answers that differs between instances and bindings.
pub trait AnswerHooks: StatusHooks {
    /// Whether a reply belongs to the asynchronous operation that is being polled.
    #[must_use]
    fn continues_operation(_: &Self::Reply) -> bool {
        false
    }
    /// What a reply means: the writes that come before the next step, and that step.
    fn absorb_reply(
        view: &View<'_, Self>,
        reply: Self::Reply,
        memory: &mut OperationMemory,
    ) -> (Vec<Vec<Write>>, AfterAnswer<Self>);
    /// The status or the next request after an accepted operation has succeeded.
    fn operation_succeeded(view: &View<'_, Self>, operation: Self::Operation) -> AfterAnswer<Self>;
    /// The status after an accepted operation has failed, or takes too long. `why` has no secret values, so
    /// it may be shown to users.
    fn operation_failed(
        view: &View<'_, Self>,
        operation: Self::Operation,
        reason: Option<Reason>,
        why: &str,
        usable: Option<bool>,
    ) -> Self::Status;
    /// The status after the API server has rejected writes that an answer asked for.
    #[must_use]
    fn absorb_rejected_write(view: &View<'_, Self>, _message: &str) -> Self::Status {
        view.status_copy()
    }
}

/// Turns an answer into writes, the next step and the memory of the object.
pub fn absorb<R: AnswerHooks>(
    view: &View<'_, R>,
    answer: Answer<R::Reply>,
) -> Absorbed<R::Status, Call<R::Request>, OperationMemory> {
    let continues = match &answer {
        Answer::Poll(_) => true,
        Answer::Delete(..) => false,
        Answer::Request(reply) => R::continues_operation(reply),
    };
    // The limit on how often descriptions are written applies to one operation. The first description of
    // another operation is written at once.
    let described = view.memory.described.filter(|_| continues);
    let mut memory = OperationMemory { answered: Some(view.now), described, ..OperationMemory::default() };
    let (writes, next) = match answer {
        Answer::Request(reply) => R::absorb_reply(view, reply, &mut memory),
        Answer::Delete(purpose, outcome) => (vec![], after_delete(view, purpose, outcome)),
        Answer::Poll(outcome) => (vec![], after_poll(view, outcome, &mut memory)),
    };
    Absorbed { writes, next, memory }
}

fn after_delete<R: AnswerHooks>(
    view: &View<'_, R>,
    purpose: DeletePurpose,
    outcome: osb::Outcome<Deleted>,
) -> AfterAnswer<R> {
    let (why, retry_after) = (outcome.failure().cloned().unwrap_or_default(), outcome.retry_after());
    match outcome {
        // The broker finishes its operation first (OSB 2.17, "Blocking Operations").
        osb::Outcome::Refused(refusal)
            if refusal.reason == RefusalReason::ConcurrencyError && view.phase.awaits_operation() =>
        {
            Next::Record(deletion_is_blocked(view, &refusal))
        }
        osb::Outcome::Answered(Deleted::Done) => delete_succeeded(view, purpose),
        osb::Outcome::Answered(Deleted::Accepted { operation }) => {
            Next::Record(status::deletion_accepted(view, purpose, operation))
        }
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => {
            Next::Record(status::delete_failed(view, purpose, &why, retry_after))
        }
    }
}

/// The broker refuses the DELETE until its operation has ended. The operator goes on polling, and sends the DELETE
/// again later.
fn deletion_is_blocked<R: AnswerHooks>(view: &View<'_, R>, refusal: &Refusal) -> R::Status {
    let mut status = view.status_copy();
    let mut next = status::back_off(view, &mut status, refusal.retry_after);
    if let Phase::Polling(awaited, since) = view.phase {
        // At least one poll comes between two DELETEs.
        let answered = OperationMemory { answered: Some(view.now), ..OperationMemory::default() };
        let until = polling_deadline(view, awaited, since);
        next = view.pace().next_poll(answered, since, until).map_or(next, |poll| poll.max(next));
        status.progress_mut().back_off_until(next);
    }
    let refused = view.redactor().message(R::TEXTS.delete_failed_sentence, &refusal.message);
    let message = format!("{refused}; {}", deletion_waits(view, next));
    status.set_condition(Ready, False, R::TEXTS.delete_in_flight, &message, view.now);
    status
}

/// The broker holds nothing for this object any more.
fn delete_succeeded<R: AnswerHooks>(view: &View<'_, R>, purpose: DeletePurpose) -> AfterAnswer<R> {
    match purpose {
        // The object stays for as long as others need it, and its status must not say that it can be used.
        DeletePurpose::Deletion if view.has_other_finalizers() => Next::Record(status::deleted(view)),
        DeletePurpose::Deletion => Next::RemoveFinalizer,
        DeletePurpose::Mitigation => Next::Record(status::mitigation_succeeded(view)),
    }
}

fn after_poll<R: AnswerHooks>(
    view: &View<'_, R>,
    outcome: osb::Outcome<Polled>,
    memory: &mut OperationMemory,
) -> AfterAnswer<R> {
    let Phase::Polling(awaited, since) = view.phase else {
        return Next::Record(view.status_copy());
    };
    let until = polling_deadline(view, awaited, since);
    let overdue = view.now >= until;
    let is_lost = seems_lost(&outcome);
    let failure = (outcome.failure().cloned().unwrap_or_default(), outcome.retry_after());
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match answered_poll(view, awaited, overdue, &polled, memory) {
            Ok(next) => return next,
            Err(problem) => problem,
        },
        // Some brokers answer 404 because they have removed the operation together with the resource, and some
        // answer 400 because they have lost it. Another DELETE finds out, and it does no harm if the resource is
        // gone.
        osb::Outcome::Refused(refusal) => match awaited {
            Awaited::Deletion(purpose) if matches!(refusal.status, 400 | 404) => {
                let retried = status::delete_failed(view, purpose, &refusal.message, refusal.retry_after);
                return Next::Record(retried);
            }
            Awaited::Deletion(_) | Awaited::Operation(_) => failure,
        },
        osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => failure,
    };
    let keeps_from_deletion = view.phase.awaits_operation() && view.is_being_deleted();
    if is_lost && keeps_from_deletion {
        let why = view.redactor().message("Error polling last operation", &problem);
        return Next::Record(status::delete_lost_operation(view, &why));
    }
    if overdue {
        let why = view.redactor().message(RETRY_TIMEOUT, &problem);
        // A DELETE may have taken effect meanwhile, so the status must not say that the resource can be used.
        if keeps_from_deletion {
            return Next::Record(status::switch_to_deletion(view, &why));
        }
        return Next::Record(operation_or_delete_failed(
            view,
            awaited,
            Some(Reason::ErrorReconciliationRetryTimeout),
            &why,
            None,
        ));
    }
    memory.not_before = retry_after.and_then(|delay| view.now.checked_add(delay).ok());
    Next::Record(record_poll_problem(view, awaited, &problem, is_lost, until, memory))
}

/// Whether the broker seems to have lost the operation: it does not know the operation or the request (4xx), or it
/// has an error of its own (5xx). By OSB 2.17, "Polling Last Operation", such an answer is no end of the operation,
/// so polling goes on. But the operation need not end any more.
fn seems_lost(outcome: &osb::Outcome<Polled>) -> bool {
    match outcome {
        osb::Outcome::Answered(polled) => polled.state == OperationState::Gone,
        osb::Outcome::Refused(refusal) => !refusal.reason.is_passing(),
        osb::Outcome::Unsent(_) => false,
        // 503 means that the broker cannot answer for the moment.
        osb::Outcome::Unknown(unknown) => {
            unknown.answered
                && unknown.status.is_some_and(|status| (500..=599).contains(&status) && status != 503)
        }
    }
}

/// Handles a valid answer to a poll. `Err`: the answer does not say how the operation stands, or the
/// operation takes too long.
fn answered_poll<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    overdue: bool,
    polled: &Polled,
    memory: &mut OperationMemory,
) -> Result<AfterAnswer<R>, (Explanation, Option<Duration>)> {
    Ok(match (polled.state, awaited) {
        (OperationState::Succeeded, Awaited::Operation(operation)) => R::operation_succeeded(view, operation),
        (OperationState::Succeeded | OperationState::Gone, Awaited::Deletion(purpose)) => {
            delete_succeeded(view, purpose)
        }
        (OperationState::Failed, _) => {
            let why = view.redactor().reason(polled.description.as_deref());
            Next::Record(operation_or_delete_failed(view, awaited, None, &why, polled.instance_usable))
        }
        (OperationState::InProgress, _) if !overdue => {
            memory.not_before = polled.retry_after.and_then(|delay| view.now.checked_add(delay).ok());
            Next::Record(record_progress(view, awaited, polled.description.as_deref(), memory))
        }
        (OperationState::InProgress, _) => return Err(("the operation takes too long".into(), None)),
        // 410 is valid only for a deletion (OSB 2.17, "Polling Last Operation"). The resource exists or is
        // being created, so the answer counts as a problem, and polling goes on.
        (OperationState::Gone, Awaited::Operation(_)) => {
            let why = format!("the broker says that the {} is gone", R::TEXTS.noun);
            return Err((why.into(), polled.retry_after));
        }
    })
}

/// The operation or the deletion has failed. `why` has no secret values, so it may be shown to users.
fn operation_or_delete_failed<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    reason: Option<Reason>,
    why: &str,
    usable: Option<bool>,
) -> R::Status {
    match awaited {
        Awaited::Operation(operation) => R::operation_failed(view, operation, reason, why, usable),
        Awaited::Deletion(purpose) => status::delete_failed(view, purpose, &why.into(), None),
    }
}

/// The operation is still in progress. The status shows the broker's description, but not every change of it
/// is written.
fn record_progress<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    description: Option<&str>,
    memory: &mut OperationMemory,
) -> R::Status {
    let mut status = view.status_copy();
    let (reason, message) = match awaited {
        // `Ready` says what the deletion waits for.
        Awaited::Operation(_) if view.is_being_deleted() => return status,
        Awaited::Operation(operation) => match R::in_progress_condition(operation) {
            Some((reason, message)) => (reason, view.redactor().with_description(message, description)),
            None => return status,
        },
        Awaited::Deletion(DeletePurpose::Deletion) => {
            let (reason, message) = R::TEXTS.deleting;
            let message = view.redactor().with_description(message, description);
            (reason, format!("{message}{}", long_deletion(view, awaited)))
        }
        // The `OrphanMitigation` or `Ready` condition already shows the orphan mitigation.
        Awaited::Deletion(DeletePurpose::Mitigation) => return status,
    };
    if should_record(view, reason, &message, memory) {
        status.set_condition(Ready, False, reason, &message, view.now);
    }
    status
}

/// The time after which the operator says how a deletion ends that the broker does not end.
const LONG_DELETION: SignedDuration = SignedDuration::from_mins(10);

/// What happens next if the broker does not end a deletion, and what the user can do. Empty if the deletion does not
/// take long yet.
fn long_deletion<R: BrokerResource>(view: &View<'_, R>, awaited: Awaited<R::Operation>) -> String {
    let Phase::Polling(_, since) = view.phase else { return String::new() };
    if view.now < later(since, LONG_DELETION) {
        return String::new();
    }
    let until = polling_deadline(view, awaited, since);
    let letting_go = status::letting_go::<R>();
    format!("; the operator asks until {until:.0}, and then sends the DELETE again; {letting_go}")
}

/// The poll failed, or its answer does not say how the operation stands. The status shows the problem, and
/// polling goes on until this time.
fn record_poll_problem<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    problem: &Explanation,
    is_lost: bool,
    until: Timestamp,
    memory: &mut OperationMemory,
) -> R::Status {
    let mut status = view.status_copy();
    let reason = Reason::ErrorPollingLastOperation;
    let message = view.redactor().message("Error polling last operation", problem);
    let again = format!("the operator asks again, until {until:.0}");
    let (type_, state, message) = match awaited {
        // `Ready` says what the deletion waits for.
        Awaited::Operation(_) if view.is_being_deleted() => return status,
        Awaited::Operation(operation) if R::in_progress_condition(operation).is_none() => return status,
        Awaited::Operation(operation) if is_lost => {
            let (name, noun) = (R::operation_name(operation), R::TEXTS.noun);
            let message = format!(
                "{message}; the broker seems to have lost the {name}: {again}, and then the {name} counts as failed; ask \
                 the operator of the broker; if you delete the {noun}, the operator sends the DELETE at once"
            );
            (Ready, False, message)
        }
        Awaited::Operation(_) => (Ready, False, format!("{message}; {again}")),
        Awaited::Deletion(DeletePurpose::Deletion) => {
            let long = long_deletion(view, awaited);
            let next = if long.is_empty() { format!("; {again}") } else { long };
            (Ready, Unknown, format!("{message}{next}"))
        }
        Awaited::Deletion(DeletePurpose::Mitigation) => {
            status::mitigation_problem::<R>(&status, format!("{message}; {again}"))
        }
    };
    if should_record(view, reason, &message, memory) {
        status.set_condition(type_, state, reason, &message, view.now);
    }
    status
}

/// Whether a message about an operation in progress is written to the status. A message with another reason
/// is written at once. A new message with the same reason is written only after an interval.
pub fn should_record<R: BrokerResource>(
    view: &View<'_, R>,
    reason: Reason,
    message: &str,
    memory: &mut OperationMemory,
) -> bool {
    let shown = view.status.conditions().iter().filter(|condition| condition.reason == reason.as_str());
    messages::should_record(
        shown.map(|condition| &*condition.message),
        message,
        &mut memory.described,
        view.now,
    )
}
