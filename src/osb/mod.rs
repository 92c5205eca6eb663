//! The Open Service Broker API 2.17, platform side.
//!
//! [`wire`] holds the bodies, [`outcome`] what an answer can mean, [`classify`] the table from the one to the other
//! (pure), [`catalog`] the validation of what a broker offers (pure), [`client`] the one place that talks to a socket.

pub mod catalog;
pub mod classify;
pub mod client;
pub mod outcome;
pub mod wire;

pub use catalog::{Catalog, InvalidCatalog};
pub use client::{Authentication, Client, Endpoint, EndpointError, Identity, Settings};
pub use outcome::{Doubt, Outcome, Refusal, RefusalReason, Unsent};
