//! Where the operator connects to, and what it says about it, if a user of one namespace has chosen the address.

use std::sync::Arc;

use service_catalog::osb::{Client, ClientSettings, Egress, Endpoint, Limits};

use crate::script::{
    Act, Broker, answer, answered, endpoint, in_process, provision_request, refused, target, unknown, unsent,
};

const HIDDEN: &str =
    "the name of the host is not known, or it has only addresses that a ServiceBroker may not have";

fn limited(allowed: &[&str], api_server: &[&str]) -> ClientSettings {
    let allowed = allowed.iter().map(|range| range.parse().unwrap()).collect();
    let api_server = api_server.iter().map(|address| address.parse().unwrap()).collect();
    let limits = Limits { allowed, denied: Vec::new(), api_server };
    ClientSettings { egress: Egress::Limited(Arc::new(limits)), ..ClientSettings::default() }
}

async fn ready_broker() -> Broker {
    Broker::start(vec![Act::Say(answer(200, r#"{"services":[]}"#))]).await
}

#[tokio::test]
async fn a_name_with_an_internal_address_is_not_connected_to() {
    let broker = ready_broker().await;
    let url = format!("http://localhost:{}", broker.address.port());
    for settings in [limited(&[], &[]), limited(&["127.0.0.0/8"], &["127.0.0.1"])] {
        let client = Client::new(&endpoint(&url), &settings).unwrap();
        let said = unsent(client.catalog(None).await);
        let expected =
            format!("cannot connect to the broker at localhost:{}: {HIDDEN}", broker.address.port());
        assert!(said.starts_with(&expected), "{said}");
        assert!(!said.contains("127.0.0.1"), "{said}");
        unsent(client.provision(&"i".into(), &provision_request(), None).await);
        unsent(client.deprovision(&"i".into(), &target(), None).await);
    }
    assert_eq!(broker.connections(), 0);
    for settings in [
        limited(&["127.0.0.0/8"], &[]),
        limited(&["127.0.0.1/32"], &["127.0.0.1"]),
        ClientSettings::default(),
    ] {
        answered(Client::new(&endpoint(&url), &settings).unwrap().catalog(None).await).unwrap();
    }
}

/// The messages do not tell a user which names there are.
#[tokio::test]
async fn an_unknown_name_looks_like_one_with_an_internal_address() {
    let said = async |host: &str| {
        let client = Client::new(&endpoint(&format!("http://{host}")), &limited(&[], &[])).unwrap();
        unsent(client.catalog(None).await).replace(host, "host")
    };
    assert_eq!(said("localhost").await, said("broker.invalid").await);
}

#[tokio::test]
async fn an_internal_address_in_the_url_is_refused_in_every_spelling() {
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::]",
        "0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "10.96.0.1",
        "%31%30.0.0.1",
        "１２７.0.0.1",
        "[fd00::1]",
    ] {
        let refused = Client::new(&endpoint(&format!("http://{host}:8080")), &limited(&[], &[])).err();
        let said = refused.unwrap_or_else(|| panic!("{host} is allowed")).to_string();
        assert!(said.starts_with("spec.url: a ServiceBroker may not have"), "{host}: {said}");
    }
    for host in ["169.254.169.254", "2852039166", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"]
    {
        for settings in [limited(&["0.0.0.0/0", "::/0"], &[]), ClientSettings::default()] {
            let refused = Client::new(&endpoint(&format!("http://{host}")), &settings).err();
            let said = refused.unwrap_or_else(|| panic!("{host} is allowed")).to_string();
            assert!(
                said.starts_with("spec.url: the operator never connects to link-local"),
                "{host}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn what_an_address_of_a_user_answers_to_a_catalog_request_is_not_quoted() {
    let errors = [
        answer(404, "<html><title>internal wiki</title>internal</html>"),
        answer(500, r#"{"error":"internal","description":"internal"}"#),
        answer(302, "internal"),
        answer(200, "internal text"),
        answer(200, r#"["internal"]"#),
        answer(200, r#"{"services":"internal"}"#),
    ];
    let acts = errors.map(Act::Say).to_vec();
    let broker = Broker::start(acts.clone()).await;
    let settings = limited(&["127.0.0.1/32"], &[]);
    let client = Client::new(&endpoint(&format!("http://{}", broker.address)), &settings).unwrap();
    for _ in 0..acts.len() {
        let outcome = client.catalog(None).await;
        let said = match outcome {
            service_catalog::osb::Outcome::Answered(Err(invalid)) => invalid.to_string(),
            failed => failed.failure().unwrap().to_string(),
        };
        assert!(!said.contains("internal"), "{said}");
        assert!(said.contains("the broker"), "{said}");
    }
    // An order is another matter: its user needs the words of the broker.
    let broker = Broker::start(vec![Act::Say(answer(400, r#"{"description":"too small"}"#))]).await;
    let client = Client::new(&endpoint(&format!("http://{}", broker.address)), &settings).unwrap();
    let refusal = refused(client.provision(&"i".into(), &provision_request(), None).await);
    assert_eq!(refusal.message.to_string(), "the broker answered 400 Bad Request: too small");
    // And so is a broker that an administrator has registered.
    let broker = Broker::start(vec![Act::Say(answer(500, r#"{"description":"disk full"}"#))]).await;
    let said = unknown(broker.client().catalog(None).await).message.to_string();
    assert_eq!(said, "the broker answered 500 Internal Server Error: disk full");
}

/// The proxy resolves the name. What is known here is checked; what the proxy alone knows is its own concern.
#[tokio::test]
async fn a_proxy_is_not_asked_for_an_internal_name() {
    let proxy = ready_broker().await;
    in_process(
        "egress::names_are_checked_before_a_proxy_is_asked",
        &[("http_proxy", &format!("http://{}", proxy.address))],
    )
    .await;
    assert_eq!(proxy.requests().len(), 1, "{:?}", proxy.requests());
}

#[tokio::test]
#[ignore = "the test above runs it, in a process with a proxy"]
async fn names_are_checked_before_a_proxy_is_asked() {
    let client = |url: &str| Client::new(&endpoint(url), &limited(&[], &[]));
    let said = unsent(client("http://localhost:8080").unwrap().catalog(None).await);
    assert!(said.contains(HIDDEN), "{said}");
    assert!(client("http://10.0.0.1").is_err());
    // The address of the proxy itself is a matter of the administrator.
    answered(client("http://broker.invalid").unwrap().catalog(None).await).unwrap();
    let open = Endpoint { ..endpoint("http://169.254.169.254") };
    assert!(Client::new(&open, &ClientSettings::default()).is_err());
}
