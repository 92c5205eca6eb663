//! What every controller works with: the client, the caches, the limits, and the little that the process remembers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kube::{Client, runtime::events::Recorder};

use super::{
    expectations::Expectations,
    memory::{BrokerMemory, Memories, OperationMemory},
    settings::ReconcileSettings,
};
use crate::{
    annotation_allowlist::AnnotationAllowlist, brokers::Brokers, caches::Caches, leader::Leadership,
    metrics::Metrics,
};

/// Shared by all controllers.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches have brought.
    pub caches: Arc<Caches>,
    /// The connections to brokers and their limits.
    pub brokers: Brokers,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Counts reconciles and writes.
    pub metrics: Arc<Metrics>,
    /// The persisted id of this cluster, as brokers know it.
    pub cluster_id: String,
    /// The annotations that brokers get in the context of a request.
    pub annotation_allowlist: AnnotationAllowlist,
    /// The limits and intervals in force.
    pub settings: ReconcileSettings,
    /// Which versions of objects this process wrote.
    pub expectations: Expectations,
    /// What this process remembers of instances and bindings.
    pub operations: Memories<OperationMemory>,
    /// What this process remembers of broker objects.
    pub catalogs: Memories<BrokerMemory>,
    /// How many writes may be under way at the API server.
    pub writes: tokio::sync::Semaphore,
    /// Set when the operator has been told to stop: from then on it begins no request to a broker.
    pub stopping: AtomicBool,
    /// For how long this process is the one that works. Nothing is sent or written after that.
    pub leadership: Leadership,
}

impl Context {
    /// Whether the operator has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Drops what is remembered of a deleted object.
    pub fn forget(&self, uid: &str) {
        self.expectations.observe_deletion(uid);
        self.operations.forget(uid);
        self.catalogs.forget(uid);
    }
}
