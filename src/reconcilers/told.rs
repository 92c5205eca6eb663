//! What a broker said, made fit for a status: without secrets that it may have echoed, and not more often than anybody
//! reads it. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    backoff::later,
    parameters::{Parameters, ParametersError, REDACTED},
    reason::Reason,
};
use crate::{
    context::Memory,
    crd::{Condition, common::ParametersFromSource},
    json::RawObject,
};

/// The least time between two messages about one operation that are written for their words alone.
const INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// What must not be shown: the values of the parameters that come from Secrets.
#[derive(Clone, Copy)]
pub struct Confidential<'a> {
    /// The parameters, as far as they were read.
    pub parameters: Option<&'a Result<Parameters, ParametersError>>,
    /// Checksum of the parameters that the broker was last sent, as recorded.
    pub sent: Option<&'a str>,
    /// Whether some of the parameters that the broker has, or will have, come from Secrets.
    pub any: bool,
}

/// Parameters that a broker was sent, as they are on record.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// As they are shown, without what came from Secrets.
    pub parameters: Option<&'a RawObject>,
    /// Checksum of all of them.
    pub checksum: &'a str,
}

impl<'a> Confidential<'a> {
    /// Of an object whose parameters were `read`, in part `from` Secrets, what must not be shown: what the broker is being
    /// `asked` for was sent last; without it, what it has `acknowledged`.
    #[must_use]
    pub fn new(
        read: Option<&'a Result<Parameters, ParametersError>>,
        from: &[ParametersFromSource],
        asked: Option<Sent<'a>>,
        acknowledged: Option<Sent<'a>>,
    ) -> Self {
        let sent = [asked, acknowledged];
        let secret = sent.iter().flatten().any(|sent| holds_secret(sent.parameters));
        Self {
            parameters: read,
            sent: asked.or(acknowledged).map(|sent| sent.checksum),
            any: secret || !from.is_empty(),
        }
    }
}

impl Confidential<'_> {
    /// A sentence of ours that goes on, after a colon, with the broker's words. When it cannot be told which words are
    /// secret, none of them is shown.
    #[must_use]
    pub fn told(self, what: &str, why: &str) -> String {
        let ours = || why.split_once(": ").map_or(why, |(ours, _)| ours);
        let shown = self.redacted(why).unwrap_or_else(|| ours().to_owned());
        format!("{what}: {shown}")
    }

    /// The broker's own words.
    #[must_use]
    pub fn quoted(self, words: Option<&str>) -> Option<String> {
        self.redacted(words.filter(|words| !words.is_empty())?)
    }

    /// A sentence of ours, with what the broker said in brackets behind it.
    #[must_use]
    pub fn described(self, sentence: &str, words: Option<&str>) -> String {
        self.quoted(words).map_or_else(|| sentence.to_owned(), |words| format!("{sentence} ({words})"))
    }

    /// Why an operation came to nothing, as the broker said.
    #[must_use]
    pub fn why(self, words: Option<&str>) -> String {
        self.quoted(words).unwrap_or_else(|| "the broker gave no reason".to_owned())
    }

    /// The Secrets may have changed since the broker was sent what they held; only what was sent can be taken out.
    fn redacted(self, text: &str) -> Option<String> {
        if !self.any {
            return Some(text.to_owned());
        }
        let parameters = self.parameters?.as_ref().ok()?;
        let checksum = parameters.checksum();
        let known = self.sent.is_none_or(|sent| sent == checksum);
        known.then(|| parameters.redact(text))
    }
}

/// Whether parameters as they are shown in status hold one from a Secret.
#[must_use]
pub fn holds_secret(shown: Option<&RawObject>) -> bool {
    // Most hold none, which the text tells.
    shown.filter(|shown| shown.text().contains(REDACTED)).is_some_and(|shown| {
        shown.parse().map_or(true, |members| members.values().any(|value| value == REDACTED))
    })
}

/// What precedes the last failure when nothing more is tried.
pub const TOO_LONG: &str = "Stopping reconciliation retries because too much time has elapsed";

/// What is said of an unfinished create that has been undone.
pub const UNDONE: &str = "Orphan mitigation was completed successfully";

/// What follows the cause while an unfinished create is undone.
const UNDOING: &str = " before another attempt";

/// What the cause follows when something else has to be said.
const BEFORE: &str = "; before: ";

/// Why an unfinished create (of an `instance` or a `binding`) is being undone, and from when on it can be.
#[must_use]
pub fn undoing(cause: &str, what: &str, not_before: Option<&MicroTime>) -> String {
    let after = not_before.map_or_else(String::new, |time| format!(" after {:.0},", time.0));
    format!("{cause}; the {what} is deleted at the broker{after}{UNDOING}")
}

/// Why an unfinished create is, or was, being undone: what has to be said meanwhile does not hide it.
#[must_use]
pub fn cause(shown: &Condition) -> Option<&str> {
    let undoing = || Some(shown.message.strip_suffix(UNDOING)?.rsplit_once("; the ")?.0);
    undoing().or_else(|| Some(shown.message.rsplit_once(BEFORE)?.1))
}

