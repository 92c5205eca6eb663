//! The controllers: four machines for eight kinds, and the one shell that carries out what they decide.
//!
//! * [`machine`]: what a machine is. [`shell`]: the pass that runs it.
//! * [`broker`], [`entry`] (classes and plans), [`instance`], [`binding`]: the machines, each in the order
//!   *observe, phase, plan, absorb*.
//! * [`inherited`]: what the original left in objects. [`ordered`]: what the references of an instance go on to mean.
//! * [`attempt`], [`offering`], [`parameters`], [`backoff`], [`reason`], [`told`]: what several of them decide with; pure.
//! * [`mod@write`], [`secret`], [`event`]: the effects on the API server.

#[cfg(test)]
mod answers;
pub mod attempt;
pub mod backoff;
pub mod binding;
pub mod broker;
pub mod entry;
pub mod error;
pub mod event;
pub mod inherited;
pub mod instance;
pub mod machine;
pub mod offering;
pub mod ordered;
pub mod parameters;
pub mod reason;
pub mod secret;
pub mod shell;
#[cfg(test)]
mod tables;
pub mod told;
pub mod write;

pub use error::Error;
pub use machine::{Absorbed, Admitted, Machine, Next, Observed, Seen, Step, Wait};
pub use reason::Reason;
