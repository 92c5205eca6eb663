//! Deletions in every order: what must wait waits, says for what, and ends when that is gone.

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Broker, Hold, Operation, catalog},
    stage::{
        objects::{BINDING, BROKER, CLUSTER_BROKER, INSTANCE, NAMESPACE, SECRET, condition},
        wait,
    },
};

use super::{cluster_wide, namespaced, unregistered};

// OSB 142
// v0.3 H19
#[tokio::test]
async fn an_instance_waits_for_its_bindings_to_go() {
    let case = namespaced("instance-first").await;
    case.provide("db", json!({})).await;
    for name in ["one", "two"] {
        case.connect(name, "db", json!({})).await;
    }
    case.delete(INSTANCE, "db").await;
    let words = ["All associated ServiceBindings must be removed", "delete one, two"];
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &words).await;
    case.remove(BINDING, "one").await;
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["delete two"]).await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    case.remove(BINDING, "two").await;
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}

// OSB 27
#[tokio::test]
async fn a_broker_that_can_only_unbind_asynchronously_is_let_do_so_whatever_its_catalog_says() {
    let case = unregistered("only-asynchronously", false).await;
    case.broker.set_catalog(catalog([case.offering().with("bindings_retrievable", false)]));
    case.broker.set_async(Operation::Unbind, 1);
    case.register(json!({})).await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    case.finish().await;
}

#[tokio::test]
async fn what_another_finalizer_keeps_says_that_it_is_deleted() {
    let case = namespaced("kept").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    for (kind, name, reason, status) in [
        (BINDING, "app", "UnboundSuccessfully", "unbindStatus"),
        (INSTANCE, "db", "DeprovisionedSuccessfully", "deprovisionStatus"),
    ] {
        let finalizers = case.hand.get(kind, name).await.unwrap().unwrap()["metadata"]["finalizers"].clone();
        let ours = finalizers[0].clone();
        let held = json!({ "metadata": { "finalizers": [ours, "example.com/keep"] } });
        case.hand.edit(kind, name, held).await.unwrap();
        case.delete(kind, name).await;
        let kept = case.says(kind, name, reason, &["successfully"]).await;
        assert_eq!(condition(&kept, "Ready").unwrap().0, "False");
        assert_eq!(kept["status"][status], "Succeeded");
        assert!(
            kept["status"]["externalProperties"].is_null() && kept["status"]["currentOperation"].is_null()
        );
        case.until(kind, name, "without our finalizer", |object| {
            object["metadata"]["finalizers"] == json!(["example.com/keep"])
        })
        .await;
        case.hand.edit(kind, name, json!({ "metadata": { "finalizers": null } })).await.unwrap();
        case.gone(kind, name).await;
    }
    assert_eq!(case.broker.requests_of(Operation::Unbind).len(), 1);
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1);
    case.finish().await;
}

// OSB 63
#[tokio::test]
async fn what_a_broker_has_forgotten_the_making_of_can_be_deleted() {
    let case = namespaced("forgotten").await;
    case.provide("db", json!({})).await;
    for (operation, poll) in
        [(Operation::Provision, Operation::PollInstance), (Operation::Bind, Operation::PollBinding)]
    {
        case.broker.set_async(operation, 0);
        case.broker.on(poll).always().respond(404, json!({}));
    }
    case.order("late", "small", json!({})).await;
    case.bind("app", "db", json!({})).await;
    for (kind, name) in [(INSTANCE, "late"), (BINDING, "app")] {
        case.says(kind, name, "ErrorPollingLastOperation", &["404"]).await;
        case.remove(kind, name).await;
    }
    case.finish().await;
}

// v0.3 G11, Q31
#[tokio::test]
async fn a_broker_waits_for_its_instances_to_go() {
    let case = cluster_wide("broker-first").await;
    case.provide("db", json!({})).await;
    case.delete(CLUSTER_BROKER, "broker-first").await;
    let words = ["broker-first/db", "Delete these ServiceInstances first"];
    case.says(CLUSTER_BROKER, "broker-first", "DeletionBlockedByExistingInstances", &words).await;
    // Nothing new is ordered from it, but what exists can still be bound and goes in order.
    case.order("late", "small", json!({})).await;
    case.says(INSTANCE, "late", "ReferencesNonexistentBroker", &["is being deleted"]).await;
    case.connect("app", "db", json!({})).await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    case.gone(CLUSTER_BROKER, "broker-first").await;
    case.finish().await;
}

