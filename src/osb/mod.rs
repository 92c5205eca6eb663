//! The platform side of the Open Service Broker API 2.17 (OSB). This module knows nothing of Kubernetes.
//!
//! * Requests: [`operation`] has the ten requests, [`wire`] their bodies, [`ids`] the types of ids, `request`
//!   the URLs, [`version`] the version of the API.
//! * Sending: [`client`] has one method for each request and sends it once. [`endpoint`] holds address,
//!   credentials and identity, `connect` and `tls` make the HTTP client and decide which servers it trusts.
//!   [`egress`] decides which addresses a broker may have, and `resolve` checks them.
//! * Answers: [`outcome`] has the four kinds of result, [`classify`] the rules from a status and a body to
//!   one of them. [`catalog`] reads the catalog, [`caching`] makes the request for it conditional.
//! * Messages: `error_body` finds code and message of an error, [`redact`] and [`crate::printable`] make them safe to show.
//!
//! Everything but [`client`], `connect` and `resolve` is pure: no I/O and no clock.

pub mod caching;
pub mod catalog;
pub mod classify;
pub mod client;
mod connect;
pub mod egress;
pub mod endpoint;
mod error_body;
pub mod extras;
pub mod ids;
pub mod operation;
pub mod outcome;
pub mod redact;
mod request;
mod resolve;
mod response;
pub mod retry_after;
mod tls;
pub mod version;
pub mod wire;

pub use caching::{Document, Fetched};
pub use catalog::{Catalog, InvalidCatalog};
pub use client::Client;
pub use egress::{Egress, Limits};
pub use endpoint::{Authentication, ClientSettings, Endpoint, EndpointError, Identity};
pub use ids::{BindingId, InstanceId, PlanId, ServiceId};
pub use operation::Operation;
pub use outcome::{Outcome, Refusal, RefusalReason, UnknownOutcome, Unsent, UnsentReason};
pub use version::ApiVersion;
