//! What the process remembers of single objects beside their status. Losing it costs a request, never correctness.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::osb::ApiVersion;

/// Of an instance or a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationMemory {
    /// When a broker last answered about this object.
    pub answered: Option<Timestamp>,
    /// The broker does not want to be polled before this time (`Retry-After`).
    pub not_before: Option<Timestamp>,
    /// When a description by the broker was last written to status.
    pub described: Option<Timestamp>,
}

/// Of a broker object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerMemory {
    /// When the broker last answered to a request for its catalog.
    pub answered: Option<Timestamp>,
    /// The broker does not want to be asked before this time (`Retry-After`).
    pub not_before: Option<Timestamp>,
    /// How many requests for the catalog failed one after the other.
    pub failures: i64,
    /// The generation of the spec that the failures belong to. Another one is tried at once.
    pub generation: i64,
    /// The API version that the failures belong to. An annotation sets it, which is not part of the spec.
    pub api_version: Option<ApiVersion>,
}

/// The memories of all objects of some kinds, by uid.
#[derive(Default)]
pub struct Memories<M>(Mutex<HashMap<String, M>>);

impl<M: Copy + Default + PartialEq> Memories<M> {
    /// What is remembered of an object.
    pub fn get(&self, uid: &str) -> M {
        self.lock().get(uid).copied().unwrap_or_default()
    }

    /// Remembers this of an object.
    pub fn set(&self, uid: &str, memory: M) {
        if memory != self.get(uid) {
            self.lock().insert(uid.to_owned(), memory);
        }
    }

    /// Forgets a deleted object.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_an_object_is_kept_until_the_object_is_gone() {
        let memories = Memories::<BrokerMemory>::default();
        let failed = BrokerMemory { failures: 3, ..BrokerMemory::default() };
        memories.set("u", failed);
        memories.set("v", BrokerMemory::default());
        assert_eq!((memories.get("u"), memories.get("v")), (failed, BrokerMemory::default()));
        memories.forget("u");
        assert_eq!(memories.get("u"), BrokerMemory::default());
        assert!(memories.lock().is_empty(), "nothing to remember takes no room");
    }
}
