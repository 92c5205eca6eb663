//! The statuses of a broker that are written. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;

use super::BrokerReconciler;
use crate::{
    caches::Watched,
    crd::{ConditionStatus, ConditionType, ServiceBrokerStatus, condition::Conditioned as _},
    reconcilers::{reason::Reason, reconciler::Observed},
};

/// The version of the code that reads catalogs, recorded in `status.catalogReader`. Increase it when classes
/// or plans get another field: then the operator fetches the catalogs of existing brokers at once. v0.3
/// counts as 0: it read fewer fields, and did not own the classes and plans of namespaced brokers.
pub(super) const CATALOG_READER: i64 = 1;

/// The catalog was fetched, and its objects are written next. `remarks` names what was left out. `changes`
/// says whether any object is written. An unchanged catalog does not change the status. Its time is then only
/// in memory.
pub(super) fn fetched<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    remarks: &str,
    changes: bool,
) -> ServiceBrokerStatus {
    let present = observed.status();
    let mut status = present.clone();
    let message = format!("Successfully fetched catalog entries from broker.{remarks}");
    set_ready(&mut status, ConditionStatus::True, Reason::FetchedCatalog, &message, observed);
    status.operation_start_time = None;
    status.reconciled_generation = observed.object.meta().generation.unwrap_or_default();
    status.catalog_reader = CATALOG_READER;
    if changes || status != present {
        status.last_catalog_retrieval_time = Some(Time(observed.now));
    }
    status
}

/// The catalog could not be fetched.
pub(super) fn not_fetched<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    why: &str,
) -> ServiceBrokerStatus {
    let message = format!("Error fetching catalog. {why}; the operator tries again");
    failed(observed, Reason::ErrorFetchingCatalog, &message)
}

/// The object cannot be read in full.
pub(super) fn unreadable<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    message: &str,
) -> ServiceBrokerStatus {
    failed(observed, Reason::Unreadable, message)
}

/// The catalog cannot be turned into objects.
pub(super) fn not_synced<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    why: &str,
) -> ServiceBrokerStatus {
    let kind = S::Broker::kind(&());
    failed(observed, Reason::ErrorSyncingCatalog, &format!("Error syncing catalog from {kind}. {why}"))
}

/// Some objects of the catalog cannot be written.
pub(super) fn not_written<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    why: &str,
) -> ServiceBrokerStatus {
    let why = format!("{why}; the rest of the catalog is in place; the operator tries again");
    not_synced::<S>(observed, &why)
}

/// The broker cannot be deleted yet.
pub(super) fn deletion_blocked<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    why: &str,
) -> ServiceBrokerStatus {
    let mut status = observed.status();
    let reason = Reason::DeletionBlockedByExistingInstances;
    set_ready(&mut status, ConditionStatus::False, reason, why, observed);
    status
}

fn failed<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    reason: Reason,
    message: &str,
) -> ServiceBrokerStatus {
    let mut status = observed.status();
    set_ready(&mut status, ConditionStatus::False, reason, message, observed);
    status.operation_start_time.get_or_insert(Time(observed.now));
    status
}

/// Sets `Ready`, and removes the `Failed` that v0.3 may have left.
fn set_ready<S: Watched>(
    status: &mut ServiceBrokerStatus,
    ready: ConditionStatus,
    reason: Reason,
    message: &str,
    observed: &Observed<BrokerReconciler<S>>,
) {
    status.observed_generation = observed.object.meta().generation.unwrap_or_default();
    status.remove_condition(ConditionType::Failed);
    status.set_condition(ConditionType::Ready, ready, reason, message, observed.now);
}
