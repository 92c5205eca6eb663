//! What the operator's work costs the API server, from its audit log.
//!
//! A watch may show a write before the log does. The Event that follows a write comes after both, so a count begins and
//! ends with one.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Operation, catalog},
    stage::{
        Stage,
        objects::{BINDING, CLASS, EVENT, INSTANCE, name},
        wait::PATIENCE,
    },
};

use super::{Meter, is_read, is_write, served, show, turn};

// v0.3 Q52
#[tokio::test]
async fn a_synchronous_cycle_costs_eight_writes_and_no_read() {
    let (stage, _turn) = turn().await;
    let case = served(stage, "cycle").await;
    let before = case.broker.journal().len();
    let meter = Meter::start(stage);
    case.order("db", "small", json!({})).await;
    case.ready(INSTANCE, "db").await;
    case.connect("app", "db", json!({})).await;
    case.told("app", "InjectedBindResult").await;
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    let requests = meter.until_released("serviceinstances", "db").await;
    let writes = |resource: &str| {
        requests.iter().filter(|event| is_write(event) && event.resource == resource).count()
    };
    let all = requests.iter().filter(|event| is_write(event)).count();
    let shown = show(&requests);
    assert_eq!(writes("serviceinstances"), 3, "intent, result, finalizer:\n{shown}");
    assert_eq!(writes("servicebindings"), 3, "intent, result, finalizer:\n{shown}");
    assert_eq!(writes("secrets"), 2, "there and away:\n{shown}");
    assert_eq!(all, 8, "nothing else:\n{shown}");
    assert_eq!(
        requests.iter().filter(|event| is_read(event)).count(),
        0,
        "no reads beyond the watches:\n{shown}"
    );
    let events = case.hand.list(EVENT).await.unwrap();
    let about = |name: &str| events.iter().filter(|event| event["regarding"]["name"] == name).count();
    assert_eq!((about("db"), about("app")), (1, 1), "Ready, and nothing else: {events:#?}");
    assert!(requests.iter().all(|event| event.code < 400), "no request in vain:\n{shown}");
    assert_eq!(case.broker.journal().len() - before, 4, "{}", case.broker.summary());
    case.finish().await;
}

#[tokio::test]
async fn polls_that_bring_nothing_new_write_nothing() {
    let (stage, _turn) = turn().await;
    let case = served(stage, "polls").await;
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(6));
    case.broker.set_async_script(Operation::Deprovision, AsyncScript::succeeding(6));
    let meter = Meter::start(stage);
    case.order("db", "small", json!({})).await;
    case.ready(INSTANCE, "db").await;
    case.told("db", "ProvisionedSuccessfully").await;
    let provision = meter.requests();
    let shown = show(&provision);
    // Intent, accepted, the description, result.
    assert_eq!(provision.iter().filter(|event| is_write(event)).count(), 4, "{shown}");
    assert_eq!(provision.iter().filter(|event| is_read(event)).count(), 0, "{shown}");
    assert_eq!(case.broker.requests_of(Operation::PollInstance).len(), 7);

    let meter = Meter::start(stage);
    case.remove(INSTANCE, "db").await;
    let deprovision = meter.until_released("serviceinstances", "db").await;
    let shown = show(&deprovision);
    // Accepted, the description, finalizer.
    assert_eq!(deprovision.iter().filter(|event| is_write(event)).count(), 3, "{shown}");
    assert_eq!(deprovision.iter().filter(|event| is_read(event)).count(), 0, "{shown}");
    case.finish().await;
}

