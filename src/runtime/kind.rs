//! One kind from watch to controller: a watch fills its cache, [`triggers`] name the objects to reconcile,
//! and its controller reads them from the queue.
//!
//! The cache shows a change *before* its triggers run, so no controller decides on an old state. The changes
//! of a list are passed on when the list is complete, because only then they are in the cache. Controllers
//! also reconcile every object from time to time, so a lost event only costs time.

use std::{future::Future, sync::Arc};

use anyhow::Context as _;
use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::{BoxFuture, join_all, ready},
};
use kube::{Api, runtime::watcher};
use tokio::task::JoinSet;

use super::{
    Stop,
    controller::control,
    triggers,
    watch::{readable_events, run_watch},
};
use crate::{
    caches::{
        Caches, Watched,
        cached::Cached,
        kind::{Change, Kind},
        object_key::ObjectKey,
        queue::Slot,
    },
    crd::{Readable, common::BrokerKey, scope::Object},
    reconcilers::{
        ReconcileError,
        action::Action,
        broker::BrokerReconciler,
        catalog_object::{self, Classes, Plans},
        context::Context,
        runner,
    },
};

/// The watches and the controllers of all kinds.
pub struct Kinds {
    context: Arc<Context>,
    stop: Stop,
    /// The tasks of the watches. A task starts when its kind is added, and never ends by itself.
    watches: JoinSet<()>,
    /// Each of these futures ends when the first list of a kind is in its cache.
    filled: Vec<BoxFuture<'static, ()>>,
    /// The controllers. They start when all caches are filled, because a decision with half-filled caches
    /// would be wrong.
    controllers: Vec<BoxFuture<'static, ()>>,
}

impl Kinds {
    /// No kinds.
    pub fn new(context: &Arc<Context>, stop: &Stop) -> Self {
        Self {
            context: Arc::clone(context),
            stop: stop.clone(),
            watches: JoinSet::new(),
            filled: Vec::new(),
            controllers: Vec::new(),
        }
    }

    /// Adds the brokers, classes and plans of a scope.
    pub fn add_scope<S: Watched>(&mut self) {
        let context = Arc::clone(&self.context);
        let caches = S::stores(&context.caches);
        let of_brokers = Arc::clone(&context);
        self.add(&caches.brokers, runner::reconcile::<BrokerReconciler<S>>, move |change, caches| {
            if let Some(gone) = change.name().filter(|_| change.is_deletion()) {
                let key = BrokerKey::new(S::KIND, gone.namespace(), gone.name());
                of_brokers.brokers.forget(&key);
            }
            triggers::broker::<S>(change, caches)
        });
        self.add(&caches.classes, catalog_object::reconcile::<S, Classes>, triggers::class::<S>);
        self.add(&caches.plans, catalog_object::reconcile::<S, Plans>, triggers::plan::<S>);
    }

    /// Adds a kind with a controller. `triggers` returns the objects to reconcile after a change.
    pub fn add<K: Object, F: Future<Output = Result<Action, ReconcileError>> + Send + 'static>(
        &mut self,
        kind: &Arc<Kind<K>>,
        reconcile: impl Fn(Cached<K>, Arc<Context>, Slot) -> F + Send + 'static,
        triggers: impl Fn(&Change<K>, &Caches) -> Vec<ObjectKey> + Send + 'static,
    ) {
        let context = Arc::clone(&self.context);
        let api: Api<Readable<K>> = Api::all(context.client.clone());
        self.watch(kind, readable_events(api), move |change, caches| {
            if let Some(gone) = change.gone() {
                context.forget(gone.uid());
            }
            triggers(change, caches)
        });
        self.control(kind, reconcile);
    }

    /// Adds a kind with a controller and with its own watch.
    pub fn add_watched<K: Object, F: Future<Output = Result<Action, ReconcileError>> + Send + 'static>(
        &mut self,
        kind: &Arc<Kind<K>>,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        reconcile: impl Fn(Cached<K>, Arc<Context>, Slot) -> F + Send + 'static,
        triggers: impl Fn(&Change<K>, &Caches) -> Vec<ObjectKey> + Send + 'static,
    ) {
        self.watch(kind, events, triggers);
        self.control(kind, reconcile);
    }

    fn control<K: Object, F: Future<Output = Result<Action, ReconcileError>> + Send + 'static>(
        &mut self,
        kind: &Arc<Kind<K>>,
        reconcile: impl Fn(Cached<K>, Arc<Context>, Slot) -> F + Send + 'static,
    ) {
        let (context, kind) = (Arc::clone(&self.context), Arc::clone(kind));
        self.controllers.push(control(context, kind, reconcile, self.stop.clone()).boxed());
    }

    /// Adds a kind without a controller.
    pub fn watch<K: Object>(
        &mut self,
        kind: &Arc<Kind<K>>,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        triggers: impl Fn(&Change<K>, &Caches) -> Vec<ObjectKey> + Send + 'static,
    ) {
        let (kind, context) = (Arc::clone(kind), Arc::clone(&self.context));
        self.filled.push(kind.filled().boxed());
        let on_change = move |change: &Change<K>| {
            let caches = &context.caches;
            for key in triggers(change, caches) {
                caches.enqueue(key);
            }
        };
        self.watches.spawn(async move { run_watch(events, &kind, on_change).await });
    }

    /// Reconciles the brokers of this stream: they have answered that their catalog has changed.
    pub fn add_outdated(&mut self, outdated: impl Stream<Item = BrokerKey> + Send + 'static) {
        let context = Arc::clone(&self.context);
        self.watches.spawn(outdated.for_each(move |broker| {
            context.caches.enqueue(ObjectKey::of_broker(&broker));
            ready(())
        }));
    }

    /// Runs until `stop` ends and the controllers have finished their requests. Calls `on_filled` when all
    /// caches are filled and the controllers begin.
    ///
    /// # Errors
    /// A watch has ended, or a controller ended in a panic.
    pub async fn run(mut self, on_filled: impl FnOnce()) -> anyhow::Result<()> {
        tokio::select! {
            _ = join_all(self.filled) => on_filled(),
            ended = self.watches.join_next() => return watch_ended(ended),
            () = self.stop => return Ok(()),
        }
        let mut controllers: JoinSet<()> = self.controllers.into_iter().collect();
        loop {
            tokio::select! {
                ended = controllers.join_next() => match ended {
                    Some(ended) => ended.context("a controller ended in a panic")?,
                    None => return Ok(()),
                },
                ended = self.watches.join_next() => return watch_ended(ended),
            }
        }
    }
}

fn watch_ended(ended: Option<Result<(), tokio::task::JoinError>>) -> anyhow::Result<()> {
    ended.transpose().context("a watch ended in a panic")?;
    anyhow::bail!("a watch has ended")
}
