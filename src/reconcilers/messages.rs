//! The standard sentences of conditions. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::backoff::later;

/// The least time between two messages about one operation that differ in their words alone.
const DESCRIPTION_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// What precedes the last failure when the operator gives up.
pub const TOO_LONG: &str = "Stopping reconciliation retries because too much time has elapsed";

/// That orphan mitigation has ended.
pub const UNDONE: &str = "Orphan mitigation was completed successfully";

/// Why an unfinished create of a `noun` (`instance`, `binding`) is deleted at the broker, and from when on it can be.
#[must_use]
pub fn mitigating(cause: &str, noun: &str, not_before: Option<&MicroTime>) -> String {
    let after = not_before.map_or_else(String::new, |time| format!(" after {:.0},", time.0));
    format!("{cause}; the operator deletes the {noun} at the broker{after} before it tries again")
}

/// Something else, and then the cause of the orphan mitigation: it is what the user wants to know.
#[must_use]
pub fn before(message: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| message.to_owned(), |cause| format!("{message}; the cause was: {cause}"))
}

/// That orphan mitigation has ended, and when the next attempt follows.
#[must_use]
pub fn mitigated(cause: Option<&str>, next: Timestamp) -> String {
    before(&format!("{UNDONE}; the operator tries again at {next:.0}"), cause)
}

/// That the operator tries again, and when.
#[must_use]
pub fn again(message: &str, next: Timestamp) -> String {
    format!("{message}; the operator tries again at {next:.0}")
}

/// Whether a finding about an operation that is under way is to be written. `shown` are the messages that are shown for the
/// same reason: without any, the reason is new and is written at once. Other words for the same reason are written every
/// 30 s at most; `described` remembers when that was.
pub fn is_news<'a>(
    shown: impl IntoIterator<Item = &'a str>,
    message: &str,
    described: &mut Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let lately = described.is_some_and(|at| now < later(at, DESCRIPTION_INTERVAL));
    let known = shown.into_iter().any(|shown| lately || shown == message);
    if !known {
        *described = Some(now);
    }
    !known
}

#[cfg(test)]
mod tests {
    use super::*;

    // OSB 72
    #[test]
    fn other_words_for_the_same_reason_wait_and_another_reason_does_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut described = None;
        assert!(!is_news(["10 %"], "10 %", &mut described, at(0)));
        assert!(is_news(["10 %"], "20 %", &mut described, at(1)));
        assert!(!is_news(["10 %"], "30 %", &mut described, at(2)));
        assert!(is_news([], "x", &mut described, at(3)), "another reason");
        assert!(is_news(["10 %"], "40 %", &mut described, at(40)));
        assert!(is_news([], "x", &mut described, at(41)));
    }

    #[test]
    fn cause_of_a_mitigation_follows_what_else_is_said() {
        let next = Timestamp::UNIX_EPOCH;
        let why = "the broker answered 500";
        assert_eq!(
            mitigating(why, "instance", Some(&MicroTime(next))),
            "the broker answered 500; the operator deletes the instance at the broker after 1970-01-01T00:00:00Z, before it tries again"
        );
        assert_eq!(before("else", None), "else");
        assert_eq!(
            mitigated(Some(why), next),
            "Orphan mitigation was completed successfully; the operator tries again at 1970-01-01T00:00:00Z; the cause was: the broker answered 500"
        );
    }
}
