//! What a broker's answer means for an instance. Pure. [`poll`]: the answers to questions, here those to requests.

mod poll;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Call, Cause, Fetching, InstanceMachine, Outcome, Recipient, annotations,
    intent::start_mitigation,
    plan::Seen,
    verdict::{
        Facts, accepted, deprovisioning, give_up, is_id_ours, mitigated, not_deleted, settled, stuck, told,
        try_again,
    },
};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus::False, ConditionType::Ready, ServiceInstanceStatus, condition::Conditioned as _,
        instance::DeprovisionStatus,
    },
    osb::{
        self, RefusalReason,
        outcome::{Deleted, Doubt, Provisioned, Refusal},
        wire::{ProvisionRequest, Target},
    },
    reconcilers::{
        machine::{Absorbed, Next},
        reason::Reason,
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
        (Call::Provision(recipient, body), Outcome::Provisioned(outcome)) => {
            after_provision(observed, (recipient, body), outcome)
        }
        (Call::Update(..), Outcome::Provisioned(outcome)) => Next::Record(after_update(observed, outcome)),
        (Call::Deprovision(_, _, cause), Outcome::Deleted(outcome)) => {
            after_deprovision(observed, *cause, outcome)
        }
        (Call::Poll(recipient, target, _), Outcome::Polled(outcome)) => {
            poll::after_poll(observed, (recipient, target), outcome, &mut memory)
        }
        (Call::Fetch(_, target, fetching), Outcome::Fetched(outcome)) => {
            Next::Record(poll::after_fetch(observed, target, fetching, outcome))
        }
        // An answer to something else. The request is repeated, or polled for, from what is on record.
        _ => Next::Record(observed.status()),
    };
    Absorbed { writes: vec![], next, memory }
}

fn after_provision(
    observed: &Seen,
    (recipient, body): (&Recipient, &ProvisionRequest),
    outcome: osb::Outcome<Provisioned>,
) -> Then {
    if let osb::Outcome::Refused(refusal) = &outcome
        && is_perhaps_done(observed, refusal)
    {
        let target = Target { service_id: body.service_id.clone(), plan_id: body.plan_id.clone() };
        let fetching = Fetching::Refused(refusal.message.clone());
        return Next::Call(Call::Fetch(recipient.clone(), target, fetching));
    }
    Next::Record(provision_answered(observed, outcome))
}

/// Whether a refusal may mean that an earlier, unanswered request for the same has made the instance: nobody else uses an
/// id of ours, and some brokers answer every repetition with 409. Where the broker can be asked, it is.
fn is_perhaps_done(observed: &Seen, refusal: &Refusal) -> bool {
    let retrievable = observed.world.requested.as_ref().is_some_and(|plan| plan.instances_retrievable);
    refusal.reason == RefusalReason::Conflict
        && is_id_ours(observed)
        && retrievable
        && observed.status().progress.unanswered
}

