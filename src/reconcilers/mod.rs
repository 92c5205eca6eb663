//! The controllers: four reconcilers for eight kinds, and one runner that executes their decisions.
//!
//! * [`reconciler`]: the trait of all reconcilers. [`runner`]: the loop that runs a reconciler.
//! * [`broker`], [`catalog_object`] (classes and plans), [`instance`], [`binding`]: the reconcilers.
//!   [`operation`]: what instances and bindings have in common.
//! * [`references`]: the class and plan that the references of an instance resolve to. [`legacy`]: everything
//!   that exists only for objects of v0.3.
//! * [`identity`], [`parameters`], [`backoff`], [`reason`], [`redaction`], [`messages`]: pure functions that
//!   several reconcilers use.
//! * [`writes`], [`events`]: writes to the API server. [`context`]: the state that all controllers share.

pub mod action;
pub mod backoff;
pub mod binding;
pub mod broker;
pub mod catalog_object;
pub mod context;
pub mod credentials;
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
    Absorbed, AbsorbedOf, Admitted, Next, NextOf, ObjectSource, Observed, Reconciler, Step, StepOf, Wait,
};
