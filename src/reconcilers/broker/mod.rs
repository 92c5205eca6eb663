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

use kube::{Resource as _, ResourceExt as _};

use super::{
    catalog_object::usage,
    context::Context,
    error::ReconcileError,
    memory::{BrokerMemory, Memories},
    reconciler::{AbsorbedOf, Admitted, Observed, Reconciler, StepOf},
    writes::RejectedWrite,
};
use crate::{
    brokers::{catalogs::Revision, permits::ConcurrencyKey},
    caches::{Caches, ScopeCaches, Watched},
    crd::common::BrokerKey,
    crd::{Condition, Scope, ServiceBrokerStatus, ServiceInstance, scope::CatalogObject},
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
    pub instances: Vec<Arc<ServiceInstance>>,
    /// Whether the broker has said that its catalog has changed since the last fetch.
    pub outdated: bool,
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
        Ok(BrokerDependencies {
            classes: stores.classes_in(namespace.as_deref()),
            plans: stores.plans_in(namespace.as_deref()),
            blocking_instances: if leaving {
                blocking_instances::<S>(&key, &instances, stores)
            } else {
                Vec::new()
            },
            instances,
            outdated: context.brokers.is_catalog_outdated(&key),
        })
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

    fn concurrency_key(call: &FetchCatalog) -> ConcurrencyKey {
        ConcurrencyKey { broker: call.broker.clone(), instance_id: None }
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

/// The instances that may have been ordered from a broker.
fn instances<S: Watched>(key: &BrokerKey, caches: &Caches) -> Vec<Arc<ServiceInstance>> {
    let place = key.namespace.as_deref();
    let mut instances = caches.instances_of_broker(key);
    // Instances of v0.3 have only their class on record.
    for class in S::stores(caches).classes_of_broker(place, &key.name) {
        instances.extend(caches.instances_of_class(place, &class.name_any()));
    }
    instances.retain(|instance| usage::held(instance).is_some_and(|held| held.scope == S::KIND));
    instances
}

/// The names of those instances of which the broker must get a request when they are deleted.
fn blocking_instances<S: Watched>(
    key: &BrokerKey,
    instances: &[Arc<ServiceInstance>],
    caches: &ScopeCaches<S>,
) -> Vec<String> {
    let needs = |instance: &ServiceInstance| {
        let Some(held) = usage::held(instance).filter(|held| held.at_broker) else { return false };
        let namespace = key.namespace.as_deref().and(instance.meta().namespace.as_deref());
        let of_class = || caches.class(namespace, held.class).map(|class| class.broker_name().to_owned());
        let broker = held.broker.map(str::to_owned).or_else(of_class);
        broker.is_some_and(|broker| BrokerKey::new(S::KIND, namespace, &broker) == *key)
    };
    let name = |instance: &Arc<ServiceInstance>| {
        format!("{}/{}", instance.namespace().unwrap_or_default(), instance.name_any())
    };
    let blocking_instances: BTreeSet<String> =
        instances.iter().filter(|instance| needs(instance)).map(name).collect();
    blocking_instances.into_iter().collect()
}
