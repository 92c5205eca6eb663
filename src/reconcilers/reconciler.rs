//! What a reconciler of a kind with broker requests is: a pure decision, one effect, a pure reading of its outcome.
//!
//! [`Reconciler::plan`] says what comes next, [`Reconciler::absorb`] what an answer means. Both are functions of values:
//! time, settings and the state of the cluster are arguments. All effects are in the runner (`super::runner`), in
//! [`Reconciler::observe`] and in [`Reconciler::call`].

use std::{fmt::Debug, future::Future, sync::Arc};

use jiff::Timestamp;
use kube::core::object::HasStatus;
use serde::Serialize;

use super::{
    context::Context,
    error::ReconcileError,
    memory::Memories,
    settings::ReconcileSettings,
    writes::{RejectedWrite, Write},
};
use crate::{
    brokers::permits::ConcurrencyKey,
    crd::{Condition, scope::Object},
};

/// The reconciler of one kind.
pub trait Reconciler: Sized + Send + Sync + 'static {
    /// The kind.
    type Object: Object + HasStatus<Status = Self::Status>;
    /// Its status.
    type Status: Clone + Debug + Default + PartialEq + Serialize + Send + Sync + 'static;
    /// State outside the object that [`Self::plan`] depends on: other objects, Secrets.
    type Dependencies: Send + Sync;
    /// What the process remembers of an object. Losing it costs a request, never correctness.
    type Memory: Copy + Debug + Default + PartialEq + Send + Sync + 'static;
    /// A request to a broker.
    type Call: Send + Sync;
    /// A request together with what came of it.
    type Answer: Send;

    /// Reads what is needed to decide: from the caches, and from the API server only where there is no cache (Secrets).
    fn observe(
        object: &Arc<Self::Object>,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Dependencies, ReconcileError>> + Send;

    /// Drops large values before a wait. The runner observes again before it decides anything.
    fn release_memory(_: &mut Self::Dependencies) {}

    /// Where the memories of this kind are kept.
    fn memories(context: &Context) -> &Memories<Self::Memory>;

    /// What comes next? Pure.
    fn plan(observed: &Observed<Self>) -> StepOf<Self>;

    /// Whether a request may only follow a write of the object in the same reconcile. A stale cache makes that write fail,
    /// so that no outdated PUT or PATCH can reach a broker.
    fn needs_intent(call: &Self::Call) -> bool;

    /// Which limits the request is subject to.
    fn concurrency_key(call: &Self::Call) -> ConcurrencyKey;

    /// Sends one request to a broker. A refusal by the broker is an answer like any other.
    fn call(call: Admitted<Self::Call>, context: &Context) -> impl Future<Output = Self::Answer> + Send;

    /// What does that answer mean? Pure.
    fn absorb(observed: &Observed<Self>, answer: Self::Answer) -> AbsorbedOf<Self>;

    /// The status after the API server rejected some of the writes that an answer asked for. The others are done. Pure.
    fn absorb_rejected_write(observed: &Observed<Self>, rejected: &RejectedWrite) -> Self::Status;

    /// The conditions in a status, for Events.
    fn conditions(status: &Self::Status) -> &[Condition];
}

/// All that a decision depends on.
pub struct Observed<R: Reconciler> {
    /// The object, from the cache or as this reconcile last wrote it.
    pub object: Arc<R::Object>,
    /// State outside the object.
    pub dependencies: R::Dependencies,
    /// What the process remembers of the object.
    pub memory: R::Memory,
    /// The limits and intervals in force.
    pub settings: ReconcileSettings,
    /// The present.
    pub now: Timestamp,
}

impl<R: Reconciler> Observed<R> {
    /// The status, or the empty one of an object that has none yet.
    #[must_use]
    pub fn status(&self) -> R::Status {
        self.object.status().cloned().unwrap_or_default()
    }
}

/// What comes next for an object with this reconciler.
pub type StepOf<R> = Step<<R as Reconciler>::Status, <R as Reconciler>::Call>;

/// What an answer means for an object with this reconciler.
pub type AbsorbedOf<R> =
    Absorbed<<R as Reconciler>::Status, <R as Reconciler>::Call, <R as Reconciler>::Memory>;

/// What to do with an answer about an object with this reconciler.
pub type NextOf<R> = Next<<R as Reconciler>::Status, <R as Reconciler>::Call>;

/// What comes next: `S` is the status of the object, `C` are the requests to brokers.
pub enum Step<S, C> {
    /// Add our finalizer: only where admission has not done it, and only before the first request to a broker.
    AddFinalizer,
    /// Remove our finalizer.
    RemoveFinalizer,
    /// Write this status, which differs from the present one.
    Record(S),
    /// Write this intent, then send the request that it announces.
    Attempt {
        /// The status that announces the request.
        intent: S,
        /// The request.
        call: C,
    },
    /// Send a request that needs no intent: a poll, a GET, or the DELETE of an object that is being deleted.
    Call {
        /// Writes that must come before.
        before: Vec<Write>,
        /// The request.
        call: C,
    },
    /// Change other objects.
    Write(Vec<Write>),
    /// Do nothing now.
    Wait(Wait),
}

/// Until when there is nothing to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Until this time. It is derived from what is recorded, so that deciding again gives the same time.
    Until(Timestamp),
    /// Until something changes that the decision depends on.
    ForChange,
}

/// What an answer means: `M` is what the process remembers of an object.
pub struct Absorbed<S, C, M> {
    /// Objects to write before the status that mentions them: stages one after the other, the writes of a stage together.
    pub writes: Vec<Vec<Write>>,
    /// What to do then.
    pub next: Next<S, C>,
    /// What to remember.
    pub memory: M,
}

/// What to do with an answer.
pub enum Next<S, C> {
    /// Write this status, unless it is the present one.
    Record(S),
    /// Remove the finalizer.
    Release,
    /// Send a request that follows from the answer.
    Call(C),
}

/// Where the object at hand comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// From the cache. It may be older than what the API server has.
    Cached,
    /// From a write of this reconcile with the `resourceVersion` that it had observed.
    Written,
}

/// A request that may be sent: the fence. Its only constructor checks that the intent was written.
pub struct Admitted<C>(C);

impl<C> Admitted<C> {
    /// Admits a request that needs no intent, or one whose object this reconcile has written.
    ///
    /// # Errors
    /// [`ReconcileError::MissingIntent`]: the plan asked for a request without its intent. A bug; this type makes it harmless.
    pub(super) fn admit(call: C, needs_intent: bool, seen: Seen) -> Result<Self, ReconcileError> {
        if needs_intent && seen == Seen::Cached { Err(ReconcileError::MissingIntent) } else { Ok(Self(call)) }
    }

    /// The request.
    #[must_use]
    pub fn into_inner(self) -> C {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_that_needs_an_intent_needs_a_write_of_the_same_reconcile() {
        assert!(matches!(Admitted::admit((), true, Seen::Cached), Err(ReconcileError::MissingIntent)));
        assert!(Admitted::admit((), true, Seen::Written).is_ok());
        assert!(Admitted::admit((), false, Seen::Cached).is_ok());
    }
}
