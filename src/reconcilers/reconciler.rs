//! What must a reconciler of a kind with broker requests implement? The decisions are pure functions, and the
//! effects are separate from them.
//!
//! [`Reconciler::plan`] decides the next step, and [`Reconciler::absorb`] interprets an answer. The results
//! of both depend on their arguments only: time, settings and the state of the cluster are arguments. All
//! effects are in the runner (`super::runner`), in [`Reconciler::observe`] and in [`Reconciler::call`].

use std::{
    fmt::Debug,
    future::{Future, ready},
    sync::Arc,
};

use jiff::Timestamp;
use kube::{ResourceExt as _, core::object::HasStatus};
use serde::Serialize;
use serde_json::Value;

use super::{
    context::Context,
    error::ReconcileError,
    memory::Memories,
    settings::ReconcileSettings,
    writes::{RejectedWrite, Write},
};
use crate::{
    brokers::permits::ConcurrencyKey,
    caches::{Caches, kind::Kind},
    crd::{Condition, FINALIZER, scope::Object},
    memory_budget::Reservation,
};

/// The reconciler of one kind.
pub trait Reconciler: Sized + Send + Sync + 'static {
    /// The kind.
    type Object: Object + HasStatus<Status = Self::Status>;
    /// Its status.
    type Status: Clone + Debug + Default + PartialEq + Serialize + Send + Sync + 'static;
    /// State outside the object that [`Self::plan`] depends on: other objects, Secrets.
    type Dependencies: Send + Sync;
    /// What the process keeps in memory about an object. Losing it costs a request, never correctness.
    type Memory: Copy + Debug + Default + PartialEq + Send + Sync + 'static;
    /// A request to a broker.
    type Call: Send + Sync;
    /// The answer to a request.
    type Answer: Send;

    /// Reads the state that decisions depend on. It comes from the caches, and from the API server only where
    /// there is no cache (Secrets).
    fn observe(
        object: &Arc<Self::Object>,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Dependencies, ReconcileError>> + Send;

    /// Reads what [`Step::Read`] asks for, which takes memory: what was reserved for it, or what is free.
    #[must_use]
    fn read_secrets(
        _: &mut Observed<Self>,
        _reserved: Option<Reservation>,
        _: &Context,
    ) -> impl Future<Output = Result<Read, ReconcileError>> + Send {
        ready(Ok(Read::Done))
    }

    /// The cache of this kind.
    fn kind(caches: &Caches) -> &Kind<Self::Object>;

    /// The memories of the objects of this kind.
    fn memories(context: &Context) -> &Memories<Self::Memory>;

    /// Decides the next step. Pure.
    fn plan(observed: &Observed<Self>) -> StepOf<Self>;

    /// Whether the request may be sent only after a write of the object in the same reconcile. If the cache
    /// is stale, that write fails, so no outdated PUT or PATCH can reach a broker.
    fn needs_intent(call: &Self::Call) -> bool;

    /// The status to write while a broker takes its time with this request. `None`: the present one says it all. Pure.
    #[must_use]
    fn unanswered(_: &Observed<Self>, _: &Self::Call) -> Option<Self::Status> {
        None
    }

    /// The status to write while the request waits for its turn behind a broker that has not answered `under_way` others.
    /// It does not depend on what is read of Secrets. `None`: the present one says it all. Pure.
    #[must_use]
    fn queued(_: &Observed<Self>, _: &ConcurrencyKey, _under_way: usize) -> Option<Self::Status> {
        None
    }

    /// The key of the concurrency limits for the request about this object.
    fn concurrency_key(object: &Self::Object, call: &Self::Call) -> ConcurrencyKey;

    /// Whether another object may have got since what this one is about to request.
    #[must_use]
    fn is_contested(_: &Self::Object, _: &Context) -> bool {
        false
    }

    /// Sends one request to a broker. A refusal is an answer too.
    fn call(call: Admitted<Self::Call>, context: &Context) -> impl Future<Output = Self::Answer> + Send;

    /// Interprets an answer. Pure.
    fn absorb(observed: &Observed<Self>, answer: Self::Answer) -> AbsorbedOf<Self>;

    /// The status after the API server has rejected some of the writes that an answer asked for. The other
    /// writes are done. Pure.
    fn absorb_rejected_write(observed: &Observed<Self>, rejected: &RejectedWrite) -> Self::Status;

    /// The conditions in a status, for Events.
    fn conditions(status: &Self::Status) -> &[Condition];
}

/// Everything that a decision depends on.
pub struct Observed<R: Reconciler> {
    /// The object, from the cache or as this reconcile last wrote it.
    pub object: Arc<R::Object>,
    /// State outside the object.
    pub dependencies: R::Dependencies,
    /// What the process keeps in memory about the object.
    pub memory: R::Memory,
    /// The limits and intervals in force.
    pub settings: ReconcileSettings,
    /// The current time.
    pub now: Timestamp,
}

impl<R: Reconciler> Observed<R> {
    /// The status, or an empty one if the object has none yet.
    #[must_use]
    pub fn status(&self) -> R::Status {
        self.object.status().cloned().unwrap_or_default()
    }
}

