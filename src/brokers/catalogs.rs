//! The catalogs of brokers: what is kept of the last one, so that a broker can be asked whether it still holds.

use std::sync::{Arc, PoisonError, Weak, atomic::Ordering};

use super::{BrokerKey, Brokers, Known};
use crate::{
    osb::{Catalog, Client, Fetched, InvalidCatalog, Outcome, RefusalReason},
    stores::Stores,
};

/// The catalog that a broker gave last, if it can be asked whether that still holds.
pub(super) struct Kept {
    /// For which state of the broker object it was fetched.
    revision: Revision,
    /// By whom. Not to be kept alive: it holds credentials.
    client: Weak<Client>,
    fetched: Fetched,
}

/// A state of a broker object's spec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revision {
    /// Which object: another one may have had the same name.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
}

impl Brokers {
    /// The catalog of a broker: fetched, or the last one if the broker says that it still holds.
    ///
    /// The broker is asked that only in the circumstances in which it gave the last one: by the same client (at the same
    /// address, with the same credentials), for the same revision of its object (so that `relistRequests` always has it
    /// fetched in full), in the same process, and if no request for it has failed since. What has become of the classes
    /// and plans meanwhile does not matter: a catalog that still holds is compared with them like a new one.
    pub async fn catalog(
        &self,
        stores: &Stores,
        key: &BrokerKey,
        revision: &Revision,
    ) -> Outcome<Result<Arc<Catalog>, InvalidCatalog>> {
        let known = self.known(key);
        known.outdated.store(false, Ordering::Relaxed);
        let kept = known.replace(None);
        let fetch = |client: Arc<Client>| {
            let before = kept.as_ref().and_then(|kept| kept.fits(&client, revision)).cloned();
            async move {
                let outcome = client.catalog(before.as_ref()).await;
                outcome.map(|result| result.map(|fetched| (Arc::downgrade(&client), fetched)))
            }
        };
        let outcome = self.ask(stores, key, fetch).await;
        outcome.map(|result| {
            let (client, fetched) = result?;
            let catalog = Arc::clone(&fetched.catalog);
            if fetched.validator.is_some() {
                known.replace(Some(Kept { revision: revision.clone(), client, fetched }));
            }
            Ok(catalog)
        })
    }

    /// A `MaintenanceInfoConflict` says that the catalog has changed: it is fetched again (OSB 2.17, "Service Broker
    /// Errors").
    pub(super) fn look_for_conflict<T>(&self, key: &BrokerKey, outcome: &Outcome<T>) {
        if matches!(outcome, Outcome::Refused(refusal) if refusal.reason == RefusalReason::MaintenanceInfoConflict)
        {
            self.known(key).outdated.store(true, Ordering::Relaxed);
            // Nobody listens any more only when the operator stops.
            let _ = self.outdated.unbounded_send(key.clone());
        }
    }

    /// Whether a broker has said, since its catalog was last fetched, that it has changed.
    pub fn is_outdated(&self, key: &BrokerKey) -> bool {
        self.known(key).outdated.load(Ordering::Relaxed)
    }
}

impl Known {
    fn replace(&self, catalog: Option<Kept>) -> Option<Kept> {
        std::mem::replace(&mut *self.catalog.lock().unwrap_or_else(PoisonError::into_inner), catalog)
    }
}

impl Kept {
    /// The catalog, if it may be asked about in these circumstances.
    fn fits(&self, client: &Arc<Client>, revision: &Revision) -> Option<&Fetched> {
        let same = self.revision == *revision && self.client.ptr_eq(&Arc::downgrade(client));
        same.then_some(&self.fetched)
    }
}
