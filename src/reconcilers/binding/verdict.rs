//! What a binding's status says after an answer: it is there, it is not, or nobody knows. Pure.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    Cause,
    intent::{end_operation, is_unfit, start_mitigation},
    lifetime,
    phase::{self, Phase},
    plan::Seen,
};
use crate::{
    crd::{
        ConditionStatus::{False, True, Unknown},
        ConditionType::{Failed, Ready},
        ServiceBindingStatus,
        binding::{BindingOperation, BindingProperties, UnbindStatus},
        condition::{self, Conditioned as _},
        progress::Progress,
    },
    osb,
    reconcilers::{
        attempt::attempt_id,
        backoff::{is_overdue, next_try},
        reason::Reason,
        told::{self, Confidential, Sent},
    },
};

/// This request had no effect; an earlier one may have had.
pub(super) fn not_bound(mut status: ServiceBindingStatus) -> ServiceBindingStatus {
    if !status.progress.unanswered && status.external_properties.is_none() {
        status.unbind_status = UnbindStatus::NotRequired;
    }
    status
}

/// The broker has bound, but there are no credentials that can be written, and brokers need not give them twice: the
/// binding is deleted there, and another one asked for later.
pub(super) fn credentials_lost(observed: &Seen, why: &str) -> ServiceBindingStatus {
    let mut status = observed.status();
    let message = told::undoing(&format!("Error injecting bind result: {why}"), "binding", None);
    status.mark(Ready, False, Reason::ErrorInjectingBindResult, &message, observed.now);
    status.progress.retries += 1;
    // It has answered, so nothing can come any more.
    status.progress.unanswered = false;
    start_mitigation(observed, &status, why, false)
}

/// The API server does not take the Secret.
pub(super) fn secret_refused(observed: &Seen, why: &str) -> ServiceBindingStatus {
    match phase::phase(&observed.status()) {
        // These credentials can be had again, and may be in use: they are not revoked.
        Phase::Settled { .. } => {
            let mut status = observed.status();
            let next = postpone(observed, &mut status, None);
            let message = told::again(&format!("Error injecting bind result: {why}"), next);
            status.mark(Ready, False, Reason::ErrorInjectingBindResult, &message, observed.now);
            status
        }
        _ => credentials_lost(observed, why),
    }
}

/// The broker has not deleted it. Deletion is never given up: a forgotten credential stays valid for ever.
pub(super) fn not_deleted(
    observed: &Seen,
    cause: Cause,
    why: &str,
    retry_after: Option<Duration>,
) -> ServiceBindingStatus {
    let mut status = observed.status();
    let message = told(observed, "Unbind call failed", why);
    match cause {
        Cause::Deletion => {
            if status.current_operation != BindingOperation::Unbind {
                unbinding(&mut status);
                status.progress.begin(observed.now);
            }
            let message = told::again(&message, postpone(observed, &mut status, retry_after));
            status.mark(Ready, Unknown, Reason::UnbindCallFailed, &message, observed.now);
        }
        Cause::Mitigation => {
            let next = postpone(observed, &mut status, retry_after);
            let message = told::again(&format!("Orphan mitigation failed: {message}"), next);
            let message = told::before(&message, why_undone(&status));
            status.mark(Ready, Unknown, Reason::OrphanMitigationFailed, &message, observed.now);
        }
    }
    status.progress.stop_polling();
    status
}

/// Why what a bind may have left is being deleted. Where that is not said as such, the condition says it: that the binding
/// has failed, or that its credentials could not be written.
pub(super) fn why_undone(status: &ServiceBindingStatus) -> Option<&str> {
    let shown = condition::find(&status.conditions, Ready)?;
    told::cause(shown).or((shown.status == False).then_some(&*shown.message))
}

