//! What the answers to DELETE and to polls mean for an instance or a binding. Pure.

use std::time::Duration;

use super::{
    AfterAnswer,
    call::{Answer, Call},
    phase::{Awaited, Cause, Phase},
    plan::polls_end,
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
        messages::{self, TOO_LONG},
        reason::Reason,
        reconciler::{Absorbed, Next},
        writes::Write,
    },
};

/// What a kind adds to the reading of answers.
pub trait AnswerHooks: StatusHooks {
    /// Whether a reply belongs to the operation that polls describe.
    #[must_use]
    fn continues_operation(_: &Self::Reply) -> bool {
        false
    }
    /// What a reply means: what is written before the next step, and that step.
    fn absorb_reply(
        view: &View<'_, Self>,
        reply: Self::Reply,
        memory: &mut OperationMemory,
    ) -> (Vec<Vec<Write>>, AfterAnswer<Self>);
    /// An accepted operation has succeeded.
    fn operation_succeeded(view: &View<'_, Self>, operation: Self::Operation) -> AfterAnswer<Self>;
    /// An accepted operation has failed, or takes too long. `why` is fit to be shown.
    fn operation_failed(
        view: &View<'_, Self>,
        operation: Self::Operation,
        reason: Option<Reason>,
        why: &str,
        usable: Option<bool>,
    ) -> Self::Status;
    /// The status after the API server rejected writes that an answer asked for.
    #[must_use]
    fn absorb_rejected_write(view: &View<'_, Self>, _message: &str) -> Self::Status {
        view.status_copy()
    }
}

/// What does an answer mean?
pub fn absorb<R: AnswerHooks>(
    view: &View<'_, R>,
    answer: Answer<R::Reply>,
) -> Absorbed<R::Status, Call<R::Request>, OperationMemory> {
    let continues = match &answer {
        Answer::Poll(_) => true,
        Answer::Delete(..) => false,
        Answer::Request(reply) => R::continues_operation(reply),
    };
    // A description of an earlier operation does not delay the first one of the next.
    let described = view.memory.described.filter(|_| continues);
    let mut memory = OperationMemory { answered: Some(view.now), not_before: None, described };
    let (writes, next) = match answer {
        Answer::Request(reply) => R::absorb_reply(view, reply, &mut memory),
        Answer::Delete(cause, outcome) => (vec![], after_delete(view, cause, outcome)),
        Answer::Poll(outcome) => (vec![], after_poll(view, outcome, &mut memory)),
    };
    Absorbed { writes, next, memory }
}

fn after_delete<R: AnswerHooks>(
    view: &View<'_, R>,
    cause: Cause,
    outcome: osb::Outcome<Deleted>,
) -> AfterAnswer<R> {
    let (why, retry_after) = (outcome.failure().cloned().unwrap_or_default(), outcome.retry_after());
    match outcome {
        osb::Outcome::Answered(Deleted::Done) => deleted(view, cause),
        osb::Outcome::Answered(Deleted::Accepted { operation }) => {
            Next::Record(status::deletion_accepted(view, cause, operation))
        }
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => {
            Next::Record(status::not_deleted(view, cause, &why, retry_after))
        }
    }
}

/// The broker has nothing any more.
fn deleted<R: AnswerHooks>(view: &View<'_, R>, cause: Cause) -> AfterAnswer<R> {
    match cause {
        Cause::Deletion => Next::Release,
        Cause::Mitigation => Next::Record(status::mitigated(view)),
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
    let overdue = view.now >= polls_end(view, awaited, accepted);
    let failure = (outcome.failure().cloned().unwrap_or_default(), outcome.retry_after());
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match answered_poll(view, awaited, overdue, &polled, memory) {
            Ok(next) => return next,
            Err(problem) => problem,
        },
        // Some brokers forget an operation with its resource. Another DELETE tells, and is harmless.
        osb::Outcome::Refused(refusal) if refusal.status == 404 => match awaited {
            Awaited::Deletion(cause) => {
                let again = status::not_deleted(view, cause, &refusal.message, refusal.retry_after);
                return Next::Record(again);
            }
            Awaited::Operation(_) if view.is_being_deleted() => return forgotten(view, &refusal.message),
            Awaited::Operation(_) => failure,
        },
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => failure,
    };
    if overdue {
        let why = view.redactor().message(TOO_LONG, &problem);
        return Next::Record(ended_in_failure(
            view,
            awaited,
            Some(Reason::ErrorReconciliationRetryTimeout),
            &why,
            None,
        ));
    }
    memory.not_before = retry_after.and_then(|delay| view.now.checked_add(delay).ok());
    Next::Record(unclear(view, awaited, &problem, memory))
}

/// A valid answer to a poll. `Err`: it does not say how the operation stands, or the operation takes too long.
fn answered_poll<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    overdue: bool,
    polled: &Polled,
    memory: &mut OperationMemory,
) -> Result<AfterAnswer<R>, (Explanation, Option<Duration>)> {
    Ok(match (polled.state, awaited) {
        (OperationState::Succeeded, Awaited::Operation(operation)) => R::operation_succeeded(view, operation),
        (OperationState::Succeeded | OperationState::Gone, Awaited::Deletion(cause)) => deleted(view, cause),
        (OperationState::Failed, _) => {
            let why = view.redactor().reason(polled.description.as_deref());
            Next::Record(ended_in_failure(view, awaited, None, &why, polled.instance_usable))
        }
        (OperationState::InProgress, _) if !overdue => {
            memory.not_before = polled.retry_after.and_then(|delay| view.now.checked_add(delay).ok());
            Next::Record(described(view, awaited, polled.description.as_deref(), memory))
        }
        (OperationState::InProgress, _) => return Err(("the operation takes too long".into(), None)),
        // It exists or is being made, so this is no valid answer: polling goes on.
        (OperationState::Gone, Awaited::Operation(_)) => {
            let why = format!("the broker says that the {} is gone", R::WORDS.noun);
            if !view.is_being_deleted() {
                return Err((why.into(), polled.retry_after));
            }
            forgotten(view, &why.into())
        }
    })
}

