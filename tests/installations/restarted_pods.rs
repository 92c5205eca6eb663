//! `--restart-pods`: pods get changed credentials by a rollout of their workload, or by evictions.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testkit::stage::{
    Installation, WITH_POLICIES,
    case::Case,
    objects::{BINDING, POD, SECRET, name, uid},
    wait::PATIENCE,
};

use super::OPERATOR;

/// The first test restarts the operator, and the second reads its metrics.
static OF_ROLLOUTS: Installation = installation();
static OF_EVICTIONS: Installation = installation();

const fn installation() -> Installation {
    Installation::new(OPERATOR, &[WITH_POLICIES, "config/restarted-pods"], &["--restart-pods"])
}

/// A binding of the pods with this label, with the mark of its credentials on record.
async fn bind(case: &Case, name: &str, app: &str, restart: &str) -> Value {
    let pods = json!({ "selector": { "matchLabels": { "app": app } }, "restart": restart });
    case.connect(name, "db", json!({ "pods": pods })).await;
    case.until(BINDING, name, "to know its credentials", |it| mark(it).is_some()).await
}

fn mark(binding: &Value) -> Option<&str> {
    binding["status"]["restart"]["credentials"].as_str()
}

fn is_at_rest(binding: &Value) -> bool {
    binding["status"]["restart"]["changedAt"].is_null()
}

/// Renews the credentials of these bindings, and waits until the operator has noticed that they have changed.
async fn renew(case: &Case, bindings: &[&str]) {
    for binding in bindings {
        case.edit(BINDING, binding, json!({ "rotation": { "requests": 1 } })).await;
    }
    for binding in bindings {
        case.until(BINDING, binding, "to have other credentials", |it| !is_at_rest(it)).await;
    }
}

async fn kubectl(case: &Case, script: &str) -> String {
    let script = format!("kubectl() {{ command kubectl -n {} \"$@\"; }}\n{script}", case.namespace());
    case.stage.plane.shell(testkit::repository(), &script).await.unwrap()
}

const WORKLOADS: &str = r"
apply() { kubectl apply --server-side --field-manager=gitops -f - <<'END'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {example.com/mine: yes-it-is}}
    spec: {containers: [{name: app, image: example.com/image}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: example.com/image}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: example.com/image}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mail}
spec:
  selector: {matchLabels: {app: mail}}
  template:
    metadata: {labels: {app: mail}}
    spec: {containers: [{name: app, image: example.com/image}]}
END
}
apply
";

/// The generation of each workload: the number of templates that it has had.
async fn generations(case: &Case) -> String {
    let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,GENERATION:.metadata.generation";
    let said = kubectl(case, &format!("kubectl get deploy,sts,ds --no-headers -o {columns}")).await;
    said.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}

const BEFORE: &str = "Deployment mail 1, Deployment web 1, StatefulSet web 1, DaemonSet web 1";
const AFTER: &str = "Deployment mail 1, Deployment web 2, StatefulSet web 2, DaemonSet web 2";

