//! What is the next step for an instance or a binding? This file has the decisions that both kinds have in
//! common. All functions are pure.

use jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _};

use super::{
    NextStep,
    call::{Call, RequestHooks},
    deletion_policy::{self, awaits_end, plan_kept},
    dependencies::OperationDependencies as _,
    intent::{self, IntendedRequest, attempt},
    phase::{Awaited, DeletePurpose, Phase},
    resource::{BrokerResource, OperationStatus as _, View},
    status::{self, StatusHooks, is_ready_for},
    steps::{PlanHooks, plan_restored, record_or, record_ready_and_wait, wait_until},
    taken,
};
use crate::{
    clock::later,
    crd::{
        ADOPT_ANNOTATION,
        ConditionStatus::{False, Unknown},
        ConditionType::{Failed, Ready},
        FINALIZER, INTENT_ANNOTATION,
        condition::Conditioned as _,
        intent::IntentState,
        scope::Object as _,
    },
    reconcilers::{
        messages,
        reason::Reason,
        reconciler::{Step, Wait},
    },
};

/// Decides the next step.
pub fn plan<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    if is_of_another_cluster(view) {
        return plan_foreign(view);
    }
    if let Some(step) = plan_unreadable(view) {
        return step;
    }
    if view.has_finalizer()
        && let Some(record) = R::legacy_record(view)
    {
        return Step::Record(completed::<R>(record));
    }
    if let Some(step) = plan_replaced(view) {
        return step;
    }
    if let Some(step) = taken::plan_restored_taken(view) {
        return step;
    }
    let step = match (view.is_being_deleted(), view.has_finalizer()) {
        (true, true) => plan_deletion(view),
        (true, false) => return plan_released(view),
        (false, _) if view.is_restored() => return plan_restored(view),
        (false, false) if view.is_recorded() => return plan_abandoned(view),
        (false, _) => taken::plan_taken(view).unwrap_or_else(|| plan_existence(view)),
    };
    match step {
        // An object that waits carries its ids too: the operator is not the only one who reads them.
        Step::Record(status) if is_unclaimed(view, &status) => intent::claim(view, status),
        Step::Record(status) => Step::Record(intent::with_deletion_status(view, status)),
        Step::Wait(_) if is_unclaimed(view, &view.status) => intent::claim(view, view.status_copy()),
        // What is pending is no longer answered soon.
        Step::Wait(_) if view.is_ahead() => Step::Record(view.status_copy()),
        // v0.3 writes no `Stalled`.
        Step::Wait(wait) if view.is_true(Failed) && !view.is_being_deleted() => {
            record_or(view, completed::<R>(view.status_copy()), Step::Wait(wait))
        }
        step => step,
    }
}

fn completed<R: BrokerResource>(mut status: R::Status) -> R::Status {
    status.complete_conditions();
    status
}

/// The next step for an object that cannot be read in full: what can be read is not what its user asks for, so the
/// operator sends no request. A deletion goes on, because the status has what it needs. If the status cannot be read,
/// nothing says what the broker holds, and the deletion waits.
fn plan_unreadable<R: BrokerResource>(view: &View<'_, R>) -> Option<NextStep<R>> {
    let defects = view.object.defects()?;
    let mut message = messages::unreadable(defects);
    if view.is_being_deleted() {
        let is_policy_unreadable = deletion_policy::is_unreadable(view);
        if (defects.status.is_empty() && !is_policy_unreadable) || !view.has_finalizer() {
            return None;
        }
        let noun = R::TEXTS.noun;
        message = if is_policy_unreadable {
            format!(
                "{message}. The object is being deleted, and the operator cannot tell whether the {noun} stays at the broker: \
                 set spec.deletionPolicy to Delete or Retain"
            )
        } else {
            format!(
                "{message}. The object is being deleted, and the operator cannot tell what the broker holds for it. To forget \
                 the {noun}, remove the finalizer {FINALIZER}"
            )
        };
    }
    Some(record_ready_and_wait(view, (False, Reason::Unreadable, &message), Wait::ForChange))
}

