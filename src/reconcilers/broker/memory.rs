//! What the process remembers of tries to fetch a catalog, and what it is worth. Pure.

use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};

use super::BrokerReconciler;
use crate::{
    caches::Watched,
    crd::{ConditionType, ServiceBrokerStatus, condition},
    osb::ApiVersion,
    reconcilers::{memory::BrokerMemory, reconciler::Observed},
};

/// The memory of a try: as of a failed one, for as long as nothing proves the contrary.
pub(super) fn tried<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> BrokerMemory {
    BrokerMemory {
        answered: Some(observed.now),
        not_before: None,
        failures: failures(observed) + 1,
        generation: observed.object.meta().generation.unwrap_or_default(),
        api_version: api_version::<S>(&observed.object),
    }
}

/// How often fetching the catalog and writing its objects has failed since it last succeeded. The count in memory is raised
/// before the writes, because a failed write does not come back to `absorb`; the status on record proves them done.
pub(super) fn failures<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> i64 {
    let status = observed.status();
    let generation = observed.object.meta().generation.unwrap_or_default();
    let recorded = status.last_catalog_retrieval_time.as_ref().map(|time| time.0.as_second());
    let tried = observed.memory.answered.map(Timestamp::as_second);
    let done = is_ready(&status) && status.reconciled_generation == generation && recorded >= tried;
    if done || !is_current(observed) { 0 } else { observed.memory.failures }
}

/// Whether the memory belongs to the broker object as it is now.
pub(super) fn is_current<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> bool {
    let (broker, memory) = (&observed.object, &observed.memory);
    memory.generation == broker.meta().generation.unwrap_or_default()
        && memory.api_version == api_version::<S>(broker)
}

/// The API version that the broker is asked with; none if its annotation is invalid.
fn api_version<S: Watched>(broker: &S::Broker) -> Option<ApiVersion> {
    ApiVersion::of_annotations(broker.annotations()).ok()
}

/// Whether the last fetch succeeded.
pub(super) fn is_ready(status: &ServiceBrokerStatus) -> bool {
    condition::is_true(&status.conditions, ConditionType::Ready)
}
