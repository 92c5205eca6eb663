//! From an operation, a status and a body to an [`Outcome`]. Pure, and defined for every input.
//!
//! The rules are those of OSB 2.17: "Response" of every endpoint, "Orphan Mitigation", "Polling Last
//! Operation". Where the spec contradicts itself, the table of "Orphan Mitigation" counts ("other 4xx:
//! rejected"), except that 201 to DELETE and PATCH is a failure that is retried, as the texts of the
//! endpoints say. Where the spec says nothing:
//!
//! - 3xx is a refusal: a redirected PUT would be a second PUT.
//! - A status above 599 is a malformed answer, and its effect is unknown.
//! - Some statuses decide alone, even if the body was cut off or lost: 4xx, 410, and 200 to a DELETE.
//! - A body that is too long is malformed. A connection that is lost within the body of a success is a
//!   malformed success; a time-out within it is a time-out.
//!
//! Bodies of successes are never quoted, because they may hold credentials.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};

use super::extras;
use super::ids::PlanId;
use super::operation::Operation;
use super::outcome::{
    BindingAnswer, Bound, Credentials, Dashboard, Deleted, InstanceAnswer, Lifetime, OperationState, Outcome,
    Polled, Provisioned, UnknownOutcome, Unsent, UnsentReason,
};
use super::response::Malformed;
pub use super::response::{BodyFault, Response};
use crate::printable::clip;

/// Why there was no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportFault {
    /// Nothing was sent; with the reason.
    Unsent(String),
    /// The response headers were not complete within this time.
    TimedOut(Duration),
    /// The connection was lost after the request may have been sent; with the reason.
    Lost(String),
}

/// The outcome of a request without a response. A lost connection is treated as the "timeout" of the spec's
/// table of orphan mitigation. A request that was not sent is not in the table, because it has no effect.
#[must_use]
pub fn transport<T>(operation: Operation, fault: TransportFault) -> Outcome<T> {
    let message = match fault {
        TransportFault::Unsent(message) => {
            return Outcome::Unsent(Unsent { message: message.into(), reason: UnsentReason::Network });
        }
        TransportFault::TimedOut(after) => format!("the broker did not answer within {after:?}"),
        TransportFault::Lost(reason) => {
            format!("the connection was lost before the broker answered: {reason}")
        }
    };
    let message = message.into();
    Outcome::Unknown(UnknownOutcome { message, mitigate: operation.creates(), ..UnknownOutcome::default() })
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
        _ => response.unexpected_status(Operation::Provision),
    }
}

/// Updating: 200 is done, 202 is accepted.
#[must_use]
pub fn update(response: &Response<'_>) -> Outcome<Provisioned> {
    match response.status {
        200 => response
            .read(Operation::Update, |body| Ok(Provisioned::Done { dashboard_url: dashboard_url_of(body)? })),
        202 => response.read(Operation::Update, accepted_provision),
        _ => response.unexpected_status(Operation::Update),
    }
}

/// Deprovisioning: 200 and 410 are done, whatever their bodies are; 202 is accepted.
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
        _ => response.unexpected_status(operation),
    }
}

/// Binding: 200 and 201 are done, 202 is accepted if it was asked for.
///
/// A 202 to a request without `accepts_incomplete=true` breaks the protocol, and its credentials could not be
/// fetched. A binding may exist, so the outcome is that of a malformed 202: orphan mitigation. Credentials in
/// a 202 are not those of the finished binding and are not read.
#[must_use]
pub fn bind(response: &Response<'_>, accepts_incomplete: bool) -> Outcome<Bound> {
    match response.status {
        200 | 201 => response.read_owned(Operation::Bind, |body| Ok(Bound::Done(binding_of(body)?))),
        202 if accepts_incomplete => {
            response.read(Operation::Bind, |body| Ok(Bound::Accepted { operation: operation_of(body)? }))
        }
        202 => {
            let message =
                format!("{}, an asynchronous answer, which the request did not allow", response.answered());
            Outcome::Unknown(response.unknown_outcome(message.into(), true, true))
        }
        _ => response.unexpected_status(Operation::Bind),
    }
}

/// Polling `last_operation` of an instance or a binding: 200 with a state of the spec, or 410. Anything else
/// is no valid answer, and the operation is polled again.
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
        _ => response.unexpected_status(operation),
    }
}

/// Fetching an instance: only 200 is an answer. 404 proves nothing ("does not exist or still provisioning").
#[must_use]
pub fn get_instance(response: &Response<'_>) -> Outcome<InstanceAnswer> {
    match response.status {
        200 => response.read(Operation::GetInstance, |body| {
            let version = body.get("maintenance_info").and_then(|info| info.get("version")?.as_str());
            Ok(InstanceAnswer {
                dashboard_url: dashboard_url_of(body)?,
                plan_id: text_of(body, "plan_id", "plan_id is not a string")?.map(PlanId::from),
                maintenance_version: version.filter(|version| !version.is_empty()).map(str::to_owned),
            })
        }),
        _ => response.unexpected_status(Operation::GetInstance),
    }
}