/// The next step for an object whose broker object was replaced by another one: its record follows. If more
/// than one could take the place of an object that is gone, none does, and an object with work to do says so.
fn plan_replaced<R: BrokerResource>(view: &View<'_, R>) -> Option<NextStep<R>> {
    if !view.has_finalizer() || view.is_restored() {
        return None;
    }
    match view.dependencies.common().replacement.as_ref()? {
        Ok(record) => {
            let mut status = view.status_copy();
            *status.resolved_mut() = Some(record.clone());
            (status != *view.status).then(|| Step::Record(status))
        }
        Err(message) => {
            let is_left_alone = deletion_policy::keeps(view);
            let is_idle = !view.is_being_deleted()
                && matches!(view.phase, Phase::Present { .. })
                && view.is_true(Ready)
                && !view.spec_has_changed();
            let ready = (Unknown, Reason::ReferencesNonexistentBroker, &**message);
            (!is_idle && !is_left_alone && !view.dependencies.common().recorded_broker_exists)
                .then(|| record_ready_and_wait(view, ready, Wait::ForChange))
        }
    }
}

fn is_unclaimed<R: PlanHooks>(view: &View<'_, R>, status: &R::Status) -> bool {
    !view.is_being_deleted() && intent::needs_claim(view, status)
}

/// Whether the object was restored from another cluster, and nobody has said that it may be worked on here.
fn is_of_another_cluster<R: BrokerResource>(view: &View<'_, R>) -> bool {
    let here = &*view.dependencies.common().cluster_id;
    let is_adopted = || view.object.annotations().get(ADOPT_ANNOTATION).is_some_and(|id| id == here);
    view.intent().is_some_and(|intent| {
        intent.cluster != here && intent.state != IntentState::OfAnother && view.has_intent_of_another()
    }) && !is_adopted()
}

/// The next step for an object of another cluster, in which its resource may be in use: the operator asks the broker for
/// nothing.
fn plan_foreign<R: BrokerResource>(view: &View<'_, R>) -> NextStep<R> {
    if view.is_being_deleted() {
        return if view.has_finalizer() { Step::RemoveFinalizer } else { Step::Wait(Wait::ForChange) };
    }
    let here = &*view.dependencies.common().cluster_id;
    let noun = R::TEXTS.noun;
    let message = format!(
        "This object comes from another cluster, which may still use the {noun}, so the operator sends no request to the broker. To \
         go on with the {noun} here, set the annotation {ADOPT_ANNOTATION} to {here:?}; the role admin of the namespace \
         allows it. To get a new {noun}, create the object without the annotation {INTENT_ANNOTATION} and without spec.externalID"
    );
    // The intent stays pending until somebody says that it counts here.
    let present = view.persisted_status();
    let mut status = present.clone();
    status.set_condition(Ready, False, Reason::RestoredFromAnotherCluster, &message, view.now);
    status.set_conditions_generation(view.generation());
    if status == present { Step::Wait(Wait::ForChange) } else { Step::Record(status) }
}

/// A person has removed the finalizer (`svcat … --abandon`), so the operator does nothing more for this object.
fn plan_abandoned<R: BrokerResource>(view: &View<'_, R>) -> NextStep<R> {
    let noun = R::TEXTS.noun;
    let message = format!(
        "The finalizer {FINALIZER} was removed, so the operator has abandoned this object: it sends no request for it, and the \
         {noun} stays at the broker. Add the finalizer again to have the operator go on"
    );
    record_ready_and_wait(view, (False, Reason::Abandoned, &message), Wait::ForChange)
}

/// The next step for an object that other finalizers keep after ours is gone. Its status may be older than the
/// removal, and it must not say that the object can be used.
fn plan_released<R: BrokerResource>(view: &View<'_, R>) -> NextStep<R> {
    if !view.is_true(Ready) {
        return Step::Wait(Wait::ForChange);
    }
    let noun = R::TEXTS.noun;
    let message = format!(
        "The object is being deleted, and the finalizer {FINALIZER} is gone: the operator has deleted the {noun} at the broker, or \
         a person has abandoned it. Other finalizers keep the object"
    );
    record_ready_and_wait(view, (False, Reason::Abandoned, &message), Wait::ForChange)
}

