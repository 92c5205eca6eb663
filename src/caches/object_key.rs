//! The key of one object: kind, namespace and name.

use std::fmt;

use kube::{Resource, runtime::reflector::ObjectRef};

use super::{Caches, ScopeCaches, cached::ObjectName, kind::Kind};
use crate::crd::{Scope, common::BrokerKey, scope::Object};

/// A kind that has a controller. Brokers, classes and plans of a namespace are another kind than those of the
/// cluster, and the namespace of a key tells them apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// `ClusterServiceBroker` or `ServiceBroker`
    Broker,
    /// `ClusterServiceClass` or `ServiceClass`
    Class,
    /// `ClusterServicePlan` or `ServicePlan`
    Plan,
    /// `ServiceInstance`
    Instance,
    /// `ServiceBinding`
    Binding,
    /// A `Secret` with the credentials of a namespaced broker.
    Secret,
}

/// One object of a kind that has a controller.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace; `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    #[must_use]
    pub fn of<K: Resource>(kind: ObjectKind, object: &K) -> Self {
        let meta = object.meta();
        Self { kind, namespace: meta.namespace.clone(), name: meta.name.clone().unwrap_or_default() }
    }

    /// The key of an object of this name.
    #[must_use]
    pub fn named(kind: ObjectKind, name: &ObjectName) -> Self {
        Self { kind, namespace: name.namespace().map(str::to_owned), name: name.name().to_owned() }
    }

    /// The key of a broker.
    #[must_use]
    pub fn of_broker(broker: &BrokerKey) -> Self {
        Self { kind: ObjectKind::Broker, namespace: broker.namespace.clone(), name: broker.name.clone() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind;
        match &self.namespace {
            Some(namespace) => write!(f, "{kind:?} {namespace}/{}", self.name),
            None => write!(f, "{kind:?} {}", self.name),
        }
    }
}

impl Caches {
    /// Adds an object to the queue of its controller.
    pub fn enqueue(&self, key: ObjectKey) {
        match (key.kind, &key.namespace) {
            (ObjectKind::Instance, _) => push(&self.instances, key),
            (ObjectKind::Binding, _) => push(&self.bindings, key),
            (ObjectKind::Secret, _) => {
                if let Some(secrets) = &self.broker_secrets {
                    push(secrets, key);
                }
            }
            (_, None) => self.cluster.enqueue(key),
            (_, Some(_)) => self.namespaced.enqueue(key),
        }
    }
}

impl<S: Scope> ScopeCaches<S> {
    fn enqueue(&self, key: ObjectKey) {
        match key.kind {
            ObjectKind::Broker => push(&self.brokers, key),
            ObjectKind::Class => push(&self.classes, key),
            ObjectKind::Plan => push(&self.plans, key),
            ObjectKind::Instance | ObjectKind::Binding | ObjectKind::Secret => {}
        }
    }
}

fn push<K: Object>(kind: &Kind<K>, ObjectKey { namespace, name, .. }: ObjectKey) {
    let mut object = ObjectRef::new(&name);
    object.namespace = namespace;
    kind.enqueue(&object);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued<K: Object>(kind: &Kind<K>) -> Vec<String> {
        kind.queued().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_key_goes_to_the_queue_of_its_kind() {
        use ObjectKind::{Binding, Broker, Class, Instance, Plan};
        let caches = Caches::new(false);
        for kind in [Broker, Class, Plan, Instance, Binding] {
            for namespace in [None, Some("ns".to_owned())] {
                caches.enqueue(ObjectKey { kind, namespace, name: "a".into() });
            }
        }
        let Caches { cluster, namespaced, instances, bindings, .. } = &caches;
        for (queued, kind) in [
            (queued(&cluster.brokers), "ClusterServiceBroker"),
            (queued(&cluster.classes), "ClusterServiceClass"),
            (queued(&cluster.plans), "ClusterServicePlan"),
        ] {
            assert_eq!(queued, ["a"], "{kind}");
        }
        for (queued, kind) in [
            (queued(&namespaced.brokers), "ServiceBroker"),
            (queued(&namespaced.classes), "ServiceClass"),
            (queued(&namespaced.plans), "ServicePlan"),
        ] {
            assert_eq!(queued, ["ns/a"], "{kind}");
        }
        assert_eq!((queued(instances).len(), queued(bindings).len()), (2, 2));
    }
}
