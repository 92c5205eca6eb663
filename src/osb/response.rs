//! One response: its body as a JSON object, and the words for what it says. Pure.
//!
//! The tables of [`super::classify`] say which statuses an operation foresees; here is what holds for all of them:
//! what a malformed success, a refusal and a server error come to, and how the broker's text is quoted.

use std::{borrow::Cow, time::Duration};

use reqwest::StatusCode;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::classify::Operation;
use super::fetched::Validator;
use super::outcome::{Doubt, OperationState, Outcome, Polled, Refusal, RefusalReason};
use super::text::{MAX_TEXT, quote};
use super::version::{ANNOTATION, ApiVersion};
use crate::json::{MAX_VALUES, has_at_most};

/// What came back over the wire.
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, parsed (see [`super::text::retry_after`]).
    pub retry_after: Option<Duration>,
    /// The version of the API that the request named.
    pub spoken: ApiVersion,
    /// `X-Broker-API-Version`, where a broker answers with the one it wants.
    pub version: Option<ApiVersion>,
    /// What to ask later whether a catalog still holds.
    pub validator: Option<Validator>,
    /// The body, or why there is none.
    pub body: Result<&'a [u8], BodyFault>,
    /// What must not be shown even if the broker repeats it: the password or token it was sent.
    pub secrets: &'a [Zeroizing<String>],
}

/// Why a body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It is longer than we are willing to read.
    TooLong,
    /// The connection ended or broke before it was complete.
    Lost,
    /// The time for the request ended before it was complete.
    TimedOut,
}

/// Why a body is malformed. Never holds a piece of the body.
pub(super) type Malformed = &'static str;

