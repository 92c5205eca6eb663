//! What can go wrong in a pass. A broker's answer is never in here: it is an outcome, and goes to status.

use std::time::Duration;

/// A failed pass. The object is tried again later; nothing is lost, because every request was announced in status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do as asked.
    #[error("cannot {action}: {source}")]
    Api {
        /// What was being done, as in `write the status of ServiceInstance shop/db`.
        action: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("cannot {action}: no answer within {limit:?}")]
    ApiTimeout {
        /// What was being done.
        action: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The API server refuses for good to write other objects, and the object at hand has no place to say so.
    #[error("{message}")]
    Refused {
        /// What could not be done, and why.
        message: String,
    },
    /// Somebody else changed the object meanwhile; the pass ends, and the change brings the next one.
    #[error("cannot {action}: the object has changed since it was read")]
    Outdated {
        /// What was being done.
        action: String,
    },
    /// A request that changes something at a broker was planned without an intent on record. A bug.
    #[error("a request to a broker was planned without recording its intent first; please report this")]
    Unfenced,
    /// Writing an intent took so long that its request was not sent. It will be, after another intent.
    #[error("writing an intent took too long; the request will be announced and sent again")]
    Late,
    /// Another replica may lead by now, so nothing is sent or written any more. The process is about to end.
    #[error("this replica leads no more, and leaves the rest to the one that does")]
    Deposed,
    /// A status equal to the present one was planned to be written. A bug, and it would loop.
    #[error("a status that is already on record was planned to be written; please report this")]
    Idle,
    /// A pass did not come to rest. A bug.
    #[error("the object did not come to rest after {steps} steps; please report this")]
    Restless {
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

impl Error {
    /// A word with few values, for logs and metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::ApiTimeout { .. } => "api-timeout",
            Self::Refused { .. } => "refused",
            Self::Outdated { .. } => "outdated",
            Self::Unfenced => "unfenced",
            Self::Late => "late",
            Self::Deposed => "deposed",
            Self::Idle => "idle",
            Self::Restless { .. } => "restless",
            Self::Serialize { .. } => "serialize",
        }
    }
}
