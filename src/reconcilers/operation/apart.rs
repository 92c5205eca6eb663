//! What else does an object have at its broker? A binding whose credentials are renewed has a second binding there:
//! its successor or its predecessor. The engine works on that as on an object of its own, which this file calls
//! apart, and what comes of it becomes part of the status of the object itself. All functions are pure.

use jiff::Timestamp;

use super::{
    AfterAnswer, NextStep,
    answers::{self, AnswerHooks},
    call::{Answered, Call},
    intent, plan, reading,
    resource::{BrokerResource, Decoded, View},
    steps::PlanHooks,
};
use crate::{
    osb::BindingId,
    reconcilers::{
        memory::OperationMemory,
        reconciler::{Absorbed, Next, ObjectPatch, Step, Wait},
    },
};

/// A second resource of an object at its broker, as an object of its own.
pub struct Apart<R: BrokerResource> {
    /// The object, with the status of the second resource.
    pub object: R::Object,
    /// State outside this object.
    pub dependencies: R::Dependencies,
}

/// What a kind has at its broker beside the resource of the object itself. Most have nothing.
pub trait ApartHooks: PlanHooks + AnswerHooks {
    /// What the operator works on in place of the resource of the object itself.
    #[must_use]
    fn instead(_: &View<'_, Self>) -> Option<Apart<Self>> {
        None
    }
    /// What the operator works on when there is nothing to do for the resource of the object itself.
    #[must_use]
    fn beside(_: &View<'_, Self>) -> Option<Apart<Self>> {
        None
    }
    /// The second resource, if it has this id at the broker.
    #[must_use]
    fn with_id(_: &View<'_, Self>, _: &BindingId) -> Option<Apart<Self>> {
        None
    }
    /// The status of the object itself when the second resource has this status.
    fn absorb_apart(_: &View<'_, Self>, _: &View<'_, Self>, status: Self::Status) -> Self::Status {
        status
    }
    /// When what the object itself shows changes next, because time passes.
    #[must_use]
    fn changes_at(_: &View<'_, Self>) -> Option<Timestamp> {
        None
    }
    /// The status of the object itself when the broker has the second resource no more.
    fn released(view: &View<'_, Self>, _: &View<'_, Self>) -> Self::Status {
        view.status_copy()
    }
}

impl<R: ApartHooks> Apart<R> {
    /// The view of this object, at the same moment as the view of the object itself.
    pub fn view<'a>(&'a self, whole: &View<'a, R>) -> View<'a, R> {
        View::at(Decoded::of(&self.object), &self.dependencies, whole)
    }

    fn plan(&self, whole: &View<'_, R>) -> NextStep<R> {
        let view = self.view(whole);
        let absorbed = |status| R::absorb_apart(whole, &view, status);
        let patch = |patch: ObjectPatch<R::Status>| intent::patch(whole, absorbed(patch.status));
        match reading::first(&view, plan::plan(&view)) {
            Step::Record(status) => Step::Record(absorbed(status)),
            Step::WriteAndRecord(writes, status) => Step::WriteAndRecord(writes, absorbed(status)),
            Step::Claim(claim) => Step::Claim(patch(claim)),
            Step::Attempt { intent, call } => Step::Attempt { intent: patch(intent), call },
            Step::RemoveFinalizer => Step::Record(R::released(whole, &view)),
            Step::Wait(wait) => {
                let present = absorbed(view.status_copy());
                let wait = wait.earlier(Wait::until_first(R::changes_at(whole)));
                if present == *whole.status { Step::Wait(wait) } else { Step::Record(present) }
            }
            step @ (Step::Read | Step::Call { .. } | Step::Write(_)) => step,
        }
    }
}

/// Decides the next step, for whichever resource of the object it is.
pub fn plan_all<R: ApartHooks>(view: &View<'_, R>) -> NextStep<R> {
    if let Some(apart) = R::instead(view) {
        return apart.plan(view);
    }
    let step = reading::first(view, plan::plan(view));
    let Step::Wait(wait) = step else { return step };
    match R::beside(view).map(|apart| apart.plan(view)) {
        Some(Step::Wait(other)) => Step::Wait(wait.earlier(other)),
        Some(step) => step,
        None => Step::Wait(wait),
    }
}

/// What comes of an answer about an object of this kind.
type AbsorbedAnswer<R> =
    Absorbed<<R as BrokerResource>::Status, Call<<R as BrokerResource>::Request>, OperationMemory>;

/// Turns an answer into writes, the next step and the memory of the object.
pub fn absorb_all<R: ApartHooks>(view: &View<'_, R>, answered: Answered<R::Reply>) -> AbsorbedAnswer<R> {
    let Some(apart) = answered.binding_id.and_then(|id| R::with_id(view, &id)) else {
        return answers::absorb(view, answered.answer);
    };
    let of_apart = apart.view(view);
    let Absorbed { writes, next, memory } = answers::absorb(&of_apart, answered.answer);
    let next: AfterAnswer<R> = match next {
        Next::Record(status) => Next::Record(R::absorb_apart(view, &of_apart, status)),
        Next::RemoveFinalizer => Next::Record(R::released(view, &of_apart)),
        Next::Call(call) => Next::Call(call),
    };
    Absorbed { writes, next, memory }
}

/// The status of the object itself after `change` has made a status of the resource with this id. `None` if `change`
/// makes none.
pub fn change_of<R: ApartHooks>(
    view: &View<'_, R>,
    id: Option<&BindingId>,
    change: impl Fn(&View<'_, R>) -> Option<R::Status>,
) -> Option<R::Status> {
    match id.and_then(|id| R::with_id(view, id)) {
        Some(apart) => {
            let of_apart = apart.view(view);
            change(&of_apart).map(|status| R::absorb_apart(view, &of_apart, status))
        }
        None => change(view),
    }
}
