//! The whole product on a real API server: users, policies, the operator with its own rights, brokers.
//!
//! One control plane and one operator for all tests, one namespace and one scripted broker for each. A test waits for
//! what it wants to see, never for time to pass. Tests that kill the operator, or count what it does, are in
//! `tests/crash`.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod answers;
mod bad_bindings;
mod bad_brokers;
mod bad_catalogs;
mod bad_instances;
mod bindings;
mod catalog;
mod cluster_id;
mod connections;
mod deletion;
mod flows;
mod identity;
mod ids;
mod instances;
mod invalid;
mod kubectl;
mod lost_operations;
mod manifests;
mod metrics;
mod pods;
mod references;
mod refused_entries;
mod restore;
mod retained;
mod rotation;
mod samples;
mod schemas;
mod shapes;
mod successors;
mod svcat;
mod third_party;
mod updates;
mod users_view;
mod walkthrough;

use testkit::stage::{Installation, Stage, WITH_POLICIES, case::Case};

static INSTALLATION: Installation = Installation::new(
    env!("CARGO_BIN_EXE_service-catalog"),
    &[WITH_POLICIES],
    &["--context-annotations=example.com/*"],
);

async fn stage() -> &'static Stage {
    INSTALLATION.stage().await
}

/// A namespace whose `ServiceBroker` is ready.
async fn namespaced(namespace: &str) -> Case {
    Case::namespaced(stage().await, namespace).await
}

/// A namespace with a `ClusterServiceBroker` that is ready.
async fn cluster_wide(namespace: &str) -> Case {
    Case::cluster_wide(stage().await, namespace).await
}

/// A namespace with a broker that is not registered yet.
async fn unregistered(namespace: &str, wide: bool) -> Case {
    Case::new(stage().await, namespace, wide).await
}
