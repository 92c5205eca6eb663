//! Runs the operator: assembles it, waits until this replica leads, operates, and shuts down.
//!
//! * [`kind`]: one watch for each kind, its cache and its queue. `watch`: the events of a watch.
//!   `controller`: reconciles what the queue has.
//! * [`triggers`]: which objects are reconciled when an object changes.
//! * `snapshot`: the numbers for the metrics.

mod controller;
mod kind;
mod snapshot;
pub mod triggers;
mod watch;

use std::{
    future::{Future, pending},
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
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
use tokio::{
    net::TcpListener,
    sync::watch as signal,
    time::{sleep, timeout},
};

use self::{kind::Kinds, watch::drop_managed_fields};
use crate::{
    annotation_allowlist::AnnotationAllowlist,
    brokers::Brokers,
    caches::Caches,
    clock,
    config::Config,
    crd::{ClusterWide, Namespaced, common::BrokerKey},
    installed_policies::InstalledPolicies,
    kube_api,
    leader::{self, Leadership, election::Election, lease::Timing},
    memory_budget::MemoryBudget,
    metrics::Metrics,
    osb::Limits,
    reconcilers::{
        binding::{self, BindingReconciler},
        context::Context,
        credentials,
        events::lane::EventLane,
        expectations::Expectations,
        instance::InstanceReconciler,
        memory::Memories,
        runner,
        settings::ReconcileSettings,
        writes::{
            digest,
            permits::WritePermits,
            secret::{HELD, LABEL_BINDING},
        },
    },
    server::{self, Readiness},
};

/// How long the work of a leadership that was lost may take to end. It has only to notice it.
const ABORT_LIMIT: Duration = Duration::from_secs(10);

/// The longest delay between two attempts to read the id of the cluster.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Runs the operator until `stop` ends. Then it finishes the requests that it has sent, and starts no others.
/// `api_server` has the addresses of the API server, which namespaced brokers may not have.
///
/// # Errors
/// The settings contradict each other, the port is not available, or a part of the operator has ended.
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
    let caches = signal::Sender::new(Arc::new(caches(config)));
    let metrics = Arc::new(Metrics::new()?);
    let shown = {
        let (caches, metrics) = (caches.subscribe(), Arc::clone(&metrics));
        move || {
            let caches = Arc::clone(&caches.borrow());
            Ok(metrics.render(&snapshot::snapshot(&caches))?)
        }
    };
    let mut probes = tokio::spawn(server::serve(listener, shown_state, shown, stop.clone()));
    let limits = config.limits(api_server);
    let state = Arc::new(state);
    let process = Process { client, limits, config, caches, metrics, state, stop: stop.clone() };
    let mut operation = pin!(process.operate_while_leading(timing));
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
    /// The caches of the present leadership. Each leadership fills its own.
    caches: signal::Sender<Arc<Caches>>,
    metrics: Arc<Metrics>,
    state: Arc<signal::Sender<Readiness>>,
    stop: Stop,
}

