//! Which errors make a reconcile fail? An answer of a broker is never an error: it is a result, and the
//! status shows it.

use crate::kube_api;

/// An error that makes a reconcile fail. The runner tries again later. Nothing is lost, because the status
/// announces every request before it is sent.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A request to the API server failed.
    #[error(transparent)]
    Kube(#[from] kube_api::Error),
    /// The API server rejects writes of other objects, and the status of the reconciled object has no field
    /// that can show it.
    #[error("{message}")]
    Rejected {
        /// What the operator could not do, and why.
        message: String,
    },
    /// A request that changes something at a broker was planned without a recorded intent. This is a bug.
    #[error("the operator planned a request to a broker without an intent on record; please report this")]
    MissingIntent,
    /// Writing an intent took so long that its request was not sent. The next reconcile writes another intent
    /// and sends the request.
    #[error("writing an intent took too long; the next try announces and sends the request again")]
    IntentExpired,
    /// Another replica may be the leader by now, so this one sends and writes nothing more. The process is
    /// about to end.
    #[error("this replica no longer leads, so it writes and sends nothing more")]
    NotLeader,
    /// A status that equals the current one was planned to be written. This is a bug, and it would loop.
    #[error("the operator planned to write a status that is already on record; please report this")]
    NoopWrite,
    /// The decisions about an object did not end. This is a bug.
    #[error("the decisions about the object did not end after {steps} steps; please report this")]
    StepLimit {
        /// The number of steps.
        steps: usize,
    },
    /// An object cannot be serialized to JSON.
    #[error("cannot serialize {what}: {source}")]
    Serialize {
        /// The object.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl ReconcileError {
    /// Whether the object has changed since it was read. That change triggers another reconcile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Kube(kube_api::Error::Conflict { .. }))
    }

    /// The category of the error, from a closed list, for logs and metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Kube(error) => error.category(),
            Self::Rejected { .. } => "rejected",
            Self::MissingIntent => "missing-intent",
            Self::IntentExpired => "intent-expired",
            Self::NotLeader => "not-leader",
            Self::NoopWrite => "noop-write",
            Self::StepLimit { .. } => "step-limit",
            Self::Serialize { .. } => "serialize",
        }
    }
}
