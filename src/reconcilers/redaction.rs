//! How are values from Secrets kept out of the messages that a status shows? A broker's text may repeat
//! parameters, so the values that come from Secrets are replaced. All functions are pure.

use super::parameters::{Parameters, ParametersError, REDACTED};
use crate::{crd::common::ParametersFromSource, json::RawObject, osb::outcome::Explanation};

/// Replaces the values of parameters that come from Secrets in texts.
#[derive(Clone, Copy)]
pub struct Redactor<'a> {
    /// The parameters, if they were read.
    pub parameters: Option<&'a Result<Parameters, ParametersError>>,
    /// The recorded checksum of the parameters that were last sent to the broker.
    pub sent: Option<&'a str>,
    /// Whether some of the parameters that the broker has, or will get, come from Secrets.
    pub has_secrets: bool,
}

/// Parameters that were sent to a broker, as the status records them.
#[derive(Clone, Copy)]
pub struct SentParameters<'a> {
    /// The parameters without the values from Secrets. `None` if there are none, or too many to show.
    pub parameters: Option<&'a RawObject>,
    /// The checksum of all parameters.
    pub checksum: &'a str,
}

impl SentParameters<'_> {
    /// Whether some of the values come from Secrets, as far as the status can tell.
    fn may_hold_secrets(&self) -> bool {
        self.parameters.map_or(!self.checksum.is_empty(), holds_secret)
    }
}

impl<'a> Redactor<'a> {
    /// A redactor for an object. `read`: its parameters; `from`: the Secrets that they come from;
    /// `in_progress`: the parameters of the request in progress, which were sent last; `acknowledged`: those
    /// that the broker has acknowledged.
    #[must_use]
    pub fn new(
        read: Option<&'a Result<Parameters, ParametersError>>,
        from: &[ParametersFromSource],
        in_progress: Option<SentParameters<'a>>,
        acknowledged: Option<SentParameters<'a>>,
    ) -> Self {
        let sent = [in_progress, acknowledged];
        let has_sent_secrets = sent.iter().flatten().any(SentParameters::may_hold_secrets);
        Self {
            parameters: read,
            sent: in_progress.or(acknowledged).map(|sent| sent.checksum),
            has_secrets: has_sent_secrets || !from.is_empty(),
        }
    }
}

impl Redactor<'_> {
    /// A sentence of the operator, followed by a colon and an explanation. If the redactor cannot tell which
    /// of the broker's words are secret, it shows none of them.
    #[must_use]
    pub fn message(self, what: &str, why: &Explanation) -> String {
        let broker = self.quote(why.broker.as_deref());
        format!("{what}: {}", Explanation { broker, ..why.clone() })
    }

    /// The text of the broker, redacted.
    #[must_use]
    pub fn quote(self, text: Option<&str>) -> Option<String> {
        self.redacted(text.filter(|text| !text.is_empty())?)
    }

    /// A sentence of the operator, followed by the broker's text in brackets.
    #[must_use]
    pub fn with_description(self, sentence: &str, text: Option<&str>) -> String {
        self.quote(text).map_or_else(|| sentence.to_owned(), |text| format!("{sentence} ({text})"))
    }

    /// The reason that the broker gave for a failed operation.
    #[must_use]
    pub fn reason(self, text: Option<&str>) -> String {
        self.quote(text).unwrap_or_else(|| "the broker gave no reason".to_owned())
    }

    /// Replaces secret values. `None` if the Secrets have changed since the request, as only the values that
    /// were sent can be replaced.
    fn redacted(self, text: &str) -> Option<String> {
        if !self.has_secrets {
            return Some(text.to_owned());
        }
        let parameters = self.parameters?.as_ref().ok()?;
        let checksum = parameters.checksum();
        let is_what_was_sent = self.sent.is_none_or(|sent| sent == checksum);
        is_what_was_sent.then(|| parameters.redact(text))
    }
}

/// Whether the recorded parameters have a value that came from a Secret.
fn holds_secret(shown: &RawObject) -> bool {
    // The search in the text avoids the parsing of most parameters.
    shown.text().contains(REDACTED)
        && shown.parse().map_or(true, |members| members.values().any(|value| value == REDACTED))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        crd::common::SecretKeyReference,
        reconcilers::parameters::{Source, SourceValue, merge},
    };

    fn source() -> SecretKeyReference {
        SecretKeyReference { name: "s".into(), key: "k".into() }
    }

    #[test]
    fn parameters_that_are_not_shown_may_hold_secrets() {
        let shown =
            |value: serde_json::Value| RawObject::from(value.as_object().cloned().unwrap_or_default());
        let (open, hidden) = (shown(json!({"a": 1})), shown(json!({"a": "<redacted>"})));
        let sent = |parameters, checksum| Some(SentParameters { parameters, checksum });
        let rows = [
            (None, false),
            (sent(None, ""), false),
            (sent(Some(&open), "1"), false),
            (sent(Some(&hidden), "1"), true),
            (sent(None, "1"), true),
        ];
        for (sent, expected) in rows {
            assert_eq!(Redactor::new(None, &[], sent, None).has_secrets, expected);
            assert_eq!(Redactor::new(None, &[], None, sent).has_secrets, expected);
        }
    }

    // v0.3 Q7
    #[test]
    fn secret_parameters_never_come_back_in_a_message() {
        let why = Explanation {
            ours: "the broker answered 400 Bad Request".into(),
            broker: Some("hunter2 is weak".into()),
            advice: " (advice)".into(),
        };
        let text = json!({"password": "hunter2"}).to_string().into_bytes();
        let value = SourceValue::of(text);
        let read = merge(None, &[Source { reference: source(), value }]);
        let lost = merge(None, &[Source { reference: source(), value: SourceValue::NoSecret }]);
        let sum = read.as_ref().ok().unwrap().checksum().to_owned();
        let (shown, ours) = (
            "X: the broker answered 400 Bad Request: <redacted> is weak (advice)",
            "X: the broker answered 400 Bad Request (advice)",
        );
        let rows = [
            (Some(&read), Some(sum.as_str()), true, shown),
            (Some(&read), None, true, shown),
            // The Secret holds something else than what the broker was sent.
            (Some(&read), Some("other"), true, ours),
            (Some(&lost), Some(sum.as_str()), true, ours),
            (None, None, true, ours),
            (None, None, false, "X: the broker answered 400 Bad Request: hunter2 is weak (advice)"),
        ];
        for (parameters, sent, has_secrets, expected) in rows {
            let redactor = Redactor { parameters, sent, has_secrets };
            assert_eq!(redactor.message("X", &why), expected);
            assert_eq!(redactor.quote(Some("hunter2")).as_deref() == Some("hunter2"), !has_secrets);
        }
    }
}
