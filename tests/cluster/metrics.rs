//! What dashboards of the original look for.

use serde_json::json;
use testkit::{
    broker::{Operation, catalog},
    stage::objects::INSTANCE,
};

use super::{namespaced, unregistered};

// v0.3 M1
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
async fn an_event_is_counted_as_a_write_and_none_is_dropped_without_need() {
    let case = namespaced("event-writes").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    // They are published one after the other, so the first one has been counted.
    case.told("app", "InjectedBindResult").await;
    let metrics = case.stage.operator.metrics().await.unwrap();
    let counted = r#"servicecatalog_api_write_count{kind="Event",result="success",verb="create"}"#;
    assert!(metrics.lines().any(|line| line.starts_with(counted)), "{metrics}");
    assert!(!metrics.contains("servicecatalog_dropped_event_count{"), "{metrics}");
    case.finish().await;
}

// v0.3 M1
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

#[tokio::test]
async fn requests_and_changes_of_state_are_logged_once_with_their_object() {
    let case = namespaced("logged").await;
    case.broker.on(Operation::Provision).once().respond(503, json!({ "description": "s3cret-description" }));
    case.provide("db", json!({})).await;
    case.remove(INSTANCE, "db").await;
    let logs = case.stage.operator.logs().unwrap();
    let of_instance: Vec<&str> = logs
        .lines()
        .filter(|line| line.contains(r#"namespace="logged""#) && line.contains("kind=ServiceInstance"))
        .collect();
    assert!(of_instance.iter().all(|line| line.contains(r#"name="db""#) && line.contains("uid=")), "{logs}");
    let requests: Vec<&&str> =
        of_instance.iter().filter(|line| line.contains("broker request finished")).collect();
    assert_eq!(requests.len(), 4, "provision, clean-up, provision, deprovision: {requests:#?}");
    for field in ["broker=", "operation=", "outcome=", "milliseconds=", "request_id="] {
        assert!(requests.iter().all(|line| line.contains(field)), "{field}: {requests:#?}");
    }
    assert!(requests[0].contains("status=503") && requests[0].contains(r#"operation="provision""#));
    assert!(!requests.iter().any(|line| line.contains("s3cret-description")), "a log line has no body");
    let states: Vec<&str> = of_instance
        .iter()
        .filter(|line| line.contains("state changed"))
        .filter_map(|line| line.split("ready=").nth(1)?.split('"').nth(1))
        .collect();
    assert_eq!(
        states,
        [
            "False: ProvisionRequestInFlight",
            "False: StartingInstanceOrphanMitigation",
            "False: OrphanMitigationSuccessful",
            "True: ProvisionedSuccessfully",
        ]
    );
    case.finish().await;
}

#[tokio::test]
async fn reconciles_writes_and_objects_are_counted() {
    let case = namespaced("counted").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let metrics = case.stage.operator.metrics().await.unwrap();
    for series in [
        r#"servicecatalog_reconcile_duration_seconds_count{kind="ServiceInstance",result="success"}"#,
        r#"servicecatalog_osb_request_duration_seconds_count{broker="counted",namespace="counted",operation="provision",outcome="answered"}"#,
        r#"servicecatalog_api_write_count{kind="ServiceInstance",result="success",verb="patch-status"}"#,
        r#"servicecatalog_api_write_count{kind="Secret",result="success",verb="create"}"#,
        r#"servicecatalog_objects{kind="ServiceBinding",state="ready"}"#,
        r#"servicecatalog_queue_depth{kind="ServiceInstance"}"#,
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "{series} is not in\n{metrics}");
    }
    case.finish().await;
}
