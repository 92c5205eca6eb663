//! Bindings that cannot be, and credentials that cannot be written.

use serde_json::{Value, json};
use testkit::{
    broker::{LARGE, Operation, Plan, Reply, SMALL, catalog},
    stage::{
        install::kubectl,
        objects::{BINDING, INSTANCE, SECRET, condition, uid},
    },
};

use super::{Case, namespaced, unregistered};

// OSB 146
// v0.3 F9
#[tokio::test]
async fn a_binding_to_an_instance_that_is_going_says_so() {
    let case = namespaced("going").await;
    case.provide("db", json!({})).await;
    case.connect("first", "db", json!({})).await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["first"]).await;
    case.bind("late", "db", json!({})).await;
    let words = ["spec.instanceRef.name", "\"db\" is being deleted", "delete it"];
    case.says(BINDING, "late", "ReferencesNonexistentInstance", &words).await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1);
    // The instance waits for every binding that names it, so the late one has to make way as well.
    case.remove(BINDING, "first").await;
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["late"]).await;
    case.remove(BINDING, "late").await;
    case.gone(INSTANCE, "db").await;
    case.bind("late", "db", json!({})).await;
    case.says(BINDING, "late", "ReferencesNonexistentInstance", &["\"db\""]).await;
    let another = case.provide("db", json!({})).await;
    case.ready(BINDING, "late").await;
    let bind = case.broker.requests_of(Operation::Bind).remove(1);
    assert!(bind.path.contains(uid(&another)), "{}", bind.path);
    case.finish().await;
}

#[tokio::test]
async fn a_path_that_cannot_be_read_fails_a_binding_for_good() {
    let case = namespaced("bad-path").await;
    case.provide("db", json!({})).await;
    let add = json!([{ "addKey": { "key": "uri", "jsonPathExpression": "{.host" } }]);
    case.bind("app", "db", json!({ "secretTransforms": add })).await;
    // The spec of a binding cannot be mended.
    let words = ["spec.secretTransforms[0]", "without a }", "delete this binding and create another"];
    let failed = case.says(BINDING, "app", "ErrorInjectingBindResult", &words).await;
    assert_eq!(condition(&failed, "Failed").map(|(status, ..)| status), Some("True"));
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    case.finish().await;
}

// OSB 47, 116
// v0.3 I2
#[tokio::test]
async fn a_plan_that_is_not_bindable_fails_a_binding_for_good() {
    let case = unregistered("not-bindable", false).await;
    case.broker.set_catalog(catalog([case.offering().with("bindable", false)]));
    case.register(json!({})).await;
    case.provide("db", json!({})).await;
    case.bind("app", "db", json!({})).await;
    let words = ["\"small\"", "not bindable", "delete this binding"];
    let failed = case.says(BINDING, "app", "ErrorNonbindableServiceClass", &words).await;
    assert_eq!(condition(&failed, "Failed").unwrap().0, "True");
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    case.finish().await;
}

// OSB 116
#[tokio::test]
async fn an_instance_that_could_not_be_moved_to_a_bindable_plan_is_not_bound_to() {
    let case = unregistered("still-not-bindable", false).await;
    let plans = json!([Plan::new(SMALL, "small").not_bindable().json(), Plan::new(LARGE, "large").json()]);
    case.broker.set_catalog(catalog([case.offering().with("plans", plans)]));
    case.register(json!({})).await;
    case.provide("db", json!({})).await;
    case.broker.on(Operation::Update).once().respond(400, json!({ "description": "not from small" }));
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    case.failed(INSTANCE, "db", &["not from small"]).await;
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ErrorNonbindableServiceClass", &["\"small\"", "not bindable"]).await;
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    // Once it is there, the binding goes on by itself.
    case.edit(INSTANCE, "db", json!({ "updateRequests": 1 })).await;
    case.ready(INSTANCE, "db").await;
    case.ready(BINDING, "app").await;
    case.finish().await;
}

// OSB 120
#[tokio::test]
async fn a_refused_bind_fails_for_good() {
    let case = namespaced("refused-bind").await;
    case.provide("db", json!({})).await;
    case.broker.on(Operation::Bind).once().respond(400, json!({ "description": "no such role" }));
    case.bind("app", "db", json!({})).await;
    let failed = case.says(BINDING, "app", "BindCallFailed", &["400", "no such role"]).await;
    assert_eq!(condition(&failed, "Failed").unwrap().1, "ServiceBindingReturnedFailure");
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1);
    case.finish().await;
}

