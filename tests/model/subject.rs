//! What a walk has to know of a kind, and who does the work: the machine itself, or one that makes a mistake.

use std::sync::Arc;

use jiff::Timestamp;
use kube::core::object::HasStatus as _;
use serde::de::DeserializeOwned;
use service_catalog::{
    crd::scope::Object as _,
    reconcilers::{memory::OperationMemory, operation::OperationStatus},
    reconcilers::{
        reconciler::{AbsorbedOf, NextOf, Observed, Reconciler, StepOf},
        writes::Write,
    },
};

use crate::{
    broker::{Answer, Content, Request},
    surprises::Surroundings,
};

/// A kind whose machine can be walked.
pub trait Subject: Reconciler<Status: DeserializeOwned + OperationStatus, Memory = OperationMemory> {
    /// Whether being ready means that there is a Secret.
    const HAS_SECRET: bool;

    /// What the machine sees.
    fn observed(
        status: &Self::Status,
        around: &Surroundings,
        memory: OperationMemory,
        now: Timestamp,
    ) -> Observed<Self>;

    /// A status that the API server has, with the intent that the object carries.
    fn read(status: &Self::Status, around: &Surroundings, now: Timestamp) -> Self::Status {
        let object = Self::observed(status, around, OperationMemory::default(), now).object;
        let object = Arc::unwrap_or_clone(object).complete();
        object.status().cloned().unwrap_or_default()
    }

    /// What a request asks. The status is the one that it was planned on.
    fn request(status: &Self::Status, call: &Self::Call) -> Request;

    /// An answer, as the client reports it.
    fn answer(call: &Self::Call, answer: Answer) -> <Self as Reconciler>::Answer;

    /// The status without what makes no difference: see [`State::key`](crate::state::State::key).
    fn shape(status: &Self::Status, now: Timestamp) -> Self::Status;

    /// What a status says.
    fn standing(status: &Self::Status) -> Standing;

    /// What the broker is to have in the end, seeing what it has acknowledged.
    fn wanted(around: &Surroundings, acknowledged: Option<&Content>) -> Option<Content>;
}

/// What a status says.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a status says or not")]
pub struct Standing {
    /// The id in use.
    pub id: String,
    /// The id of a binding beside that: of the one that replaces it, or of the one that it has replaced.
    pub other: Option<Other>,
    pub is_ready: bool,
    pub has_failed: bool,
    /// Whether there is any word on why it is not ready.
    pub says_why: bool,
    pub is_polling: bool,
    /// Whether the broker must be told when the object goes.
    pub may_exist: bool,
    /// What the broker has acknowledged.
    pub acknowledged: Option<Content>,
}

/// A binding beside the one whose credentials are in the Secret.
#[derive(Clone)]
pub struct Other {
    pub id: String,
    /// Whether it is the one that was replaced.
    pub is_replaced: bool,
}

/// What is done with an answer, one thing after the other; the process may die between any two.
pub enum Effect<M: Reconciler> {
    /// Write other objects.
    Write(Vec<Write>),
    /// Write the status, let go, or ask on.
    Then(NextOf<M>),
}

/// A function like `Reconciler::absorb`.
pub type Absorb<M> = fn(&Observed<M>, <M as Reconciler>::Answer) -> AbsorbedOf<M>;

/// In which order it is done what an answer asks for.
pub type Order<M> = fn(Vec<Vec<Write>>, NextOf<M>) -> Vec<Effect<M>>;

/// Who decides, and in which order it is done. A mistake replaces one of these.
pub struct Operator<M: Reconciler> {
    /// What comes next?
    pub plan: fn(&Observed<M>) -> StepOf<M>,
    /// What did that answer mean?
    pub absorb: Absorb<M>,
    /// What is written first.
    pub order: Order<M>,
    /// Whether an intent is written by compare-and-swap, so that who takes the past for the present cannot write it.
    pub compares: bool,
}

impl<M: Reconciler> Operator<M> {
    /// The machine as it is, and the shell's order: other objects before the status that mentions them.
    pub fn faultless() -> Self {
        let order = |writes: Vec<Vec<Write>>, next| {
            writes.into_iter().map(Effect::Write).chain([Effect::Then(next)]).collect()
        };
        Self { plan: M::plan, absorb: M::absorb, order, compares: true }
    }
}