/// What a bind may have left is gone: the next attempt begins afresh, under another id.
pub(super) fn mitigated(observed: &Seen) -> ServiceBindingStatus {
    let mut status = observed.status();
    status.current_operation = BindingOperation::None;
    status.progress.undone();
    status.in_progress_properties = None;
    status.external_properties = None;
    lifetime::record(&mut status, osb::outcome::Lifetime::default());
    status.unbind_status = UnbindStatus::NotRequired;
    status.binding_id = attempt_id(
        &observed.object.spec.external_id,
        observed.object.uid().as_deref(),
        status.progress.attempt,
    );
    let failed = condition::is_true(&status.conditions, Failed);
    let shown = condition::find(&status.conditions, Ready);
    // Why the binding failed, or why its credentials could not be written, is what the user must mend, so it stays.
    let stays = shown.is_some_and(|ready| ready.status == False) && (failed || is_unfit(&status));
    let cause = why_undone(&status).map(str::to_owned);
    if failed {
        status.progress.end();
        if !stays {
            let message = told::before(told::UNDONE, cause.as_deref());
            status.mark(Ready, False, Reason::OrphanMitigationSuccessful, &message, observed.now);
        }
        if status.reconciled_generation == 0 {
            // The original says this last of all; until then the spec would seem to have been edited since.
            status.reconciled_generation = observed.object.metadata.generation.unwrap_or(0);
        }
        return status;
    }
    if is_overdue(observed, status.progress.operation_start_time.as_ref()) {
        status.progress.end();
        let message = given_up(&format!("{}: {}", told::TOO_LONG, cause.as_deref().unwrap_or(told::UNDONE)));
        if !stays {
            status.mark(Ready, False, Reason::OrphanMitigationSuccessful, &message, observed.now);
        }
        status.mark(Failed, True, Reason::ErrorReconciliationRetryTimeout, &message, observed.now);
        status.reconciled_generation = observed.object.metadata.generation.unwrap_or(0);
        return status;
    }
    let next = next_try(observed, status.progress.retries.max(1) - 1, None);
    status.progress.wait(next);
    let (reason, message) = match &cause {
        Some(cause) if stays => (Reason::ErrorInjectingBindResult, told::again(cause, next)),
        _ => (Reason::OrphanMitigationSuccessful, told::undone(cause.as_deref(), next)),
    };
    status.mark(Ready, False, reason, &message, observed.now);
    status
}

/// The deletion of the object takes over, also from a mitigation.
pub(super) fn unbinding(status: &mut ServiceBindingStatus) {
    status.current_operation = BindingOperation::Unbind;
    status.progress.orphan_mitigation_in_progress = false;
}

/// That it is the user's turn.
pub(super) fn given_up(message: &str) -> String {
    format!("{message}; not tried again: delete this binding and create another")
}

/// Nothing more is tried.
fn stuck(
    observed: &Seen,
    mut status: ServiceBindingStatus,
    (ready, failed): (Reason, Reason),
    message: &str,
) -> ServiceBindingStatus {
    end_operation(&mut status);
    status.in_progress_properties = None;
    status.reconciled_generation = observed.object.metadata.generation.unwrap_or(0);
    let message = given_up(message);
    status.mark(Ready, False, ready, &message, observed.now);
    status.mark(Failed, True, failed, &message, observed.now);
    status
}

/// Nothing more is tried, but what the broker may hold is deleted there.
pub(super) fn stuck_with_orphan(
    observed: &Seen,
    status: ServiceBindingStatus,
    reasons: (Reason, Reason),
    message: &str,
    may_still_come: bool,
) -> ServiceBindingStatus {
    let asked = status.clone();
    let stuck = stuck(observed, status, reasons, message);
    // The DELETE needs what was asked for, and when.
    let stuck = ServiceBindingStatus {
        current_operation: BindingOperation::Bind,
        in_progress_properties: asked.in_progress_properties,
        progress: Progress { last_attempt_time: asked.progress.last_attempt_time, ..stuck.progress },
        ..stuck
    };
    start_mitigation(observed, &stuck, message, may_still_come)
}

/// Nothing more is tried; a binding that the broker has, or that an unanswered bind may have left, is undone.
pub(super) fn give_up(
    observed: &Seen,
    status: ServiceBindingStatus,
    reasons: (Reason, Reason),
    message: &str,
) -> ServiceBindingStatus {
    if status.progress.unanswered || status.external_properties.is_some() {
        let may_still_come = status.progress.unanswered;
        return stuck_with_orphan(observed, status, reasons, message, may_still_come);
    }
    let stuck = stuck(observed, status, reasons, message);
    ServiceBindingStatus { unbind_status: UnbindStatus::NotRequired, ..stuck }
}

/// The same again later, unless it has gone on for too long.
pub(super) fn try_again(
    observed: &Seen,
    mut status: ServiceBindingStatus,
    message: &str,
    retry_after: Option<Duration>,
) -> ServiceBindingStatus {
    if is_overdue(observed, status.progress.operation_start_time.as_ref()) {
        let message = format!("{}: {message}", told::TOO_LONG);
        let reasons = (Reason::BindCallFailed, Reason::ErrorReconciliationRetryTimeout);
        return give_up(observed, status, reasons, &message);
    }
    let message = told::again(message, postpone(observed, &mut status, retry_after));
    status.mark(Ready, False, Reason::BindCallFailed, &message, observed.now);
    status
}

pub(super) fn postpone(
    observed: &Seen,
    status: &mut ServiceBindingStatus,
    retry_after: Option<Duration>,
) -> Timestamp {
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
    let sent = |properties: &'a BindingProperties| Sent {
        parameters: properties.parameters.as_ref(),
        checksum: &properties.parameter_checksum,
    };
    let asked = status.and_then(|status| status.in_progress_properties.as_ref()).map(sent);
    let acknowledged = status.and_then(|status| status.external_properties.as_ref()).map(sent);
    let from = &observed.object.spec.parameters_from;
    Confidential::new(observed.world.parameters.as_ref(), from, asked, acknowledged)
}
