//! What survives the death of the operator, and what its work costs: nothing is lost, nothing is done twice, and what is
//! at rest stays at rest.
//!
//! These tests kill the operator of their control plane, or count its requests, so they take turns.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod api_server;
mod budget;
mod killed;
mod large;
mod renewed;
mod replicas;
mod restart;
mod too_deep;
mod too_large;
mod too_many;
mod turns;

use serde_json::json;
use testkit::{
    broker::Operation,
    control_plane::AuditEvent,
    stage::{
        Installation, Stage, WITH_POLICIES,
        case::Case,
        objects::{BINDING, INSTANCE},
        operator::USER,
        wait::PATIENCE,
    },
};
use tokio::sync::{Mutex, MutexGuard};

static INSTALLATION: Installation = Installation::new(
    env!("CARGO_BIN_EXE_service-catalog"),
    &[WITH_POLICIES],
    &["--context-annotations=example.com/*"],
);

/// The right to kill the operator, and to be alone with it.
async fn turn() -> (&'static Stage, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let stage = INSTALLATION.stage().await;
    if !stage.operator.was_started() {
        // The test before has failed. That is no reason for this one to fail.
        stage.operator.restart().await.unwrap();
    }
    (stage, turn)
}

/// What the operator asks of the API server from now on.
struct Meter {
    stage: &'static Stage,
    from: usize,
}

impl Meter {
    fn start(stage: &'static Stage) -> Self {
        Self { stage, from: stage.plane.audit().unwrap().len() }
    }

    /// The requests of the operator, once its letting go of this object is among them: the last that it does about it.
    async fn until_released(&self, resource: &str, name: &str) -> Vec<AuditEvent> {
        let released = |event: &AuditEvent| {
            let about = event.resource == resource && event.name == name && event.subresource.is_empty();
            event.user == USER && event.verb == "patch" && about
        };
        self.stage.plane.audit_of(PATIENCE, released).await.unwrap();
        self.requests()
    }

    fn requests(&self) -> Vec<AuditEvent> {
        let all = self.stage.plane.audit().unwrap();
        all.into_iter().skip(self.from).filter(|event| event.user == USER).collect()
    }
}

fn is_write(event: &AuditEvent) -> bool {
    ["create", "update", "patch", "delete", "deletecollection"].contains(&event.verb.as_str())
        && event.resource != "events"
        // It stores nothing, and tells the operator which account it has.
        && event.resource != "selfsubjectreviews"
        && !is_election(event)
}

fn is_read(event: &AuditEvent) -> bool {
    ["get", "list"].contains(&event.verb.as_str()) && !is_election(event) && !is_check_of_policies(event)
}

/// The operator checks by the clock whether the admission policies are installed, whatever else there is to do.
fn is_check_of_policies(event: &AuditEvent) -> bool {
    event.api_group == "admissionregistration.k8s.io" && event.verb == "list"
}

/// The lease of the one that leads costs a write every other second, whatever else there is to do.
fn is_election(event: &AuditEvent) -> bool {
    event.api_group == "coordination.k8s.io" && event.resource == "leases"
}

/// Requests, one a line, for the message of a failed test.
fn show(events: &[AuditEvent]) -> String {
    let line = |event: &AuditEvent| format!("  {} {} {}\n", event.verb, event.request_uri, event.code);
    events.iter().map(line).collect()
}

/// A namespace whose `ServiceBroker` is ready.
async fn namespaced(stage: &'static Stage, namespace: &str) -> Case {
    Case::namespaced(stage, namespace).await
}

/// Kills the operator while the request that `act` leads to is with the broker, lets the broker go on, and starts the
/// operator. `late`: the broker has not done it yet when the operator dies.
async fn dies_during(case: &Case, operation: Operation, late: bool, act: impl Future<Output = ()>) {
    let before = case.broker.requests_of(operation).len();
    let script = case.broker.on(operation).once();
    let hold = if late { script.hang() } else { script.after_effect().hang() };
    act.await;
    case.broker_shows("the request", |broker| broker.requests_of(operation).get(before).cloned()).await;
    case.stage.operator.kill();
    hold.release();
    case.stage.operator.restart().await.unwrap();
}

/// The same, and the operator is known to see its classes and plans: an instance was served already.
async fn served(stage: &'static Stage, namespace: &str) -> Case {
    let case = namespaced(stage, namespace).await;
    case.provide("first", json!({})).await;
    case.remove(INSTANCE, "first").await;
    case.told("first", "ProvisionedSuccessfully").await;
    let released =
        |event: &AuditEvent| event.user == USER && event.name == "first" && event.namespace == namespace;
    let last = |event: &AuditEvent| released(event) && event.subresource.is_empty();
    stage.plane.audit_of(PATIENCE, last).await.unwrap();
    case
}

/// Orders and binds, and takes it away again.
async fn is_served(case: &Case, name: &str) {
    case.provide(name, json!({})).await;
    case.connect(name, name, json!({})).await;
    case.remove(BINDING, name).await;
    case.remove(INSTANCE, name).await;
}