/// Fetching a binding: only 200 is an answer, as for [`get_instance`].
#[must_use]
pub fn get_binding(response: &Response<'_>) -> Outcome<BindingAnswer> {
    match response.status {
        200 => response.read_owned(Operation::GetBinding, binding_of),
        _ => response.unexpected_status(Operation::GetBinding),
    }
}

/// Success of fetching the catalog.
#[derive(Debug, PartialEq, Eq)]
pub enum CatalogAnswer<'a, K> {
    /// 200, with the body, which [`super::catalog`] reads.
    Body(&'a [u8]),
    /// 304: the kept catalog is still current.
    Unchanged(K),
}

/// Fetching the catalog: 200 is an answer, and so is 304 if there is a `kept` catalog, which the request
/// asked about.
#[must_use]
pub fn catalog<'a, K>(response: &Response<'a>, kept: Option<K>) -> Outcome<CatalogAnswer<'a, K>> {
    match (response.status, response.body, kept) {
        (200, Ok(body), _) => Outcome::Answered(CatalogAnswer::Body(body)),
        (200, Err(fault), _) => response.incomplete_success(Operation::Catalog, fault),
        (304, _, Some(kept)) => Outcome::Answered(CatalogAnswer::Unchanged(kept)),
        _ => response.unexpected_status(Operation::Catalog),
    }
}

fn accepted_provision(body: &Map<String, Value>) -> Result<Provisioned, Malformed> {
    Ok(Provisioned::Accepted { operation: operation_of(body)?, dashboard_url: dashboard_url_of(body)? })
}

/// The longest `operation`, in characters ("Body" of every 202).
const MAX_OPERATION: usize = 10_000;
/// The longest `operation` that can be sent back, in bytes: each may take three in a URL, which is limited to
/// 64 KiB.
const MAX_OPERATION_BYTES: usize = 20_000;

/// `operation`. Null and an empty string count as none: the spec allows null, and forbids to send an empty
/// string back. A value that is too long to be sent back is malformed, because the operation could not be
/// polled.
fn operation_of(body: &Map<String, Value>) -> Result<Option<String>, Malformed> {
    let operation = text_of(body, "operation", "operation is not a string")?;
    let fits = |text: &String| text.chars().count() <= MAX_OPERATION && text.len() <= MAX_OPERATION_BYTES;
    if operation.as_ref().is_none_or(fits) {
        Ok(operation)
    } else {
        Err("operation is longer than 10,000 characters")
    }
}

/// The longest `dashboard_url` that is kept in the status, in bytes: the usual limit of programs for URLs.
const MAX_DASHBOARD_URL: usize = 8 * 1024;

/// `dashboard_url`. Users open it in a browser, so it must be an address of the web and look like one. Another
/// one is left out, because the instance is usable without it.
fn dashboard_url_of(body: &Map<String, Value>) -> Result<Option<Dashboard>, Malformed> {
    let url = text_of(body, "dashboard_url", "dashboard_url is not a string")?;
    Ok(url.map(|url| check_dashboard(&url).map(|()| url)))
}

fn check_dashboard(url: &str) -> Result<(), &'static str> {
    if url.len() > MAX_DASHBOARD_URL {
        return Err("it is longer than 8 KiB");
    }
    if url.contains(char::is_whitespace) || clip(url, MAX_DASHBOARD_URL) != url {
        return Err("it has blanks, control characters or invisible ones");
    }
    match Url::parse(url) {
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            Err("it has a user name or a password")
        }
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
        Ok(_) | Err(_) => Err("it is not an http or https URL"),
    }
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
    let given = |key: &&str| body.get(*key).is_some_and(|value| !is_empty(value));
    let (extras, incomplete) = extras::of(&body);
    Ok(BindingAnswer {
        credentials,
        lifetime: lifetime_of(&body),
        extras: Box::new(extras),
        incomplete,
        unserved: unserved.into_iter().filter(given).collect(),
    })
}

/// `metadata.expires_at` and `renew_before`. A value that is not a time is ignored, because the credentials
/// are usable without it.
fn lifetime_of(body: &Map<String, Value>) -> Lifetime {
    let time = |key: &str| body.get("metadata")?.get(key)?.as_str()?.parse().ok();
    Lifetime { expires_at: time("expires_at"), renew_before: time("renew_before") }
}

fn is_empty(value: &Value) -> bool {
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
