//! `spec.deletionPolicy` in a cluster whose policies do not refuse a deletion, and with `--cascading-deletion`.

use serde_json::json;
use testkit::{
    broker::Operation,
    stage::{
        Installation, WITH_POLICIES,
        case::Case,
        objects::{BINDING, INSTANCE},
    },
};

use super::OPERATOR;

async fn namespaced(namespace: &str) -> Case {
    static INSTALLATION: Installation =
        Installation::new(OPERATOR, &[WITH_POLICIES, "config/cascading-deletion"], &["--cascading-deletion"]);
    let case = Case::namespaced(INSTALLATION.stage().await, namespace).await;
    let mut command = case.stage.plane.kubectl_command();
    command.args(["delete", "--ignore-not-found", "validatingadmissionpolicybindings"]);
    command.args(
        ["serviceinstance", "servicebinding"]
            .map(|kind| format!("{kind}-prevented-deletion.servicecatalog.k8s.io")),
    );
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    case
}

/// Asks for a deletion as soon as no policy refuses it any more.
async fn delete(case: &Case, name: &str) {
    let deadline = std::time::Instant::now() + testkit::stage::wait::PATIENCE;
    while let Err(refused) = case.hand.delete(INSTANCE, name).await {
        assert!(std::time::Instant::now() < deadline, "{refused}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_prevented_waits_for_its_policy_to_change() {
    let case = namespaced("waits").await;
    case.provide("db", json!({ "deletionPolicy": "Prevent" })).await;
    case.connect("app", "db", json!({})).await;
    delete(&case, "db").await;
    let words = ["spec.deletionPolicy is Prevent", "set it to Delete", "or to Retain"];
    case.says(INSTANCE, "db", "DeletionPrevented", &words).await;
    assert!(case.get(BINDING, "app").await["metadata"].get("deletionTimestamp").is_none());
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    case.gone(INSTANCE, "db").await;
    case.gone(BINDING, "app").await;
    case.finish().await;
}

#[tokio::test]
async fn the_policy_of_each_binding_holds_when_its_instance_is_deleted() {
    let case = namespaced("each-binding").await;
    case.provide("db", json!({ "deletionPolicy": "Retain" })).await;
    for (name, policy) in [("one", "Prevent"), ("two", "Retain"), ("three", "Delete")] {
        case.connect(name, "db", json!({ "deletionPolicy": policy })).await;
    }
    delete(&case, "db").await;
    let words = ["spec.deletionPolicy of these ServiceBindings is Prevent", ": one."];
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &words).await;
    assert!(case.broker.requests_of(Operation::Unbind).is_empty());
    case.edit(BINDING, "one", json!({ "deletionPolicy": "Delete" })).await;
    case.gone(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Unbind).len(), 2);
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    for binding in case.broker.live_bindings() {
        case.broker.lose_binding(&binding);
    }
    for instance in case.broker.live_instances() {
        case.broker.lose_instance(&instance);
    }
    case.finish().await;
}
