//! Definitions, brokers, classes and plans.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::Value;
use testkit::{
    broker::Operation,
    stage::objects::{CONFIG_MAP, is_ready, name, uid},
};

use crate::{left::Left, take_over};

/// The entries of the broker are the ones that were there, brought up to date: what the original did not read of a
/// catalog is in them, and they belong to their broker.
async fn entries_are_kept(left: &Left) {
    let case = &left.case;
    let broker = case.get(case.broker_kind(), case.broker_name()).await;
    for kind in [case.class_kind(), case.plan_kind()] {
        for before in left.objects.iter().filter(|object| object["kind"] == kind.name) {
            let owned = |entry: &Value| entry["metadata"]["ownerReferences"][0]["uid"] == uid(&broker);
            let now = case.until(kind, name(before), "to belong to its broker", owned).await;
            assert_eq!(uid(&now), uid(before));
            assert_eq!(now["metadata"]["labels"], before["metadata"]["labels"]);
        }
    }
    let class = case.unique("offering-postgresql");
    let read = |class: &Value| class["spec"]["instanceRetrievable"] == true;
    case.until(case.class_kind(), &class, "to say what the original did not read", read).await;
    let current = |broker: &Value| is_ready(broker) && broker["status"]["catalogReader"].is_number();
    case.until(case.broker_kind(), case.broker_name(), "to have been read by this operator", current).await;
    assert_eq!(left.broker().requests_of(Operation::Catalog).len(), 1);
}

// v0.3 O2
#[test]
fn the_catalog_of_a_broker_is_read_once_and_its_entries_are_kept() {
    for state in ["broker-of-a-cluster", "broker-of-a-namespace"] {
        take_over(state, |left| async move {
            entries_are_kept(&left).await;
            left.case.finish().await;
        });
    }
}

// v0.3 O3
#[test]
fn the_definitions_and_the_id_of_the_cluster_are_the_ones_that_belong_there() {
    take_over("nothing", |left| async move {
        let api: Api<CustomResourceDefinition> = Api::all(left.case.hand.client.clone());
        for definition in service_catalog::crd::all() {
            let name = definition.metadata.name.unwrap_or_default();
            let present = api.get(&name).await.unwrap();
            let schema = present.spec.versions[0].schema.clone().and_then(|schema| schema.open_api_v3_schema);
            let schema = schema.unwrap();
            assert_eq!(schema.x_kubernetes_preserve_unknown_fields, None, "{name}");
            assert!(schema.properties.is_some_and(|properties| properties.contains_key("spec")), "{name}");
        }
        let hand = testkit::stage::objects::Hand {
            namespace: testkit::stage::operator::ACCOUNT.to_owned(),
            client: left.case.hand.client.clone(),
        };
        let kept = hand.get(CONFIG_MAP, "cluster-info").await.unwrap().unwrap();
        assert_eq!(kept["data"]["id"], crate::left::CLUSTER_ID);
        left.case.finish().await;
    });
}
