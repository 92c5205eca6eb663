//! What an answer to `GET /v2/catalog` means. Pure.
//!
//! If a catalog cannot be read, only the status of the broker changes: the class and plan objects stay as
//! they are. If one object cannot be written, the others are written all the same.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{
    BrokerReconciler, desired::desired, memory, restrictions::Restrictions, status, sync, sync::Changes,
};
use crate::{
    caches::Watched,
    clock,
    crd::{ServiceBrokerStatus, scope::BrokerObject as _},
    osb::{self, Catalog, InvalidCatalog, UnsentReason},
    reconcilers::{
        memory::BrokerMemory,
        reconciler::{Absorbed, AbsorbedOf, Next, Observed},
        writes::Write,
    },
};

/// What did that answer mean?
pub(super) fn absorb<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    outcome: osb::Outcome<Result<Arc<Catalog>, InvalidCatalog>>,
) -> AbsorbedOf<BrokerReconciler<S>> {
    let retry_after = outcome.retry_after().and_then(|pause| SignedDuration::try_from(pause).ok());
    let misconfigured = outcome.unsent_reason() == Some(UnsentReason::Configuration);
    let failure = outcome.failure().map(ToString::to_string).unwrap_or_default();
    let result = match outcome {
        osb::Outcome::Answered(Ok(catalog)) => {
            synced(observed, &catalog).map_err(|why| status::not_synced::<S>(observed, &why))
        }
        osb::Outcome::Answered(Err(invalid)) => Err(status::not_fetched::<S>(observed, &invalid.to_string())),
        osb::Outcome::Refused(_) | osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => {
            Err(status::not_fetched::<S>(observed, &failure))
        }
    };
    let attempt = memory::failed_attempt(observed);
    let (writes, status, memory) = match result {
        // No watch announces that the Secret was corrected, so it is read again soon. That sends no request
        // to the broker.
        Err(status) if misconfigured => {
            let not_before = Some(clock::later(observed.now, observed.settings.recheck_interval));
            (Vec::new(), status, BrokerMemory { not_before, failures: 1, ..attempt })
        }
        Err(status) => {
            let not_before = retry_after.map(|pause| clock::later(observed.now, pause));
            (Vec::new(), status, BrokerMemory { not_before, ..attempt })
        }
        Ok(Synced { writes, status, conflicts }) => {
            let unchanged = !conflicts && writes.is_empty() && status == observed.status();
            let failures = if unchanged { 0 } else { attempt.failures };
            let written: usize = writes.iter().map(Vec::len).sum();
            let owed = attempt.owed.saturating_add(i64::try_from(written).unwrap_or(i64::MAX));
            (writes, status, BrokerMemory { failures, owed, ..attempt })
        }
    };
    Absorbed { writes, next: Next::Record(status), memory }
}

struct Synced {
    writes: Vec<Vec<Write>>,
    status: ServiceBrokerStatus,
    /// Whether other objects prevent some of the writes. Then the catalog is fetched again, as after a
    /// failure.
    conflicts: bool,
}

/// The writes for a catalog, and the status after them.
fn synced<S: Watched>(observed: &Observed<BrokerReconciler<S>>, catalog: &Catalog) -> Result<Synced, String> {
    let broker = &*observed.object;
    let restrictions = Restrictions::parse(broker.common().catalog_restrictions.as_ref(), S::KIND)
        .map_err(|invalid| invalid.to_string())?;
    let limit = observed.settings.max_catalog_entries;
    let desired = desired(catalog, &restrictions, broker, &observed.dependencies, limit);
    let remarks = desired.remarks();
    let Changes { stages: writes, conflicts } = sync::changes(desired, &observed.dependencies, broker)?;
    let status = if conflicts.is_empty() {
        status::fetched::<S>(observed, &remarks, !writes.is_empty())
    } else {
        status::not_written::<S>(observed, &conflicts.to_string())
    };
    Ok(Synced { writes, status, conflicts: !conflicts.is_empty() })
}
