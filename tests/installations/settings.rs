//! What the original had as feature gates and this operator as settings, each the other way round than by default, and a
//! log that tells all that it can.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use testkit::{
    broker::{AsyncScript, Hold, Operation, PASSWORD, USERNAME},
    stage::{
        Installation, WITH_POLICIES,
        case::Case,
        objects::{BINDING, INSTANCE, SECRET, name},
    },
};

use super::OPERATOR;

async fn namespaced(namespace: &str) -> Case {
    static INSTALLATION: Installation = Installation::new(
        OPERATOR,
        &[WITH_POLICIES, "config/cascading-deletion"],
        &[
            "--cascading-deletion",
            "--service-plan-defaults",
            "--originating-identity=false",
            "RUST_LOG=trace",
        ],
    );
    Case::namespaced(INSTALLATION.stage().await, namespace).await
}

// v0.3 L3
#[tokio::test]
async fn the_bindings_of_an_instance_are_deleted_with_it() {
    let case = namespaced("cascading").await;
    for instance in ["db", "other"] {
        case.provide(instance, json!({})).await;
    }
    for (binding, instance) in [("one", "db"), ("two", "db"), ("three", "other")] {
        case.connect(binding, instance, json!({})).await;
    }
    let hold = Hold::new();
    case.broker.set_async_script(Operation::Unbind, AsyncScript::succeeding(0).held_by(&hold));
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "ServiceBindingsDeletion", &["one, two"]).await;
    for binding in ["one", "two"] {
        case.says(BINDING, binding, "Unbinding", &[]).await;
    }
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty(), "the bindings go first");
    hold.release();
    case.gone(INSTANCE, "db").await;
    for binding in ["one", "two"] {
        case.gone(BINDING, binding).await;
        assert!(case.hand.get(SECRET, binding).await.unwrap().is_none());
    }
    let unbound = case.broker.requests_of(Operation::Unbind).len();
    assert_eq!((unbound, case.broker.requests_of(Operation::Deprovision).len()), (2, 1));
    let left = case.ready(BINDING, "three").await;
    assert!(left["metadata"].get("deletionTimestamp").is_none(), "it belongs to another instance: {left}");
    case.finish().await;
}

// v0.3 L2
#[tokio::test]
async fn an_instance_gets_the_defaults_of_its_class_and_plan() {
    let case = namespaced("plan-defaults").await;
    let class = case.entries(case.class_kind()).await.remove(0);
    let plans = case.entries(case.plan_kind()).await;
    let small = plans.iter().find(|plan| plan["spec"]["externalName"] == "small").unwrap();
    for (kind, entry, defaults) in [
        (case.class_kind(), &class, json!({ "region": "eu", "backup": { "every": "day", "keep": 7 } })),
        (case.plan_kind(), small, json!({ "size": 1, "password": "none", "backup": { "keep": 14 } })),
    ] {
        case.edit(kind, name(entry), json!({ "defaultProvisionParameters": defaults })).await;
    }
    // A relist leaves them alone.
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    case.hand.secret("secret", json!({ "json": r#"{"password": "hunter2"}"# })).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "secret", "key": "json" } }]);
    let spec = json!({ "parameters": { "backup": { "every": "hour" } }, "parametersFrom": from });
    let ready = case.provide("db", spec).await;

    let defaults = json!({
        "region": "eu", "size": 1, "password": "none", "backup": { "every": "day", "keep": 14 },
    });
    assert_eq!(ready["status"]["defaultProvisionParameters"], defaults);
    assert_eq!(
        ready["spec"]["parameters"],
        json!({ "backup": { "every": "hour" } }),
        "the spec is the user's"
    );
    let sent = case.broker.requests_of(Operation::Provision).pop().unwrap();
    let expected = json!({
        "region": "eu", "size": 1, "password": "hunter2", "backup": { "every": "hour", "keep": 14 },
    });
    assert_eq!(sent.body["parameters"], expected);
    assert!(!ready.to_string().contains("hunter2"), "{ready}");

    // They were the instance's from then on: what becomes of the catalog does not matter to it.
    case.edit(case.class_kind(), name(&class), json!({ "defaultProvisionParameters": { "region": "us" } }))
        .await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 3, "backup": null } })).await;
    case.ready(INSTANCE, "db").await;
    let sent = case.broker.requests_of(Operation::Update).pop().unwrap();
    assert_eq!(sent.body["parameters"]["region"], "eu");
    assert_eq!(sent.body["parameters"]["backup"], json!({ "every": "day", "keep": 14 }));
    assert_eq!(sent.body["parameters"]["size"], 3);
    assert_eq!(case.broker.requests_of(Operation::Update).len(), 1);
    case.finish().await;
}

// v0.3 L1
#[tokio::test]
async fn no_broker_is_told_who_asked() {
    let case = namespaced("nobody").await;
    let ready = case.provide("db", json!({})).await;
    assert_eq!(ready["spec"]["userInfo"]["username"], "admin", "it is on record all the same: {ready}");
    case.connect("app", "db", json!({})).await;
    let told =
        |request: &testkit::broker::Request| request.header("x-broker-api-originating-identity").is_some();
    assert!(case.broker.requests(told).is_empty());
    case.finish().await;
}

/// A text as it may stand in a log: as it is, in base64, or as Rust shows bytes.
fn forms(secret: &str) -> [String; 3] {
    let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    [secret.to_owned(), BASE64_STANDARD.encode(secret), bytes.join(", ")]
}

// v0.3 Q6
#[tokio::test]
async fn no_verbosity_shows_a_secret() {
    let case = namespaced("verbose").await;
    case.broker.set_credentials(json!({ "username": "u", "password": "cr3dential-Xy" }));
    case.hand.secret("p", json!({ "json": r#"{"token": "par4meter-Zq"}"# })).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    case.provide("db", json!({ "parametersFrom": from })).await;
    case.broker.on(Operation::Update).times(2).respond(500, json!({ "description": "no par4meter-Zq here" }));
    case.edit(INSTANCE, "db", json!({ "updateRequests": 1 })).await;
    case.ready(INSTANCE, "db").await;
    case.bind("app", "db", json!({ "parametersFrom": from })).await;
    case.ready(BINDING, "app").await;
    // Read, restored and replaced: whatever is done with a Secret is done once.
    case.delete(SECRET, "app").await;
    case.until(SECRET, "app", "to come back", |_| true).await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;

    let log = case.stage.operator.logs().unwrap();
    assert!(
        log.contains(" TRACE ") && log.contains("broker request finished"),
        "it tells more than by default"
    );
    let basic = format!("{USERNAME}:{PASSWORD}");
    for secret in [PASSWORD, &basic, "cr3dential-Xy", "par4meter-Zq"] {
        for form in forms(secret) {
            let shown = log.lines().find(|line| line.contains(&form));
            assert_eq!(shown, None, "{secret} is shown");
        }
    }
    case.finish().await;
}
