//! Which sentences do several conditions have in common, and how often is a message written? All functions
//! are pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::clock::later;
use crate::crd::{Defects, common::BrokerKey};

/// The shortest time between two messages about one operation that have the same reason.
const DESCRIPTION_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// The start of the message when the operator gives up after too long a time.
pub const RETRY_TIMEOUT: &str = "Stopping reconciliation retries because too much time has elapsed";

/// The message when orphan mitigation has ended.
pub const MITIGATION_COMPLETED: &str = "Orphan mitigation was completed successfully";

/// The message for an object that cannot be read in full.
#[must_use]
pub fn unreadable(defects: &Defects) -> String {
    let subresource =
        if defects.status.is_empty() { "" } else { " (for a status: with --subresource=status)" };
    format!(
        "The operator cannot read {defects}. It sends no request for this object until you correct this{subresource}"
    )
}

/// The message when orphan mitigation starts: its cause, and the time from which on the DELETE is sent.
/// `noun` is `instance` or `binding`.
#[must_use]
pub fn mitigation_planned(cause: &str, noun: &str, not_before: Option<&MicroTime>) -> String {
    let after = not_before.map_or_else(String::new, |time| format!(" after {:.0},", time.0));
    format!("{cause}; the operator deletes the {noun} at the broker{after} before it tries again")
}

/// A message with the cause of the orphan mitigation appended, as the user needs to know the cause.
#[must_use]
pub fn with_cause(message: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| message.to_owned(), |cause| format!("{message}; the cause was: {cause}"))
}

/// The message when orphan mitigation has ended: the time of the next attempt, and the cause.
#[must_use]
pub fn mitigation_completed(cause: Option<&str>, next: Timestamp) -> String {
    with_cause(&format!("{MITIGATION_COMPLETED}; the operator tries again at {next:.0}"), cause)
}

/// A message with the time of the next try appended.
#[must_use]
pub fn with_next_try(message: &str, next: Timestamp) -> String {
    format!("{message}; the operator tries again at {next:.0}")
}

/// The part of a message that says whose answer the operator waits for, and since when.
#[must_use]
pub fn waiting(broker: &BrokerKey, since: Timestamp) -> String {
    format!("the {broker} has not answered since {since:.0}")
}

/// The part of a message that says that a request waits for its turn, and since when it has not been sent.
#[must_use]
pub fn waiting_for_turn(broker: &BrokerKey, under_way: usize, now: Timestamp) -> String {
    format!(
        "{WAITS_FOR_TURN} at the {broker}: at {now:.0} the broker had not answered {under_way} other requests; the operator sends \
         the request as soon as it may"
    )
}

/// The start of [`waiting_for_turn`].
pub const WAITS_FOR_TURN: &str = "the request waits for its turn";

/// The part of a message before [`waiting_for_turn`]. `None`: the message does not say that.
#[must_use]
pub fn before_turn(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(WAITS_FOR_TURN)?;
    Some(before.trim_end_matches("; "))
}

/// Whether a message about an operation in progress is written to the status. `shown` are the messages of the
/// conditions that have the same reason. If there are none, the reason is new, and the message is written at
/// once. Otherwise a different message is written every 30 s at most. `described` is the time of the last
/// one.
pub fn should_record<'a>(
    shown: impl IntoIterator<Item = &'a str>,
    message: &str,
    described: &mut Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let is_too_soon = described.is_some_and(|at| now < later(at, DESCRIPTION_INTERVAL));
    let is_suppressed = shown.into_iter().any(|shown| is_too_soon || shown == message);
    if !is_suppressed {
        *described = Some(now);
    }
    !is_suppressed
}

#[cfg(test)]
mod tests {
    use super::*;

    // OSB 72
    #[test]
    fn other_words_for_the_same_reason_wait_and_another_reason_does_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut described = None;
        assert!(!should_record(["10 %"], "10 %", &mut described, at(0)));
        assert!(should_record(["10 %"], "20 %", &mut described, at(1)));
        assert!(!should_record(["10 %"], "30 %", &mut described, at(2)));
        assert!(should_record([], "x", &mut described, at(3)), "another reason");
        assert!(should_record(["10 %"], "40 %", &mut described, at(40)));
        assert!(should_record([], "x", &mut described, at(41)));
    }

    #[test]
    fn cause_of_a_mitigation_follows_what_else_is_said() {
        let next = Timestamp::UNIX_EPOCH;
        let why = "the broker answered 500";
        assert_eq!(
            mitigation_planned(why, "instance", Some(&MicroTime(next))),
            "the broker answered 500; the operator deletes the instance at the broker after 1970-01-01T00:00:00Z, before it tries again"
        );
        assert_eq!(with_cause("else", None), "else");
        assert_eq!(
            mitigation_completed(Some(why), next),
            "Orphan mitigation was completed successfully; the operator tries again at 1970-01-01T00:00:00Z; the cause was: the broker answered 500"
        );
    }
}
