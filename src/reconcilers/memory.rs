//! What does the process keep in memory about single objects, in addition to their status? Losing it costs a
//! request, never correctness.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::osb::ApiVersion;

/// The memory of an instance or a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationMemory {
    /// When the broker last answered a request about this object.
    pub answered: Option<Timestamp>,
    /// The operator does not poll the broker before this time (`Retry-After`).
    pub not_before: Option<Timestamp>,
    /// The last answer of a broker to a request for credentials had none.
    pub without_credentials: bool,
    /// The generation of the spec whose Secrets were missing or wrong when they were last read, and when that was.
    pub unreadable: Option<(i64, Timestamp)>,
    /// The version of the binding's Secret whose data was read last, and whether somebody had changed it.
    pub judged: Option<(u64, bool)>,
    /// When the operator last wrote the credentials again because somebody had changed them.
    pub put_right: Option<Timestamp>,
    /// When a description from the broker was last written to the status.
    pub described: Option<Timestamp>,
}

/// The memory of a broker object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerMemory {
    /// When the broker last answered a request for its catalog.
    pub answered: Option<Timestamp>,
    /// The operator does not request the catalog before this time (`Retry-After`).
    pub not_before: Option<Timestamp>,
    /// How many requests for the catalog have failed in a row.
    pub failures: i64,
    /// The generation of the spec that the failures belong to. After a change of the spec the operator tries
    /// again at once.
    pub generation: i64,
    /// The API version that the failures belong to. An annotation sets the version, so the generation does
    /// not change with it.
    pub api_version: Option<ApiVersion>,
    /// How many other broker objects this one could take the place of. When there are more, the operator
    /// tries again at once.
    pub replaced: usize,
    /// How many writes the catalogs have caused that count still (`super::broker`).
    pub owed: i64,
}

/// The memories of all objects of one type, by uid.
#[derive(Default)]
pub struct Memories<M>(Mutex<HashMap<String, M>>);

impl<M: Copy + Default + PartialEq> Memories<M> {
    /// The memory of an object.
    pub fn get(&self, uid: &str) -> M {
        self.lock().get(uid).copied().unwrap_or_default()
    }

    /// Sets the memory of an object.
    pub fn set(&self, uid: &str, memory: M) {
        if memory != self.get(uid) {
            self.lock().insert(uid.to_owned(), memory);
        }
    }

    /// Removes the memory of a deleted object.
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
