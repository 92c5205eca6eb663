//! What every controller works with: the client, the caches, the limits, and the little that a process remembers.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use kube::{Client, runtime::events::Recorder};

use crate::{
    annotations::PassedOn, brokers::Brokers, crd::scope::Object, leader::Term, osb::ApiVersion,
    stores::Stores,
};

/// Shared by all controllers.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches have brought.
    pub stores: Arc<Stores>,
    /// The connections to brokers and their limits.
    pub brokers: Brokers,
    /// Publishes Events.
    pub recorder: Recorder,
    /// The persisted id of this cluster, as brokers know it.
    pub cluster_id: String,
    /// The annotations that brokers are told of.
    pub passed_on: PassedOn,
    /// The limits and intervals in force.
    pub tunables: Tunables,
    /// What this process remembers of single objects.
    pub memories: Memories,
    /// How many writes may be under way at the API server.
    pub writes: tokio::sync::Semaphore,
    /// Set when the operator is told to stop: no request to a broker is begun from then on.
    pub stopping: AtomicBool,
    /// For how long this process is the one that works. Nothing is sent or written after that.
    pub term: Term,
}

impl Context {
    /// Whether the operator was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Limits and intervals. Those of the original, by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// How long one request to a broker may take, all in all.
    pub request_timeout: SignedDuration,
    /// The first delay before a failed operation is tried again.
    pub retry_base: SignedDuration,
    /// The longest such delay.
    pub retry_limit: SignedDuration,
    /// The first delay before `last_operation` is asked.
    pub poll_base: SignedDuration,
    /// The longest such delay.
    pub poll_limit: SignedDuration,
    /// How long an operation may go on before it is given up.
    pub give_up_after: SignedDuration,
    /// How long a catalog is good for when the broker object does not say.
    pub relist_interval: SignedDuration,
    /// How often something is looked at that nobody announces changes of: Secrets named by a spec.
    pub recheck_interval: SignedDuration,
    /// Whether an instance gets the `defaultProvisionParameters` of its class and plan.
    pub service_plan_defaults: bool,
    /// Whether the bindings of an instance are deleted with it.
    pub cascading_deletion: bool,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            request_timeout: SignedDuration::from_secs(60),
            retry_base: SignedDuration::from_secs(1),
            retry_limit: SignedDuration::from_mins(20),
            poll_base: SignedDuration::from_secs(1),
            poll_limit: SignedDuration::from_secs(60),
            give_up_after: SignedDuration::from_hours(7 * 24),
            relist_interval: SignedDuration::from_hours(24),
            recheck_interval: SignedDuration::from_secs(10),
            service_plan_defaults: false,
            cascading_deletion: false,
        }
    }
}

impl Tunables {
    /// How long after it was announced a request may still take effect at a broker: it is sent within one time-out, and
    /// a broker is trusted not to act on it later than one more.
    #[must_use]
    pub fn quiet_period(&self) -> SignedDuration {
        self.request_timeout.saturating_mul(2)
    }
}

/// What this process remembers of one object. Nothing here is needed for correctness after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// When a broker last answered about this object.
    pub answered: Option<Timestamp>,
    /// The broker does not want to be asked before this time (`Retry-After`).
    pub not_before: Option<Timestamp>,
    /// How many requests failed one after the other, where status does not count them.
    pub failures: i64,
    /// The generation of the spec that the failures are of, where status does not say: another one is tried at once.
    pub generation: i64,
    /// The API version that they are of, likewise: it is set by an annotation, which is not part of the spec.
    pub api_version: Option<ApiVersion>,
    /// When a description by the broker was last written to status.
    pub described: Option<Timestamp>,
}

/// How long an object that is gone stays known as that: a pass that took it from the cache a moment before may begin a
/// moment later.
const LINGER: Duration = Duration::from_secs(60);

/// The memories of all objects by uid, and for each the newest version that this process wrote.
#[derive(Default)]
pub struct Memories(Mutex<Known>);

#[derive(Default)]
struct Known {
    objects: HashMap<String, Remembered>,
    /// Those of them that are gone, and since when, in that order.
    gone: VecDeque<(Instant, String)>,
}

#[derive(Clone, Copy, Default)]
struct Remembered {
    memory: Memory,
    written: u64,
    /// Our finalizer was taken away, so it goes unless somebody else holds it.
    released: bool,
    /// It is gone, as the watch says.
    gone: bool,
    /// Since when the cache has been behind that.
    behind: Option<Instant>,
    /// How many passes have failed one after the other.
    stumbles: i64,
}

impl Memories {
    /// What is remembered of an object.
    pub fn get(&self, uid: &str) -> Memory {
        self.lock().objects.get(uid).map(|remembered| remembered.memory).unwrap_or_default()
    }

    /// Remembers something of an object.
    pub fn set(&self, uid: &str, memory: Memory) {
        if memory != self.get(uid) {
            self.lock().objects.entry(uid.to_owned()).or_default().memory = memory;
        }
    }

    /// Remembers that this process wrote this version of an object. Of one that went with this write, nothing is: the
    /// watch may have said so already.
    pub fn wrote<K: Object>(&self, object: &K) {
        if is_over(object) {
            return;
        }
        if let (Some(uid), Some(version)) = (object.meta().uid.clone(), version(object)) {
            let mut remembered = self.lock();
            let newest = &mut remembered.objects.entry(uid).or_default().written;
            *newest = version.max(*newest);
        }
    }