// v0.3 H5
#[tokio::test]
async fn an_update_costs_two_writes_and_an_unchanged_spec_none() {
    let (stage, _turn) = turn().await;
    let case = served(stage, "update-cost").await;
    case.provide("db", json!({})).await;
    case.told("db", "ProvisionedSuccessfully").await;
    let meter = Meter::start(stage);
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 }, case.plan_field(): "large" })).await;
    case.ready(INSTANCE, "db").await;
    case.told("db", "InstanceUpdatedSuccessfully").await;
    let requests = meter.requests();
    assert_eq!(requests.iter().filter(|event| is_write(event)).count(), 2, "{}", show(&requests));
    assert_eq!(requests.iter().filter(|event| is_read(event)).count(), 0, "{}", show(&requests));
    assert_eq!(case.broker.requests_of(Operation::Update).len(), 1, "parameters and plan in one request");

    // A label is nothing to the operator. What follows it shows that the operator has seen it.
    let meter = Meter::start(stage);
    case.hand.edit(INSTANCE, "db", json!({ "metadata": { "labels": { "a": "b" } } })).await.unwrap();
    case.provide("after", json!({})).await;
    let about = meter.requests().into_iter().filter(|event| event.name == "db").collect::<Vec<_>>();
    assert!(about.is_empty(), "{}", show(&about));
    case.finish().await;
}

// v0.3 B10
#[tokio::test]
async fn an_unchanged_catalog_costs_nothing() {
    let (stage, _turn) = turn().await;
    let case = testkit::stage::case::Case::new(stage, "quiet-catalog", false).await;
    case.register(json!({ "relistDuration": "100ms" })).await;
    // An instance is served when the caches show class and plan, so the next catalog is compared with all of it.
    case.provide("db", json!({})).await;
    case.told("db", "ProvisionedSuccessfully").await;
    let settled = case.broker.requests_of(Operation::Catalog).len() + 1;
    let asked = |count: usize| {
        case.broker_shows("more catalogs", move |broker| {
            broker.requests_of(Operation::Catalog).get(count)?.answered_at
        })
    };
    asked(settled).await;
    let meter = Meter::start(stage);
    asked(settled + 10).await;
    let requests = meter.requests();
    assert!(requests.iter().all(|event| !is_write(event) && !is_read(event)), "{}", show(&requests));
    case.finish().await;
}

/// How many instances wait for a plan that the catalog does not have.
const STUCK: usize = 20;

/// How many reconciles of instances the operator has counted.
async fn reconciles(stage: &Stage) -> usize {
    let count = "servicecatalog_reconcile_duration_seconds_count{kind=\"ServiceInstance\",";
    let metrics = stage.operator.metrics().await.unwrap();
    let counts = metrics.lines().filter(|line| line.starts_with(count));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// Words of a catalog that change with every fetch wake nobody. What instances depend on wakes all of them.
#[tokio::test]
async fn a_catalog_whose_words_change_all_the_time_wakes_no_instance() {
    let (stage, _turn) = turn().await;
    let case = testkit::stage::case::Case::new(stage, "other-words", false).await;
    case.register(json!({ "relistDuration": "100ms" })).await;
    for index in 0..STUCK {
        case.order(&format!("stuck{index}"), "huge", json!({})).await;
    }
    for index in 0..STUCK {
        case.says(INSTANCE, &format!("stuck{index}"), "ReferencesNonexistentServicePlan", &[]).await;
    }
    // What comes after the last status has been seen too.
    case.provide("seen", json!({})).await;
    case.told("seen", "ProvisionedSuccessfully").await;
    let told = async |words: &str| {
        let shows = |class: &serde_json::Value| class["spec"]["description"] == *words;
        let class = case.entries(CLASS).await.remove(0);
        case.until(CLASS, name(&class), "other words", shows).await;
    };
    let before = reconciles(stage).await;
    for round in 0..5 {
        let words = format!("Round {round}");
        case.broker.set_catalog(catalog([case.offering().with("description", words.clone())]));
        told(&words).await;
    }
    case.provide("after", json!({})).await;
    let after = reconciles(stage).await;
    assert!(after < before + STUCK, "{} reconciles", after - before);

    let offering = case.offering().with("description", "bindable no more").with("bindable", false);
    case.broker.set_catalog(catalog([offering]));
    told("bindable no more").await;
    let deadline = Instant::now() + PATIENCE;
    while reconciles(stage).await < after + STUCK {
        assert!(Instant::now() < deadline, "they wait for nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    case.finish().await;
}
