//! What an answer to `GET /v2/catalog` means. Pure.
//!
//! A catalog that cannot be read, or that conflicts with what others offer, changes nothing but the broker's status:
//! the entries of the last good one stay as they are. An entry that the API server refuses keeps no other from being
//! written.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;

use super::{BrokerMachine, desired::desired, plan, restrictions::Restrictions, sync};
use crate::{
    context::Memory,
    crd::{
        ConditionStatus, ConditionType, ServiceBrokerStatus, condition::Conditioned as _,
        scope::BrokerObject as _,
    },
    osb::{self, Catalog, Hindrance, InvalidCatalog},
    reconcilers::{
        backoff,
        machine::{Absorbed, Next, Observed},
        reason::Reason,
        write::Write,
    },
    stores::Watched,
};

/// How many of the entries that were left out are named.
const NAMED: usize = 10;

pub(super) fn absorb<S: Watched>(
    observed: &Observed<BrokerMachine<S>>,
    outcome: osb::Outcome<Result<Arc<Catalog>, InvalidCatalog>>,
) -> Absorbed<BrokerMachine<S>> {
    let retry_after = outcome.retry_after().and_then(|pause| SignedDuration::try_from(pause).ok());
    let mendable_here = outcome.hindrance() == Some(Hindrance::Settings);
    let failure = outcome.failure_message().unwrap_or_default().to_owned();
    let result = match outcome {
        osb::Outcome::Answered(Ok(catalog)) => {
            synced(observed, &catalog).map_err(|conflict| not_synced::<S>(observed, &conflict))
        }
        osb::Outcome::Answered(Err(invalid)) => Err(not_fetched::<S>(observed, &invalid.to_string())),
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => {
            Err(not_fetched::<S>(observed, &failure))
        }
    };
    let tried = tried(observed);
    match result {
        // Nobody announces that the Secret was mended; looking again asks nothing of the broker.
        Err(status) if mendable_here => {
            let not_before = Some(backoff::later(observed.now, observed.tunables.recheck_interval));
            Absorbed {
                writes: Vec::new(),
                next: Next::Record(status),
                memory: Memory { not_before, failures: 1, ..tried },
            }
        }
        Err(status) => {
            let not_before = retry_after.map(|pause| backoff::later(observed.now, pause));
            Absorbed {
                writes: Vec::new(),
                next: Next::Record(status),
                memory: Memory { not_before, ..tried },
            }
        }
        Ok((writes, status)) => {
            let unchanged = writes.is_empty() && status == observed.status();
            let memory = if unchanged { Memory { failures: 0, ..tried } } else { tried };
            Absorbed { writes, next: Next::Record(status), memory }
        }
    }
}

/// What is remembered of a try: as of a failed one, for as long as nothing proves the contrary.
fn tried<S: Watched>(observed: &Observed<BrokerMachine<S>>) -> Memory {
    Memory {
        answered: Some(observed.now),
        not_before: None,
        failures: plan::failures(observed) + 1,
        generation: observed.object.meta().generation.unwrap_or_default(),
        api_version: plan::api_version::<S>(&observed.object),
        ..observed.memory
    }
}

/// The writes that a catalog asks for and the status after them. An unchanged one asks for none and leaves the status
/// as it is, the time included: that is in memory.
fn synced<S: Watched>(
    observed: &Observed<BrokerMachine<S>>,
    catalog: &Catalog,
) -> Result<(Vec<Vec<Write>>, ServiceBrokerStatus), String> {
    let broker = &*observed.object;
    let restrictions = Restrictions::parse(broker.common().catalog_restrictions.as_ref(), S::KIND)
        .map_err(|invalid| invalid.to_string())?;
    let desired = desired(catalog, &restrictions, broker, &observed.world);
    let writes = sync::stages(&desired, &observed.world, broker)?;
    let present = observed.status();
    let mut status = present.clone();
    let message = success_message(&desired.left_out);
    judge(&mut status, ConditionStatus::True, Reason::FetchedCatalog, &message, observed);
    status.operation_start_time = None;
    status.reconciled_generation = broker.meta().generation.unwrap_or_default();
    status.catalog_reader = plan::CATALOG_READER;
    if !writes.is_empty() || status != present {
        status.last_catalog_retrieval_time = Some(Time(observed.now));
    }
    Ok((writes, status))
}

fn success_message(left_out: &[String]) -> String {
    let named = left_out.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    let left_out = match left_out.len().saturating_sub(NAMED) {
        0 if named.is_empty() => String::new(),
        0 => format!(" Left out: {named}"),
        more => format!(" Left out: {named}; and {more} more"),
    };
    format!("Successfully fetched catalog entries from broker.{left_out}")
}

/// The status after a catalog that could not be had.
fn not_fetched<S: Watched>(observed: &Observed<BrokerMachine<S>>, why: &str) -> ServiceBrokerStatus {
    let message = format!("Error fetching catalog. {why}; tried again by itself");
    failed(observed, Reason::ErrorFetchingCatalog, &message)
}

/// The status after a catalog that cannot be turned into objects.
pub(super) fn not_synced<S: Watched>(
    observed: &Observed<BrokerMachine<S>>,
    why: &str,
) -> ServiceBrokerStatus {
    let kind = S::Broker::kind(&());
    failed(observed, Reason::ErrorSyncingCatalog, &format!("Error syncing catalog from {kind}. {why}"))
}

/// The status after a catalog some of whose objects the API server does not take.
pub(super) fn not_written<S: Watched>(
    observed: &Observed<BrokerMachine<S>>,
    why: &str,
) -> ServiceBrokerStatus {
    not_synced::<S>(
        observed,
        &format!("{why}; everything else of the catalog is in place; tried again by itself"),
    )
}

/// The status of a broker that cannot go yet.
pub(super) fn blocked<S: Watched>(observed: &Observed<BrokerMachine<S>>, why: &str) -> ServiceBrokerStatus {
    let mut status = observed.status();
    judge(&mut status, ConditionStatus::False, Reason::DeletionBlockedByExistingInstances, why, observed);
    status
}

fn failed<S: Watched>(
    observed: &Observed<BrokerMachine<S>>,
    reason: Reason,
    message: &str,
) -> ServiceBrokerStatus {
    let mut status = observed.status();
    judge(&mut status, ConditionStatus::False, reason, message, observed);
    status.operation_start_time.get_or_insert(Time(observed.now));
    status
}

/// `Ready`, and nothing beside it: the original may have left a `Failed`.
fn judge<S: Watched>(
    status: &mut ServiceBrokerStatus,
    ready: ConditionStatus,
    reason: Reason,
    message: &str,
    observed: &Observed<BrokerMachine<S>>,
) {
    status.observed_generation = observed.object.meta().generation.unwrap_or_default();
    status.unmark(ConditionType::Failed);
    status.mark(ConditionType::Ready, ready, reason, message, observed.now);
}
