//! Objects that the operator cannot read in full. They were stored under other definitions than those of this version:
//! here the definitions are widened, as those of an older or a later version may be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{
        Installation, WITH_POLICIES,
        case::Case,
        objects::{BINDING, BROKER, INSTANCE, Kind, NAMESPACE},
        wait::PATIENCE,
    },
};

use super::OPERATOR;

async fn namespaced(namespace: &str) -> Case {
    static INSTALLATION: Installation = Installation::new(OPERATOR, &[WITH_POLICIES], &[]);
    let case = Case::namespaced(INSTALLATION.stage().await, namespace).await;
    widen(&case, INSTANCE, "parameters");
    widen(&case, INSTANCE, "deletionPolicy");
    widen(&case, BROKER, "caBundle");
    case
}

/// From now on the API server accepts anything in a field of the spec.
fn widen(case: &Case, kind: Kind, field: &str) {
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let anything = json!({ "x-kubernetes-preserve-unknown-fields": true });
    let patch = json!([
        { "op": "replace", "path": format!("{spec}/properties/{field}"), "value": anything },
        // They need the types of the fields.
        { "op": "add", "path": format!("{spec}/x-kubernetes-validations"), "value": [] },
    ]);
    let definition = format!("{}.servicecatalog.k8s.io", kind.plural);
    let mut command = case.stage.plane.kubectl_command();
    command.args(["patch", "crd", &definition, "--type=json", "-p", &patch.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Sets a field to what it cannot hold, as soon as the API server accepts that.
async fn spoil(case: &Case, kind: Kind, name: &str, spec: Value) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(refused) = case.hand.edit(kind, name, json!({ "spec": spec })).await {
        assert!(Instant::now() < deadline, "{refused}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_instance_that_cannot_be_read_says_why_and_can_be_mended_and_deleted() {
    let case = namespaced("unreadable-instance").await;
    for name in ["db", "other", "spare"] {
        case.provide(name, json!({ "parameters": { "size": 1 } })).await;
    }
    let asked = case.broker.journal().len();
    for name in ["db", "other", "spare"] {
        spoil(&case, INSTANCE, name, json!({ "parameters": [1] })).await;
        case.says(INSTANCE, name, "Unreadable", &["spec.parameters: this is not an object"]).await;
    }
    // What depends on it waits.
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ErrorInstanceNotReady", &[]).await;
    case.order("new", "small", json!({ "parameters": "text" })).await;
    case.says(INSTANCE, "new", "Unreadable", &["spec.parameters"]).await;
    case.remove(INSTANCE, "new").await;
    assert_eq!(case.broker.journal().len(), asked, "a request was sent");
    // The same after a restart, when there is no earlier version in any cache.
    case.stage.operator.restart().await.unwrap();
    case.remove(INSTANCE, "other").await;
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1);
    // It says the same again after a change of something else, and is not written for nothing.
    let before = case.get(INSTANCE, "spare").await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    case.ready(INSTANCE, "db").await;
    case.ready(BINDING, "app").await;
    assert_eq!(case.broker.requests_of(Operation::Update).len(), 1);
    assert_eq!(case.get(INSTANCE, "spare").await, before, "it was written again");
    case.finish().await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_read_gets_no_request_and_ends_with_its_namespace() {
    let case = namespaced("unreadable-broker").await;
    case.provide("db", json!({})).await;
    let asked = case.broker.journal().len();
    spoil(&case, BROKER, "unreadable-broker", json!({ "caBundle": 7 })).await;
    case.says(BROKER, "unreadable-broker", "Unreadable", &["spec.caBundle"]).await;
    case.order("late", "small", json!({})).await;
    case.says(INSTANCE, "late", "ErrorGettingAuthCredentials", &["cannot read spec.caBundle"]).await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "DeprovisionCallFailed", &["cannot read spec.caBundle"]).await;
    assert_eq!(case.broker.journal().len(), asked, "a request was sent");
    case.edit(BROKER, "unreadable-broker", json!({ "caBundle": null })).await;
    case.gone(INSTANCE, "db").await;
    case.ready(INSTANCE, "late").await;
    case.remove(INSTANCE, "late").await;
    spoil(&case, BROKER, "unreadable-broker", json!({ "caBundle": [] })).await;
    case.says(BROKER, "unreadable-broker", "Unreadable", &["spec.caBundle"]).await;
    case.delete(NAMESPACE, "unreadable-broker").await;
    case.gone(BROKER, "unreadable-broker").await;
    case.gone(NAMESPACE, "unreadable-broker").await;
    case.audit();
}

/// It may be one that a later version knows.
#[tokio::test]
async fn an_instance_whose_deletion_policy_cannot_be_read_stays_at_its_broker() {
    let case = namespaced("unreadable-policy").await;
    case.provide("db", json!({})).await;
    spoil(&case, INSTANCE, "db", json!({ "deletionPolicy": "Archive" })).await;
    case.says(INSTANCE, "db", "Unreadable", &["spec.deletionPolicy", "Archive"]).await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "Unreadable", &["set spec.deletionPolicy to Delete or Retain"]).await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}
