//! What the bursts are measured on: a control plane with the product installed, a broker, and objects at rest.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use testkit::{
    control_plane::{ControlPlane, Options, access::write_kubeconfig},
    stage::{
        WITH_POLICIES,
        install::{install, kubectl},
        objects::{BINDING, CLUSTER_BROKER, CLUSTER_PLAN, Hand, INSTANCE, Kind, NAMESPACE, SECRET, is_ready},
        operator::ACCOUNT,
    },
};
use uuid::Uuid;

use crate::{
    Size,
    broker::{Broker, PLANS_OF_OFFERING},
    burst::{self, AT_ONCE},
    process::Process,
    sample::{self, Identity, Sample, binding_name, instance_name},
};

/// The namespace of the objects at rest.
const AT_REST: &str = "bench-standing";

/// The broker object.
const BROKER: &str = "bench";

/// For everything that the operator or the API server has to do before a measurement.
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(200);

pub struct Stand {
    plane: ControlPlane,
    pub client: Client,
    broker: Broker,
    out: PathBuf,
    size: Size,
    samples: Option<Samples>,
    /// The memory of the operator in a cluster without objects, in MiB.
    pub empty_mib: f64,
}

struct Samples {
    instance: Sample,
    binding: Sample,
    secret: Sample,
}

impl Stand {
    /// Starts everything, and lets the operator make one instance and one binding to be copied.
    pub async fn start(out: PathBuf, plans: usize) -> Result<Self> {
        eprintln!("starting the control plane");
        let plane = ControlPlane::start(Options::default()).await?;
        install(&plane, WITH_POLICIES).await?;
        let client = plane.admin_client()?;
        for namespace in [sample::NAMESPACE, burst::NAMESPACE, AT_REST] {
            let hand = Hand { client: client.clone(), namespace: namespace.to_owned() };
            hand.make(NAMESPACE, namespace, json!({})).await?;
        }
        let size = Size { objects: 0, plans };
        let broker = Broker::start()?;
        let mut stand = Self { plane, client, broker, out, size, samples: None, empty_mib: 0.0 };
        let account = stand.plane.service_account(ACCOUNT, ACCOUNT).await?;
        write_kubeconfig(&account, &stand.kubeconfig())?;
        let operator = stand.start_operator().await?;
        stand.empty_mib = operator.memory()?.now;
        stand.samples = Some(stand.make_samples().await?);
        operator.stop().await?;
        Ok(stand)
    }

    async fn make_samples(&self) -> Result<Samples> {
        let hand = self.hand(sample::NAMESPACE);
        self.broker.offer(self.size.plans);
        hand.create(CLUSTER_BROKER, BROKER, json!({ "url": self.broker.url() })).await?;
        self.ready(&hand, CLUSTER_BROKER, BROKER).await?;
        let (name, access) = (instance_name(sample::NUMBER), binding_name(sample::NUMBER));
        hand.create(INSTANCE, &name, burst::order(sample::NUMBER, self.offerings())).await?;
        let instance = self.ready(&hand, INSTANCE, &name).await?;
        hand.create(BINDING, &access, json!({ "instanceRef": { "name": name } })).await?;
        let binding = self.ready(&hand, BINDING, &access).await?;
        let mut secret = hand.get(SECRET, &access).await?.context("no Secret")?;
        // Its Sample replaces the uid of the binding.
        secret["metadata"]["uid"] = binding["metadata"]["uid"].clone();
        let instance = Sample::of(instance, 0)?;
        instance.save(&self.sample_file())?;
        Ok(Samples { instance, binding: Sample::of(binding, 0)?, secret: Sample::of(secret, 0)? })
    }