    /// For how long a cached object has been older than what this process wrote; `None` if it is not. The watch will bring
    /// the newer one.
    pub fn behind<K: Object>(&self, object: &K) -> Option<Duration> {
        let mut remembered = self.lock();
        let remembered = remembered.objects.get_mut(object.meta().uid.as_deref()?)?;
        let older = version(object).is_some_and(|version| version < remembered.written);
        if !older && !remembered.released && !remembered.gone {
            remembered.behind = None;
            return None;
        }
        Some(remembered.behind.get_or_insert_with(Instant::now).elapsed())
    }

    /// Takes an object as the API server has it now for the newest there is. (After a restored backup, versions begin
    /// again lower.)
    pub fn caught_up<K: Object>(&self, object: &K) {
        if let (Some(uid), Some(version)) = (object.meta().uid.clone(), version(object)) {
            let mut remembered = self.lock();
            let remembered = remembered.objects.entry(uid).or_default();
            *remembered =
                Remembered { written: version, released: false, gone: false, behind: None, ..*remembered };
        }
    }

    /// Counts a pass that failed, and says how many have in a row.
    pub fn stumbled(&self, uid: &str) -> i64 {
        let mut remembered = self.lock();
        let stumbles = &mut remembered.objects.entry(uid.to_owned()).or_default().stumbles;
        *stumbles += 1;
        *stumbles
    }

    /// A pass has succeeded.
    pub fn succeeded(&self, uid: &str) {
        if let Some(remembered) = self.lock().objects.get_mut(uid) {
            remembered.stumbles = 0;
        }
    }

    /// Remembers that an object is about to go: from now on the cache shows only the past, until the watch says that it
    /// is gone.
    pub fn release(&self, uid: &str) {
        self.lock().objects.entry(uid.to_owned()).or_default().released = true;
    }

    /// Takes that back: the object is still there.
    pub fn keep(&self, uid: &str) {
        if let Some(remembered) = self.lock().objects.get_mut(uid) {
            remembered.released = false;
        }
    }

    /// Forgets an object that is gone, but for this: whoever still holds it, holds the past.
    pub fn forget(&self, uid: &str) {
        let mut known = self.lock();
        known.objects.insert(uid.to_owned(), Remembered { gone: true, ..Remembered::default() });
        known.gone.push_back((Instant::now(), uid.to_owned()));
        while known.gone.front().is_some_and(|(since, _)| since.elapsed() > LINGER) {
            let Some((_, uid)) = known.gone.pop_front() else { break };
            if known.objects.get(&uid).is_some_and(|remembered| remembered.gone) {
                known.objects.remove(&uid);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing holds an object back any more that is being deleted.
pub fn is_over<K: Object>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some() && object.meta().finalizers.iter().flatten().next().is_none()
}

/// Since Kubernetes 1.35 the versions of one object are comparable numbers (KEP-5504).
fn version<K: Object>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn an_object_older_than_our_own_write_is_outdated() {
        let memories = Memories::default();
        assert!(memories.behind(&instance("9")).is_none());
        memories.wrote(&instance("10"));
        assert!(memories.behind(&instance("9")).is_some());
        assert!(memories.behind(&instance("10")).is_none());
        assert!(memories.behind(&instance("11")).is_none());
    }

    #[test]
    fn what_the_api_server_has_now_is_never_the_past() {
        let memories = Memories::default();
        memories.wrote(&instance("10"));
        assert!(memories.behind(&instance("3")).is_some());
        memories.caught_up(&instance("3"));
        assert!(memories.behind(&instance("3")).is_none());
    }

    #[test]
    fn what_was_released_is_the_past_until_it_is_gone() {
        let memories = Memories::default();
        memories.wrote(&instance("9"));
        memories.release("u");
        assert!(memories.behind(&instance("10")).is_some());
        memories.keep("u");
        assert!(memories.behind(&instance("10")).is_none());
        memories.release("u");
        memories.forget("u");
        let mut gone = instance("11");
        gone.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        memories.wrote(&gone);
        assert!(
            memories.behind(&instance("10")).is_some(),
            "a pass that had it from the cache comes too late"
        );
        // A restored backup brings it back.
        memories.caught_up(&instance("3"));
        assert!(memories.behind(&instance("3")).is_none());
    }

    #[test]
    fn nothing_is_kept_for_long_of_what_is_gone() {
        let memories = Memories::default();
        memories.forget("u");
        memories.forget("back");
        memories.wrote(&instance("9"));
        let long_ago = Instant::now().checked_sub(LINGER * 2).unwrap();
        memories.lock().gone.iter_mut().for_each(|(since, _)| *since = long_ago);
        memories.lock().objects.get_mut("back").unwrap().gone = false;
        memories.forget("v");
        let known = memories.lock();
        let mut kept: Vec<&str> = known.objects.keys().map(String::as_str).collect();
        kept.sort_unstable();
        assert_eq!((kept, known.gone.len()), (vec!["back", "v"], 1));
    }
}
