//! `ClusterServiceBroker` and `ServiceBroker`: fetches the catalog, and keeps a class object for each
//! offering and a plan object for each plan.
//!
//! * `plan`: when the catalog is fetched, and when a deleted broker can be released.
//! * `answers`: what a catalog or a failure means for the status. `status`: the statuses that are written.
//!   `memory`: what the process remembers of the last fetch.
//! * [`desired`], [`names`], [`restrictions`]: from a catalog to objects. [`sync`], [`refresh`], [`owner`], [`conflicts`],
//!   `moved`: from objects to writes.

mod answers;
pub mod conflicts;
pub mod desired;
mod memory;
mod moved;
pub mod names;
pub mod owner;
mod plan;
pub mod refresh;
pub mod restrictions;
mod status;
pub mod sync;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

use kube::{Resource as _, ResourceExt as _, core::object::HasStatus as _};

use super::{
    catalog_object::usage,
    context::Context,
    credentials::{self, Unheld},
    error::ReconcileError,
    memory::{BrokerMemory, Memories},
    reconciler::{AbsorbedOf, Admitted, Observed, Reconciler, StepOf},
    writes::RejectedWrite,
};
use crate::{
    brokers::{Lane, catalogs::Revision, permits::ConcurrencyKey},
    caches::{Caches, ScopeCaches, Watched, cached::Cached, kind::Kind},
    crd::common::BrokerKey,
    crd::{
        Condition, Scope, ScopeKind, ServiceBrokerStatus, ServiceInstance,
        scope::{BrokerObject as _, CatalogObject},
    },
    osb::{self, Catalog, InvalidCatalog},
};

/// The reconciler of the brokers of a scope.
pub struct BrokerReconciler<S: Scope>(PhantomData<S>);

/// The state outside a broker object that its decisions depend on.
pub struct BrokerDependencies<S: Scope> {
    /// All classes of the cluster or of the namespace of the broker, whoever owns them.
    pub classes: Vec<Arc<S::Class>>,
    /// All plans, in the same way.
    pub plans: Vec<Arc<S::Plan>>,
    /// The instances that block the deletion of the broker, as `namespace/name`, in order: the broker must
    /// get a request when they are deleted. Empty while the broker is not being deleted.
    pub blocking_instances: Vec<String>,
    /// The instances that use a class and a plan of this scope (see [`usage::held`]).
    pub instances: Vec<Cached<ServiceInstance>>,
    /// Whether the broker has said that its catalog has changed since the last fetch.
    pub outdated: bool,
    /// The names of broker objects that have classes or plans here, and are gone or in deletion, and whose
    /// place this broker takes. Their classes and plans do not prevent those of this broker.
    pub replaced: BTreeSet<String>,
    /// The Secret with the credentials of a namespaced broker, if it is not held back although it must be.
    pub unheld: Option<Unheld>,
    /// The names of the broker objects that take the place of this one. Empty while it is not being deleted.
    pub successors: Vec<String>,
}

/// `GET /v2/catalog`
pub struct FetchCatalog {
    broker: BrokerKey,
    revision: Revision,
}

impl FetchCatalog {
    fn of<S: Scope>(broker: &S::Broker) -> Self {
        let generation = broker.meta().generation.unwrap_or_default();
        let revision = Revision { uid: broker.uid().unwrap_or_default(), generation };
        Self { broker: key::<S>(broker), revision }
    }
}

impl<S: Watched> Reconciler for BrokerReconciler<S> {
    type Object = S::Broker;
    type Status = ServiceBrokerStatus;
    type Dependencies = BrokerDependencies<S>;
    type Memory = BrokerMemory;
    type Call = FetchCatalog;
    type Answer = osb::Outcome<Result<Arc<Catalog>, InvalidCatalog>>;

    async fn observe(
        object: &Arc<S::Broker>,
        context: &Context,
    ) -> Result<BrokerDependencies<S>, ReconcileError> {
        let stores = S::stores(&context.caches);
        let namespace = object.namespace();
        let leaving = object.meta().deletion_timestamp.is_some();
        let key = key::<S>(object);
        let instances = instances::<S>(&key, &context.caches);
        let classes = stores.classes_in(namespace.as_deref());
        let plans = stores.plans_in(namespace.as_deref());
        let successors = stores.successors(namespace.as_deref(), &key.name, None);
        Ok(BrokerDependencies {
            replaced: replaced::<S>(&key, &classes, &plans, stores),
            unheld: match object.auth().filter(|_| holds_back::<S>(object)) {
                Some(auth) => credentials::unheld(&auth, context).await?,
                None => None,
            },
            successors: successors.iter().map(|broker| broker.name_any()).collect(),
            classes,
            plans,
            blocking_instances: if leaving {
                blocking_instances::<S>(&key, &instances, stores)
            } else {
                Vec::new()
            },
            instances,
            outdated: context.brokers.is_catalog_outdated(&key),
        })
    }

