//! What one request to a broker came to.
//!
//! A broker's "no" is data, not an error: the reconcilers decide on these values, and nothing here can fail.
//! The four cases differ in what may now be true *at the broker*, which is the only question that matters for leaks:
//! it did it, it did not, it never heard of it, or nobody knows.

use std::time::Duration;

use serde_json::{Map, Value};
use zeroize::Zeroize as _;

/// The result of one broker request.
pub enum Outcome<T> {
    /// The broker answered as the operation foresees; its answer is inside.
    Answered(T),
    /// A definite no (4xx, or 3xx which is never followed): on account of *this* request nothing changed at the broker.
    Refused(Refusal),
    /// No byte of the request reached the broker: connection refused, name not found, TLS handshake failed.
    Unsent(Unsent),
    /// The request may or may not have taken effect: time-out, connection lost after sending, 5xx, malformed success.
    Unknown(Doubt),
}

impl<T> Outcome<T> {
    /// The same outcome with another answer.
    #[must_use]
    pub fn map<U>(self, answer: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Answered(answered) => Outcome::Answered(answer(answered)),
            Self::Refused(refusal) => Outcome::Refused(refusal),
            Self::Unsent(unsent) => Outcome::Unsent(unsent),
            Self::Unknown(doubt) => Outcome::Unknown(doubt),
        }
    }

    /// Why there is no answer, in a sentence for the user.
    #[must_use]
    pub fn failure_message(&self) -> Option<&str> {
        match self {
            Self::Answered(_) => None,
            Self::Refused(refusal) => Some(&refusal.message),
            Self::Unsent(unsent) => Some(&unsent.message),
            Self::Unknown(doubt) => Some(&doubt.message),
        }
    }

    /// What kept the request from being sent, if it was not.
    #[must_use]
    pub fn hindrance(&self) -> Option<Hindrance> {
        match self {
            Self::Unsent(unsent) => Some(unsent.hindrance),
            Self::Answered(_) | Self::Refused(_) | Self::Unknown(_) => None,
        }
    }

    /// How long a broker that failed wants to be left alone (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered(_) | Self::Unsent(_) => None,
            Self::Refused(refusal) => refusal.retry_after,
            Self::Unknown(doubt) => doubt.retry_after,
        }
    }
}

/// A definite refusal. `description` is the broker's own text, already cut and cleaned for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Why, as far as the protocol tells.
    pub reason: RefusalReason,
    /// A sentence for the user: status, error code and description as the broker gave them.
    pub message: String,
    /// `Retry-After`, if the broker sent one.
    pub retry_after: Option<Duration>,
    /// `instance_usable` of a failed update or deprovision (OSB 2.16); absent means usable.
    pub instance_usable: Option<bool>,
    /// `update_repeatable` of a failed update (OSB 2.16); absent means repeatable.
    pub update_repeatable: Option<bool>,
}

/// The refusals that the platform treats differently (OSB 2.17, "Service Broker Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// 3xx: not here. Never followed.
    Redirected,
    /// 400: the request will not be accepted unchanged.
    BadRequest,
    /// 401 or 403 without more: the broker does not accept the credentials it was given.
    Unauthorized,
    /// 408: the request did not arrive as a whole; nothing happened.
    NotReceived,
    /// 409: something else already has this id.
    Conflict,
    /// 412: the broker wants another API version.
    VersionMismatch,
    /// 422 `ConcurrencyError`: another operation is in progress; wait and send again.
    ConcurrencyError,
    /// 422 `AsyncRequired`.
    AsyncRequired,
    /// 422 `RequiresApp`.
    RequiresApp,
    /// 422 `MaintenanceInfoConflict`: the catalog has changed.
    MaintenanceInfoConflict,
    /// 429: too many requests.
    Throttled,
    /// Any other 4xx.
    Other,
}

impl RefusalReason {
    /// Whether the refusal says nothing about the request itself: the same one may be accepted later, when the broker
    /// object has been mended, the other operation has ended, or the catalog has been fetched again.
    #[must_use]
    pub fn is_passing(self) -> bool {
        match self {
            Self::Redirected
            | Self::Unauthorized
            | Self::NotReceived
            | Self::VersionMismatch
            | Self::ConcurrencyError
            | Self::MaintenanceInfoConflict
            | Self::Throttled => true,
            Self::BadRequest | Self::Conflict | Self::AsyncRequired | Self::RequiresApp | Self::Other => {
                false
            }
        }
    }
}