fn provision_answered(observed: &Seen, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => {
            settled(observed, Facts { dashboard_url, ..Facts::default() }, PROVISIONED)
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
    if !status.progress.unanswered {
        status.deprovision_status = DeprovisionStatus::NotRequired;
    }
    status
}

fn provision_refused(observed: &Seen, refusal: &Refusal) -> ServiceInstanceStatus {
    let message = told(observed, "Provision call failed", &refusal.message);
    let mut status = observed.status();
    // An id that somebody else has at the broker and that the user gave is not ours to delete.
    let foreign = refusal.reason == RefusalReason::Conflict && !is_id_ours(observed);
    if foreign {
        status.progress.unanswered = false;
    }
    let for_good = foreign || refusal.reason == RefusalReason::BadRequest;
    if status.progress.unanswered && !for_good && !refusal.reason.is_passing() && is_id_ours(observed) {
        // The same request will not get another answer, so that none tells what the unanswered one has left. A conflict
        // even says that it has left something: nobody else uses our id.
        return perhaps_left_behind(observed, status, &message);
    }
    let status = without_effect(status);
    if for_good {
        let reasons = (Reason::ProvisionCallFailed, Reason::ClusterServiceBrokerReturnedFailure);
        return give_up(observed, status, reasons, &message);
    }
    try_again(observed, status, Reason::ProvisionCallFailed, &message, refusal.retry_after)
}

/// An earlier request was never answered, and its repetition is refused.
fn perhaps_left_behind(
    observed: &Seen,
    mut status: ServiceInstanceStatus,
    message: &str,
) -> ServiceInstanceStatus {
    status.progress.retries += 1;
    let message = format!("{message}, to the repetition of a request that was not answered");
    start_mitigation(observed, &status, Reason::ProvisionCallFailed, &message, true)
}

fn provision_in_doubt(observed: &Seen, doubt: &Doubt) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let message = told(observed, "Provision call failed", &doubt.message);
    let reason = match doubt.status {
        Some(_) => Reason::ProvisionCallFailed,
        None => Reason::ErrorCallingProvision,
    };
    // 201 and 202 say that there was nothing before.
    if doubt.mitigate && (is_id_ours(observed) || matches!(doubt.status, Some(201 | 202))) {
        status.progress.retries += 1;
        return start_mitigation(observed, &status, reason, &message, !doubt.answered);
    }
    status.progress.unanswered = true;
    try_again(observed, status, reason, &message, doubt.retry_after)
}

fn after_update(observed: &Seen, outcome: osb::Outcome<Provisioned>) -> ServiceInstanceStatus {
    let status = observed.status();
    match outcome {
        osb::Outcome::Answered(Provisioned::Done { dashboard_url }) => {
            settled(observed, Facts { dashboard_url, ..Facts::default() }, UPDATED)
        }
        osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url }) => {
            accepted(observed, operation, dashboard_url, UPDATING)
        }
        osb::Outcome::Refused(refusal) => {
            // 4xx to a PATCH: nothing was applied (OSB 2.17, "Service Broker Errors").
            let for_good =
                refusal.reason == RefusalReason::BadRequest || refusal.update_repeatable == Some(false);
            let unusable = refusal.instance_usable == Some(false);
            if annotations::are_being_told(&status) && !refusal.reason.is_passing() && !unusable {
                return settled(observed, Facts::default(), annotations::UNTOLD);
            }
            let failure = (Reason::UpdateInstanceCallFailed, &*refusal.message);
            let status = usable(status, refusal.instance_usable);
            not_updated(observed, status, failure, for_good, refusal.retry_after)
        }
        osb::Outcome::Unsent(unsent) => {
            let message = told(observed, "Error calling update", &unsent.message);
            try_again(observed, status, Reason::ErrorCallingUpdateInstance, &message, None)
        }
        osb::Outcome::Unknown(doubt) => {
            let mut doubtful = usable(status, doubt.instance_usable);
            doubtful.progress.unanswered = true;
            let reason = match doubt.status {
                Some(_) => Reason::UpdateInstanceCallFailed,
                None => Reason::ErrorCallingUpdateInstance,
            };
            let for_good = doubt.update_repeatable == Some(false);
            not_updated(observed, doubtful, (reason, &doubt.message), for_good, doubt.retry_after)
        }
    }
}

/// Whether the instance can be used, as the broker says with a failed update. When it does not say, what it said before
/// still holds; and at first the instance can be used.
fn usable(status: ServiceInstanceStatus, word: Option<bool>) -> ServiceInstanceStatus {
    let unusable = word.map_or(status.unusable, |usable| !usable);
    ServiceInstanceStatus { unusable, ..status }
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
            polling.progress.poll(operation);
            // What is cleaned up keeps the time of the creates: the limit holds for all of them together.
            if cause == Cause::Deletion {
                polling.progress.operation_start_time = Some(Time(observed.now));
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
