//! A restart while all is well, or while something else is going.

use serde_json::{Value, json};
use testkit::{
    broker::{Operation, PASSWORD, USERNAME, catalog},
    stage::{
        case::{CREDENTIALS, Case},
        objects::{BINDING, BROKER, INSTANCE, NAMESPACE, SECRET},
    },
};

use super::{Meter, is_write, namespaced, show, turn};

// v0.3 P8, Q57
#[tokio::test]
async fn a_restart_at_rest_writes_nothing_and_asks_no_broker() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "rest").await;
    let failed = Case::new(stage, "rest-wide", true).await;
    failed.broker.set_catalog(catalog([failed.offering().with("bindable", false)]));
    failed.register(json!({})).await;
    case.provide("db", json!({ "parameters": { "size": 1 } })).await;
    case.connect("app", "db", json!({})).await;
    failed.provide("db", json!({})).await;
    failed.bind("app", "db", json!({})).await;
    failed.says(BINDING, "app", "ErrorNonbindableServiceClass", &[]).await;
    // Waiting for what does not exist is rest as well.
    case.bind("waiting", "nobody", json!({})).await;
    case.says(BINDING, "waiting", "ReferencesNonexistentInstance", &[]).await;
    case.hand.create(INSTANCE, "lost", json!({ "serviceClassExternalName": "postgresql" })).await.unwrap();
    case.says(INSTANCE, "lost", "ReferencesNonexistentServicePlan", &[]).await;
    // Comes after the last write, so that has been counted.
    case.told("lost", "ReferencesNonexistentServicePlan").await;

    stage.operator.kill();
    let meter = Meter::start(stage);
    let asked = |case: &Case| case.broker.journal().len();
    let before = (asked(&case), asked(&failed));
    stage.operator.restart().await.unwrap();
    // That this one is served shows that the new process has had the time to do whatever it wanted to do.
    let probe = namespaced(stage, "probe").await;
    probe.provide("db", json!({})).await;
    probe.finish().await;

    let written: Vec<_> =
        meter.requests().into_iter().filter(|event| is_write(event) && event.namespace != "probe").collect();
    assert!(written.is_empty(), "{}", show(&written));
    assert_eq!(
        (asked(&case), asked(&failed)),
        before,
        "{}\n{}",
        case.broker.summary(),
        failed.broker.summary()
    );
    case.finish().await;
    failed.finish().await;
}

#[tokio::test]
async fn a_stop_in_order_waits_for_what_is_under_way() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "graceful").await;
    let hold = case.broker.on(Operation::Provision).once().hang();
    case.order("db", "small", json!({})).await;
    case.broker_shows("the request", |broker| broker.requests_of(Operation::Provision).first().cloned())
        .await;
    let stop = stage.operator.stop();
    let release = async {
        hold.release();
        case.ready(INSTANCE, "db").await;
    };
    let (stopped, ()) = tokio::join!(stop, release);
    assert!(stopped.unwrap(), "it had to be killed; {}", stage.operator.logs().unwrap());
    stage.operator.restart().await.unwrap();
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    case.finish().await;
}

const HELD: &str = "servicecatalog.k8s.io/broker-credentials";

fn is_held(secret: &Value) -> bool {
    let finalizers = secret["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|name| name == HELD))
}

async fn held(case: &Case) {
    case.until(SECRET, CREDENTIALS, "to be held back", is_held).await;
}

// v0.3 Q32
#[tokio::test]
async fn a_namespace_that_is_deleted_while_the_operator_restarts_ends_and_leaves_nothing_at_the_broker() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "ends").await;
    for name in ["db1", "db2"] {
        case.provide(name, json!({})).await;
        case.connect(&format!("{name}-app"), name, json!({})).await;
    }
    held(&case).await;
    stage.operator.kill();
    case.delete(NAMESPACE, "ends").await;
    let is_leaving = |secret: &Value| secret["metadata"]["deletionTimestamp"].is_string();
    case.until(SECRET, CREDENTIALS, "to be deleted and held back", is_leaving).await;
    stage.operator.restart().await.unwrap();
    case.gone(NAMESPACE, "ends").await;
    case.audit();
}

#[tokio::test]
async fn a_secret_is_held_back_for_no_longer_than_a_broker_needs_it() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "held").await;
    case.provide("db", json!({})).await;
    held(&case).await;
    // Outside a namespace that is being deleted, a Secret can be deleted and created again at any time.
    case.remove(SECRET, CREDENTIALS).await;
    let credentials = json!({ "username": USERNAME, "password": PASSWORD });
    case.hand.secret(CREDENTIALS, credentials.clone()).await.unwrap();
    held(&case).await;
    // The broker names another Secret.
    case.hand.secret("other", credentials).await.unwrap();
    case.edit(BROKER, "held", json!({ "authInfo": { "basic": { "secretRef": { "name": "other" } } } })).await;
    case.until(SECRET, "other", "to be held back", is_held).await;
    let is_free = |secret: &Value| {
        let metadata = &secret["metadata"];
        !is_held(secret) && metadata["labels"].get(HELD).is_none()
    };
    case.until(SECRET, CREDENTIALS, "to be let go", is_free).await;
    case.remove(INSTANCE, "db").await;
    // The broker is gone before the operator notices.
    stage.operator.kill();
    case.hand.edit(BROKER, "held", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.remove(BROKER, "held").await;
    stage.operator.restart().await.unwrap();
    case.until(SECRET, "other", "to be let go", is_free).await;
    case.audit();
}

#[tokio::test]
async fn a_namespace_that_lost_the_credentials_of_its_broker_says_how_it_can_end() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "no-credentials").await;
    case.provide("db", json!({})).await;
    held(&case).await;
    stage.operator.kill();
    // Somebody forces the deletion of the Secret, and who could have remembered what it said is gone.
    case.hand.edit(SECRET, CREDENTIALS, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.delete(NAMESPACE, "no-credentials").await;
    case.gone(SECRET, CREDENTIALS).await;
    stage.operator.restart().await.unwrap();
    let words = ["none can be created in a namespace that is being deleted", "remove the finalizers"];
    case.says(INSTANCE, "db", "DeprovisionCallFailed", &words).await;
    case.hand.edit(INSTANCE, "db", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.gone(INSTANCE, "db").await;
    // The broker has waited for it, and needs nobody's help.
    case.gone(NAMESPACE, "no-credentials").await;
}
