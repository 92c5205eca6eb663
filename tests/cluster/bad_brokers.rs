//! Brokers that cannot be reached or answer nonsense: each says which field and what to do, and recovers by itself.

use serde_json::json;
use testkit::{
    broker::{Auth, Operation, Reply},
    stage::{
        case::CREDENTIALS,
        objects::{BROKER, CLUSTER_BROKER, INSTANCE, SECRET, condition},
    },
};

use super::{namespaced, unregistered};

// v0.3 B1
#[tokio::test]
async fn a_url_that_is_none_is_named_and_can_be_mended() {
    let case = unregistered("bad-url", false).await;
    let url = case.broker.url();
    case.create_broker(json!({ "url": "not a url" })).await;
    case.says(BROKER, "bad-url", "ErrorFetchingCatalog", &["spec.url"]).await;
    case.edit(BROKER, "bad-url", json!({ "url": format!("{url}/") })).await;
    case.ready(BROKER, "bad-url").await;
    for wrong in ["ftp://example.com", "http://"] {
        case.edit(BROKER, "bad-url", json!({ "url": wrong })).await;
        case.says(BROKER, "bad-url", "ErrorFetchingCatalog", &["spec.url"]).await;
        case.edit(BROKER, "bad-url", json!({ "url": url })).await;
        case.ready(BROKER, "bad-url").await;
    }
    case.finish().await;
}

#[tokio::test]
async fn a_url_with_nobody_behind_it_is_reported_until_it_is_mended() {
    let case = unregistered("nobody-there", false).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    case.create_broker(json!({ "url": closed })).await;
    case.says(BROKER, "nobody-there", "ErrorFetchingCatalog", &["refused"]).await;
    case.edit(BROKER, "nobody-there", json!({ "url": case.broker.url() })).await;
    case.ready(BROKER, "nobody-there").await;
    case.finish().await;
}

