//! Installs the product into a control plane, as a user does, and waits until it is in force.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};

use super::objects::{self, Kind};
use crate::{control_plane::ControlPlane, repository};

/// For definitions to be served and policies to take effect.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// `kubectl apply -k` of a folder of this repository.
///
/// # Errors
/// What kubectl says, or what did not come into force in time.
pub async fn install(plane: &ControlPlane, folder: &str) -> Result<()> {
    let path = repository().join(folder);
    let path = path.to_str().context("the path of the repository is not UTF-8")?;
    kubectl(plane, &["apply", "-k", path]).await?;
    let established = ["wait", "--for=condition=Established", "crd", "-l", "svcat=true", "--timeout=60s"];
    kubectl(plane, &established).await?;
    if folder == super::WITH_POLICIES { policies_in_force(plane).await } else { Ok(()) }
}

pub async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> Result<()> {
    let output = plane.kubectl(arguments).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {} failed: {}", arguments.join(" "), said.trim_end());
    Ok(())
}

/// Waits until a dry run shows what every mutating policy adds: they take effect one by one.
async fn policies_in_force(plane: &ControlPlane) -> Result<()> {
    let client = plane.admin_client()?;
    let deadline = Instant::now() + PATIENCE;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let asks: [(Kind, Value, &[&str]); 4] = [
        (objects::INSTANCE, json!({"clusterServiceClassExternalName": "x"}), &["/spec/userInfo"]),
        (objects::BINDING, json!({"instanceRef": {"name": "x"}}), &["/spec/userInfo", "/spec/secretName"]),
        (objects::BROKER, json!({"url": "http://x"}), &[]),
        (objects::CLUSTER_BROKER, json!({"url": "http://x"}), &[]),
    ];
    for (kind, spec, added) in asks {
        loop {
            let api: Api<DynamicObject> = kind.api(&client, "default");
            let made = api.create(&dry, &kind.object("probe", &spec)).await;
            let complete = made.as_ref().is_ok_and(|made| {
                let made = serde_json::to_value(made).unwrap_or_default();
                let mut wanted = added.iter().chain(&["/metadata/finalizers/0"]);
                wanted.all(|field| made.pointer(field).is_some())
            });
            if complete {
                break;
            }
            if Instant::now() >= deadline {
                bail!("the policies for {} are not in force; a dry run gave {made:?}", kind.name);
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}
