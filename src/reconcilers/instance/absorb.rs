//! What a broker's answer means for an instance. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Call, Cause, InstanceMachine, Outcome,
    intent::start_mitigation,
    phase::{self, Awaited, Phase},
    plan::Seen,
    verdict::{
        accepted, deprovisioning, give_up, mitigated, not_deleted, settled, stuck, stuck_with_orphan, told,
        try_again,
    },
};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus::{False, Unknown},
        ConditionType::Ready,
        ServiceInstanceStatus,
        condition::{self, Conditioned as _},
        instance::DeprovisionStatus,
    },
    osb::{
        self, RefusalReason,
        outcome::{Deleted, Doubt, OperationState, Polled, Provisioned, Refusal},
    },
    reconcilers::{
        backoff::is_polled_out,
        machine::{Absorbed, Next},
        reason::Reason,
        told::is_news,
    },
};

type Then = Next<InstanceMachine>;

const PROVISIONED: (Reason, &str) =
    (Reason::ProvisionedSuccessfully, "The instance was provisioned successfully");
const PROVISIONING: (Reason, &str) =
    (Reason::Provisioning, "The instance is being provisioned asynchronously");
const UPDATED: (Reason, &str) =
    (Reason::InstanceUpdatedSuccessfully, "The instance was updated successfully");
const UPDATING: (Reason, &str) = (Reason::UpdatingInstance, "The instance is being updated asynchronously");

/// What did that answer mean?
pub(super) fn absorb(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    // What was last said of an earlier operation does not keep the next one from being described.
    let described = observed.memory.described.filter(|_| matches!(call, Call::Poll(..)));
    let answered = Some(observed.now);
    let mut memory = Memory { answered, not_before: None, failures: 0, described, ..observed.memory };
    let next = match (call, outcome) {
        (Call::Provision(..), Outcome::Provisioned(outcome)) => {
            Next::Record(after_provision(observed, outcome))
        }
        (Call::Update(..), Outcome::Provisioned(outcome)) => Next::Record(after_update(observed, outcome)),
        (Call::Deprovision(_, _, cause), Outcome::Deleted(outcome)) => {
            after_deprovision(observed, *cause, outcome)
        }
        (Call::Poll(..), Outcome::Polled(outcome)) => after_poll(observed, outcome, &mut memory),
        (Call::Provision(..) | Call::Update(..), Outcome::Deleted(_) | Outcome::Polled(_))
        | (Call::Deprovision(..), Outcome::Provisioned(_) | Outcome::Polled(_))
        | (Call::Poll(..), Outcome::Provisioned(_) | Outcome::Deleted(_)) => Next::Record(observed.status()),
    };
    Absorbed { writes: vec![], next, memory }
}

fn after_provision(observed: &Seen, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => {
            settled(observed, dashboard_url, PROVISIONED)
        }
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => {
            accepted(observed, operation, dashboard_url, PROVISIONING)
        }
        osb::Outcome::Refused(refusal) => provision_refused(observed, &refusal),
        osb::Outcome::Unsent(unsent) => {
            let message = told(observed, "Error calling provision", &unsent.message);
            let status = without_effect(observed.status());
            try_again(observed, status, Reason::ErrorCallingProvision, &message, None)
        }
        osb::Outcome::Unknown(doubt) => provision_in_doubt(observed, &doubt),
    }
}

/// This request had no effect. What an earlier, unanswered one may have done is not undone by that.
fn without_effect(mut status: ServiceInstanceStatus) -> ServiceInstanceStatus {
    if !status.unanswered {
        status.deprovision_status = DeprovisionStatus::NotRequired;
    }
    status
}

fn provision_refused(observed: &Seen, refusal: &Refusal) -> ServiceInstanceStatus {
    let message = told(observed, "Provision call failed", &refusal.message);
    let mut status = observed.status();
    // An id that somebody else has at the broker and that the user gave is not ours to delete; and it is not tried again
    // either, because a later try without an answer would make us delete it.
    let foreign = refusal.reason == RefusalReason::Conflict && !observed.object.spec.external_id.is_empty();
    if foreign {
        status.unanswered = false;
    }
    let for_good = foreign || refusal.reason == RefusalReason::BadRequest;
    if status.unanswered && !for_good && !refusal.reason.is_passing() {
        // The same request will not get another answer, so that none tells what the unanswered one has left. A conflict
        // even says that it has left something: nobody else uses our id.
        status.retries += 1;
        return start_mitigation(observed, &status, Reason::ProvisionCallFailed, &message, true);
    }
    let status = without_effect(status);
    if for_good {
        let reasons = (Reason::ProvisionCallFailed, Reason::ClusterServiceBrokerReturnedFailure);
        return give_up(observed, status, reasons, &message);
    }
    try_again(observed, status, Reason::ProvisionCallFailed, &message, refusal.retry_after)
}

fn provision_in_doubt(observed: &Seen, doubt: &Doubt) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let message = told(observed, "Provision call failed", &doubt.message);
    let reason = match doubt.status {
        Some(_) => Reason::ProvisionCallFailed,
        None => Reason::ErrorCallingProvision,
    };
    if doubt.mitigate {
        status.retries += 1;
        return start_mitigation(observed, &status, reason, &message, !doubt.answered);
    }
    status.unanswered = true;
    try_again(observed, status, reason, &message, doubt.retry_after)
}

