//! That requests are checked, and kept as they came.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use testkit::broker::{
    Auth, Broker, Offering, Operation, PASSWORD, POSTGRESQL, Plan, Request, SMALL, USERNAME, catalog,
};

use crate::platform::{DEADLINE, Platform, context, ids, instance, provision};

#[tokio::test]
async fn who_a_platform_is_and_what_it_speaks_is_checked_first() {
    let broker = Broker::start().await;
    let client = Client::new();
    let url = format!("{}/v2/catalog", broker.url());
    let anonymous = client.get(&url).header("X-Broker-API-Version", "2.17").send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert_eq!(anonymous.headers()["content-type"], "text/plain");
    let versionless = client.get(&url).basic_auth(USERNAME, Some(PASSWORD)).send().await.unwrap();
    assert_eq!(versionless.status(), 400);
    assert_eq!(broker.violations(), ["GET /v2/catalog: no X-Broker-API-Version"]);
    broker.set_auth(Auth::bearer("t0ken"));
    let bearer = || client.get(&url).bearer_auth("t0ken").header("X-Broker-API-Version", "2.17");
    assert_eq!(bearer().send().await.unwrap().status(), 200);
    broker.set_api_version("2.14");
    assert_eq!(bearer().send().await.unwrap().status(), 412);
}

#[tokio::test]
async fn malformed_requests_are_violations() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    let wrong = |change: fn(&mut Value)| {
        let mut body = provision();
        change(&mut body);
        platform.put(&instance("i1"), &body)
    };
    let requests = [
        wrong(|body| body["organization_guid"] = "".into()),
        wrong(|body| drop(body.as_object_mut().unwrap().shift_remove("space_guid"))),
        wrong(|body| body["space"] = "n".into()),
        wrong(|body| body["context"]["platform"] = "cloudfoundry".into()),
        wrong(|body| body["context"]["instance_name"] = "".into()),
        wrong(|body| body["parameters"] = Value::Null),
        wrong(|body| body["plan_id"] = 5.into()),
        wrong(|body| body["maintenance_info"] = json!({})),
        wrong(|_| ()).header("X-Broker-API-Originating-Identity", "kubernetes e30="),
        platform.put(&format!("{}?accepts_incomplete=yes", instance("i1")), &provision()),
        platform.request(Method::PUT, &instance("i1")).body(provision().to_string()),
        platform.request(Method::DELETE, &format!("{}?service_id={POSTGRESQL}", instance("i1"))),
        platform.request(Method::GET, &format!("{}/last_operation", instance("i1"))),
        platform.request(Method::GET, "/v3/catalog"),
    ];
    let count = requests.len();
    for (index, request) in requests.into_iter().enumerate() {
        assert_eq!(request.send().await.unwrap().status(), 400, "request {index}");
        assert_eq!(broker.violations().len(), index + 1, "{:?}", broker.violations());
    }
    assert!(broker.ever_created().is_empty());
    let identity = "kubernetes eyJ1c2VybmFtZSI6InUiLCJ1aWQiOiIxIiwiZ3JvdXBzIjpbXSwiZXh0cmEiOnt9fQ==";
    let right = wrong(|_| ()).header("X-Broker-API-Originating-Identity", identity);
    assert_eq!(right.send().await.unwrap().status(), 201);
    assert_eq!(broker.violations().len(), count);
    assert_eq!(Broker::originating_user(broker.journal().last().unwrap()).unwrap()["username"], "u");
}

#[tokio::test]
async fn calls_the_catalog_forbids_are_violations() {
    let broker = Broker::start().await;
    broker.set_catalog(catalog([Offering::new(POSTGRESQL, "postgresql")
        .with("bindings_retrievable", false)
        .with("instances_retrievable", false)
        .plan(Plan::new(SMALL, "small").not_bindable().not_updateable())
        .many_plans(3)]));
    let platform = Platform::of(&broker);
    platform.provision("i1").await;
    assert_eq!(platform.bind("i1", "b1").await.status(), 400);
    assert_eq!(platform.get(&instance("i1")).await.status(), 400);
    let change = json!({ "service_id": POSTGRESQL, "plan_id": format!("{POSTGRESQL}-plan-2") });
    assert_eq!(platform.update("i1", change).await.status(), 400);
    let context_only = json!({ "service_id": POSTGRESQL, "context": context() });
    assert_eq!(platform.update("i1", context_only).await.status(), 400);
    platform.delete(&instance("i1")).await;
    assert_eq!(platform.provision("i1").await.status(), 400);
    assert_eq!(broker.violations().len(), 5, "{:?}", broker.violations());
}

#[tokio::test]
async fn the_journal_keeps_requests_as_they_were_sent() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    let bytes = format!(" {} ", provision());
    let request = platform
        .request(Method::PUT, "/v2/service_instances/a%2Fb%3Fc?accepts_incomplete=true")
        .header("content-type", "application/json")
        .body(bytes.clone());
    assert_eq!(request.send().await.unwrap().status(), 201);
    let entry = &broker.requests(|request| request.concerns("a/b?c"))[0];
    assert_eq!(entry.raw_target, "/v2/service_instances/a%2Fb%3Fc?accepts_incomplete=true");
    assert_eq!(entry.path, "/v2/service_instances/a%2Fb%3Fc");
    assert_eq!(entry.query, [("accepts_incomplete".to_owned(), "true".to_owned())]);
    assert_eq!(entry.body, provision());
    assert_eq!(entry.body_bytes, bytes.as_bytes());
    assert_eq!((entry.method.as_str(), entry.status), ("PUT", Some(201)));
    assert_eq!(entry.header("x-broker-api-version"), Some("2.17"));
    assert_eq!(broker.live_instances(), ids(["a/b?c"]));
}

#[tokio::test]
async fn overlapping_changes_are_seen_and_others_are_not() {
    let broker = Broker::start().await;
    let platform = Platform::of(&broker);
    platform.provision("i1").await;
    assert!(broker.overlapping_changes().is_empty());
    let hold = broker.on(Operation::Bind).for_id("b1").hang();
    let second = async {
        let arrived = |journal: &[Request]| journal.iter().any(|r| r.concerns("b1")).then_some(());
        broker.wait_for(arrived, DEADLINE, "the first binding").await;
        platform.bind("i1", "b2").await;
        hold.release();
    };
    tokio::join!(platform.bind("i1", "b1"), second);
    assert_eq!(broker.overlapping_changes().len(), 1);
}

#[tokio::test]
#[should_panic(expected = "in vain for a deletion")]
async fn waiting_in_vain_tells_what_was_seen() {
    let broker = Broker::start().await;
    Platform::of(&broker).provision("i1").await;
    let deleted = |journal: &[Request]| journal.iter().any(|r| r.is(Operation::Deprovision)).then_some(());
    broker.wait_for(deleted, Duration::from_millis(50), "a deletion").await;
}
