//! `Retry-After`: always within its bounds, and what it says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use service_catalog::osb::retry_after::{MAX_RETRY_AFTER, retry_after};

use crate::{
    harness::{self, Check},
    json, promise,
    random::Random,
};

/// The instant at which the corpus is read.
const NOW: &str = "2026-01-01T00:00:00Z";

const DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

#[test]
fn a_pause_is_within_its_bounds_and_what_was_said() {
    harness::run(bolero::check!(), "retry_after", 5000, change, check);
}

fn change(value: &[u8], random: &mut Random<'_>) -> Vec<u8> {
    match random.below(4) {
        0 => random.below(usize::MAX).to_string().into_bytes(),
        1 => date(random).into_bytes(),
        _ => json::change_bytes(value, random),
    }
}

/// A date as HTTP writes it, most of them near.
fn date(random: &mut Random<'_>) -> String {
    let span = [100, 100_000, 4_000_000_000][random.below(3)];
    let away = i64::try_from(random.below(2 * span)).unwrap() - i64::try_from(span).unwrap();
    let then = now().checked_add(SignedDuration::from_secs(away)).unwrap();
    then.strftime(DATE).to_string()
}

/// The instant of a date, if it is written as HTTP asks for.
fn instant(text: &str) -> Option<Timestamp> {
    let then = Timestamp::strptime("%a, %d %b %Y %H:%M:%S %z", text.replace("GMT", "+0000")).ok()?;
    (then.strftime(DATE).to_string() == text).then_some(then)
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn check(value: &[u8]) -> Check {
    let Ok(value) = std::str::from_utf8(value) else { return Ok(()) };
    let pause = retry_after(value, now());
    promise!(pause.is_none_or(|pause| pause <= MAX_RETRY_AFTER), "{pause:?} is too long");
    promise!(retry_after(&format!(" {value}\t"), now()) == pause, "blanks count");
    let text = value.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = text.trim_start_matches('0');
        let seconds = if digits.len() > 9 { u64::MAX } else { format!("0{digits}").parse().unwrap() };
        let expected = Duration::from_secs(seconds).min(MAX_RETRY_AFTER);
        promise!(pause == Some(expected), "{pause:?} instead of {expected:?}");
    } else if let Some(then) = instant(text) {
        let away = then.duration_since(now()).max(SignedDuration::ZERO);
        let expected = Duration::try_from(away).unwrap().min(MAX_RETRY_AFTER);
        promise!(pause == Some(expected), "{pause:?} instead of {expected:?}");
    }
    let later = now().checked_add(SignedDuration::from_secs(7)).unwrap();
    promise!(retry_after(value, later) <= pause, "the later it is asked, the longer it takes");
    Ok(())
}
