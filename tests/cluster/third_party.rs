//! The main flows with a broker that somebody else wrote.

use serde_json::json;
use testkit::stage::{
    objects::{BINDING, CLUSTER_BROKER, INSTANCE},
    python_broker::{PASSWORD, PythonBroker, USERNAME},
};

use super::{Case, unregistered};

/// A namespace with the broker registered for the cluster, and with the users alice and bob.
async fn registered(namespace: &str) -> (Case, PythonBroker) {
    let case = unregistered(namespace, true).await;
    case.admit(&["alice", "bob"]).await;
    let broker = PythonBroker::start(case.stage.plane.dir(), namespace).await.unwrap();
    let credentials = json!({ "username": USERNAME, "password": PASSWORD });
    case.hand.secret("python", credentials).await.unwrap();
    let auth = json!({ "basic": { "secretRef": { "name": "python", "namespace": namespace } } });
    case.register(json!({ "url": broker.url, "authInfo": auth })).await;
    (case, broker)
}

fn order(plan: &str) -> serde_json::Value {
    json!({ "clusterServiceClassExternalName": "postgresql", "clusterServicePlanExternalName": plan })
}

/// Its ids are fixed, so there can be one such broker in the cluster: this is one test.
#[tokio::test]
async fn a_broker_that_somebody_else_wrote_is_served_well() {
    let (case, broker) = registered("third-party").await;
    let (alice, bob) = (case.user("alice"), case.user("bob"));

    let mut spec = order("small");
    spec["parameters"] = json!({ "statement_timeout_ms": 1000 });
    alice.create(INSTANCE, "db", spec).await.unwrap();
    let ready = case.ready(INSTANCE, "db").await;
    let id = ready["status"]["instanceID"].as_str().unwrap().to_owned();
    alice.create(BINDING, "app", json!({ "instanceRef": { "name": "db" } })).await.unwrap();
    let bound = case.ready(BINDING, "app").await;
    let binding = bound["status"]["bindingID"].as_str().unwrap().to_owned();
    let content = case.content("app").await;
    assert_eq!(content["port"], "5432");
    assert!(content["uri"].as_str().unwrap().starts_with("postgresql://"), "the Secret has no URI");

    // Its schemas are enforced, and without them a refusal names what is wrong, and goes with it.
    let patch = |timeout: i64| json!({ "spec": { "parameters": { "statement_timeout_ms": timeout } } });
    bob.edit(INSTANCE, "db", patch(-1)).await.unwrap();
    let words = ["spec.parameters.statement_timeout_ms: must be at least 0 (minimum)"];
    case.says(INSTANCE, "db", "ErrorWithParameters", &words).await;
    let off =
        json!({ "metadata": { "annotations": { "servicecatalog.k8s.io/validate-parameters": "false" } } });
    case.hand.edit(CLUSTER_BROKER, "third-party", off).await.unwrap();
    case.failed(INSTANCE, "db", &["statement_timeout_ms must be"]).await;
    bob.edit(INSTANCE, "db", patch(2000)).await.unwrap();
    case.ready(INSTANCE, "db").await;
    bob.edit(INSTANCE, "db", json!({ "spec": { "clusterServicePlanExternalName": "large" } })).await.unwrap();
    case.ready(INSTANCE, "db").await;

    case.remove(BINDING, "app").await;
    assert_eq!(
        broker.look(&format!("/v2/service_instances/{id}/service_bindings/{binding}")).await.unwrap(),
        404
    );
    case.remove(INSTANCE, "db").await;
    assert_eq!(broker.look(&format!("/v2/service_instances/{id}")).await.unwrap(), 404);

    // Everything again, asynchronously.
    bob.create(INSTANCE, "slow", order("large-async")).await.unwrap();
    let ready = case.ready(INSTANCE, "slow").await;
    let slow = ready["status"]["instanceID"].as_str().unwrap().to_owned();
    let spec = json!({ "instanceRef": { "name": "slow" }, "parameters": { "async": true } });
    bob.create(BINDING, "slow-app", spec).await.unwrap();
    case.ready(BINDING, "slow-app").await;
    assert!(case.content("slow-app").await["password"].is_string());
    case.remove(BINDING, "slow-app").await;
    case.remove(INSTANCE, "slow").await;
    assert_eq!(broker.look(&format!("/v2/service_instances/{slow}")).await.unwrap(), 404);

    let journal = broker.journal().unwrap();
    let puts = journal.iter().filter(|line| line.method == "PUT");
    let put: Vec<_> =
        puts.map(|line| (line.path.matches('/').count(), line.status, line.user.as_deref())).collect();
    let expected =
        [(3, 201, Some("alice")), (5, 201, Some("alice")), (3, 202, Some("bob")), (5, 202, Some("bob"))];
    assert_eq!(put, expected, "each is created once, on behalf of who asked");
    assert!(journal.iter().all(|line| line.status < 500), "{journal:#?}");
    case.remove(CLUSTER_BROKER, "third-party").await;
    case.finish().await;
}
