//! Every way a connection can fail, and what it proves.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::script::{
    Act, Broker, answer, answered, bind_request, client, cut, provision_request, refused, target, unknown,
    unsent, update_request,
};

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let message =
        unsent(client(&format!("http://{address}")).provision(&"i".into(), &provision_request(), None).await);
    let expected = format!(
        "cannot connect to the broker at {address}: Connection refused (os error 111): no program listens there; check spec.url"
    );
    assert_eq!(message, expected);
}

#[tokio::test]
async fn an_unknown_name_sent_nothing() {
    let message =
        unsent(client("http://broker.invalid").provision(&"i".into(), &provision_request(), None).await);
    assert!(message.starts_with("cannot connect to the broker at broker.invalid:80: "), "{message}");
    assert!(message.ends_with(": the name is not known; check the host in spec.url"), "{message}");
}

#[tokio::test]
async fn a_connection_lost_before_the_answer_is_a_doubt() {
    for act in [
        Act::SayAndReset(String::new()),
        Act::SayAndClose(String::new()),
        Act::SayAndClose("HTTP/1.1 20".into()),
    ] {
        let broker = Broker::start(vec![act]).await;
        let client = broker.client();
        let provision = unknown(client.provision(&"i".into(), &provision_request(), None).await);
        assert!(provision.mitigate && !provision.answered && provision.status.is_none());
        assert!(
            provision.message.to_string().starts_with("the connection was lost"),
            "{}",
            provision.message
        );
        assert!(unknown(client.bind(&"i".into(), &"b".into(), &bind_request(), true, None).await).mitigate);
        assert!(!unknown(client.update(&"i".into(), &update_request(), None).await).mitigate);
        assert!(!unknown(client.deprovision(&"i".into(), &target(), None).await).mitigate);
        assert!(!unknown(client.catalog(None).await).mitigate);
        assert_eq!(broker.requests().len(), 5, "nothing is sent twice");
    }
}

#[tokio::test]
async fn a_connection_lost_within_the_body_is_a_malformed_success() {
    for (status, mitigate) in [(200, false), (201, true), (202, true)] {
        for act in [Act::SayAndReset(cut(status, "{")), Act::SayAndClose(cut(status, "{"))] {
            let broker = Broker::start(vec![act]).await;
            let doubt = unknown(broker.client().provision(&"i".into(), &provision_request(), None).await);
            assert_eq!((doubt.status, doubt.mitigate, doubt.answered), (Some(status), mitigate, false));
        }
    }
    let chunked = "HTTP/1.1 201 x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n";
    let broker = Broker::start(vec![Act::SayAndClose(chunked.into())]).await;
    assert!(unknown(broker.client().provision(&"i".into(), &provision_request(), None).await).mitigate);
}

// OSB 141
// v0.3 Q30
#[tokio::test]
async fn a_status_that_decides_alone_needs_no_body() {
    let broker = Broker::start(vec![
        Act::SayAndReset(cut(200, "")),
        Act::SayAndReset(cut(410, "")),
        Act::SayAndReset(cut(409, "{")),
    ])
    .await;
    let client = broker.client();
    answered(client.deprovision(&"i".into(), &target(), None).await);
    answered(client.unbind(&"i".into(), &"b".into(), &target(), None).await);
    assert_eq!(refused(client.provision(&"i".into(), &provision_request(), None).await).status, 409);
}

#[tokio::test]
async fn a_timeout_before_the_answer_is_a_doubt() {
    let broker = Broker::start(vec![Act::SayAndHang(String::new())]).await;
    let doubt = unknown(broker.hasty_client().provision(&"i".into(), &provision_request(), None).await);
    assert!(doubt.mitigate && !doubt.answered);
    assert_eq!(doubt.message.to_string(), "the broker did not answer within 500ms");
    assert!(!unknown(broker.hasty_client().update(&"i".into(), &update_request(), None).await).mitigate);
}

// OSB 25a
#[tokio::test]
async fn the_time_limit_spans_the_body() {
    for act in [Act::SayAndHang(cut(200, "{")), Act::Drip(cut(200, "{"))] {
        let broker = Broker::start(vec![act]).await;
        let started = Instant::now();
        let doubt = unknown(broker.hasty_client().provision(&"i".into(), &provision_request(), None).await);
        assert!(started.elapsed() < Duration::from_secs(3));
        assert!(doubt.mitigate && !doubt.answered && doubt.status == Some(200), "{doubt:?}");
    }
}

// v0.3 Q9
#[tokio::test]
async fn an_endless_body_is_cut() {
    let flood = |status| Act::Flood(format!("HTTP/1.1 {status} x\r\n\r\n{{"));
    let broker = Broker::start(vec![flood(201), flood(200), flood(500)]).await;
    let client = broker.client();
    let provision = unknown(client.provision(&"i".into(), &provision_request(), None).await);
    assert!(provision.mitigate && provision.answered);
    let message = "the broker answered 201 Created with a body of more than 1 MiB (16 MiB for a catalog), which is too long";
    assert_eq!(provision.message.to_string(), message);
    let catalog = unknown(client.catalog(None).await);
    assert!(catalog.message.to_string().ends_with("too long") && !catalog.mitigate);
    assert_eq!(unknown(client.provision(&"i".into(), &provision_request(), None).await).status, Some(500));
}

#[tokio::test]
async fn a_large_catalog_is_read() {
    let body = format!("{{\"services\":[],\"x\":\"{}\"}}", "y".repeat(15 << 20));
    let broker = Broker::start(vec![Act::Say(answer(200, &body))]).await;
    answered(broker.client().catalog(None).await).unwrap();
}

#[tokio::test]
async fn what_is_not_http_is_a_doubt() {
    for text in ["SSH-2.0-OpenSSH_9\r\n", "HTTP/1.1 099 x\r\n\r\n", "\0\0\0\0"] {
        let broker = Broker::start(vec![Act::SayAndClose(text.into())]).await;
        assert!(unknown(broker.client().provision(&"i".into(), &provision_request(), None).await).mitigate);
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced_before_anything_is_sent() {
    let broker = Broker::start(vec![Act::SayAndClose(answer(200, "{}")), Act::Say(answer(200, "{}"))]).await;
    let client = broker.client();
    answered(client.provision(&"i".into(), &provision_request(), None).await);
    broker.parts().await;
    answered(client.provision(&"i".into(), &provision_request(), None).await);
    assert_eq!((broker.requests().len(), broker.connections()), (2, 2));
}

#[tokio::test]
async fn a_request_on_a_used_connection_is_not_replayed_once_it_was_read() {
    let broker = Broker::start(vec![
        Act::Say(answer(200, "{}")),
        Act::SayAndClose(String::new()),
        Act::Say(answer(200, "{}")),
    ])
    .await;
    let client = broker.client();
    answered(client.provision(&"i".into(), &provision_request(), None).await);
    assert!(unknown(client.provision(&"i".into(), &provision_request(), None).await).mitigate);
    assert_eq!((broker.requests().len(), broker.connections()), (2, 1));
}

#[tokio::test]
async fn a_connection_that_idled_is_not_used_again() {
    let broker = Broker::start(vec![Act::Say(answer(200, "{}"))]).await;
    let client = broker.client();
    answered(client.provision(&"i".into(), &provision_request(), None).await);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    answered(client.provision(&"i".into(), &provision_request(), None).await);
    assert_eq!(broker.connections(), 2);
}