/// The stage allows 127.0.0.1 and no other address that is not public.
#[tokio::test]
async fn a_broker_of_a_namespace_is_not_looked_for_inside_the_cluster() {
    let case = unregistered("inside", false).await;
    let elsewhere = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    case.create_broker(json!({ "url": format!("http://127.0.0.2:{port}") })).await;
    let flag = "--namespaced-broker-allowed-cidrs";
    case.says(BROKER, "inside", "ErrorFetchingCatalog", &["spec.url", "ServiceBroker may not have", flag])
        .await;
    for (host, words) in [
        ("169.254.169.254", ["spec.url", "never connects to link-local"]),
        ("[::ffff:10.0.0.1]", ["spec.url", flag]),
        ("no-such-host.invalid", ["the name of the host is not known, or it has only addresses", flag]),
    ] {
        case.edit(BROKER, "inside", json!({ "url": format!("http://{host}:{port}") })).await;
        case.says(BROKER, "inside", "ErrorFetchingCatalog", &words).await;
    }
    assert!(elsewhere.accept().is_err(), "the operator has connected");
    case.edit(BROKER, "inside", json!({ "url": case.broker.url() })).await;
    case.ready(BROKER, "inside").await;
    case.broker.on(Operation::Catalog).times(2).respond(500, json!({ "description": "internal words" }));
    case.edit(BROKER, "inside", json!({ "relistRequests": 1 })).await;
    let said = case.says(BROKER, "inside", "ErrorFetchingCatalog", &["500"]).await;
    assert!(!said.to_string().contains("internal words"), "{said}");
    case.ready(BROKER, "inside").await;
    // An order does not come by, once the broker has gone inside.
    let moved = format!("http://127.0.0.2:{port}");
    case.edit(BROKER, "inside", json!({ "url": moved })).await;
    case.order("db", "small", json!({})).await;
    let words = ["spec.url", "ServiceBroker may not have"];
    case.says(INSTANCE, "db", "ErrorGettingAuthCredentials", &words).await;
    assert!(elsewhere.accept().is_err(), "the operator has connected");
    case.edit(BROKER, "inside", json!({ "url": case.broker.url() })).await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

#[tokio::test]
async fn refused_credentials_are_reported_until_the_secret_is_mended() {
    let case = unregistered("refused", true).await;
    case.broker.set_auth(Auth::basic("catalog", "another"));
    case.create_broker(json!({})).await;
    let said = case.says(CLUSTER_BROKER, "refused", "ErrorFetchingCatalog", &["401"]).await;
    let message = condition(&said, "Ready").unwrap().2;
    assert!(!message.contains("broker-s3cret"), "{message}");
    case.hand.edit(SECRET, CREDENTIALS, json!({ "stringData": { "password": "another" } })).await.unwrap();
    case.ready(CLUSTER_BROKER, "refused").await;
    case.finish().await;
}

#[tokio::test]
async fn nonsense_and_server_errors_are_told_in_words() {
    let case = unregistered("nonsense", true).await;
    let on = || case.broker.on(Operation::Catalog);
    on().once().reply(Reply::bytes(200, "<html>It works!</html>"));
    case.create_broker(json!({})).await;
    case.says(CLUSTER_BROKER, "nonsense", "ErrorFetchingCatalog", &["not JSON"]).await;
    case.ready(CLUSTER_BROKER, "nonsense").await;
    for (reply, words) in [
        (Reply::json(500, json!({ "description": "disk on fire" })), ["500", "disk on fire"]),
        (Reply::json(404, json!({})), ["404", "catalog"]),
        (Reply::json(200, json!([])), ["not a JSON object", "catalog"]),
        (Reply::json(200, json!({})), ["services is missing", "catalog"]),
    ] {
        case.broker.on(Operation::Catalog).times(2).reply(reply);
        let before =
            case.get(CLUSTER_BROKER, "nonsense").await["spec"]["relistRequests"].as_i64().unwrap_or(0);
        case.edit(CLUSTER_BROKER, "nonsense", json!({ "relistRequests": before + 1 })).await;
        case.says(CLUSTER_BROKER, "nonsense", "ErrorFetchingCatalog", &words).await;
        case.ready(CLUSTER_BROKER, "nonsense").await;
    }
    case.finish().await;
}

// v0.3 J4
#[tokio::test]
async fn a_missing_credentials_secret_is_named_and_noticed_when_it_comes() {
    let case = unregistered("no-secret", false).await;
    let auth = json!({ "basic": { "secretRef": { "name": "later" } } });
    case.create_broker(json!({ "authInfo": auth })).await;
    let words = ["spec.authInfo.basic.secretRef", "no-secret/later", "does not exist", "create it"];
    case.says(BROKER, "no-secret", "ErrorFetchingCatalog", &words).await;
    case.hand.secret("later", json!({ "username": "catalog" })).await.unwrap();
    let words = ["spec.authInfo.basic.secretRef", "lacks a key", "\"password\""];
    case.says(BROKER, "no-secret", "ErrorFetchingCatalog", &words).await;
    case.hand.edit(SECRET, "later", json!({ "stringData": { "password": "broker-s3cret" } })).await.unwrap();
    case.ready(BROKER, "no-secret").await;
    case.finish().await;
}

// v0.3 G3
#[tokio::test]
async fn a_broker_that_goes_down_keeps_its_classes() {
    let case = namespaced("goes-down").await;
    case.broker.stop().await;
    case.edit(BROKER, "goes-down", json!({ "relistRequests": 1 })).await;
    case.says(BROKER, "goes-down", "ErrorFetchingCatalog", &["refused"]).await;
    assert_eq!(case.hand.list(case.class_kind()).await.unwrap().len(), 1);
    assert_eq!(case.hand.list(case.plan_kind()).await.unwrap().len(), 2);
    case.broker.restart_on_same_port().await;
    case.ready(BROKER, "goes-down").await;
    case.finish().await;
}

// OSB 3
// v0.3 H3
#[tokio::test]
async fn a_broker_of_another_version_says_which_and_is_spoken_to_in_it_at_once() {
    let case = unregistered("other-version", true).await;
    case.broker.set_api_version("2.14");
    case.create_broker(json!({})).await;
    let annotation = "servicecatalog.k8s.io/broker-api-version";
    let words = ["412", "version 2.14", annotation];
    case.says(CLUSTER_BROKER, "other-version", "ErrorFetchingCatalog", &words).await;
    let annotate = async |version: &str| {
        let patch = json!({ "metadata": { "annotations": { annotation: version } } });
        case.hand.edit(CLUSTER_BROKER, "other-version", patch).await.unwrap();
    };
    annotate("latest").await;
    case.says(CLUSTER_BROKER, "other-version", "ErrorFetchingCatalog", &[annotation, "\"latest\""]).await;
    annotate("2.14").await;
    case.ready(CLUSTER_BROKER, "other-version").await;
    case.provide("db", json!({})).await;
    case.finish().await;
}

/// The API server accepts base64 with bits that mean nothing. It is read as Go reads it.
#[tokio::test]
async fn bytes_with_unused_bits_are_read() {
    let case = namespaced("unused-bits").await;
    case.edit(BROKER, "unused-bits", json!({ "caBundle": "QR==" })).await;
    let words = ["spec.caBundle holds no PEM certificate"];
    case.says(BROKER, "unused-bits", "ErrorFetchingCatalog", &words).await;
    case.edit(BROKER, "unused-bits", json!({ "caBundle": null })).await;
    case.ready(BROKER, "unused-bits").await;
    case.provide("db", json!({})).await;
    let added = json!([{ "addKey": { "key": "letter", "value": "QR==" } }]);
    case.connect("app", "db", json!({ "secretTransforms": added })).await;
    assert_eq!(case.content("app").await["letter"], "A");
    case.finish().await;
}
