//! The intent: what the operator records of a request before it sends the request, so that a process that dies in between
//! loses nothing. All intents are made here. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    NextStep,
    call::Call,
    phase::{Phase, Recorded},
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

/// What a broker is about to be asked. It holds everything that a later DELETE or an identical repetition needs.
pub enum Intent<R: BrokerResource> {
    /// A create or an update.
    Request(R::Operation, R::Order),
    /// A DELETE of what an unsuccessful create may have left.
    Mitigation,
}

/// Records an intent, then sends the request that it announces.
pub fn attempt<R: StatusHooks>(view: &View<'_, R>, intent: Intent<R>, call: Call<R::Request>) -> NextStep<R> {
    Step::Attempt { intent: announce(view, intent), call }
}

/// The status with an intent on record.
fn announce<R: StatusHooks>(view: &View<'_, R>, intent: Intent<R>) -> R::Status {
    let mut status = view.status_copy();
    match intent {
        Intent::Request(operation, order) => {
            R::record_order(view, &mut status, order);
            begin(view, &mut status, operation);
        }
        // Where v0.3 gave up, only the outcome of its deletion says that there is something to delete.
        Intent::Mitigation => status.progress_mut().orphan_mitigation_in_progress = true,
    }
    status.progress_mut().record_attempt(view.now);
    status
}

fn begin<R: StatusHooks>(view: &View<'_, R>, status: &mut R::Status, operation: R::Operation) {
    let progress = status.progress_mut();
    if matches!(view.phase, Phase::RequestInFlight(..)) {
        // The intent that is still on record may have been carried out.
        progress.record_repetition();
    }
    let changed = view.spec_has_changed();
    if changed || view.status.operation() != Recorded::Operation(operation) {
        // After orphan mitigation the next attempt goes on counting. Otherwise a broker that fails each of them would be
        // asked every second for ever.
        if changed || progress.next_attempt_time.is_none() {
            progress.retries = 0;
        }
        if changed || progress.operation_start_time.is_none() {
            progress.operation_start_time = Some(Time(view.now));
        }
        // A later attempt leaves on show why the one before failed.
        if progress.retries == 0
            && let Some((reason, message)) = R::in_flight_words(operation)
        {
            status.set_condition(Ready, False, reason, message, view.now);
        }
    }
    if operation == R::CREATE {
        *status.deletion_status_mut() = DeletionStatus::Required;
    }
    status.remove_condition(Failed);
    status.set_operation(Recorded::Operation(operation));
}