#[tokio::test]
async fn workloads_are_rolled_out_once_when_the_credentials_of_several_bindings_change() {
    let case = Case::namespaced(OF_ROLLOUTS.stage().await, "rollout").await;
    case.provide("db", json!({})).await;
    kubectl(&case, WORKLOADS).await;
    let before = bind(&case, "one", "web", "Rollout").await;
    bind(&case, "two", "web", "Rollout").await;

    // The same credentials are written again: nothing has changed.
    let right = case.get(SECRET, "one").await;
    let spoiled = json!({ "stringData": { "password": "spoiled" } });
    case.hand.edit(SECRET, "one", spoiled).await.unwrap();
    let is_right = |secret: &Value| secret["data"] == right["data"];
    case.until(SECRET, "one", "to be put right", is_right).await;
    case.stage.operator.restart().await.unwrap();
    case.connect("probe", "db", json!({})).await;
    let after = case.get(BINDING, "one").await;
    assert_eq!(after["status"]["restart"], before["status"]["restart"]);

    renew(&case, &["one", "two"]).await;
    assert_eq!(generations(&case).await, BEFORE);
    for name in ["one", "two"] {
        case.until(BINDING, name, "to have restarted its pods", is_at_rest).await;
    }
    assert_eq!(generations(&case).await, AFTER);

    // A tool that applies what it has undoes nothing.
    kubectl(&case, WORKLOADS).await;
    case.stage.operator.restart().await.unwrap();
    case.connect("another-probe", "db", json!({})).await;
    assert_eq!(generations(&case).await, AFTER);
    let said =
        kubectl(&case, "kubectl get deploy web -o jsonpath='{.spec.template.metadata.annotations}'").await;
    let annotations: Value = serde_json::from_str(&said).unwrap();
    let mut expected = json!({ "example.com/mine": "yes-it-is" });
    for name in ["one", "two"] {
        let binding = case.get(BINDING, name).await;
        let key = format!("credentials.servicecatalog.k8s.io/{}", uid(&binding));
        expected[key] = mark(&binding).into();
    }
    assert_eq!(annotations, expected);
    kubectl(&case, "kubectl delete deploy,sts,ds --all").await;
    case.finish().await;
}

/// Creates a pod of a `ReplicaSet`, which is ready.
async fn pod(case: &Case, name: &str, owner: &Value) {
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid(owner), "controller": true,
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "web" }, "ownerReferences": [owner] },
        "spec": {
            "automountServiceAccountToken": false, "containers": [{ "name": "app", "image": "example.com/image" }],
        },
    });
    let made = case.hand.restore(POD, &pod).await.unwrap();
    assert_eq!(made["metadata"]["annotations"]["servicecatalog.k8s.io/bindings"], "one");
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let status = json!({ "status": { "phase": "Running", "conditions": ready } });
    let pods = POD.api(&case.hand.client, case.namespace());
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

#[tokio::test]
async fn pods_are_evicted_one_after_the_other_as_their_budget_allows() {
    let case = Case::namespaced(OF_EVICTIONS.stage().await, "evict").await;
    case.provide("db", json!({})).await;
    bind(&case, "one", "web", "Evict").await;
    // Nothing acts on the budget here, so it allows nothing.
    kubectl(
        &case,
        r"kubectl apply -f - <<'END'
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: example.com/image}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
END",
    )
    .await;
    let owner = kubectl(&case, "kubectl get rs web -o json").await;
    let owner: Value = serde_json::from_str(&owner).unwrap();
    for name in ["a", "b"] {
        pod(&case, name, &owner).await;
    }
    renew(&case, &["one"]).await;
    let deadline = Instant::now() + PATIENCE;
    let refused = |line: &str| line.contains(r#"kind="Pod""#) && line.contains(r#"verb="evict""#);
    while !case.stage.operator.metrics().await.unwrap().lines().any(refused) {
        assert!(Instant::now() < deadline, "no eviction is tried");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(case.hand.list(POD).await.unwrap().len(), 2);

    kubectl(&case, "kubectl delete pdb web").await;
    case.gone(POD, "a").await;
    assert!(case.hand.get(POD, "b").await.unwrap().is_some(), "one at a time");
    // A new pod has the new credentials.
    pod(&case, "c", &owner).await;
    case.gone(POD, "b").await;
    case.until(BINDING, "one", "to have restarted its pods", is_at_rest).await;
    let left: Vec<_> = case.hand.list(POD).await.unwrap();
    assert_eq!(left.iter().map(name).collect::<Vec<_>>(), ["c"]);
    let after = kubectl(&case, "kubectl get rs web -o json").await;
    assert_eq!(serde_json::from_str::<Value>(&after).unwrap()["metadata"]["generation"], 1);
    kubectl(&case, "kubectl delete rs web --cascade=orphan; kubectl delete pod c").await;
    case.finish().await;
}
