//! The result of one request to a broker. Pure.
//!
//! A refusal is data, not an error: the reconcilers decide with these values. The four cases differ in what
//! may be true *at the broker* now, and so in whether something could remain there: the broker carried out
//! the request, refused it, never received it, or its effect is unknown.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use super::{extras::Extras, ids::PlanId};

/// The result of one broker request.
pub enum Outcome<T> {
    /// The broker answered with a status and body that the spec has for the operation.
    Answered(T),
    /// The broker refused (4xx, or 3xx, which is never followed): *this* request changed nothing at the
    /// broker.
    Refused(Refusal),
    /// The request was not sent: connection refused, name not found, TLS handshake failed.
    Unsent(Unsent),
    /// It is unknown whether the request took effect: time-out, lost connection, 5xx, malformed success.
    Unknown(UnknownOutcome),
}

impl<T> Outcome<T> {
    /// The same outcome with another answer.
    #[must_use]
    pub fn map<U>(self, answer: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Answered(answered) => Outcome::Answered(answer(answered)),
            Self::Refused(refusal) => Outcome::Refused(refusal),
            Self::Unsent(unsent) => Outcome::Unsent(unsent),
            Self::Unknown(unknown) => Outcome::Unknown(unknown),
        }
    }

    /// The case, for logs and metrics: `answered`, `refused`, `unsent` or `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Refused(_) => "refused",
            Self::Unsent(_) => "unsent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why there is no answer, for users. None if there is one.
    #[must_use]
    pub fn failure(&self) -> Option<&Explanation> {
        match self {
            Self::Answered(_) => None,
            Self::Refused(refusal) => Some(&refusal.message),
            Self::Unsent(unsent) => Some(&unsent.message),
            Self::Unknown(unknown) => Some(&unknown.message),
        }
    }

    /// What prevented the request from being sent. None if it was sent.
    #[must_use]
    pub fn unsent_reason(&self) -> Option<UnsentReason> {
        match self {
            Self::Unsent(unsent) => Some(unsent.reason),
            Self::Answered(_) | Self::Refused(_) | Self::Unknown(_) => None,
        }
    }

    /// How long the broker asks to wait before the next request (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered(_) | Self::Unsent(_) => None,
            Self::Refused(refusal) => refusal.retry_after,
            Self::Unknown(unknown) => unknown.retry_after,
        }
    }
}

/// Why a request did not get the expected answer, as a sentence for users. The text of the broker is
/// separate, because it may repeat what it received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What the operator says: `the broker answered 401 Unauthorized`.
    pub ours: String,
    /// What the broker says, cleaned and cut.
    pub broker: Option<String>,
    /// What the user can do: ` (check the credentials in spec.authInfo)`.
    pub advice: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, broker, advice } = self;
        match broker {
            Some(broker) => write!(f, "{ours}: {broker}{advice}"),
            None => write!(f, "{ours}{advice}"),
        }
    }
}

impl From<String> for Explanation {
    fn from(ours: String) -> Self {
        Self { ours, ..Self::default() }
    }
}

impl From<&str> for Explanation {
    fn from(ours: &str) -> Self {
        ours.to_owned().into()
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The reason, as far as status and error code tell it.
    pub reason: RefusalReason,
    /// Status, error code and description, as a message.
    pub message: Explanation,
    /// `Retry-After`, if the broker sent one.
    pub retry_after: Option<Duration>,
    /// `instance_usable` of a failed update or deprovision (OSB 2.16); absent means usable.
    pub instance_usable: Option<bool>,
    /// `update_repeatable` of a failed update (OSB 2.16); absent means repeatable.
    pub update_repeatable: Option<bool>,
}

/// The reasons that the operator treats differently (OSB 2.17, "Service Broker Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// 3xx. Redirects are never followed.
    Redirected,
    /// 400: the request will not be accepted unchanged.
    BadRequest,
    /// 401, or 403 without an error code: the broker does not accept the credentials.
    Unauthorized,
    /// 408: the request did not arrive completely; nothing happened.
    NotReceived,
    /// 409: another resource has this id.
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
    /// Whether the same request may be accepted later: after a correction of the broker object, after the end
    /// of another operation, or after a new fetch of the catalog.
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

/// A request that was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// The cause, and what to check.
    pub message: Explanation,
    /// The kind of cause.
    pub reason: UnsentReason,
}

