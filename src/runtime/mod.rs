//! Runs the operator: assembles it, waits until this replica leads, operates, and shuts down.
//!
//! * [`kind`]: one watch for each kind, its cache, its queue and its controller. `watch`: the events of a
//!   watch.
//! * [`triggers`]: which objects are reconciled when an object changes.
//! * `snapshot`: the numbers for the metrics.

mod kind;
mod snapshot;
pub mod triggers;
mod watch;

use std::{
    future::Future,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use futures::{
    FutureExt as _,
    channel::mpsc::UnboundedReceiver,
    future::{self, BoxFuture},
};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{net::TcpListener, sync::watch as signal};

use self::kind::Kinds;
use crate::{
    annotation_allowlist::AnnotationAllowlist,
    brokers::Brokers,
    caches::Caches,
    config::Config,
    crd::{ClusterWide, Namespaced, common::BrokerKey},
    kube_api,
    leader::{self, Candidate, Leadership, lease::Timing, store::ApiLease},
    memory_budget::MemoryBudget,
    metrics::Metrics,
    osb::Limits,
    reconcilers::{
        binding::BindingReconciler,
        context::Context,
        credentials,
        events::lane::EventLane,
        expectations::Expectations,
        instance::InstanceReconciler,
        memory::Memories,
        runner,
        writes::{
            permits::WritePermits,
            secret::{HELD, LABEL_BINDING},
        },
    },
    server::{self, Readiness},
};

/// Runs the operator until `stop` ends. Then it finishes the requests that it has sent, and starts no others.
/// `api_server` has the addresses of the API server, which namespaced brokers may not have.
///
/// # Errors
/// The settings contradict each other, the cluster id cannot be read or written, the port is not available,
/// this replica has lost the lease, or a part of the operator has ended.
pub async fn run(
    client: Client,
    api_server: Vec<IpAddr>,
    config: &Config,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let timing = config.election.timing()?;
    let stop = stop.boxed().shared();
    let (state, shown_state) = signal::channel(Readiness::Starting);
    let (caches, metrics) = (Arc::new(Caches::new(!config.no_secret_watch)), Arc::new(Metrics::new()?));
    let shown = {
        let (caches, metrics) = (Arc::clone(&caches), Arc::clone(&metrics));
        move || Ok(metrics.render(&snapshot::snapshot(&caches))?)
    };
    let mut probes = tokio::spawn(server::serve(listener, shown_state, shown, stop.clone()));
    let limits = config.limits(api_server);
    let process = Process { client, limits, config, caches, metrics, state, stop: stop.clone() };
    let mut operation = std::pin::pin!(process.operate_while_leading(timing));
    tokio::select! {
        operated = &mut operation => operated?,
        served = &mut probes => {
            served.context("the probes ended in a panic")?;
            // These tasks end as soon as `stop` ends, but the operator still has requests to finish.
            operation.await?;
        }
    }
    anyhow::ensure!(stop.peek().is_some(), "the controllers ended without a signal to stop");
    Ok(())
}

type Stop = future::Shared<BoxFuture<'static, ()>>;

/// The parts of which a process has exactly one.
struct Process<'a> {
    client: Client,
    limits: Limits,
    config: &'a Config,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    state: signal::Sender<Readiness>,
    stop: Stop,
}

