//! The limits on requests at the same time: a number for each broker (`turns`), and one change at a time for each
//! instance and each binding.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::turns::{Lane, Place, Tenant};
use crate::{
    crd::common::BrokerKey,
    osb::{BindingId, InstanceId, ids::normal_form},
};

/// How many locks are kept before the unused ones are dropped.
const MIN_LOCKS: usize = 1024;

/// The limits that a request is subject to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConcurrencyKey {
    /// A broker gets only so many requests at once.
    pub broker: BrokerKey,
    /// Set for requests that change an instance or one of its bindings: they are sent one after the other.
    /// OSB 2.17 ("Blocking Operations") leaves it to the broker whether they may overlap.
    pub instance_id: Option<InstanceId>,
    /// Set for requests that change a binding. A broker may look for a binding by its id alone, so two
    /// bindings with one id are no different from one, even if their instances differ.
    pub binding_id: Option<BindingId>,
    /// Who takes turns with others behind the broker.
    pub lane: Lane,
}

impl ConcurrencyKey {
    /// What only one request at a time may change, in the order in which the locks are taken. `reached` is
    /// the broker as it is reached. The ids of tenants of other brokers do not block each other.
    fn locked(&self, reached: &str) -> impl Iterator<Item = Locked> {
        let instance = self.instance_id.as_deref().map(|id| (Resource::Instance, id));
        let binding = self.binding_id.as_deref().map(|id| (Resource::Binding, id));
        let locked = |(resource, id)| Locked {
            broker: reached.to_owned(),
            resource,
            id: normal_form(id).into_owned(),
        };
        [instance, binding].into_iter().flatten().map(locked)
    }
}

/// What only one request at a time may change.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Locked {
    /// The broker as it is reached.
    broker: String,
    resource: Resource,
    /// The id, in normal form.
    id: String,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Resource {
    Instance,
    Binding,
}

/// The right to send one request now. It ends when it is dropped.
pub struct Permit {
    pub(super) _locks: Vec<OwnedMutexGuard<()>>,
    pub(super) _place: Place,
    pub(super) _request: Place<Tenant>,
}

type Lock = Arc<AsyncMutex<()>>;

/// The locks of the instances and bindings that have requests in progress.
#[derive(Default)]
pub(super) struct IdLocks(Mutex<Locks>);

#[derive(Default)]
struct Locks {
    by_id: HashMap<Locked, Lock>,
    /// The number of locks at which the unused ones are dropped. It doubles with the locks in use, so that
    /// dropping takes a constant time for each lock on average.
    sweep_at: usize,
}

impl IdLocks {
    fn of(&self, locked: Locked) -> Lock {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.by_id.len() >= locks.sweep_at.max(MIN_LOCKS) {
            locks.by_id.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.sweep_at = 2 * locks.by_id.len();
        }
        Arc::clone(locks.by_id.entry(locked).or_default())
    }

    /// Locks what a request changes at a broker that is `reached` like this, if nobody else has it locked.
    pub(super) fn try_lock(&self, key: &ConcurrencyKey, reached: &str) -> Option<Vec<OwnedMutexGuard<()>>> {
        key.locked(reached).map(|locked| self.of(locked).try_lock_owned().ok()).collect()
    }

    /// Locks what a request changes. Who came first is first.
    pub(super) async fn lock(&self, key: &ConcurrencyKey, reached: &str) -> Vec<OwnedMutexGuard<()>> {
        let mut guards = Vec::new();
        for locked in key.locked(reached) {
            guards.push(self.of(locked).lock_owned().await);
        }
        guards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::ScopeKind;

    fn locked(reached: &str, instance: Option<&str>, binding: Option<&str>) -> Vec<Locked> {
        let key = ConcurrencyKey {
            broker: BrokerKey::new(ScopeKind::Cluster, None, "b"),
            instance_id: instance.map(Into::into),
            binding_id: binding.map(Into::into),
            lane: Lane::Catalog,
        };
        key.locked(reached).collect()
    }

    #[test]
    fn what_is_locked_depends_on_the_broker_and_not_on_the_spelling() {
        const A: &str = "https://a.example";
        let uuid = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";
        let upper = uuid.to_uppercase();
        assert_eq!(locked(A, Some(uuid), None), locked(A, Some(&upper), None));
        assert_eq!(locked(A, Some(uuid), Some("x")).len(), 2);
        assert_ne!(locked(A, Some(uuid), None), locked("https://b.example", Some(uuid), None));
        assert_ne!(locked(A, Some(uuid), None), locked(A, None, Some(uuid)));
        assert!(locked(A, None, None).is_empty());
    }

    #[test]
    fn locks_are_dropped_only_when_no_task_holds_them() {
        let locks = IdLocks::default();
        let id = |number: usize| locked("https://b.example", Some(&number.to_string()), None).remove(0);
        let held: Vec<Lock> = (0..2 * MIN_LOCKS).map(|number| locks.of(id(number))).collect();
        for number in 0..20 * MIN_LOCKS {
            locks.of(id(100 * MIN_LOCKS + number));
        }
        assert!(held.iter().enumerate().all(|(number, lock)| Arc::ptr_eq(lock, &locks.of(id(number)))));
        let kept = locks.0.lock().unwrap().by_id.len();
        assert!((held.len()..=4 * MIN_LOCKS).contains(&kept), "{kept}");
    }
}
