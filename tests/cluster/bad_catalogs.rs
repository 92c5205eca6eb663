//! Catalogs that cannot be taken over, in whole or in part: the message names the entry, and a mended catalog is taken.

use serde_json::{Value, json};

use super::{namespaced, unregistered};
use crate::{
    stage::objects::{BROKER, CLUSTER_BROKER, condition},
    support::broker::{self, Broker, Offering, Plan, catalog},
};

/// A broker that offers this says so in such words, and is ready once it offers something proper.
async fn refused(namespace: &str, offered: Value, words: &[&str]) {
    let case = unregistered(namespace, false).await;
    case.broker.set_catalog(offered);
    case.create_broker(json!({})).await;
    case.says(BROKER, namespace, "ErrorFetchingCatalog", words).await;
    assert!(case.hand.list(case.class_kind()).await.unwrap().is_empty());
    case.broker.set_catalog(broker::default_catalog());
    case.ready(BROKER, namespace).await;
    case.finish().await;
}

#[tokio::test]
async fn a_catalog_with_one_id_twice_is_refused() {
    let twice = ["alpha", "beta"].map(|name| Offering::new("same", name).plan(Plan::new(name, "only")));
    refused("same-id", catalog(twice), &["\"beta\"", "id", "\"same\"", "already"]).await;
}

#[tokio::test]
async fn a_catalog_with_a_plan_id_twice_is_refused() {
    let twice = ["alpha", "beta"].map(|name| Offering::new(name, name).plan(Plan::new("same", "only")));
    refused("same-plan-id", catalog(twice), &["plans[0]", "\"same\"", "already"]).await;
}

#[tokio::test]
async fn an_offering_without_plans_is_refused() {
    refused("no-plans", catalog([Offering::new("a", "alpha")]), &["\"alpha\"", "plans is empty"]).await;
}

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

#[tokio::test]
async fn an_empty_catalog_is_a_catalog() {
    let case = unregistered("empty-catalog", false).await;
    case.broker.set_catalog(catalog([]));
    case.register(json!({})).await;
    case.finish().await;
}

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
