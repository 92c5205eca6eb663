//! What every controller is: a pure decision, one effect, a pure reading of its outcome.
//!
//! [`Machine::plan`] says what comes next, [`Machine::absorb`] what an answer meant. Both are functions of values:
//! time, tunables and what is known of the world are arguments. Everything that touches the network is in the shell
//! (`super::shell`) and behind [`Machine::observe`] and [`Machine::call`].

use std::{fmt::Debug, future::Future, sync::Arc};

use jiff::Timestamp;
use kube::core::object::HasStatus;
use serde::Serialize;

use super::{
    error::Error,
    write::{Refused, Write},
};
use crate::{
    brokers::Lane,
    context::{Context, Memory, Tunables},
    crd::scope::Object,
};

/// The state machine of one kind.
pub trait Machine: Sized + Send + Sync + 'static {
    /// The kind.
    type Object: Object + HasStatus<Status = Self::Status>;
    /// Its status.
    type Status: Clone + Debug + Default + PartialEq + Serialize + Send + Sync + 'static;
    /// What else there is to know before deciding.
    type World: Send + Sync;
    /// A request to a broker.
    type Call: Send + Sync;
    /// What became of it.
    type Outcome: Send;

    /// Reads what is needed to decide: from the caches, and from the API server only where there is no cache (Secrets).
    fn observe(
        object: &Arc<Self::Object>,
        context: &Context,
    ) -> impl Future<Output = Result<Self::World, Error>> + Send;

    /// Drops of the world what takes memory. It is observed anew before anything is decided on it.
    fn lighten(_: &mut Self::World) {}

    /// What comes next? Pure.
    fn plan(observed: &Observed<Self>) -> Step<Self>;

    /// Whether a request may only follow a write of the object in the same pass. A stale cache makes that write fail,
    /// so that no outdated PUT or PATCH can reach a broker.
    fn needs_fence(call: &Self::Call) -> bool;

    /// Which limits the request is subject to.
    fn lane(call: &Self::Call) -> Lane;

    /// Sends one request to a broker. A broker's "no" is an outcome like any other.
    fn call(call: &Admitted<Self::Call>, context: &Context) -> impl Future<Output = Self::Outcome> + Send;

    /// What did that answer mean? Pure.
    fn absorb(observed: &Observed<Self>, call: &Self::Call, outcome: Self::Outcome) -> Absorbed<Self>;

    /// The API server refused for good some of the writes that an answer asked for; the others are done. What does the
    /// object say now? Pure.
    fn absorb_refused_write(observed: &Observed<Self>, refused: &Refused) -> Self::Status;

    /// The conditions in a status, for Events.
    fn conditions(status: &Self::Status) -> &[crate::crd::Condition];
}

/// All that a decision depends on.
pub struct Observed<M: Machine> {
    /// The object, as the cache has it or as this pass last wrote it.
    pub object: Arc<M::Object>,
    /// What else there is to know.
    pub world: M::World,
    /// What this process remembers of the object. Losing it costs a poll, never correctness.
    pub memory: Memory,
    /// The limits and intervals in force.
    pub tunables: Tunables,
    /// The present.
    pub now: Timestamp,
}

impl<M: Machine> Observed<M> {
    /// The status, or the empty one of an object that has none yet.
    #[must_use]
    pub fn status(&self) -> M::Status {
        self.object.status().cloned().unwrap_or_default()
    }
}

/// What comes next.
pub enum Step<M: Machine> {
    /// Add our finalizer: only where admission has not put it, and only before the first request to a broker.
    AddFinalizer,
    /// Let go of the object.
    RemoveFinalizer,
    /// Write this status, which differs from the present one.
    Record(M::Status),
    /// Write this intent, then send the request that it announces.
    Attempt {
        /// The status that says what is about to be asked.
        intent: M::Status,
        /// The request.
        call: M::Call,
    },
    /// Send a request that needs no intent: a poll, a GET, or the DELETE of an object that is being deleted.
    Call {
        /// What must be written (or removed) before.
        before: Vec<Write>,
        /// The request.
        call: M::Call,
    },
    /// Change objects other than this one.
    Write(Vec<Write>),
    /// Nothing to do now.
    Wait(Wait),
}

/// Until when there is nothing to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Until this time, which is derived from what is recorded, so that asking again gives the same answer.
    Until(Timestamp),
    /// Until something that was looked at changes.
    ForChange,
}

/// What an answer meant.
pub struct Absorbed<M: Machine> {
    /// Objects to write before the status that mentions them: stages one after the other, writes of a stage together.
    pub writes: Vec<Vec<Write>>,
    /// What to do then.
    pub next: Next<M>,
    /// What to remember.
    pub memory: Memory,
}

/// What to do with an answer.
pub enum Next<M: Machine> {
    /// Write this status, unless it is the present one.
    Record(M::Status),
    /// Remove the finalizer.
    Release,
    /// Send a request that follows from the answer.
    Call(M::Call),
}

/// Whether the object at hand comes from a cache or from a write of this pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// It may be older than what the API server has.
    Cached,
    /// This pass wrote it with the `resourceVersion` that it had observed.
    Written,
}

/// A request that may be sent. Its one constructor is where the fence stands.
pub struct Admitted<C>(C);

impl<C> Admitted<C> {
    /// Admits a request, if it needs no fence or if this pass has written the object.
    ///
    /// # Errors
    /// [`Error::Unfenced`]: the plan asked for a fenced request without an intent. A bug, and harmless thanks to this.
    pub(super) fn admit(call: C, needs_fence: bool, seen: Seen) -> Result<Self, Error> {
        if needs_fence && seen == Seen::Cached { Err(Error::Unfenced) } else { Ok(Self(call)) }
    }

    /// The request.
    #[must_use]
    pub fn get(&self) -> &C {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_request_needs_a_write_of_the_same_pass() {
        assert!(matches!(Admitted::admit((), true, Seen::Cached), Err(Error::Unfenced)));
        assert!(Admitted::admit((), true, Seen::Written).is_ok());
        assert!(Admitted::admit((), false, Seen::Cached).is_ok());
    }
}
