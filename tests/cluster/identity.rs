//! On whose behalf a broker is asked: the user who really asked, whatever the operator's own account is.

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Broker, Hold, Operation},
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE},
    },
};

use super::namespaced;

/// The users of the requests of one operation.
fn users(case: &Case, operation: Operation) -> Vec<String> {
    let user =
        |request| Broker::originating_user(request).map(|user| user["username"].as_str().unwrap().to_owned());
    let requests = case.broker.requests_of(operation);
    requests.iter().map(|request| user(request).unwrap_or_else(|| "(nobody)".to_owned())).collect()
}

// OSB 4, 5, 6, 7, 160
// v0.3 H4, P10, Q1, Q60
#[tokio::test]
async fn the_broker_is_told_who_asked() {
    let case = namespaced("identity").await;
    case.admit(&["alice", "bob"]).await;
    let (alice, bob) = (case.user("alice"), case.user("bob"));
    case.broker.on(Operation::Provision).once().asynchronously(AsyncScript::succeeding(1));
    alice.create(INSTANCE, "db", case.instance_spec("small", json!({}))).await.unwrap();
    case.ready(INSTANCE, "db").await;
    assert_eq!(users(&case, Operation::Provision), ["alice"]);
    let identity = Broker::originating_user(&case.broker.requests_of(Operation::Provision)[0]).unwrap();
    assert_eq!(identity["groups"], json!(["system:authenticated"]));
    for asked in [Operation::PollInstance, Operation::GetInstance] {
        let users = users(&case, asked);
        assert!(!users.is_empty() && users.iter().all(|user| user == "alice"), "{asked:?} by {users:?}");
    }

    bob.edit(INSTANCE, "db", json!({ "spec": { "parameters": { "size": 2 } } })).await.unwrap();
    case.ready(INSTANCE, "db").await;
    assert_eq!(users(&case, Operation::Update), ["bob"]);

    let spec = json!({ "instanceRef": { "name": "db" } });
    alice.create(BINDING, "app", spec).await.unwrap();
    case.ready(BINDING, "app").await;
    assert_eq!(users(&case, Operation::Bind), ["alice"]);

    bob.delete(BINDING, "app").await.unwrap();
    case.gone(BINDING, "app").await;
    bob.delete(INSTANCE, "db").await.unwrap();
    case.gone(INSTANCE, "db").await;
    // The API server tells no one who deletes: the last who asked for something is on record.
    assert_eq!(users(&case, Operation::Unbind), ["alice"]);
    assert_eq!(users(&case, Operation::Deprovision), ["bob"]);
    // Nobody asked for the catalog but the operator itself.
    assert!(
        case.broker.requests_of(Operation::Catalog).iter().all(|r| Broker::originating_user(r).is_none())
    );
    case.finish().await;
}

// OSB 6
#[tokio::test]
async fn a_clean_up_is_in_the_name_of_who_asked_last() {
    let case = namespaced("clean-up").await;
    case.admit(&["alice"]).await;
    case.broker.on(Operation::Provision).once().after_effect().respond(500, json!({}));
    case.user("alice").create(INSTANCE, "db", case.instance_spec("small", json!({}))).await.unwrap();
    case.ready(INSTANCE, "db").await;
    assert_eq!(users(&case, Operation::Provision), ["alice", "alice"]);
    assert_eq!(users(&case, Operation::Deprovision), ["alice"]);
    case.finish().await;
}

// v0.3 Q2
#[tokio::test]
async fn nobody_orders_in_the_name_of_another() {
    let case = namespaced("forged-identity").await;
    case.admit(&["alice"]).await;
    let forged = json!({ "userInfo": { "username": "root", "uid": "0", "groups": ["system:masters"] } });
    case.user("alice").create(INSTANCE, "db", case.instance_spec("small", forged.clone())).await.unwrap();
    case.ready(INSTANCE, "db").await;
    case.user("alice").edit(INSTANCE, "db", json!({ "spec": forged })).await.unwrap();
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 1 } })).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(users(&case, Operation::Provision), ["alice"]);
    assert_eq!(users(&case, Operation::Update), ["admin"]);
    case.finish().await;
}

// OSB 8
// v0.3 F7, L5, Q24
#[tokio::test]
async fn what_two_users_edit_is_asked_for_in_the_name_of_each() {
    let case = namespaced("turns").await;
    case.admit(&["alice", "bob"]).await;
    let (alice, bob) = (case.user("alice"), case.user("bob"));
    alice.create(INSTANCE, "db", case.instance_spec("small", json!({}))).await.unwrap();
    case.ready(INSTANCE, "db").await;
    let hold = Hold::new();
    case.broker.on(Operation::Update).once().asynchronously(AsyncScript::succeeding(1).held_by(&hold));
    let edit = |value: i64| json!({ "spec": { "parameters": { "size": value } } });
    bob.edit(INSTANCE, "db", edit(2)).await.unwrap();
    case.says(INSTANCE, "db", "UpdatingInstance", &[]).await;
    // Nothing waits yet, so alice may; then bob may not, but she may change her mind.
    alice.edit(INSTANCE, "db", edit(3)).await.unwrap();
    let refusal = bob.edit(INSTANCE, "db", edit(4)).await.unwrap_err().to_string();
    assert!(refusal.contains("an edit by user \"alice\" waits"), "{refusal}");
    bob.edit(INSTANCE, "db", json!({ "metadata": { "labels": { "a": "b" } } })).await.unwrap();
    alice.edit(INSTANCE, "db", edit(5)).await.unwrap();
    hold.release();
    case.ready(INSTANCE, "db").await;
    bob.edit(INSTANCE, "db", edit(6)).await.unwrap();
    case.ready(INSTANCE, "db").await;
    let sizes: Vec<_> = case
        .broker
        .requests_of(Operation::Update)
        .iter()
        .map(|request| request.body["parameters"]["size"].clone())
        .collect();
    assert_eq!(
        (sizes, users(&case, Operation::Update)),
        (vec![json!(2), json!(5), json!(6)], ["bob", "alice", "bob"].map(str::to_owned).into())
    );
    case.finish().await;
}
