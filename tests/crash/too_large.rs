//! Users and brokers that do all they can to exhaust the memory of the operator. It runs within the limit of the
//! Deployment, and so would be killed.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use kube::api::PostParams;
use serde_json::{Value, json};
use testkit::{
    broker::{Operation, Reply},
    stage::{
        Stage,
        case::{Case, with},
        objects::{BROKER, INSTANCE, PLAN},
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

/// Nobody may create a plan in the namespace of this test.
async fn forbid_plans(case: &Case) {
    let name = case.namespace();
    let policy = format!(
        r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  matchConstraints:
    resourceRules:
    - apiGroups: [servicecatalog.k8s.io]
      apiVersions: [v1beta1]
      operations: [CREATE]
      resources: [serviceplans]
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}
  validations:
  - {{expression: 'false', message: not in this house}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
"
    );
    case.stage.plane.apply(&policy).await.unwrap();
    let spec = json!({
        "serviceBrokerName": "nobody", "externalName": "probe", "externalID": "probe", "description": "probe",
        "free": true, "serviceClassRef": { "name": "probe" },
    });
    let (probe, plans) = (PLAN.object("probe", &spec), PLAN.api(&case.hand.client, name));
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let deadline = Instant::now() + PATIENCE;
    while plans.create(&dry, &probe).await.is_ok() {
        assert!(Instant::now() < deadline, "the policy is not in force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A Secret that is as large as can be, many times.
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
        case.remove(BROKER, &format!("stalls-{number}")).await;
    }
    beside.finish().await;
}

#[tokio::test]
async fn catalogs_of_as_many_plans_as_may_be_are_written_one_after_the_other() {
    const BROKERS: usize = 3;
    let (stage, _turn) = turn().await;
    let beside = namespaced(stage, "beside-plans").await;
    let case = Case::new(stage, "many-plans", false).await;
    let plans = |count: usize| {
        let mut plans = String::new();
        for number in 0..count {
            let _ = write!(
                plans,
                r#"{{"id":"p{number}","name":"p{number}","description":"{}"}},"#,
                "d".repeat(700)
            );
        }
        plans.pop();
        format!(
            r#"{{"services":[{{"id":"s","name":"s","description":"d","bindable":true,"plans":[{plans}]}}]}}"#
        )
    };
    // So many objects would keep the test for long, so the API server refuses each.
    forbid_plans(&case).await;
    let asked = case.broker.on(Operation::Catalog).reply(Reply::bytes(200, plans(19_000)));
    for number in 0..BROKERS {
        case.hand.create(BROKER, &format!("many-{number}"), case.broker_spec(json!({}))).await.unwrap();
    }
    survives(stage, &beside, &["--osb-api-request-timeout=20s"], async |operator| {
        let before = asked.hits();
        until(operator, "the brokers are not asked", || asked.hits() >= before + BROKERS).await;
    })
    .await;
    for number in 0..BROKERS {
        case.remove(BROKER, &format!("many-{number}")).await;
    }
    beside.finish().await;
}
