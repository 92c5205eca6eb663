//! Users and brokers that do all they can to exhaust the memory of the operator. It runs within the limit of the
//! Deployment, and so would be killed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{
    broker::{Operation, Reply},
    stage::{
        Stage,
        case::{Case, with},
        objects::{BROKER, INSTANCE},
        operator::{Operator, USER},
        wait::PATIENCE,
    },
};

use super::{is_served, namespaced, turn};

/// The limit of the Deployment.
const LIMIT: u64 = 512 << 20;

const MIB: usize = 1 << 20;

/// Runs an operator with few threads, and one with many, in place of the one that the tests share. `attack` returns when
/// the worst is over.
async fn survives(stage: &Stage, beside: &Case, flags: &[&str], attack: impl AsyncFn(&Operator)) {
    for threads in [2, 8] {
        let name = format!("{}-{threads}", beside.namespace());
        let threads = format!("TOKIO_WORKER_THREADS={threads}");
        let operator = start(stage, &name, &[&[threads.as_str()], flags].concat()).await;
        attack(&operator).await;
        is_served(beside, &format!("served-{name}")).await;
        let peak = operator.peak_memory().unwrap_or_else(|error| panic!("{error}: {}", operator.log_tail()));
        assert!(peak < usize::try_from(LIMIT >> 20).unwrap(), "the operator has had {peak} MiB");
        operator.kill();
    }
    stage.operator.restart().await.unwrap();
}

async fn start(stage: &Stage, name: &str, flags: &[&str]) -> Operator {
    stage.operator.kill();
    stage.operator.take_lease_away().await.unwrap();
    let operator = stage.operator.replica(name, flags).within(LIMIT);
    operator.begin().await.unwrap();
    operator
}

async fn until(operator: &Operator, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(operator.peak_memory().is_ok(), "the operator is gone: {}", operator.log_tail());
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often the operator has read Secrets of this name.
fn reads(stage: &Stage, name: &str) -> usize {
    let audit = stage.plane.audit().unwrap();
    audit
        .iter()
        .filter(|it| it.user == USER && it.verb == "get" && it.resource == "secrets" && it.name == name)
        .count()
}

/// Parameters from one Secret, many times.
fn many_times(secret: &str, count: usize) -> Value {
    let reference = json!({ "secretKeyRef": { "name": secret, "key": "k" } });
    json!({ "parametersFrom": vec![reference; count] })
}

#[tokio::test]
async fn an_instance_that_waits_reads_no_secrets_however_often_its_class_changes() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "waits").await;
    case.hand.secret("small", json!({ "k": "{}" })).await.unwrap();
    for number in 0..20 {
        let spec = with(many_times("small", 3), json!({ "serviceClassExternalName": "nothing" }));
        case.order(&format!("waits-{number}"), "small", spec).await;
    }
    for number in 0..20 {
        case.says(INSTANCE, &format!("waits-{number}"), "ReferencesNonexistentServiceClass", &[]).await;
    }
    assert_eq!(reads(stage, "small"), 0);
    // The same Secret once for each request.
    case.order(
        "one",
        "small",
        json!({ "parametersFrom": [
        { "secretKeyRef": { "name": "small", "key": "k" } },
        { "secretKeyRef": { "name": "small", "key": "k" } },
    ] }),
    )
    .await;
    case.ready(INSTANCE, "one").await;
    assert_eq!(reads(stage, "small"), 1);
    case.finish().await;
}

#[tokio::test]
async fn many_brokers_that_stop_within_a_large_catalog_are_read_a_few_at_a_time() {
    const BROKERS: usize = 40;
    let (stage, _turn) = turn().await;
    let beside = namespaced(stage, "beside-catalogs").await;
    let case = Case::new(stage, "large-catalogs", false).await;
    let stalls = case.broker.on(Operation::Catalog).stalling();
    let stalls = stalls.reply(Reply::bytes(200, format!("{{\"services\":[{}", " ".repeat(16 * MIB - 100))));
    for number in 0..BROKERS {
        case.hand.create(BROKER, &format!("stalls-{number}"), case.broker_spec(json!({}))).await.unwrap();
    }
    survives(stage, &beside, &["--osb-api-request-timeout=10s"], async |operator| {
        let before = stalls.hits();
        until(operator, "the brokers are not asked", || stalls.hits() >= before + BROKERS).await;
    })
    .await;
    for number in 0..BROKERS {
        case.delete(BROKER, &format!("stalls-{number}")).await;
    }
    for number in 0..BROKERS {
        case.gone(BROKER, &format!("stalls-{number}")).await;
    }
    beside.finish().await;
}
