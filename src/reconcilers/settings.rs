//! Which limits and intervals do decisions depend on?

use jiff::{SignedDuration, Timestamp};

use crate::clock::later;

/// How much the clocks of two replicas may differ. What one has recorded and the other reads may be wrong by as much.
pub const ALLOWED_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Limits and intervals. The defaults are those of v0.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconcileSettings {
    /// The time limit of one request to a broker, from the connection to the last byte of the answer.
    pub request_timeout: SignedDuration,
    /// The delay before the first retry of a failed operation.
    pub retry_base: SignedDuration,
    /// The longest of these delays.
    pub retry_limit: SignedDuration,
    /// The delay before the first poll of `last_operation`.
    pub poll_base: SignedDuration,
    /// The longest of these delays.
    pub poll_limit: SignedDuration,
    /// The time after which the operator gives up an operation.
    pub give_up_after: SignedDuration,
    /// The interval at which a catalog is read again if the broker object does not say.
    pub relist_interval: SignedDuration,
    /// The shortest interval between two reads of a catalog that nobody has asked for.
    pub relist_minimum: SignedDuration,
    /// The largest number of classes and plans that one broker gets.
    pub max_catalog_entries: usize,
    /// The interval at which objects are read again that no watch covers: Secrets that a spec names.
    pub recheck_interval: SignedDuration,
    /// Whether a new instance gets the `defaultProvisionParameters` of its class and plan.
    pub service_plan_defaults: bool,
    /// When this process began to lead. What is on record from before was written by another process, whose clock may be
    /// another one.
    pub begun: Timestamp,
    /// Whether the operator deletes the bindings of an instance that is being deleted.
    pub cascading_deletion: bool,
    /// Whether the operator restarts pods when their credentials change.
    pub restart_pods: bool,
}

impl Default for ReconcileSettings {
    fn default() -> Self {
        Self {
            request_timeout: SignedDuration::from_secs(60),
            retry_base: SignedDuration::from_secs(1),
            retry_limit: SignedDuration::from_mins(20),
            poll_base: SignedDuration::from_secs(1),
            poll_limit: SignedDuration::from_secs(60),
            give_up_after: SignedDuration::from_hours(7 * 24),
            relist_interval: SignedDuration::from_hours(24),
            relist_minimum: SignedDuration::from_secs(10),
            max_catalog_entries: 10_000,
            recheck_interval: SignedDuration::from_secs(10),
            begun: Timestamp::UNIX_EPOCH,
            service_plan_defaults: false,
            cascading_deletion: false,
            restart_pods: false,
        }
    }
}

impl ReconcileSettings {
    /// The time after an intent within which its request may still take effect at the broker: one time limit
    /// until the request is sent, and one more until the broker has acted on it.
    #[must_use]
    pub fn quiet_period(&self) -> SignedDuration {
        self.request_timeout.saturating_mul(2)
    }

    /// The end of the quiet period of an intent of this time. The clock of another process may have been slow, so for an
    /// intent of another process the whole period counts from when this one began to lead.
    #[must_use]
    pub fn quiet_until(&self, sent: Timestamp, now: Timestamp) -> Timestamp {
        later(self.past(sent, now).max(self.begun), self.quiet_period())
    }

    /// A time on record that must be past. If it is in the future by more than [`ALLOWED_SKEW`], the clock of the process
    /// that wrote it was fast, and the time at which this one began to lead counts instead. Otherwise an object would wait
    /// for as long as that clock was fast.
    #[must_use]
    pub fn past(&self, recorded: Timestamp, now: Timestamp) -> Timestamp {
        if recorded > later(now, ALLOWED_SKEW) { self.begun } else { recorded }
    }
}
