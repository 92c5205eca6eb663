//! Takes the values of secret parameters out of what a broker said, so that it can be shown in a status. Pure.

use super::parameters::{Parameters, ParametersError, REDACTED};
use crate::{crd::common::ParametersFromSource, json::RawObject, osb::outcome::Explanation};

/// Takes the values of the parameters that come from Secrets out of texts.
#[derive(Clone, Copy)]
pub struct Redactor<'a> {
    /// The parameters, as far as they were read.
    pub parameters: Option<&'a Result<Parameters, ParametersError>>,
    /// Checksum of the parameters that the broker was last sent, as recorded.
    pub sent: Option<&'a str>,
    /// Whether some of the parameters that the broker has, or will have, come from Secrets.
    pub any: bool,
}

/// Parameters that a broker was sent, as they are on record.
#[derive(Clone, Copy)]
pub struct SentParameters<'a> {
    /// As they are shown, without what came from Secrets.
    pub parameters: Option<&'a RawObject>,
    /// Checksum of all of them.
    pub checksum: &'a str,
}

impl<'a> Redactor<'a> {
    /// Of an object whose parameters were `read`, in part `from` Secrets, what must not be shown: what the broker is being
    /// `asked` for was sent last; without it, what it has `acknowledged`.
    #[must_use]
    pub fn new(
        read: Option<&'a Result<Parameters, ParametersError>>,
        from: &[ParametersFromSource],
        asked: Option<SentParameters<'a>>,
        acknowledged: Option<SentParameters<'a>>,
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

impl Redactor<'_> {
    /// A sentence of ours that goes on, after a colon, with an explanation. When it cannot be told which of the broker's
    /// words are secret, none of them is shown.
    #[must_use]
    pub fn message(self, what: &str, why: &Explanation) -> String {
        let broker = self.quote(why.broker.as_deref());
        format!("{what}: {}", Explanation { broker, ..why.clone() })
    }

    /// The broker's own words.
    #[must_use]
    pub fn quote(self, words: Option<&str>) -> Option<String> {
        self.redacted(words.filter(|words| !words.is_empty())?)
    }

    /// A sentence of ours, with what the broker said in brackets behind it.
    #[must_use]
    pub fn with_description(self, sentence: &str, words: Option<&str>) -> String {
        self.quote(words).map_or_else(|| sentence.to_owned(), |words| format!("{sentence} ({words})"))
    }

    /// Why an operation came to nothing, as the broker said.
    #[must_use]
    pub fn reason(self, words: Option<&str>) -> String {
        self.quote(words).unwrap_or_else(|| "the broker gave no reason".to_owned())
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        crd::common::SecretKeyReference,
        reconcilers::parameters::{Source, SourceValue, merge},
    };

    fn source() -> SecretKeyReference {
        SecretKeyReference { name: "s".into(), key: "k".into() }
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
        let value = SourceValue::Bytes(Zeroizing::new(text));
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
        for (parameters, sent, any, expected) in rows {
            let redactor = Redactor { parameters, sent, any };
            assert_eq!(redactor.message("X", &why), expected);
            assert_eq!(redactor.quote(Some("hunter2")).as_deref() == Some("hunter2"), !any);
        }
    }
}
