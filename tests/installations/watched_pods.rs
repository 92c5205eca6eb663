//! `--watch-pods`: the status of a binding says which of its pods have the credentials.

use serde_json::{Value, json};
use testkit::{
    page::commands,
    repository,
    stage::{
        Installation, Stage, WITH_POLICIES,
        case::Case,
        objects::{BINDING, POD},
    },
};

use super::OPERATOR;

async fn stage() -> &'static Stage {
    static INSTALLATION: Installation =
        Installation::new(OPERATOR, &[WITH_POLICIES, "config/watched-pods"], &["--watch-pods"]);
    INSTALLATION.stage().await
}

async fn pod(case: &Case, name: &str, app: &str) {
    let spec = json!({
        "automountServiceAccountToken": false, "containers": [{ "name": "app", "image": "example.com/image" }],
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": app } }, "spec": spec,
    });
    case.hand.restore(POD, &pod).await.unwrap();
}

/// Waits until the binding counts so many pods with and without credentials.
async fn counts(case: &Case, with: usize, without: &[&str]) -> Value {
    let what = format!("to count {with} pods with credentials, and {without:?} without");
    let found = case.until(BINDING, "db", &what, |binding| {
        let pods = &binding["status"]["pods"];
        let names = pods["firstWithout"].as_array().cloned().unwrap_or_default();
        pods["withCredentials"] == with && pods["withoutCredentials"] == without.len() && names == without
    });
    found.await
}

#[tokio::test]
async fn the_status_of_a_binding_says_which_pods_run_without_its_credentials() {
    let case = Case::namespaced(stage().await, "shop").await;
    case.provide("db", json!({})).await;
    for name in ["old-1", "old-2"] {
        pod(&case, name, "web").await;
    }
    pod(&case, "other", "mail").await;
    let selector = json!({ "matchLabels": { "app": "web" } });
    case.connect("db", "db", json!({ "pods": { "selector": selector } })).await;
    counts(&case, 0, &["old-1", "old-2"]).await;
    let mut said = String::new();
    for command in commands("docs/pods.md", "## Which pods run without them") {
        said = case.stage.plane.shell(repository(), &command).await.unwrap();
    }
    assert!(said.contains(r#""firstWithout":["old-1","old-2"]"#), "{said}");
    pod(&case, "new-1", "web").await;
    counts(&case, 1, &["old-1", "old-2"]).await;
    case.remove(POD, "old-1").await;
    counts(&case, 1, &["old-2"]).await;
    // What has ended counts no more.
    let ended = json!({ "status": { "phase": "Succeeded" } });
    let pods = POD.api(&case.hand.client, case.namespace());
    let patch = kube::api::Patch::Merge(&ended);
    pods.patch_status("old-2", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let before = counts(&case, 1, &[]).await;

    // Nothing is written when nothing has changed.
    case.stage.operator.restart().await.unwrap();
    pod(&case, "another", "mail").await;
    case.connect("probe", "db", json!({})).await;
    let after = case.get(BINDING, "db").await;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    pod(&case, "new-2", "web").await;
    counts(&case, 2, &[]).await;

    case.edit(BINDING, "db", json!({ "pods": { "selector": null } })).await;
    case.until(BINDING, "db", "to count no pods", |binding| binding["status"].get("pods").is_none()).await;
    for name in ["old-2", "other", "another", "new-1", "new-2"] {
        case.remove(POD, name).await;
    }
    case.finish().await;
}
