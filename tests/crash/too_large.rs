//! Users and brokers that do all they can to exhaust the memory of the operator. It runs within the limit of the
//! Deployment, and so would be killed.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use testkit::{
    broker::{Operation, Reply, Script},
    stage::{
        Stage,
        case::{Case, with},
        objects::{BINDING, BROKER, INSTANCE, PLAN, SECRET},
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

/// Registers so many brokers, each of which gives the catalog of this script, until each operator has asked all of them.
async fn survives_brokers(case: &Case, beside: &Case, brokers: usize, flag: &str, script: &Script) {
    let names: Vec<_> = (0..brokers).map(|number| format!("broker-{number}")).collect();
    for name in &names {
        case.hand.create(BROKER, name, case.broker_spec(json!({}))).await.unwrap();
    }
    survives(case.stage, beside, &[flag], async |operator| {
        let before = script.hits();
        until(operator, "the brokers are not asked", || script.hits() >= before + brokers).await;
    })
    .await;
    for name in &names {
        case.remove(BROKER, name).await;
    }
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
        assert!(Instant::now() < deadline, "{what}: {}", operator.log_tail());
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
    let rule = "{apiGroups: [servicecatalog.k8s.io], apiVersions: [v1beta1], operations: [CREATE], resources: [serviceplans]}";
    let spec = json!({
        "serviceBrokerName": "nobody", "externalName": "probe", "externalID": "probe", "description": "probe",
        "free": true, "serviceClassRef": { "name": "probe" },
    });
    case.forbid(rule, "false", (PLAN, "probe", &json!({ "spec": spec }))).await;
}

/// Parameters from these Secrets.
fn parameters_from<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Value {
    let references = secrets.into_iter().map(|name| json!({ "secretKeyRef": { "name": name, "key": "k" } }));
    json!({ "parametersFrom": references.collect::<Vec<_>>() })
}

#[tokio::test]
async fn large_secrets_that_specs_name_many_times_are_read_one_after_the_other() {
    const INSTANCES: usize = 60;
    let (stage, _turn) = turn().await;
    let beside = namespaced(stage, "beside-secrets").await;
    let case = namespaced(stage, "large-secrets").await;
    let secrets: Vec<_> = (0..8).map(|number| format!("large-{number}")).collect();
    for (number, secret) in secrets.iter().enumerate() {
        let value = json!({ (format!("a{number}")): "x".repeat(MIB - 100) }).to_string();
        case.hand.secret(secret, json!({ "k": value })).await.unwrap();
    }
    let first = secrets[0].as_str();
    let wrong = [
        ("repeats", parameters_from([first; 256]), "duplicate entry for parameter"),
        ("exceeds", parameters_from(secrets.iter().map(String::as_str)), "4194304 bytes"),
    ];
    stage.operator.kill();
    for number in 0..INSTANCES / 2 {
        for (name, spec, _) in &wrong {
            case.order(&format!("{name}-{number}"), "small", spec.clone()).await;
        }
    }
    let before = AtomicUsize::new(reads(stage, first));
    // Only after an hour do they look again.
    survives(stage, &beside, &["--secret-recheck-interval=1h"], async |operator| {
        let read = || reads(stage, first) - before.load(Ordering::Relaxed);
        until(operator, "the Secrets are not read", || read() >= INSTANCES).await;
        for number in 0..INSTANCES / 2 {
            for (name, _, error) in &wrong {
                case.says(INSTANCE, &format!("{name}-{number}"), "ErrorWithParameters", &[error]).await;
            }
        }
        let read = read();
        // A conflict, or another event, starts a second pass of some.
        assert!(read < 2 * INSTANCES, "{read} reads: {}", operator.log_tail());
        before.fetch_add(read, Ordering::Relaxed);
    })
    .await;
    case.finish().await;
    beside.finish().await;
}

#[tokio::test]
async fn instances_that_wait_for_memory_keep_only_their_names() {
    const INSTANCES: usize = 600;
    let (stage, _turn) = turn().await;
    let beside = namespaced(stage, "beside-names").await;
    let case = namespaced(stage, "many-names").await;
    case.hand.secret("small", json!({ "k": r#"{"a":1}"# })).await.unwrap();
    let hangs = case.broker.on(Operation::Provision).hang();
    stage.operator.kill();
    // Compressed they take little.
    let annotations = json!({ "example.com/notes": "x".repeat(50_000) });
    stream::iter(0..INSTANCES)
        .for_each_concurrent(16, async |number| {
            case.order(&format!("many-{number}"), "small", parameters_from(["small"])).await;
            let metadata = json!({ "metadata": { "annotations": annotations } });
            case.hand.edit(INSTANCE, &format!("many-{number}"), metadata).await.unwrap();
        })
        .await;
    let before = AtomicUsize::new(reads(stage, "small"));
    survives(stage, &beside, &["--osb-api-request-timeout=60s"], async |operator| {
        let read = || reads(stage, "small") - before.load(Ordering::Relaxed);
        // Those whose request the last operator has sent may wait before they look again.
        until(operator, "the Secret is not read for each", || read() >= INSTANCES * 9 / 10).await;
        before.fetch_add(read(), Ordering::Relaxed);
        let peak = operator.peak_memory().unwrap();
        assert!(peak < 96, "the operator has had {peak} MiB");
    })
    .await;
    hangs.release();
    case.finish().await;
    beside.finish().await;
}

#[tokio::test]
async fn an_instance_that_waits_reads_no_secrets_however_often_its_class_changes() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "waits").await;
    case.hand.secret("small", json!({ "k": "{}" })).await.unwrap();
    for number in 0..20 {
        let spec = with(parameters_from(["small"; 3]), json!({ "serviceClassExternalName": "nothing" }));
        case.order(&format!("waits-{number}"), "small", spec).await;
    }
    for number in 0..20 {
        case.says(INSTANCE, &format!("waits-{number}"), "ReferencesNonexistentServiceClass", &[]).await;
    }
    assert_eq!(reads(stage, "small"), 0);
    // The same Secret once for each request.
    case.order("one", "small", parameters_from(["small"; 2])).await;
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
    survives_brokers(&case, &beside, BROKERS, "--osb-api-request-timeout=10s", &stalls).await;
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
    survives_brokers(&case, &beside, BROKERS, "--osb-api-request-timeout=20s", &asked).await;
    beside.finish().await;
}

#[tokio::test]
async fn large_credentials_for_many_bindings_are_written_a_few_at_a_time() {
    const BINDINGS: usize = 30;
    let (stage, _turn) = turn().await;
    let beside = namespaced(stage, "beside-credentials").await;
    let case = namespaced(stage, "large-credentials").await;
    for number in 0..BINDINGS {
        case.provide(&format!("db-{number}"), json!({})).await;
    }
    stage.operator.kill();
    // As many values as may be.
    let values = format!("[{}0]", "0,".repeat(99_000));
    let credentials = format!(r#"{{"credentials":{{"a":{values},"b":"{}"}}}}"#, "x".repeat(MIB - 300_000));
    // The second operator gets the credentials of the bindings that the first one has made.
    let answers = [(Operation::Bind, 201), (Operation::GetBinding, 200)].map(|(operation, status)| {
        case.broker.on(operation).after_effect().reply(Reply::bytes(status, credentials.clone()))
    });
    let answered = || answers.iter().map(Script::hits).sum::<usize>();
    for number in 0..BINDINGS {
        case.bind(&format!("many-{number}"), &format!("db-{number}"), json!({})).await;
    }
    let first = AtomicUsize::new(0);
    survives(stage, &beside, &["--osb-api-request-timeout=10s"], async |operator| {
        let before = answered();
        if first.fetch_add(1, Ordering::Relaxed) > 0 {
            for number in 0..BINDINGS {
                case.hand.delete(SECRET, &format!("many-{number}")).await.unwrap();
            }
        }
        until(operator, "the credentials are not asked for", || answered() >= before + BINDINGS).await;
        for number in 0..BINDINGS {
            case.ready(BINDING, &format!("many-{number}")).await;
        }
    })
    .await;
    case.finish().await;
    beside.finish().await;
}

#[tokio::test]
async fn large_parameters_wait_for_a_broker_that_hangs_without_taking_memory() {
    const INSTANCES: usize = 40;
    let (stage, _turn) = turn().await;
    let beside = namespaced(stage, "beside-parameters").await;
    let case = namespaced(stage, "large-parameters").await;
    let hangs = case.broker.on(Operation::Provision).hang();
    stage.operator.kill();
    for number in 0..INSTANCES {
        let parameters = json!({ "parameters": { "a": "x".repeat(MIB - 100) } });
        case.order(&format!("large-{number}"), "small", parameters).await;
    }
    survives(stage, &beside, &["--osb-api-request-timeout=30s"], async |operator| {
        until(operator, "nothing is ordered", || !case.broker.requests_of(Operation::Provision).is_empty())
            .await;
    })
    .await;
    hangs.release();
    for number in 0..INSTANCES {
        case.ready(INSTANCE, &format!("large-{number}")).await;
    }
    case.finish().await;
    beside.finish().await;
}
