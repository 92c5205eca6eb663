//! The time of this process. Durations in it are monotonic: if somebody sets the clock of the node, the time of the process
//! does not jump. It comes closer to the clock step by step. Otherwise a clock that is set forward would make all waits end
//! at once, also those that protect resources at a broker, and one that is set back would make them last for hours.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

/// A clock that was set forward: the time of the process goes faster by this part, one in so many.
const FASTER: i32 = 4;

/// A clock that was set back: the time of the process goes slower by this part, one in so many.
const SLOWER: i32 = 2;

/// A larger difference is logged, once.
const NOTABLE: SignedDuration = SignedDuration::from_secs(5);

/// The time of the process and what it was computed from.
struct Clock {
    instant: Instant,
    time: Timestamp,
    differs: bool,
}

static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

/// The time of this process.
#[must_use]
pub fn now() -> Timestamp {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let (instant, wall) = (Instant::now(), Timestamp::now());
    let clock = clock.get_or_insert(Clock { instant, time: wall, differs: false });
    clock.time = advanced(clock.time, instant.saturating_duration_since(clock.instant), wall);
    clock.instant = instant;
    let difference = wall.duration_since(clock.time);
    if (difference.abs() > NOTABLE) != clock.differs {
        clock.differs = !clock.differs;
        if clock.differs {
            let seconds = difference.as_secs();
            tracing::warn!(
                seconds,
                "the clock of this node was set; the operator follows it step by step, and shows times that differ until then"
            );
        }
    }
    clock.time
}

/// `from` plus a delay. The result is limited to the largest timestamp.
#[must_use]
pub fn later(from: Timestamp, delay: SignedDuration) -> Timestamp {
    from.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// The time of the process after `elapsed`, while the clock of the node shows `wall`. Pure.
fn advanced(time: Timestamp, elapsed: Duration, wall: Timestamp) -> Timestamp {
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
    let expected = time.checked_add(elapsed).unwrap_or(Timestamp::MAX);
    let correction = wall.duration_since(expected).clamp(-elapsed / SLOWER, elapsed / FASTER);
    expected.checked_add(correction).unwrap_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: i64 = 1_000_000;

    /// The times of the process, one for each step of (real seconds that have passed, what the clock of the node shows).
    fn shown(steps: &[(u64, i64)]) -> Vec<i64> {
        let mut time = Timestamp::from_second(BEGUN).unwrap();
        let step = |&(elapsed, wall): &(u64, i64)| {
            let wall = Timestamp::from_second(BEGUN + wall).unwrap();
            time = advanced(time, Duration::from_secs(elapsed), wall);
            time.as_second() - BEGUN
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn the_time_of_the_process_is_that_of_the_node_and_does_not_jump_with_it() {
        assert_eq!(shown(&[(0, 0), (10, 10), (50, 60)]), [0, 10, 60]);
        // Set forward by an hour: a minute takes 48 seconds until it is caught up.
        assert_eq!(shown(&[(10, 3610), (48, 3658), (4, 3662)]), [12, 72, 77]);
        assert_eq!(shown(&[(10, 3610), (100_000, 103_610)])[1], 103_610);
        // Set back by an hour: a minute takes two.
        assert_eq!(shown(&[(10, -3590), (120, -3470)]), [5, 65]);
        assert_eq!(shown(&[(10, -3590), (7200, 3610)])[1], 3610);
        // It never goes back.
        assert_eq!(shown(&[(0, -3600), (0, 3600)]), [0, 0]);
    }

    #[test]
    fn it_goes_on() {
        let (first, second) = (now(), now());
        assert!(first <= second && second.duration_since(Timestamp::now()).abs() < NOTABLE);
    }
}
