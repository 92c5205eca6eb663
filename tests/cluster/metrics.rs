//! What dashboards of the original look for.

use serde_json::json;

use super::{namespaced, unregistered};
use crate::support::broker::{Operation, catalog};

#[tokio::test]
async fn requests_classes_and_plans_are_counted_under_the_names_of_the_original() {
    let case = namespaced("metrics").await;
    case.broker.on(Operation::Provision).once().respond(429, json!({}));
    case.provide("db", json!({})).await;
    let metrics = case.stage.operator.metrics().await.unwrap();
    let count = |method: &str, status: &str| {
        format!(
            r#"servicecatalog_osb_request_count{{broker="metrics",method="{method}",status="{status}"}} 1"#
        )
    };
    let offered = |kind: &str, count: u32| {
        format!(
            r#"servicecatalog_broker_service_{kind}_count{{broker="metrics",namespace="metrics"}} {count}"#
        )
    };
    for line in [
        count("GetCatalog", "2xx"),
        count("ProvisionInstance", "4xx"),
        count("ProvisionInstance", "2xx"),
        offered("class", 1),
        offered("plan", 2),
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} is not in\n{metrics}");
    }
    case.finish().await;
}

#[tokio::test]
async fn a_broker_that_offers_nothing_counts_none_and_one_that_is_gone_is_not_counted() {
    let case = unregistered("metrics-empty", true).await;
    case.broker.set_catalog(catalog([]));
    case.register(json!({})).await;
    let line = r#"servicecatalog_broker_service_class_count{broker="metrics-empty",namespace=""} 0"#;
    let metrics = case.stage.operator.metrics().await.unwrap();
    assert!(metrics.lines().any(|shown| shown == line), "{metrics}");
    case.remove(case.broker_kind(), case.broker_name()).await;
    let metrics = case.stage.operator.metrics().await.unwrap();
    assert!(!metrics.contains(r#"count{broker="metrics-empty",namespace=""}"#), "{metrics}");
    case.finish().await;
}
