//! That the model behind the answers is a truthful OSB broker.

use reqwest::Method;
use serde_json::json;
use testkit::broker::{
    AsyncScript, Broker, Hold, LARGE, Offering, Operation, POSTGRESQL, Plan, Reply, SMALL, catalog,
    default_catalog,
};

use crate::platform::{Platform, bind, binding, body, context, ids, instance, provision};

#[tokio::test]
async fn the_model_is_truthful_about_instances() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    assert_eq!(body(platform.get("/v2/catalog").await).await, default_catalog());

    let created = platform.provision("i1").await;
    assert_eq!(created.status(), 201);
    assert!(body(created).await["dashboard_url"].is_string());
    assert_eq!(platform.provision("i1").await.status(), 200);
    let mut different = provision();
    different["parameters"]["size"] = 2.into();
    assert_eq!(platform.put(&instance("i1"), &different).send().await.unwrap().status(), 409);
    assert_eq!(broker.creations("i1"), 1);

    let change = json!({ "service_id": POSTGRESQL, "plan_id": LARGE, "parameters": { "more": true },
        "previous_values": { "plan_id": SMALL }, "context": context() });
    assert_eq!(platform.update("i1", change).await.status(), 200);
    let fetched = body(platform.get(&instance("i1")).await).await;
    assert_eq!(fetched["plan_id"], LARGE);
    assert_eq!(fetched["parameters"], json!({ "size": 1, "more": true }));

    let target = format!("{}?service_id={POSTGRESQL}&plan_id={LARGE}", instance("i1"));
    assert_eq!(platform.request(Method::DELETE, &target).send().await.unwrap().status(), 200);
    assert_eq!(platform.delete(&instance("i1")).await.status(), 410);
    assert_eq!(platform.get(&instance("i1")).await.status(), 404);
    assert!(broker.live_instances().is_empty());
    assert_eq!(broker.ever_created(), ids(["i1"]));
    assert_eq!(broker.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_model_is_truthful_about_bindings() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    assert_eq!(platform.bind("i1", "b1").await.status(), 404);
    platform.provision("i1").await;
    let bound = platform.bind("i1", "b1").await;
    assert_eq!(bound.status(), 201);
    assert_eq!(body(bound).await["credentials"]["username"], "b1");
    let again = platform.bind("i1", "b1").await;
    assert_eq!(again.status(), 200);
    broker.set_credentials(json!({ "nested": [1, { "two": null }] }));
    assert_eq!(body(platform.bind("i1", "b2").await).await["credentials"]["nested"][0], 1);
    assert_eq!(body(platform.get(&binding("i1", "b1")).await).await["credentials"]["username"], "b1");
    assert_eq!(broker.live_bindings(), ids(["b1", "b2"]));

    assert_eq!(platform.delete(&binding("i1", "b1")).await.status(), 200);
    assert_eq!(platform.delete(&binding("i1", "b1")).await.status(), 410);
    assert_eq!(broker.live_bindings(), ids(["b2"]));
    assert_eq!(broker.violations(), Vec::<String>::new());
    assert_eq!(platform.delete(&instance("i1")).await.status(), 400);
    assert!(broker.violations()[0].contains("still has bindings"));
    assert_eq!(broker.live_instances(), ids(["i1"]));
}

#[tokio::test]
async fn a_rotation_needs_a_rotatable_plan_and_a_binding_of_the_instance() {
    let broker = Broker::start().await;
    broker.set_catalog(catalog([
        Offering::new(POSTGRESQL, "postgresql").plan(Plan::new(SMALL, "small").rotatable())
    ]));
    let platform = Platform::of(&broker);
    platform.provision("i1").await;
    let mut first = bind();
    first["parameters"] = json!({ "role": "reader" });
    platform.put(&binding("i1", "b1"), &first).send().await.unwrap();
    let mut rotation = bind();
    rotation["predecessor_binding_id"] = "b1".into();
    let rotated = platform.put(&binding("i1", "b2"), &rotation).send().await.unwrap();
    assert_eq!(rotated.status(), 201);
    assert_eq!(broker.binding("b2").unwrap().parameters["role"], "reader");
    rotation["predecessor_binding_id"] = "b9".into();
    assert_eq!(platform.put(&binding("i1", "b3"), &rotation).send().await.unwrap().status(), 400);
    assert_eq!(broker.violations().len(), 1);
}

#[tokio::test]
async fn asynchronous_operations_end_after_their_polls() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    broker.set_async(Operation::Provision, 2);
    let sync = platform.put(&instance("i1"), &provision()).send().await.unwrap();
    assert_eq!(sync.status(), 422);
    assert_eq!(body(sync).await["error"], "AsyncRequired");
    assert!(broker.live_instances().is_empty());

    let accepted = platform.provision("i1").await;
    assert_eq!(accepted.status(), 202);
    let operation = body(accepted).await["operation"].as_str().unwrap().to_owned();
    let again = platform.provision("i1").await;
    assert_eq!(again.status(), 202);
    assert_eq!(body(again).await["operation"], operation);
    assert_eq!(broker.live_instances(), ids(["i1"]), "an instance in the making exists");
    assert_eq!(platform.get(&instance("i1")).await.status(), 404);
    let poll = format!(
        "{}/last_operation?service_id={POSTGRESQL}&plan_id={SMALL}&operation={operation}",
        instance("i1")
    );
    let mut states = Vec::new();
    for _ in 0..4 {
        states.push(body(platform.get(&poll).await).await["state"].clone());
    }
    assert_eq!(states, ["in progress", "in progress", "succeeded", "succeeded"]);
    assert_eq!(platform.get(&instance("i1")).await.status(), 200);
    assert_eq!(broker.violations(), Vec::<String>::new());

    let without = platform.get(&format!("{}/last_operation", instance("i1"))).await;
    assert_eq!(without.status(), 400);
    let wrong = platform.get(&format!("{}/last_operation?operation=other", instance("i1"))).await;
    assert_eq!(wrong.status(), 400);
    assert_eq!(broker.violations().len(), 2);
}

