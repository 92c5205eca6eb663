//! What comes next for an object whose id another one has ([`ids`](super::ids))? All functions are pure.

use kube::Resource as _;

use super::{
    NextStep,
    dependencies::{OperationDependencies as _, TakenId},
    ids::{IdHooks, derives},
    obstacle::{self, Obstacle},
    resource::{BrokerResource, OperationStatus as _, View},
    steps::PlanHooks,
};
use crate::{
    clock::later,
    crd::{ConditionStatus::False, ConditionType::Ready, condition::Conditioned as _},
    osb::ids::normal_form,
    reconcilers::{
        identity::attempt_id,
        reason::Reason,
        reconciler::{Step, Wait},
    },
};

/// The id, if another object has it.
fn taken_id<'a, R: IdHooks>(view: &View<'a, R>) -> Option<&'a TakenId> {
    // The id may be another one since.
    view.dependencies.common().taken_id.as_ref().filter(|taken| normal_form(&R::id(view)) == taken.id)
}

/// The next step for an object that is not being deleted and whose id another one has. `None` if no other object
/// has it.
pub fn plan_taken<R: PlanHooks>(view: &View<'_, R>) -> Option<NextStep<R>> {
    let taken = taken_id(view).filter(|_| !view.may_exist())?;
    if derives(view) {
        let mut status = view.status_copy();
        let attempt = R::next_attempt(view);
        status.progress_mut().attempt = attempt;
        R::set_id(&mut status, attempt_id("", view.uid(), attempt));
        return Some(Step::Record(status));
    }
    let message = format!(
        "spec.externalID: {} has this id at the same broker already: create this object anew with another id, or without one",
        owner::<R>(taken)
    );
    Some(obstacle::report(view, &Obstacle::until_recheck(Reason::ExternalIDInUse, message)))
}

/// The next step for a restored object whose id another one has: the operator asks the broker for nothing, and
/// does not take over the intent, so that a deletion asks for nothing either. `None` for any other object.
pub fn plan_restored_taken<R: PlanHooks>(view: &View<'_, R>) -> Option<NextStep<R>> {
    let taken = taken_id(view).filter(|_| view.is_restored())?;
    if view.is_being_deleted() {
        let ends = view.has_finalizer();
        return Some(if ends { Step::RemoveFinalizer } else { Step::Wait(Wait::ForChange) });
    }
    let message = format!(
        "{} has the id of this restored {} at the same broker, so the operator sends no request to the broker: delete one of \
         the two objects",
        owner::<R>(taken),
        R::TEXTS.noun
    );
    let present = view.persisted_status();
    let mut status = present.clone();
    status.set_condition(Ready, False, Reason::ExternalIDInUse, &message, view.now);
    status.set_conditions_generation(view.generation());
    let recheck = Wait::Until(later(view.now, view.settings.recheck_interval));
    Some(if status == present { Step::Wait(recheck) } else { Step::Record(status) })
}

fn owner<R: BrokerResource>(taken: &TakenId) -> String {
    match &taken.by {
        Some(name) => format!("the {} {name:?}", R::Object::kind(&())),
        None => "another object in this cluster".to_owned(),
    }
}
