//! An id at a broker belongs to one object of the cluster, whoever names it, under whatever spelling, and through
//! whatever broker object.

use serde_json::{Value, json};
use testkit::broker::{PASSWORD, USERNAME};
use testkit::{
    broker::Operation,
    stage::{
        case::{CREDENTIALS, with},
        objects::{BINDING, BROKER, Hand, INSTANCE, NAMESPACE, condition, is_ready, uid},
        wait,
    },
};

use super::{Case, namespaced, unregistered};

const INTENT: &str = "servicecatalog.k8s.io/intent";
const ELSEWHERE: &str = "another object in this cluster has";

/// Another tenant, with a broker object for the broker of this case. Only the administrator of a cluster may name ids
/// without a right, so that is whose hand it is.
async fn neighbour(case: &Case) -> Hand {
    let namespace = format!("{}-next", case.namespace());
    let hand = Hand { namespace: namespace.clone(), ..case.hand.clone() };
    hand.make(NAMESPACE, &namespace, json!({})).await.unwrap();
    hand.secret(CREDENTIALS, json!({ "username": USERNAME, "password": PASSWORD })).await.unwrap();
    // The same URL in other words.
    let url = case.broker.url().replace("http://", "HTTP://") + "/";
    hand.create(BROKER, &namespace, case.broker_spec(json!({ "url": url }))).await.unwrap();
    wait::until(case.stage, &hand, (BROKER, &namespace), "to be ready", |it| it.is_some_and(is_ready)).await;
    hand
}

fn refused(object: &Value, owner: &str) -> bool {
    condition(object, "Ready").is_some_and(|(_, reason, message)| {
        assert!(reason != "ProvisionedSuccessfully" && reason != "InjectedBindResult", "{message}");
        reason == "ExternalIDInUse" && message.contains(owner)
    })
}

async fn gone(case: &Case, hand: &Hand, kind: testkit::stage::objects::Kind, name: &str) {
    hand.delete(kind, name).await.unwrap();
    wait::until(case.stage, hand, (kind, name), "to be gone", |object| object.is_none()).await;
}

#[tokio::test]
async fn nobody_takes_the_instance_of_a_neighbour_through_a_broker_object_of_their_own() {
    let case = namespaced("ids-instance").await;
    let id = uid(&case.provide("db", json!({})).await).to_owned();
    let next = neighbour(&case).await;
    for (name, named) in [("same", id.clone()), ("upper", id.to_uppercase()), ("simple", id.replace('-', ""))]
    {
        next.create(INSTANCE, name, case.instance_spec("small", json!({ "externalID": named })))
            .await
            .unwrap();
        let told = |object: Option<&Value>| object.is_some_and(|object| refused(object, ELSEWHERE));
        let object = wait::until(case.stage, &next, (INSTANCE, name), "to learn that the id is taken", told)
            .await
            .unwrap();
        assert!(!object["status"].to_string().contains("ids-instance/"), "{object:#}");
        gone(&case, &next, INSTANCE, name).await;
    }
    // In the own namespace the owner has a name.
    case.order("second", "small", json!({ "externalID": id })).await;
    case.until(INSTANCE, "second", "to learn who has the id", |object| refused(object, "\"db\" has")).await;
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    gone(&case, &next, BROKER, "ids-instance-next").await;
    case.finish().await;
}

#[tokio::test]
async fn nobody_takes_a_binding_by_its_id() {
    let case = namespaced("ids-binding").await;
    case.provide("db", json!({})).await;
    let id = uid(&case.connect("app", "db", json!({})).await).to_owned();
    let next = neighbour(&case).await;
    next.create(INSTANCE, "own", case.instance_spec("small", json!({}))).await.unwrap();
    wait::until(case.stage, &next, (INSTANCE, "own"), "to be ready", |it| it.is_some_and(is_ready)).await;
    for (name, named) in [("same", id.clone()), ("upper", id.to_uppercase())] {
        let spec = json!({ "instanceRef": { "name": "own" }, "externalID": named });
        next.create(BINDING, name, spec).await.unwrap();
        let told = |object: Option<&Value>| object.is_some_and(|object| refused(object, ELSEWHERE));
        wait::until(case.stage, &next, (BINDING, name), "to learn that the id is taken", told).await;
        gone(&case, &next, BINDING, name).await;
    }
    case.bind("second", "db", json!({ "externalID": id })).await;
    case.until(BINDING, "second", "to learn who has the id", |object| refused(object, "\"app\" has")).await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1);
    // It is free when its owner is gone. This broker takes no id twice.
    case.remove(BINDING, "app").await;
    case.says(BINDING, "second", "BindCallFailed", &["the id of a deleted binding is reused"]).await;
    gone(&case, &next, INSTANCE, "own").await;
    gone(&case, &next, BROKER, "ids-binding-next").await;
    case.remove(BINDING, "second").await;
    case.remove(INSTANCE, "db").await;
    assert!(case.broker.live_bindings().is_empty() && case.broker.live_instances().is_empty());
}

