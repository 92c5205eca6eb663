//! What an application has of its credentials, in a real container.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{
    node::BUSYBOX,
    stage::{case::Case, objects::BINDING, wait::PATIENCE},
};

use super::site::{Site, Turn};

/// The folder that a pod gets by default.
const FOLDER: &str = "/bindings/app";

/// Creates a pod that a binding may name. It says nothing about credentials.
async fn run(site: &Site, case: &Case, name: &str) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": case.namespace(), "labels": { "app": "shop" } },
        "spec": {
            "containers": [{ "name": "app", "image": BUSYBOX, "command": ["sleep", "1000"] }],
            "terminationGracePeriodSeconds": 0,
        },
    });
    site.node.wait(case.namespace(), "serviceaccount/default", "create").await.unwrap();
    site.node.plane.apply(&pod.to_string()).await.unwrap();
}

async fn read(site: &Site, case: &Case, pod: &str, file: &str) -> String {
    let file = format!("{FOLDER}/{file}");
    site.node.exec(case.namespace(), pod, &["cat", &file]).await.unwrap()
}

fn id(binding: &Value) -> &str {
    binding["status"]["bindingID"].as_str().unwrap()
}

#[tokio::test]
async fn a_pod_waits_for_its_credentials_and_sees_them_change_while_it_runs() {
    let site = Turn::shared().await;
    let case = site.case("credentials").await;
    let ready = |pod: &str| format!("pod/{pod}");
    // All at once, as from one manifest.
    case.order("db", "small", json!({})).await;
    let pods = json!({ "selector": { "matchLabels": { "app": "shop" } } });
    let rotation = json!({ "gracePeriod": "1h" });
    case.bind("app", "db", json!({ "pods": pods, "rotation": rotation })).await;
    run(&site, &case, "shop").await;
    site.node.wait(case.namespace(), &ready("shop"), "condition=Ready").await.unwrap();
    let old = case.ready(BINDING, "app").await;
    assert_eq!(read(&site, &case, "shop", "username").await, id(&old));
    let root = site.node.exec(case.namespace(), "shop", &["sh", "-c", "echo $SERVICE_BINDING_ROOT"]).await;
    assert_eq!(root.unwrap(), "/bindings\n");

    case.edit(BINDING, "app", json!({ "rotation": { "requests": 1 } })).await;
    let is_renewed = |binding: &Value| binding["status"]["rotation"]["observedRequests"] == 1;
    let new = case.until(BINDING, "app", "to be renewed", is_renewed).await;
    assert_ne!(id(&new), id(&old));
    // The kubelet replaces the files in its own time.
    let deadline = Instant::now() + 2 * PATIENCE;
    while read(&site, &case, "shop", "username").await != id(&new) {
        assert!(Instant::now() < deadline, "the files are those of before\n{}", site.node.report().await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let restarts = ["get", "pod", "shop", "-n", case.namespace(), "-o", "jsonpath={..restartCount}"];
    assert_eq!(site.kubectl(&restarts).await, "0");
    let both = [id(&old).to_owned(), id(&new).to_owned()];
    assert_eq!(case.broker.live_bindings(), both.into(), "{}", case.broker.summary());
    case.finish().await;
}