impl<'a> Response<'a> {
    /// A response without `Retry-After`, and without secrets to hide.
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
        }
    }

    pub(super) fn read<T>(
        &self,
        operation: Operation,
        parse: impl FnOnce(&Map<String, Value>) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.read_owned(operation, |body| parse(&body))
    }

    /// A success, if its body is one; otherwise a doubt.
    pub(super) fn read_owned<T>(
        &self,
        operation: Operation,
        parse: impl FnOnce(Map<String, Value>) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        if let Err(fault) = self.body {
            return self.lost(operation, fault);
        }
        match self.object().and_then(parse) {
            Ok(answer) => Outcome::Answered(answer),
            Err(malformed) => {
                // 200 is "malformed: failure, no mitigation" in the table, unlike 201 and 202: it says that the
                // resource was there already.
                let mitigate = operation.creates() && self.status != 200;
                let message = format!("{} with a malformed body: {malformed}", self.answered());
                Outcome::Unknown(self.doubt(message, true, mitigate))
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

    /// A success whose body did not arrive.
    pub(super) fn lost<T>(&self, operation: Operation, fault: BodyFault) -> Outcome<T> {
        let malformed = operation.creates() && self.status != 200;
        let (what, mitigate) = match fault {
            BodyFault::TooLong => {
                ("with a body of more than 1 MiB (16 MiB for a catalog), which is too long", malformed)
            }
            BodyFault::Lost => ("but the connection was lost within the body", malformed),
            BodyFault::TimedOut => ("but did not complete its answer in time", operation.creates()),
        };
        let message = format!("{} {what}", self.answered());
        Outcome::Unknown(self.doubt(message, fault == BodyFault::TooLong, mitigate))
    }

    /// A status other than those that the operation foresees.
    pub(super) fn otherwise<T>(&self, operation: Operation) -> Outcome<T> {
        let body = self.object().unwrap_or_default();
        match self.status {
            300..=499 => Outcome::Refused(self.refusal(operation, &body)),
            500..=599 => {
                let message = self.sentence(operation, &body);
                let doubt = self.doubt(message, !matches!(self.status, 502 | 504), operation.creates());
                Outcome::Unknown(Doubt {
                    instance_usable: flag_of(&body, "instance_usable"),
                    update_repeatable: flag_of(&body, "update_repeatable"),
                    ..doubt
                })
            }
            _ => {
                let message = format!("{}, which is not foreseen for this request", self.answered());
                Outcome::Unknown(self.doubt(message, true, operation.creates()))
            }
        }
    }

    fn refusal(&self, operation: Operation, body: &Map<String, Value>) -> Refusal {
        let reason = reason_of(self.status, error_of(body));
        let advice = match reason {
            RefusalReason::Unauthorized => " (check the credentials in spec.authInfo)",
            RefusalReason::VersionMismatch => &self.version_advice(body),
            RefusalReason::Other if self.status == 304 => {
                " (but it was not asked whether anything has changed)"
            }
            RefusalReason::Redirected => " (redirects are not followed: check spec.url)",
            _ => "",
        };
        let message = self.sentence(operation, body) + advice;
        Refusal {
            status: self.status,
            reason,
            message,
            retry_after: self.retry_after,
            instance_usable: flag_of(body, "instance_usable"),
            update_repeatable: flag_of(body, "update_repeatable"),
        }
    }

    /// What to do about a broker that wants another version, and which one it wants if it says so.
    fn version_advice(&self, body: &Map<String, Value>) -> String {
        let spoken = self.spoken;
        let text = match (description_of(body), error_of(body), self.body) {
            (Some(text), _, _) | (None, Some(text), _) => Cow::Borrowed(text),
            (None, None, body) => String::from_utf8_lossy(body.unwrap_or_default()),
        };
        let wanted = self.version.filter(|version| *version != spoken).or_else(|| spoken.other_in(&text));
        match wanted {
            Some(wanted) => format!(
                " (the broker wants version {wanted} of the API: set the annotation {ANNOTATION}: \"{wanted}\" on the \
                 broker object)"
            ),
            None => format!(
                " (the broker wants another version of the API than {spoken}: name it in the annotation {ANNOTATION} of \
                 the broker object)"
            ),
        }
    }

    pub(super) fn doubt(&self, message: String, answered: bool, mitigate: bool) -> Doubt {
        let Self { status, retry_after, .. } = *self;
        Doubt { status: Some(status), message, answered, mitigate, retry_after, ..Doubt::default() }
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
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let blank = if reason.is_some() { " " } else { "" };
        format!("the broker answered {}{blank}{}", self.status, reason.unwrap_or_default())
    }

    /// `the broker answered 409 Conflict: ConcurrencyError: Another operation is in progress`: what the original wrote
    /// as `Status: 409; ErrorMessage: ConcurrencyError; Description: …; ResponseError: <nil>`.
    fn sentence(&self, operation: Operation, body: &Map<String, Value>) -> String {
        let mut sentence = self.answered();
        let raw = self.body.ok().filter(|_| body.is_empty() && !operation.is_confidential());
        let parts = [
            error_of(body).map(|code| quote(code, self.secrets, MAX_CODE)),
            description_of(body).map(|text| self.clean(text)),
            raw.map(|body| self.unstructured(body)),
        ];
        for part in parts.into_iter().flatten().filter(|part| !part.is_empty()) {
            sentence.push_str(": ");
            sentence.push_str(&part);
        }
        sentence
    }

    /// What to show of an error body that is not the protocol's: proxies and frameworks answer with pages and phrases.
    fn unstructured(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        match text.trim_start() {
            "{}" => String::new(),
            page if page.starts_with('<') => "(an HTML page)".to_owned(),
            phrase => quote(phrase, self.secrets, MAX_PHRASE),
        }
    }

    fn clean(&self, text: &str) -> String {
        quote(text, self.secrets, MAX_TEXT)
    }
}

/// An error code is "a single word in camel case"; some brokers write sentences into it.
const MAX_CODE: usize = 256;
/// Enough of an unstructured error body to recognise its author.
const MAX_PHRASE: usize = 256;

/// The reason of a refusal. Only the status and the error code count; descriptions are free text ("Service Broker
/// Errors"). A 403 without a code is how gateways say 401; one with a code is the broker's decision on this request.
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

/// The first of the keys that holds a text: Go brokers without field tags answer in capitals.
fn string_of<'a>(body: &'a Map<String, Value>, keys: [&str; 2]) -> Option<&'a str> {
    keys.into_iter().find_map(|key| body.get(key)?.as_str()).filter(|text| !text.is_empty())
}

fn flag_of(body: &Map<String, Value>, key: &str) -> Option<bool> {
    body.get(key)?.as_bool()
}
