//! What the client writes.

use std::{collections::BTreeMap, time::Duration};

use service_catalog::osb::{
    Authentication, Client, ClientSettings, Endpoint, Identity,
    outcome::{Bound, Deleted, OperationState, Provisioned},
};

use crate::script::{
    Act, Broker, answer, answered, bind_request, endpoint, provision_request, refused, target, unsent,
    update_request,
};

/// The request line, the headers sorted, and the body; without the host and with the request's id checked and removed.
fn parts(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap();
    let (ids, mut headers): (Vec<_>, Vec<_>) = lines
        .filter(|line| !line.starts_with("host: "))
        .partition(|line| line.starts_with("x-broker-api-request"));
    assert_eq!(ids.len(), 1, "{request}");
    let id = ids[0].strip_prefix("x-broker-api-request-identity: ").unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    headers.sort();
    (line, headers, body.to_owned())
}

fn headers(more: &[&str]) -> Vec<String> {
    let agent = concat!("user-agent: service-catalog/", env!("CARGO_PKG_VERSION"));
    let mut headers: Vec<_> = [&["accept: application/json", agent, "x-broker-api-version: 2.17"], more]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    headers.sort();
    headers
}

fn identity() -> Identity {
    Identity::new("jane", "7", &[], &BTreeMap::new())
}

/// `kubernetes {"username":"jane","uid":"7","groups":[],"extra":{}}`
const JANE: &str = "x-broker-api-originating-identity: kubernetes eyJ1c2VybmFtZSI6ImphbmUiLCJ1aWQiOiI3IiwiZ3JvdXBzIjpbXSwiZXh0cmEiOnt9fQ==";
const JSON: &str = "content-type: application/json";
const CONTEXT: &str =
    r#""context":{"platform":"kubernetes","namespace":"ns","clusterid":"cluster","instance_name":"db"}"#;

