//! When to try again. Pure, and without randomness: the spread between objects comes from their uid, so that asking
//! twice gives the same time.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::context::Tunables;

/// How far after `from` the next try of a failing operation is: doubling from the base up to the limit.
#[must_use]
pub fn retry_at(from: Timestamp, retries: i64, uid: &str, tunables: &Tunables) -> Timestamp {
    let doublings = u32::try_from(retries.clamp(0, 30)).unwrap_or(0);
    let delay = tunables.retry_base.saturating_mul(1 << doublings).min(tunables.retry_limit);
    later(from, spread(delay, uid))
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
        let delays: Vec<f64> = (0..40).map(|n| second(retry_at(Timestamp::UNIX_EPOCH, n, "uid", &tunables))).collect();
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
