//! Puts it all together: one watch per kind, its store and its fan-out; eight controllers; who leads; shutdown.
//!
//! A watch fills its store *before* its events go on to the controllers that depend on the kind, so none of them decides
//! on the past. Events of an initial or repeated list go on when the list is complete, because only then the store has
//! them. Nothing here depends on the type of an event, and controllers look at every object now and then anyway.

mod fanout;
mod watch;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use futures::{
    FutureExt as _, StreamExt as _,
    future::{self, BoxFuture},
    stream,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        Controller, WatchStreamExt as _, controller,
        events::{Recorder, Reporter},
        reflector::{Store, store, store::Writer},
        watcher,
    },
};
use tokio::{net::TcpListener, sync::watch as signal, task::JoinSet};

use self::{
    fanout::{Fanout, Inbox, Inboxes, Routed, ScopeInboxes},
    watch::{Guarded, Touched, drive, guarded},
};
use crate::{
    annotations::PassedOn,
    brokers::{BrokerKey, Brokers},
    cluster_id,
    config::Config,
    context::{Context, Memories},
    crd::{ClusterWide, Namespaced, ServiceBinding, ServiceInstance, scope::Object},
    leader::{self, Candidate, Term, lease::Timing, store::ApiLease},
    metrics::Metrics,
    reconcilers::{
        binding::BindingMachine,
        broker::BrokerMachine,
        entry::{ClassMachine, PlanMachine},
        instance::InstanceMachine,
        machine::Machine,
        secret::LABEL_BINDING,
        shell,
        write::MANAGER,
    },
    server::{self, State},
    stores::{ScopeStores, Stores},
};

/// Runs the operator until `stop` says so: then requests that are under way are finished, and nothing new is begun.
///
/// # Errors
/// The settings contradict each other, the cluster id cannot be kept, the port is lost, another replica leads from now on,
/// or a part of the operator ends by itself.
pub async fn run(
    client: Client,
    config: &Config,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let timing = config.election.timing()?;
    let stop = stop.boxed().shared();
    let (state, shown_state) = signal::channel(State::Starting);
    let (stores, writers) = caches(!config.no_secret_watch);
    let (stores, metrics) = (Arc::new(stores), Arc::new(Metrics::new()?));
    let shown = {
        let (stores, metrics) = (Arc::clone(&stores), Arc::clone(&metrics));
        move || Ok(metrics.render(&stores)?)
    };
    let mut probes = tokio::spawn(server::serve(listener, shown_state, shown, stop.clone()));
    let process = Process { client, config, metrics, state, stop: stop.clone() };
    let mut operation = std::pin::pin!(process.lead(timing, (stores, writers)));
    tokio::select! {
        operated = &mut operation => operated?,
        served = &mut probes => {
            served.context("the probes ended in a panic")??;
            // They end at once when told to stop; what is under way takes longer.
            operation.await?;
        }
    }
    anyhow::ensure!(stop.peek().is_some(), "the controllers ended without being told to");
    Ok(())
}

type Stop = future::Shared<BoxFuture<'static, ()>>;

/// What goes on for as long as the process does.
struct Process<'a> {
    client: Client,
    config: &'a Config,
    metrics: Arc<Metrics>,
    state: signal::Sender<State>,
    stop: Stop,
}

