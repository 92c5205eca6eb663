//! Cluster-wide and namespaced brokers are one implementation: everything that differs between the two hangs on
//! [`Scope`].

use std::{fmt::Debug, hash::Hash};

use kube::{Resource, core::object::HasStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan, EntryStatus, ServiceBroker,
    ServiceBrokerStatus, ServiceClass, ServicePlan,
    broker::{CommonServiceBrokerSpec, SecretAuth},
    class::CommonServiceClassSpec,
    plan::CommonServicePlanSpec,
};

/// Which of the two scopes, as a value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ScopeKind {
    /// Cluster-wide kinds: `ClusterServiceBroker` and what it offers.
    Cluster,
    /// Kinds of one namespace: `ServiceBroker` and what it offers.
    Namespace,
}

/// A kind of the API that a controller watches.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// One of the two scopes: the kinds that belong together.
pub trait Scope: Clone + Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// The scope as a value.
    const KIND: ScopeKind;
    /// `ClusterServiceBroker` or `ServiceBroker`.
    type Broker: BrokerObject;
    /// `ClusterServiceClass` or `ServiceClass`.
    type Class: ClassObject;
    /// `ClusterServicePlan` or `ServicePlan`.
    type Plan: PlanObject;
}

/// What the controllers need of a broker of either scope.
pub trait BrokerObject: Object + HasStatus<Status = ServiceBrokerStatus> {
    /// The fields that both kinds have.
    fn common(&self) -> &CommonServiceBrokerSpec;
    /// Where the credentials for the broker are, if it wants any.
    fn auth(&self) -> Option<SecretAuth>;
}

/// The fields that a class or a plan has in either scope.
pub trait EntrySpec {
    /// Its name in the catalog.
    fn external_name(&self) -> &str;
    /// Its id in the catalog.
    fn external_id(&self) -> &str;
}

/// What the controllers need of a class or a plan of either scope.
pub trait EntryObject: Object + HasStatus<Status = EntryStatus> {
    /// The fields that both scopes have.
    type Common: EntrySpec;
    /// Those fields.
    fn common(&self) -> &Self::Common;
    /// Those fields, to be changed.
    fn common_mut(&mut self) -> &mut Self::Common;
    /// Name of the broker object that offers it.
    fn broker_name(&self) -> &str;
    /// The fields by which it names other objects: path and value.
    fn references(&self) -> Vec<(&'static str, &str)>;

    /// Its name in the catalog.
    fn external_name(&self) -> &str {
        self.common().external_name()
    }

    /// Its id in the catalog.
    fn external_id(&self) -> &str {
        self.common().external_id()
    }

    /// Whether it has left the catalog.
    fn is_removed(&self) -> bool {
        self.status().is_some_and(|status| status.removed_from_broker_catalog)
    }

    /// The labels by which clients without field selectors look it up: path of the field and its value.
    fn lookup_values(&self) -> Vec<(&'static str, &str)> {
        let mut values = self.references();
        values.extend([("spec.externalID", self.external_id()), ("spec.externalName", self.external_name())]);
        values
    }

    /// The same object with other common fields.
    #[must_use]
    fn with_common(mut self, common: Self::Common) -> Self {
        *self.common_mut() = common;
        self
    }
}

/// What the controllers need of a class of either scope.
pub trait ClassObject: EntryObject<Common = CommonServiceClassSpec> {
    /// A new object of this kind, without labels and owner.
    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self;
}

/// What the controllers need of a plan of either scope.
pub trait PlanObject: EntryObject<Common = CommonServicePlanSpec> {
    /// Name of the class object that it belongs to.
    fn class_name(&self) -> &str;
    /// A new object of this kind, without labels and owner.
    fn build(name: &str, broker_name: &str, class_name: &str, common: CommonServicePlanSpec) -> Self;
}

/// `ClusterServiceBroker`, `ClusterServiceClass`, `ClusterServicePlan`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClusterWide;

/// `ServiceBroker`, `ServiceClass`, `ServicePlan`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Namespaced;

impl Scope for ClusterWide {
    const KIND: ScopeKind = ScopeKind::Cluster;
    type Broker = ClusterServiceBroker;
    type Class = ClusterServiceClass;
    type Plan = ClusterServicePlan;
}

impl Scope for Namespaced {
    const KIND: ScopeKind = ScopeKind::Namespace;
    type Broker = ServiceBroker;
    type Class = ServiceClass;
    type Plan = ServicePlan;
}
