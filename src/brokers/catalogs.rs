//! The catalogs of brokers: what is kept of the last one, so that a broker can be asked whether it still holds.

use std::sync::{Arc, PoisonError, Weak, atomic::Ordering};

use super::{BrokerKey, Brokers, Known};
use crate::{
    osb::{Catalog, Client, Document, InvalidCatalog, Outcome, RefusalReason},
    stores::Stores,
};

/// The catalog that a broker gave last, if it can be asked whether that still holds.
pub(super) struct Kept {
    /// For which state of the broker object it was fetched.
    revision: Revision,
    /// By whom. Not to be kept alive: it holds credentials.
    client: Weak<Client>,
    document: Document,
}

/// The most that is kept of all catalogs together, in bytes of their text: four of the largest, or what thousands of brokers
/// offer as a rule. What does not find room is fetched in full every time.
const ROOM: usize = 64 << 20;

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
            if let Some(document) = fetched.document {
                self.keep(&known, Kept { revision: revision.clone(), client, document });
            }
            Ok(fetched.catalog)
        })
    }

    /// Keeps a catalog, if there is room.
    fn keep(&self, of: &Known, catalog: Kept) {
        let all: usize = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().map(|known| known.kept()).sum()
        };
        if all + catalog.document.body.len() <= ROOM {
            of.replace(Some(catalog));
        }
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
    fn kept(&self) -> usize {
        let kept = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map_or(0, |kept| kept.document.body.len())
    }

    fn replace(&self, catalog: Option<Kept>) -> Option<Kept> {
        std::mem::replace(&mut *self.catalog.lock().unwrap_or_else(PoisonError::into_inner), catalog)
    }
}

impl Kept {
    /// The catalog, if it may be asked about in these circumstances.
    fn fits(&self, client: &Arc<Client>, revision: &Revision) -> Option<&Document> {
        let same = self.revision == *revision && self.client.ptr_eq(&Arc::downgrade(client));
        same.then_some(&self.document)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{crd::ScopeKind, osb::fetched::Validator};

    #[tokio::test]
    async fn what_is_kept_of_all_catalogs_has_an_end() {
        let config = kube::Config::new(http::Uri::from_static("http://localhost"));
        let metrics = Arc::new(crate::metrics::Metrics::new().unwrap());
        let client = crate::client::with(config).unwrap();
        let (brokers, _told) = Brokers::new(client, crate::osb::Settings::default(), 1, metrics);
        let known = |name: usize| brokers.known(&BrokerKey::new(ScopeKind::Cluster, None, &name.to_string()));
        let keep = |name: usize| {
            let validator = Validator::Tag(HeaderValue::from_static("\"v\""));
            let document = Document { body: Arc::new(Zeroizing::new(vec![0; ROOM / 4])), validator };
            let revision = Revision { uid: String::new(), generation: 1 };
            brokers.keep(&known(name), Kept { revision, client: Weak::new(), document });
            known(name).kept() > 0
        };
        assert_eq!([0, 1, 2, 3, 4].map(keep), [true, true, true, true, false]);
        known(2).replace(None);
        assert!(keep(4));
    }
}
