//! What comes next for an instance or a binding, as far as the kinds do it alike. Pure.

use jiff::Timestamp;

use super::{
    NextStep,
    call::{Call, RequestHooks},
    intent::{Intent, attempt},
    phase::{Awaited, Cause, Phase},
    resource::{BrokerResource, OperationDependencies as _, OperationStatus as _, View},
    status::{self, StatusHooks},
};
use crate::{
    crd::ConditionStatus::{False, Unknown},
    reconcilers::{
        backoff::later,
        reason::Reason,
        reconciler::{Step, Wait},
        writes::Write,
    },
};

/// What a kind adds to the decisions.
pub trait PlanHooks: StatusHooks + RequestHooks {
    /// Records what v0.3 ordered, where that is not on record yet.
    fn legacy_record(view: &View<'_, Self>) -> Option<Self::Status>;
    /// The broker has what was asked for: compare with the spec.
    fn plan_present(view: &View<'_, Self>, not_before: Option<Timestamp>) -> NextStep<Self>;
    /// The operator has given up: compare with the spec.
    fn plan_failed(view: &View<'_, Self>) -> NextStep<Self>;
    /// Ask the broker for what the spec says, by this operation, not before this time.
    fn plan_request(
        view: &View<'_, Self>,
        operation: Self::Operation,
        not_before: Option<Timestamp>,
    ) -> NextStep<Self>;
    /// What must happen before the broker is asked to delete.
    fn plan_before_deletion(view: &View<'_, Self>) -> Option<NextStep<Self>>;
    /// What is written before the broker is asked to delete.
    #[must_use]
    fn writes_before_deletion(_: &View<'_, Self>) -> Vec<Write> {
        Vec::new()
    }
    /// Whether orphan mitigation has to wait for a change.
    #[must_use]
    fn is_mitigation_blocked(_: &View<'_, Self>) -> bool {
        false
    }
    /// Whether a late effect of the unanswered request could create what a DELETE has just deleted.
    fn may_create_late(view: &View<'_, Self>) -> bool;
}

/// What comes next?
pub fn plan<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    if view.has_finalizer()
        && let Some(record) = R::legacy_record(view)
    {
        return Step::Record(record);
    }
    match (view.is_being_deleted(), view.has_finalizer()) {
        (true, true) => plan_deletion(view),
        (true, false) => Step::Wait(Wait::ForChange),
        // A person has removed the finalizer (`svcat … --abandon`): the operator lets go of the object.
        (false, false) if view.is_recorded() => Step::Wait(Wait::ForChange),
        (false, false) => Step::AddFinalizer,
        (false, true) => plan_existence(view),
    }
}

/// For an object that is to exist.
fn plan_existence<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    match view.phase {
        Phase::Deleting { .. } | Phase::Polling(Awaited::Deletion(Cause::Deletion), _) => {
            Step::Record(status::restored(view))
        }
        Phase::Polling(awaited, accepted) => plan_poll(view, awaited, accepted),
        Phase::OrphanMitigation { not_before } => {
            wait_until(view, not_before).unwrap_or_else(|| plan_mitigation(view))
        }
        Phase::Present { not_before } => R::plan_present(view, not_before),
        Phase::Failed => R::plan_failed(view),
        Phase::Absent { not_before } => R::plan_request(view, R::CREATE, not_before),
        Phase::BackingOff(operation, at) => R::plan_request(view, operation, Some(at)),
        Phase::RequestInFlight(operation, sent) => {
            let again = view.pace().retry_at(sent, view.status.progress().retries);
            R::plan_request(view, operation, Some(again))
        }
    }
}

/// For an object that is being deleted.
fn plan_deletion<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    if let Phase::Polling(awaited, accepted) = view.phase {
        return plan_poll(view, awaited, accepted);
    }
    if !view.may_exist() {
        return Step::RemoveFinalizer;
    }
    if let Some(step) = R::plan_before_deletion(view) {
        return step;
    }
    match not_deleted_before(view).filter(|at| *at > view.now) {
        None => plan_delete(view),
        Some(at) if matches!(view.phase, Phase::Deleting { .. }) => Step::Wait(Wait::Until(at)),
        Some(at) => {
            let message = format!(
                "An unfinished {} may still take effect; the operator deletes what it may have left at the broker after {at:.0}",
                R::WORDS.create
            );
            say(view, (False, R::WORDS.delete_in_flight, &message), Wait::Until(at))
        }
    }
}

/// A DELETE proves something only when no create can take effect any more. A broker that failed gets time.
fn not_deleted_before<R: PlanHooks>(view: &View<'_, R>) -> Option<Timestamp> {
    let quiet = |sent| later(sent, view.settings.quiet_period());
    let progress = view.status.progress();
    match view.phase {
        Phase::RequestInFlight(operation, sent) => (operation == R::CREATE).then(|| quiet(sent)),
        Phase::BackingOff(..) | Phase::Absent { .. } | Phase::Failed
            if progress.unanswered && R::may_create_late(view) =>
        {
            progress.last_attempt_time.as_ref().map(|sent| quiet(sent.0))
        }
        Phase::OrphanMitigation { not_before } | Phase::Deleting { not_before } => not_before,
        Phase::BackingOff(..)
        | Phase::Absent { .. }
        | Phase::Failed
        | Phase::Present { .. }
        | Phase::Polling(..) => None,
    }
}

fn plan_delete<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    let Some((address, target)) = R::recorded_target(view) else {
        let (reason, message) = R::WORDS.no_target;
        return say(view, (Unknown, reason, message), Wait::ForChange);
    };
    if view.status.resolved().is_some() && !view.dependencies.recorded_broker_exists() {
        let noun = R::WORDS.noun;
        let message = format!(
            "the {} does not exist, so the {noun} cannot be deleted there; create the broker again, or remove the \
             finalizer to forget the {noun}",
            address.broker
        );
        return say(view, (Unknown, Reason::ReferencesNonexistentBroker, &message), Wait::ForChange);
    }
    Step::Call {
        before: R::writes_before_deletion(view),
        call: Call::Delete(address, target, Cause::Deletion),
    }
}

/// Deletes what an unsuccessful create may have left. The intent ensures that no other reconcile has gone on meanwhile.
fn plan_mitigation<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    if R::is_mitigation_blocked(view) {
        return Step::Wait(Wait::ForChange);
    }
    let Some((address, target)) = R::recorded_target(view) else {
        return Step::Wait(Wait::ForChange);
    };
    attempt(view, Intent::Mitigation, Call::Delete(address, target, Cause::Mitigation))
}