    fn kind(caches: &Caches) -> &Kind<S::Broker> {
        &S::stores(caches).brokers
    }

    fn memories(context: &Context) -> &Memories<BrokerMemory> {
        &context.catalogs
    }

    fn plan(observed: &Observed<Self>) -> StepOf<Self> {
        plan::plan(observed)
    }

    /// `GET /v2/catalog` changes nothing at the broker.
    fn needs_intent(_: &FetchCatalog) -> bool {
        false
    }

    fn concurrency_key(_: &S::Broker, call: &FetchCatalog) -> ConcurrencyKey {
        let broker = call.broker.clone();
        ConcurrencyKey { broker, instance_id: None, binding_id: None, lane: Lane::Catalog }
    }

    async fn call(call: Admitted<FetchCatalog>, context: &Context) -> Self::Answer {
        let FetchCatalog { broker, revision } = call.into_inner();
        context.brokers.catalog(&context.caches, &broker, &revision).await
    }

    fn absorb(observed: &Observed<Self>, outcome: Self::Answer) -> AbsorbedOf<Self> {
        answers::absorb(observed, outcome)
    }

    fn absorb_rejected_write(observed: &Observed<Self>, rejected: &RejectedWrite) -> ServiceBrokerStatus {
        status::not_written::<S>(observed, &rejected.message)
    }

    fn conditions(status: &ServiceBrokerStatus) -> &[Condition] {
        &status.conditions
    }
}

fn key<S: Scope>(broker: &S::Broker) -> BrokerKey {
    BrokerKey::new(S::KIND, broker.namespace().as_deref(), &broker.name_any())
}

/// Whether the operator has to hold back the Secret of a broker. The catalog was fetched with it, so the broker
/// may have instances.
fn holds_back<S: Scope>(broker: &S::Broker) -> bool {
    let is_synced = broker.status().is_some_and(|status| status.reconciled_generation > 0);
    S::KIND == ScopeKind::Namespace && is_synced && broker.meta().deletion_timestamp.is_none()
}

/// The broker objects whose classes and plans this one takes over. An object in deletion must have no other
/// successor. Of an object that is gone, the garbage collector deletes the classes and plans that it owned.
fn replaced<S: Watched>(
    key: &BrokerKey,
    classes: &[Arc<S::Class>],
    plans: &[Arc<S::Plan>],
    caches: &ScopeCaches<S>,
) -> BTreeSet<String> {
    fn owners<'a, E: CatalogObject>(
        entries: &'a [Arc<E>],
        key: &'a BrokerKey,
    ) -> impl Iterator<Item = (&'a str, bool)> {
        let others = entries.iter().filter(|entry| entry.broker_name() != key.name);
        others.map(|entry| (entry.broker_name(), owner::has_controller(&**entry)))
    }
    let place = key.namespace.as_deref();
    let others: BTreeSet<(&str, bool)> = owners(classes, key).chain(owners(plans, key)).collect();
    let is_replaced = |(name, is_owned): &(&str, bool)| match caches.broker(place, name) {
        None => *is_owned,
        Some(_) => {
            matches!(&caches.successors(place, name, None)[..], [only] if only.name_any() == key.name)
        }
    };
    others.into_iter().filter(is_replaced).map(|(name, _)| name.to_owned()).collect()
}

/// The instances that may have been ordered from a broker. There may be very many, so they are decoded only
/// where they are needed.
fn instances<S: Watched>(key: &BrokerKey, caches: &Caches) -> Vec<Cached<ServiceInstance>> {
    let place = key.namespace.as_deref();
    let mut instances = caches.instances_of_broker(key);
    // Instances of v0.3 have only their class on record.
    for class in S::stores(caches).classes_of_broker(place, &key.name) {
        instances.extend(caches.instances_of_class(place, &class.name_any()));
    }
    instances
}

/// The names of those instances of which the broker must get a request when they are deleted.
fn blocking_instances<S: Watched>(
    key: &BrokerKey,
    instances: &[Cached<ServiceInstance>],
    caches: &ScopeCaches<S>,
) -> Vec<String> {
    let needs = |instance: &ServiceInstance| {
        let held = usage::held(instance).filter(|held| held.at_broker && held.scope == S::KIND);
        let Some(held) = held else { return false };
        let namespace = key.namespace.as_deref().and(instance.meta().namespace.as_deref());
        let of_class = || caches.class(namespace, held.class).map(|class| class.broker_name().to_owned());
        let broker = held.broker.map(str::to_owned).or_else(of_class);
        broker.is_some_and(|broker| BrokerKey::new(S::KIND, namespace, &broker) == *key)
    };
    let blocking = instances.iter().filter(|instance| needs(&instance.read()));
    let blocking_instances: BTreeSet<String> = blocking.map(|instance| instance.name().to_string()).collect();
    blocking_instances.into_iter().collect()
}
