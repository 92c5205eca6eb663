//! When to try again. Pure, and without randomness: the spread between objects comes from their uid, so that asking
//! twice gives the same time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use super::machine::{Machine, Observed};
use crate::context::Tunables;

/// How far after `from` the next try of a failing operation is: doubling from the base up to the limit.
#[must_use]
pub fn retry_at(from: Timestamp, retries: i64, uid: &str, tunables: &Tunables) -> Timestamp {
    let doublings = u32::try_from(retries.clamp(0, 30)).unwrap_or(0);
    let delay = tunables.retry_base.saturating_mul(1 << doublings).min(tunables.retry_limit);
    later(from, spread(delay, uid))
}

/// When an object's failed operation is tried again: by our own pace, or later if the broker says so.
#[must_use]
pub fn next_try<M: Machine>(
    observed: &Observed<M>,
    retries: i64,
    retry_after: Option<Duration>,
) -> Timestamp {
    let uid = observed.object.uid().unwrap_or_default();
    let own = retry_at(observed.now, retries, &uid, &observed.tunables);
    retry_after.and_then(|delay| observed.now.checked_add(delay).ok()).map_or(own, |asked| asked.max(own))
}

/// Until when an unanswered request may still take effect, as seen now that waiting for its answer is over: the quiet
/// period after its intent, and at least one more time-out.
#[must_use]
pub fn quiet_until<M: Machine>(observed: &Observed<M>, sent: Option<&MicroTime>) -> Timestamp {
    let sent = sent.map_or(observed.now, |time| time.0);
    let tunables = &observed.tunables;
    later(sent, tunables.quiet_period()).max(later(observed.now, tunables.request_timeout))
}

/// Whether an operation that began at `since` has gone on for longer than it may.
#[must_use]
pub fn is_overdue<M: Machine>(observed: &Observed<M>, since: Option<&Time>) -> bool {
    since.is_some_and(|since| observed.now > later(since.0, observed.tunables.give_up_after))
}

/// Until when an operation is polled: for as long as its plan says from when it was `accepted` on (OSB 2.17, "Polling Interval
/// and Duration"), but no longer than everything together may take, which `began` earlier if it was tried before.
#[must_use]
pub fn polled_until(
    tunables: &Tunables,
    accepted: Timestamp,
    began: Option<&Time>,
    plans_limit: Option<i64>,
) -> Timestamp {
    let own = later(began.map_or(accepted, |began| began.0), tunables.give_up_after);
    let plans = plans_limit.filter(|seconds| *seconds > 0);
    plans.map_or(own, |seconds| later(accepted, SignedDuration::from_secs(seconds)).min(own))
}

/// When an operation that began at `since` and was last asked about at `last` is asked about next: a quarter of the
/// time that it has taken, plus the base, up to the limit. That is the series min(1.25^k, 60 s), and notices the end
/// with a mean lag of 13 %.
#[must_use]
pub fn poll_at(since: Timestamp, last: Timestamp, uid: &str, tunables: &Tunables) -> Timestamp {
    let elapsed = last.duration_since(since).max(SignedDuration::ZERO);
    let delay = tunables.poll_base.saturating_add(elapsed / 4).min(tunables.poll_limit);
    later(last, spread(delay, uid))
}

/// When an operation that was accepted at `accepted` and is polled `until` a time is asked about next: by our own pace, or later
/// if the broker says so, but not later than when the polling ends: then it is asked for the last time.
#[must_use]
pub fn next_poll<M: Machine>(
    observed: &Observed<M>,
    accepted: Timestamp,
    until: Timestamp,
) -> Option<Timestamp> {
    let uid = observed.object.uid().unwrap_or_default();
    // What is remembered of the future is from before the clock was set back.
    let last = observed.memory.answered.filter(|last| *last <= observed.now)?;
    let own = poll_at(accepted, last, &uid, &observed.tunables);
    Some(observed.memory.not_before.map_or(own, |asked| asked.min(until).max(own)))
}

/// `from` plus a delay, kept within what a timestamp can hold.
#[must_use]
pub fn later(from: Timestamp, delay: SignedDuration) -> Timestamp {
    from.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// A delay ± 10 %, always the same for one object.
fn spread(delay: SignedDuration, uid: &str) -> SignedDuration {
    let percent = i32::from(Sha256::digest(uid.as_bytes())[0]) * 20 / 255 + 90;
    delay.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: Timestamp) -> f64 {
        at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
    }

    #[test]
    fn retries_double_up_to_the_limit() {
        let tunables = Tunables::default();
        let delays: Vec<f64> =
            (0..40).map(|n| second(retry_at(Timestamp::UNIX_EPOCH, n, "uid", &tunables))).collect();
        assert!((0.9..=1.1).contains(&delays[0]), "{}", delays[0]);
        assert!((delays[3] / delays[0] - 8.0).abs() < 0.01);
        assert!((1080.0..=1320.0).contains(&delays[39]), "{}", delays[39]);
        assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn ten_minutes_need_about_twenty_five_polls() {
        let tunables = Tunables::default();
        let (since, mut at, mut polls) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, 0);
        while second(at) < 600.0 {
            at = poll_at(since, at, "a", &tunables);
            polls += 1;
        }
        assert!((20..=32).contains(&polls), "{polls}");
    }
}
