//! A broker gets another broker object: what was ordered goes on with it.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{
        case::{Case, with},
        objects::{BINDING, INSTANCE, Kind},
    },
};

use super::{cluster_wide, namespaced};

const REPLACES: &str = "servicecatalog.k8s.io/replaces";

fn broker(kind: Kind, name: &str, old: Option<&str>, spec: &Value) -> Value {
    let annotations = old.map(|old| json!({ REPLACES: old }));
    json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1",
        "kind": kind.name,
        "metadata": { "name": name, "annotations": annotations },
        "spec": spec,
    })
}

/// Creates another broker object for the broker of the case. `old` is the name in its annotation.
async fn register(case: &Case, name: &str, old: Option<&str>, more: Value) {
    let spec = with(case.broker_spec(json!({})), more);
    case.hand.restore(case.broker_kind(), &broker(case.broker_kind(), name, old, &spec)).await.unwrap();
}

/// Waits until an object has this broker object on record.
async fn on_record(case: &Case, object: (Kind, &str), broker: &str) -> Value {
    let what = format!("to have the broker {broker} on record");
    let is_recorded = |object: &Value| object["status"]["resolved"]["broker"] == broker;
    case.until(object.0, object.1, &what, is_recorded).await
}

/// Everything that can be asked for an instance and a binding that were made at another broker object.
async fn go_on(case: &Case) {
    for (kind, name) in [(INSTANCE, "db"), (BINDING, "app")] {
        case.ready(kind, name).await;
    }
    let plan_field = case.plan_field();
    case.edit(INSTANCE, "db", json!({ plan_field: "large", "parameters": { "size": 2 } })).await;
    case.ready(INSTANCE, "db").await;
    let updates = case.broker.requests_of(Operation::Update);
    assert_eq!(updates[0].body["plan_id"], case.unique("plan-large"));
    case.connect("late", "db", json!({})).await;
    case.remove(BINDING, "app").await;
    case.remove(BINDING, "late").await;
    case.remove(INSTANCE, "db").await;
    case.audit();
}

#[tokio::test]
async fn a_broker_object_of_the_same_url_takes_the_place_of_one_that_is_deleted() {
    for case in [namespaced("same-url").await, cluster_wide("same-url-wide").await] {
        let successor = format!("{}-2", case.broker_name());
        case.provide("db", json!({})).await;
        case.connect("app", "db", json!({})).await;
        register(&case, &successor, None, json!({})).await;
        let words = ["another broker offers these ids"];
        case.says(case.broker_kind(), &successor, "ErrorSyncingCatalog", &words).await;
        case.remove(case.broker_kind(), case.broker_name()).await;
        case.ready(case.broker_kind(), &successor).await;
        for object in [(INSTANCE, "db"), (BINDING, "app")] {
            on_record(&case, object, &successor).await;
        }
        go_on(&case).await;
        case.remove(case.broker_kind(), &successor).await;
    }
}

#[tokio::test]
async fn a_broker_object_that_was_torn_out_can_come_back_under_another_name() {
    let case = cluster_wide("torn-out").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let (kind, old) = (case.broker_kind(), case.broker_name());
    case.delete(kind, old).await;
    case.says(kind, old, "DeletionBlockedByExistingInstances", &[]).await;
    case.hand.edit(kind, old, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.gone(kind, old).await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 3 } })).await;
    register(&case, "torn-out-2", None, json!({})).await;
    case.ready(kind, "torn-out-2").await;
    on_record(&case, (INSTANCE, "db"), "torn-out-2").await;
    case.ready(INSTANCE, "db").await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    case.remove(kind, "torn-out-2").await;
    case.audit();
}

#[tokio::test]
async fn an_annotation_names_the_broker_object_whose_place_one_of_another_url_takes() {
    let case = namespaced("other-url").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let (kind, old) = (case.broker_kind(), case.broker_name());
    case.delete(kind, old).await;
    case.says(kind, old, "DeletionBlockedByExistingInstances", &["other-url/db"]).await;
    // The same server by another name.
    let url = case.broker.url().replace("127.0.0.1", "localhost");
    assert_ne!(url, case.broker.url());
    register(&case, "stranger", None, json!({ "url": url })).await;
    let words = ["another broker offers these ids"];
    case.says(kind, "stranger", "ErrorSyncingCatalog", &words).await;
    let annotation = json!({ "metadata": { "annotations": { REPLACES: old } } });
    case.hand.edit(kind, "stranger", annotation).await.unwrap();
    case.gone(kind, old).await;
    on_record(&case, (INSTANCE, "db"), "stranger").await;
    go_on(&case).await;
    case.remove(kind, "stranger").await;
}

#[tokio::test]
async fn of_two_broker_objects_that_could_take_the_place_none_does() {
    let case = namespaced("two-successors").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let (kind, old) = (case.broker_kind(), case.broker_name());
    for name in ["one", "two"] {
        register(&case, name, None, json!({})).await;
    }
    case.delete(kind, old).await;
    case.says(kind, old, "DeletionBlockedByExistingInstances", &["one, two", REPLACES]).await;
    assert_eq!(case.get(INSTANCE, "db").await["status"]["resolved"]["broker"], old);
    let annotation = json!({ "metadata": { "annotations": { REPLACES: old } } });
    case.hand.edit(kind, "two", annotation).await.unwrap();
    case.gone(kind, old).await;
    on_record(&case, (INSTANCE, "db"), "two").await;
    case.remove(kind, "one").await;
    go_on(&case).await;
    case.remove(kind, "two").await;
}

/// Broker objects of another namespace, and cluster-wide ones, take nothing over.
#[tokio::test]
async fn a_broker_object_of_another_tenant_takes_nothing_over() {
    let case = namespaced("own").await;
    let other = super::unregistered("tenant", false).await;
    case.provide("db", json!({})).await;
    let (kind, old) = (case.broker_kind(), case.broker_name());
    case.delete(kind, old).await;
    let spec = with(other.broker_spec(json!({})), json!({ "url": case.broker.url() }));
    other.hand.restore(kind, &broker(kind, "thief", Some(old), &spec)).await.unwrap();
    other.ready(kind, "thief").await;
    let blocked = case.says(kind, old, "DeletionBlockedByExistingInstances", &["own/db"]).await;
    assert!(!blocked.to_string().contains("thief"), "{blocked:#}");
    assert_eq!(case.get(INSTANCE, "db").await["status"]["resolved"]["broker"], old);
    case.remove(INSTANCE, "db").await;
    case.gone(kind, old).await;
    other.remove(kind, "thief").await;
    case.audit();
}