// OSB 1, 5, 10, 12, 23, 27, 29, 77, 97, 107, 118, 119, 128, 132, 138, 152, 158
// v0.3 H4
#[tokio::test]
async fn every_operation_is_written_as_the_spec_has_it() {
    let broker = Broker::start(vec![Act::Say(answer(200, r#"{"state":"succeeded","services":[]}"#))]).await;
    let (client, jane, target) = (broker.client(), identity(), target());
    let jane = Some(&jane);
    answered(client.catalog(None).await).unwrap();
    answered(client.provision(&"i".into(), &provision_request(), jane).await);
    answered(client.update(&"i".into(), &update_request(), jane).await);
    answered(client.deprovision(&"i".into(), &target, jane).await);
    answered(client.poll_instance(&"i".into(), &target, Some("o p"), jane).await);
    answered(client.get_instance(&"i".into(), &target, jane).await);
    answered(client.bind(&"i".into(), &"b".into(), &bind_request(), true, jane).await);
    answered(client.bind(&"i".into(), &"b".into(), &bind_request(), false, None).await);
    answered(client.unbind(&"i".into(), &"b".into(), &target, jane).await);
    answered(client.poll_binding(&"i".into(), &"b".into(), &target, None, jane).await);
    answered(client.get_binding(&"i".into(), &"b".into(), &target, jane).await);

    let provision = format!(
        r#"{{"service_id":"s","plan_id":"p","organization_guid":"cluster","space_guid":"ns-uid",{CONTEXT}}}"#
    );
    let update = format!(
        r#"{{"service_id":"s","parameters":{{}},{CONTEXT},"previous_values":{{"service_id":"s","plan_id":"p"}}}}"#
    );
    let bind =
        format!(r#"{{"service_id":"s","plan_id":"p",{CONTEXT},"bind_resource":{{"app_guid":"ns-uid"}}}}"#);
    let instance = "/v2/service_instances/i";
    let binding = "/v2/service_instances/i/service_bindings/b";
    let ids = "service_id=s&plan_id=p";
    let expected = [
        ("GET /v2/catalog".to_owned(), "", false),
        (format!("PUT {instance}?accepts_incomplete=true"), provision.as_str(), true),
        (format!("PATCH {instance}?accepts_incomplete=true"), update.as_str(), true),
        (format!("DELETE {instance}?{ids}&accepts_incomplete=true"), "", true),
        (format!("GET {instance}/last_operation?{ids}&operation=o%20p"), "", true),
        (format!("GET {instance}?{ids}"), "", true),
        (format!("PUT {binding}?accepts_incomplete=true"), bind.as_str(), true),
        (format!("PUT {binding}"), bind.as_str(), false),
        (format!("DELETE {binding}?{ids}&accepts_incomplete=true"), "", true),
        (format!("GET {binding}/last_operation?{ids}"), "", true),
        (format!("GET {binding}?{ids}"), "", true),
    ];
    let requests = broker.requests();
    assert_eq!(requests.len(), expected.len());
    for (request, (line, body, by_user)) in requests.iter().zip(expected) {
        let length = format!("content-length: {}", body.len());
        let mut more = Vec::new();
        more.extend(by_user.then_some(JANE));
        more.extend(if body.is_empty() { vec![] } else { vec![JSON, length.as_str()] });
        assert_eq!(parts(request), (format!("{line} HTTP/1.1"), headers(&more), body.to_owned()));
    }
    assert_eq!(broker.connections(), 1, "requests in a row share a connection");
}

// OSB 1, 14
// v0.3 B1, H3
#[tokio::test]
async fn authentication_version_and_path_prefix_are_the_endpoints() {
    let broker = Broker::start(vec![Act::Say(answer(200, r#"{"services":[]}"#))]).await;
    for (auth, expected) in [
        (
            Authentication::Basic { username: "ü".into(), password: "p:w".into() },
            "authorization: Basic w7w6cDp3",
        ),
        (Authentication::Bearer { token: "t0ken".into() }, "authorization: Bearer t0ken"),
    ] {
        let endpoint = Endpoint { auth, ..endpoint(&format!("http://{}/a%20b/", broker.address)) };
        let settings = ClientSettings { api_version: "2.14".parse().unwrap(), ..ClientSettings::default() };
        answered(Client::new(&endpoint, &settings).unwrap().catalog(None).await).unwrap();
        let request = broker.requests().pop().unwrap();
        assert!(request.starts_with("GET /a%20b/v2/catalog HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nx-broker-api-version: 2.14\r\n"), "{request}");
        assert!(request.contains(&format!("\r\n{expected}\r\n")), "{request}");
    }
}

// v0.3 L1
#[tokio::test]
async fn nobody_is_named_where_that_is_switched_off() {
    let broker = Broker::start(vec![Act::Say(answer(200, "{}"))]).await;
    let settings = ClientSettings { originating_identity: false, ..ClientSettings::default() };
    let endpoint = endpoint(&format!("http://{}", broker.address));
    let client = Client::new(&endpoint, &settings).unwrap();
    answered(client.deprovision(&"i".into(), &target(), Some(&identity())).await);
    assert!(!broker.requests()[0].contains("originating-identity"), "{}", broker.requests()[0]);
}

// OSB 19
// v0.3 Q10
#[tokio::test]
async fn odd_ids_arrive_as_one_segment() {
    let broker = Broker::start(vec![Act::Say(answer(410, ""))]).await;
    let client = broker.client();
    assert_eq!(answered(client.deprovision(&"../a?x=1#ü%2e".into(), &target(), None).await), Deleted::Done);
    let line = "DELETE /v2/service_instances/..%2Fa%3Fx%3D1%23%C3%BC%252e?service_id=s&plan_id=p&accepts_incomplete=true ";
    assert!(broker.requests()[0].starts_with(line), "{}", broker.requests()[0]);
    for id in ["", ".", ".."] {
        assert!(
            unsent(client.deprovision(&id.into(), &target(), None).await).contains("cannot be part of a URL")
        );
    }
    assert_eq!(broker.requests().len(), 1);
}

#[tokio::test]
async fn answers_come_through() {
    let act = |status, body| Act::Say(answer(status, body));
    let broker = Broker::start(vec![
        act(202, r#"{"operation":"o&1","dashboard_url":"http://d"}"#),
        Act::Say(
            "HTTP/1.1 200 x\r\nRetry-After: 30\r\nContent-Length: 23\r\n\r\n{\"state\":\"in progress\"}"
                .into(),
        ),
        act(201, r#"{"credentials":{"uri":"x"}}"#),
        act(202, "{}"),
        act(200, r#"{"services":[{}]}"#),
    ])
    .await;
    let client = broker.client();
    let accepted = answered(client.provision(&"i".into(), &provision_request(), None).await);
    let expected =
        Provisioned::Accepted { operation: Some("o&1".into()), dashboard_url: Some(Ok("http://d".into())) };
    assert_eq!(accepted, expected);
    let polled = answered(client.poll_instance(&"i".into(), &target(), Some("o&1"), None).await);
    assert_eq!(
        (polled.state, polled.retry_after),
        (OperationState::InProgress, Some(Duration::from_secs(30)))
    );
    let Bound::Done(binding) =
        answered(client.bind(&"i".into(), &"b".into(), &bind_request(), false, None).await)
    else {
        panic!("accepted")
    };
    assert_eq!(binding.credentials.unwrap().expose()["uri"], "x");
    let deleted = answered(client.unbind(&"i".into(), &"b".into(), &target(), None).await);
    assert_eq!(deleted, Deleted::Accepted { operation: None });
    let fetched = answered(client.catalog(None).await).unwrap();
    assert!(fetched.catalog.skipped.to_string().contains("services[0]: id is missing"));
}

#[tokio::test]
async fn interim_answers_and_old_servers_are_understood() {
    let broker = Broker::start(vec![
        Act::Say(format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{}", answer(200, r#"{"services":[]}"#))),
        Act::SayAndClose("HTTP/1.0 200 OK\r\n\r\n{\"services\":[]}".into()),
        Act::Say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{\"services\":[]}\r\n0\r\n\r\n".into(),
        ),
    ])
    .await;
    let client = broker.client();
    for _ in 0..3 {
        answered(client.catalog(None).await).unwrap();
    }
}

// v0.3 Q8
#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Broker::start(vec![Act::Say(answer(200, "{}"))]).await;
    let location = format!("http://{}/v2/service_instances/i", elsewhere.address);
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let broker = Broker::start(vec![Act::Say(redirect)]).await;
        let refusal = refused(broker.client().provision(&"i".into(), &provision_request(), None).await);
        assert!(
            refusal.status == status && refusal.message.to_string().contains("spec.url"),
            "{}",
            refusal.message
        );
        refused(broker.client().catalog(None).await);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn our_own_password_is_not_repeated() {
    let echo = |text: &str| Act::Say(answer(401, &serde_json::json!({ "description": text }).to_string()));
    let catalog = r#"{"services":[{"name":"is hunter22"}]}"#;
    let broker = Broker::start(vec![
        echo("no jane:hunter22"),
        echo("Basic amFuZTpodW50ZXIyMg=="),
        echo("no jane%3AHUNTER%32%32 in /x?token=aHVudGVyMjI"),
        Act::Say(answer(200, catalog)),
    ])
    .await;
    let auth = Authentication::Basic { username: "jane".into(), password: "hunter22".into() };
    let endpoint = Endpoint { auth, ..endpoint(&format!("http://{}", broker.address)) };
    let client = Client::new(&endpoint, &ClientSettings::default()).unwrap();
    let message = refused(client.catalog(None).await).message.to_string();
    assert!(message.contains("no jane:<redacted>"), "{message}");
    let message = refused(client.catalog(None).await).message.to_string();
    assert!(message.contains("Basic <redacted>"), "{message}");
    let message = refused(client.catalog(None).await).message.to_string();
    assert!(message.contains("no jane%3A<redacted> in /x?token=<redacted>"), "{message}");
    let message = answered(client.catalog(None).await).unwrap().catalog.skipped.to_string();
    assert!(message.contains("<redacted>") && !message.contains("hunter22"), "{message}");
}