/// The next step for an object with this reconciler.
pub type StepOf<R> = Step<<R as Reconciler>::Status, <R as Reconciler>::Call>;

/// The meaning of an answer about an object with this reconciler.
pub type AbsorbedOf<R> =
    Absorbed<<R as Reconciler>::Status, <R as Reconciler>::Call, <R as Reconciler>::Memory>;

/// What to do after an answer about an object with this reconciler.
pub type NextOf<R> = Next<<R as Reconciler>::Status, <R as Reconciler>::Call>;

/// The next step. `S` is the type of the status, and `C` that of the requests to brokers.
pub enum Step<S, C> {
    /// Patch the object itself: the finalizer, and for instances and bindings the ids, references and the intent.
    Claim(ObjectPatch<S>),
    /// Remove our finalizer.
    RemoveFinalizer,
    /// Read the Secrets that the spec names, and merge the parameters. The decision depends on them, and nothing
    /// else prevents it.
    Read,
    /// Write this status, which differs from the current one.
    Record(S),
    /// Write this intent, and then send the request that it announces.
    Attempt {
        /// The intent, in a patch of the object itself.
        intent: ObjectPatch<S>,
        /// The request.
        call: C,
    },
    /// Send a request that needs no intent: a poll, a GET, or the DELETE of an object that is being deleted.
    Call {
        /// Writes that must come before the request.
        before: Vec<Write>,
        /// The request.
        call: C,
    },
    /// Change other objects.
    Write(Vec<Write>),
    /// Change other objects, and then write this status, which says so.
    WriteAndRecord(Vec<Write>, S),
    /// Do nothing now.
    Wait(Wait),
}

/// A merge patch of an object itself, without its status.
pub struct ObjectPatch<S> {
    /// The patch.
    pub patch: Value,
    /// The status that the object has after the patch. The API server gets it with the next status write.
    pub status: S,
}

/// The finalizers of an object with ours.
#[must_use]
pub fn with_finalizer<K: Object>(object: &K) -> Vec<String> {
    let ours = Some(FINALIZER.to_owned()).filter(|ours| !object.finalizers().contains(ours));
    object.finalizers().iter().cloned().chain(ours).collect()
}

/// How a read of Secrets has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// What there is was read.
    Done,
    /// Nothing was read: it takes so many bytes of memory, which are not free now.
    NeedsMemory(usize),
}

/// How long there is nothing to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Until this time. It is derived from recorded times, so that a repeated decision gives the same time.
    Until(Timestamp),
    /// Until something changes that the decision depends on.
    ForChange,
}

impl Wait {
    /// Until the first of these times, or for a change if there is none.
    #[must_use]
    pub fn until_first(times: impl IntoIterator<Item = Timestamp>) -> Self {
        times.into_iter().min().map_or(Self::ForChange, Self::Until)
    }

    /// The wait that ends first.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self::until_first([self, other].into_iter().filter_map(|wait| match wait {
            Self::Until(at) => Some(at),
            Self::ForChange => None,
        }))
    }
}

/// The meaning of an answer. `M` is the type of the memory of an object.
pub struct Absorbed<S, C, M> {
    /// Objects to write before the status that mentions them. The stages are written one after the other, and
    /// the writes of a stage concurrently.
    pub writes: Vec<Vec<Write>>,
    /// What to do after the writes.
    pub next: Next<S, C>,
    /// The new memory of the object.
    pub memory: M,
}

/// What to do after an answer.
pub enum Next<S, C> {
    /// Write this status, unless it is the current one.
    Record(S),
    /// Remove the finalizer.
    RemoveFinalizer,
    /// Send a request that follows from the answer.
    Call(C),
}

/// Where the observed object comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObjectSource {
    /// From the cache. The object may be older than the one at the API server.
    Cache,
    /// From a write of this reconcile, which succeeded because the observed `resourceVersion` was the current
    /// one.
    Write,
}

/// A request that may be sent. Its only constructor checks that the intent was written.
pub struct Admitted<C>(C);

impl<C> Admitted<C> {
    /// Admits a request that needs no intent, or one whose object this reconcile has written.
    ///
    /// # Errors
    /// [`ReconcileError::MissingIntent`]: the plan has a request without its intent. This is a bug, and this
    /// type makes it harmless.
    pub(super) fn admit(call: C, needs_intent: bool, source: ObjectSource) -> Result<Self, ReconcileError> {
        if needs_intent && source == ObjectSource::Cache {
            Err(ReconcileError::MissingIntent)
        } else {
            Ok(Self(call))
        }
    }

    /// The request, to look at.
    #[must_use]
    pub fn request(&self) -> &C {
        &self.0
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
        assert!(matches!(Admitted::admit((), true, ObjectSource::Cache), Err(ReconcileError::MissingIntent)));
        assert!(Admitted::admit((), true, ObjectSource::Write).is_ok());
        assert!(Admitted::admit((), false, ObjectSource::Cache).is_ok());
    }
}
