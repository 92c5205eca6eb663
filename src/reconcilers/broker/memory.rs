//! What the process remembers of the attempts to fetch a catalog, and how far the status confirms it. Pure.

use jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _};

use super::BrokerReconciler;
use crate::{
    caches::Watched,
    clock,
    crd::{ConditionType, ServiceBrokerStatus, condition},
    osb::ApiVersion,
    reconcilers::{memory::BrokerMemory, reconciler::Observed},
};

/// How many classes and plans may be written for one broker in a second, in the long run.
const WRITES_PER_SECOND: i64 = 10;

/// The memory of an attempt. It counts as failed until the status proves that it has succeeded.
pub(super) fn failed_attempt<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> BrokerMemory {
    BrokerMemory {
        answered: Some(observed.now),
        not_before: None,
        failures: failures(observed) + 1,
        generation: observed.object.meta().generation.unwrap_or_default(),
        api_version: api_version::<S>(&observed.object),
        replaced: observed.dependencies.replaced.len(),
        owed: owed(observed),
    }
}

/// How many of the writes for the last catalogs count still.
fn owed<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> i64 {
    let BrokerMemory { owed, answered, .. } = observed.memory;
    let elapsed = answered.map_or(0, |at| observed.now.duration_since(at).as_secs().max(0));
    (owed - elapsed.saturating_mul(WRITES_PER_SECOND)).max(0)
}

/// Before this time no further catalog is fetched, because the last ones have changed too much: a catalog that has other
/// entries each time must not keep the API server busy. Two catalogs of the largest size can change completely before the
/// operator slows down, so this delays nobody who edits a broker.
pub(super) fn fetch_not_before<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> Option<Timestamp> {
    let burst = i64::try_from(observed.settings.max_catalog_entries).unwrap_or(i64::MAX).saturating_mul(2);
    let excess = observed.memory.owed.saturating_sub(burst).max(0);
    let pause = SignedDuration::from_secs(excess / WRITES_PER_SECOND);
    observed.memory.answered.map(|at| clock::later(at, pause))
}

/// How often the operator has failed to fetch the catalog and write its objects since the last success.
/// `absorb` counts the attempt as a failure before the writes, because it does not learn of a failed write.
/// The status is written after them, so it proves that they succeeded.
pub(super) fn failures<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> i64 {
    let status = observed.status();
    let generation = observed.object.meta().generation.unwrap_or_default();
    let recorded = status.last_catalog_retrieval_time.as_ref().map(|time| time.0.as_second());
    let last_attempt = observed.memory.answered.map(Timestamp::as_second);
    let done = is_ready(&status) && status.reconciled_generation == generation && recorded >= last_attempt;
    if done || !is_current(observed) { 0 } else { observed.memory.failures }
}

/// Whether the memory is about the present spec and API version of the broker object, and about the broker
/// objects that it replaces.
pub(super) fn is_current<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> bool {
    let (broker, memory) = (&observed.object, &observed.memory);
    memory.generation == broker.meta().generation.unwrap_or_default()
        && memory.api_version == api_version::<S>(broker)
        && memory.replaced >= observed.dependencies.replaced.len()
}

/// The API version of requests to the broker. `None` if its annotation is invalid.
fn api_version<S: Watched>(broker: &S::Broker) -> Option<ApiVersion> {
    ApiVersion::of_annotations(broker.annotations()).ok()
}

/// Whether the last fetch succeeded.
pub(super) fn is_ready(status: &ServiceBrokerStatus) -> bool {
    condition::is_true(&status.conditions, ConditionType::Ready)
}
