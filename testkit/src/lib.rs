//! What the tests of `service-catalog` stand on. It knows the operator as a program, not as a library.
//!
//! * [`control_plane`]: a real Kubernetes control plane, without nodes.
//! * [`node`]: the same with a node, on which Pods run.
//! * [`broker`]: a scripted broker that keeps a ledger of what exists.
//! * [`stage`]: a control plane on which the product is installed and the operator runs, and the language of the tests
//!   that use it.
//! * [`objects`]: what the API server does with an object, for tests without one.
//! * [`page`]: the commands of a page of the documentation.
//! * [`tables`]: what is expected, in a file beside the test.

#![allow(missing_docs, reason = "only tests use it, and most names say what they are")]
#![allow(clippy::must_use_candidate, reason = "the same")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a broken expectation has to end the test"
)]

pub mod broker;
pub mod control_plane;
pub mod node;
pub mod objects;
pub mod page;
pub mod stage;
pub mod tables;

use std::path::Path;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
