//! What a broker's answer means for a binding. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    BindingMachine, Call, Cause, Outcome, credentials,
    intent::{INJECTED, settle, start_mitigation},
    phase::{self, Awaited, Phase},
    plan::{Seen, addressee, polled_until},
    secret,
    verdict::{
        confidential, credentials_lost, give_up, mitigated, not_bound, not_deleted, postpone,
        stuck_with_orphan, told, try_again, unbinding, why_undone,
    },
};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus::{False, Unknown},
        ConditionType::Ready,
        ServiceBindingStatus,
        condition::{self, Conditioned as _},
    },
    osb::{
        self, RefusalReason,
        outcome::{BindingAnswer, Bound, Credentials, Deleted, Lifetime, OperationState, Polled},
    },
    reconcilers::{
        machine::{Absorbed, Next},
        reason::Reason,
        told::{self, is_news},
        write::Write,
    },
};

type Then = Next<BindingMachine>;
type Writes = Vec<Vec<Write>>;

/// What did that answer mean?
pub(super) fn absorb(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<BindingMachine> {
    // What was last said of an earlier operation does not keep the next one from being described.
    let described = observed.memory.described.filter(|_| matches!(call, Call::Poll(..) | Call::Fetch(..)));
    let answered = Some(observed.now);
    let mut memory = Memory { answered, not_before: None, failures: 0, described, ..observed.memory };
    let (writes, next) = match (call, outcome) {
        (Call::Bind(..), Outcome::Bound(outcome)) => after_bind(observed, outcome),
        (Call::Unbind(.., cause), Outcome::Deleted(outcome)) => {
            (vec![], after_unbind(observed, *cause, outcome))
        }
        (Call::Poll(..), Outcome::Polled(outcome)) => (vec![], after_poll(observed, outcome, &mut memory)),
        (Call::Fetch(..), Outcome::Fetched(outcome)) => after_fetch(observed, outcome, &mut memory),
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
        osb::Outcome::Answered(Bound::Done(answer)) => return inject(observed, given(&status, answer)),
        osb::Outcome::Answered(Bound::Accepted { operation }) => {
            let mut polling = status;
            polling.progress.accept(operation);
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
            if refusal.reason.is_passing() {
                try_again(observed, not_bound(status), &message, refusal.retry_after)
            } else {
                refused(observed, status, refusal.reason, &message)
            }
        }
        osb::Outcome::Unsent(unsent) => {
            try_again(observed, not_bound(status), &told(observed, "Bind call failed", &unsent.message), None)
        }
        osb::Outcome::Unknown(doubt) if doubt.mitigate => {
            let mut doubtful = status;
            doubtful.progress.retries += 1;
            start_mitigation(
                observed,
                &doubtful,
                &told(observed, "Bind call failed", &doubt.message),
                !doubt.answered,
            )
        }
        osb::Outcome::Unknown(doubt) => {
            let mut doubtful = status;
            doubtful.progress.unanswered = true;
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

/// The broker refuses for good. What an earlier, unanswered bind may have done is not undone by that.
fn refused(
    observed: &Seen,
    mut status: ServiceBindingStatus,
    reason: RefusalReason,
    message: &str,
) -> ServiceBindingStatus {
    if status.external_properties.is_some() {
        // The credentials were there once: another binding takes the place of this one.
        return start_mitigation(observed, &status, message, false);
    }
    let conflict = reason == RefusalReason::Conflict;
    if conflict && !observed.object.spec.external_id.is_empty() {
        // An id that somebody else has at the broker and that the user gave is not ours to delete.
        status.progress.unanswered = false;
    } else if conflict && status.progress.unanswered {
        // Nobody else uses our id: it is what the unanswered request has left, and its credentials are lost.
        status.progress.retries += 1;
        let message = format!("{message}, to the repetition of a request that was not answered");
        return start_mitigation(observed, &status, &message, true);
    }
    give_up(observed, status, (Reason::BindCallFailed, Reason::ServiceBindingReturnedFailure), message)
}

/// A binding need not have credentials ("Binding", "Response"). But a broker that gives them once only answers a repeated
/// request without them, and then they are lost.
fn given(status: &ServiceBindingStatus, answer: BindingAnswer) -> BindingAnswer {
    let asked_before = status.progress.unanswered || status.external_properties.is_some();
    let none = || (!asked_before).then(|| Credentials::new(serde_json::Map::new()));
    BindingAnswer { credentials: answer.credentials.or_else(none), ..answer }
}

/// What is said of a binding that the broker gave no credentials for.
const EMPTY: &str = "Injected bind result: the broker gave no credentials, so the Secret is empty; if there should be \
                     some, ask the broker's operator, then delete this binding and create it again";

/// Credentials go into their Secret first, and then the status says so.
fn inject(observed: &Seen, answer: BindingAnswer) -> (Writes, Then) {
    let BindingAnswer { credentials, lifetime, unserved } = answer;
    let outcome = match &credentials {
        Some(credentials) if credentials.expose().is_empty() => EMPTY,
        Some(_) | None => INJECTED,
    };
    let message = match unserved.join(", ").as_str() {
        "" => outcome.to_owned(),
        what => {
            format!("{outcome}; the broker also gave {what}, which means nothing to a Kubernetes cluster")
        }
    };
    let data = credentials.ok_or_else(missing).and_then(|credentials| data(observed, lifetime, &credentials));
    match data {
        Ok(secret) => {
            (vec![vec![secret]], Next::Record(settle(observed, &observed.status(), lifetime, &message)))
        }
        Err(message) => (vec![], Next::Record(credentials_lost(observed, &message))),
    }
}

fn missing() -> String {
    "the broker's answer has no credentials; ask the broker's operator what this binding is for".to_owned()
}

fn data(observed: &Seen, lifetime: Lifetime, credentials: &Credentials) -> Result<Write, String> {
    let object = &observed.object;
    let data =
        credentials::to_data(credentials, &object.spec.secret_transforms, &observed.world.other_secrets)?;
    Ok(secret::build(object, &phase::binding_id(object, &observed.status()), lifetime, data))
}

fn after_unbind(observed: &Seen, cause: Cause, outcome: osb::Outcome<Deleted>) -> Then {
    match outcome {
        osb::Outcome::Answered(Deleted::Done) => deleted(observed, cause),
        osb::Outcome::Answered(Deleted::Accepted { operation }) => {
            let mut polling = observed.status();
            polling.progress.poll(operation);
            // What is cleaned up keeps the time of the binds: the limit holds for all of them together.
            if cause == Cause::Deletion {
                polling.progress.operation_start_time = Some(Time(observed.now));
                unbinding(&mut polling);
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

fn after_poll(observed: &Seen, outcome: osb::Outcome<Polled>, memory: &mut Memory) -> Then {
    let status = observed.status();
    let Phase::Polling(awaited, since) = phase::phase(&status) else {
        return Next::Record(status);
    };
    let overdue = observed.now >= polled_until(observed, awaited, since);
    let is_leaving = observed.object.metadata.deletion_timestamp.is_some();
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match (polled.state, awaited) {
            (OperationState::Succeeded, Awaited::Bind) if is_leaving => {
                return Next::Record(leave(observed, "The binding has been created"));
            }
            (OperationState::Succeeded, Awaited::Bind) => return fetch(observed),
            (OperationState::Succeeded | OperationState::Gone, Awaited::Unbind(cause)) => {
                return deleted(observed, cause);
            }
            (OperationState::Failed, _) => {
                let why = confidential(observed).why(polled.description.as_deref());
                return Next::Record(failed(observed, awaited, Reason::BindCallFailed, &why));
            }
            (OperationState::InProgress, _) if !overdue => {
                memory.not_before = polled.retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
                return Next::Record(described(observed, awaited, polled.description.as_deref(), memory));
            }
            (OperationState::InProgress, _) => ("the operation takes too long".to_owned(), None),
            // The binding exists or is being made, so this is no valid answer: go on polling.
            (OperationState::Gone, Awaited::Bind) => {
                let why = "the broker says that the binding is gone";
                if is_leaving {
                    return forgotten(observed, why);
                }
                (why.to_owned(), polled.retry_after)
            }
        },
        // Some brokers forget an operation with its binding. Another DELETE tells, and does no harm.
        osb::Outcome::Refused(refusal) if refusal.status == 404 => match awaited {
            Awaited::Unbind(cause) => {
                return Next::Record(not_deleted(observed, cause, &refusal.message, refusal.retry_after));
            }
            Awaited::Bind if is_leaving => return forgotten(observed, &refusal.message),
            Awaited::Bind => (refusal.message, refusal.retry_after),
        },
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after),
        osb::Outcome::Unsent(unsent) => (unsent.message, None),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after),
    };
    if overdue {
        let why = told(observed, told::TOO_LONG, &problem);
        return Next::Record(failed(observed, awaited, Reason::ErrorReconciliationRetryTimeout, &why));
    }
    memory.not_before = retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
    Next::Record(unclear(observed, awaited, &problem, memory))
}

/// The object is to go: nobody waits for a bind that the broker has forgotten, or for the credentials of one that has
/// succeeded, and a DELETE during a bind is legal (OSB 2.17, "Unbinding").
fn leave(observed: &Seen, why: &str) -> ServiceBindingStatus {
    let mut status = observed.status();
    unbinding(&mut status);
    status.progress.stop_polling();
    status.progress.begin(observed.now);
    status.mark(
        Ready,
        False,
        Reason::UnbindingRequestInFlight,
        &format!("{why}; it is deleted"),
        observed.now,
    );
    status
}

/// The broker does not know of a bind.
fn forgotten(observed: &Seen, problem: &str) -> Then {
    Next::Record(leave(observed, &told(observed, "Error polling last operation", problem)))
}

/// An asynchronous bind has succeeded: its credentials are to be had by a GET.
fn fetch(observed: &Seen) -> Then {
    let status = observed.status();
    match addressee(observed, &status) {
        Some((recipient, target)) => Next::Call(Call::Fetch(recipient, target)),
        None => Next::Record(status),
    }
}

fn after_fetch(observed: &Seen, outcome: osb::Outcome<BindingAnswer>, memory: &mut Memory) -> (Writes, Then) {
    let (why, retry_after, gone) = match outcome {
        osb::Outcome::Answered(answer) => return inject(observed, answer),
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after, refusal.status == 404),
        osb::Outcome::Unsent(unsent) => (unsent.message, None, false),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after, false),
    };
    let mut status = observed.status();
    let reason = Reason::FetchingBindingFailed;
    let message = told(observed, "Fetching the binding failed", &why);
    if let Phase::Polling(awaited, since) = phase::phase(&status) {
        if observed.now >= polled_until(observed, awaited, since) {
            let reasons = (reason, Reason::ErrorReconciliationRetryTimeout);
            return (vec![], Next::Record(stuck_with_orphan(observed, status, reasons, &message, false)));
        }
        // Asked again with the next poll: that the bind has succeeded does not change.
        memory.not_before = retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
        if is_news(condition::find(&status.conditions, Ready), (reason, &message), memory, observed.now) {
            status.mark(Ready, False, reason, &message, observed.now);
        }
        return (vec![], Next::Record(status));
    }
    if gone {
        status.mark(Ready, False, reason, &message, observed.now);
        return (vec![], Next::Record(start_mitigation(observed, &status, &message, false)));
    }
    let message = told::again(&message, postpone(observed, &mut status, retry_after));
    status.mark(Ready, False, reason, &message, observed.now);
    (vec![], Next::Record(status))
}

/// The operation has come to nothing. `why` is fit to be shown.
fn failed(observed: &Seen, awaited: Awaited, reason: Reason, why: &str) -> ServiceBindingStatus {
    match awaited {
        Awaited::Bind => {
            let reasons = (Reason::BindCallFailed, reason);
            let message = format!("Bind call failed: {why}");
            // The broker answered, so no late effect is to be expected.
            stuck_with_orphan(observed, observed.status(), reasons, &message, false)
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
    let mut status = observed.status();
    let (reason, sentence) = match awaited {
        Awaited::Bind => (Reason::Binding, "The binding is being created asynchronously"),
        Awaited::Unbind(Cause::Deletion) => {
            (Reason::Unbinding, "The binding is being deleted asynchronously")
        }
        // Its condition says already what is going on.
        Awaited::Unbind(Cause::Mitigation) => return status,
    };
    let message = confidential(observed).described(sentence, description);
    if is_news(condition::find(&status.conditions, Ready), (reason, &message), memory, observed.now) {
        status.mark(Ready, False, reason, &message, observed.now);
    }
    status
}

/// No answer that says how the operation stands.
fn unclear(observed: &Seen, awaited: Awaited, problem: &str, memory: &mut Memory) -> ServiceBindingStatus {
    let mut status = observed.status();
    let reason = Reason::ErrorPollingLastOperation;
    let message = told(observed, "Error polling last operation", problem);
    let message = format!("{message}; the broker is asked again until it says");
    let (state, message) = match awaited {
        Awaited::Bind => (False, message),
        Awaited::Unbind(Cause::Deletion) => (Unknown, message),
        Awaited::Unbind(Cause::Mitigation) => (Unknown, told::before(&message, why_undone(&status))),
    };
    if is_news(condition::find(&status.conditions, Ready), (reason, &message), memory, observed.now) {
        status.mark(Ready, state, reason, &message, observed.now);
    }
    status
}
