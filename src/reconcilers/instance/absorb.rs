//! What a broker's answer means for an instance. Pure.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt as _;

use super::{
    Call, Cause, InstanceMachine, Outcome,
    intent::{end_operation, start_mitigation},
    phase::{self, Awaited, Phase},
    plan::Seen,
};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus::{False, True, Unknown},
        ConditionType::{Failed, OrphanMitigation, Ready},
        ServiceInstanceStatus,
        condition::{self, Conditioned as _},
        instance::{DeprovisionStatus, InstanceOperation, ProvisionStatus},
    },
    osb::{
        self, RefusalReason,
        outcome::{Deleted, OperationState, Polled, Provisioned},
    },
    reconcilers::{
        attempt::attempt_id,
        backoff::{later, next_try},
        machine::{Absorbed, Next},
        reason::Reason,
    },
};

type Then = Next<InstanceMachine>;

/// The least time between two descriptions of one operation that are written to status.
const DESCRIPTION_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

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
    let status = observed.status();
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => settled(
            observed,
            dashboard_url,
            (Reason::ProvisionedSuccessfully, "The instance was provisioned successfully"),
        ),
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => accepted(
            observed,
            operation,
            dashboard_url,
            (Reason::Provisioning, "The instance is being provisioned asynchronously"),
        ),
        osb::Outcome::Refused(refusal) => {
            let message = told(observed, "Provision call failed", &refusal.message);
            let mut refused = status;
            // What an earlier, unanswered request may have done is not undone by this refusal. But an id that somebody else
            // has at the broker (409) and that the user gave is not ours to delete.
            let foreign =
                refusal.reason == RefusalReason::Conflict && !observed.object.spec.external_id.is_empty();
            if foreign {
                refused.unanswered = false;
            }
            if !refused.unanswered {
                refused.deprovision_status = DeprovisionStatus::NotRequired;
            }
            if refusal.reason == RefusalReason::BadRequest && refused.unanswered {
                return stuck_with_orphan(
                    observed,
                    refused,
                    Reason::ClusterServiceBrokerReturnedFailure,
                    &message,
                    true,
                );
            }
            if refusal.reason == RefusalReason::BadRequest {
                return stuck(
                    observed,
                    refused,
                    (Reason::ProvisionCallFailed, Reason::ClusterServiceBrokerReturnedFailure),
                    &message,
                );
            }
            try_again(observed, refused, Reason::ProvisionCallFailed, &message, refusal.retry_after)
        }
        osb::Outcome::Unsent(unsent) => {
            let mut unsent_status = status;
            if !unsent_status.unanswered {
                unsent_status.deprovision_status = DeprovisionStatus::NotRequired;
            }
            let message = told(observed, "Error calling provision", &unsent.message);
            try_again(observed, unsent_status, Reason::ErrorCallingProvision, &message, None)
        }
        osb::Outcome::Unknown(doubt) if doubt.mitigate => {
            let mut doubtful = status;
            doubtful.retries += 1;
            start_mitigation(
                observed,
                &doubtful,
                &told(observed, "Provision call failed", &doubt.message),
                !doubt.answered,
            )
        }
        osb::Outcome::Unknown(doubt) => {
            let mut doubtful = status;
            doubtful.unanswered = true;
            let message = told(observed, "Provision call failed", &doubt.message);
            try_again(observed, doubtful, Reason::ProvisionCallFailed, &message, None)
        }
    }
}