#[tokio::test]
async fn asynchronous_operations_fail_and_wait_as_scripted() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    let failing =
        AsyncScript::failing(0, "no more disks").without_operation().field("instance_usable", false);
    broker.on(Operation::Provision).once().asynchronously(failing);
    assert_eq!(body(platform.provision("i1").await).await.get("operation"), None);
    let poll = format!("{}/last_operation", instance("i1"));
    let failed = body(platform.get(&poll).await).await;
    assert_eq!(
        failed,
        json!({ "state": "failed", "description": "no more disks", "instance_usable": false })
    );
    assert_eq!(broker.live_instances(), ids(["i1"]), "what a failure left is still there");

    let hold = Hold::new();
    let gone =
        AsyncScript::succeeding(0).held_by(&hold).operation("a&b=c d/é+").progress_header("Retry-After", "7");
    broker.set_async_script(Operation::Deprovision, gone);
    assert_eq!(platform.delete(&instance("i1")).await.status(), 202);
    let poll = format!("{poll}?operation=a%26b%3Dc%20d%2F%C3%A9%2B");
    for _ in 0..3 {
        let waiting = platform.get(&poll).await;
        assert_eq!(waiting.headers()["retry-after"], "7");
        assert_eq!(body(waiting).await["state"], "in progress");
    }
    hold.release();
    assert_eq!(body(platform.get(&poll).await).await["state"], "succeeded");
    assert_eq!(platform.get(&poll).await.status(), 410);
    assert!(broker.live_instances().is_empty());
    assert_eq!(broker.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_asynchronous_update_takes_effect_at_its_end_and_bindings_wait_for_it() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    platform.provision("i1").await;
    broker.set_async(Operation::Update, 0);
    broker.set_async(Operation::Bind, 0);
    broker.set_serialised_bindings(true);
    let change = json!({ "service_id": POSTGRESQL, "plan_id": LARGE });
    let operation = body(platform.update("i1", change.clone()).await).await["operation"].clone();
    assert_eq!(broker.instance("i1").unwrap().plan_id, SMALL);
    assert_eq!(platform.update("i1", change).await.status(), 202, "the same again is the same operation");
    assert_eq!(body(platform.bind("i1", "b1").await).await["error"], "ConcurrencyError");
    let after = format!(
        "{}/last_operation?operation={}&plan_id={LARGE}",
        instance("i1"),
        operation.as_str().unwrap()
    );
    assert_eq!(platform.get(&after).await.status(), 400, "polls name the plan before the update");
    let before = after.replace(LARGE, SMALL);
    assert_eq!(body(platform.get(&before).await).await["state"], "succeeded");
    assert_eq!(broker.instance("i1").unwrap().plan_id, LARGE);

    let mut large = bind();
    large["plan_id"] = LARGE.into();
    let target = |id| format!("{}?accepts_incomplete=true", binding("i1", id));
    let accepted = platform.put(&target("b1"), &large).send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    let accepted = body(accepted).await;
    assert_eq!(accepted.get("credentials"), None);
    let busy = platform.put(&target("b2"), &large).send().await.unwrap();
    assert_eq!(body(busy).await["error"], "ConcurrencyError");
    assert_eq!(platform.get(&binding("i1", "b1")).await.status(), 404);
    let poll = format!(
        "{}/last_operation?operation={}",
        binding("i1", "b1"),
        accepted["operation"].as_str().unwrap()
    );
    assert_eq!(body(platform.get(&poll).await).await["state"], "succeeded");
    assert_eq!(body(platform.get(&binding("i1", "b1")).await).await["credentials"]["username"], "b1");
}

#[tokio::test]
async fn a_catalog_with_an_etag_is_not_said_twice() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    assert!(platform.get("/v2/catalog").await.headers().get("etag").is_none());
    broker.set_etags();
    let etag = platform.get("/v2/catalog").await.headers()["etag"].clone();
    let again = async || {
        let asked = platform.request(Method::GET, "/v2/catalog").header("if-none-match", &etag);
        asked.send().await.unwrap()
    };
    let same = again().await;
    assert_eq!((same.status().as_u16(), &same.headers()["etag"]), (304, &etag));
    broker.set_catalog(catalog([]));
    let changed = again().await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"], etag);
}

#[tokio::test]
async fn a_deletion_may_end_as_410() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    platform.provision("i1").await;
    let gone = AsyncScript::succeeding(1).ending(Reply::json(410, json!({})));
    broker.set_async_script(Operation::Deprovision, gone);
    let operation = body(platform.delete(&instance("i1")).await).await["operation"].clone();
    let poll = format!("{}/last_operation?operation={}", instance("i1"), operation.as_str().unwrap());
    assert_eq!(platform.get(&poll).await.status(), 200);
    assert_eq!(broker.live_instances(), ids(["i1"]));
    assert_eq!(platform.get(&poll).await.status(), 410);
    assert!(broker.live_instances().is_empty());
}
