//! What an instance's status says after an answer: it is there, it is coming, it is not, or nobody knows. Pure.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    Cause, annotations,
    intent::{end_operation, start_mitigation},
    plan::Seen,
};
use crate::{
    crd::{
        ConditionStatus::{False, True, Unknown},
        ConditionType::{Failed, OrphanMitigation, Ready},
        ServiceInstanceStatus,
        condition::{self, Conditioned as _},
        instance::{DeprovisionStatus, InstanceOperation, InstanceProperties, ProvisionStatus},
        plan::MaintenanceInfo,
        progress::Progress,
    },
    osb::outcome::InstanceAnswer,
    reconcilers::{
        attempt::attempt_id,
        backoff::{is_overdue, next_try},
        reason::Reason,
        told::{self, Confidential, Sent},
    },
};

/// What the broker has said about the instance itself. Absent means that it stays as it was (OSB 2.17, "Updating a Service
/// Instance").
#[derive(Default)]
pub(super) struct Facts {
    pub dashboard_url: Option<String>,
    pub maintenance_version: Option<String>,
}

impl From<InstanceAnswer> for Facts {
    fn from(InstanceAnswer { dashboard_url, maintenance_version, .. }: InstanceAnswer) -> Self {
        Self { dashboard_url, maintenance_version }
    }
}

/// The broker has what the spec asks for.
pub(super) fn settled(
    observed: &Seen,
    Facts { dashboard_url, maintenance_version }: Facts,
    (reason, message): (Reason, &str),
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    end_operation(&mut status);
    if let Some(properties) = status.in_progress_properties.take() {
        status.external_properties = Some(InstanceProperties { user_info: None, ..properties });
    }
    if let Some(properties) = status.external_properties.as_mut().filter(|_| maintenance_version.is_some()) {
        properties.maintenance_version = maintenance_version;
    }
    status.available_maintenance = available_maintenance(observed, status.external_properties.as_ref());
    status.unusable = false;
    status.dashboard_url = dashboard_url.or(status.dashboard_url);
    status.provision_status = ProvisionStatus::Provisioned;
    status.deprovision_status = DeprovisionStatus::Required;
    status.reconciled_generation = status.observed_generation;
    status.unmark(Failed);
    status.unmark(OrphanMitigation);
    status.mark(Ready, True, reason, message, observed.now);
    status
}

/// The version of the plan, if the instance does not have it.
pub(super) fn available_maintenance(
    observed: &Seen,
    properties: Option<&InstanceProperties>,
) -> Option<MaintenanceInfo> {
    let properties = properties?;
    let offered = observed.world.plan(properties.plan_id())?.maintenance.as_ref()?;
    (properties.maintenance_version.as_ref() != Some(&offered.version)).then(|| offered.clone())
}

/// The broker has begun: it is polled from now on.
pub(super) fn accepted(
    observed: &Seen,
    operation: Option<String>,
    dashboard_url: Option<String>,
    (reason, message): (Reason, &str),
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    status.progress.accept(operation);
    status.dashboard_url = dashboard_url.or(status.dashboard_url);
    if !annotations::are_being_told(&status) {
        status.mark(Ready, False, reason, message, observed.now);
        if let Some(asked) = &mut status.in_progress_properties {
            // Somebody else may edit the spec before the operation has come to its end.
            asked.user_info.clone_from(&observed.object.spec.user_info);
        }
    }
    status
}

