//! A node on which the product is installed from the files that users have, with the image that they have.

use std::{
    fs,
    ops::Deref,
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use testkit::{
    broker::Broker,
    node::Node,
    repository,
    stage::{Stage, case::Case, operator::Operator, wait::PATIENCE},
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Namespace, and name of all that is in it.
pub const OPERATOR: &str = "service-catalog";
const POLL: Duration = Duration::from_millis(100);
const LEASE: &str = "service-catalog-controller-manager";

/// A node with the operator.
pub struct Site {
    pub node: &'static Node,
    stage: &'static Stage,
}

static TURN: Mutex<()> = Mutex::const_new(());

/// A site, and the right to disturb it: a test is alone with the one that leads.
pub struct Turn {
    site: &'static Site,
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    /// At the site that the tests share.
    pub async fn shared() -> Self {
        static SITE: OnceCell<Site> = OnceCell::const_new();
        let turn = TURN.lock().await;
        let site = SITE.get_or_init(|| async {
            let site = Site::start().await;
            site.install(repository(), "operator.tar").await;
            site
        });
        let site = site.await;
        // The test before may have failed.
        site.kubectl(&["uncordon", "node"]).await;
        site.rolled_out().await;
        Self { site, _turn: turn }
    }

    /// At a site of its own, without the operator.
    pub async fn alone() -> Self {
        let turn = TURN.lock().await;
        Self { site: Box::leak(Box::new(Site::start().await)), _turn: turn }
    }
}

impl Deref for Turn {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site
    }
}

impl Drop for Turn {
    /// Tests say what they have seen of objects. Why, the Pods may know.
    #[allow(clippy::print_stderr, reason = "it belongs to the message of the failed test")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let logs = [
            "logs",
            "-n",
            OPERATOR,
            "-l",
            "app.kubernetes.io/name=service-catalog",
            "--prefix",
            "--tail=100",
        ];
        for arguments in [&["get", "pods", "-A", "-o", "wide"][..], &logs, &["get", "events", "-n", OPERATOR]]
        {
            if let Ok(output) = self.node.plane.kubectl_command().args(arguments).output() {
                eprintln!("{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
            }
        }
    }
}

impl Site {
    /// A node without the operator. It lives as long as the test process.
    async fn start() -> Self {
        let node: &'static Node = Box::leak(Box::new(Node::start().await.unwrap()));
        // It is in Pods, and no process of this test.
        let operator = Operator::idle("none", &node.plane, &[]);
        Self { node, stage: Box::leak(Box::new(Stage { plane: &node.plane, operator })) }
    }

    /// Applies `config/default` of these sources, with one of the images that `tools/node/images` builds, and waits until
    /// both replicas are ready.
    pub async fn install(&self, sources: &Path, image: &str) {
        let path = sources.join("config/default");
        let mut manifests = self.kubectl(&["kustomize", path.to_str().unwrap()]).await;
        let shipped =
            manifests.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap().to_owned();
        // Two versions of the same number have to differ, or there would be nothing to roll out.
        let tag = format!("{shipped}-{}", image.trim_end_matches(".tar"));
        let built = self.node.import(&Node::images().unwrap().join(image)).await.unwrap().remove(0);
        self.node.tag(&built, &format!("docker.io/library/{tag}")).await.unwrap();
        manifests = manifests.replace(&format!("image: {shipped}"), &format!("image: {tag}"));
        let file = self.node.plane.dir().join("install.yaml");
        fs::write(&file, manifests).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]).await;
        self.rolled_out().await;
    }

    /// Waits until the replicas that the Deployment asks for are ready, and no others are there.
    pub async fn rolled_out(&self) {
        let deployments: Api<Deployment> = Api::namespaced(self.client(), OPERATOR);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let deployment = deployments.get(OPERATOR).await.unwrap();
            let status = deployment.status.unwrap_or_default();
            let is_new = status.observed_generation == deployment.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            if is_new && counts == [Some(2); 3] && self.pods().await.len() == 2 {
                return;
            }
            assert!(Instant::now() < deadline, "{status:?}\n{}", self.node.report().await);
            tokio::time::sleep(POLL).await;
        }
    }

    /// A namespace with a `ClusterServiceBroker` that is ready. The broker runs in the test.
    pub async fn case(&self, name: &str) -> Case {
        let case = Case::new(self.stage, name, true).await;
        let case = case.with_broker(Broker::start_at(self.node.address()).await);
        case.register(serde_json::json!({})).await;
        case
    }

    /// The Pods of the operator that are not on their way out.
    pub async fn pods(&self) -> Vec<Pod> {
        let selector = ListParams::default().labels("app.kubernetes.io/name=service-catalog");
        let pods: Api<Pod> = Api::namespaced(self.client(), OPERATOR);
        pods.list(&selector).await.unwrap().items
    }

    /// The Pod that leads.
    pub async fn leader(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.holder().await;
            if self.pods().await.iter().any(|pod| pod.name_any() == leader) {
                return leader;
            }
            assert!(Instant::now() < deadline, "{leader:?} leads\n{}", self.node.report().await);
            tokio::time::sleep(POLL).await;
        }
    }

    /// The Pod that stands by.
    pub async fn standby(&self) -> String {
        let leader = self.leader().await;
        self.pods().await.iter().map(Pod::name_any).find(|name| *name != leader).unwrap()
    }

    /// Waits until another Pod leads, and says which.
    pub async fn succeeded(&self, before: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            if leader != before {
                return leader;
            }
            assert!(Instant::now() < deadline, "{before} still leads\n{}", self.node.report().await);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a Pod is asked to stop.
    pub async fn stopping(&self, pod: &str) {
        self.node
            .wait(OPERATOR, &format!("pod/{pod}"), "jsonpath={.metadata.deletionTimestamp}")
            .await
            .unwrap();
    }

    /// How often the container of each Pod was started again.
    pub async fn restarts(&self) -> i32 {
        let statuses = self.pods().await.into_iter().filter_map(|pod| pod.status?.container_statuses);
        statuses.flatten().map(|status| status.restart_count).sum()
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.node.kubectl(arguments).await.unwrap()
    }

    fn client(&self) -> Client {
        self.node.plane.admin_client().unwrap()
    }

    async fn holder(&self) -> String {
        let lease = Api::<Lease>::namespaced(self.client(), OPERATOR).get(LEASE).await.unwrap();
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        // After the name of the host comes a random part.
        holder.split('_').next().unwrap_or_default().to_owned()
    }
}
