//! A control plane with a real node: kubelet, containerd, kube-proxy and kube-scheduler, so that Pods run, are probed,
//! restarted and evicted, and reach Services. `tools/node/run` is the node, `make test-node` builds what it needs.
//!
//! It needs Linux and root. All of it is in namespaces of its own, which the kernel takes back when the node is dropped
//! or the test process is gone: processes, mounts, network interfaces, rules of iptables. A pair of network interfaces
//! leads from this machine into it. [`Node::address`] is the near end: a server of a test that listens there can be
//! reached by Pods, and a test can reach the address of every Pod.
//!
//! ```ignore
//! let node = Node::start().await?;
//! let spec = json!({ "containers": [{ "name": "app", "image": BUSYBOX, "command": ["sleep", "1000"] }] });
//! node.run("default", "app", &spec).await?;
//! assert_eq!(node.exec("default", "app", &["cat", "/etc/hostname"]).await?, "app\n");
//! ```

mod containerd;
mod pods;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, Client};
use tempfile::TempDir;

use crate::{
    control_plane::{
        ControlPlane, Options, access::write_kubeconfig, assets::Assets, process::Process, process::Sweeper,
        timeouts::Timeouts, wait_until,
    },
    repository,
};

/// The image with the programs of busybox. It sleeps if no command is given.
pub const BUSYBOX: &str = "docker.io/library/busybox:1";

/// What is run on the node, besides what comes with containerd.
const PROGRAMS: [&str; 3] = ["kubelet", "kube-proxy", "kube-scheduler"];

/// A node and its control plane. See the [module](self).
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: the node before its API server, the folder after the sweeper, which reads it.
    process: Process,
    pub plane: ControlPlane,
    dir: PathBuf,
    address: Ipv4Addr,
    _sweeper: Sweeper,
    _folder: TempDir,
}

impl Node {
    /// Starts a control plane and a node, and returns when Pods can run there.
    ///
    /// # Errors
    ///
    /// When this machine cannot have a node, or something is missing: the error says why, and what to do.
    pub async fn start() -> Result<Self> {
        check()?;
        let programs = programs()?;
        let timeout = Timeouts::from_environment()?.start;
        let deadline = Instant::now() + timeout;
        let folder = tempfile::Builder::new().prefix("service-catalog-node-").tempdir()?;
        let dir = folder.path().canonicalize()?;
        let sweeper = Sweeper::with(&[&repository().join("tools/node/sweep"), &dir])?;
        let mut process = spawn(&dir, &programs)?;
        let number: u8 = wait_until("its network was there", &mut process, deadline, || async {
            Ok(fs::read_to_string(dir.join("number"))?.trim().parse()?)
        })
        .await?;
        let address = Ipv4Addr::new(198, 18, number, 1);
        let plane = ControlPlane::start(Options { for_node: Some(address), ..Options::default() }).await?;
        let mut node = Self { process, plane, dir, address, _sweeper: sweeper, _folder: folder };
        node.join(deadline).await?;
        Ok(node)
    }

    /// The address of this machine that Pods can reach.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The folder with the logs of its servers.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of the images that `make test-node` has built.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn images() -> Result<PathBuf> {
        let script = repository().join("tools/node/images");
        let output =
            Command::new(script).arg("--print-path").output().context("cannot run tools/node/images")?;
        let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim_end());
        ensure!(folder.join("operator.tar").exists(), "the images are missing; run make test-node");
        Ok(folder)
    }

    /// Lets the servers of the node find the API server, and waits until it has accepted the node.
    async fn join(&mut self, deadline: Instant) -> Result<()> {
        let plane = &self.plane;
        fs::copy(plane.dir().join("pki/client-ca.crt"), self.dir.join("client-ca.crt"))?;
        for (server, user, groups) in [
            ("kubelet", "system:node:node", &["system:nodes"][..]),
            ("kube-proxy", "system:kube-proxy", &[]),
            ("kube-scheduler", "system:kube-scheduler", &[]),
        ] {
            let path = self.dir.join(format!("{server}.kubeconfig"));
            write_kubeconfig(&plane.user(user, groups)?, &path)?;
        }
        fs::write(self.dir.join("go"), "")?;
        let (dir, busybox) = (self.dir.clone(), Self::images()?.join("busybox.tar"));
        wait_until("containerd had the first image", &mut self.process, deadline, || {
            containerd::import(&dir, &busybox)
        })
        .await?;
        let client = self.plane.admin_client()?;
        wait_until("the node was ready", &mut self.process, deadline, || ready(&client)).await
    }
}

/// Whether this machine can have a node.
fn check() -> Result<()> {
    let script = repository().join("tools/node/check");
    let output = Command::new(script).output().context("cannot run tools/node/check; it needs bash")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout).trim_end());
    Ok(())
}

/// The folder with the Kubernetes programs.
fn programs() -> Result<PathBuf> {
    let kubectl = Assets::find()?.kubectl;
    let folder = kubectl.parent().context("kubectl is in no folder")?;
    for program in PROGRAMS {
        let path = folder.join(program);
        ensure!(path.exists(), "{} is missing; run tools/control-plane/build --node", path.display());
    }
    Ok(folder.to_owned())
}

fn spawn(dir: &Path, programs: &Path) -> Result<Process> {
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"].map(str::to_owned);
    let script = repository().join("tools/node/run");
    let paths = [&script, dir, programs].map(|path| path.display().to_string());
    let arguments: Vec<String> = namespaces.into_iter().chain(paths).collect();
    Process::spawn("node", Path::new("unshare"), &arguments, dir)
}

async fn ready(client: &Client) -> Result<()> {
    let node = Api::<NodeObject>::all(client.clone()).get("node").await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let tainted = node.spec.and_then(|spec| spec.taints).is_some_and(|taints| !taints.is_empty());
    let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
    if !is_ready || tainted {
        bail!("its conditions are {conditions:?}");
    }
    Ok(())
}

/// For what a node does with an image or a Pod.
const PATIENCE: Duration = Duration::from_secs(60);