// v0.3 K13, Q32
#[tokio::test]
async fn a_namespace_with_everything_in_it_ends_cleanly() {
    let case = namespaced("whole-namespace").await;
    case.broker.set_async(Operation::Deprovision, 2);
    for name in ["db1", "db2"] {
        case.provide(name, json!({})).await;
        case.connect(&format!("{name}-app"), name, json!({})).await;
    }
    case.delete(NAMESPACE, "whole-namespace").await;
    case.gone(NAMESPACE, "whole-namespace").await;
    case.audit();
    assert_eq!(case.broker.requests_of(Operation::Unbind).len(), 2);
}

// OSB 145
// v0.3 P3
#[tokio::test]
async fn a_broker_that_is_down_delays_a_deletion_and_loses_nothing() {
    let case = namespaced("down-at-deletion").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    case.broker.stop().await;
    case.delete(BINDING, "app").await;
    let failed = case.says(BINDING, "app", "UnbindCallFailed", &["Unbind call failed"]).await;
    assert_eq!(condition(&failed, "Ready").unwrap().0, "Unknown");
    assert!(case.hand.get(SECRET, "app").await.unwrap().is_none(), "the credentials go first");
    case.broker.restart_on_same_port().await;
    case.gone(BINDING, "app").await;

    case.broker.on(Operation::Deprovision).times(2).respond(500, json!({ "description": "disk on fire" }));
    case.delete(INSTANCE, "db").await;
    let failed = case.says(INSTANCE, "db", "DeprovisionCallFailed", &["disk on fire"]).await;
    assert_eq!(condition(&failed, "Ready").unwrap().0, "Unknown");
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}

// v0.3 Q31
#[tokio::test]
async fn instances_of_a_broker_that_was_torn_out_go_when_it_is_back() {
    let case = cluster_wide("broker-torn-out").await;
    case.provide("db", json!({})).await;
    let broker = case.broker_name();
    case.delete(CLUSTER_BROKER, broker).await;
    case.says(CLUSTER_BROKER, broker, "DeletionBlockedByExistingInstances", &[]).await;
    case.hand.edit(CLUSTER_BROKER, broker, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.gone(CLUSTER_BROKER, broker).await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "ReferencesNonexistentBroker", &[broker, "create the broker again"]).await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    case.create_broker(json!({})).await;
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}

// OSB 63
// v0.3 H17
#[tokio::test]
async fn an_instance_deleted_while_it_is_provisioned_is_deleted_after_that() {
    let case = namespaced("deleted-early").await;
    let hold = Hold::new();
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(0).held_by(&hold));
    case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "Provisioning", &[]).await;
    case.delete(INSTANCE, "db").await;
    // The operator knows of the deletion by the second poll after it, if not by the first.
    let polls = case.broker.requests_of(Operation::PollInstance).len();
    let asked_twice =
        |broker: &Broker| (broker.requests_of(Operation::PollInstance).len() >= polls + 2).then_some(());
    case.broker.wait_until(asked_twice, wait::PATIENCE, "two more polls").await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty(), "{}", case.broker.summary());
    hold.release();
    case.gone(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1);
    case.finish().await;
}

// v0.3 H18
#[tokio::test]
async fn what_never_reached_a_broker_goes_without_asking_one() {
    let case = namespaced("never-sent").await;
    case.order("db", "huge", json!({})).await;
    case.says(INSTANCE, "db", "ReferencesNonexistentServicePlan", &["\"huge\""]).await;
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ErrorInstanceRefsUnresolved", &["\"huge\""]).await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    case.remove(BROKER, "never-sent").await;
    assert!(case.broker.journal().iter().all(|request| request.is(Operation::Catalog)));
    case.finish().await;
}

/// A broker that takes its time with any request is named in the status, and since when.
#[tokio::test]
async fn a_broker_that_has_not_answered_within_a_second_is_named() {
    let case = namespaced("slow-answers").await;
    let names = ["has not answered since", case.broker_name()];
    let hang = |operation| case.broker.on(operation).once().after_effect().hang();

    let hold = hang(Operation::Provision);
    case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "ProvisionRequestInFlight", &names).await;
    hold.release();
    case.ready(INSTANCE, "db").await;

    let hold = hang(Operation::Update);
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    case.says(INSTANCE, "db", "UpdateInstanceRequestInFlight", &names).await;
    hold.release();
    case.ready(INSTANCE, "db").await;

    let hold = hang(Operation::Bind);
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "BindingRequestInFlight", &names).await;
    hold.release();
    case.ready(BINDING, "app").await;

    let hold = hang(Operation::Unbind);
    case.delete(BINDING, "app").await;
    case.says(BINDING, "app", "UnbindingRequestInFlight", &names).await;
    hold.release();
    case.gone(BINDING, "app").await;

    let hold = hang(Operation::Deprovision);
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "DeprovisionRequestInFlight", &names).await;
    hold.release();
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}
