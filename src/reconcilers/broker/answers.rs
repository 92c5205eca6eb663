//! What an answer to `GET /v2/catalog` means. Pure.
//!
//! A catalog that cannot be read changes nothing but the broker's status: the objects of the last good one stay as they
//! are. An object that cannot be written does not keep the others from being written.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{
    BrokerReconciler, desired::desired, memory, restrictions::Restrictions, status, sync, sync::Changes,
};
use crate::{
    caches::Watched,
    crd::{ServiceBrokerStatus, scope::BrokerObject as _},
    osb::{self, Catalog, InvalidCatalog, UnsentReason},
    reconcilers::{
        backoff,
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
    let tried = memory::tried(observed);
    let (writes, status, memory) = match result {
        // No watch announces that the Secret was corrected. Reading it again asks nothing of the broker.
        Err(status) if misconfigured => {
            let not_before = Some(backoff::later(observed.now, observed.settings.recheck_interval));
            (Vec::new(), status, BrokerMemory { not_before, failures: 1, ..tried })
        }
        Err(status) => {
            let not_before = retry_after.map(|pause| backoff::later(observed.now, pause));
            (Vec::new(), status, BrokerMemory { not_before, ..tried })
        }
        Ok(Synced { writes, status, conflicts }) => {
            let unchanged = !conflicts && writes.is_empty() && status == observed.status();
            let failures = if unchanged { 0 } else { tried.failures };
            (writes, status, BrokerMemory { failures, ..tried })
        }
    };
    Absorbed { writes, next: Next::Record(status), memory }
}

struct Synced {
    writes: Vec<Vec<Write>>,
    status: ServiceBrokerStatus,
    /// Whether something stands in the way of some objects. Then the catalog is fetched again as after a failure.
    conflicts: bool,
}

/// The writes that a catalog asks for, and the status after them.
fn synced<S: Watched>(observed: &Observed<BrokerReconciler<S>>, catalog: &Catalog) -> Result<Synced, String> {
    let broker = &*observed.object;
    let restrictions = Restrictions::parse(broker.common().catalog_restrictions.as_ref(), S::KIND)
        .map_err(|invalid| invalid.to_string())?;
    let desired = desired(catalog, &restrictions, broker, &observed.dependencies);
    let remarks = desired.remarks();
    let Changes { stages: writes, conflicts } = sync::changes(desired, &observed.dependencies, broker)?;
    let status = if conflicts.is_empty() {
        status::fetched::<S>(observed, &remarks, !writes.is_empty())
    } else {
        status::not_written::<S>(observed, &conflicts.to_string())
    };
    Ok(Synced { writes, status, conflicts: !conflicts.is_empty() })
}
