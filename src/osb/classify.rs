//! What an answer means: from (operation, status, body) to an [`Outcome`]. Pure and total.
//!
//! The tables are those of OSB 2.17: "Response" of every endpoint, "Orphan Mitigation", "Polling Last Operation".
//! Where the spec contradicts itself the orphan table wins over the endpoint texts ("other 4xx: rejected"), except
//! that 201 to DELETE and PATCH is a failure to be repeated, as the endpoint texts have it. Where it is silent:
//!
//! - 3xx is a refusal: it says "not here", and a redirected PUT would be a second PUT.
//! - A status beyond 599 is a malformed answer: nobody can say what happened.
//! - A status line that decides alone does so even if its body was cut off or lost: 4xx, 410, and 200 to a DELETE.
//! - A body that is too long is malformed; a connection lost within the body of a success is a malformed success;
//!   a time-out within it is a time-out.
//!
//! No success body is ever quoted in a message, for it may hold credentials.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::outcome::{
    BindingAnswer, Bound, Credentials, Deleted, Doubt, InstanceAnswer, OperationState, Outcome, Polled,
    Provisioned, Refusal, RefusalReason, Unsent,
};
pub use super::text::display;
use super::text::{clip, redact};

/// The requests of OSB 2.17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `GET /v2/catalog`
    Catalog,
    /// `PUT /v2/service_instances/:id`
    Provision,
    /// `PATCH /v2/service_instances/:id`
    Update,
    /// `DELETE /v2/service_instances/:id`
    Deprovision,
    /// `GET /v2/service_instances/:id/last_operation`
    PollInstance,
    /// `GET /v2/service_instances/:id`
    GetInstance,
    /// `PUT /v2/service_instances/:id/service_bindings/:id`
    Bind,
    /// `DELETE /v2/service_instances/:id/service_bindings/:id`
    Unbind,
    /// `GET /v2/service_instances/:id/service_bindings/:id/last_operation`
    PollBinding,
    /// `GET /v2/service_instances/:id/service_bindings/:id`
    GetBinding,
}

impl Operation {
    /// The HTTP method.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Provision | Self::Bind => "PUT",
            Self::Update => "PATCH",
            Self::Deprovision | Self::Unbind => "DELETE",
            Self::Catalog | Self::PollInstance | Self::GetInstance | Self::PollBinding | Self::GetBinding => {
                "GET"
            }
        }
    }

    /// The name for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Provision => "provision",
            Self::Update => "update",
            Self::Deprovision => "deprovision",
            Self::PollInstance => "poll_instance",
            Self::GetInstance => "get_instance",
            Self::Bind => "bind",
            Self::Unbind => "unbind",
            Self::PollBinding => "poll_binding",
            Self::GetBinding => "get_binding",
        }
    }

    /// The requests that may leave something behind at the broker: those the orphan table mitigates.
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::Provision | Self::Bind)
    }

    /// Answers that may hold credentials: their bodies are not quoted, whatever the status.
    fn is_confidential(self) -> bool {
        matches!(self, Self::Bind | Self::GetBinding)
    }
}

/// What came back over the wire.
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, parsed (see [`super::text::retry_after`]).
    pub retry_after: Option<Duration>,
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

/// Why there was no response at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportFault {
    /// Nothing was sent, with the reason.
    Unsent(String),
    /// No complete response headers within the time given.
    TimedOut(Duration),
    /// The connection was lost after something may have been sent, with the reason.
    Lost(String),
}

/// What a request without a response came to. Orphan table: "timeout" (a lost connection is one that is noticed
/// sooner); a request that was not sent is not in the table, as nothing can have come of it.
#[must_use]
pub fn transport<T>(operation: Operation, fault: TransportFault) -> Outcome<T> {
    let message = match fault {
        TransportFault::Unsent(message) => return Outcome::Unsent(Unsent { message }),
        TransportFault::TimedOut(after) => format!("the broker did not answer within {after:?}"),
        TransportFault::Lost(reason) => {
            format!("the connection was lost before the broker answered: {reason}")
        }
    };
    Outcome::Unknown(Doubt {
        message,
        mitigate: operation.creates(),
        ..Doubt::default()
    })
}

/// Provisioning: 200 and 201 are done, 202 is accepted.
#[must_use]
pub fn provision(response: &Response<'_>) -> Outcome<Provisioned> {
    match response.status {
        200 | 201 => response.read(Operation::Provision, |body| {
            operation_of(body)?;
            Ok(Provisioned::Done {
                dashboard_url: dashboard_url_of(body)?,
            })
        }),
        202 => response.read(Operation::Provision, accepted_provision),
        _ => response.otherwise(Operation::Provision),
    }
}