/// The uid is known as soon as the object exists, and its owner may be slow.
#[tokio::test]
async fn the_id_that_follows_from_a_uid_waits_for_its_object() {
    let case = unregistered("ids-uid", false).await;
    let id = uid(&case.order("db", "small", json!({})).await).to_owned();
    let next = neighbour(&case).await;
    next.create(INSTANCE, "squatter", case.instance_spec("small", json!({ "externalID": id })))
        .await
        .unwrap();
    let told = |object: Option<&Value>| object.is_some_and(|object| refused(object, ELSEWHERE));
    wait::until(case.stage, &next, (INSTANCE, "squatter"), "to learn whose the id is", told).await;
    case.register(json!({})).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert_eq!(ready["status"]["instanceID"], json!(id));
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    gone(&case, &next, INSTANCE, "squatter").await;
    gone(&case, &next, BROKER, "ids-uid-next").await;
    case.finish().await;
}

/// The first PUTs of many objects at the same time.
#[tokio::test]
async fn of_many_that_name_one_id_at_once_one_asks_for_it() {
    let case = namespaced("ids-race").await;
    let next = neighbour(&case).await;
    let names: Vec<String> = (0..6).map(|number| format!("n{number}")).collect();
    for id in ["race-1", "race-2", "race-3"] {
        let hands = [&case.hand, &next];
        let spec = case.instance_spec("small", json!({ "externalID": id }));
        let made = hands.iter().flat_map(|hand| {
            names.iter().map(|name| hand.create(INSTANCE, name, with(spec.clone(), json!({}))))
        });
        for made in futures::future::join_all(made).await {
            made.unwrap();
        }
        let mut served = 0;
        for hand in hands {
            for name in &names {
                let settled = |object: Option<&Value>| {
                    object.is_some_and(|object| {
                        let reason = condition(object, "Ready").map(|(_, reason, _)| reason);
                        is_ready(object) || reason == Some("ExternalIDInUse")
                    })
                };
                let what = "to have the id or to be refused";
                let object = wait::until(case.stage, hand, (INSTANCE, name), what, settled).await.unwrap();
                served += usize::from(is_ready(&object));
            }
        }
        assert_eq!(served, 1, "{id}");
        let asked =
            case.broker.requests(|it| it.operation == Some(Operation::Provision) && it.path.contains(id));
        assert_eq!(asked.len(), 1, "{id}: {asked:#?}");
        for hand in hands {
            // Those that wait go first. Otherwise they would ask for the id, one after the other.
            for name in &names {
                let object = hand.get(INSTANCE, name).await.unwrap().unwrap();
                if !is_ready(&object) {
                    gone(&case, hand, INSTANCE, name).await;
                }
            }
        }
        for hand in hands {
            for object in hand.list(INSTANCE).await.unwrap() {
                gone(&case, hand, INSTANCE, object["metadata"]["name"].as_str().unwrap()).await;
            }
        }
    }
    gone(&case, &next, BROKER, "ids-race-next").await;
    case.finish().await;
}

/// The request of a tenant that lasts forever, at a broker of this tenant, under the id of somebody else.
#[tokio::test]
async fn a_request_under_the_same_id_at_another_broker_blocks_nobody() {
    let (case, slow) = (namespaced("ids-lock").await, namespaced("ids-lock-slow").await);
    let id = "chosen";
    let hold = slow.broker.on(Operation::Provision).always().hang();
    slow.order("db", "small", json!({ "externalID": id })).await;
    slow.broker_shows("a request that hangs", |broker| {
        broker.requests_of(Operation::Provision).first().cloned()
    })
    .await;
    case.provide("db", json!({ "externalID": id })).await;
    case.remove(INSTANCE, "db").await;
    // The operator has given none of its requests up meanwhile.
    assert_eq!(slow.broker.requests_of(Operation::Provision).len(), 1);
    drop(hold);
    slow.broker.clear_scripts();
    case.finish().await;
    slow.finish().await;
}

/// Who restores may forge what the object says of itself.
#[tokio::test]
async fn a_restored_object_does_not_take_what_another_one_has() {
    let case = namespaced("ids-restored").await;
    let provided = case.provide("db", json!({})).await;
    let next = neighbour(&case).await;
    let text = provided["metadata"]["annotations"][INTENT].as_str().unwrap();
    let forged = text.replace("\"ids-restored\"", "\"ids-restored-next\"");
    let object = json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": "ServiceInstance",
        "metadata": { "name": "db", "annotations": { INTENT: forged } }, "spec": provided["spec"],
    });
    next.restore(INSTANCE, &object).await.unwrap();
    let told = |object: Option<&Value>| object.is_some_and(|object| refused(object, ELSEWHERE));
    wait::until(case.stage, &next, (INSTANCE, "db"), "to learn that the id is taken", told).await;
    gone(&case, &next, INSTANCE, "db").await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    assert!(case.broker.instance(uid(&provided)).is_some());
    gone(&case, &next, BROKER, "ids-restored-next").await;
    case.finish().await;
}
