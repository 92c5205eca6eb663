//! The proxy that the environment names. It is read once in a process, so another one is started for it.

use std::env;

use service_catalog::osb::{Client, ClientSettings, Endpoint};
use tokio::net::TcpListener;

use crate::script::{Act, Broker, answer, answered, endpoint, in_process, unsent};

// v0.3 G7
#[tokio::test]
async fn the_proxy_of_the_environment_is_used() {
    let proxy = Broker::start(vec![Act::Say(answer(200, r#"{"services":[]}"#))]).await;
    in_process(
        "proxy::a_broker_behind_a_proxy_is_asked",
        &[("http_proxy", &format!("http://{}", proxy.address))],
    )
    .await;
    let request = &proxy.requests()[0];
    assert!(request.starts_with("GET http://broker.example/v2/catalog HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
#[ignore = "the test above runs it, in a process with a proxy"]
async fn a_broker_behind_a_proxy_is_asked() {
    let client = Client::new(&endpoint("http://broker.example"), &ClientSettings::default()).unwrap();
    answered(client.catalog(None).await).unwrap();
}

#[tokio::test]
async fn a_proxy_that_lets_nothing_through_is_named_as_the_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut proxies = vec![(closed, "through the proxy of the operator's HTTPS_PROXY: Connection refused")];
    let mut running = Vec::new();
    for (status, words) in [
        (407, "the proxy asks for a user name and password"),
        (403, "the proxy does not let the connection through"),
    ] {
        let proxy = Broker::start(vec![Act::SayAndClose(answer(status, ""))]).await;
        proxies.push((proxy.address, words));
        running.push(proxy);
    }
    for (proxy, words) in proxies {
        let proxy = format!("http://{proxy}");
        let variables = [("https_proxy", &*proxy), ("WORDS", words)];
        in_process("proxy::a_broker_behind_a_closed_proxy_says_so", &variables).await;
    }
}

#[tokio::test]
#[ignore = "the test above runs it, in a process with a proxy"]
async fn a_broker_behind_a_closed_proxy_says_so() {
    let client = Client::new(
        &Endpoint { insecure_skip_tls_verify: true, ..endpoint("https://broker.example") },
        &ClientSettings::default(),
    );
    let message = unsent(client.unwrap().catalog(None).await);
    let words = env::var("WORDS").unwrap();
    assert!(message.starts_with("cannot connect to the broker at broker.example:443: "), "{message}");
    assert!(message.contains(&words), "{message}");
}