/// Updating: 200 is done, 202 is accepted, 201 is not foreseen.
#[must_use]
pub fn update(response: &Response<'_>) -> Outcome<Provisioned> {
    match response.status {
        200 => response.read(Operation::Update, |body| {
            Ok(Provisioned::Done {
                dashboard_url: dashboard_url_of(body)?,
            })
        }),
        202 => response.read(Operation::Update, accepted_provision),
        _ => response.otherwise(Operation::Update),
    }
}

/// Deprovisioning: 200 and 410 are the end whatever their bodies, 202 is accepted.
#[must_use]
pub fn deprovision(response: &Response<'_>) -> Outcome<Deleted> {
    deleted(Operation::Deprovision, response)
}

/// Unbinding, as [`deprovision`].
#[must_use]
pub fn unbind(response: &Response<'_>) -> Outcome<Deleted> {
    deleted(Operation::Unbind, response)
}

fn deleted(operation: Operation, response: &Response<'_>) -> Outcome<Deleted> {
    match response.status {
        200 | 410 => Outcome::Answered(Deleted::Done),
        202 => response.read(operation, |body| {
            Ok(Deleted::Accepted {
                operation: operation_of(body)?,
            })
        }),
        _ => response.otherwise(operation),
    }
}

/// Binding: 200 and 201 are done, 202 is accepted if it was asked for.
///
/// A 202 to a request without `accepts_incomplete=true` breaks the protocol, and its credentials might never be had:
/// something may exist, so it is mitigated like a malformed one. A 202 holds no credentials; if it does, they are
/// not those of the finished binding and are not read.
#[must_use]
pub fn bind(response: &Response<'_>, accepts_incomplete: bool) -> Outcome<Bound> {
    match response.status {
        200 | 201 => response.read_owned(Operation::Bind, |body| Ok(Bound::Done(binding_of(body)?))),
        202 if accepts_incomplete => response.read(Operation::Bind, |body| {
            Ok(Bound::Accepted {
                operation: operation_of(body)?,
            })
        }),
        202 => {
            let message = format!(
                "{}, an asynchronous answer, which was not asked for",
                response.answered()
            );
            Outcome::Unknown(response.doubt(message, true, true))
        }
        _ => response.otherwise(Operation::Bind),
    }
}

/// Polling `last_operation` of an instance or a binding: 200 with a state that the spec knows, or 410. Everything else
/// is no answer, and polling goes on.
#[must_use]
pub fn poll(operation: Operation, response: &Response<'_>) -> Outcome<Polled> {
    match response.status {
        200 => response.read(operation, |body| {
            let state = match body.get("state").and_then(Value::as_str) {
                Some("in progress") => OperationState::InProgress,
                Some("succeeded") => OperationState::Succeeded,
                Some("failed") => OperationState::Failed,
                Some(_) => return Err("state is none of those the protocol knows"),
                None => return Err("state is missing"),
            };
            Ok(response.polled(state, body))
        }),
        410 => {
            let body = response.object().unwrap_or_default();
            Outcome::Answered(response.polled(OperationState::Gone, &body))
        }
        _ => response.otherwise(operation),
    }
}

/// Fetching an instance: only 200 answers; 404 proves nothing ("does not exist or still provisioning").
#[must_use]
pub fn get_instance(response: &Response<'_>) -> Outcome<InstanceAnswer> {
    match response.status {
        200 => response.read(Operation::GetInstance, |body| {
            Ok(InstanceAnswer {
                dashboard_url: dashboard_url_of(body)?,
            })
        }),
        _ => response.otherwise(Operation::GetInstance),
    }
}

/// Fetching a binding: only 200 answers, as for [`get_instance`].
#[must_use]
pub fn get_binding(response: &Response<'_>) -> Outcome<BindingAnswer> {
    match response.status {
        200 => response.read_owned(Operation::GetBinding, binding_of),
        _ => response.otherwise(Operation::GetBinding),
    }
}

/// Fetching the catalog: only 200 answers; what its body is worth is for [`super::catalog`] to say.
#[must_use]
pub fn catalog<'a>(response: &Response<'a>) -> Outcome<&'a [u8]> {
    match (response.status, response.body) {
        (200, Ok(body)) => Outcome::Answered(body),
        (200, Err(fault)) => response.lost(Operation::Catalog, fault),
        _ => response.otherwise(Operation::Catalog),
    }
}

/// Why a body is malformed. Never holds a piece of the body.
type Malformed = &'static str;

fn accepted_provision(body: &Map<String, Value>) -> Result<Provisioned, Malformed> {
    Ok(Provisioned::Accepted {
        operation: operation_of(body)?,
        dashboard_url: dashboard_url_of(body)?,
    })
}

/// `operation`: the spec allows null, and an empty one must not be sent back, so both are none.
fn operation_of(body: &Map<String, Value>) -> Result<Option<String>, Malformed> {
    text_of(body, "operation", "operation is not a string")
}

