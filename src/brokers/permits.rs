//! The limits on requests at the same time: a number for each broker, and one change at a
//! time for each instance.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{crd::common::BrokerKey, osb::InstanceId};

/// How many locks of instances are kept before the unused ones are dropped.
const MIN_LOCKS: usize = 1024;

/// The limits that a request is subject to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConcurrencyKey {
    /// A broker gets only so many requests at once.
    pub broker: BrokerKey,
    /// Set for requests that change an instance or one of its bindings: they are sent one after the other.
    /// OSB 2.17 ("Blocking Operations") leaves it to the broker whether they may overlap.
    pub instance_id: Option<InstanceId>,
}

/// The right to send one request now. It ends when it is dropped.
pub struct Permit {
    /// Whether the task had to wait for it. What it read before may have changed.
    pub waited: bool,
    _instance: Option<OwnedMutexGuard<()>>,
    _broker: Option<OwnedSemaphorePermit>,
}

type InstanceLock = Arc<AsyncMutex<()>>;

/// The locks of the instances that have requests in progress.
#[derive(Default)]
pub(super) struct InstanceLocks(Mutex<Locks>);

#[derive(Default)]
struct Locks {
    by_id: HashMap<InstanceId, InstanceLock>,
    /// The number of locks at which the unused ones are dropped. It doubles with the locks in use, so that
    /// dropping takes a constant time for each lock on average.
    sweep_at: usize,
}

impl InstanceLocks {
    fn of(&self, id: &InstanceId) -> InstanceLock {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.by_id.len() >= locks.sweep_at.max(MIN_LOCKS) {
            locks.by_id.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.sweep_at = 2 * locks.by_id.len();
        }
        Arc::clone(locks.by_id.entry(id.clone()).or_default())
    }

    /// Waits for the right to send a request to the broker whose permits these are. Calls `before_waiting`
    /// before each wait.
    pub(super) async fn acquire(
        &self,
        broker_permits: Arc<Semaphore>,
        key: &ConcurrencyKey,
        mut before_waiting: impl FnMut(),
    ) -> Permit {
        let mut waited = false;
        let mut instance = None;
        if let Some(id) = &key.instance_id {
            let lock = self.of(id);
            instance = Arc::clone(&lock).try_lock_owned().ok();
            if instance.is_none() {
                before_waiting();
                waited = true;
                instance = Some(lock.lock_owned().await);
            }
        }
        let mut broker = Arc::clone(&broker_permits).try_acquire_owned().ok();
        if broker.is_none() {
            before_waiting();
            waited = true;
            // The semaphore is never closed, so this cannot fail; without a permit the request would be sent
            // anyway.
            broker = broker_permits.acquire_owned().await.ok();
        }
        Permit { waited, _instance: instance, _broker: broker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_dropped_only_when_no_task_holds_them() {
        let locks = InstanceLocks::default();
        let id = |number: usize| InstanceId::from(number.to_string().as_str());
        let held: Vec<InstanceLock> = (0..2 * MIN_LOCKS).map(|number| locks.of(&id(number))).collect();
        for number in 0..20 * MIN_LOCKS {
            locks.of(&id(100 * MIN_LOCKS + number));
        }
        assert!(held.iter().enumerate().all(|(number, lock)| Arc::ptr_eq(lock, &locks.of(&id(number)))));
        let kept = locks.0.lock().unwrap().by_id.len();
        assert!((held.len()..=4 * MIN_LOCKS).contains(&kept), "{kept}");
    }
}