fn after_update(observed: &Seen, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    let status = observed.status();
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => settled(
            observed,
            dashboard_url,
            (Reason::InstanceUpdatedSuccessfully, "The instance was updated successfully"),
        ),
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => accepted(
            observed,
            operation,
            dashboard_url,
            (Reason::UpdatingInstance, "The instance is being updated asynchronously"),
        ),
        osb::Outcome::Refused(refusal) => {
            let message = told(observed, "Update call failed", &refusal.message);
            // 4xx to a PATCH: nothing was applied (OSB 2.17, "Service Broker Errors").
            if refusal.reason == RefusalReason::BadRequest || refusal.update_repeatable == Some(false) {
                return stuck(
                    observed,
                    status,
                    (Reason::UpdateInstanceCallFailed, Reason::UpdateInstanceCallFailed),
                    &message,
                );
            }
            try_again(observed, status, Reason::UpdateInstanceCallFailed, &message, refusal.retry_after)
        }
        osb::Outcome::Unsent(unsent) => {
            let message = told(observed, "Error calling update", &unsent.message);
            try_again(observed, status, Reason::ErrorCallingUpdateInstance, &message, None)
        }
        osb::Outcome::Unknown(doubt) => {
            let mut doubtful = status;
            doubtful.unanswered = true;
            let reason = if doubt.answered {
                Reason::UpdateInstanceCallFailed
            } else {
                Reason::ErrorCallingUpdateInstance
            };
            let message = told(observed, "Update call failed", &doubt.message);
            try_again(observed, doubtful, reason, &message, doubt.retry_after)
        }
    }
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
                polling.current_operation = InstanceOperation::Deprovision;
                polling.mark(
                    Ready,
                    False,
                    Reason::Deprovisioning,
                    "The instance is being deprovisioned asynchronously",
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

/// The broker has not deleted it. Deletion is never given up: what is forgotten here is paid for there.
fn not_deleted(
    observed: &Seen,
    cause: Cause,
    why: &str,
    retry_after: Option<std::time::Duration>,
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let message = told(observed, "Deprovision call failed", why);
    match cause {
        Cause::Deletion => {
            if status.current_operation != InstanceOperation::Deprovision {
                status.current_operation = InstanceOperation::Deprovision;
                status.operation_start_time = Some(Time(observed.now));
                status.retries = 0;
            }
            status.mark(Ready, Unknown, Reason::DeprovisionCallFailed, &message, observed.now);
        }
        Cause::Mitigation => {
            status.mark(
                OrphanMitigation,
                True,
                Reason::OrphanMitigationFailed,
                &format!("Orphan mitigation failed: {message}"),
                observed.now,
            );
        }
    }
    status.async_op_in_progress = false;
    status.last_operation = None;
    postpone(observed, &mut status, retry_after);
    status
}

/// What a create may have left is gone: the next attempt begins afresh, under another id.
fn mitigated(observed: &Seen) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let retries = status.retries;
    end_operation(&mut status);
    status.orphan_mitigation_in_progress = false;
    status.in_progress_properties = None;
    status.provision_status = ProvisionStatus::NotProvisioned;
    status.deprovision_status = DeprovisionStatus::NotRequired;
    status.attempt += 1;
    status.instance_id =
        attempt_id(&observed.object.spec.external_id, observed.object.uid().as_deref(), status.attempt);
    status.unmark(OrphanMitigation);
    if !condition::is_true(&status.conditions, Failed) {
        status.mark(
            Ready,
            False,
            Reason::OrphanMitigationSuccessful,
            "Orphan mitigation was completed successfully",
            observed.now,
        );
        status.retries = retries;
        status.next_attempt_time = Some(MicroTime(next_try(observed, retries.max(1) - 1, None)));
    }
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
            (OperationState::Succeeded, _) => return succeeded(observed, awaited),
            (OperationState::Gone, Awaited::Deletion(cause)) => return deleted(observed, cause),
            (OperationState::Failed, _) => {
                return failed(
                    observed,
                    awaited,
                    polled.description.as_deref().unwrap_or("the broker gave no reason"),
                );
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
        osb::Outcome::Refused(refusal) => (refusal.message, refusal.retry_after),
        osb::Outcome::Unsent(unsent) => (unsent.message, None),
        osb::Outcome::Unknown(doubt) => (doubt.message, doubt.retry_after),
    };
    if overdue {
        return failed(
            observed,
            awaited,
            &format!("Stopping reconciliation retries because too much time has elapsed: {problem}"),
        );
    }
    memory.not_before = retry_after.and_then(|delay| observed.now.checked_add(delay).ok());
    let mut polling = status;
    let message = told(observed, "Error polling last operation", &problem);
    let state = if matches!(awaited, Awaited::Deletion(_)) { Unknown } else { False };
    polling.mark(Ready, state, Reason::ErrorPollingLastOperation, &message, observed.now);
    Next::Record(polling)
}

fn succeeded(observed: &Seen, awaited: Awaited) -> Then {
    match awaited {
        Awaited::Provision => Next::Record(settled(
            observed,
            None,
            (Reason::ProvisionedSuccessfully, "The instance was provisioned successfully"),
        )),
        Awaited::Update => Next::Record(settled(
            observed,
            None,
            (Reason::InstanceUpdatedSuccessfully, "The instance was updated successfully"),
        )),
        Awaited::Deletion(cause) => deleted(observed, cause),
    }
}

fn failed(observed: &Seen, awaited: Awaited, why: &str) -> Then {
    let status = observed.status();
    Next::Record(match awaited {
        // The broker answered, so no late effect is to be expected.
        Awaited::Provision => stuck_with_orphan(
            observed,
            status,
            Reason::ProvisionCallFailed,
            &told(observed, "Provision call failed", why),
            false,
        ),
        Awaited::Update => stuck(
            observed,
            status,
            (Reason::UpdateInstanceCallFailed, Reason::UpdateInstanceCallFailed),
            &told(observed, "Update call failed", why),
        ),
        Awaited::Deletion(cause) => not_deleted(observed, cause, why, None),
    })
}

