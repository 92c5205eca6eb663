//! The content of a lease, and what a candidate may do with it. Pure: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::core::ObjectMeta;
use tokio::time::Instant;

/// The duration of a lease that names none. The operator always writes one; this is the default of client-go.
const DEFAULT_DURATION: Duration = Duration::from_secs(15);

/// A candidate waits up to this fraction of the retry period longer, at random. Without it, candidates that
/// started together would send their requests together.
pub(crate) const JITTER: f64 = 0.2;

/// The three durations of an election, with the meaning that they have in client-go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// A candidate does not take a lease before it has seen it unchanged for this long.
    pub(crate) lease_duration: Duration,
    /// A leader that cannot renew its lease for this long stops its work.
    pub(crate) renew_deadline: Duration,
    /// The leader renews the lease, and the candidates read it, once in this period.
    pub(crate) retry_period: Duration,
}

/// Durations that contradict each other. The message names the flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTiming {
    /// Lease duration and renew deadline: another replica would lead while the leader still works.
    #[error(
        "--leader-elect-lease-duration ({0:?}) must be longer than --leader-elect-renew-deadline ({1:?}), so that a \
         leader has given up before another replica takes over"
    )]
    LeaseDuration(Duration, Duration),
    /// Renew deadline and retry period: the leader would give up after one failed renewal.
    #[error(
        "--leader-elect-renew-deadline ({0:?}) must be longer than 1.2 times --leader-elect-retry-period ({1:?}), so \
         that a leader tries a second time before it gives up"
    )]
    RenewDeadline(Duration, Duration),
}

impl Timing {
    /// Checks that the durations fit together.
    pub(crate) fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, InvalidTiming> {
        if lease_duration <= renew_deadline {
            return Err(InvalidTiming::LeaseDuration(lease_duration, renew_deadline));
        }
        if renew_deadline <= retry_period.mul_f64(1.0 + JITTER) {
            return Err(InvalidTiming::RenewDeadline(renew_deadline, retry_period));
        }
        Ok(Self { lease_duration, renew_deadline, retry_period })
    }

    /// The time limit of one request. A leader has time for three requests before it must give up.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.renew_deadline / 3
    }

    /// The lease duration as a lease holds it: in seconds, rounded up.
    fn lease_duration_seconds(&self) -> i32 {
        let seconds = self.lease_duration.as_secs() + u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(seconds).unwrap_or(i32::MAX)
    }
}

/// The lease as a candidate last saw it, and since when it is unchanged by the candidate's own clock. Times
/// that other processes wrote into the lease are not used: their clocks may be wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ObservedLease {
    spec: LeaseSpec,
    since: Instant,
}

impl ObservedLease {
    /// The observation after another read. An unchanged lease keeps its time. A deleted lease keeps its last
    /// observation, because its holder may still work.
    pub(crate) fn after(previous: Option<Self>, lease: Option<&LeaseSpec>, now: Instant) -> Option<Self> {
        match (previous, lease) {
            (Some(previous), Some(lease)) if previous.spec == *lease => Some(previous),
            (_, Some(lease)) => Some(Self { spec: lease.clone(), since: now }),
            (previous, None) => previous,
        }
    }

    fn expires(&self) -> Instant {
        let seconds = self.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        self.since + seconds.filter(|seconds| *seconds > 0).map_or(DEFAULT_DURATION, Duration::from_secs)
    }
}

/// What a candidate may do with the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseAction {
    /// Take the lease: it has no holder, or its holder has let it expire.
    Acquire,
    /// Renew the lease: this candidate holds it.
    Renew,
    /// Wait until the lease of another holder expires at this time, if it stays unchanged.
    Wait(Instant),
}

/// What the candidate `me` may do with a lease as it was read.
///
/// A lease that was deleted is treated as if it were still there, because its holder may still work.
pub(crate) fn evaluate(
    lease: Option<&LeaseSpec>,
    observed: Option<&ObservedLease>,
    me: &str,
    now: Instant,
) -> LeaseAction {
    if lease.and_then(holder) == Some(me) {
        return LeaseAction::Renew;
    }
    let Some(observed) = ObservedLease::after(observed.cloned(), lease, now) else {
        return LeaseAction::Acquire;
    };
    let held_by_another = holder(&observed.spec).is_some_and(|holder| holder != me);
    let expires = observed.expires();
    if held_by_another && now < expires { LeaseAction::Wait(expires) } else { LeaseAction::Acquire }
}

/// The holder of a lease. A released lease has an empty holder, which is none.
pub(crate) fn holder(lease: &LeaseSpec) -> Option<&str> {
    lease.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The lease as the candidate `me` writes it to take or to renew it. The times in it are for people only.
pub(crate) fn claimed(lease: Option<Lease>, name: &str, me: &str, timing: &Timing, now: Timestamp) -> Lease {
    let existed = lease.is_some();
    let mut lease = lease.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: None,
    });
    let before = lease.spec.take().unwrap_or_default();
    let is_renewal = holder(&before) == Some(me);
    let transitions = before.lease_transitions.unwrap_or_default();
    let acquired = before.acquire_time.clone().filter(|_| is_renewal);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(timing.lease_duration_seconds()),
        acquire_time: Some(acquired.unwrap_or(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions.saturating_add(i32::from(existed && !is_renewal))),
        ..before
    });
    lease
}

/// The lease without a holder, so that a candidate takes it at its next read.
pub(crate) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..before
    });
    lease
}
