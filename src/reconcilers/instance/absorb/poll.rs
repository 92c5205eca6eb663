//! What the answers to polls and to the GET of an instance mean. Pure.

use super::{
    super::{
        Call, Cause, Fetching, Recipient,
        phase::{self, Awaited, Phase},
        plan::{Seen, polled_until},
        verdict::{
            Facts, confidential, deprovisioning, not_deleted, settled, stuck, stuck_with_orphan, told,
        },
    },
    PROVISIONED, PROVISIONING, Then, UPDATED, UPDATING, annotations, deleted, perhaps_left_behind, usable,
};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus::{False, True, Unknown},
        ConditionType::{OrphanMitigation, Ready},
        ServiceInstanceStatus,
        condition::{self, Conditioned as _},
    },
    osb::{
        self,
        outcome::{InstanceAnswer, OperationState, Polled},
        wire::Target,
    },
    reconcilers::{
        machine::Next,
        reason::Reason,
        told::{self, is_news},
    },
};

pub(super) fn after_poll(
    observed: &Seen,
    asked: (&Recipient, &Target),
    outcome: osb::Outcome<Polled>,
    memory: &mut Memory,
) -> Then {
    let Phase::Polling(awaited, since) = phase::phase(&observed.status()) else {
        return Next::Record(observed.status());
    };
    let overdue = observed.now >= polled_until(observed, awaited, since);
    let is_leaving = observed.object.metadata.deletion_timestamp.is_some();
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match (polled.state, awaited) {
            (OperationState::Succeeded, _) => return succeeded(observed, asked, awaited),
            (OperationState::Gone, Awaited::Deletion(cause)) => return deleted(observed, cause),
            (OperationState::Failed, _) => {
                let why = confidential(observed).why(polled.description.as_deref());
                let status = usable(observed.status(), polled.instance_usable);
                return Next::Record(failed(observed, status, awaited, (call_failed(awaited), &why)));
            }
            (OperationState::InProgress, _) if !overdue => {
                memory.not_before = polled.retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
                return Next::Record(described(observed, awaited, polled.description.as_deref(), memory));
            }
            (OperationState::InProgress, _) => ("the operation takes too long".to_owned(), None),
            // The instance exists or is being made, so this is no valid answer: go on polling.
            (OperationState::Gone, Awaited::Provision | Awaited::Update) => {
                let why = "the broker says that the instance is gone";
                if is_leaving {
                    return Next::Record(forgotten(observed, why));
                }
                (why.to_owned(), polled.retry_after)
            }
        },
        // Some brokers forget an operation with its instance. Another DELETE tells, and does no harm.
        osb::Outcome::Refused(refusal) if refusal.status == 404 => match awaited {
            Awaited::Deletion(cause) => {
                return Next::Record(not_deleted(observed, cause, &refusal.message, refusal.retry_after));
            }
            _ if is_leaving => return Next::Record(forgotten(observed, &refusal.message)),
            Awaited::Provision | Awaited::Update => (refusal.message, refusal.retry_after),
        },
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after),
        osb::Outcome::Unsent(unsent) => (unsent.message, None),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after),
    };
    if overdue {
        let why = told(observed, told::TOO_LONG, &problem);
        let verdict = (Reason::ErrorReconciliationRetryTimeout, &*why);
        return Next::Record(failed(observed, observed.status(), awaited, verdict));
    }
    memory.not_before = retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
    Next::Record(unclear(observed, awaited, &problem, memory))
}

/// The broker does not know of the operation, and the object is to go: nobody waits for its end any more, and a DELETE during
/// an operation is legal (OSB 2.17, "Deprovisioning").
fn forgotten(observed: &Seen, problem: &str) -> ServiceInstanceStatus {
    let mut status = observed.status();
    deprovisioning(&mut status);
    status.progress.stop_polling();
    status.progress.begin(observed.now);
    let message = told(observed, "Error polling last operation", problem);
    let message = format!("{message}; the instance is deleted all the same");
    status.mark(Ready, False, Reason::DeprovisionRequestInFlight, &message, observed.now);
    status
}

/// The operation has come to a good end. What came of it, the broker tells where it can be asked.
fn succeeded(observed: &Seen, (recipient, target): (&Recipient, &Target), awaited: Awaited) -> Then {
    let (fetching, words) = match awaited {
        Awaited::Provision => (Fetching::Provisioned, PROVISIONED),
        Awaited::Update => (Fetching::Updated, UPDATED),
        Awaited::Deletion(cause) => return deleted(observed, cause),
    };
    let Some(plan) = observed.world.requested.as_ref().filter(|plan| plan.instances_retrievable) else {
        return Next::Record(settled(observed, Facts::default(), words));
    };
    let target = Target { plan_id: plan.plan_id.clone(), ..target.clone() };
    Next::Call(Call::Fetch(recipient.clone(), target, fetching))
}

