//! What a lease says, and what follows from it: functions of values, time included.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::core::ObjectMeta;
use tokio::time::Instant;

/// How long a lease is good for that does not say it. None of ours; it is what is usual.
const UNSAID: Duration = Duration::from_secs(15);

/// How much later than the retry period a candidate may look again, as a part of it: so that candidates do not ask in step.
pub const JITTER: f64 = 0.2;

/// How a lease is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For how long after its last change that they saw candidates leave the lease alone.
    pub lease: Duration,
    /// For how long a leader that cannot renew it goes on.
    pub renew: Duration,
    /// How often the leader renews it, and candidates look at it.
    pub retry: Duration,
}

/// Durations that do not go together. Each is named as its setting is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another would lead before the leader has given up.
    #[error(
        "--leader-elect-lease-duration ({lease:?}) must be longer than --leader-elect-renew-deadline ({renew:?}), \
         so that a leader has given up before another one takes over"
    )]
    Lease {
        /// As set.
        lease: Duration,
        /// As set.
        renew: Duration,
    },
    /// A leader would give up before it has tried again.
    #[error(
        "--leader-elect-renew-deadline ({renew:?}) must be longer than 1.2 times --leader-elect-retry-period \
         ({retry:?}), so that a leader has tried again before it gives up"
    )]
    Renew {
        /// As set.
        renew: Duration,
        /// As set.
        retry: Duration,
    },
}

impl Timing {
    /// Durations that go together.
    ///
    /// # Errors
    /// They do not.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, Mismatch> {
        if lease <= renew {
            return Err(Mismatch::Lease { lease, renew });
        }
        if renew <= retry.mul_f64(1.0 + JITTER) {
            return Err(Mismatch::Renew { renew, retry });
        }
        Ok(Self { lease, renew, retry })
    }

    /// How long one request may take: so short that there is time for others before the leader has to give up.
    #[must_use]
    pub fn request(&self) -> Duration {
        self.renew / 3
    }

    /// As the lease says it: whole seconds, and rather longer than shorter.
    fn seconds(&self) -> i32 {
        let seconds = self.lease.as_secs() + u64::from(self.lease.subsec_nanos() > 0);
        i32::try_from(seconds).unwrap_or(i32::MAX)
    }
}

/// What a candidate last saw of a lease, and since when, by its own clock. What the clocks of others say counts for
/// nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

impl Observed {
    /// What is known after another look. A lease that is the same has been so since; one that is gone was somebody's.
    #[must_use]
    pub fn after(previous: Option<Self>, lease: Option<&LeaseSpec>, now: Instant) -> Option<Self> {
        match (previous, lease) {
            (Some(previous), Some(lease)) if previous.spec == *lease => Some(previous),
            (_, Some(lease)) => Some(Self { spec: lease.clone(), since: now }),
            (previous, None) => previous,
        }
    }

    fn expires(&self) -> Instant {
        let said = self.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        self.since + said.filter(|seconds| *seconds > 0).map_or(UNSAID, Duration::from_secs)
    }
}

/// What a candidate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody leads any more: take the lease.
    Acquire,
    /// It leads already: renew the lease.
    Renew,
    /// Another one leads, for all that is known until then.
    Wait {
        /// When its lease has expired if it does not change.
        until: Instant,
    },
}

/// What a candidate may do with a lease as it was read.
///
/// The deletion of a lease does not depose its holder: who saw it held leaves it alone for as long as if it were there.
#[must_use]
pub fn evaluate(lease: Option<&LeaseSpec>, observed: Option<&Observed>, me: &str, now: Instant) -> Verdict {
    if lease.and_then(holder) == Some(me) {
        return Verdict::Renew;
    }
    let Some(seen) = Observed::after(observed.cloned(), lease, now) else { return Verdict::Acquire };
    let until = seen.expires();
    let of_another = holder(&seen.spec).is_some_and(|holder| holder != me);
    if of_another && now < until { Verdict::Wait { until } } else { Verdict::Acquire }
}

/// Who holds a lease. One that was released has a holder without a name.
#[must_use]
pub fn holder(lease: &LeaseSpec) -> Option<&str> {
    lease.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// A lease as this candidate writes it, to take or to renew it. The times in it are for people.
#[must_use]
pub fn claimed(lease: Option<Lease>, name: &str, me: &str, timing: &Timing, now: Timestamp) -> Lease {
    let fresh = || Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: None,
    };
    let existed = lease.is_some();
    let mut lease = lease.unwrap_or_else(fresh);
    let before = lease.spec.take().unwrap_or_default();
    let renewed = holder(&before) == Some(me);
    let transitions = before.lease_transitions.unwrap_or_default();
    let acquired = before.acquire_time.clone().filter(|_| renewed);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(timing.seconds()),
        acquire_time: Some(acquired.unwrap_or(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions.saturating_add(i32::from(existed && !renewed))),
        ..before
    });
    lease
}

/// A lease that is given back: nobody holds it, and nobody needs to wait for its end.
#[must_use]
pub fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..before
    });
    lease
}
