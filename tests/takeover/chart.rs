//! What the chart of the original made beside the definitions, and the commands of `docs/migration.md` about it.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::{control_plane::ControlPlane, page::commands};

use crate::{RUNTIME, everything, left::CLUSTER_ID};

const PAGE: &str = "docs/migration.md";

/// The API server goes on to call a webhook for a moment after its configuration is deleted.
const PATIENCE: u32 = 30;

fn manifests() -> String {
    include_str!("chart.yaml").replace("$CLUSTER_ID", CLUSTER_ID)
}

/// Creates what the chart made. From now on nobody can write a broker: there is no webhook.
pub async fn install(plane: &ControlPlane) -> Result<()> {
    let file = plane.dir().join("chart.yaml");
    std::fs::write(&file, manifests())?;
    let file = file.to_str().context("the folder of the control plane is not UTF-8")?;
    testkit::stage::install::kubectl(plane, &["create", "-f", file]).await
}

/// Runs the commands of the page up to step 3: they find what there is, save it, stop the original, and keep the id of the
/// cluster.
pub async fn follow_steps_1_to_3(plane: &ControlPlane) -> Result<()> {
    let folder = plane.dir();
    for heading in ["# Migration from v0.3", "## 1. Save the present state"] {
        run(plane, folder, heading).await?;
    }
    let stop = commands(PAGE, "## 2. Stop v0.3");
    ensure!(stop.len() == 2, "step 2 of {PAGE} stops the original, then checks that it is gone");
    plane.shell(folder, &stop[0]).await?;
    let mut attempt = 0;
    while let Err(error) = plane.shell(folder, &stop[1]).await {
        attempt += 1;
        ensure!(attempt < PATIENCE, error);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    run(plane, folder, "## 3. Keep the id of the cluster").await
}

async fn run(plane: &ControlPlane, folder: &Path, heading: &str) -> Result<()> {
    for commands in commands(PAGE, heading) {
        plane.shell(folder, &commands).await?;
    }
    Ok(())
}

/// Everything that the chart made and that is still there, as `kubectl` names it.
async fn still_there(plane: &ControlPlane) -> Vec<String> {
    let mut found = Vec::new();
    for object in serde_saphyr::from_multiple::<Value>(&manifests()).unwrap() {
        let [kind, name] = [&object["kind"], &object["metadata"]["name"]].map(|text| text.as_str().unwrap());
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let get = ["get", kind, name, "-n", namespace, "-o", "name", "--ignore-not-found"];
        let output = plane.kubectl(&get).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    }
    found
}

#[test]
fn nothing_of_the_chart_is_left_and_nothing_else_goes() {
    RUNTIME.block_on(async {
        everything().await;
        let plane = ControlPlane::shared().await.unwrap();
        run(plane, plane.dir(), "## 6. Remove the rest of v0.3").await.unwrap();
        assert_eq!(still_there(plane).await, ["namespace/catalog"], "the page leaves only the namespace");
        // What the operator has stays: with the last line of step 4 the administrator saw the same id.
        let kept = ["get", "configmap", "cluster-info", "-n", "service-catalog", "-o", "jsonpath={.data.id}"];
        assert_eq!(plane.kubectl(&kept).await.unwrap().stdout, CLUSTER_ID.as_bytes());
        let definitions = plane.kubectl(&["get", "crd", "-l", "svcat=true", "-o", "name"]).await.unwrap();
        assert_eq!(definitions.stdout.split(|byte| *byte == b'\n').count(), 9, "eight lines");
    });
}
