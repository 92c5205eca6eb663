//! What does the operator record before it sends a request? It records an intent in the status, so that a
//! process that dies before the answer loses nothing. All intents are built here. All functions are pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    NextStep,
    call::Call,
    phase::{CurrentOperation, Phase},
    resource::{BrokerResource, OperationStatus as _, View},
    status::StatusHooks,
};
use crate::{
    crd::{
        ConditionStatus::False,
        ConditionType::{Failed, Ready},
        condition::Conditioned as _,
        progress::DeletionStatus,
    },
    reconcilers::reconciler::Step,
};

/// A request that the operator is about to send. The intent holds everything that a later DELETE or an
/// identical repetition needs.
pub enum Intent<R: BrokerResource> {
    /// A create or an update.
    Request(R::Operation, R::RequestRecord),
    /// The DELETE of orphan mitigation.
    Mitigation,
}

/// The step that records an intent and then sends the request.
pub fn attempt<R: StatusHooks>(view: &View<'_, R>, intent: Intent<R>, call: Call<R::Request>) -> NextStep<R> {
    Step::Attempt { intent: with_intent(view, intent), call }
}

/// The status with the intent recorded in it.
fn with_intent<R: StatusHooks>(view: &View<'_, R>, intent: Intent<R>) -> R::Status {
    let mut status = view.status_copy();
    match intent {
        Intent::Request(operation, record) => {
            R::record_request(view, &mut status, record);
            begin_operation(view, &mut status, operation);
        }
        // Where v0.3 gave up orphan mitigation, only `deprovisionStatus` says that there is something to
        // delete.
        Intent::Mitigation => status.progress_mut().orphan_mitigation_in_progress = true,
    }
    status.progress_mut().record_attempt(view.now);
    status
}

fn begin_operation<R: StatusHooks>(view: &View<'_, R>, status: &mut R::Status, operation: R::Operation) {
    let progress = status.progress_mut();
    if matches!(view.phase, Phase::RequestInFlight(..)) {
        // The intent on record has no answer, so its request may have taken effect.
        progress.record_repetition();
    }
    let changed = view.spec_has_changed();
    if changed || view.status.operation() != CurrentOperation::Operation(operation) {
        // The attempt after orphan mitigation continues to count retries. Otherwise the operator would send a
        // request every second to a broker that fails each of them.
        if changed || progress.next_attempt_time.is_none() {
            progress.retries = 0;
        }
        if changed || progress.operation_start_time.is_none() {
            progress.operation_start_time = Some(Time(view.now));
        }
        // A retry keeps the condition that says why the previous attempt failed.
        if progress.retries == 0
            && let Some((reason, message)) = R::in_flight_condition(operation)
        {
            status.set_condition(Ready, False, reason, message, view.now);
        }
    }
    if operation == R::CREATE {
        *status.deletion_status_mut() = DeletionStatus::Required;
    }
    status.remove_condition(Failed);
    status.set_operation(CurrentOperation::Operation(operation));
}
