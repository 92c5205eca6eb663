//! Manifests that are refused, with the exact words, or of which something is silently not heard. The tables are in
//! `invalid/`: what is said of a spec of every kind, when it is created and when it is changed.
//!
//! Each document of a table is a merge patch (`create`, `update`) of a spec that is in order. An update is of an object
//! that exists and is ready: the broker, `plain`, or what `of` names. What follows is one of
//!
//! * `error`: what the API server says, after the name of the object, with 422 or what `code` says;
//! * `kept`: fields of the spec, or `spec` itself, that are what they were in spite of the update.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{
        case::with,
        objects::{BINDING, CLUSTER_BROKER, INSTANCE, Kind},
    },
};

use super::{Case, cluster_wide, namespaced};

/// A document of a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    what: String,
    /// The name of a new object.
    #[serde(default = "new")]
    name: String,
    create: Option<Value>,
    update: Option<Value>,
    #[serde(default = "plain")]
    of: String,
    error: Option<String>,
    /// The status of the answer.
    #[serde(default = "unprocessable")]
    code: u16,
    kept: Option<Vec<String>>,
}

fn new() -> String {
    "invalid".to_owned()
}

fn unprocessable() -> u16 {
    422
}

fn plain() -> String {
    "plain".to_owned()
}

/// RFC 7386.
fn merge(value: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (name, patch) in fields {
        if patch.is_null() {
            value.as_object_mut().unwrap().shift_remove(name);
        } else {
            merge(&mut value[name], patch);
        }
    }
}

/// What the API server says of an object, without the object's kind and name, and without its remark that it looked no
/// further.
fn said(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else { return error.to_string() };
    let denied = status.message.split_once(" denied request: ");
    let invalid = status.message.split_once(" is invalid: ");
    let said = denied.or(invalid).map_or(status.message.as_str(), |(_, said)| said);
    said.replace(LOOKED_NO_FURTHER, "")
}

fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

const LOOKED_NO_FURTHER: &str = ", <nil>: Invalid value: null: some validation rules were not checked because the object was \
                                 invalid; correct the existing errors to complete validation";

/// What is wrong with a row, if anything.
async fn fault(case: &Case, kind: Kind, good: &Value, row: &Row) -> Option<String> {
    let name = if kind == case.broker_kind() { case.broker_name() } else { &row.of };
    let before = case.get(kind, name).await;
    let answer = match (&row.create, &row.update) {
        (Some(patch), None) => {
            let mut spec = good.clone();
            merge(&mut spec, patch);
            case.hand.create(kind, &row.name, spec).await
        }
        (None, Some(patch)) => case.hand.edit(kind, name, json!({ "spec": patch })).await,
        _ => return Some("is neither a creation nor an update".to_owned()),
    };
    match (answer, &row.error, &row.kept) {
        (Err(error), Some(expected), None) => {
            let (said, code) = (said(&error), code(&error));
            (said != *expected || code != Some(row.code))
                .then(|| format!("was refused with\n  {said}\n  as {code:?}"))
        }
        (Ok(after), None, Some(kept)) => {
            let is_kept = |field: &String| match field.as_str() {
                "spec" => after["spec"] == before["spec"],
                field => after["spec"].get(field) == before["spec"].get(field),
            };
            (!kept.iter().all(is_kept)).then(|| format!("became\n  {}", after["spec"]))
        }
        (Ok(_), ..) => Some("was accepted".to_owned()),
        (Err(error), ..) => Some(format!("was refused with\n  {}", said(&error))),
    }
}

/// How many rows a table has, and what is wrong with them.
async fn table(case: &Case, kind: Kind, file: &str, good: &Value) -> (usize, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/invalid").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let rows: Vec<Row> = serde_saphyr::from_multiple(&text).unwrap();
    let mut faults = Vec::new();
    for row in &rows {
        let fault = fault(case, kind, good, row).await;
        faults.extend(fault.map(|fault| format!("{file}: {}: {fault}", row.what)));
    }
    (rows.len(), faults)
}

/// All tables of a scope. Nothing in them reaches the broker.
async fn tables(case: Case, [broker, class, plan, instance, binding]: [&str; 5], expected: usize) {
    let wide = case.broker_kind() == CLUSTER_BROKER;
    let prefix = if wide { "clusterService" } else { "service" };
    let good_broker = case.broker_spec(json!({}));
    let good_class = json!({
        "externalName": "mine", "externalID": "mine", "description": "made by hand",
        format!("{prefix}BrokerName"): case.broker_name(),
    });
    let good_plan = with(good_class.clone(), json!({ format!("{prefix}ClassRef"): { "name": "plain" } }));
    let good_instance = case.instance_spec("small", json!({}));
    let good_binding = json!({ "instanceRef": { "name": "plain" } });

    case.hand.create(case.class_kind(), "plain", good_class.clone()).await.unwrap();
    case.hand.create(case.plan_kind(), "plain", good_plan.clone()).await.unwrap();
    case.provide("plain", json!({})).await;
    let more = json!({ "externalID": case.unique("taken-over"), "updateRequests": 5 });
    case.provide("taken-over", more).await;
    let add = json!({ "key": "k", "stringValue": "v", "value": null, "jsonPathExpression": null });
    for (name, more) in [
        ("plain", json!({})),
        ("transformed", json!({ "secretTransforms": [{ "addKey": add }] })),
        (
            "full",
            json!({ "parameters": { "a": [{ "b": 1 }] }, "secretName": "elsewhere", "externalID": case.unique("full") }),
        ),
    ] {
        case.connect(name, "plain", more).await;
    }
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 3 })).await;
    case.ready(case.broker_kind(), case.broker_name()).await;

    let before = case.broker.journal().len();
    let (mut rows, mut faults) = (0, Vec::new());
    for (kind, good, file) in [
        (case.broker_kind(), good_broker, broker),
        (case.class_kind(), good_class, class),
        (case.plan_kind(), good_plan, plan),
        (INSTANCE, good_instance, instance),
        (BINDING, good_binding, binding),
    ] {
        let (count, found) = table(&case, kind, file, &good).await;
        rows += count;
        faults.extend(found);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(rows, expected);
    // What comes to the broker after all of that is the next thing that is in order, and nothing else.
    case.provide("next", json!({})).await;
    let since: Vec<_> = case.broker.journal().into_iter().skip(before).collect();
    assert!(since.len() == 1 && since[0].is(Operation::Provision), "{since:#?}");
    case.remove(case.plan_kind(), "plain").await;
    case.remove(case.class_kind(), "plain").await;
    case.finish().await;
}

// v0.3 B1, B2, C6, C7, C8, D4, E5, F1, F2, F3, F4, F5, F6, P7, Q3
#[tokio::test]
async fn what_cannot_be_of_a_broker_of_a_namespace_is_refused_at_once() {
    let files = [
        "service-broker.yaml",
        "service-class.yaml",
        "service-plan.yaml",
        "service-instance.yaml",
        "service-binding.yaml",
    ];
    tables(namespaced("invalid").await, files, 163).await;
}

// v0.3 B1, B2, C6, C7, C8, D4, E5, F1, F2, F3, F4, F5, F6, P7, Q3
#[tokio::test]
async fn what_cannot_be_of_a_broker_of_the_cluster_is_refused_at_once() {
    let files = [
        "cluster-service-broker.yaml",
        "cluster-service-class.yaml",
        "cluster-service-plan.yaml",
        "service-instance-of-the-cluster.yaml",
        "service-binding-of-the-cluster.yaml",
    ];
    tables(cluster_wide("invalid-wide").await, files, 81).await;
}