// v0.3 E1
#[tokio::test]
async fn parameter_secrets_of_a_binding_are_named_until_they_are_there() {
    let case = namespaced("bind-parameters").await;
    case.provide("db", json!({})).await;
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    case.bind("app", "db", json!({ "parametersFrom": from })).await;
    let field = "spec.parametersFrom[0].secretKeyRef";
    let says = async |words: &[&str]| case.says(BINDING, "app", "ErrorWithParameters", words).await;
    says(&[field, "\"p\" does not exist", "create it"]).await;
    case.hand.secret("p", json!({ "other": "{}" })).await.unwrap();
    says(&[field, "no key \"json\"", "add it"]).await;
    for wrong in ["role: reader, pw: hunter2", "[1]", ""] {
        case.hand.edit(SECRET, "p", json!({ "stringData": { "json": wrong } })).await.unwrap();
        let said = says(&[field, "is not a JSON object"]).await;
        assert!(!condition(&said, "Ready").unwrap().2.contains("hunter2"), "{said}");
        // The next one says the same, so what it says is to be its own.
        case.hand.edit(SECRET, "p", json!({ "data": { "json": null } })).await.unwrap();
        says(&["no key \"json\""]).await;
    }
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    let right = json!({ "stringData": { "json": "{\"role\": \"reader\"}" } });
    case.hand.edit(SECRET, "p", right).await.unwrap();
    let ready = case.ready(BINDING, "app").await;
    assert_eq!(ready["status"]["externalProperties"]["parameters"], json!({ "role": "<redacted>" }));
    case.finish().await;
}

#[tokio::test]
async fn a_parameter_of_a_binding_that_is_given_twice_is_named() {
    let case = namespaced("bind-twice").await;
    case.provide("db", json!({})).await;
    case.hand.secret("p", json!({ "json": "{\"role\": \"reader\"}" })).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    case.bind("app", "db", json!({ "parameters": { "role": "owner" }, "parametersFrom": from })).await;
    let words = ["duplicate entry for parameter \"role\"", "spec.parameters", "spec.parametersFrom"];
    case.says(BINDING, "app", "ErrorWithParameters", &words).await;
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    // The spec of a binding is for good, the Secret is not.
    case.hand.edit(SECRET, "p", json!({ "stringData": { "json": "{\"lifetime\": 1}" } })).await.unwrap();
    let ready = case.ready(BINDING, "app").await;
    let sent = case.broker.binding(uid(&ready)).unwrap().parameters;
    assert_eq!(sent, json!({ "role": "owner", "lifetime": 1 }));
    case.finish().await;
}

/// A binding whose credentials are `unfit` says why they cannot be written, and is ready once the broker gives proper
/// ones. Nothing else is left at the broker.
async fn unfit(case: &Case, unfit: Value, (reason, words): (&str, &[&str])) -> Value {
    case.provide("db", json!({})).await;
    case.broker.set_credentials(unfit);
    case.bind("app", "db", json!({})).await;
    let said = case.says(BINDING, "app", reason, words).await;
    assert!(case.hand.get(SECRET, "app").await.unwrap().is_none());
    said
}

async fn fit(case: Case) {
    case.broker.set_credentials(json!({ "password": "fits" }));
    case.ready(BINDING, "app").await;
    assert_eq!(case.content("app").await, json!({ "password": "fits" }));
    assert_eq!(case.broker.live_bindings().len(), 1, "{}", case.broker.summary());
    case.finish().await;
}

#[tokio::test]
async fn credentials_that_are_too_large_for_a_secret_are_given_back() {
    let case = namespaced("large-credentials").await;
    let large = json!({ "ca": "x".repeat(1024 * 1024 + 1) });
    let words = [
        "201 Created with a body of more than 1 MiB",
        "deletes the binding at the broker before it tries again",
    ];
    unfit(&case, large, ("ServiceBindingNeedsOrphanMitigation", &words)).await;
    fit(case).await;
}

// OSB 122, 151
// v0.3 Q35
#[tokio::test]
async fn credentials_with_keys_that_no_secret_can_have_are_bound_once() {
    for (name, polls) in [("illegal-keys", None), ("illegal-keys-async", Some(1))] {
        let case = namespaced(name).await;
        if let Some(polls) = polls {
            case.broker.set_async(Operation::Bind, polls);
        }
        let illegal = json!({ "user name": "u", "a/b": "c", "fine": "x" });
        let words = ["\"user name\"", "\"a/b\"", "spec.secret.legalKeys", "tries again at"];
        unfit(&case, illegal, ("ErrorInjectingBindResult", &words)).await;
        let asked_again = case
            .until(BINDING, "app", "another try", |binding| binding["status"]["retries"].as_i64() >= Some(3))
            .await;
        assert_eq!(asked_again["status"]["attempt"], Value::Null);
        assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
        assert!(case.broker.requests_of(Operation::Unbind).is_empty(), "{}", case.broker.summary());
        let credentials = json!({ "credentials": { "password": "fits" } });
        case.broker.on(Operation::GetBinding).always().respond(200, credentials);
        fit(case).await;
    }
}