pub(super) fn after_fetch(
    observed: &Seen,
    target: &Target,
    fetching: &Fetching,
    outcome: osb::Outcome<InstanceAnswer>,
) -> ServiceInstanceStatus {
    match (fetching, outcome) {
        (Fetching::Refused(_), osb::Outcome::Answered(answer))
            if answer.plan_id.as_ref().is_none_or(|plan| *plan == target.plan_id) =>
        {
            settled(observed, answer.into(), PROVISIONED)
        }
        (Fetching::Refused(message), _) => {
            let message = told(observed, "Provision call failed", message);
            perhaps_left_behind(observed, observed.status(), &message)
        }
        // The success was the broker's word already; what it does not tell stays as it is.
        (Fetching::Provisioned, outcome) => settled(observed, facts(outcome), PROVISIONED),
        (Fetching::Updated, outcome) => settled(observed, facts(outcome), UPDATED),
    }
}

fn facts(outcome: osb::Outcome<InstanceAnswer>) -> Facts {
    match outcome {
        osb::Outcome::Answered(answer) => answer.into(),
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => Facts::default(),
    }
}

fn call_failed(awaited: Awaited) -> Reason {
    match awaited {
        Awaited::Provision => Reason::ProvisionCallFailed,
        Awaited::Update => Reason::UpdateInstanceCallFailed,
        Awaited::Deletion(_) => Reason::DeprovisionCallFailed,
    }
}

/// The operation has come to nothing. `why` is fit to be shown.
fn failed(
    observed: &Seen,
    status: ServiceInstanceStatus,
    awaited: Awaited,
    (reason, why): (Reason, &str),
) -> ServiceInstanceStatus {
    match awaited {
        // The broker answered, so no late effect is to be expected.
        Awaited::Provision => {
            let reasons = (Reason::ProvisionCallFailed, reason);
            stuck_with_orphan(observed, status, reasons, &format!("Provision call failed: {why}"), false)
        }
        // Whether or not the broker knows of an annotation, the instance is what it was.
        Awaited::Update if annotations::are_being_told(&status) && !status.unusable => {
            settled(observed, Facts::default(), annotations::UNTOLD)
        }
        // How far it came nobody knows: the next update says everything.
        Awaited::Update => {
            let mut doubtful = status;
            doubtful.progress.unanswered = true;
            let reasons = (Reason::UpdateInstanceCallFailed, reason);
            stuck(observed, doubtful, reasons, &format!("Update call failed: {why}"))
        }
        Awaited::Deletion(cause) => not_deleted(observed, cause, why, None),
    }
}

/// The broker is still at it: what it says is shown, but not every word of a talkative one is written.
fn described(
    observed: &Seen,
    awaited: Awaited,
    description: Option<&str>,
    memory: &mut Memory,
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let (reason, sentence) = match awaited {
        Awaited::Provision => PROVISIONING,
        // The instance is what it was meanwhile.
        Awaited::Update if annotations::are_being_told(&status) => return status,
        Awaited::Update => UPDATING,
        Awaited::Deletion(Cause::Deletion) => {
            (Reason::Deprovisioning, "The instance is being deprovisioned asynchronously")
        }
        // Its condition says already what is going on.
        Awaited::Deletion(Cause::Mitigation) => return status,
    };
    let message = confidential(observed).described(sentence, description);
    if is_news(condition::find(&status.conditions, Ready), (reason, &message), memory, observed.now) {
        status.mark(Ready, False, reason, &message, observed.now);
    }
    status
}

/// No answer that says how the operation stands.
fn unclear(observed: &Seen, awaited: Awaited, problem: &str, memory: &mut Memory) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let reason = Reason::ErrorPollingLastOperation;
    let message = told(observed, "Error polling last operation", problem);
    let message = format!("{message}; the broker is asked again until it says");
    let (of, state) = match awaited {
        Awaited::Update if annotations::are_being_told(&status) => return status,
        Awaited::Provision | Awaited::Update => (Ready, False),
        Awaited::Deletion(Cause::Deletion) => (Ready, Unknown),
        // `Ready` keeps why there is something to undo.
        Awaited::Deletion(Cause::Mitigation) => (OrphanMitigation, True),
    };
    if is_news(condition::find(&status.conditions, of), (reason, &message), memory, observed.now) {
        status.mark(of, state, reason, &message, observed.now);
    }
    status
}