fn after_update(observed: &Seen, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    let status = observed.status();
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => {
            settled(observed, dashboard_url, UPDATED)
        }
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => {
            accepted(observed, operation, dashboard_url, UPDATING)
        }
        osb::Outcome::Refused(refusal) => {
            // 4xx to a PATCH: nothing was applied (OSB 2.17, "Service Broker Errors").
            let for_good =
                refusal.reason == RefusalReason::BadRequest || refusal.update_repeatable == Some(false);
            let failure = (Reason::UpdateInstanceCallFailed, &*refusal.message);
            not_updated(observed, status, failure, for_good, refusal.retry_after)
        }
        osb::Outcome::Unsent(unsent) => {
            let message = told(observed, "Error calling update", &unsent.message);
            try_again(observed, status, Reason::ErrorCallingUpdateInstance, &message, None)
        }
        osb::Outcome::Unknown(doubt) => {
            let doubtful = ServiceInstanceStatus { unanswered: true, ..status };
            let reason = match doubt.status {
                Some(_) => Reason::UpdateInstanceCallFailed,
                None => Reason::ErrorCallingUpdateInstance,
            };
            let for_good = doubt.update_repeatable == Some(false);
            not_updated(observed, doubtful, (reason, &doubt.message), for_good, doubt.retry_after)
        }
    }
}

fn not_updated(
    observed: &Seen,
    status: ServiceInstanceStatus,
    (reason, why): (Reason, &str),
    for_good: bool,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    let message = told(observed, "Update call failed", why);
    if for_good {
        return stuck(observed, status, (reason, Reason::UpdateInstanceCallFailed), &message);
    }
    try_again(observed, status, reason, &message, retry_after)
}

fn after_deprovision(observed: &Seen, cause: Cause, outcome: osb::Outcome<Deleted>) -> Then {
    match outcome {
        osb::Outcome::Answered(Deleted::Done) => deleted(observed, cause),
        osb::Outcome::Answered(Deleted::Accepted { operation }) => {
            let mut polling = observed.status();
            polling.async_op_in_progress = true;
            polling.last_operation = operation;
            polling.next_attempt_time = None;
            polling.operation_start_time = Some(Time(observed.now));
            if cause == Cause::Deletion {
                deprovisioning(&mut polling);
                let message = "The instance is being deprovisioned asynchronously";
                polling.mark(Ready, False, Reason::Deprovisioning, message, observed.now);
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
    let Phase::Polling(awaited, since) = phase::phase(&observed.status()) else {
        return Next::Record(observed.status());
    };
    let overdue = is_polled_out(observed, since, observed.world.maximum_polling_duration);
    let (problem, retry_after) = match outcome {
        osb::Outcome::Answered(polled) => match (polled.state, awaited) {
            (OperationState::Succeeded, _) => return succeeded(observed, awaited),
            (OperationState::Gone, Awaited::Deletion(cause)) => return deleted(observed, cause),
            (OperationState::Failed, _) => {
                let words = super::verdict::confidential(observed).quoted(polled.description.as_deref());
                let why = words.unwrap_or_else(|| "the broker gave no reason".to_owned());
                return Next::Record(failed(observed, awaited, call_failed(awaited), &why));
            }
            (OperationState::InProgress, _) if !overdue => {
                memory.not_before = polled.retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
                return Next::Record(described(observed, awaited, polled.description.as_deref(), memory));
            }
            (OperationState::InProgress, _) => ("the operation takes too long".to_owned(), None),
            // The instance exists or is being made, so this is no valid answer: go on polling.
            (OperationState::Gone, Awaited::Provision | Awaited::Update) => {
                ("the broker says that the instance is gone".to_owned(), polled.retry_after)
            }
        },
        // Some brokers forget an operation with its instance. Another DELETE tells, and does no harm.
        osb::Outcome::Refused(refusal)
            if refusal.status == 404
                && let Awaited::Deletion(cause) = awaited =>
        {
            return Next::Record(not_deleted(observed, cause, &refusal.message, refusal.retry_after));
        }
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after),
        osb::Outcome::Unsent(unsent) => (unsent.message, None),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after),
    };
    if overdue {
        let why =
            told(observed, "Stopping reconciliation retries because too much time has elapsed", &problem);
        return Next::Record(failed(observed, awaited, Reason::ErrorReconciliationRetryTimeout, &why));
    }
    memory.not_before = retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
    Next::Record(unclear(observed, awaited, &problem, memory))
}

fn succeeded(observed: &Seen, awaited: Awaited) -> Then {
    match awaited {
        Awaited::Provision => Next::Record(settled(observed, None, PROVISIONED)),
        Awaited::Update => Next::Record(settled(observed, None, UPDATED)),
        Awaited::Deletion(cause) => deleted(observed, cause),
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
fn failed(observed: &Seen, awaited: Awaited, reason: Reason, why: &str) -> ServiceInstanceStatus {
    let status = observed.status();
    match awaited {
        // The broker answered, so no late effect is to be expected.
        Awaited::Provision => {
            let reasons = (Reason::ProvisionCallFailed, reason);
            stuck_with_orphan(observed, status, reasons, &format!("Provision call failed: {why}"), false)
        }
        // How far it came nobody knows: the next update says everything.
        Awaited::Update => {
            let doubtful = ServiceInstanceStatus { unanswered: true, ..status };
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
        Awaited::Update => UPDATING,
        Awaited::Deletion(Cause::Deletion) => {
            (Reason::Deprovisioning, "The instance is being deprovisioned asynchronously")
        }
        // Its condition says already what is going on.
        Awaited::Deletion(Cause::Mitigation) => return status,
    };
    let message = match super::verdict::confidential(observed).quoted(description) {
        Some(words) => format!("{sentence} ({words})"),
        None => sentence.to_owned(),
    };
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
    let state = if matches!(awaited, Awaited::Deletion(_)) { Unknown } else { False };
    if is_news(condition::find(&status.conditions, Ready), (reason, &message), memory, observed.now) {
        status.mark(Ready, state, reason, &message, observed.now);
    }
    status
}
