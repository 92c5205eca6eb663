//! Parameters and the schemas of plans: what breaks a rule is told at once, and the broker is not asked.

use serde_json::{Value, json};
use testkit::{
    broker::{LARGE, Operation, Plan, SMALL, catalog},
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE, SECRET, condition},
    },
};

use super::unregistered;

/// A schema for a size of at most this.
fn at_most(size: u8) -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": { "size": { "type": "integer", "maximum": size } }
    })
}

/// The catalog of a broker whose plan `small` has these schemas.
fn offer(case: &Case, create: Value, update: Value, bind: Value) {
    let small = Plan::new(&case.unique(SMALL), "small").schemas(create, update, bind);
    let offering = case.offering().with("plans", json!([]));
    case.broker.set_catalog(catalog([offering.plan(small).plan(Plan::new(&case.unique(LARGE), "large"))]));
}

async fn offering(namespace: &str, wide: bool, create: Value, update: Value, bind: Value) -> Case {
    let case = unregistered(namespace, wide).await;
    offer(&case, create, update, bind);
    case.register(json!({})).await;
    case
}

fn asked(case: &Case, operation: Operation) -> usize {
    case.broker.requests_of(operation).len()
}

// OSB 54
// v0.3 C9
#[tokio::test]
async fn a_provision_that_breaks_the_schema_is_told_and_not_sent() {
    let case = offering("schema-create", false, at_most(8), Value::Null, Value::Null).await;
    case.order("db", "small", json!({ "parameters": { "size": 9 } })).await;
    let words = ["spec.parameters.size: must be at most 8 (maximum)", "correct", "the plan \"small\""];
    case.says(INSTANCE, "db", "ErrorWithParameters", &words).await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": "large" } })).await;
    case.says(INSTANCE, "db", "ErrorWithParameters", &["size: must be an integer (type)"]).await;
    assert_eq!(asked(&case, Operation::Provision), 0);
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 8 } })).await;
    case.ready(INSTANCE, "db").await;
    // Another catalog wakes those that wait.
    case.order("second", "small", json!({ "parameters": { "size": 16 } })).await;
    case.says(INSTANCE, "second", "ErrorWithParameters", &words).await;
    offer(&case, at_most(16), Value::Null, Value::Null);
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.ready(INSTANCE, "second").await;
    assert_eq!(asked(&case, Operation::Provision), 2);
    case.finish().await;
}

// OSB 54
#[tokio::test]
async fn an_update_and_a_bind_that_break_their_schemas_are_told_and_not_sent() {
    let role = json!({ "required": ["role"], "properties": { "role": { "enum": ["reader", "writer"] } } });
    let case = offering("schema-update", true, Value::Null, at_most(8), role).await;
    case.provide("db", json!({ "parameters": { "size": 9 } })).await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 10 } })).await;
    let words = ["spec.parameters.size: must be at most 8 (maximum)"];
    case.says(INSTANCE, "db", "ErrorWithParameters", &words).await;
    assert_eq!(asked(&case, Operation::Update), 0);
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 4 } })).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(asked(&case, Operation::Update), 1);
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ErrorWithParameters", &["spec.parameters: must have \"role\" (required)"])
        .await;
    case.bind("second", "db", json!({ "parameters": { "role": "owner" } })).await;
    let words = ["spec.parameters.role: must be \"reader\" or \"writer\" (enum)"];
    case.says(BINDING, "second", "ErrorWithParameters", &words).await;
    assert_eq!(asked(&case, Operation::Bind), 0);
    case.connect("third", "db", json!({ "parameters": { "role": "reader" } })).await;
    assert_eq!(asked(&case, Operation::Bind), 1);
    case.finish().await;
}

#[tokio::test]
async fn the_check_can_be_switched_off_for_a_broker() {
    let case = offering("schema-off", false, at_most(8), Value::Null, Value::Null).await;
    case.order("db", "small", json!({ "parameters": { "size": 9 } })).await;
    let annotation = "servicecatalog.k8s.io/validate-parameters";
    case.says(INSTANCE, "db", "ErrorWithParameters", &[annotation]).await;
    let annotate = async |value: &str| {
        let patch = json!({ "metadata": { "annotations": { annotation: value } } });
        case.hand.edit(case.broker_kind(), case.broker_name(), patch).await.unwrap();
    };
    annotate("false").await;
    case.ready(INSTANCE, "db").await;
    annotate("true").await;
    case.order("second", "small", json!({ "parameters": { "size": 9 } })).await;
    case.says(INSTANCE, "second", "ErrorWithParameters", &[annotation]).await;
    case.finish().await;
}

