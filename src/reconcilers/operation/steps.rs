//! What are the decisions made of? The hooks of the kinds, and the steps that several decisions end with. All functions are
//! pure.

use jiff::Timestamp;

use super::{
    NextStep,
    call::RequestHooks,
    ids::IdHooks,
    intent,
    phase::Phase,
    resource::{BrokerResource, View},
    status::{self, StatusHooks},
};
use crate::{
    crd::ConditionStatus,
    reconcilers::{
        reason::Reason,
        reconciler::{Step, Wait},
        writes::Write,
    },
};

/// The part of the decisions that differs between instances and bindings.
pub trait PlanHooks: StatusHooks + RequestHooks + IdHooks {
    /// The status with the class and plan that v0.3 requested, if the status does not have them yet.
    fn legacy_record(view: &View<'_, Self>) -> Option<Self::Status>;
    /// The next step when the broker has acknowledged the last request: the spec may ask for something else.
    fn plan_present(view: &View<'_, Self>, not_before: Option<Timestamp>) -> NextStep<Self>;
    /// The next step when the operator has given up: the spec may have changed since.
    fn plan_failed(view: &View<'_, Self>) -> NextStep<Self>;
    /// The next step to request from the broker what the spec says, by this operation and not before this
    /// time.
    fn plan_request(
        view: &View<'_, Self>,
        operation: Self::Operation,
        not_before: Option<Timestamp>,
    ) -> NextStep<Self>;
    /// The step that must come before the DELETE, if there is one.
    fn plan_before_deletion(view: &View<'_, Self>) -> Option<NextStep<Self>>;
    /// The writes that must come before the DELETE.
    #[must_use]
    fn writes_before_deletion(_: &View<'_, Self>) -> Vec<Write> {
        Vec::new()
    }
    /// Whether orphan mitigation has to wait until something changes.
    #[must_use]
    fn is_mitigation_blocked(_: &View<'_, Self>) -> bool {
        false
    }
    /// Whether the unanswered request may take effect late, and so create again what a DELETE has deleted.
    fn may_take_effect_late(view: &View<'_, Self>) -> bool;
}

/// The next step for an object that was restored from a backup without its status. What the last create made is still at
/// the broker. Any other request is sent again.
pub fn plan_restored<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    let status = match view.phase {
        Phase::RequestInFlight(operation, _) if operation == R::CREATE => R::restored_status(view),
        _ => view.status_copy(),
    };
    intent::claim(view, status)
}

/// Records the `Ready` condition if it is not recorded yet, and waits.
pub fn record_ready_and_wait<R: BrokerResource>(
    view: &View<'_, R>,
    ready: (ConditionStatus, Reason, &str),
    wait: Wait,
) -> NextStep<R> {
    record_or(view, status::with_ready(view, ready), Step::Wait(wait))
}

/// Records a status, or takes the other step if the object already has this status.
pub fn record_or<R: BrokerResource>(
    view: &View<'_, R>,
    status: R::Status,
    otherwise: NextStep<R>,
) -> NextStep<R> {
    if status == *view.status { otherwise } else { Step::Record(status) }
}

/// The step that waits until this time. `None` if the time has come, or there is none.
pub fn wait_until<R: BrokerResource>(
    view: &View<'_, R>,
    not_before: Option<Timestamp>,
) -> Option<NextStep<R>> {
    not_before.filter(|at| *at > view.now).map(|at| Step::Wait(Wait::Until(at)))
}