    /// Starts the operator and waits until it has read everything and has nothing to do.
    pub async fn start_operator(&self) -> Result<Process> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let listen = format!("--listen={address}");
        let arguments = ["run", "--cluster-id-configmap-namespace=service-catalog", &listen];
        let (program, log) =
            (Path::new(env!("CARGO_BIN_EXE_service-catalog")), self.out.join("operator.log"));
        let operator = Process::start(program, &arguments, &self.kubeconfig(), &log)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        until("the operator to be ready", async || {
            operator.cpu()?;
            let answer = http.get(format!("http://{address}/readyz")).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await?;
        operator.rest().await?;
        Ok(operator)
    }

    /// Starts the null writer and waits until it watches.
    pub async fn start_null_writer(&self) -> Result<Process> {
        let (program, sample) = (std::env::current_exe()?, self.sample_file());
        let sample = sample.to_str().context("the path of the folder is not UTF-8")?;
        let log = self.out.join("null-writer.log");
        let writer = Process::start(&program, &["null-writer", sample], &self.kubeconfig(), &log)?;
        writer.rest().await?;
        Ok(writer)
    }

    /// Adds plans and objects at rest until there are so many.
    pub async fn grow_to(&mut self, size: Size) -> Result<()> {
        eprintln!("growing to {} objects and {} plans", size.objects, size.plans);
        if size.plans != self.size.plans {
            self.offer(size.plans).await?;
        }
        self.size.plans = size.plans;
        if size.objects > self.size.objects {
            self.preload(self.size.objects, size.objects).await?;
        }
        self.size = size;
        Ok(())
    }

    /// Lets the operator read another catalog.
    async fn offer(&self, plans: usize) -> Result<()> {
        self.broker.offer(plans);
        let operator = self.start_operator().await?;
        self.hand(AT_REST)
            .edit(CLUSTER_BROKER, BROKER, json!({ "spec": { "relistRequests": plans } }))
            .await?;
        let api = CLUSTER_PLAN.api(&self.client, "");
        until("all plans", async || {
            let first = api.list_metadata(&ListParams::default().limit(1)).await?;
            let others = first.metadata.remaining_item_count.unwrap_or_default();
            Ok((first.items.len() + usize::try_from(others)? == plans).then_some(()))
        })
        .await?;
        operator.rest().await?;
        operator.stop().await
    }

    /// Creates copies of the samples. While they are created, the API server has no policies and no status subresource:
    /// so one request creates an object with its status.
    async fn preload(&self, from: usize, to: usize) -> Result<()> {
        let policies = testkit::repository().join("config/admission");
        kubectl(&self.plane, &["delete", "-k", policies.to_str().context("not UTF-8")?]).await?;
        for kind in [INSTANCE, BINDING] {
            let crd = format!("crd/{}.servicecatalog.k8s.io", kind.plural);
            let without_status = r#"[{"op":"remove","path":"/spec/versions/0/subresources"}]"#;
            kubectl(&self.plane, &["patch", &crd, "--type=json", "-p", without_status]).await?;
        }
        self.accepts_status(from, true).await?;
        stream::iter(from..to)
            .map(|number| self.preload_one(number))
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |()| Ok(()))
            .await?;
        install(&self.plane, WITH_POLICIES).await?;
        self.accepts_status(to, false).await
    }

    async fn preload_one(&self, number: usize) -> Result<()> {
        let samples = self.samples.as_ref().context("no samples")?;
        let hand = self.hand(AT_REST);
        hand.restore(INSTANCE, &samples.instance.copy(&self.at_rest(number))?).await?;
        let identity = self.at_rest(number);
        let binding = hand.restore(BINDING, &samples.binding.copy(&identity)?).await?;
        let mut secret = samples.secret.copy(&identity)?;
        secret["metadata"]["ownerReferences"][0]["uid"] = binding["metadata"]["uid"].clone();
        hand.restore(SECRET, &secret).await?;
        Ok(())
    }

    /// Waits until a create keeps the status, or until it drops it.
    async fn accepts_status(&self, number: usize, accepts: bool) -> Result<()> {
        let samples = self.samples.as_ref().context("no samples")?;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        for (kind, sample) in [(INSTANCE, &samples.instance), (BINDING, &samples.binding)] {
            let object = serde_json::from_value(sample.copy(&self.at_rest(number))?)?;
            let api = kind.api(&self.client, AT_REST);
            until("the definitions to be in force", async || {
                let created = api.create(&dry, &object).await;
                let is_kept = |object: &Value| object["status"]["externalProperties"].is_object();
                let kept = created.is_ok_and(|created| is_kept(&created.data));
                Ok((kept == accepts).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    fn at_rest(&self, number: usize) -> Identity {
        let uid = Uuid::new_v4().to_string();
        Identity { namespace: AT_REST, number, uid, offering: number % self.offerings() }
    }

    /// How many offerings the catalog has.
    pub fn offerings(&self) -> usize {
        self.size.plans.div_ceil(PLANS_OF_OFFERING)
    }

    async fn ready(&self, hand: &Hand, kind: Kind, name: &str) -> Result<Value> {
        until(name, async || Ok(hand.get(kind, name).await?.filter(is_ready))).await
    }

    fn hand(&self, namespace: &str) -> Hand {
        Hand { client: self.client.clone(), namespace: namespace.to_owned() }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.plane.dir().join("operator.kubeconfig")
    }

    fn sample_file(&self) -> PathBuf {
        self.plane.dir().join("sample.json")
    }
}

/// Asks again and again until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("gave up waiting for {what} after {PATIENCE:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}