/// Something else, and then the cause: it is what the user wants to know.
#[must_use]
pub fn before(message: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| message.to_owned(), |cause| format!("{message}{BEFORE}{cause}"))
}

/// That an unfinished create has been undone, and when the next attempt is.
#[must_use]
pub fn undone(cause: Option<&str>, next: Timestamp) -> String {
    before(&format!("{UNDONE}, another attempt follows at {next:.0}"), cause)
}

/// That it is the operator's turn, and when.
#[must_use]
pub fn again(message: &str, next: Timestamp) -> String {
    format!("{message}; tried again at {next:.0}")
}

/// Whether a finding about an operation that is under way is to be written: another reason at once, other words for the
/// same reason only now and then.
pub fn is_news(
    shown: Option<&Condition>,
    (reason, message): (Reason, &str),
    memory: &mut Memory,
    now: Timestamp,
) -> bool {
    let lately = memory.described.is_some_and(|at| now < later(at, INTERVAL));
    let known =
        shown.is_some_and(|shown| shown.reason == reason.to_string() && (lately || shown.message == message));
    if !known {
        memory.described = Some(now);
    }
    !known
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        crd::{ConditionStatus, ConditionType, common::SecretKeyReference},
        reconcilers::parameters::{Source, SourceValue, merge},
    };

    fn source() -> SecretKeyReference {
        SecretKeyReference { name: "s".into(), key: "k".into() }
    }

    #[test]
    fn the_cause_of_a_mitigation_outlives_it() {
        let condition = |message: String| Condition {
            type_: ConditionType::Ready,
            status: ConditionStatus::False,
            observed_generation: 1,
            last_transition_time: None,
            reason: String::new(),
            message,
        };
        let why = "the broker answered 500; try the other one";
        let next = Timestamp::UNIX_EPOCH;
        for not_before in [None, Some(&MicroTime(next))] {
            let shown = condition(undoing(why, "instance", not_before));
            assert_eq!(cause(&shown), Some(why), "{}", shown.message);
            let failed = condition(before("Orphan mitigation failed: so it is", cause(&shown)));
            assert_eq!(cause(&failed), Some(why), "{}", failed.message);
            assert_eq!(cause(&condition(undone(cause(&failed), next))), Some(why));
        }
        assert_eq!(cause(&condition("else".into())), None);
        assert_eq!(before("else", None), "else");
    }

    #[test]
    fn secret_parameters_never_come_back_in_a_message() {
        let why = "the broker answered 400 Bad Request: hunter2 is weak";
        let text = json!({"password": "hunter2"}).to_string().into_bytes();
        let value = SourceValue::Bytes(Zeroizing::new(text));
        let read = merge(None, &[Source { reference: source(), value }]);
        let lost = merge(None, &[Source { reference: source(), value: SourceValue::NoSecret }]);
        let sum = read.as_ref().ok().unwrap().checksum().to_owned();
        let (shown, ours) = (
            "X: the broker answered 400 Bad Request: <redacted> is weak",
            "X: the broker answered 400 Bad Request",
        );
        let rows = [
            (Some(&read), Some(sum.as_str()), true, shown),
            (Some(&read), None, true, shown),
            // The Secret holds something else than what the broker was sent.
            (Some(&read), Some("other"), true, ours),
            (Some(&lost), Some(sum.as_str()), true, ours),
            (None, None, true, ours),
            (None, None, false, "X: the broker answered 400 Bad Request: hunter2 is weak"),
        ];
        for (parameters, sent, any, expected) in rows {
            let confidential = Confidential { parameters, sent, any };
            assert_eq!(confidential.told("X", why), expected);
            assert_eq!(confidential.quoted(Some("hunter2")).as_deref() == Some("hunter2"), !any);
        }
    }

    #[test]
    fn other_words_for_the_same_reason_wait_and_another_reason_does_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let shown = Condition {
            type_: ConditionType::Ready,
            status: ConditionStatus::False,
            observed_generation: 1,
            last_transition_time: None,
            reason: "Provisioning".into(),
            message: "10 %".into(),
        };
        let mut memory = Memory::default();
        assert!(!is_news(Some(&shown), (Reason::Provisioning, "10 %"), &mut memory, at(0)));
        assert!(is_news(Some(&shown), (Reason::Provisioning, "20 %"), &mut memory, at(1)));
        assert!(!is_news(Some(&shown), (Reason::Provisioning, "30 %"), &mut memory, at(2)));
        assert!(is_news(Some(&shown), (Reason::ErrorPollingLastOperation, "x"), &mut memory, at(3)));
        assert!(is_news(Some(&shown), (Reason::Provisioning, "40 %"), &mut memory, at(40)));
        assert!(is_news(None, (Reason::Provisioning, "x"), &mut memory, at(41)));
    }
}