/// What prevented a request from being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsentReason {
    /// The broker object, or the Secret that it names, must be corrected. The operator checks them again
    /// often, because that sends no request to the broker.
    Configuration,
    /// The broker cannot be reached.
    Network,
}

/// A request whose effect is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnknownOutcome {
    /// The HTTP status. None if there was no answer.
    pub status: Option<u16>,
    /// What is known about the request.
    pub message: Explanation,
    /// The broker itself (not a gateway before it) has finished the request, so it has no effect later. False
    /// for time-outs, lost connections, 502 and 504.
    pub answered: bool,
    /// The spec ("Orphan Mitigation") asks for a DELETE before another request with this id.
    pub mitigate: bool,
    /// `Retry-After`, if the broker sent one.
    pub retry_after: Option<Duration>,
    /// `instance_usable` of a failed update or deprovision; absent means usable.
    pub instance_usable: Option<bool>,
    /// `update_repeatable` of a failed update; absent means repeatable.
    pub update_repeatable: Option<bool>,
}

/// `dashboard_url` of an answer: the URL, or why nobody may open it.
pub type Dashboard = Result<String, &'static str>;

/// Success of a provision or update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provisioned {
    /// 200 or 201.
    Done {
        /// `dashboard_url`; absent or null means "as before".
        dashboard_url: Option<Dashboard>,
    },
    /// 202: poll `last_operation`.
    Accepted {
        /// `operation`, which polls must send back byte for byte.
        operation: Option<String>,
        /// `dashboard_url`, which may come with this answer already.
        dashboard_url: Option<Dashboard>,
    },
}

/// Success of a deprovision or unbind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// 200 or 410: the resource is gone.
    Done,
    /// 202: poll `last_operation`.
    Accepted {
        /// `operation`, which polls must send back byte for byte.
        operation: Option<String>,
    },
}

/// Success of a bind.
pub enum Bound {
    /// 200 or 201.
    Done(BindingAnswer),
    /// 202: poll `last_operation`, then fetch the binding.
    Accepted {
        /// `operation`, which polls must send back byte for byte.
        operation: Option<String>,
    },
}

/// The body of a synchronous bind, or of a fetched binding.
#[derive(Default)]
pub struct BindingAnswer {
    /// `credentials`, which a broker may leave out.
    pub credentials: Option<Credentials>,
    /// `metadata.expires_at` and `metadata.renew_before`.
    pub lifetime: Lifetime,
    /// What the status shows of the rest.
    pub extras: Box<Extras>,
    /// Of which fields the extras do not have all.
    pub incomplete: Vec<&'static str>,
    /// Which of `syslog_drain_url`, `route_service_url` and `volume_mounts` the broker gave. The operator
    /// serves none of them.
    pub unserved: Vec<&'static str>,
}

/// How long credentials are valid ("Binding Metadata Object").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// The credentials expire at this time.
    pub expires_at: Option<Timestamp>,
    /// The broker asks to renew the credentials before this time.
    pub renew_before: Option<Timestamp>,
}

/// The body of a fetched instance, without its parameters, which a broker may withhold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceAnswer {
    /// `dashboard_url`; absent or null means "as before".
    pub dashboard_url: Option<Dashboard>,
    /// `plan_id`
    pub plan_id: Option<PlanId>,
    /// `maintenance_info.version`
    pub maintenance_version: Option<String>,
}

/// A valid answer to a poll of `last_operation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// The state of the operation.
    pub state: OperationState,
    /// The broker's description, cleaned and cut.
    pub description: Option<String>,
    /// `Retry-After`, if the broker sent one.
    pub retry_after: Option<Duration>,
    /// `instance_usable` of a failed update or deprovision.
    pub instance_usable: Option<bool>,
    /// `update_repeatable` of a failed update.
    pub update_repeatable: Option<bool>,
}

/// `state` of a poll. 410 is a state of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// `in progress`
    InProgress,
    /// `succeeded`
    Succeeded,
    /// `failed`
    Failed,
    /// 410: the resource does not exist. This is the success of a delete, and no valid answer for other
    /// operations.
    Gone,
}

/// The credentials of a binding. They have no `Debug` and no `Serialize`, so that they cannot be logged by
/// accident, and their strings are wiped when dropped.
pub struct Credentials(Map<String, Value>);

impl Credentials {
    /// Takes the object `credentials` of an answer.
    #[must_use]
    pub fn new(credentials: Map<String, Value>) -> Self {
        Self(credentials)
    }

    /// The object, for the code that makes Secret data of it.
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