impl Process<'_> {
    /// Operates for as long as this replica is the one that leads, where one is elected. Before that it reads and writes
    /// nothing but the lease: it has nothing to watch for, and whoever takes over looks at everything anew anyway.
    async fn lead(self, timing: Option<Timing>, caches: (Arc<Stores>, Writers)) -> anyhow::Result<()> {
        let Some(timing) = timing else { return self.operate(caches, Term::endless()).await };
        let lease = ApiLease::new(self.client.clone(), self.config.election_namespace(), leader::NAME);
        let mut candidate = Candidate::new(lease, leader::identity(), timing);
        self.metrics.leads(false);
        let stand_by = || {
            self.state.send_replace(State::StandingBy);
        };
        let Some(term) = candidate.campaign(self.stop.clone(), stand_by).await else { return Ok(()) };
        self.metrics.leads(true);
        self.state.send_replace(State::Starting);
        tokio::select! {
            biased;
            lost = candidate.keep() => return Err(lost.into()),
            operated = self.operate(caches, term) => operated?,
        }
        // Nothing is under way any more.
        candidate.release().await;
        self.metrics.leads(false);
        Ok(())
    }

    async fn operate(&self, (stores, writers): (Arc<Stores>, Writers), term: Term) -> anyhow::Result<()> {
        let Self { client, config, stop, .. } = self;
        let namespace = &config.cluster_id_configmap_namespace;
        let cluster_id =
            cluster_id::ensure(client.clone(), namespace, &config.cluster_id_configmap_name).await?;
        let (fanout, inboxes) = Fanout::new(Arc::clone(&stores));
        let metrics = Arc::clone(&self.metrics);
        let (brokers, outdated) =
            Brokers::new(client.clone(), config.settings(), config.broker_concurrency, metrics);
        let context = Arc::new(Context {
            brokers,
            recorder: Recorder::new(
                client.clone(),
                Reporter { controller: MANAGER.to_owned(), instance: None },
            ),
            stores: Arc::clone(&stores),
            cluster_id,
            passed_on: PassedOn::new(&config.context_annotations),
            tunables: config.tunables(),
            memories: Memories::default(),
            writes: tokio::sync::Semaphore::new(config.write_concurrency),
            stopping: AtomicBool::new(false),
            term,
            client: client.clone(),
        });
        let mut watches = JoinSet::new();
        let fanout = Arc::new(fanout);
        start_watches(&mut watches, &context, Arc::clone(&fanout), writers);
        watches.spawn(outdated.for_each(move |broker| {
            fanout.outdated(&broker);
            future::ready(())
        }));
        tokio::select! {
            filled = filled(&stores) => filled?,
            () = stop.clone() => return Ok(()),
        }
        let (instances, bindings) = (stores.instances.len(), stores.bindings.len());
        tracing::info!(instances, bindings, "the caches are filled");
        self.state.send_replace(State::Working);
        let mut controllers = start_controllers(&context, inboxes, stop);
        let (told, stopping) = (stop.clone(), Arc::clone(&context));
        tokio::spawn(told.map(move |()| stopping.stopping.store(true, Ordering::Relaxed)));
        // The watches end with the JoinSet; the controllers only when they have finished what they are at.
        while let Some(ended) = controllers.join_next().await {
            ended.context("a controller ended in a panic")?;
        }
        Ok(())
    }
}

/// The writing ends of all stores.
struct Writers {
    cluster: ScopeWriters<ClusterWide>,
    namespaced: ScopeWriters<Namespaced>,
    instances: Writer<ServiceInstance>,
    bindings: Writer<ServiceBinding>,
    secrets: Option<Writer<PartialObjectMeta<Secret>>>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
}

struct ScopeWriters<S: Routed> {
    brokers: Writer<S::Broker>,
    classes: Writer<S::Class>,
    plans: Writer<S::Plan>,
}

fn caches(watch_secrets: bool) -> (Stores, Writers) {
    fn scope<S: Routed>() -> (ScopeStores<S>, ScopeWriters<S>) {
        let (brokers, brokers_in) = store();
        let (classes, classes_in) = store();
        let (plans, plans_in) = store();
        let writers = ScopeWriters { brokers: brokers_in, classes: classes_in, plans: plans_in };
        (ScopeStores { brokers, classes, plans }, writers)
    }
    let (cluster, cluster_in) = scope();
    let (namespaced, namespaced_in) = scope();
    let (instances, instances_in) = store();
    let (bindings, bindings_in) = store();
    let (namespaces, namespaces_in) = store();
    let (secrets, secrets_in) = watch_secrets.then(store).unzip();
    let writers = Writers {
        cluster: cluster_in,
        namespaced: namespaced_in,
        instances: instances_in,
        bindings: bindings_in,
        secrets: secrets_in,
        namespaces: namespaces_in,
    };
    (Stores { cluster, namespaced, instances, bindings, secrets, namespaces }, writers)
}

fn start_watches(watches: &mut JoinSet<()>, context: &Arc<Context>, fanout: Arc<Fanout>, writers: Writers) {
    let Writers { cluster, namespaced, instances, bindings, secrets, namespaces } = writers;
    start_scope(watches, context, &fanout, cluster);
    start_scope(watches, context, &fanout, namespaced);
    start_kind(watches, context, &fanout, instances, Fanout::instance);
    start_kind(watches, context, &fanout, bindings, Fanout::binding);
    if let Some(secrets) = secrets {
        let api: Api<PartialObjectMeta<Secret>> = Api::all(context.client.clone());
        let labelled = watcher::Config::default().labels(LABEL_BINDING);
        let (events, fanout) = (watcher(api, labelled).default_backoff(), Arc::clone(&fanout));
        watches.spawn(drive(events, secrets, move |touched| fanout.secret(touched.object())));
    }
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
    let events = watcher(api, watcher::Config::default()).default_backoff();
    watches.spawn(drive(events, namespaces, move |touched| fanout.namespace(touched.object())));
}

