//! Operations that a broker has lost, or never ends: what the user is told, and that every object can be deleted
//! (`docs/reference/lost-operations.md`).

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Broker, Hold, Operation},
    stage::objects::{BINDING, INSTANCE, Kind, condition, uid},
};

use super::{Case, namespaced};

/// Every such operation is in progress until it is released.
fn never_ends(broker: &Broker, operation: Operation) -> Hold {
    let hold = Hold::new();
    broker.set_async_script(operation, AsyncScript::succeeding(0).held_by(&hold));
    hold
}

async fn says_waits(case: &Case, (kind, name): (Kind, &str), reason: &str, operation: &str) -> Value {
    let waits = format!("the deletion waits for the {operation} at the broker");
    let words = [&*waits, "until 2", "tries the DELETE at 2", "remove the finalizer"];
    case.says(kind, name, reason, &words).await
}

// OSB 63, 69, 70
#[tokio::test]
async fn what_a_broker_has_lost_is_told_and_can_be_deleted_at_once() {
    let case = namespaced("lost").await;
    case.provide("db", json!({})).await;
    let mut lost = vec![];
    for status in [410, 404, 400, 500] {
        let changed = format!("changed-{status}");
        let id = uid(&case.provide(&changed, json!({ "parameters": { "size": 1 } })).await).to_owned();
        lost.push((INSTANCE, changed, id, status, "update"));
    }
    let [_, update, _] = [Operation::Provision, Operation::Update, Operation::Bind]
        .map(|operation| never_ends(&case.broker, operation));
    for (_, name, ..) in &lost {
        case.edit(INSTANCE, name, json!({ "parameters": { "size": 2 } })).await;
    }
    for status in [410, 404, 400, 500] {
        let (new, app) = (format!("new-{status}"), format!("app-{status}"));
        let id = uid(&case.order(&new, "small", json!({})).await).to_owned();
        lost.push((INSTANCE, new, id, status, "provision"));
        let id = uid(&case.bind(&app, "db", json!({})).await).to_owned();
        lost.push((BINDING, app, id, status, "bind"));
    }
    for (kind, name, id, status, _) in &lost {
        let poll = if *kind == INSTANCE { Operation::PollInstance } else { Operation::PollBinding };
        case.says(*kind, name, in_progress(name), &["asynchronously"]).await;
        case.broker.on(poll).for_id(id).always().respond(*status, json!({}));
    }
    for (kind, name, _, status, operation) in &lost {
        let said = if *status == 410 { "is gone".to_owned() } else { status.to_string() };
        let lost = format!("the broker seems to have lost the {operation}");
        let words = [&*said, &*lost, "the operator asks again, until 2", "sends the DELETE at once"];
        case.says(*kind, name, "ErrorPollingLastOperation", &words).await;
    }
    // Bindings first: an unbind waits for operations of the instance, and there are none.
    lost.sort_by_key(|(kind, ..)| *kind == INSTANCE);
    for (kind, name, ..) in &lost {
        case.delete(*kind, name).await;
    }
    // The broker of the tests ends a provision and a bind when it is asked to delete, but an update it finishes first.
    let (updates, ended): (Vec<_>, Vec<_>) = lost.iter().partition(|(.., operation)| *operation == "update");
    for (kind, name, ..) in ended {
        case.gone(*kind, name).await;
    }
    let words = ["ConcurrencyError", "the deletion waits for the update", "tries the DELETE at 2"];
    for (kind, name, ..) in &updates {
        case.says(*kind, name, "DeprovisionRequestInFlight", &words).await;
    }
    case.broker.clear_scripts();
    update.release();
    for (kind, name, ..) in updates {
        case.gone(*kind, name).await;
    }
    case.finish().await;
}

/// The reason of `Ready` while the broker works.
fn in_progress(name: &str) -> &'static str {
    match name.split('-').next() {
        Some("changed") => "UpdatingInstance",
        Some("app") => "Binding",
        _ => "Provisioning",
    }
}

// OSB 28, 63
#[tokio::test]
async fn an_object_is_deleted_although_its_operation_never_ends() {
    let case = namespaced("endless").await;
    case.provide("db", json!({})).await;
    case.provide("changed", json!({ "parameters": { "size": 1 } })).await;
    let [_, update, _] = [Operation::Provision, Operation::Update, Operation::Bind]
        .map(|operation| never_ends(&case.broker, operation));
    case.order("new", "small", json!({})).await;
    case.bind("app", "db", json!({})).await;
    case.edit(INSTANCE, "changed", json!({ "parameters": { "size": 2 } })).await;
    let objects = [
        (INSTANCE, "new", "provision", "DeprovisionRequestInFlight", Operation::Deprovision),
        (INSTANCE, "changed", "update", "DeprovisionRequestInFlight", Operation::Deprovision),
        (BINDING, "app", "bind", "UnbindingRequestInFlight", Operation::Unbind),
    ];
    let mut ids = vec![];
    for (kind, name, .., delete) in objects {
        let id = uid(&case.says(kind, name, in_progress(name), &[]).await).to_owned();
        let busy = json!({ "error": "ConcurrencyError", "description": "still at it" });
        case.broker.on(delete).for_id(&id).times(2).respond(422, busy);
        case.delete(kind, name).await;
        ids.push(id);
    }
    for (kind, name, operation, reason, _) in objects {
        let waiting = says_waits(&case, (kind, name), reason, operation).await;
        assert_eq!(condition(&waiting, "Ready").unwrap().0, "False");
    }
    for (kind, name, _, reason, _) in objects {
        case.says(kind, name, reason, &["still at it", "the deletion waits", "tries the DELETE at 2"]).await;
    }
    // The broker of the tests ends a provision and a bind when it is asked to delete, but an update it finishes first.
    update.release();
    for ((kind, name, .., delete), id) in objects.into_iter().zip(ids) {
        case.gone(kind, name).await;
        let deletes = case.broker.requests_of(delete).iter().filter(|request| request.id() == id).count();
        assert!(deletes >= 3, "{name}: {}", case.broker.summary());
    }
    case.finish().await;
}

// OSB 62
#[tokio::test]
async fn a_binding_is_deleted_although_an_operation_of_its_instance_never_ends() {
    let case = namespaced("endless-instance").await;
    case.provide("db", json!({ "parameters": { "size": 1 } })).await;
    case.connect("app", "db", json!({})).await;
    let update = never_ends(&case.broker, Operation::Update);
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    case.says(INSTANCE, "db", "UpdatingInstance", &[]).await;
    case.delete(BINDING, "app").await;
    let words = ["the instance has an operation in progress", "or at 2", "even if it has not"];
    case.says(BINDING, "app", "ErrorAsyncOperationInProgress", &words).await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["delete app"]).await;
    case.gone(BINDING, "app").await;
    let words = ["ConcurrencyError", "the deletion waits for the update"];
    case.says(INSTANCE, "db", "DeprovisionRequestInFlight", &words).await;
    update.release();
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}
