//! What can go wrong in a reconcile. A broker's answer is never in here: it is an outcome, and goes to status.

use crate::kube_api;

/// A failed reconcile. The runner tries again later. Nothing is lost, because every request was announced in status.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A request to the API server failed.
    #[error(transparent)]
    Kube(#[from] kube_api::Error),
    /// The API server rejects writes of other objects, and the object at hand has no place to say so.
    #[error("{message}")]
    Rejected {
        /// What could not be done, and why.
        message: String,
    },
    /// A request that changes something at a broker was planned without an intent on record. A bug.
    #[error("the operator planned a request to a broker without an intent on record; please report this")]
    MissingIntent,
    /// Writing an intent took so long that its request was not sent. The next reconcile writes another intent and sends it.
    #[error("writing an intent took too long; the next try announces and sends the request again")]
    IntentExpired,
    /// Another replica may lead by now, so this one sends and writes nothing more. The process is about to end.
    #[error("this replica no longer leads, so it writes and sends nothing more")]
    NotLeader,
    /// A status equal to the present one was planned to be written. A bug, and it would loop.
    #[error("the operator planned to write a status that is already on record; please report this")]
    NoopWrite,
    /// The decisions about an object did not come to an end. A bug.
    #[error("the decisions about the object did not end after {steps} steps; please report this")]
    StepLimit {
        /// How many steps were made.
        steps: usize,
    },
    /// An object cannot be turned into JSON.
    #[error("cannot serialize {what}: {source}")]
    Serialize {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ReconcileError {
    /// Whether the object has changed since it was read. The change triggers a reconcile of its own.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Kube(kube_api::Error::Conflict { .. }))
    }

    /// The error as one word of a closed list, for logs and metrics.
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