fn start_scope<S: Routed>(
    watches: &mut JoinSet<()>,
    context: &Arc<Context>,
    fanout: &Arc<Fanout>,
    writers: ScopeWriters<S>,
) {
    let ScopeWriters { brokers, classes, plans } = writers;
    let forgetful = Arc::clone(context);
    start_kind(watches, context, fanout, brokers, move |fanout, broker| {
        fanout.broker::<S>(broker);
        let key = BrokerKey::new(S::KIND, broker.namespace().as_deref(), &broker.name_any());
        if !forgetful.stores.has_broker(&key) {
            forgetful.brokers.forget(&key);
        }
    });
    start_kind(watches, context, fanout, classes, Fanout::class::<S>);
    start_kind(watches, context, fanout, plans, Fanout::plan::<S>);
}

fn start_kind<K: Object>(
    watches: &mut JoinSet<()>,
    context: &Arc<Context>,
    fanout: &Arc<Fanout>,
    writer: Writer<K>,
    pass_on: impl Fn(&Fanout, &K) + Send + 'static,
) {
    let api: Api<Guarded<K>> = Api::all(context.client.clone());
    let (context, fanout) = (Arc::clone(context), Arc::clone(fanout));
    watches.spawn(drive(guarded(api), writer, move |touched| match touched {
        Touched::Present(object) => pass_on(&fanout, &object),
        Touched::Gone(object) => {
            context.memories.forget(object.uid().as_deref().unwrap_or_default());
            pass_on(&fanout, &object);
        }
    }));
}

/// Waits until every store has its first list: a decision on half a world would be a wrong one.
async fn filled(stores: &Stores) -> anyhow::Result<()> {
    async fn one<K: kube::runtime::reflector::Lookup<DynamicType = ()> + Clone + 'static>(
        store: &Store<K>,
    ) -> anyhow::Result<()> {
        store.wait_until_ready().await.context("a watch has ended")
    }
    async fn scope<S: Routed>(stores: &ScopeStores<S>) -> anyhow::Result<()> {
        one(&stores.brokers).await?;
        one(&stores.classes).await?;
        one(&stores.plans).await
    }
    scope(&stores.cluster).await?;
    scope(&stores.namespaced).await?;
    one(&stores.instances).await?;
    one(&stores.bindings).await?;
    if let Some(secrets) = &stores.secrets {
        one(secrets).await?;
    }
    one(&stores.namespaces).await
}

fn start_controllers(context: &Arc<Context>, inboxes: Inboxes, stop: &Stop) -> JoinSet<()> {
    let Inboxes { instances, bindings, cluster, namespaced } = inboxes;
    let mut controllers = JoinSet::new();
    start_scope_controllers::<ClusterWide>(&mut controllers, context, cluster, &context.stores.cluster, stop);
    start_scope_controllers::<Namespaced>(
        &mut controllers,
        context,
        namespaced,
        &context.stores.namespaced,
        stop,
    );
    controllers.spawn(control::<InstanceMachine>(context, instances, &context.stores.instances, stop));
    controllers.spawn(control::<BindingMachine>(context, bindings, &context.stores.bindings, stop));
    controllers
}

fn start_scope_controllers<S: Routed>(
    controllers: &mut JoinSet<()>,
    context: &Arc<Context>,
    inboxes: ScopeInboxes<S>,
    stores: &ScopeStores<S>,
    stop: &Stop,
) {
    controllers.spawn(control::<BrokerMachine<S>>(context, inboxes.brokers, &stores.brokers, stop));
    controllers.spawn(control::<ClassMachine<S>>(context, inboxes.classes, &stores.classes, stop));
    controllers.spawn(control::<PlanMachine<S>>(context, inboxes.plans, &stores.plans, stop));
}

/// Runs one controller. Its concurrency is not limited here: its queue is not first in, first out, so a limit would let
/// the unlucky wait; the limits are on what costs, requests to brokers and writes.
fn control<M: Machine>(
    context: &Arc<Context>,
    inbox: Inbox<M::Object>,
    store: &Store<M::Object>,
    stop: &Stop,
) -> impl Future<Output = ()> + Send + 'static {
    Controller::for_stream(stream::pending(), store.clone())
        .with_config(controller::Config::default().concurrency(0))
        .reconcile_on(inbox)
        .graceful_shutdown_on(stop.clone())
        .run(
            shell::reconcile::<M>,
            |object, error, context| shell::after_error::<M>(&object, error, &context),
            Arc::clone(context),
        )
        .for_each(async |result| match result {
            Ok(_) | Err(controller::Error::ObjectNotFound(_)) => {}
            Err(controller::Error::ReconcilerFailed(error, object)) => {
                tracing::warn!(category = error.category(), %object, error = &error as &dyn std::error::Error, "will be tried again");
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a controller has a problem"),
        })
}