/// The next step for an object that is not being deleted.
fn plan_existence<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    match view.phase {
        Phase::Deleting { .. } | Phase::Polling(Awaited::Deletion(DeletePurpose::Deletion), _) => {
            Step::Record(status::restored_from_backup(view))
        }
        Phase::Polling(awaited, since) => plan_poll(view, awaited, since),
        Phase::OrphanMitigation { not_before } => {
            wait_until(view, not_before).unwrap_or_else(|| plan_mitigation(view))
        }
        Phase::Present { not_before } => R::plan_present(view, not_before),
        Phase::Failed => R::plan_failed(view),
        Phase::Absent { not_before } => R::plan_request(view, R::CREATE, not_before),
        Phase::BackingOff(operation, at) => R::plan_request(view, operation, Some(at)),
        Phase::RequestInFlight(operation, sent) => {
            let at = view.pace().retry_at(sent, view.status.progress().retries);
            R::plan_request(view, operation, Some(at))
        }
    }
}

/// The next step for an object that is being deleted.
fn plan_deletion<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    match view.phase {
        Phase::Polling(Awaited::Operation(_), _) => {
            return plan_kept(view).unwrap_or_else(|| plan_deletion_during_operation(view));
        }
        Phase::Polling(Awaited::Deletion(DeletePurpose::Mitigation), _) => {
            return Step::Record(status::mitigation_becomes_deletion(view));
        }
        Phase::Polling(awaited, since) => return plan_poll(view, awaited, since),
        _ => {}
    }
    if !view.may_exist() {
        return Step::RemoveFinalizer;
    }
    if let Some(step) = plan_kept(view) {
        return step;
    }
    if let Some(step) = R::plan_before_deletion(view) {
        return step;
    }
    match earliest_delete_time(view).filter(|at| *at > view.now) {
        None => plan_delete(view),
        Some(at) if matches!(view.phase, Phase::Deleting { .. }) => Step::Wait(Wait::Until(at)),
        Some(at) => {
            let message = format!(
                "An unfinished {} may still take effect; the operator deletes what it may have left at the broker after {at:.0}",
                R::TEXTS.create
            );
            record_ready_and_wait(view, (False, R::TEXTS.delete_in_flight, &message), Wait::Until(at))
        }
    }
}

/// How long the deletion of an object waits for an operation at the broker to end.
const DELETION_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// The time at which the operator sends the DELETE for an object that is being deleted, although an operation at the
/// broker has not ended. The broker may end the operation then, or answer `ConcurrencyError` (OSB 2.17,
/// "Deprovisioning", "Unbinding").
pub fn delete_regardless_at<R: BrokerResource>(view: &View<'_, R>) -> Timestamp {
    let deleted = view.object.meta().deletion_timestamp.as_ref().map_or(view.now, |time| time.0);
    later(view.settings.past(deleted, view.now), DELETION_GRACE)
}

/// The next step for an object that is being deleted while the broker works on a create or an update.
fn plan_deletion_during_operation<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    let Phase::Polling(awaited, since) = view.phase else { return Step::Wait(Wait::ForChange) };
    let poll = plan_poll(view, awaited, since);
    let until = match R::plan_before_deletion(view) {
        Some(Step::Wait(Wait::ForChange)) => return poll,
        Some(Step::Wait(Wait::Until(at))) => at,
        Some(step) => return step,
        None => {
            let last = if awaits_end(view) {
                polling_deadline(view, awaited, since)
            } else {
                delete_regardless_at(view)
            };
            let at = view.status.progress().not_before().unwrap_or(last);
            // A poll that is due comes first. Otherwise DELETEs that the broker refuses could keep the operator from
            // seeing the end of the operation.
            if at <= view.now && matches!(poll, Step::Wait(_)) {
                return plan_delete(view);
            }
            let reason = R::TEXTS.delete_in_flight;
            if at > view.now && !is_ready_for(&*view.status, reason) {
                return Step::Record(status::with_ready(view, (False, reason, &deletion_waits(view, at))));
            }
            at
        }
    };
    match poll {
        Step::Wait(Wait::Until(due)) => Step::Wait(Wait::Until(due.min(until))),
        Step::Wait(Wait::ForChange) => Step::Wait(Wait::Until(until)),
        poll => poll,
    }
}

