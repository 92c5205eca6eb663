//! Bindings: `bind`, `get`, `describe --show-secrets`, `unbind`, with `--wait` and `--abandon`.

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Hold, Operation, catalog},
    stage::objects::{BINDING, INSTANCE, SECRET, uid},
};

use super::{
    Case, namespaced, unregistered,
    wire::{Svcat, is, is_done, status},
};

/// The Secret's data are base64 on the wire.
fn encoded(text: &str) -> Value {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text).into()
}

// v0.3 N9
#[tokio::test]
async fn a_binding_comes_and_goes_and_its_secret_is_found_by_the_spec() {
    let case = namespaced("svcat-binding").await;
    let svcat = Svcat(&case);
    case.provide("db", json!({})).await;
    for (said, more, secret) in [
        (None, json!({}), "db"),
        (Some("app"), json!({ "secretName": "elsewhere", "parameters": { "role": "reader" } }), "elsewhere"),
    ] {
        let binding = said.unwrap_or("db");
        let made = svcat.bind("db", said, more).await.unwrap();
        assert_eq!(made["spec"]["secretName"], secret, "at once");
        let ready = svcat.wait(BINDING, binding).await;
        assert_eq!(status(&ready), ("Ready".to_owned(), "Injected bind result".to_owned()));
        let (described, data) = svcat.describe_binding(binding).await.unwrap();
        assert_eq!(described["spec"]["secretName"], secret);
        assert_eq!(data["password"], encoded("s3cret"));
    }
    let rows = ["app", "db"].map(|name| [name, "db", "Ready"].map(str::to_owned));
    assert_eq!(svcat.get_bindings().await.unwrap(), rows);

    assert_eq!(svcat.unbind("db").await.unwrap(), ["app", "db"]);
    for binding in ["app", "db"] {
        svcat.wait_for_absence(BINDING, binding).await;
    }
    assert!(case.hand.get(SECRET, "elsewhere").await.unwrap().is_none());
    assert!(is(&svcat.unbind_by_name("app").await.unwrap_err(), 404));
    assert!(is(&svcat.unbind("other").await.unwrap_err(), 404));
    case.finish().await;
}

#[tokio::test]
async fn a_binding_that_is_made_before_its_instance_is_waited_for() {
    let case = namespaced("svcat-early-binding").await;
    let svcat = Svcat(&case);
    svcat.bind("db", None, json!({})).await.unwrap();
    case.says(BINDING, "db", "ReferencesNonexistentInstance", &["\"db\""]).await;
    let (short, message) = status(&svcat.get(BINDING, "db").await.unwrap());
    assert!(
        short == "ReferencesNonexistentInstance" && message.contains("no ServiceInstance \"db\""),
        "{message}"
    );
    svcat.provision("db", "postgresql", "small", json!({})).await.unwrap();
    assert_eq!(status(&svcat.wait(BINDING, "db").await).0, "Ready");
    case.finish().await;
}

// v0.3 N7
#[tokio::test]
async fn a_refused_bind_ends_the_waiting() {
    let case = namespaced("svcat-refused-bind").await;
    let svcat = Svcat(&case);
    case.provide("db", json!({})).await;
    case.broker.on(Operation::Bind).once().respond(400, json!({ "description": "no such role" }));
    svcat.bind("db", Some("app"), json!({})).await.unwrap();
    let failed = svcat.wait(BINDING, "app").await;
    let (short, message) = status(&failed);
    assert!(short == "Failed" && message.contains("no such role"), "{short} - {message}");
    assert_eq!(failed["status"]["asyncOpInProgress"], false);
    assert_eq!(svcat.get_bindings().await.unwrap()[0][2], "Failed");
    case.finish().await;
}

#[tokio::test]
async fn a_plan_that_is_not_bindable_ends_the_waiting() {
    let case = unregistered("svcat-not-bindable", false).await;
    case.broker.set_catalog(catalog([case.offering().with("bindable", false)]));
    case.register(json!({})).await;
    let svcat = Svcat(&case);
    case.provide("db", json!({})).await;
    svcat.bind("db", None, json!({})).await.unwrap();
    let failed = svcat.wait(BINDING, "db").await;
    assert_eq!(status(&failed).0, "Failed");
    svcat.unbind_by_name("db").await.unwrap();
    svcat.wait_for_absence(BINDING, "db").await;
    case.finish().await;
}

