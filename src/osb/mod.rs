//! The Open Service Broker API 2.17, platform side.
//!
//! [`wire`] holds the bodies, [`outcome`] what an answer can mean, [`classify`] the table from the one to the other
//! (pure), [`catalog`] the validation of what a broker offers (pure), [`fetched`] when that need not be sent again
//! (pure), [`endpoint`] where a broker is and how it is asked, [`version`] in which version (pure), [`client`] the one
//! place that talks to a socket. [`text`] cleans what a broker writes before anyone sees it.

pub mod catalog;
pub mod classify;
pub mod client;
pub mod endpoint;
pub mod fetched;
pub mod outcome;
mod request;
mod response;
mod semver;
pub mod text;
pub mod version;
pub mod wire;

pub use catalog::{Catalog, InvalidCatalog};
pub use client::Client;
pub use endpoint::{Authentication, Endpoint, EndpointError, Identity, Settings};
pub use fetched::{Document, Fetched};
pub use outcome::{Doubt, Hindrance, Outcome, Refusal, RefusalReason, Unsent};
pub use version::ApiVersion;
