//! Kubernetes without mutating admission policies: everything still works; finalizers come from the operator, and brokers
//! are told of no user. The API server sends no first objects in a watch either.

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Operation},
    stage::{
        Installation, Stage, WITHOUT_POLICIES,
        case::Case,
        objects::{BINDING, INSTANCE, NAMESPACE, name},
    },
};

use super::OPERATOR;

const FINALIZER: &str = "kubernetes-incubator/service-catalog";

async fn stage() -> &'static Stage {
    static INSTALLATION: Installation =
        Installation::on_api_server(OPERATOR, &[WITHOUT_POLICIES], &[], &["--feature-gates=WatchList=false"]);
    INSTALLATION.stage().await
}

/// Provision, update, bind, unbind, deprovision.
async fn live(case: Case) {
    let registered = case.get(case.broker_kind(), case.broker_name()).await;
    assert_eq!(registered["metadata"]["finalizers"], json!([FINALIZER]));
    let made = case.order("db", "small", json!({})).await;
    assert!(made["metadata"].get("finalizers").is_none(), "there is a policy: {made}");
    let ready = case.ready(INSTANCE, "db").await;
    assert_eq!(ready["metadata"]["finalizers"], json!([FINALIZER]));
    assert!(ready["spec"].get("userInfo").is_none(), "{ready}");
    let made = case.bind("app", "db", json!({})).await;
    assert!(made["spec"].get("secretName").is_none(), "there is a policy: {made}");
    let ready = case.ready(BINDING, "app").await;
    assert_eq!(ready["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(ready["spec"]["secretName"], "app", "the operator fills it in");
    assert_eq!(case.content("app").await["password"], "s3cret");
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    case.ready(INSTANCE, "db").await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    let identified =
        case.broker.requests(|request| request.header("x-broker-api-originating-identity").is_some());
    assert!(identified.is_empty(), "nobody is known: {identified:#?}");
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    case.finish().await;
}

// v0.3 Q59
#[tokio::test]
async fn the_flows_of_a_cluster_wide_broker_work() {
    live(Case::cluster_wide(stage().await, "flows-wide").await).await;
}

// v0.3 D8, E2
#[tokio::test]
async fn the_flows_of_a_broker_of_a_namespace_work() {
    let case = Case::namespaced(stage().await, "flows").await;
    case.broker.on(Operation::Provision).once().asynchronously(AsyncScript::succeeding(2));
    live(case).await;
}

#[tokio::test]
async fn a_secret_goes_where_it_is_told_to() {
    let case = Case::namespaced(stage().await, "named-secret").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({ "secretName": "elsewhere" })).await;
    assert_eq!(case.content("elsewhere").await["password"], "s3cret");
    case.finish().await;
}

#[tokio::test]
async fn a_namespace_with_everything_in_it_ends_cleanly() {
    let case = Case::namespaced(stage().await, "whole").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    case.delete(NAMESPACE, "whole").await;
    case.gone(NAMESPACE, "whole").await;
    case.audit();
}

// v0.3 C6, E6
#[tokio::test]
async fn what_no_policy_puts_back_is_refused() {
    let case = Case::namespaced(stage().await, "put-back").await;
    case.provide("db", json!({})).await;
    let spec = json!({ "parameters": { "role": "reader" }, "deletionPolicy": "Retain" });
    case.connect("app", "db", spec).await;
    let transforms = json!([{ "removeKey": { "key": "k" } }]);
    for (spec, because) in [
        (
            json!({ "parameters": { "role": "owner" } }),
            "ServiceBinding is immutable: delete the binding and create",
        ),
        (json!({ "parameters": null }), "ServiceBinding is immutable"),
        (json!({ "secretTransforms": transforms }), "ServiceBinding is immutable"),
        (json!({ "instanceRef": { "name": "x" } }), "instanceRef is immutable"),
        (json!({ "externalID": "x" }), "externalID is immutable"),
        (json!({ "externalID": "" }), "externalID is immutable"),
        (json!({ "deletionPolicy": null }), "spec.deletionPolicy can be changed, but not removed"),
    ] {
        let said = case.hand.edit(BINDING, "app", json!({ "spec": spec })).await.unwrap_err().to_string();
        assert!(said.contains(because), "{spec}: {said}");
    }
    case.edit(BINDING, "app", json!({ "deletionPolicy": "Delete" })).await;
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Retain" })).await;
    let dropped = json!({ "spec": { "deletionPolicy": null } });
    let said = case.hand.edit(INSTANCE, "db", dropped).await.unwrap_err().to_string();
    assert!(said.contains("spec.deletionPolicy can be changed, but not removed"), "{said}");
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    // Zero values are what a Go client makes of nothing.
    let zeros = json!({ "parametersFrom": null, "secretTransforms": [] });
    case.edit(BINDING, "app", zeros).await;
    for (kind, field) in [(case.class_kind(), "serviceBrokerName"), (case.plan_kind(), "serviceClassRef")] {
        let entry = case.hand.list(kind).await.unwrap().remove(0);
        let other = if field == "serviceClassRef" { json!({ "name": "x" }) } else { json!("x") };
        for value in [other, json!(null)] {
            let moved = case.hand.edit(kind, name(&entry), json!({ "spec": { field: value } })).await;
            assert!(moved.unwrap_err().to_string().contains(&format!("{field} is")), "{value}");
        }
    }
    case.finish().await;
}

// v0.3 B5
#[tokio::test]
async fn a_count_that_is_sent_as_zero_is_stored_and_grows_from_there() {
    let case = Case::namespaced(stage().await, "counts").await;
    case.provide("db", json!({})).await;
    for (kind, name, field) in
        [(case.broker_kind(), case.broker_name(), "relistRequests"), (INSTANCE, "db", "updateRequests")]
    {
        for count in [3, 0, 1] {
            let stored = case.edit(kind, name, json!({ field: count })).await;
            assert_eq!(stored["spec"][field], count, "{field}");
            case.ready(kind, name).await;
        }
    }
    case.finish().await;
}
