//! The last catalog of each broker, so that the next request for it can be conditional (OSB 2.17, "Catalog
//! Management": `ETag`, `Last-Modified`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::{
    crd::common::BrokerKey,
    osb::{Client, Document},
};

/// One version of the spec of a broker object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revision {
    /// The uid of the object. Another object may have had the same name.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
}

/// The last catalog that a broker sent, and who requested it.
pub(super) struct KeptCatalog {
    /// The version of the broker object at the time of the request.
    pub revision: Revision,
    /// The client that sent the request. A weak reference, because a client holds credentials.
    pub client: Weak<Client>,
    /// The catalog as text.
    pub document: Document,
}

impl KeptCatalog {
    /// The catalog, if this client may send a conditional request for it, for this version of the broker
    /// object.
    pub fn usable_for(&self, client: &Arc<Client>, revision: &Revision) -> Option<&Document> {
        let same = self.revision == *revision && self.client.ptr_eq(&Arc::downgrade(client));
        same.then_some(&self.document)
    }
}

/// The catalogs that are kept, by broker.
pub(super) struct KeptCatalogs {
    by_broker: Mutex<HashMap<BrokerKey, KeptCatalog>>,
    /// The limit for all of them together, in bytes of their text. A catalog that would exceed it is not kept,
    /// and so is fetched in full every time.
    most: usize,
}

impl KeptCatalogs {
    /// Keeps no catalogs yet.
    pub fn within(most: usize) -> Self {
        Self { by_broker: Mutex::default(), most }
    }

    /// Removes a catalog and returns it.
    pub fn take(&self, key: &BrokerKey) -> Option<KeptCatalog> {
        self.by_broker.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }

    /// Keeps a catalog, if it does not exceed the limit.
    pub fn keep(&self, key: &BrokerKey, catalog: KeptCatalog) {
        let mut kept = self.by_broker.lock().unwrap_or_else(PoisonError::into_inner);
        let others: usize = kept.values().map(|other| other.document.body.len()).sum();
        if others + catalog.document.body.len() <= self.most {
            kept.insert(key.clone(), catalog);
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{crd::ScopeKind, osb::caching::Validator};

    #[test]
    fn kept_catalogs_are_bounded_together() {
        let catalogs = KeptCatalogs::within(64);
        let key = |name: usize| BrokerKey::new(ScopeKind::Cluster, None, &name.to_string());
        let keep = |name: usize| {
            let validator = Validator::Tag(HeaderValue::from_static("\"v\""));
            let document = Document { body: Arc::new(Zeroizing::new(vec![0; 16])), validator };
            let revision = Revision { uid: String::new(), generation: 1 };
            catalogs.keep(&key(name), KeptCatalog { revision, client: Weak::new(), document });
            catalogs.by_broker.lock().unwrap().contains_key(&key(name))
        };
        assert_eq!([0, 1, 2, 3, 4].map(keep), [true, true, true, true, false]);
        assert!(catalogs.take(&key(2)).is_some());
        assert!(keep(4));
    }
}
