//! That each scripted fault is the fault it claims to be.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::json;
use testkit::broker::{Broker, Operation, POSTGRESQL, Reply, Request};

use crate::platform::{DEADLINE, Platform, bind, binding, body, ids, instance, provision};

/// Every message in an error's chain, to see the cause that the system gave.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn answers_are_replaced_before_or_after_the_effect() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    let before = broker.on(Operation::Provision).once().respond(500, json!({ "description": "boom" }));
    let gateway = Reply::bytes(503, "<html>").header("Retry-After", "3");
    let after = broker.on(Operation::Provision).for_id("i2").after_effect().times(2).reply(gateway);
    assert_eq!(platform.provision("i1").await.status(), 500);
    assert!(broker.live_instances().is_empty());
    for _ in 0..2 {
        let answer = platform.provision("i2").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"3".parse().unwrap())
        );
        assert_eq!(answer.text().await.unwrap(), "<html>");
    }
    assert_eq!(platform.provision("i2").await.status(), 200);
    assert_eq!(broker.live_instances(), ids(["i2"]));
    assert_eq!((before.hits(), after.hits(), broker.creations("i2")), (1, 2, 1));

    broker.on(Operation::Provision).nth(2).respond(418, json!({}));
    broker.on(Operation::Bind).amend(|reply| reply.set("endpoints", json!([{ "ports": ["1-2"] }])));
    let mut statuses = Vec::new();
    for id in ["i3", "i4", "i5"] {
        statuses.push(platform.provision(id).await.status().as_u16());
    }
    assert_eq!(statuses, [201, 418, 201]);
    let bound = body(platform.bind("i2", "b1").await).await;
    assert_eq!(bound["endpoints"][0]["ports"][0], "1-2");
    assert_eq!(bound["credentials"]["username"], "b1");
    broker.clear_scripts();
    assert_eq!(body(platform.bind("i2", "b1").await).await.get("endpoints"), None);
}

#[tokio::test]
async fn a_hanging_request_takes_effect_when_released_though_nobody_waits() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    let hold = broker.on(Operation::Provision).once().hang();
    let abandoned = tokio::spawn(platform.put(&instance("i1"), &provision()).send());
    let arrived = |journal: &[Request]| (!journal.is_empty()).then_some(());
    broker.wait_for(arrived, DEADLINE, "the request").await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    assert_eq!(broker.journal()[0].status, None);
    assert_eq!(platform.delete(&instance("i1")).await.status(), 410, "it does not exist yet");
    hold.release();
    broker.wait_until(|broker| broker.live_instances().contains("i1").then_some(()), DEADLINE, "i1").await;

    let hold = broker.on(Operation::Bind).once().after_effect().hang();
    let waiting = platform.put(&binding("i1", "b1"), &bind()).send();
    let release = async {
        broker.wait_until(|broker| broker.binding("b1"), DEADLINE, "the binding").await;
        hold.release();
    };
    let (answer, ()) = tokio::join!(waiting, release);
    assert_eq!(answer.unwrap().status(), 201);
}

#[tokio::test]
async fn connections_are_reset_closed_and_replaced() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    broker.on(Operation::Provision).once().reset();
    broker.on(Operation::Provision).once().after_effect().close();
    let put = |id| platform.put(&instance(id), &provision()).send();
    let reset = put("i1").await.unwrap_err();
    assert!(causes(&reset).contains("reset by peer"), "{}", causes(&reset));
    assert!(broker.live_instances().is_empty());
    let closed = put("i1").await.unwrap_err();
    assert!(!causes(&closed).contains("reset by peer"), "{}", causes(&closed));
    assert_eq!(broker.live_instances(), ids(["i1"]));
    assert!(broker.journal().iter().all(|request| request.status.is_none()));

    broker.on(Operation::Catalog).once().raw("HTTP/1.0 299 Odd\r\n\r\n{\"services\":[]}");
    let odd = platform.get("/v2/catalog").await;
    assert_eq!(odd.status(), 299);
    assert_eq!(body(odd).await, json!({ "services": [] }));
    assert_eq!(broker.requests_of(Operation::Catalog)[0].status, Some(299));
}

#[tokio::test]
async fn bodies_are_truncated_dripped_and_endless() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    broker.on(Operation::Provision).once().truncated().truth();
    let cut = platform.provision("i1").await;
    assert_eq!(cut.status(), 201);
    assert!(cut.bytes().await.is_err());
    assert_eq!(broker.live_instances(), ids(["i1"]));

    broker.on(Operation::Catalog).once().dripping(Duration::from_millis(1)).respond(200, json!({ "a": 1 }));
    assert_eq!(body(platform.get("/v2/catalog").await).await, json!({ "a": 1 }));

    broker.on(Operation::Catalog).once().endless().truth();
    let mut endless = platform.get("/v2/catalog").await;
    let mut received = 0;
    while received < 1 << 20 {
        received += endless.chunk().await.unwrap().unwrap().len();
    }
    drop(endless);
    assert_eq!(platform.get("/v2/catalog").await.status(), 200);
}

#[tokio::test]
async fn a_stopped_broker_refuses_connections_and_comes_back_with_its_state() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    platform.provision("i1").await;
    broker.on(Operation::Update).hang();
    let stop = async {
        let seen = |journal: &[Request]| journal.iter().any(|r| r.is(Operation::Update)).then_some(());
        broker.wait_for(seen, DEADLINE, "the update").await;
        broker.stop().await;
    };
    let request = platform.request(Method::PATCH, &instance("i1")).json(&json!({ "service_id": POSTGRESQL }));
    let (hung, ()) = tokio::join!(request.send(), stop);
    assert!(!hung.unwrap_err().is_connect());
    let refused = platform.request(Method::GET, "/v2/catalog").send().await.unwrap_err();
    assert!(refused.is_connect(), "{}", causes(&refused));
    broker.restart_on_same_port().await;
    assert_eq!(platform.get("/v2/catalog").await.status(), 200);
    assert_eq!(broker.live_instances(), ids(["i1"]));
}

#[tokio::test]
async fn tls_is_trusted_only_with_its_authority() {
    let (broker, [authority, _]) = Broker::start_tls().await;
    let mut platform = Platform::of(&broker);
    let unknown = platform.request(Method::GET, "/v2/catalog").send().await.unwrap_err();
    assert!(unknown.is_connect(), "{}", causes(&unknown));
    assert!(broker.journal().is_empty(), "nothing was sent to a stranger");
    let certificate = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
    platform.client = Client::builder().tls_certs_only([certificate]).build().unwrap();
    assert_eq!(platform.get("/v2/catalog").await.status(), 200);
    broker.on(Operation::Catalog).once().reset();
    assert!(platform.request(Method::GET, "/v2/catalog").send().await.is_err());
}