impl Process<'_> {
    /// Operates as long as this replica leads, if there is an election. Before it leads it reads and writes
    /// only the lease: a new leader lists all objects, so there is no need to watch them earlier.
    async fn operate_while_leading(self, timing: Option<Timing>) -> anyhow::Result<()> {
        let Some(timing) = timing else { return self.operate(Leadership::without_election()).await };
        let lease = ApiLease::new(self.client.clone(), self.config.election_namespace(), leader::LEASE_NAME);
        let mut candidate = Candidate::new(lease, leader::identity(), timing);
        self.metrics.set_leader(leader::LEASE_NAME, false);
        let stand_by = || {
            self.state.send_replace(Readiness::StandingBy);
        };
        let Some(leadership) = candidate.campaign(self.stop.clone(), stand_by).await else { return Ok(()) };
        self.metrics.set_leader(leader::LEASE_NAME, true);
        self.state.send_replace(Readiness::Starting);
        tokio::select! {
            biased;
            lost = candidate.renew_until_lost() => return Err(lost.into()),
            operated = self.operate(leadership) => operated?,
        }
        // All requests have ended.
        candidate.release().await;
        self.metrics.set_leader(leader::LEASE_NAME, false);
        Ok(())
    }

    /// Fills the caches, then runs the controllers until `stop` ends and their requests have ended.
    async fn operate(&self, leadership: Leadership) -> anyhow::Result<()> {
        let (context, outdated) = self.context(leadership).await?;
        let mut kinds = assemble(&context, &self.stop);
        kinds.add_outdated(outdated);
        let (stop, stopping) = (self.stop.clone(), Arc::clone(&context));
        tokio::spawn(stop.map(move |()| stopping.stopping.store(true, Ordering::Relaxed)));
        let on_filled = || {
            let (instances, bindings) = (self.caches.instances.len(), self.caches.bindings.len());
            tracing::info!(instances, bindings, "the caches are filled");
            self.state.send_replace(Readiness::Working);
        };
        tokio::select! {
            ended = kinds.run(on_filled) => ended,
            // Events that still wait when the operator stops are lost.
            never = context.events.run(&context) => never,
        }
    }

    /// The context of all controllers, and the stream of brokers that report a changed catalog.
    async fn context(
        &self,
        leadership: Leadership,
    ) -> anyhow::Result<(Arc<Context>, UnboundedReceiver<BrokerKey>)> {
        let Self { client, config, .. } = self;
        let namespace = &config.cluster_id_configmap_namespace;
        let cluster_id =
            kube_api::cluster_id::ensure(client.clone(), namespace, &config.cluster_id_configmap_name)
                .await?;
        let metrics = Arc::clone(&self.metrics);
        let memory = Arc::new(MemoryBudget::of(config.memory_budget()));
        let (brokers, outdated) = Brokers::new(
            client.clone(),
            config.client_settings(),
            self.limits.clone(),
            config.broker_concurrency,
            Arc::clone(&memory),
            metrics,
        );
        let context = Context {
            brokers,
            memory,
            events: EventLane::default(),
            caches: Arc::clone(&self.caches),
            metrics: Arc::clone(&self.metrics),
            cluster_id,
            annotation_allowlist: AnnotationAllowlist::new(&config.context_annotations),
            settings: config.reconcile_settings(),
            expectations: Expectations::default(),
            operations: Memories::default(),
            catalogs: Memories::default(),
            writes: WritePermits::new(config.write_concurrency),
            stopping: AtomicBool::new(false),
            leadership,
            client: client.clone(),
        };
        Ok((Arc::new(context), outdated))
    }
}

/// Starts the watches of all kinds, which fill their caches.
fn assemble(context: &Arc<Context>, stop: &Stop) -> Kinds {
    let (client, caches) = (&context.client, &context.caches);
    let mut kinds = Kinds::new(context, stop);
    kinds.add_scope::<ClusterWide>();
    kinds.add_scope::<Namespaced>();
    kinds.add(&caches.instances, runner::reconcile::<InstanceReconciler>, triggers::instance);
    kinds.add(&caches.bindings, runner::reconcile::<BindingReconciler>, triggers::binding);
    if let Some(secrets) = &caches.secrets {
        let labelled = watcher::Config::default().labels(LABEL_BINDING);
        let events = watcher(Api::all(client.clone()), labelled).default_backoff();
        kinds.watch(secrets, events, triggers::secret);
    }
    if let Some(secrets) = &caches.broker_secrets {
        let held = watcher::Config::default().labels(HELD);
        let events = watcher(Api::all(client.clone()), held).default_backoff();
        kinds.add_watched(secrets, events, credentials::reconcile, triggers::broker_secret);
    }
    let events = watcher(Api::all(client.clone()), watcher::Config::default()).default_backoff();
    kinds.watch(&caches.namespaces, events, triggers::namespace);
    kinds
}