/// What a create may have left is gone: the next attempt begins afresh, under another id, and not sooner than if the
/// create had merely failed.
pub(super) fn mitigated(observed: &Seen) -> ServiceInstanceStatus {
    let mut status = observed.status();
    status.current_operation = InstanceOperation::None;
    status.progress.undone();
    status.in_progress_properties = None;
    status.external_properties = None;
    status.unusable = false;
    status.dashboard_url = None;
    status.provision_status = ProvisionStatus::NotProvisioned;
    status.deprovision_status = DeprovisionStatus::NotRequired;
    status.instance_id = attempt_id(
        &observed.object.spec.external_id,
        observed.object.uid().as_deref(),
        status.progress.attempt,
    );
    status.unmark(OrphanMitigation);
    let failed = condition::is_true(&status.conditions, Failed);
    let shown = condition::find(&status.conditions, Ready);
    // Why the instance failed is what the user must mend, so it stays.
    if failed && shown.is_some_and(|ready| ready.status == False) {
        status.progress.end();
        return status;
    }
    let cause = shown.and_then(told::cause).map(str::to_owned);
    if failed || is_overdue(observed, status.progress.operation_start_time.as_ref()) {
        status.progress.end();
        let undone = told::before(told::UNDONE, cause.as_deref());
        let message = given_up(&format!("{}: {}", told::TOO_LONG, cause.as_deref().unwrap_or(told::UNDONE)));
        let shown = if failed { &undone } else { &message };
        status.mark(Ready, False, Reason::OrphanMitigationSuccessful, shown, observed.now);
        if !failed {
            status.mark(Failed, True, Reason::ErrorReconciliationRetryTimeout, &message, observed.now);
        }
        return status;
    }
    let next = next_try(observed, status.progress.retries.max(1) - 1, None);
    status.progress.wait(next);
    let message = told::undone(cause.as_deref(), next);
    status.mark(Ready, False, Reason::OrphanMitigationSuccessful, &message, observed.now);
    status
}

/// The broker has not deleted it. Deletion is never given up: what is forgotten here is paid for there.
pub(super) fn not_deleted(
    observed: &Seen,
    cause: Cause,
    why: &str,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    let mut status = observed.status();
    let message = told(observed, "Deprovision call failed", why);
    match cause {
        Cause::Deletion => {
            if status.current_operation != InstanceOperation::Deprovision {
                deprovisioning(&mut status);
                status.progress.begin(observed.now);
            }
            let next = postpone(observed, &mut status, retry_after);
            let message = told::again(&message, next);
            status.mark(Ready, Unknown, Reason::DeprovisionCallFailed, &message, observed.now);
        }
        Cause::Mitigation => {
            let next = postpone(observed, &mut status, retry_after);
            let message = told::again(&format!("Orphan mitigation failed: {message}"), next);
            status.mark(OrphanMitigation, True, Reason::OrphanMitigationFailed, &message, observed.now);
        }
    }
    status.progress.stop_polling();
    status
}

/// The deletion of the object takes over, also from a mitigation.
pub(super) fn deprovisioning(status: &mut ServiceInstanceStatus) {
    status.current_operation = InstanceOperation::Deprovision;
    status.progress.orphan_mitigation_in_progress = false;
    status.unmark(OrphanMitigation);
}

/// That it is the user's turn.
fn given_up(message: &str) -> String {
    format!("{message}; not tried again until the spec changes or updateRequests grows")
}

/// Nothing more is tried until the spec changes.
pub(super) fn stuck(
    observed: &Seen,
    mut status: ServiceInstanceStatus,
    (ready, failed): (Reason, Reason),
    message: &str,
) -> ServiceInstanceStatus {
    let (unanswered, sent) = (status.progress.unanswered, status.progress.last_attempt_time.clone());
    end_operation(&mut status);
    // Whatever comes next still has to know of an earlier request that was never answered.
    status.progress.unanswered = unanswered;
    status.progress.last_attempt_time = sent.filter(|_| unanswered);
    status.in_progress_properties = status.in_progress_properties.filter(|_| unanswered);
    let exists = status.provision_status == ProvisionStatus::Provisioned;
    let message = &given_up(message);
    let (state, shown) = match (exists, status.unusable) {
        (false, _) => (False, message.clone()),
        // No new bindings until it is repaired or deleted (OSB 2.17, "Updating a Service Instance").
        (true, true) => (False, format!("{message}; the broker says that the instance cannot be used")),
        (true, false) => (True, format!("{message}; the instance can still be used")),
    };
    status.mark(Ready, state, ready, &shown, observed.now);
    status.mark(Failed, True, failed, message, observed.now);
    status
}

