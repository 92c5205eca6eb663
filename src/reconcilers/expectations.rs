//! Is an object from the cache older than what this process wrote? The expectations remember the written
//! versions, so that no reconcile works on an older one.
//!
//! The name comes from client-go: a controller expects its watch to show what it wrote.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::crd::scope::Object;

/// How long the uid of a deleted object is remembered. A reconcile that read the object from a stale cache is
/// recognized as stale for that time.
const TOMBSTONE: Duration = Duration::from_secs(60);

/// The expectations of all objects, by uid.
#[derive(Default)]
pub struct Expectations(Mutex<State>);

#[derive(Default)]
struct State {
    objects: HashMap<String, Expectation>,
    /// The uids of deleted objects and when they were deleted, oldest first.
    deleted: VecDeque<(Instant, String)>,
}

#[derive(Clone, Copy, Default)]
struct Expectation {
    /// The newest version that this process wrote.
    written: u64,
    /// This process removed the finalizer, so the object will disappear unless another finalizer keeps it.
    deletion_expected: bool,
    /// The watch has shown the deletion of the object.
    deleted: bool,
    /// Since when the cache has been stale.
    stale_since: Option<Instant>,
    /// How many reconciles have failed in a row.
    failures: i64,
}

impl Expectations {
    /// Records a version that this process wrote. If the write ended the object, nothing is recorded, as the
    /// watch may have shown the deletion already.
    pub fn observe_write<K: Object>(&self, object: &K) {
        if is_gone(object) {
            return;
        }
        if let (Some(uid), Some(version)) = (object.meta().uid.clone(), version(object)) {
            let mut state = self.lock();
            let newest = &mut state.objects.entry(uid).or_default().written;
            *newest = version.max(*newest);
        }
    }

    /// For how long a cached object has been older than the last write of this process. `None` if it is not
    /// older.
    pub fn stale_for<K: Object>(&self, object: &K) -> Option<Duration> {
        let mut state = self.lock();
        let expectation = state.objects.get_mut(object.meta().uid.as_deref()?)?;
        let older = version(object).is_some_and(|version| version < expectation.written);
        if !older && !expectation.deletion_expected && !expectation.deleted {
            expectation.stale_since = None;
            return None;
        }
        Some(expectation.stale_since.get_or_insert_with(Instant::now).elapsed())
    }

    /// Records an object that was read from the API server as the newest version. After the restore of a
    /// backup of etcd, versions start again at a lower number.
    pub fn resync<K: Object>(&self, object: &K) {
        if let (Some(uid), Some(version)) = (object.meta().uid.clone(), version(object)) {
            let mut state = self.lock();
            let expectation = state.objects.entry(uid).or_default();
            *expectation =
                Expectation { written: version, failures: expectation.failures, ..Expectation::default() };
        }
    }

    /// Counts a failed reconcile, and returns how many have failed in a row.
    pub fn record_failure(&self, uid: &str) -> i64 {
        let mut state = self.lock();
        let failures = &mut state.objects.entry(uid.to_owned()).or_default().failures;
        *failures += 1;
        *failures
    }

    /// Records that a reconcile has succeeded.
    pub fn reset_failures(&self, uid: &str) {
        if let Some(expectation) = self.lock().objects.get_mut(uid) {
            expectation.failures = 0;
        }
    }

    /// Records that this process is about to remove the finalizer. The cache is stale until the watch shows
    /// the deletion.
    pub fn expect_deletion(&self, uid: &str) {
        self.lock().objects.entry(uid.to_owned()).or_default().deletion_expected = true;
    }

    /// Records that the object still exists.
    pub fn cancel_deletion(&self, uid: &str) {
        if let Some(expectation) = self.lock().objects.get_mut(uid) {
            expectation.deletion_expected = false;
        }
    }

    /// Records that the watch has shown the deletion of an object. Only the uid is kept, for [`TOMBSTONE`].
    pub fn observe_deletion(&self, uid: &str) {
        let mut state = self.lock();
        state.objects.insert(uid.to_owned(), Expectation { deleted: true, ..Expectation::default() });
        state.deleted.push_back((Instant::now(), uid.to_owned()));
        while state.deleted.front().is_some_and(|(since, _)| since.elapsed() > TOMBSTONE) {
            let Some((_, uid)) = state.deleted.pop_front() else { break };
            if state.objects.get(&uid).is_some_and(|expectation| expectation.deleted) {
                state.objects.remove(&uid);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an object that is being deleted has no finalizer left.
pub fn is_gone<K: Object>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some() && object.meta().finalizers.iter().flatten().next().is_none()
}

/// Since Kubernetes 1.35 the versions of one object are comparable numbers (KEP-5504).
fn version<K: Object>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::core::ObjectMeta;

    use super::*;
    use crate::crd::{ServiceInstance, ServiceInstanceSpec};

    fn instance(version: &str) -> ServiceInstance {
        let mut instance = ServiceInstance::new("db", ServiceInstanceSpec::default());
        instance.metadata = ObjectMeta {
            uid: Some("u".into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        instance
    }

    // v0.3 Q51
    #[test]
    fn object_older_than_our_own_write_is_stale() {
        let expectations = Expectations::default();
        assert!(expectations.stale_for(&instance("9")).is_none());
        expectations.observe_write(&instance("10"));
        assert!(expectations.stale_for(&instance("9")).is_some());
        assert!(expectations.stale_for(&instance("10")).is_none());
        assert!(expectations.stale_for(&instance("11")).is_none());
    }

    #[test]
    fn object_read_from_the_api_server_is_never_stale() {
        let expectations = Expectations::default();
        expectations.observe_write(&instance("10"));
        assert!(expectations.stale_for(&instance("3")).is_some());
        expectations.resync(&instance("3"));
        assert!(expectations.stale_for(&instance("3")).is_none());
    }

    #[test]
    fn object_whose_finalizer_was_removed_is_stale_until_it_is_gone() {
        let expectations = Expectations::default();
        expectations.observe_write(&instance("9"));
        expectations.expect_deletion("u");
        assert!(expectations.stale_for(&instance("10")).is_some());
        expectations.cancel_deletion("u");
        assert!(expectations.stale_for(&instance("10")).is_none());
        expectations.expect_deletion("u");
        expectations.observe_deletion("u");
        let mut gone = instance("11");
        gone.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        expectations.observe_write(&gone);
        assert!(
            expectations.stale_for(&instance("10")).is_some(),
            "a reconcile that read it from the cache is too late"
        );
        // The restore of a backup brings it back.
        expectations.resync(&instance("3"));
        assert!(expectations.stale_for(&instance("3")).is_none());
    }

    #[test]
    fn deleted_objects_are_not_remembered_for_long() {
        let expectations = Expectations::default();
        expectations.observe_deletion("u");
        expectations.observe_deletion("back");
        expectations.observe_write(&instance("9"));
        let long_ago = Instant::now().checked_sub(TOMBSTONE * 2).unwrap();
        expectations.lock().deleted.iter_mut().for_each(|(since, _)| *since = long_ago);
        expectations.lock().objects.get_mut("back").unwrap().deleted = false;
        expectations.observe_deletion("v");
        let state = expectations.lock();
        let mut kept: Vec<&str> = state.objects.keys().map(String::as_str).collect();
        kept.sort_unstable();
        assert_eq!((kept, state.deleted.len()), (vec!["back", "v"], 1));
    }
}
