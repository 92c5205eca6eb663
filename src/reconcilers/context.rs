//! Which state do all controllers share? The client, the caches, the settings, and the few things that the
//! process keeps in memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kube::Client;

use super::{
    events::lane::EventLane,
    expectations::Expectations,
    memory::{BrokerMemory, Memories, OperationMemory},
    settings::ReconcileSettings,
    writes::permits::WritePermits,
};
use crate::{
    annotation_allowlist::AnnotationAllowlist, brokers::Brokers, caches::Caches,
    installed_policies::InstalledPolicies, leader::Leadership, memory_budget::MemoryBudget, metrics::Metrics,
};

/// The state that all controllers share.
pub struct Context {
    /// The client of the API server.
    pub client: Client,
    /// The caches that the watches fill.
    pub caches: Arc<Caches>,
    /// The connections to brokers and their limits.
    pub brokers: Brokers,
    /// The memory for what comes from users and brokers.
    pub memory: Arc<MemoryBudget>,
    /// The Events that wait to be published.
    pub events: EventLane,
    /// Counts reconciles and writes.
    pub metrics: Arc<Metrics>,
    /// The persisted id of this cluster. Requests to brokers hold it.
    pub cluster_id: String,
    /// Which admission policies are installed.
    pub policies: InstalledPolicies,
    /// The annotations that requests to brokers have in their context.
    pub annotation_allowlist: AnnotationAllowlist,
    /// The limits and intervals in force.
    pub settings: ReconcileSettings,
    /// The versions of the objects that this process wrote.
    pub expectations: Expectations,
    /// The memories of instances and bindings.
    pub operations: Memories<OperationMemory>,
    /// The memories of broker objects.
    pub catalogs: Memories<BrokerMemory>,
    /// Limits how many writes are in progress at the API server.
    pub writes: WritePermits,
    /// Whether the operator is shutting down. If so, it starts no more requests to brokers.
    pub stopping: AtomicBool,
    /// Until when this process is the leader. It sends and writes nothing after that.
    pub leadership: Leadership,
}

impl Context {
    /// Whether the operator is shutting down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Removes a deleted object from memory.
    pub fn forget(&self, uid: &str) {
        self.expectations.observe_deletion(uid);
        self.operations.forget(uid);
        self.catalogs.forget(uid);
    }
}
