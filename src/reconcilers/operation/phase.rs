//! In which state is an object at its broker? The types here say what the fields of a status mean together.
//! All of them are pure data.

use jiff::Timestamp;

use crate::reconcilers::settings::ReconcileSettings;

/// The state of an object at its broker. `O` is the type of the operations of its kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase<O> {
    /// The broker holds nothing, and no request is in progress.
    Absent {
        /// The operator sends no request before this time.
        not_before: Option<Timestamp>,
    },
    /// The status has an intent of this time and no answer. The request may or may not have been sent.
    RequestInFlight(O, Timestamp),
    /// The broker answered that the request can succeed later, or the operator could not reach it. The
    /// operator sends the request again at this time.
    BackingOff(O, Timestamp),
    /// The broker has accepted a request and works on it. The intent is of this time.
    Polling(Awaited<O>, Timestamp),
    /// The operator must delete what an unsuccessful create may have left at the broker.
    OrphanMitigation {
        /// The operator sends no DELETE before this time, because an unanswered create could still take
        /// effect.
        not_before: Option<Timestamp>,
    },
    /// The object is being deleted, and the broker has not confirmed the deletion yet.
    Deleting {
        /// The operator sends no request before this time.
        not_before: Option<Timestamp>,
    },
    /// The broker has acknowledged the last request.
    Present {
        /// The operator sends no request before this time.
        not_before: Option<Timestamp>,
    },
    /// The operator has given up. It tries again only when the spec changes.
    Failed,
}

impl<O> Phase<O> {
    /// The phase with its times as this process has to count them. `sent` is the time of the last intent on record. If it is
    /// in the future, the clock of the process that wrote it was fast, and so are the other times.
    #[must_use]
    pub fn counted(self, settings: &ReconcileSettings, sent: Timestamp, now: Timestamp) -> Self {
        let counted = settings.past(sent, now);
        if counted == sent {
            return self;
        }
        let fast = sent.duration_since(counted);
        let at = |time: Timestamp| time.checked_sub(fast).unwrap_or(Timestamp::MIN);
        match self {
            Self::Absent { not_before } => Self::Absent { not_before: not_before.map(at) },
            Self::RequestInFlight(operation, _) => Self::RequestInFlight(operation, counted),
            Self::BackingOff(operation, time) => Self::BackingOff(operation, at(time)),
            Self::Polling(awaited, since) => Self::Polling(awaited, settings.past(since, now)),
            Self::OrphanMitigation { not_before } => {
                Self::OrphanMitigation { not_before: not_before.map(at) }
            }
            Self::Deleting { not_before } => Self::Deleting { not_before: not_before.map(at) },
            Self::Present { not_before } => Self::Present { not_before: not_before.map(at) },
            Self::Failed => Self::Failed,
        }
    }

    /// Whether the broker works on a create or an update.
    #[must_use]
    pub fn awaits_operation(&self) -> bool {
        matches!(self, Self::Polling(Awaited::Operation(_), _))
    }
}

/// The operation or the deletion whose end the operator polls for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Awaited<O> {
    /// This operation.
    Operation(O),
    /// A deletion.
    Deletion(DeletePurpose),
}

/// The current operation, as a status records it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CurrentOperation<O> {
    /// No operation.
    None,
    /// A create or an update.
    Operation(O),
    /// The deletion of the object.
    Deletion,
}

/// Why the operator sends a DELETE to the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeletePurpose {
    /// The Kubernetes object is being deleted.
    Deletion,
    /// Orphan mitigation: an unsuccessful create may have left a resource, or the credentials of a binding
    /// are lost.
    Mitigation,
}
