//! What the operator knows of the cluster: one [`Kind`] for each watched kind, filled by `runtime`.
//!
//! * [`kind`]: the objects of one kind. [`queue`]: the queue of its controller.
//! * [`cached`], `packed`: how an object is kept, so that it takes little memory.
//! * `index`, `keys`: what the objects are looked up by. `lookups`: the questions that the rest of the
//!   operator asks.
//! * [`successors`]: which broker object takes the place of another one.
//! * [`named`]: what instances and bindings name. [`object_key`]: which object of which kind.

pub mod cached;
mod index;
mod keys;
pub mod kind;
mod lookups;
pub mod named;
pub mod object_key;
mod packed;
pub mod queue;
pub mod successors;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::core::PartialObjectMeta;

use self::{cached::Standing, kind::Kind};
use crate::crd::{ClusterWide, Namespaced, Scope, ServiceBinding, ServiceInstance};

/// All kinds.
pub struct Caches {
    /// `ClusterServiceBroker`, its classes and plans.
    pub cluster: ScopeCaches<ClusterWide>,
    /// `ServiceBroker`, its classes and plans.
    pub namespaced: ScopeCaches<Namespaced>,
    /// `ServiceInstance`
    pub instances: Arc<Kind<ServiceInstance>>,
    /// `ServiceBinding`
    pub bindings: Arc<Kind<ServiceBinding>>,
    /// The Secrets that carry our label, without their data. None when the operator may not watch Secrets.
    pub secrets: Option<Arc<Kind<PartialObjectMeta<Secret>>>>,
    /// The Secrets of namespaced brokers that carry our finalizer, without their data. None in the same case.
    pub broker_secrets: Option<Arc<Kind<PartialObjectMeta<Secret>>>>,
    /// The pods that have not ended, with what [`reduce`](crate::reconcilers::binding::pods::reduce) leaves of their metadata. None when the operator does not watch pods.
    pub pods: Option<Arc<Kind<PartialObjectMeta<Pod>>>>,
    /// Namespaces, metadata only: brokers get their uid.
    pub namespaces: Arc<Kind<PartialObjectMeta<Namespace>>>,
}

/// The kinds of one scope.
pub struct ScopeCaches<S: Scope> {
    /// The brokers.
    pub brokers: Arc<Kind<S::Broker>>,
    /// The classes.
    pub classes: Arc<Kind<S::Class>>,
    /// The plans.
    pub plans: Arc<Kind<S::Plan>>,
}

/// A scope whose kinds are watched: says which caches are its own.
pub trait Watched: Scope {
    /// The caches of this scope.
    fn stores(caches: &Caches) -> &ScopeCaches<Self>;
}

impl Watched for ClusterWide {
    fn stores(caches: &Caches) -> &ScopeCaches<Self> {
        &caches.cluster
    }
}

impl Watched for Namespaced {
    fn stores(caches: &Caches) -> &ScopeCaches<Self> {
        &caches.namespaced
    }
}

impl Caches {
    /// No objects. Without `watch_secrets`, Secrets are not kept.
    #[must_use]
    pub fn new(watch_secrets: bool) -> Self {
        Self {
            cluster: ScopeCaches::new(),
            namespaced: ScopeCaches::new(),
            instances: Arc::new(Kind::packed(keys::of_instance, named::standing_of_instance)),
            bindings: Arc::new(Kind::packed(keys::of_binding, named::standing_of_binding)),
            secrets: watch_secrets.then(|| Arc::new(Kind::packed(keys::none, |_| Standing::default()))),
            broker_secrets: watch_secrets.then(|| Arc::new(Kind::new(keys::none))),
            pods: None,
            namespaces: Arc::new(Kind::new(keys::none)),
        }
    }

    /// The same with pods, or without.
    #[must_use]
    pub fn with_pods(self, watch_pods: bool) -> Self {
        Self { pods: watch_pods.then(|| Arc::new(Kind::new(keys::of_pod))), ..self }
    }
}

impl<S: Scope> ScopeCaches<S> {
    fn new() -> Self {
        Self {
            brokers: Arc::new(Kind::new(keys::none)),
            classes: Arc::new(Kind::new(keys::of_class)),
            plans: Arc::new(Kind::new(keys::of_plan)),
        }
    }
}
