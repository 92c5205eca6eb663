//! Updates beyond plan and parameters: what a failed one leaves, versions of a plan, what the broker is asked for
//! afterwards, annotations.

use serde_json::json;
use testkit::{
    broker::{AsyncScript, LARGE, Operation, Plan, Reply, Request, SMALL, catalog},
    stage::objects::{BINDING, Hand, INSTANCE, NAMESPACE, condition, uid},
};

use super::{namespaced, unregistered};

// OSB 111
// v0.3 H7
#[tokio::test]
async fn an_instance_whose_update_failed_goes_on_serving() {
    let case = namespaced("failed-update").await;
    case.provide("db", json!({ "parameters": { "size": 1 } })).await;
    case.broker.on(Operation::Update).once().respond(400, json!({ "description": "no such size" }));
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 99 } })).await;
    let failed = case.failed(INSTANCE, "db", &["no such size"]).await;
    let (status, reason, message) = condition(&failed, "Ready").unwrap();
    assert_eq!((status, reason), ("True", "UpdateInstanceCallFailed"));
    assert!(message.contains("no such size") && message.ends_with("can still be used"), "{message}");
    case.connect("app", "db", json!({})).await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 1 } })).await;
    let reverted = case.ready(INSTANCE, "db").await;
    assert!(condition(&reverted, "Failed").is_none(), "{reverted}");
    assert_eq!(case.broker.requests_of(Operation::Update).len(), 1, "a revert asks for nothing");
    case.finish().await;
}

// OSB 109
#[tokio::test]
async fn a_broker_that_has_no_updates_is_asked_once() {
    let case = namespaced("no-updates").await;
    let size = |size: u8| json!({ "parameters": { "size": size } });
    let refusals =
        [(405, json!({})), (404, json!({})), (501, json!({})), (422, json!({ "description": "no" }))];
    for (status, body) in refusals {
        let name = format!("db-{status}");
        let id = uid(&case.provide(&name, size(1)).await).to_owned();
        let asked = || {
            let updates = case.broker.requests_of(Operation::Update);
            updates.iter().filter(|request| request.instance() == id).count()
        };
        case.broker.on(Operation::Update).for_id(&id).always().respond(status, body);
        case.edit(INSTANCE, &name, size(2)).await;
        let words = [&*status.to_string(), "set the spec back", "increase updateRequests"];
        let failed = case.failed(INSTANCE, &name, &words).await;
        assert_eq!(condition(&failed, "Ready").unwrap().0, "True");
        assert_eq!(condition(&failed, "Stalled").unwrap().0, "True");
        assert_eq!(asked(), 1, "after {status}");
        case.edit(INSTANCE, &name, json!({ "updateRequests": 1 })).await;
        case.broker_shows("one more request", |_| (asked() == 2).then_some(())).await;
        case.failed(INSTANCE, &name, &words).await;
        case.edit(INSTANCE, &name, size(1)).await;
        let reverted = case.ready(INSTANCE, &name).await;
        assert!(condition(&reverted, "Failed").is_none(), "{reverted}");
        assert_eq!(asked(), 2, "after {status}: nothing differs");
    }
    case.finish().await;
}

// OSB 109
#[tokio::test]
async fn an_update_that_the_broker_fails_to_make_is_taken_back_without_a_request() {
    let case = namespaced("broken-update").await;
    let size = |size: u8| json!({ "parameters": { "size": size } });
    case.provide("db", size(1)).await;
    case.broker.on(Operation::Update).always().respond(500, json!({ "description": "disk on fire" }));
    case.edit(INSTANCE, "db", size(2)).await;
    let words = ["disk on fire", "tries again at"];
    case.says(INSTANCE, "db", "UpdateInstanceCallFailed", &words).await;
    case.edit(INSTANCE, "db", size(1)).await;
    case.ready(INSTANCE, "db").await;
    let updates = case.broker.requests_of(Operation::Update);
    assert!(updates.iter().all(|update| update.body["parameters"]["size"] == 2), "{}", case.broker.summary());
    case.finish().await;
}

// OSB 111
#[tokio::test]
async fn no_binding_is_made_to_an_instance_that_the_broker_calls_unusable() {
    let case = namespaced("unusable").await;
    case.provide("db", json!({ "parameters": { "size": 1 } })).await;
    let body = json!({ "description": "half done", "instance_usable": false });
    case.broker.on(Operation::Update).once().respond(400, body);
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    case.says(INSTANCE, "db", "UpdateInstanceCallFailed", &["half done", "cannot be used"]).await;
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ErrorInstanceNotReady", &["cannot be used since its update failed"]).await;
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 3 } })).await;
    case.ready(INSTANCE, "db").await;
    case.ready(BINDING, "app").await;
    case.finish().await;
}