/// Nothing more is tried until the spec changes, but what the broker may hold is deleted there.
pub(super) fn stuck_with_orphan(
    observed: &Seen,
    status: ServiceInstanceStatus,
    reasons: (Reason, Reason),
    message: &str,
    may_still_come: bool,
) -> ServiceInstanceStatus {
    let asked = status.clone();
    let stuck = stuck(observed, status, reasons, message);
    // The DELETE needs what was asked for, and when.
    let stuck = ServiceInstanceStatus {
        current_operation: InstanceOperation::Provision,
        in_progress_properties: asked.in_progress_properties,
        progress: Progress { last_attempt_time: asked.progress.last_attempt_time, ..stuck.progress },
        ..stuck
    };
    start_mitigation(observed, &stuck, reasons.0, message, may_still_come)
}

/// Whether nobody else can have an instance under the id. Under one that the user gave there may have been an instance
/// before, and a DELETE to be on the safe side would lose it: so what is in doubt there is asked for again, and deleted
/// only when the user deletes the object. The orphan table of the spec does not know of such ids.
pub(super) fn is_id_ours(observed: &Seen) -> bool {
    observed.object.spec.external_id.is_empty()
}

/// Nothing more is tried until the spec changes; an earlier create that was never answered is undone.
pub(super) fn give_up(
    observed: &Seen,
    status: ServiceInstanceStatus,
    reasons: (Reason, Reason),
    message: &str,
) -> ServiceInstanceStatus {
    if status.progress.unanswered
        && status.current_operation == InstanceOperation::Provision
        && is_id_ours(observed)
    {
        stuck_with_orphan(observed, status, reasons, message, true)
    } else {
        stuck(observed, status, reasons, message)
    }
}

/// The same again later, unless it has gone on for too long.
pub(super) fn try_again(
    observed: &Seen,
    mut status: ServiceInstanceStatus,
    reason: Reason,
    message: &str,
    retry_after: Option<Duration>,
) -> ServiceInstanceStatus {
    let as_it_was = annotations::are_being_told(&status) && !status.unusable;
    if is_overdue(observed, status.progress.operation_start_time.as_ref()) {
        if as_it_was {
            return settled(observed, Facts::default(), annotations::UNTOLD);
        }
        let message = format!("{}: {message}", told::TOO_LONG);
        return give_up(observed, status, (reason, Reason::ErrorReconciliationRetryTimeout), &message);
    }
    let next = postpone(observed, &mut status, retry_after);
    // Whether or not the broker knows of an annotation, the instance is what it was, unless the broker says otherwise.
    if !as_it_was {
        status.mark(Ready, False, reason, &told::again(message, next), observed.now);
    }
    status
}

fn postpone(observed: &Seen, status: &mut ServiceInstanceStatus, retry_after: Option<Duration>) -> Timestamp {
    let next = next_try(observed, status.progress.retries, retry_after);
    status.progress.postpone(next);
    next
}

/// A sentence with what the broker said.
pub(super) fn told(observed: &Seen, what: &str, why: &str) -> String {
    confidential(observed).told(what, why)
}

/// What of the broker's words must not be shown.
pub(super) fn confidential<'a>(observed: &'a Seen) -> Confidential<'a> {
    let status = observed.object.status.as_ref();
    let sent = |properties: &'a InstanceProperties| Sent {
        parameters: properties.parameters.as_ref(),
        checksum: &properties.parameter_checksum,
    };
    let asked = status.and_then(|status| status.in_progress_properties.as_ref()).map(sent);
    let acknowledged = status.and_then(|status| status.external_properties.as_ref()).map(sent);
    let from = &observed.object.spec.parameters_from;
    Confidential::new(observed.world.parameters.as_ref(), from, asked, acknowledged)
}
