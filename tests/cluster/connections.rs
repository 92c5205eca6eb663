//! How the operator reaches a broker: basic and bearer authentication, TLS with an authority of its own, credentials
//! that change.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use testkit::{
    broker::{Auth, Broker, Operation},
    stage::{
        case::CREDENTIALS,
        objects::{BROKER, CLUSTER_BROKER, SECRET},
    },
};

use super::{Case, namespaced, unregistered};

// OSB 15
#[tokio::test]
async fn a_cluster_wide_broker_is_authenticated_to_with_a_token() {
    let case = unregistered("bearer", true).await;
    case.broker.set_auth(Auth::bearer("t0ken"));
    case.hand.secret("token", json!({ "token": "t0ken" })).await.unwrap();
    let auth = json!({ "bearer": { "secretRef": { "name": "token", "namespace": "bearer" } } });
    case.register(json!({ "authInfo": auth })).await;
    case.provide("db", json!({})).await;
    case.finish().await;
}

// v0.3 B6
#[tokio::test]
async fn a_broker_of_a_namespace_is_authenticated_to_with_a_token() {
    let case = unregistered("bearer-own", false).await;
    case.broker.set_auth(Auth::bearer("t0ken"));
    case.hand.secret("token", json!({ "token": "t0ken" })).await.unwrap();
    case.register(json!({ "authInfo": { "bearer": { "secretRef": { "name": "token" } } } })).await;
    case.provide("db", json!({})).await;
    case.finish().await;
}

// v0.3 B6
#[tokio::test]
async fn of_two_ways_to_authenticate_the_basic_one_counts() {
    for (namespace, wide) in [("both-ways", false), ("both-ways-wide", true)] {
        let case = unregistered(namespace, wide).await;
        let mut spec = case.broker_spec(json!({}));
        let mut secret = json!({ "name": "no-such-secret" });
        if wide {
            secret["namespace"] = namespace.into();
        }
        spec["authInfo"]["bearer"] = json!({ "secretRef": secret });
        case.register(spec).await;
        case.finish().await;
    }
}

#[tokio::test]
async fn a_broker_without_authentication_gets_no_credentials() {
    let case = unregistered("open", false).await;
    case.broker.set_auth(Auth::None);
    case.register(json!({ "authInfo": null })).await;
    let requests = case.broker.requests_of(Operation::Catalog);
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    case.finish().await;
}

/// Such mistakes of the Secret and of the URL are told before a request is sent.
#[tokio::test]
async fn credentials_and_urls_that_cannot_be_right_are_named() {
    let case = unregistered("wrong-auth", false).await;
    let bearer =
        |name: &str| json!({ "authInfo": { "basic": null, "bearer": { "secretRef": { "name": name } } } });
    case.hand.secret("of-a-file", json!({ "token": "t0ken\n" })).await.unwrap();
    case.hand.secret("empty", json!({ "token": "" })).await.unwrap();
    case.create_broker(bearer("of-a-file")).await;
    case.says(BROKER, "wrong-auth", "ErrorFetchingCatalog", &["spec.authInfo", "line end"]).await;
    case.edit(BROKER, "wrong-auth", bearer("empty")).await;
    case.says(BROKER, "wrong-auth", "ErrorFetchingCatalog", &["spec.authInfo", "empty"]).await;
    assert!(case.broker.journal().is_empty(), "no request is sent with such credentials");
    let url = format!("{}/v2/catalog", case.broker.url());
    case.edit(BROKER, "wrong-auth", case.broker_spec(json!({ "url": url }))).await;
    case.says(BROKER, "wrong-auth", "ErrorFetchingCatalog", &["spec.url", "/v2/catalog"]).await;
    case.finish().await;
}

// OSB 17
#[tokio::test]
async fn a_broker_with_a_certificate_authority_of_its_own_is_trusted_by_its_ca_bundle_only() {
    let (broker, [authority, _]) = Broker::start_tls().await;
    let case = unregistered("tls", true).await.with_broker(broker);
    case.create_broker(json!({})).await;
    case.says(CLUSTER_BROKER, "tls", "ErrorFetchingCatalog", &["certificate"]).await;
    assert!(case.broker.journal().is_empty(), "nothing is sent to whom is not trusted");
    case.edit(CLUSTER_BROKER, "tls", json!({ "caBundle": BASE64_STANDARD.encode(authority) })).await;
    case.ready(CLUSTER_BROKER, "tls").await;
    case.provide("db", json!({})).await;
    case.finish().await;
}

/// Its authority is unknown.
#[tokio::test]
async fn a_broker_whose_certificate_is_in_the_ca_bundle_is_trusted() {
    let (broker, [_, certificate]) = Broker::start_tls().await;
    let case = unregistered("pinned", true).await.with_broker(broker);
    case.create_broker(json!({ "caBundle": BASE64_STANDARD.encode(certificate) })).await;
    case.ready(CLUSTER_BROKER, "pinned").await;
    case.provide("db", json!({})).await;
    case.finish().await;
}

// OSB 18
// v0.3 G6
#[tokio::test]
async fn credentials_that_have_changed_are_read_again_when_the_old_ones_are_refused() {
    let case = namespaced("rotated").await;
    case.broker.set_auth(Auth::basic("catalog", "n3w"));
    assert_eq!(statuses_with_new_credentials(&case).await, [401, 201]);
    case.finish().await;
}

// OSB 18
#[tokio::test]
async fn credentials_that_have_changed_are_read_again_when_a_gateway_refuses_the_old_ones() {
    let case = namespaced("gateway").await;
    case.broker.set_auth(Auth::None);
    case.broker.on(Operation::Provision).once().respond(403, json!({}));
    assert_eq!(statuses_with_new_credentials(&case).await, [403, 201]);
    let requests = case.broker.requests_of(Operation::Provision);
    let new = format!("Basic {}", BASE64_STANDARD.encode("catalog:n3w"));
    assert_eq!(requests[1].header("authorization"), Some(&*new));
    case.finish().await;
}

/// The Secret of the broker gets another password, and then an instance is ordered: a request is refused, and repeated.
async fn statuses_with_new_credentials(case: &Case) -> Vec<u16> {
    case.hand.edit(SECRET, CREDENTIALS, json!({ "stringData": { "password": "n3w" } })).await.unwrap();
    case.provide("db", json!({})).await;
    case.broker.requests_of(Operation::Provision).iter().filter_map(|request| request.status).collect()
}

// v0.3 G2, P3
#[tokio::test]
async fn a_broker_that_is_down_is_reported_and_recovers_by_itself() {
    let case = unregistered("down", false).await;
    case.broker.stop().await;
    case.create_broker(json!({})).await;
    case.says(BROKER, "down", "ErrorFetchingCatalog", &["Error fetching catalog.", "refused"]).await;
    case.broker.restart_on_same_port().await;
    case.ready(BROKER, "down").await;
    case.finish().await;
}
