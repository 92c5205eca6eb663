//! The proxy that the environment names. It is read once in a process, so another one is started for it.

use std::env;

use service_catalog::osb::{Client, Settings};
use tokio::process::Command;

use crate::script::{Act, Broker, answer, answered, endpoint};

#[tokio::test]
async fn the_proxy_of_the_environment_is_used() {
    let proxy = Broker::start(vec![Act::Say(answer(200, r#"{"services":[]}"#))]).await;
    let mut asking = Command::new(env::current_exe().unwrap());
    asking.args(["--exact", "proxy::a_broker_behind_a_proxy_is_asked", "--ignored"]);
    asking
        .env("http_proxy", format!("http://{}", proxy.address))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    let output = asking.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let request = &proxy.requests()[0];
    assert!(request.starts_with("GET http://broker.example/v2/catalog HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
#[ignore = "the test above runs it, in a process with a proxy"]
async fn a_broker_behind_a_proxy_is_asked() {
    let client = Client::new(&endpoint("http://broker.example"), &Settings::default()).unwrap();
    answered(client.catalog(None).await).unwrap();
}