fn dashboard_url_of(body: &Map<String, Value>) -> Result<Option<String>, Malformed> {
    text_of(body, "dashboard_url", "dashboard_url is not a string")
}

fn text_of(body: &Map<String, Value>, key: &str, malformed: Malformed) -> Result<Option<String>, Malformed> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(malformed),
    }
}

fn binding_of(mut body: Map<String, Value>) -> Result<BindingAnswer, Malformed> {
    match body.remove("credentials") {
        None | Some(Value::Null) => Ok(BindingAnswer { credentials: None }),
        Some(Value::Object(credentials)) => Ok(BindingAnswer {
            credentials: Some(Credentials::new(credentials)),
        }),
        Some(_) => Err("credentials is not an object"),
    }
}

impl<'a> Response<'a> {
    /// A response without `Retry-After`, and without secrets to hide.
    #[must_use]
    pub fn new(status: u16, body: &'a [u8]) -> Self {
        Self {
            status,
            retry_after: None,
            body: Ok(body),
            secrets: &[],
        }
    }

    fn read<T>(
        &self,
        operation: Operation,
        parse: impl FnOnce(&Map<String, Value>) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.read_owned(operation, |body| parse(&body))
    }

    /// A success, if its body is one; otherwise a doubt.
    fn read_owned<T>(
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

    fn object(&self) -> Result<Map<String, Value>, Malformed> {
        let body = self.body.map_err(|_| "it is incomplete")?;
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err("it is not a JSON object"),
            Err(_) if body.is_empty() => Err("it is empty"),
            Err(_) => Err("it is not JSON"),
        }
    }

    /// A success whose body did not arrive.
    fn lost<T>(&self, operation: Operation, fault: BodyFault) -> Outcome<T> {
        let malformed = operation.creates() && self.status != 200;
        let (what, mitigate) = match fault {
            BodyFault::TooLong => ("with a body that is too long", malformed),
            BodyFault::Lost => ("but the connection was lost within the body", malformed),
            BodyFault::TimedOut => ("but did not complete its answer in time", operation.creates()),
        };
        let message = format!("{} {what}", self.answered());
        Outcome::Unknown(self.doubt(message, fault == BodyFault::TooLong, mitigate))
    }

    /// A status other than those that the operation foresees.
    fn otherwise<T>(&self, operation: Operation) -> Outcome<T> {
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
        let message = self.sentence(operation, body)
            + match reason {
                RefusalReason::Unauthorized => " (check the credentials in spec.authInfo)",
                RefusalReason::VersionMismatch => " (the broker wants another version of the API)",
                _ if self.status < 400 => " (redirects are not followed: check spec.url)",
                _ => "",
            };
        Refusal {
            status: self.status,
            reason,
            message,
            retry_after: self.retry_after,
            instance_usable: flag_of(body, "instance_usable"),
            update_repeatable: flag_of(body, "update_repeatable"),
        }
    }

    fn doubt(&self, message: String, answered: bool, mitigate: bool) -> Doubt {
        let Self {
            status, retry_after, ..
        } = *self;
        Doubt {
            status: Some(status),
            message,
            answered,
            mitigate,
            retry_after,
            ..Doubt::default()
        }
    }

    fn polled(&self, state: OperationState, body: &Map<String, Value>) -> Polled {
        Polled {
            state,
            description: description_of(body)
                .map(|text| self.clean(text))
                .filter(|text| !text.is_empty()),
            retry_after: self.retry_after,
            instance_usable: flag_of(body, "instance_usable"),
            update_repeatable: flag_of(body, "update_repeatable"),
        }
    }

    fn answered(&self) -> String {
        let reason = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        let blank = if reason.is_some() { " " } else { "" };
        format!(
            "the broker answered {}{blank}{}",
            self.status,
            reason.unwrap_or_default()
        )
    }

    /// `the broker answered 409 Conflict: ConcurrencyError: Another operation is in progress`: what the original wrote
    /// as `Status: 409; ErrorMessage: ConcurrencyError; Description: …; ResponseError: <nil>`.
    fn sentence(&self, operation: Operation, body: &Map<String, Value>) -> String {
        let mut sentence = self.answered();
        let raw = self
            .body
            .ok()
            .filter(|_| body.is_empty() && !operation.is_confidential());
        let parts = [
            error_of(body).map(|code| clip(&redact(code, self.secrets), MAX_CODE)),
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
            phrase => clip(&redact(phrase, self.secrets), MAX_PHRASE),
        }
    }

    fn clean(&self, text: &str) -> String {
        display(&redact(text, self.secrets))
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
    keys.into_iter()
        .find_map(|key| body.get(key)?.as_str())
        .filter(|text| !text.is_empty())
}

fn flag_of(body: &Map<String, Value>, key: &str) -> Option<bool> {
    body.get(key)?.as_bool()
}