// OSB 54
#[tokio::test]
async fn a_schema_that_cannot_be_used_is_told_by_the_broker_and_not_enforced() {
    let remote = json!({ "$ref": "http://169.254.169.254/latest", "type": "null" });
    let circle = json!({ "$ref": "#/definitions/a", "definitions": { "a": { "allOf": [{ "$ref": "#" }] } } });
    let wrong = json!({ "properties": { "role": { "required": true } } });
    let case = offering("schema-unusable", false, remote, circle, wrong).await;
    let ready = case.get(case.broker_kind(), case.broker_name()).await;
    let message = condition(&ready, "Ready").unwrap().2;
    for words in [
        "Accepted despite faults: services[0] \"postgresql\": plans[0] \"small\": schemas.service_instance.create.parameters is not enforced: $ref \"http://169.254.169.254/latest\" is outside of the schema",
        "schemas.service_instance.update.parameters is not enforced: a $ref leads back to itself",
        "schemas.service_binding.create.parameters is not enforced: required is not an array of strings",
    ] {
        assert!(message.contains(words), "{message}");
    }
    case.provide("db", json!({ "parameters": { "size": 1 } })).await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    case.ready(INSTANCE, "db").await;
    case.connect("app", "db", json!({ "parameters": { "role": "reader" } })).await;
    case.finish().await;
}

#[tokio::test]
async fn a_value_from_a_secret_is_checked_and_never_shown() {
    let schema = json!({ "properties": { "password": { "minLength": 16, "pattern": "^[a-z]+$" }, "users": {
        "additionalProperties": { "type": "integer" }
    } } });
    let case = offering("schema-secret", false, schema, Value::Null, Value::Null).await;
    let given = |value: Value| json!({ "stringData": { "json": value.to_string() } });
    let secret = json!({ "password": "hunter2", "users": { "alice": "pin-4711" } });
    case.hand.secret("p", json!({ "json": secret.to_string() })).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    case.order("db", "small", json!({ "parametersFrom": from })).await;
    let words = [
        "spec.parametersFrom: \"password\": must have at least 16 characters (minLength)",
        "spec.parametersFrom: \"password\": must match \"^[a-z]+$\" (pattern)",
        "spec.parametersFrom: \"users\": must be an integer (type)",
    ];
    let said = case.says(INSTANCE, "db", "ErrorWithParameters", &words).await;
    let status = said["status"].to_string();
    assert!(["hunter2", "alice", "4711"].iter().all(|secret| !status.contains(secret)), "{status}");
    assert_eq!(asked(&case, Operation::Provision), 0);
    let right = json!({ "password": "correcthorsebattery", "users": { "alice": 4711 } });
    case.hand.edit(SECRET, "p", given(right)).await.unwrap();
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// OSB 148
#[tokio::test]
async fn a_request_that_may_be_under_way_is_repeated_whatever_the_schema_says_now() {
    let case = offering("schema-repeated", false, at_most(8), Value::Null, Value::Null).await;
    case.broker.on(Operation::Provision).times(2).after_effect().reset();
    case.order("db", "small", json!({ "parameters": { "size": 8 } })).await;
    case.broker_shows("a request", |broker| broker.requests_of(Operation::Provision).first().map(|_| ()))
        .await;
    offer(&case, at_most(1), Value::Null, Value::Null);
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.ready(INSTANCE, "db").await;
    let requests = case.broker.requests_of(Operation::Provision);
    assert_eq!(requests.len(), 3, "{}", case.broker.summary());
    assert!(requests.iter().all(|it| it.path == requests[0].path && it.body == requests[0].body));
    assert_eq!(asked(&case, Operation::Deprovision), 0, "{}", case.broker.summary());
    case.finish().await;
}
