//! One response: its body as a JSON object, and the outcomes that are the same for all operations: malformed
//! successes, refusals and server errors. Pure. [`super::classify`] knows the statuses of each operation.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::caching::Validator;
use super::error_body::{self, ErrorText};
use super::operation::Operation;
use super::outcome::{Explanation, OperationState, Outcome, Polled, Refusal, RefusalReason, UnknownOutcome};
use super::redact::quote;
use super::version::{ANNOTATION, ApiVersion};
use crate::json::{MAX_VALUES, has_at_most};
use crate::printable::MAX_TEXT;

/// A response to one request.
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, parsed by [`super::retry_after::retry_after`].
    pub retry_after: Option<Duration>,
    /// The version of the API that the request named.
    pub spoken: ApiVersion,
    /// `X-Broker-API-Version` of the response, if it has a version.
    pub version: Option<ApiVersion>,
    /// The validator of a catalog, for later conditional requests.
    pub validator: Option<Validator>,
    /// The body, or why it is not complete.
    pub body: Result<&'a [u8], BodyFault>,
    /// Texts that must not be shown although the broker may repeat them: the password or token that it
    /// received.
    pub secrets: &'a [Zeroizing<String>],
    /// Whether messages have the text of an error body. A user who chooses the address of a broker could
    /// otherwise read what only the operator can reach.
    pub quotes_errors: bool,
}

/// Why a body is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It is longer than the limit.
    TooLong,
    /// The connection ended or broke before it was complete.
    Lost,
    /// The time for the request ended before it was complete.
    TimedOut,
}

/// Why a body is malformed. It never quotes the body.
pub(super) type Malformed = &'static str;

impl<'a> Response<'a> {
    /// A response with only a status and a body.
    #[must_use]
    pub fn new(status: u16, body: &'a [u8]) -> Self {
        Self {
            status,
            retry_after: None,
            spoken: ApiVersion::SPOKEN,
            version: None,
            validator: None,
            body: Ok(body),
            secrets: &[],
            quotes_errors: true,
        }
    }

    pub(super) fn read<T>(
        &self,
        operation: Operation,
        parse: impl FnOnce(&Map<String, Value>) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.read_owned(operation, |body| parse(&body))
    }

    /// A success if its body can be parsed; otherwise an unknown outcome.
    pub(super) fn read_owned<T>(
        &self,
        operation: Operation,
        parse: impl FnOnce(Map<String, Value>) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        if let Err(fault) = self.body {
            return self.incomplete_success(operation, fault);
        }
        match self.object().and_then(parse) {
            Ok(answer) => Outcome::Answered(answer),
            Err(malformed) => {
                // In the spec's table a malformed 200 needs no mitigation, unlike 201 and 202: the resource
                // existed before.
                let mitigate = operation.creates() && self.status != 200;
                let message = format!("{} with a malformed body: {malformed}", self.answered());
                Outcome::Unknown(self.unknown_outcome(message.into(), true, mitigate))
            }
        }
    }

    pub(super) fn object(&self) -> Result<Map<String, Value>, Malformed> {
        let body = self.body.map_err(|_| "it is incomplete")?;
        if !has_at_most(MAX_VALUES, body) {
            return Err("it has more than 100,000 values");
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err("it is not a JSON object"),
            Err(_) if body.is_empty() => Err("it is empty"),
            Err(_) => Err("it is not JSON"),
        }
    }

    /// A success whose body is not complete.
    pub(super) fn incomplete_success<T>(&self, operation: Operation, fault: BodyFault) -> Outcome<T> {
        let malformed = operation.creates() && self.status != 200;
        let (what, mitigate) = match fault {
            BodyFault::TooLong => {
                ("with a body of more than 1 MiB (16 MiB for a catalog), which is too long", malformed)
            }
            BodyFault::Lost => ("but the connection was lost within the body", malformed),
            BodyFault::TimedOut => ("but did not complete its answer in time", operation.creates()),
        };
        let message = format!("{} {what}", self.answered());
        Outcome::Unknown(self.unknown_outcome(message.into(), fault == BodyFault::TooLong, mitigate))
    }

    /// A status that the spec does not define for the operation.
    pub(super) fn unexpected_status<T>(&self, operation: Operation) -> Outcome<T> {
        let body = self.object().unwrap_or_default();
        match self.status {
            300..=499 => Outcome::Refused(self.refusal(operation, &body)),
            500..=599 => {
                let message = self.sentence(operation);
                let unknown =
                    self.unknown_outcome(message, !matches!(self.status, 502 | 504), operation.creates());
                Outcome::Unknown(UnknownOutcome {
                    instance_usable: flag_of(&body, "instance_usable"),
                    update_repeatable: flag_of(&body, "update_repeatable"),
                    ..unknown
                })
            }
            _ => {
                let message = format!("{}, which this request cannot have", self.answered());
                Outcome::Unknown(self.unknown_outcome(message.into(), true, operation.creates()))
            }
        }
    }

    fn refusal(&self, operation: Operation, body: &Map<String, Value>) -> Refusal {
        let code = error_of(body).filter(|code| !self.repeats_status(code));
        let reason = reason_of(self.status, code);
        let advice = match reason {
            RefusalReason::Unauthorized => " (check the credentials in spec.authInfo)",
            RefusalReason::VersionMismatch => &self.version_advice(),
            RefusalReason::Other if self.status == 304 => " (but the request was not conditional)",
            RefusalReason::Redirected => " (redirects are not followed: check spec.url)",
            _ => "",
        };
        let message = Explanation { advice: advice.to_owned(), ..self.sentence(operation) };
        Refusal {
            status: self.status,
            reason,
            message,
            retry_after: self.retry_after,
            instance_usable: flag_of(body, "instance_usable"),
            update_repeatable: flag_of(body, "update_repeatable"),
        }
    }

