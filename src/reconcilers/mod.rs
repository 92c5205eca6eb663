//! The controllers: four reconcilers for eight kinds, and the one runner that carries out what they decide.
//!
//! * [`reconciler`]: what a reconciler is. [`runner`]: the loop that runs it.
//! * [`broker`], [`catalog_object`] (classes and plans), [`instance`], [`binding`]: the reconcilers, each in the order
//!   *observe, phase, plan, absorb*.
//! * [`references`]: which class and plan an instance means. [`legacy`]: everything that exists only for objects of v0.3.
//! * [`identity`], [`parameters`], [`backoff`], [`reason`], [`redaction`]: what several of them decide with; pure.
//! * [`writes`], [`events`]: the effects on the API server. [`context`]: what every controller works with.

pub mod backoff;
pub mod binding;
pub mod broker;
pub mod catalog_object;
pub mod context;
pub mod error;
pub mod events;
pub mod expectations;
pub mod hex;
pub mod identity;
pub mod instance;
pub mod legacy;
pub mod memory;
pub mod messages;
pub mod operation;
pub mod parameters;
pub mod reason;
pub mod reconciler;
pub mod redaction;
pub mod references;
pub mod runner;
pub mod settings;
#[cfg(test)]
mod tables;
pub mod writes;

pub use error::ReconcileError;
pub use reason::Reason;
pub use reconciler::{
    Absorbed, AbsorbedOf, Admitted, Next, NextOf, Observed, Reconciler, Seen, Step, StepOf, Wait,
};
