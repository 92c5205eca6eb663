//! The limits and intervals that decisions depend on.

use jiff::SignedDuration;

/// Limits and intervals. The defaults are those of v0.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconcileSettings {
    /// How long one request to a broker may take, from the connection to the last byte of the answer.
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
    /// How often something is read again whose changes no watch announces: Secrets that a spec names.
    pub recheck_interval: SignedDuration,
    /// Whether an instance gets the `defaultProvisionParameters` of its class and plan.
    pub service_plan_defaults: bool,
    /// Whether the bindings of an instance are deleted with it.
    pub cascading_deletion: bool,
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
            recheck_interval: SignedDuration::from_secs(10),
            service_plan_defaults: false,
            cascading_deletion: false,
        }
    }
}

impl ReconcileSettings {
    /// How long after its intent a request may still take effect at a broker. The request is sent within one time-out, and
    /// a broker is trusted not to act on it later than one more.
    #[must_use]
    pub fn quiet_period(&self) -> SignedDuration {
        self.request_timeout.saturating_mul(2)
    }
}
