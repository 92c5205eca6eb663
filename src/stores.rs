//! The caches: one store per watched kind, filled by `runtime`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    ResourceExt as _,
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    brokers::BrokerKey,
    crd::{ClusterWide, Namespaced, Scope, ScopeKind, ServiceBinding, ServiceInstance},
};

/// The readers of all stores.
pub struct Stores {
    /// `ClusterServiceBroker`, its classes and plans.
    pub cluster: ScopeStores<ClusterWide>,
    /// `ServiceBroker`, its classes and plans.
    pub namespaced: ScopeStores<Namespaced>,
    /// `ServiceInstance`
    pub instances: Store<ServiceInstance>,
    /// `ServiceBinding`
    pub bindings: Store<ServiceBinding>,
    /// The Secrets that carry our label, without their data. None when the operator may not watch Secrets.
    pub secrets: Option<Store<PartialObjectMeta<Secret>>>,
    /// Namespaces, metadata only: brokers are told their uid.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}

/// The stores of the kinds of one scope.
pub struct ScopeStores<S: Scope> {
    /// The brokers.
    pub brokers: Store<S::Broker>,
    /// The classes.
    pub classes: Store<S::Class>,
    /// The plans.
    pub plans: Store<S::Plan>,
}

/// A scope whose kinds are watched: says which stores are its own.
pub trait Watched: Scope {
    /// The stores of this scope.
    fn stores(stores: &Stores) -> &ScopeStores<Self>;
}

impl Watched for ClusterWide {
    fn stores(stores: &Stores) -> &ScopeStores<Self> {
        &stores.cluster
    }
}

impl Watched for Namespaced {
    fn stores(stores: &Stores) -> &ScopeStores<Self> {
        &stores.namespaced
    }
}

impl Stores {
    /// The namespace of this name, without its spec.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.get(&ObjectRef::new(name))
    }

    /// The uid of a namespace, if it exists.
    #[must_use]
    pub fn namespace_uid(&self, name: &str) -> Option<String> {
        self.namespace(name).and_then(|namespace| namespace.uid())
    }

    /// Whether a namespace is being deleted: nothing can be created there any more.
    #[must_use]
    pub fn is_namespace_ending(&self, name: &str) -> bool {
        self.namespace(name).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// Whether a broker object exists, being deleted or not.
    #[must_use]
    pub fn has_broker(&self, key: &BrokerKey) -> bool {
        let namespace = key.namespace.as_deref();
        match key.scope {
            ScopeKind::Cluster => self.cluster.broker(namespace, &key.name).is_some(),
            ScopeKind::Namespace => self.namespaced.broker(namespace, &key.name).is_some(),
        }
    }

    /// The instance of this name.
    #[must_use]
    pub fn instance(&self, namespace: &str, name: &str) -> Option<Arc<ServiceInstance>> {
        self.instances.get(&ObjectRef::new(name).within(namespace))
    }

    /// The bindings that refer to an instance.
    #[must_use]
    pub fn bindings_of(&self, namespace: &str, instance: &str) -> Vec<Arc<ServiceBinding>> {
        self.bindings.state_filter(|binding| {
            binding.spec.instance_ref.name == instance && binding.namespace().as_deref() == Some(namespace)
        })
    }
}

impl<S: Scope> ScopeStores<S> {
    /// The key of an object of this scope: the namespace counts only for namespaced kinds.
    fn key<K: kube::Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> ObjectRef<K> {
        match namespace {
            Some(namespace) => ObjectRef::new(name).within(namespace),
            None => ObjectRef::new(name),
        }
    }

    /// The broker of this name.
    #[must_use]
    pub fn broker(&self, namespace: Option<&str>, name: &str) -> Option<Arc<S::Broker>> {
        self.brokers.get(&Self::key(namespace, name))
    }

    /// The class of this name.
    #[must_use]
    pub fn class(&self, namespace: Option<&str>, name: &str) -> Option<Arc<S::Class>> {
        self.classes.get(&Self::key(namespace, name))
    }

    /// The plan of this name.
    #[must_use]
    pub fn plan(&self, namespace: Option<&str>, name: &str) -> Option<Arc<S::Plan>> {
        self.plans.get(&Self::key(namespace, name))
    }
}

/// Stores that are filled by hand.
#[cfg(test)]
pub(crate) mod tests {
    use kube::runtime::{reflector, watcher::Event};

    use super::*;

    fn store<K>(objects: Vec<K>) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + 'static,
    {
        let (reader, mut writer) = reflector::store();
        for object in objects {
            writer.apply_watcher_event(&Event::Apply(object));
        }
        reader
    }

    /// The classes and plans of a scope, without brokers.
    pub fn entries<S: Scope>(classes: Vec<S::Class>, plans: Vec<S::Plan>) -> ScopeStores<S> {
        ScopeStores { brokers: store(vec![]), classes: store(classes), plans: store(plans) }
    }

    /// These, and nothing else.
    pub fn filled(cluster: ScopeStores<ClusterWide>, namespaced: ScopeStores<Namespaced>) -> Stores {
        Stores {
            cluster,
            namespaced,
            instances: store(vec![]),
            bindings: store(vec![]),
            secrets: None,
            namespaces: store(vec![]),
        }
    }
}