/// Asks what became of an operation, when it is time.
fn plan_poll<R: RequestHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    accepted: Timestamp,
) -> NextStep<R> {
    let until = polls_end(view, awaited, accepted);
    let due = view.pace().next_poll(view.memory, accepted, until);
    if let Some(wait) = wait_until(view, due) {
        return wait;
    }
    match R::poll_target(view, awaited) {
        Some((address, target)) => {
            let operation = view.status.progress().last_operation.clone();
            Step::Call { before: vec![], call: Call::Poll(address, target, operation) }
        }
        None => Step::Wait(Wait::ForChange),
    }
}

/// Until when an operation is polled. A deletion is sent again then, so the creates before it do not count.
pub fn polls_end<R: BrokerResource>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    accepted: Timestamp,
) -> Timestamp {
    let began = match awaited {
        Awaited::Operation(_) => view.status.progress().operation_start_time.as_ref(),
        Awaited::Deletion(_) => None,
    };
    view.pace().polled_until(accepted, began, view.dependencies.maximum_polling_duration())
}

/// Writes `Ready` as said, unless it says so already, and waits.
pub fn say<R: BrokerResource>(
    view: &View<'_, R>,
    ready: (crate::crd::ConditionStatus, Reason, &str),
    wait: Wait,
) -> NextStep<R> {
    record_or(view, status::report(view, ready), Step::Wait(wait))
}

/// Writes a status, or takes the other step if it is the present one.
pub fn record_or<R: BrokerResource>(
    view: &View<'_, R>,
    status: R::Status,
    otherwise: NextStep<R>,
) -> NextStep<R> {
    if status == *view.status { otherwise } else { Step::Record(status) }
}

/// Waits, if this time is in the future.
pub fn wait_until<R: BrokerResource>(
    view: &View<'_, R>,
    not_before: Option<Timestamp>,
) -> Option<NextStep<R>> {
    not_before.filter(|at| *at > view.now).map(|at| Step::Wait(Wait::Until(at)))
}