/// Nobody may create the Secret `app` in this namespace.
async fn forbid_secret(case: &Case) {
    let rule = "{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [secrets]}";
    case.forbid(rule, "object.metadata.name != 'app'", (SECRET, "app", &json!({}))).await;
}

// OSB 151
#[tokio::test]
async fn a_binding_whose_secret_is_refused_stays_and_is_ready_when_it_may_be_written() {
    for (name, is_retrievable) in [("refused-secret", true), ("refused-secret-once", false)] {
        let case = unregistered(name, false).await;
        case.broker.set_catalog(catalog([case.offering().with("bindings_retrievable", is_retrievable)]));
        case.register(json!({})).await;
        forbid_secret(&case).await;
        case.provide("db", json!({})).await;
        case.bind("app", "db", json!({})).await;
        let words = ["not in this house", "the operator tries again at"];
        case.says(BINDING, "app", "ErrorInjectingBindResult", &words).await;
        case.until(BINDING, "app", "another try", |binding| binding["status"]["retries"].as_i64() >= Some(3))
            .await;
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            kubectl(case.stage.plane, &["delete", kind, name]).await.unwrap();
        }
        case.ready(BINDING, "app").await;
        assert_eq!(case.content("app").await["password"], "s3cret");
        let binds = case.broker.requests_of(Operation::Bind);
        if is_retrievable {
            assert_eq!(binds.len(), 1, "{}", case.broker.summary());
        }
        assert!(binds.iter().all(|bind| bind.path == binds[0].path), "{}", case.broker.summary());
        assert!(case.broker.requests_of(Operation::Unbind).is_empty(), "{}", case.broker.summary());
        case.finish().await;
    }
}

// OSB 123
#[tokio::test]
async fn a_binding_without_credentials_has_an_empty_secret() {
    let case = namespaced("no-credentials").await;
    case.broker.on(Operation::Bind).once().after_effect().reply(Reply::json(201, json!({})));
    case.provide("db", json!({})).await;
    let ready = case.connect("app", "db", json!({})).await;
    let message = condition(&ready, "Ready").unwrap().2;
    assert!(message.contains("gave no credentials") && message.contains("Secret is empty"), "{message}");
    assert_eq!(case.content("app").await, json!({}));
    case.finish().await;
}

/// The empty Secret of a binding without credentials comes back, and the binding stays.
async fn comes_back_empty(case: Case) {
    let ready = case.ready(BINDING, "app").await;
    let message = condition(&ready, "Ready").unwrap().2;
    assert!(message.contains("gave no credentials") && message.contains("Secret is empty"), "{message}");
    assert_eq!(ready["status"]["withoutCredentials"], true);
    for _ in 0..2 {
        assert_eq!(case.content("app").await, json!({}));
        let before = case.get(SECRET, "app").await;
        case.delete(SECRET, "app").await;
        case.until(SECRET, "app", "to come back", |secret| uid(secret) != uid(&before)).await;
    }
    case.ready(BINDING, "app").await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    assert!(case.broker.requests_of(Operation::Unbind).is_empty(), "{}", case.broker.summary());
    case.finish().await;
}

// OSB 136
#[tokio::test]
async fn an_asynchronous_binding_without_credentials_has_an_empty_secret() {
    let case = namespaced("drain").await;
    case.broker.set_async(Operation::Bind, 1);
    let drain = json!({ "syslog_drain_url": "syslog://logs.example.com" });
    case.broker.on(Operation::GetBinding).always().respond(200, drain);
    case.provide("db", json!({})).await;
    case.bind("app", "db", json!({})).await;
    comes_back_empty(case).await;
}

// OSB 123
#[tokio::test]
async fn the_empty_secret_of_a_binding_that_cannot_be_fetched_comes_back_without_a_request() {
    let case = unregistered("route", false).await;
    case.broker.set_catalog(catalog([case.offering().with("bindings_retrievable", false)]));
    case.register(json!({})).await;
    case.broker.on(Operation::Bind).always().after_effect().reply(Reply::json(201, json!({})));
    case.provide("db", json!({})).await;
    case.bind("app", "db", json!({})).await;
    comes_back_empty(case).await;
}

// OSB 123
#[tokio::test]
async fn nested_credentials_are_written_as_json() {
    let case = namespaced("nested").await;
    case.broker.set_credentials(json!({ "db": { "user": "u", "hosts": ["a", "b"] } }));
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    assert_eq!(case.content("app").await, json!({ "db": r#"{"user":"u","hosts":["a","b"]}"# }));
    case.finish().await;
}