#[tokio::test]
async fn waiting_does_not_end_while_a_binding_is_made() {
    let case = unregistered("svcat-async-bind", false).await;
    case.broker.set_catalog(catalog([case.offering().with("bindings_retrievable", true)]));
    case.register(json!({})).await;
    let svcat = Svcat(&case);
    case.provide("db", json!({})).await;
    let hold = Hold::new();
    case.broker.on(Operation::Bind).once().asynchronously(AsyncScript::succeeding(1).held_by(&hold));
    svcat.bind("db", None, json!({})).await.unwrap();
    case.says(BINDING, "db", "Binding", &["The binding is being created asynchronously"]).await;
    let busy = svcat.get(BINDING, "db").await.unwrap();
    assert!(!is_done(&busy) && busy["status"]["asyncOpInProgress"] == true, "{busy}");
    hold.release();
    assert_eq!(status(&svcat.wait(BINDING, "db").await).1, "Injected bind result");
    case.finish().await;
}

/// A binding with something in every field, as Go writes it back: it stays as it was, and is no new generation.
// v0.3 E6
#[tokio::test]
async fn a_binding_that_is_replaced_as_a_whole_stays_as_it_was() {
    let case = namespaced("svcat-binding-put").await;
    let svcat = Svcat(&case);
    case.provide("db", json!({})).await;
    case.hand.secret("p", json!({ "json": "{\"lifetime\": 1}" })).await.unwrap();
    let spec = json!({
        "deletionPolicy": "Prevent", "pods": { "selector": { "matchLabels": { "app": "web" } } }, "externalID": "b-1", "parameters": { "role": "reader", "deep": [{ "a": null }] },
        "parametersFrom": [{ "secretKeyRef": { "name": "p", "key": "json" } }],
        "secretTransforms": [
            { "addKey": { "key": "k", "stringValue": "v" } }, { "renameKey": { "from": "k", "to": "l" } },
            { "removeKey": { "key": "none" } },
        ],
        "secret": { "legalKeys": true, "labels": { "a": "b" } },
    });
    case.connect("app", "db", spec).await;
    let before = case.get(BINDING, "app").await;
    let read = svcat.get(BINDING, "app").await.unwrap();
    svcat.replace(BINDING, &read).await.unwrap();
    let after = case.get(BINDING, "app").await;
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["status"], before["status"]);
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
    assert_eq!(case.content("app").await["l"], "v");
    case.edit(BINDING, "app", json!({ "deletionPolicy": "Delete" })).await;
    case.finish().await;
}

async fn abandoned(case: &Case, svcat: &Svcat<'_>, name: &str) {
    svcat.let_go_at_last(BINDING, name).await;
    case.provide("fence", json!({})).await;
    case.remove(INSTANCE, "fence").await;
    if let Ok(binding) = svcat.get(BINDING, name).await {
        assert!(binding["metadata"].get("finalizers").is_none(), "{binding}");
        svcat.unbind_by_name(name).await.unwrap();
    }
    svcat.wait_for_absence(BINDING, name).await;
}

// v0.3 I8, N10
#[tokio::test]
async fn an_abandoned_binding_is_not_taken_up_again() {
    let case = namespaced("svcat-abandoned-binding").await;
    let svcat = Svcat(&case);
    case.provide("db", json!({})).await;
    // One that is ready, and one whose unbind does not end.
    for (name, stuck) in [("ready", false), ("stuck", true)] {
        let ready = case.connect(name, "db", json!({})).await;
        if stuck {
            case.broker.on(Operation::Unbind).for_id(uid(&ready)).always().respond(500, json!({}));
            svcat.unbind_by_name(name).await.unwrap();
            case.says(BINDING, name, "UnbindCallFailed", &[]).await;
        }
        abandoned(&case, &svcat, name).await;
        let unbound = case.broker.requests_of(Operation::Unbind);
        assert!(stuck || unbound.is_empty(), "{unbound:#?}");
        case.broker.lose_binding(uid(&ready));
    }
    case.finish().await;
}
