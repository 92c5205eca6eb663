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
mod instances;
mod invalid;
mod kubectl;
mod manifests;
mod metrics;
mod references;
mod refused_entries;
mod samples;
mod svcat;
mod third_party;
mod updates;
mod users_view;
mod walkthrough;

#[path = "../support/stage/mod.rs"]
mod stage;
#[path = "../support/mod.rs"]
mod support;

use stage::{Stage, WITH_POLICIES, case::Case};

/// A namespace whose `ServiceBroker` is ready.
async fn namespaced(namespace: &str) -> Case {
    Case::namespaced(Stage::shared(WITH_POLICIES).await, namespace).await
}

/// A namespace with a `ClusterServiceBroker` that is ready.
async fn cluster_wide(namespace: &str) -> Case {
    Case::cluster_wide(Stage::shared(WITH_POLICIES).await, namespace).await
}

/// A namespace with a broker that is not registered yet.
async fn unregistered(namespace: &str, wide: bool) -> Case {
    Case::new(Stage::shared(WITH_POLICIES).await, namespace, wide).await
}