/// A request that provably never left. `message` says what to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// A sentence for the user.
    pub message: String,
    /// What stood in the way.
    pub hindrance: Hindrance,
}

/// What kept a request from being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// Something in this cluster that a user can mend: the broker object, or the Secret that it names. Looking again
    /// costs the broker nothing, so it is done often.
    Settings,
    /// The broker cannot be reached.
    Network,
}

/// A request whose effect is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubt {
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// A sentence for the user, broker text already cut and cleaned.
    pub message: String,
    /// The broker (not a gateway before it) has finished with the request: no late effect is to be expected.
    /// False for time-outs, lost connections, 502 and 504.
    pub answered: bool,
    /// The orphan table of the spec asks for a DELETE before anything else is tried under this id.
    pub mitigate: bool,
    /// `Retry-After`, if the broker sent one.
    pub retry_after: Option<Duration>,
    /// `instance_usable`: a failed update or deprovision may say it with a 5xx too; absent means usable.
    pub instance_usable: Option<bool>,
    /// `update_repeatable`, likewise; absent means repeatable.
    pub update_repeatable: Option<bool>,
}

/// A success of provision or update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provisioned {
    /// 200 or 201.
    Done {
        /// `dashboard_url`; absent or null means "as before".
        dashboard_url: Option<String>,
    },
    /// 202: poll `last_operation`.
    Accepted {
        /// To be sent back byte for byte when polling.
        operation: Option<String>,
        /// May come with the first answer already.
        dashboard_url: Option<String>,
    },
}

/// A success of deprovision or unbind: 200 and 410 are both the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// 200, or 410: it is gone.
    Done,
    /// 202: poll `last_operation`.
    Accepted {
        /// To be sent back byte for byte when polling.
        operation: Option<String>,
    },
}

/// A success of bind.
pub enum Bound {
    /// 200 or 201, with what the broker gave.
    Done(BindingAnswer),
    /// 202: poll `last_operation`, then fetch the binding.
    Accepted {
        /// To be sent back byte for byte when polling.
        operation: Option<String>,
    },
}

/// The body of a synchronous bind or of a fetched binding.
pub struct BindingAnswer {
    /// `credentials`; a broker may leave them out.
    pub credentials: Option<Credentials>,
}

/// The body of a fetched instance. Its parameters are not read: the spec lets a broker withhold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceAnswer {
    /// `dashboard_url`; absent or null means "as before".
    pub dashboard_url: Option<String>,
    /// `plan_id`
    pub plan_id: Option<String>,
    /// `maintenance_info.version`; nothing else of it counts.
    pub maintenance_version: Option<String>,
}

/// A valid answer of a `last_operation` endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// What became of the operation.
    pub state: OperationState,
    /// The broker's description, cut and cleaned.
    pub description: Option<String>,
    /// `Retry-After`, if the broker sent one.
    pub retry_after: Option<Duration>,
    /// `instance_usable` of a failed update or deprovision.
    pub instance_usable: Option<bool>,
    /// `update_repeatable` of a failed update.
    pub update_repeatable: Option<bool>,
}

/// `state` of a `last_operation` answer; 410 is a state of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// `in progress`
    InProgress,
    /// `succeeded`
    Succeeded,
    /// `failed`
    Failed,
    /// 410: the resource does not exist. The success of a delete, and no valid answer to anything else.
    Gone,
}

/// Credentials on their way from the broker to the Secret. No `Debug`, no `Serialize`: they cannot be logged by
/// accident, and their strings are wiped when dropped.
pub struct Credentials(Map<String, Value>);

impl Credentials {
    /// Takes the `credentials` object of a broker's answer.
    #[must_use]
    pub fn new(credentials: Map<String, Value>) -> Self {
        Self(credentials)
    }

    /// The object, for the one place that turns it into Secret data.
    #[must_use]
    pub fn expose(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
