//! `ClusterServiceBroker` and `ServiceBroker`: fetches the catalog and keeps a class for each offering and a plan object
//! for each plan (original, "Brokers").
//!
//! * `plan`: is the catalog due? May the broker go?
//! * `absorb`: what a catalog, or its failure, means for the status.
//! * [`desired`], [`names`], [`restrictions`]: from a catalog to objects. [`sync`], [`refresh`], [`owner`]: from objects
//!   to writes.

mod absorb;
pub mod desired;
pub mod names;
pub mod owner;
mod plan;
pub mod refresh;
pub mod restrictions;
#[cfg(test)]
mod scale;
pub mod sync;
#[cfg(test)]
mod tests;

use std::{marker::PhantomData, sync::Arc};

use kube::{Resource as _, ResourceExt as _};

use super::{
    entry::usage,
    error::Error,
    machine::{Absorbed, Admitted, Machine, Observed, Step},
    write::Refused,
};
use crate::{
    brokers::{BrokerKey, Lane, Revision},
    context::Context,
    crd::{Condition, Scope, ServiceBrokerStatus, scope::EntryObject},
    osb::{self, Catalog, InvalidCatalog},
    stores::{Stores, Watched},
};

/// The machine of the brokers of a scope.
pub struct BrokerMachine<S: Scope>(PhantomData<S>);

/// What else there is to know of a broker.
pub struct World<S: Scope> {
    /// All classes that could have to do with it: those of the cluster, or of its namespace, whosever they are.
    pub classes: Vec<Arc<S::Class>>,
    /// All plans, likewise.
    pub plans: Vec<Arc<S::Plan>>,
    /// The instances for which the broker still has to be told of their deletion, as `namespace/name`, in order. Not
    /// looked at before the broker is being deleted.
    pub users: Vec<String>,
    /// The broker has said that its catalog is not the one that it gave.
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

impl<S: Watched> Machine for BrokerMachine<S> {
    type Object = S::Broker;
    type Status = ServiceBrokerStatus;
    type World = World<S>;
    type Call = FetchCatalog;
    type Outcome = osb::Outcome<Result<Arc<Catalog>, InvalidCatalog>>;

    async fn observe(object: &Arc<S::Broker>, context: &Context) -> Result<World<S>, Error> {
        let stores = S::stores(&context.stores);
        let namespace = object.namespace();
        let leaving = object.meta().deletion_timestamp.is_some();
        Ok(World {
            classes: stores.classes.state_filter(|class| class.meta().namespace == namespace),
            plans: stores.plans.state_filter(|plan| plan.meta().namespace == namespace),
            users: if leaving { users::<S>(&key::<S>(object), &context.stores) } else { Vec::new() },
            outdated: context.brokers.is_outdated(&key::<S>(object)),
        })
    }

    fn plan(observed: &Observed<Self>) -> Step<Self> {
        plan::plan(observed)
    }

    /// A catalog is only read.
    fn needs_fence(_: &FetchCatalog) -> bool {
        false
    }

    fn lane(call: &FetchCatalog) -> Lane {
        Lane { broker: call.broker.clone(), instance_id: None }
    }

    async fn call(call: &Admitted<FetchCatalog>, context: &Context) -> Self::Outcome {
        let FetchCatalog { broker, revision } = call.get();
        context.brokers.catalog(&context.stores, broker, revision).await
    }

    fn absorb(observed: &Observed<Self>, _: &FetchCatalog, outcome: Self::Outcome) -> Absorbed<Self> {
        absorb::absorb(observed, outcome)
    }

    fn absorb_refused_write(observed: &Observed<Self>, refused: &Refused) -> ServiceBrokerStatus {
        absorb::not_written::<S>(observed, &refused.message)
    }

    fn conditions(status: &ServiceBrokerStatus) -> &[Condition] {
        &status.conditions
    }
}

fn key<S: Scope>(broker: &S::Broker) -> BrokerKey {
    BrokerKey::new(S::KIND, broker.namespace().as_deref(), &broker.name_any())
}

/// The instances that a broker still has to be told of.
fn users<S: Watched>(key: &BrokerKey, stores: &Stores) -> Vec<String> {
    let needs = |instance: &crate::crd::ServiceInstance| {
        let namespace = instance.meta().namespace.as_deref();
        let Some(held) = usage::held(instance).filter(|held| held.at_broker && held.scope == S::KIND) else {
            return false;
        };
        let namespace = key.namespace.as_deref().and(namespace);
        let of_class =
            || S::stores(stores).class(namespace, held.class).map(|class| class.broker_name().to_owned());
        let broker = held.broker.map(str::to_owned).or_else(of_class);
        broker.is_some_and(|broker| BrokerKey::new(S::KIND, namespace, &broker) == *key)
    };
    let instances = stores.instances.state_filter(needs);
    let name = |namespace: Option<String>, name: String| format!("{}/{name}", namespace.unwrap_or_default());
    let mut users: Vec<String> =
        instances.iter().map(|instance| name(instance.namespace(), instance.name_any())).collect();
    users.sort_unstable();
    users
}