    /// What to do about a broker that requires another version. The message contains the broker's text about
    /// it. The version itself comes only from the header `X-Broker-API-Version` of the answer.
    fn version_advice(&self) -> String {
        let spoken = self.spoken;
        match self.version.filter(|version| *version != spoken) {
            Some(wanted) => format!(
                " (the broker wants version {wanted} of the API: set the annotation {ANNOTATION}: \"{wanted}\" on the \
                 broker object)"
            ),
            None => format!(
                " (the broker wants another version of the API than {spoken}: set it in the annotation {ANNOTATION} of \
                 the broker object)"
            ),
        }
    }

    pub(super) fn unknown_outcome(
        &self,
        message: Explanation,
        answered: bool,
        mitigate: bool,
    ) -> UnknownOutcome {
        let Self { status, retry_after, .. } = *self;
        UnknownOutcome {
            status: Some(status),
            message,
            answered,
            mitigate,
            retry_after,
            ..UnknownOutcome::default()
        }
    }

    pub(super) fn polled(&self, state: OperationState, body: &Map<String, Value>) -> Polled {
        Polled {
            state,
            description: description_of(body).map(|text| self.clean(text)).filter(|text| !text.is_empty()),
            retry_after: self.retry_after,
            instance_usable: flag_of(body, "instance_usable"),
            update_repeatable: flag_of(body, "update_repeatable"),
        }
    }

    pub(super) fn answered(&self) -> String {
        let phrase = reason_phrase(self.status);
        let blank = if phrase.is_empty() { "" } else { " " };
        format!("the broker answered {}{blank}{phrase}", self.status)
    }

    /// A sentence with what the broker says: `the broker answered 409 Conflict: ConcurrencyError: Another
    /// operation is in progress`.
    fn sentence(&self, operation: Operation) -> Explanation {
        let ErrorText { code, message, unreadable } = match self.body {
            Ok(body) if self.quotes_errors => error_body::read(body, !operation.is_confidential()),
            Ok(_) | Err(_) => ErrorText::default(),
        };
        let parts = [
            code.map(|code| quote(&code, self.secrets, MAX_CODE)),
            message.map(|text| self.clean(&text)),
            unreadable.map(|body| quote(&body, self.secrets, MAX_UNREADABLE)),
        ];
        let said = parts.into_iter().flatten().filter(|part| !part.is_empty() && !self.repeats_status(part));
        let said = said.collect::<Vec<_>>().join(": ");
        Explanation { broker: Some(said).filter(|said| !said.is_empty()), ..self.answered().into() }
    }

    /// Whether a text only repeats the status, as in `Bad Request` or `400 Bad Request`.
    fn repeats_status(&self, text: &str) -> bool {
        let phrase = reason_phrase(self.status);
        let text = text.strip_prefix(&self.status.to_string()).unwrap_or(text).trim();
        !phrase.is_empty() && text.eq_ignore_ascii_case(phrase)
    }

    fn clean(&self, text: &str) -> String {
        quote(text, self.secrets, MAX_TEXT)
    }
}

/// The longest error code that is shown, in bytes. It is "a single word in camel case", but some brokers
/// write sentences.
const MAX_CODE: usize = 256;
/// How much is shown of an error body that cannot be read: enough to recognise which server wrote it.
const MAX_UNREADABLE: usize = 256;

/// `Bad Request` for 400; empty if the status has none.
fn reason_phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// The reason of a refusal, from the status and the error code; descriptions are free text ("Service Broker
/// Errors"). A gateway answers 403 without a code where a broker answers 401. A 403 with a code is the
/// broker's decision on the request.
fn reason_of(status: u16, error: Option<&str>) -> RefusalReason {
    match (status, error) {
        (304, _) => RefusalReason::Other,
        (..400, _) => RefusalReason::Redirected,
        (400, _) => RefusalReason::BadRequest,
        (401, _) | (403, None) => RefusalReason::Unauthorized,
        (408, _) => RefusalReason::NotReceived,
        (409, _) => RefusalReason::Conflict,
        (412, _) => RefusalReason::VersionMismatch,
        (422, Some("ConcurrencyError")) => RefusalReason::ConcurrencyError,
        (422, Some("AsyncRequired")) => RefusalReason::AsyncRequired,
        (422, Some("RequiresApp")) => RefusalReason::RequiresApp,
        (422, Some("MaintenanceInfoConflict")) => RefusalReason::MaintenanceInfoConflict,
        (429, _) => RefusalReason::Throttled,
        _ => RefusalReason::Other,
    }
}

fn error_of(body: &Map<String, Value>) -> Option<&str> {
    string_of(body, ["error", "Error"])
}

fn description_of(body: &Map<String, Value>) -> Option<&str> {
    string_of(body, ["description", "Description"])
}

/// The first of the keys that has a text. Brokers in Go without field tags write capitals.
fn string_of<'a>(body: &'a Map<String, Value>, keys: [&str; 2]) -> Option<&'a str> {
    keys.into_iter().find_map(|key| body.get(key)?.as_str()).filter(|text| !text.is_empty())
}

fn flag_of(body: &Map<String, Value>, key: &str) -> Option<bool> {
    body.get(key)?.as_bool()
}
