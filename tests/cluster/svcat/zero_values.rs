//! Clients that are written in Go, `svcat` among them: they send every field that is not `omitempty`, with its zero
//! value or null, and they replace objects as a whole.

use kube::core::{Request, params::PostParams};
use serde_json::{Value, json};
use testkit::stage::{
    case::with,
    objects::{BINDING, INSTANCE, Kind, is_ready},
};

use super::{Case, unregistered};

/// The bytes that such a client sends, and nothing that a typed client of ours would tidy up.
async fn send(case: &Case, kind: Kind, replaced: Option<&str>, object: &Value) -> kube::Result<Value> {
    let path = kind.api(&case.hand.client, case.namespace()).resource_url().to_owned();
    let (request, parameters) = (Request::new(path), PostParams::default());
    let body = serde_json::to_vec(object).unwrap();
    let request = match replaced {
        Some(name) => request.replace(name, &parameters, body),
        None => request.create(&parameters, body),
    };
    case.hand.client.request(request.unwrap()).await
}

/// Puts zero values where an object has nothing.
fn fill(object: &mut Value, zeros: &Value) {
    let Some(zeros) = zeros.as_object() else { return };
    for (field, zero) in zeros {
        match &mut object[field] {
            absent @ Value::Null => *absent = zero.clone(),
            present => fill(present, zero),
        }
    }
}

/// An object is created, becomes ready, and is replaced: as it was read, but for an annotation. What was read before
/// is too old then.
async fn created_and_replaced(case: &Case, kind: Kind, name: &str, zeros: Value, spec: Value) {
    let mut object = json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": kind.name,
        "metadata": { "name": name, "creationTimestamp": null }, "spec": with(zeros["spec"].clone(), spec),
        "status": zeros["status"],
    });
    send(case, kind, None, &object).await.unwrap();
    case.ready(kind, name).await;
    let replaced = loop {
        object = case.get(kind, name).await;
        fill(&mut object["spec"], &zeros["spec"]);
        object["status"] = zeros["status"].clone();
        object["metadata"]["annotations"]["seen-by"] = "a Go client".into();
        match send(case, kind, Some(name), &object).await {
            // The operator was writing the status just now: such a client reads again.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(replaced["metadata"]["annotations"]["seen-by"], "a Go client");
    assert!(replaced["status"]["conditions"].is_array(), "the status is not the client's: {replaced}");
    let late = send(case, kind, Some(name), &object).await.unwrap_err();
    assert!(matches!(&late, kube::Error::Api(status) if status.code == 409), "{late:?}");
    let seen = |object: &Value| object["metadata"]["annotations"]["seen-by"] == "a Go client";
    case.until(kind, name, "to be ready after it was replaced", |object| is_ready(object) && seen(object))
        .await;
}

/// A broker, an instance and a binding by such a client.
async fn everything(namespace: &str, wide: bool) {
    let case = unregistered(namespace, wide).await;
    let state = |more: Value| with(json!({ "conditions": null, "reconciledGeneration": 0 }), more);
    let broker = json!({
        "spec": {
            "url": "", "insecureSkipTLSVerify": false, "caBundle": null, "relistBehavior": "", "relistRequests": 0,
            "relistDuration": null, "catalogRestrictions": {},
        },
        "status": state(json!({ "lastCatalogRetrievalTime": null, "lastConditionState": "" })),
    });
    let spec = case.broker_spec(json!({}));
    created_and_replaced(&case, case.broker_kind(), case.broker_name(), broker, spec).await;

    let instance = json!({
        "spec": {
            "clusterServiceClassRef": {}, "clusterServicePlanRef": {}, "serviceClassRef": {}, "servicePlanRef": {},
            "parameters": {}, "externalID": "", "updateRequests": 0,
        },
        "status": state(json!({
            "asyncOpInProgress": false, "orphanMitigationInProgress": false, "observedGeneration": 0,
            "provisionStatus": "", "deprovisionStatus": "", "userSpecifiedPlanName": "",
            "userSpecifiedClassName": "", "lastConditionState": "",
        })),
    });
    let spec = case.instance_spec("small", json!({}));
    created_and_replaced(&case, INSTANCE, "db", instance, spec).await;

    let add = json!({ "key": "k", "stringValue": "v", "value": null, "jsonPathExpression": null });
    let binding = json!({
        "spec": { "externalID": "", "secretName": "", "parameters": {}, "secretTransforms": [{ "addKey": add }] },
        "status": state(json!({
            "asyncOpInProgress": false, "orphanMitigationInProgress": false, "unbindStatus": "",
            "lastConditionState": "",
        })),
    });
    created_and_replaced(&case, BINDING, "app", binding, json!({ "instanceRef": { "name": "db" } })).await;
    assert_eq!(case.content("app").await["k"], "v");
    case.finish().await;
}

// v0.3 B3
#[tokio::test]
async fn zero_values_are_taken_for_a_broker_of_a_namespace() {
    everything("go-client", false).await;
}

// v0.3 A4
#[tokio::test]
async fn zero_values_are_taken_for_a_broker_of_the_cluster() {
    everything("go-client-wide", true).await;
}

/// A count of requests that is 2: whoever sends it as zero keeps it.
async fn keeps(case: &Case, kind: Kind, name: &str, count: &str) {
    let replaced = loop {
        let mut object = case.get(kind, name).await;
        object["spec"][count] = 0.into();
        match send(case, kind, Some(name), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(replaced["spec"][count], 2, "{count}");
}

// v0.3 B5, D9
#[tokio::test]
async fn a_count_that_is_sent_as_zero_is_kept() {
    for (namespace, wide) in [("go-count", false), ("go-count-wide", true)] {
        let case = unregistered(namespace, wide).await;
        case.register(json!({ "relistRequests": 2 })).await;
        let (kind, name) = (case.broker_kind(), case.broker_name());
        keeps(&case, kind, name, "relistRequests").await;
        let lowered =
            case.hand.edit(kind, name, json!({ "spec": { "relistRequests": 1 } })).await.unwrap_err();
        assert!(lowered.to_string().contains("relistRequests"), "{lowered}");
        case.provide("db", json!({ "updateRequests": 2 })).await;
        keeps(&case, INSTANCE, "db", "updateRequests").await;
        case.finish().await;
    }
}