impl Process<'_> {
    /// Operates whenever this replica leads, if there is an election. Before it leads it reads and writes only the
    /// lease: a new leader lists all objects, so there is no need to watch them earlier.
    ///
    /// A replica that loses the lease does not end: the kubelet starts a container that ends again and again later and
    /// later, and a cluster with one replica would have no operator for minutes.
    async fn operate_while_leading(self, timing: Option<Timing>) -> anyhow::Result<()> {
        let Some(timing) = timing else {
            return self.operate(Leadership::without_election(), pending::<()>()).await.map(drop);
        };
        let mut election = Election::new(self.config.election_namespace(), timing).await?;
        self.metrics.set_leader(leader::LEASE_NAME, false);
        loop {
            let state = Arc::clone(&self.state);
            let stand_by = move || {
                state.send_replace(Readiness::StandingBy);
            };
            let campaign = election.campaign(self.stop.clone(), stand_by).await?;
            let Some((leadership, mut term)) = campaign else { return Ok(()) };
            self.metrics.set_leader(leader::LEASE_NAME, true);
            self.state.send_replace(Readiness::Starting);
            let ended = self.operate(leadership, term.lost()).await?;
            self.metrics.set_leader(leader::LEASE_NAME, false);
            let Some(lost) = ended else {
                // All requests have ended.
                term.release().await;
                return Ok(());
            };
            self.state.send_replace(Readiness::Starting);
            tracing::warn!("{}", lost?);
            election.again(term).await?;
        }
    }

    /// Fills the caches, then runs the controllers until `stop` ends and their requests have ended, or until the
    /// leadership is lost. Returns why it was lost.
    async fn operate<T>(
        &self,
        leadership: Leadership,
        lost: impl Future<Output = T>,
    ) -> anyhow::Result<Option<T>> {
        let mut lost = pin!(lost);
        let policies = InstalledPolicies::default();
        let cluster_id = tokio::select! {
            biased;
            lost = &mut lost => return Ok(Some(lost)),
            () = self.stop.clone() => return Ok(None),
            (cluster_id, ()) = future::join(self.cluster_id(), policies.check(&self.client, &self.metrics)) => cluster_id,
        };
        let (context, outdated) = self.context(leadership, cluster_id, policies);
        let mut kinds = assemble(&context, &self.stop);
        kinds.add_outdated(outdated);
        let (stop, stopping) = (self.stop.clone(), Arc::downgrade(&context));
        tokio::spawn(stop.map(move |()| {
            if let Some(context) = stopping.upgrade() {
                context.stopping.store(true, Ordering::Relaxed);
            }
        }));
        let caches = Arc::clone(&context.caches);
        let on_filled = || {
            let (instances, bindings) = (caches.instances.len(), caches.bindings.len());
            tracing::info!(instances, bindings, "the caches are filled");
            self.state.send_replace(self.working(&context));
        };
        let lost = tokio::select! {
            biased;
            lost = lost => lost,
            ran = kinds.run(on_filled) => return ran.map(|()| None),
            // Events that still wait when the operator stops are lost.
            never = context.events.run(&context.client, &context.writes, &context.metrics) => never,
            never = self.check_policies(&context) => never,
        };
        // The tasks of the watches and controllers were told to end. Each of them holds the context until it has ended.
        let work = Arc::downgrade(&context);
        drop(context);
        let ended = async {
            while work.strong_count() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(ABORT_LIMIT, ended)
            .await
            .context("this replica no longer leads, and its work does not end")?;
        Ok(Some(lost))
    }

    /// The id of the cluster. Tries until the API server answers.
    async fn cluster_id(&self) -> String {
        let Self { client, config, .. } = self;
        let (namespace, name) = (&config.cluster_id_configmap_namespace, &config.cluster_id_configmap_name);
        let mut delay = Duration::from_secs(1);
        loop {
            match kube_api::cluster_id::ensure(client.clone(), namespace, name).await {
                Ok(id) => return id,
                Err(error) => tracing::error!(%error, ?delay, "the operator cannot begin; it tries again"),
            }
            sleep(delay).await;
            delay = LONGEST_DELAY.min(delay * 2);
        }
    }

    /// Checks the admission policies again and again, without end.
    async fn check_policies(&self, context: &Context) -> ! {
        // The parser accepts only positive durations, which a `std::time::Duration` can hold.
        let interval =
            Duration::try_from(self.config.admission_policy_check_interval).unwrap_or(Duration::MAX);
        loop {
            sleep(interval).await;
            context.policies.check(&self.client, &self.metrics).await;
            self.state.send_if_modified(|state| {
                let working = self.working(context);
                let changes =
                    matches!(state, Readiness::Working | Readiness::WithoutPolicies) && *state != working;
                if changes {
                    *state = working;
                }
                changes
            });
        }
    }

    fn working(&self, context: &Context) -> Readiness {
        let is_complete = !self.config.require_admission_policies || context.policies.are_complete();
        if is_complete { Readiness::Working } else { Readiness::WithoutPolicies }
    }

    /// The context of all controllers, and the stream of brokers that report a changed catalog.
    fn context(
        &self,
        leadership: Leadership,
        cluster_id: String,
        policies: InstalledPolicies,
    ) -> (Arc<Context>, UnboundedReceiver<BrokerKey>) {
        let Self { client, config, .. } = self;
        let caches = Arc::new(caches(config));
        self.caches.send_replace(Arc::clone(&caches));
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
            caches,
            metrics: Arc::clone(&self.metrics),
            cluster_id,
            policies,
            annotation_allowlist: AnnotationAllowlist::new(&config.context_annotations),
            settings: ReconcileSettings { begun: clock::now(), ..config.reconcile_settings() },
            expectations: Expectations::default(),
            operations: Memories::default(),
            catalogs: Memories::default(),
            writes: WritePermits::new(config.write_concurrency),
            stopping: AtomicBool::new(false),
            leadership,
            client: client.clone(),
        };
        (Arc::new(context), outdated)
    }
}

/// Empty caches for what the operator watches.
fn caches(config: &Config) -> Caches {
    Caches::new(!config.no_secret_watch).with_pods(config.watch_pods)
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
        let events = watch::events(Api::all(client.clone()), labelled);
        let events = events.modify(digest::reduce_managed_fields);
        kinds.watch(secrets, events, triggers::secret);
    }
    if let Some(secrets) = &caches.broker_secrets {
        let held = watcher::Config::default().labels(HELD);
        let events = watch::events(Api::all(client.clone()), held).modify(drop_managed_fields);
        kinds.add_watched(secrets, events, credentials::reconcile, triggers::broker_secret);
    }
    if let Some(pods) = &caches.pods {
        let running = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let events = watch::events(Api::all(client.clone()), running).modify(binding::pods::reduce);
        kinds.watch(pods, events, triggers::pod);
    }
    let events = watch::events(Api::all(client.clone()), watcher::Config::default());
    let events = events.modify(drop_managed_fields);
    kinds.watch(&caches.namespaces, events, triggers::namespace);
    kinds
}