// OSB 30, 89, 106, 113
// v0.3 Q28
#[tokio::test]
async fn a_newer_version_is_offered_and_taken_on_request() {
    let case = unregistered("versions", false).await;
    let version = |version: &str| {
        let plan = Plan::new(SMALL, "small").maintenance(version);
        catalog([case.offering().with("plans", json!([plan.json()]))])
    };
    case.broker.set_catalog(version("1.0.0"));
    case.register(json!({})).await;
    let first = case.provide("first", json!({})).await;
    assert_eq!(first["status"]["externalProperties"]["maintenanceVersion"], "1.0.0");
    assert!(first["status"].get("availableMaintenance").is_none(), "{first}");

    // The broker has moved on, and says so when it is asked for what it does not have any more.
    case.broker.set_catalog(version("2.0.0+build.7"));
    let conflict = json!({ "error": "MaintenanceInfoConflict", "description": "that is history" });
    case.broker.on(Operation::Provision).always().respond(422, conflict);
    case.order("second", "small", json!({})).await;
    // Until the operator has the new catalog it asks for what it knows; from then on only for what is new.
    case.broker_shows("a request for the new version", |broker| {
        let asked = broker.requests_of(Operation::Provision);
        let new = |request: &Request| request.body["maintenance_info"]["version"] == "2.0.0+build.7";
        asked.iter().any(new).then_some(())
    })
    .await;
    case.broker.clear_scripts();
    let second = case.ready(INSTANCE, "second").await;
    assert_eq!(second["status"]["externalProperties"]["maintenanceVersion"], "2.0.0+build.7");
    let asked: Vec<_> = case
        .broker
        .requests_of(Operation::Provision)
        .iter()
        .map(|request| request.body["maintenance_info"]["version"].clone())
        .collect();
    assert_eq!(asked.first().zip(asked.last()), Some((&json!("1.0.0"), &json!("2.0.0+build.7"))));

    let offered = json!({ "version": "2.0.0+build.7", "description": "to 2.0.0+build.7" });
    let told = |instance: &serde_json::Value| instance["status"]["availableMaintenance"] == offered;
    case.until(INSTANCE, "first", "to be told of the newer version", told).await;
    assert!(case.broker.requests_of(Operation::Update).is_empty(), "nobody has asked for it");
    case.edit(INSTANCE, "first", json!({ "maintenanceVersion": "3.0.0" })).await;
    let words = ["spec.maintenanceVersion", "\"2.0.0+build.7\""];
    case.says(INSTANCE, "first", "MaintenanceVersionNotOffered", &words).await;
    case.edit(INSTANCE, "first", json!({ "maintenanceVersion": "2.0.0+build.7" })).await;
    let upgraded = case.ready(INSTANCE, "first").await;
    assert_eq!(upgraded["status"]["externalProperties"]["maintenanceVersion"], "2.0.0+build.7");
    assert!(upgraded["status"].get("availableMaintenance").is_none(), "{upgraded}");
    let update = case.broker.requests_of(Operation::Update).pop().unwrap();
    assert_eq!(update.body["maintenance_info"], json!({ "version": "2.0.0+build.7" }));
    assert_eq!(update.body["previous_values"]["maintenance_info"], json!({ "version": "1.0.0" }));
    case.finish().await;
}

// v0.3 Q26
#[tokio::test]
async fn an_instance_of_a_broker_of_the_namespace_is_moved_to_another_plan() {
    let case = namespaced("moved").await;
    let ready = case.provide("db", json!({})).await;
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "large" })).await;
    let moved = case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.instance(uid(&ready)).unwrap().plan_id, LARGE);
    assert_eq!(moved["status"]["externalProperties"]["servicePlanExternalID"], LARGE);
    let update = case.broker.requests_of(Operation::Update).pop().unwrap();
    assert_eq!(
        (&update.body["plan_id"], &update.body["previous_values"]["plan_id"]),
        (&json!(LARGE), &json!(SMALL))
    );
    case.finish().await;
}

// OSB 95, 96
#[tokio::test]
async fn what_came_of_an_asynchronous_operation_is_asked_of_the_broker() {
    let case = namespaced("fetched").await;
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(1));
    case.broker.on(Operation::Provision).amend(|reply: &mut Reply| reply.set("dashboard_url", json!(null)));
    let ready = case.provide("db", json!({})).await;
    let dashboard = format!("https://dashboard.example.com/{}", uid(&ready));
    assert_eq!(ready["status"]["dashboardURL"], dashboard);
    assert_eq!(case.broker.requests_of(Operation::GetInstance).len(), 1);
    case.finish().await;
}

// OSB 105, 155, 157
#[tokio::test]
async fn annotations_are_passed_on_and_told_again_when_they_change() {
    let case = unregistered("annotated", false).await;
    case.broker.set_catalog(catalog([case.offering().with("allow_context_updates", true)]));
    case.register(json!({})).await;
    let namespace = case.namespace().to_owned();
    let annotate =
        |team: &str| json!({ "metadata": { "annotations": { "example.com/team": team, "private": "x" } } });
    let administrator = Hand { client: case.stage.plane.admin_client().unwrap(), ..case.hand.clone() };
    administrator.edit(NAMESPACE, &namespace, annotate("blue")).await.unwrap();
    // The operator has the annotation when it has the namespace; the instance follows either way.
    let ready = case.provide("db", json!({})).await;
    let context = || case.broker.instance(uid(&ready)).unwrap().context;
    let blue = json!({ "example.com/team": "blue" });
    case.broker_shows("the annotation of the namespace", |_| {
        (context()["namespace_annotations"] == blue).then_some(())
    })
    .await;
    case.hand.edit(INSTANCE, "db", annotate("red")).await.unwrap();
    let red = json!({ "example.com/team": "red" });
    case.broker_shows("the annotation of the instance", |_| {
        (context()["instance_annotations"] == red).then_some(())
    })
    .await;
    let told = case.broker.requests_of(Operation::Update).pop().unwrap();
    assert_eq!((told.body.get("plan_id"), told.body.get("parameters")), (None, None));
    assert_eq!(told.header("x-broker-api-originating-identity"), None);
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}
