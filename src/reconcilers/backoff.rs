//! When is the next retry or poll of an object? All functions are pure, and they use no random numbers. The
//! uid spreads the times of different objects, so that a repeated decision gives the same time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use sha2::{Digest as _, Sha256};

use super::{memory::OperationMemory, settings::ReconcileSettings};
use crate::clock::later;

/// Computes the times of retries and polls of one object.
#[derive(Clone, Copy)]
pub struct Pace<'a> {
    /// The current time.
    pub now: Timestamp,
    /// The limits and intervals in force.
    pub settings: &'a ReconcileSettings,
    /// The uid of the object.
    pub uid: &'a str,
}

impl Pace<'_> {
    /// The time of the next try after `from`. The delay doubles from the base up to the limit.
    #[must_use]
    pub fn retry_at(self, from: Timestamp, retries: i64) -> Timestamp {
        let doublings = u32::try_from(retries.clamp(0, 30)).unwrap_or(0);
        let delay = self.settings.retry_base.saturating_mul(1 << doublings).min(self.settings.retry_limit);
        later(from, spread(delay, self.uid))
    }

    /// The time of the next try of a failed operation. It is later if the broker says so (`Retry-After`).
    #[must_use]
    pub fn next_try(self, retries: i64, retry_after: Option<Duration>) -> Timestamp {
        let own = self.retry_at(self.now, retries);
        retry_after.and_then(|delay| self.now.checked_add(delay).ok()).map_or(own, |at| at.max(own))
    }

    /// The time until which a request without an answer may still take effect: the quiet period after its
    /// intent, but at least one more time limit from now on.
    #[must_use]
    pub fn quiet_until(self, sent: Option<&MicroTime>) -> Timestamp {
        let sent = sent.map_or(self.now, |time| time.0);
        self.settings.quiet_until(sent, self.now).max(later(self.now, self.settings.request_timeout))
    }

    /// Whether an operation that began at `since` has taken longer than the limit.
    #[must_use]
    pub fn is_overdue(self, since: Option<&Time>) -> bool {
        since.is_some_and(|since| self.now > later(since.0, self.settings.give_up_after))
    }

    /// The time at which polling ends. The plan limits it, counted from `since`, the time of its intent
    /// (OSB 2.17, "Polling Interval and Duration"). The setting `give_up_after` limits it as well, counted
    /// from when the operation `began`.
    #[must_use]
    pub fn polling_deadline(
        self,
        since: Timestamp,
        began: Option<&Time>,
        seconds_of_plan: Option<i64>,
    ) -> Timestamp {
        let own = later(began.map_or(since, |began| began.0), self.settings.give_up_after);
        let seconds = seconds_of_plan.filter(|seconds| *seconds > 0);
        seconds.map_or(own, |seconds| later(since, SignedDuration::from_secs(seconds)).min(own))
    }

    /// A time before `at`, by at most a twentieth of `time_left`, and an hour. The uid decides.
    #[must_use]
    pub fn sooner(at: Timestamp, time_left: SignedDuration, uid: &str) -> Timestamp {
        let most = (time_left / 20).clamp(SignedDuration::ZERO, SignedDuration::from_hours(1));
        let part = i32::from(Sha256::digest(uid.as_bytes())[0]);
        at.checked_sub(most.saturating_mul(part) / 255).unwrap_or(at)
    }

    /// The time of the next poll of an operation whose intent is of the time `since`. It is later if the broker
    /// says so (`Retry-After`), but not later than `until`, the time of the last poll. `None` means now.
    #[must_use]
    pub fn next_poll(self, memory: OperationMemory, since: Timestamp, until: Timestamp) -> Option<Timestamp> {
        // The memory has a time in the future if the clock was set back.
        let last = memory.answered.filter(|last| *last <= self.now)?;
        let own = self.poll_at(since, last);
        Some(memory.not_before.map_or(own, |at| at.min(until).max(own)))
    }

    /// The time of the next poll of an operation that began at `since` and was last polled at `last`. The
    /// delay is a quarter of the time that the operation has taken, plus the base, up to the limit. That is
    /// the series min(1.25^k, 60 s). The operator notices the end of an operation with a mean lag of 13 %.
    fn poll_at(self, since: Timestamp, last: Timestamp) -> Timestamp {
        let elapsed = last.duration_since(since).max(SignedDuration::ZERO);
        let delay = self.settings.poll_base.saturating_add(elapsed / 4).min(self.settings.poll_limit);
        later(last, spread(delay, self.uid))
    }
}

/// A delay ± 10 %. The uid decides, so one object always gets the same factor.
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

    // v0.3 G2, H8
    #[test]
    fn retries_double_up_to_the_limit() {
        let settings = ReconcileSettings::default();
        let pace = Pace { now: Timestamp::UNIX_EPOCH, settings: &settings, uid: "uid" };
        let delays: Vec<f64> = (0..40).map(|n| second(pace.retry_at(Timestamp::UNIX_EPOCH, n))).collect();
        assert!((0.9..=1.1).contains(&delays[0]), "{}", delays[0]);
        assert!((delays[3] / delays[0] - 8.0).abs() < 0.01);
        assert!((1080.0..=1320.0).contains(&delays[39]), "{}", delays[39]);
        assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    // OSB 82
    // v0.3 H11
    #[test]
    fn ten_minutes_need_about_twenty_five_polls() {
        let settings = ReconcileSettings::default();
        let pace = Pace { now: Timestamp::UNIX_EPOCH, settings: &settings, uid: "a" };
        let (since, mut at, mut polls) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, 0);
        while second(at) < 600.0 {
            at = pace.poll_at(since, at);
            polls += 1;
        }
        assert!((20..=32).contains(&polls), "{polls}");
    }
}