/// Why an object is still there that is being deleted while the broker works on an operation, until when the operator
/// waits for it, and what the user can do. `at` is the time of the next DELETE.
pub fn deletion_waits<R: StatusHooks>(view: &View<'_, R>, at: Timestamp) -> String {
    let Phase::Polling(awaited @ Awaited::Operation(operation), since) = view.phase else {
        return String::new();
    };
    let name = R::operation_name(operation);
    let until = polling_deadline(view, awaited, since);
    if awaits_end(view) {
        return format!(
            "the deletion waits for the {name} at the broker, which the operator polls until {until:.0}: spec.deletionPolicy is \
             Retain, so the {noun} stays there, unless the {name} fails; {letting_go}",
            noun = R::TEXTS.noun,
            letting_go = status::letting_go::<R>()
        );
    }
    format!(
        "the deletion waits for the {name} at the broker: the operator polls it until {until:.0}, and then sends the DELETE; it \
         tries the DELETE at {at:.0} even if the {name} has not ended; {}",
        status::letting_go::<R>()
    )
}

/// The operator sends no DELETE before this time. An unanswered create may still take effect after a DELETE,
/// so the operator waits for it. After a failed DELETE, the operator backs off.
fn earliest_delete_time<R: PlanHooks>(view: &View<'_, R>) -> Option<Timestamp> {
    let quiet = |sent| view.settings.quiet_until(sent, view.now);
    let progress = view.status.progress();
    match view.phase {
        Phase::RequestInFlight(operation, sent) => (operation == R::CREATE).then(|| quiet(sent)),
        Phase::BackingOff(..) | Phase::Absent { .. } | Phase::Failed
            if progress.unanswered && R::may_take_effect_late(view) =>
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
        let (reason, message) = R::TEXTS.unknown_broker;
        return record_ready_and_wait(view, (Unknown, reason, message), Wait::ForChange);
    };
    if view.status.resolved().is_some() && !view.dependencies.common().recorded_broker_exists {
        let noun = R::TEXTS.noun;
        let message = format!(
            "the {} does not exist, so the {noun} cannot be deleted there; create the broker again, or remove the \
             finalizer to forget the {noun}",
            address.broker
        );
        return record_ready_and_wait(
            view,
            (Unknown, Reason::ReferencesNonexistentBroker, &message),
            Wait::ForChange,
        );
    }
    Step::Call {
        before: R::writes_before_deletion(view),
        call: Call::Delete(address, target, DeletePurpose::Deletion),
    }
}

/// Deletes what an unsuccessful create may have left. The write of the intent fails if another reconcile has
/// changed the object meanwhile.
fn plan_mitigation<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    if R::is_mitigation_blocked(view) {
        return Step::Wait(Wait::ForChange);
    }
    let Some((address, target)) = R::recorded_target(view) else {
        return Step::Wait(Wait::ForChange);
    };
    attempt(view, IntendedRequest::Mitigation, Call::Delete(address, target, DeletePurpose::Mitigation))
}

/// Polls an operation when the next poll is due.
fn plan_poll<R: RequestHooks>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    since: Timestamp,
) -> NextStep<R> {
    let until = polling_deadline(view, awaited, since);
    let due = view.pace().next_poll(view.memory, since, until);
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

/// The time at which the operator stops polling. For an operation, the limit counts from its start. After a
/// deletion that took too long the operator sends the DELETE again, so the time of earlier operations does
/// not count.
pub fn polling_deadline<R: BrokerResource>(
    view: &View<'_, R>,
    awaited: Awaited<R::Operation>,
    since: Timestamp,
) -> Timestamp {
    let began = match awaited {
        Awaited::Operation(_) => view.status.progress().operation_start_time.as_ref(),
        Awaited::Deletion(_) => None,
    };
    view.pace().polling_deadline(since, began, view.dependencies.maximum_polling_duration())
}
