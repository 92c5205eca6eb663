//! One engine for operations at a broker, under instances and bindings: create, repeat, back off, poll, give up, delete,
//! and orphan mitigation (OSB 2.17, "Orphan Mitigation").
//!
//! * [`phase`]: where an object stands. [`resource`]: what a kind adds to the engine ([`resource::BrokerResource`]), and
//!   the decoded view that all decisions work on ([`resource::View`]).
//! * [`plan`]: what comes next. [`obstacle`]: what stands in the way. [`intent`]: what is on record before a request leaves.
//!   [`call`]: requests and answers. [`answers`]: what an answer means. [`status`]: the statuses that are written.
//!   [`engine`]: all of it as a reconciler.
//!
//! A kind writes hooks only. What the two kinds do alike stands here once.

pub mod answers;
pub mod call;
pub mod engine;
pub mod intent;
pub mod obstacle;
pub mod phase;
pub mod plan;
pub mod resource;
pub mod status;
#[cfg(test)]
mod tests;

use crate::reconcilers::reconciler::{Next, Step};

pub use call::{Address, Answer, Call};
pub use engine::OperationReconciler;
pub use phase::{Awaited, Cause, Phase};
pub use resource::{BrokerResource, OperationStatus, Standing, View, Words};

/// What comes next for an object of this kind.
pub type NextStep<R> = Step<<R as BrokerResource>::Status, Call<<R as BrokerResource>::Request>>;

/// What to do with an answer about an object of this kind.
pub type AfterAnswer<R> = Next<<R as BrokerResource>::Status, Call<<R as BrokerResource>::Request>>;
