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

use serde_json::{Map, Value};

use super::outcome::{
    BindingAnswer, Bound, Credentials, Deleted, Doubt, Hindrance, InstanceAnswer, Lifetime, OperationState,
    Outcome, Polled, Provisioned, Unsent,
};
use super::response::Malformed;
pub use super::response::{BodyFault, Response};
pub use super::text::display;

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
    pub(super) fn is_confidential(self) -> bool {
        matches!(self, Self::Bind | Self::GetBinding)
    }
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
        TransportFault::Unsent(message) => {
            return Outcome::Unsent(Unsent { message, hindrance: Hindrance::Network });
        }
        TransportFault::TimedOut(after) => format!("the broker did not answer within {after:?}"),
        TransportFault::Lost(reason) => {
            format!("the connection was lost before the broker answered: {reason}")
        }
    };
    Outcome::Unknown(Doubt { message, mitigate: operation.creates(), ..Doubt::default() })
}

/// Provisioning: 200 and 201 are done, 202 is accepted.
#[must_use]
pub fn provision(response: &Response<'_>) -> Outcome<Provisioned> {
    match response.status {
        200 | 201 => response.read(Operation::Provision, |body| {
            operation_of(body)?;
            Ok(Provisioned::Done { dashboard_url: dashboard_url_of(body)? })
        }),
        202 => response.read(Operation::Provision, accepted_provision),
        _ => response.otherwise(Operation::Provision),
    }
}

/// Updating: 200 is done, 202 is accepted, 201 is not foreseen.
#[must_use]
pub fn update(response: &Response<'_>) -> Outcome<Provisioned> {
    match response.status {
        200 => response
            .read(Operation::Update, |body| Ok(Provisioned::Done { dashboard_url: dashboard_url_of(body)? })),
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
        202 => response.read(operation, |body| Ok(Deleted::Accepted { operation: operation_of(body)? })),
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
        202 if accepts_incomplete => {
            response.read(Operation::Bind, |body| Ok(Bound::Accepted { operation: operation_of(body)? }))
        }
        202 => {
            let message = format!("{}, an asynchronous answer, which was not asked for", response.answered());
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
            let version = body.get("maintenance_info").and_then(|info| info.get("version")?.as_str());
            Ok(InstanceAnswer {
                dashboard_url: dashboard_url_of(body)?,
                plan_id: text_of(body, "plan_id", "plan_id is not a string")?,
                maintenance_version: version.filter(|version| !version.is_empty()).map(str::to_owned),
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

/// A success of fetching the catalog.
#[derive(Debug, PartialEq, Eq)]
pub enum CatalogAnswer<'a, K> {
    /// 200: what its body is worth is for [`super::catalog`] to say.
    Body(&'a [u8]),
    /// 304: what is kept still holds.
    Unchanged(K),
}

/// Fetching the catalog: only 200 answers, and 304 if the broker was asked whether the catalog that is `kept` still
/// holds. An unasked 304 leaves nobody with a catalog.
#[must_use]
pub fn catalog<'a, K>(response: &Response<'a>, kept: Option<K>) -> Outcome<CatalogAnswer<'a, K>> {
    match (response.status, response.body, kept) {
        (200, Ok(body), _) => Outcome::Answered(CatalogAnswer::Body(body)),
        (200, Err(fault), _) => response.lost(Operation::Catalog, fault),
        (304, _, Some(kept)) => Outcome::Answered(CatalogAnswer::Unchanged(kept)),
        _ => response.otherwise(Operation::Catalog),
    }
}

fn accepted_provision(body: &Map<String, Value>) -> Result<Provisioned, Malformed> {
    Ok(Provisioned::Accepted { operation: operation_of(body)?, dashboard_url: dashboard_url_of(body)? })
}

/// The longest `operation` that a broker may give, in characters ("Body" of every 202).
const MAX_OPERATION: usize = 10_000;
/// The longest that can be sent back: each byte may take three in a URL, and no URL is sent that has 64 KiB.
const MAX_OPERATION_BYTES: usize = 20_000;

/// `operation`: the spec allows null, and an empty one must not be sent back, so both are none. With one that could not be
/// sent back, nobody would ever learn how it ended.
fn operation_of(body: &Map<String, Value>) -> Result<Option<String>, Malformed> {
    let operation = text_of(body, "operation", "operation is not a string")?;
    let fits = |text: &String| text.chars().count() <= MAX_OPERATION && text.len() <= MAX_OPERATION_BYTES;
    if operation.as_ref().is_none_or(fits) {
        Ok(operation)
    } else {
        Err("operation is longer than 10,000 characters")
    }
}

/// The longest `dashboard_url` that is kept, in bytes: as much as programs take for a URL. It stands in the status.
const MAX_DASHBOARD_URL: usize = 8 * 1024;

/// `dashboard_url`. One that nobody can open is as if absent: an instance is worth more than the link to its pages.
fn dashboard_url_of(body: &Map<String, Value>) -> Result<Option<String>, Malformed> {
    let url = text_of(body, "dashboard_url", "dashboard_url is not a string")?;
    Ok(url.filter(|url| url.len() <= MAX_DASHBOARD_URL && !url.contains(char::is_control)))
}

fn text_of(body: &Map<String, Value>, key: &str, malformed: Malformed) -> Result<Option<String>, Malformed> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(malformed),
    }
}

fn binding_of(mut body: Map<String, Value>) -> Result<BindingAnswer, Malformed> {
    let credentials = match body.remove("credentials") {
        None | Some(Value::Null) => None,
        Some(Value::Object(credentials)) => Some(Credentials::new(credentials)),
        Some(_) => return Err("credentials is not an object"),
    };
    let unserved = ["syslog_drain_url", "route_service_url", "volume_mounts"];
    let given = |key: &&str| body.get(*key).is_some_and(|value| !is_nothing(value));
    Ok(BindingAnswer {
        credentials,
        lifetime: lifetime_of(&body),
        unserved: unserved.into_iter().filter(given).collect(),
    })
}

/// `metadata.expires_at` and `renew_before`. A value that is no time is as if absent: the credentials are worth more than
/// a word about them.
fn lifetime_of(body: &Map<String, Value>) -> Lifetime {
    let time = |key: &str| body.get("metadata")?.get(key)?.as_str()?.parse().ok();
    Lifetime { expires_at: time("expires_at"), renew_before: time("renew_before") }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests;
