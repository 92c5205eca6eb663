//! The engine for operations at a broker, which instances and bindings share: create, repeat, back off, poll,
//! give up, delete, and orphan mitigation (OSB 2.17, "Orphan Mitigation").
//!
//! * [`phase`]: the state of an object at its broker. [`resource`]: what each kind defines
//!   ([`resource::BrokerResource`]), and the decoded view that all decisions use ([`resource::View`]).
//! * [`plan`]: the next step. [`steps`]: what all decisions are made of. [`obstacle`]: why a request cannot be sent now.
//!   [`deletion_policy`]: what stays at the broker when an object is deleted. [`ids`]: who has an id at a broker, and
//!   `taken`: what follows for the others. [`intent`]: what is recorded before a request is sent. [`call`]: requests and
//!   answers. [`answers`]: what an answer means. [`apart`]: a second resource of one object. [`status`]: the statuses that are written. [`engine`]: all of this as a
//!   reconciler.
//!
//! A kind implements hooks for what is special about it. What both kinds do in the same way is written here
//! once.

pub mod answers;
pub mod apart;
pub mod call;
pub mod deletion_policy;
pub mod dependencies;
pub mod engine;
pub mod ids;
pub mod intent;
pub mod obstacle;
pub mod phase;
pub mod plan;
pub(in crate::reconcilers) mod reading;
pub mod resource;
pub mod status;
pub mod steps;
mod taken;
#[cfg(test)]
mod tests;

use crate::reconcilers::reconciler::{Next, Step};

pub use call::{Address, Answer, Answered, Call};
pub use engine::OperationReconciler;
pub use phase::{Awaited, DeletePurpose, Phase};
pub use resource::{BrokerResource, Decoded, KindTexts, OperationStatus, RequestProperties, View};

/// The next step for an object of this kind.
pub type NextStep<R> = Step<<R as BrokerResource>::Status, Call<<R as BrokerResource>::Request>>;

/// What to do after an answer about an object of this kind.
pub type AfterAnswer<R> = Next<<R as BrokerResource>::Status, Call<<R as BrokerResource>::Request>>;