/// The broker is still at it: what it says is shown, but not every word of a talkative one is written.
fn described(
    observed: &Seen,
    awaited: Awaited,
    description: Option<&str>,
    memory: &mut Memory,
) -> ServiceInstanceStatus {
    let present = observed.status();
    let (reason, sentence) = match awaited {
        Awaited::Provision => (Reason::Provisioning, "The instance is being provisioned asynchronously"),
        Awaited::Update => (Reason::UpdatingInstance, "The instance is being updated asynchronously"),
        Awaited::Deletion(Cause::Deletion) => {
            (Reason::Deprovisioning, "The instance is being deprovisioned asynchronously")
        }
        // Its condition says already what is going on.
        Awaited::Deletion(Cause::Mitigation) => return present,
    };
    let message = match description {
        Some(description) if !description.is_empty() => {
            told_as(observed, format!("{sentence} ({description})"))
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

/// The broker has what the spec asks for.
fn settled(
    observed: &Seen,
    dashboard_url: Option<String>,
    (reason, message): (Reason, &str),
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    end_operation(&mut status);
    if let Some(properties) = status.in_progress_properties.take() {
        status.external_properties = Some(properties);
    }
    // Absent and null mean that it stays (OSB 2.17, "Updating a Service Instance").
    status.dashboard_url = dashboard_url.filter(|url| !url.is_empty()).or(status.dashboard_url);
    status.provision_status = ProvisionStatus::Provisioned;
    status.deprovision_status = DeprovisionStatus::Required;
    status.reconciled_generation = status.observed_generation;
    status.unmark(Failed);
    status.unmark(OrphanMitigation);
    status.mark(Ready, True, reason, message, observed.now);
    status
}

/// The broker has begun: it is polled from now on.
fn accepted(
    observed: &Seen,
    operation: Option<String>,
    dashboard_url: Option<String>,
    (reason, message): (Reason, &str),
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    status.async_op_in_progress = true;
    status.last_operation = operation;
    status.dashboard_url = dashboard_url.filter(|url| !url.is_empty()).or(status.dashboard_url);
    status.retries = 0;
    status.unanswered = false;
    status.mark(Ready, False, reason, message, observed.now);
    status
}

/// Nothing more is tried until the spec changes.
fn stuck(
    observed: &Seen,
    mut status: ServiceInstanceStatus,
    (ready, failed): (Reason, Reason),
    message: &str,
) -> ServiceInstanceStatus {
    let (unanswered, sent) = (status.unanswered, status.last_attempt_time.clone());
    end_operation(&mut status);
    // A deletion still has to know of an earlier request that was never answered.
    status.unanswered = unanswered;
    status.last_attempt_time = sent.filter(|_| unanswered);
    status.in_progress_properties = status.in_progress_properties.filter(|_| unanswered);
    status.mark(Ready, False, ready, message, observed.now);
    status.mark(Failed, True, failed, message, observed.now);
    status
}

/// Nothing more is tried until the spec changes, but what the broker may hold is deleted there.
fn stuck_with_orphan(
    observed: &Seen,
    status: ServiceInstanceStatus,
    failed: Reason,
    message: &str,
    may_still_come: bool,
) -> ServiceInstanceStatus {
    let asked = status.clone();
    let stuck = stuck(observed, status, (Reason::ProvisionCallFailed, failed), message);
    // The DELETE needs what was asked for, and when.
    let stuck = ServiceInstanceStatus {
        current_operation: InstanceOperation::Provision,
        in_progress_properties: asked.in_progress_properties,
        last_attempt_time: asked.last_attempt_time,
        ..stuck
    };
    start_mitigation(observed, &stuck, message, may_still_come)
}

/// The same again later, unless it has gone on for too long.
fn try_again(
    observed: &Seen,
    mut status: ServiceInstanceStatus,
    reason: Reason,
    message: &str,
    retry_after: Option<std::time::Duration>,
) -> ServiceInstanceStatus {
    let since = status.operation_start_time.as_ref().map_or(observed.now, |time| time.0);
    if observed.now > later(since, observed.tunables.give_up_after) {
        let message = format!("Stopping reconciliation retries because too much time has elapsed: {message}");
        return stuck(observed, status, (reason, Reason::ErrorReconciliationRetryTimeout), &message);
    }
    status.mark(Ready, False, reason, message, observed.now);
    postpone(observed, &mut status, retry_after);
    status
}

fn postpone(observed: &Seen, status: &mut ServiceInstanceStatus, retry_after: Option<std::time::Duration>) {
    status.next_attempt_time = Some(MicroTime(next_try(observed, status.retries, retry_after)));
    status.retries += 1;
}

/// A sentence with what the broker said, without any secret parameter that it may have echoed.
fn told(observed: &Seen, what: &str, why: &str) -> String {
    told_as(observed, format!("{what}: {why}"))
}

fn told_as(observed: &Seen, text: String) -> String {
    match &observed.world.parameters {
        Some(Ok(parameters)) => parameters.redact(&text),
        Some(Err(_)) | None => text,
    }
}
