//! Catalogs with faults: the message names the entry, the others are offered, and a corrected catalog is taken.

use serde_json::{Value, json};
use testkit::{
    broker::{self, Broker, Offering, Plan, catalog},
    stage::objects::{BROKER, CLUSTER_BROKER, condition},
};

use super::{namespaced, unregistered};

/// A broker whose catalog has these faulty offerings beside a good one offers the good one, says in such words what it
/// leaves out, and offers everything once the catalog is correct.
async fn left_out<const N: usize>(namespace: &str, faulty: [Offering; N], words: &[&str]) {
    let case = unregistered(namespace, false).await;
    case.broker.set_catalog(catalog(faulty.into_iter().chain([case.offering()])));
    case.create_broker(json!({})).await;
    let ready = case.ready(BROKER, namespace).await;
    let message = condition(&ready, "Ready").unwrap().2;
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    assert_eq!(case.hand.list(case.class_kind()).await.unwrap().len(), 1);
    case.provide("db", json!({})).await;
    case.broker.set_catalog(catalog([case.offering()]));
    case.edit(BROKER, namespace, json!({ "relistRequests": 1 })).await;
    case.until(BROKER, namespace, "to have a catalog without faults", |broker| {
        condition(broker, "Ready").is_some_and(|(_, _, message)| message.ends_with("from broker."))
    })
    .await;
    case.finish().await;
}

// OSB 43
#[tokio::test]
async fn offerings_with_one_id_are_left_out_and_named() {
    let twice = ["alpha", "beta"].map(|name| Offering::new("same", name).plan(Plan::new(name, "only")));
    let words =
        ["Left out: services[0] \"alpha\": id \"same\" is also that of services[1] \"beta\"", "\"beta\": id"];
    left_out("same-id", twice, &words).await;
}

// OSB 43
// v0.3 P11
#[tokio::test]
async fn plans_with_one_id_are_left_out_and_named() {
    let twice = ["alpha", "beta"].map(|name| Offering::new(name, name).plan(Plan::new("same", "only")));
    left_out("same-plan-id", twice, &["plans[0] \"only\": id \"same\" is also that of", "none of its plans"])
        .await;
}

// v0.3 Q47
#[tokio::test]
async fn an_offering_without_plans_is_left_out_and_named() {
    left_out("no-plans", [Offering::new("a", "alpha")], &["\"alpha\": plans is empty"]).await;
}

// OSB 57
#[tokio::test]
async fn a_document_that_is_no_catalog_is_refused_and_the_last_good_one_stays() {
    let case = unregistered("no-catalog", false).await;
    case.register(json!({})).await;
    let classes = case.hand.list(case.class_kind()).await.unwrap().len();
    case.broker.set_catalog(json!({ "services": {} }));
    case.edit(BROKER, "no-catalog", json!({ "relistRequests": 1 })).await;
    case.says(BROKER, "no-catalog", "ErrorFetchingCatalog", &["services is not an array"]).await;
    assert_eq!(case.hand.list(case.class_kind()).await.unwrap().len(), classes);
    case.broker.set_catalog(catalog([case.offering()]));
    case.ready(BROKER, "no-catalog").await;
    case.finish().await;
}

// v0.3 Q47
#[tokio::test]
async fn an_offering_whose_name_is_too_long_is_left_out_and_named() {
    let case = unregistered("long-name", false).await;
    let long = Offering::new("long", &"n".repeat(300)).plan(Plan::new("l", "only"));
    case.broker.set_catalog(catalog([long, case.offering()]));
    case.create_broker(json!({})).await;
    let ready = case.ready(BROKER, "long-name").await;
    let message = condition(&ready, "Ready").unwrap().2;
    let words = ["Left out: services[0] ", "nnn", "name is longer than"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    assert!(case.hand.get(case.class_kind(), "long").await.unwrap().is_none());
    case.provide("db", json!({})).await;
    let shorter = Offering::new("long", "shorter").plan(Plan::new("l", "only"));
    case.broker.set_catalog(catalog([shorter, case.offering()]));
    case.edit(BROKER, "long-name", json!({ "relistRequests": 1 })).await;
    case.until(case.class_kind(), "long", "to appear", |class| class["spec"]["externalName"] == "shorter")
        .await;
    let ready = case.ready(BROKER, "long-name").await;
    assert!(!condition(&ready, "Ready").unwrap().2.contains("Left out"), "{ready}");
    case.finish().await;
}

// v0.3 G10
#[tokio::test]
async fn an_empty_catalog_is_a_catalog() {
    let case = unregistered("empty-catalog", false).await;
    case.broker.set_catalog(catalog([]));
    case.register(json!({})).await;
    case.finish().await;
}

// OSB 42
// v0.3 Q48
#[tokio::test]
async fn of_two_brokers_with_one_id_the_second_is_refused_until_the_first_goes() {
    let first = unregistered("one-id-first", true).await;
    let second = unregistered("one-id-second", true).await;
    let offer = |name: &str| {
        catalog([Offering::new("one-id-for-two", name).plan(Plan::new(&format!("plan-{name}"), "only"))])
    };
    first.broker.set_catalog(offer("one"));
    second.broker.set_catalog(offer("two"));
    first.register(json!({})).await;
    second.create_broker(json!({})).await;
    let syncing = "Error syncing catalog from ClusterServiceBroker.";
    let words = [syncing, "\"one-id-for-two\"", "one-id-first", "one-id-second", "remove one"];
    second.says(CLUSTER_BROKER, "one-id-second", "ErrorSyncingCatalog", &words).await;
    assert_eq!(
        first.get(first.class_kind(), "one-id-for-two").await["spec"]["clusterServiceBrokerName"],
        "one-id-first"
    );
    first.finish().await;
    second.ready(CLUSTER_BROKER, "one-id-second").await;
    second.finish().await;
}

#[tokio::test]
async fn of_two_brokers_of_a_namespace_with_one_id_the_second_is_refused_until_the_first_goes() {
    let case = namespaced("one-id-twice").await;
    let second = Broker::start().await;
    second.set_catalog(catalog([case.offering()]));
    let url = json!({ "url": second.url() });
    case.hand.create(BROKER, "second", case.broker_spec(url)).await.unwrap();
    let class = case.unique(broker::POSTGRESQL);
    let words = [&format!("{class:?}"), "one-id-twice", "second", "remove one"];
    case.says(BROKER, "second", "ErrorSyncingCatalog", &words).await;
    let owner = |class: &Value| class["spec"]["serviceBrokerName"].clone();
    assert_eq!(owner(&case.get(case.class_kind(), &class).await), case.broker_name());
    case.remove(BROKER, case.broker_name()).await;
    case.ready(BROKER, "second").await;
    assert_eq!(owner(&case.get(case.class_kind(), &class).await), "second");
    case.remove(BROKER, "second").await;
    case.finish().await;
}