/// The broker does not know of the operation, and the object is being deleted: a DELETE settles it.
fn forgotten<R: AnswerHooks>(view: &View<'_, R>, problem: &Explanation) -> AfterAnswer<R> {
    let why = view.redactor().message("Error polling last operation", problem);
    Next::Record(status::leave(view, &why))
}

/// The operation has failed. `why` is fit to be shown.
fn ended_in_failure<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    reason: Option<Reason>,
    why: &str,
    usable: Option<bool>,
) -> R::Status {
    match awaited {
        Awaited::Operation(operation) => R::operation_failed(view, operation, reason, why, usable),
        Awaited::Deletion(cause) => status::not_deleted(view, cause, &why.into(), None),
    }
}

/// The operation goes on. The broker's description is shown, but not each of many is written.
fn described<R: AnswerHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    description: Option<&str>,
    memory: &mut OperationMemory,
) -> R::Status {
    let mut status = view.status_copy();
    let words = match awaited {
        Awaited::Operation(operation) => R::progress_words(operation),
        Awaited::Deletion(Cause::Deletion) => Some(R::WORDS.deleting),
        // The condition says already what is going on.
        Awaited::Deletion(Cause::Mitigation) => None,
    };
    let Some((reason, sentence)) = words else { return status };
    let message = view.redactor().with_description(sentence, description);
    if is_news(view, reason, &message, memory) {
        status.set_condition(Ready, False, reason, &message, view.now);
    }
    status
}

/// No answer that says how the operation stands.
fn unclear<R: AnswerHooks>(
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
        Awaited::Operation(operation) if R::progress_words(operation).is_none() => return status,
        Awaited::Operation(_) => (Ready, False, message),
        Awaited::Deletion(Cause::Deletion) => (Ready, Unknown, message),
        Awaited::Deletion(Cause::Mitigation) => status::mitigation_problem::<R>(&status, message),
    };
    if is_news(view, reason, &message, memory) {
        status.set_condition(type_, state, reason, &message, view.now);
    }
    status
}

/// Whether a finding about an operation that is under way is to be written: another reason at once, other words for the
/// same reason only now and then.
pub fn is_news<R: BrokerResource>(
    view: &View<'_, R>,
    reason: Reason,
    message: &str,
    memory: &mut OperationMemory,
) -> bool {
    let said = view.status.conditions().iter().filter(|condition| condition.reason == reason.as_str());
    messages::is_news(said.map(|condition| &*condition.message), message, &mut memory.described, view.now)
}

/// Whether `Ready` has this reason.
#[must_use]
pub fn is_ready_for<S: OperationStatus>(status: &S, reason: Reason) -> bool {
    condition::find(status.conditions(), Ready).is_some_and(|ready| ready.reason == reason.as_str())
}
