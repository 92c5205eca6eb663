//! What does an answer to a DELETE or to a poll mean for an instance or a binding? The functions here turn an
//! answer into the status that is written, or into the next request. All of them are pure.

use std::time::Duration;

use super::{
    AfterAnswer,
    call::{Answer, Call},
    phase::{Awaited, DeletePurpose, Phase},
    plan::polling_deadline,
    resource::{BrokerResource, OperationStatus, View},
    status::{self, StatusHooks},
};
use crate::{
    crd::{
        ConditionStatus::{False, Unknown},
        ConditionType::Ready,
        condition::{self, Conditioned as _},
    },
    osb::{
        self,
        outcome::{Deleted, Explanation, OperationState, Polled},
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
    let mut memory = OperationMemory { answered: Some(view.now), not_before: None, described };
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
        osb::Outcome::Answered(Deleted::Done) => delete_succeeded(view, purpose),
        osb::Outcome::Answered(Deleted::Accepted { operation }) => {
            Next::Record(status::deletion_accepted(view, purpose, operation))
        }
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => {
            Next::Record(status::delete_failed(view, purpose, &why, retry_after))
        }
    }
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
    let Phase::Polling(awaited, accepted) = view.phase else {
        return Next::Record(view.status_copy());
    };
    let overdue = view.now >= polling_deadline(view, awaited, accepted);
    let failure = (outcome.failure().cloned().unwrap_or_default(), outcome.retry_after());
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match answered_poll(view, awaited, overdue, &polled, memory) {
            Ok(next) => return next,
            Err(problem) => problem,
        },
        // Some brokers answer 404 because they have removed the operation together with the resource. Another
        // DELETE finds out, and it does no harm if the resource is gone.
        osb::Outcome::Refused(refusal) if refusal.status == 404 => match awaited {
            Awaited::Deletion(purpose) => {
                let retried = status::delete_failed(view, purpose, &refusal.message, refusal.retry_after);
                return Next::Record(retried);
            }
            Awaited::Operation(_) if view.is_being_deleted() => {
                return delete_unknown_operation(view, &refusal.message);
            }
            Awaited::Operation(_) => failure,
        },
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => failure,
    };
    if overdue {
        let why = view.redactor().message(RETRY_TIMEOUT, &problem);
        return Next::Record(operation_or_delete_failed(
            view,
            awaited,
            Some(Reason::ErrorReconciliationRetryTimeout),
            &why,
            None,
        ));
    }
    memory.not_before = retry_after.and_then(|delay| view.now.checked_add(delay).ok());
    Next::Record(record_poll_problem(view, awaited, &problem, memory))
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
            if !view.is_being_deleted() {
                return Err((why.into(), polled.retry_after));
            }
            delete_unknown_operation(view, &why.into())
        }
    })
}

/// The broker does not know the operation, and the object is being deleted. The operator stops polling and
/// sends a DELETE.
fn delete_unknown_operation<R: AnswerHooks>(view: &View<'_, R>, problem: &Explanation) -> AfterAnswer<R> {
    let why = view.redactor().message("Error polling last operation", problem);
    Next::Record(status::switch_to_deletion(view, &why))
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
    let condition = match awaited {
        Awaited::Operation(operation) => R::in_progress_condition(operation),
        Awaited::Deletion(DeletePurpose::Deletion) => Some(R::TEXTS.deleting),
        // The `OrphanMitigation` or `Ready` condition already shows the orphan mitigation.
        Awaited::Deletion(DeletePurpose::Mitigation) => None,
    };
    let Some((reason, message)) = condition else { return status };
    let message = view.redactor().with_description(message, description);
    if should_record(view, reason, &message, memory) {
        status.set_condition(Ready, False, reason, &message, view.now);
    }
    status
}

/// The poll failed, or its answer does not say how the operation stands. The status shows the problem, and
/// polling goes on.
fn record_poll_problem<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    problem: &Explanation,
    memory: &mut OperationMemory,
) -> R::Status {
    let mut status = view.status_copy();
    let reason = Reason::ErrorPollingLastOperation;
    let message = view.redactor().message("Error polling last operation", problem);
    let message = format!("{message}; the operator asks again");
    let (type_, state, message) = match awaited {
        Awaited::Operation(operation) if R::in_progress_condition(operation).is_none() => return status,
        Awaited::Operation(_) => (Ready, False, message),
        Awaited::Deletion(DeletePurpose::Deletion) => (Ready, Unknown, message),
        Awaited::Deletion(DeletePurpose::Mitigation) => status::mitigation_problem::<R>(&status, message),
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

/// Whether the `Ready` condition has this reason.
#[must_use]
pub fn is_ready_for<S: OperationStatus>(status: &S, reason: Reason) -> bool {
    condition::find(status.conditions(), Ready).is_some_and(|ready| ready.reason == reason.as_str())
}
