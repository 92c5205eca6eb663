//! The images of a node, by `ctr`.

use std::{path::Path, process::Stdio, time::Instant};

use anyhow::{Result, ensure};

use super::{Node, PATIENCE};

impl Node {
    /// Takes over the images of an archive, and says their names.
    ///
    /// # Errors
    ///
    /// What `ctr` says.
    pub async fn import(&self, archive: &Path) -> Result<Vec<String>> {
        import(&self.dir, archive).await
    }

    /// Gives an image one more name, and takes the name away from another image. Names are whole:
    /// `docker.io/library/name:tag`.
    ///
    /// # Errors
    ///
    /// What `ctr` says.
    pub async fn tag(&self, image: &str, name: &str) -> Result<()> {
        ctr(&self.dir, &["images", "tag", "--force", image, name]).await?;
        known(&self.dir, name).await
    }
}

pub(super) async fn import(dir: &Path, archive: &Path) -> Result<Vec<String>> {
    let archive = archive.display().to_string();
    let said = ctr(dir, &["images", "import", "--snapshotter", "native", &archive]).await?;
    let names = said.lines().filter_map(|line| line.strip_prefix("unpacking ")?.split(' ').next());
    let names: Vec<String> = names.map(str::to_owned).collect();
    for name in &names {
        known(dir, name).await?;
    }
    Ok(names)
}

/// Waits until the part of containerd that the kubelet asks knows an image. Until then it would want to fetch it.
async fn known(dir: &Path, name: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let is_known = |line: &str| line.starts_with(&format!("{name} ")) && line.contains("cri-containerd");
    while !ctr(dir, &["images", "list"]).await?.lines().any(is_known) {
        ensure!(Instant::now() < deadline, "containerd does not offer {name} to the kubelet");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn ctr(dir: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new("ctr");
    command.arg("--address").arg(dir.join("root/run/containerd/containerd.sock"));
    command.args(["--namespace", "k8s.io"]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ctr {} failed: {}", arguments.join(" "), said.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
