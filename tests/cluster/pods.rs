//! `spec.pods` of a binding while the operator works, and the page about it. What pods get of it is tested in
//! `tests/admission`.

use std::time::Instant;

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    page::commands,
    repository,
    stage::{
        objects::{BINDING, POD, SECRET, condition},
        wait::PATIENCE,
    },
};

use super::{Case, namespaced, users_view::kubectl};

/// Runs the commands of a chapter of the page.
async fn run(case: &Case, heading: &str) -> String {
    let mut said = String::new();
    for command in commands("docs/pods.md", heading) {
        said += &case.stage.plane.shell(repository(), &command).await.unwrap();
    }
    said
}

/// Creates a pod, again and again until it gets these bindings: the API server learns of a change a moment later.
async fn pod(case: &Case, template: &Value, bindings: &[&str]) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"],
    });
    pod["metadata"]["name"] = "web-0".into();
    pod["spec"]["automountServiceAccountToken"] = false.into();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let made = case.hand.restore(POD, &pod).await.unwrap();
        let has =
            made["metadata"]["annotations"]["servicecatalog.k8s.io/bindings"].as_str().unwrap_or_default();
        let mut has: Vec<_> = has.split(',').filter(|name| !name.is_empty()).collect();
        has.sort_unstable();
        if has == bindings {
            return made;
        }
        assert!(Instant::now() < deadline, "{made:#}");
        case.remove(POD, "web-0").await;
    }
}

#[tokio::test]
async fn the_page_about_pods_keeps_its_word() {
    let case = namespaced("shop").await;
    case.provide("db", json!({})).await;
    run(&case, "## A folder with the credentials").await;
    let deployment = kubectl(&case, &["get", "deployment", "web", "-o", "json"]).await;
    let template = serde_json::from_str::<Value>(&deployment).unwrap()["spec"]["template"].take();
    let found = pod(&case, &template, &["db"]).await;
    assert_eq!(found["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], "/bindings/db");
    // The Secret is the one that the operator writes.
    case.ready(BINDING, "db").await;
    let secret = found["spec"]["volumes"][0]["secret"]["secretName"].as_str().unwrap();
    assert_eq!(case.get(SECRET, secret).await["metadata"]["ownerReferences"][0]["name"], "db");
    case.remove(POD, "web-0").await;

    run(&case, "## Environment variables").await;
    let found = pod(&case, &template, &["db", "db-env"]).await;
    let container = &found["spec"]["containers"][0];
    assert_eq!(container["envFrom"][0]["prefix"], "DB_");
    assert!(
        container["env"].as_array().unwrap().iter().any(|it| it["name"] == "DATABASE_URL"),
        "{container}"
    );
    run(&case, "## When the credentials change").await;
    let listed = run(&case, "## What a pod has got, and what not").await;
    assert!(listed.starts_with("NAME") && listed.contains("web-0") && listed.contains("db-env"), "{listed}");
    case.remove(POD, "web-0").await;

    run(&case, "## Change it, and stop it").await;
    pod(&case, &template, &["db"]).await;
    case.remove(POD, "web-0").await;
    kubectl(&case, &["delete", "deployment", "web"]).await;
    case.finish().await;
}

#[tokio::test]
async fn a_change_of_the_pods_asks_the_broker_for_nothing() {
    let case = namespaced("pods-change").await;
    case.provide("db", json!({})).await;
    let selector = json!({ "matchLabels": { "app": "web" } });
    let made = case.connect("app", "db", json!({ "pods": { "selector": selector } })).await;
    for pods in [
        json!({ "files": true, "env": { "prefix": "DB_" } }),
        json!({ "env": null }),
        json!({ "selector": null, "files": null }),
    ] {
        case.edit(BINDING, "app", json!({ "pods": pods })).await;
        let after = case.ready(BINDING, "app").await;
        assert_eq!(condition(&after, "Ready"), condition(&made, "Ready"));
        assert_eq!(after["spec"]["externalID"], made["spec"]["externalID"]);
    }
    assert_eq!(case.get(BINDING, "app").await["spec"]["pods"], json!({}));
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1);
    case.finish().await;
}
