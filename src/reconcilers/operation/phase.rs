//! Where an object stands at its broker: the flags of its status, decoded. Pure.

use jiff::Timestamp;

/// Where an object stands. `O` are the operations of its kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase<O> {
    /// The broker has nothing, and no request is under way.
    Absent {
        /// The broker is not asked before this time.
        not_before: Option<Timestamp>,
    },
    /// An intent of this time is on record and no answer: the request may or may not have been sent.
    RequestInFlight(O, Timestamp),
    /// The broker answered "not now", or could not be reached. The request is sent again at this time.
    BackingOff(O, Timestamp),
    /// The broker works on a request that it accepted; the intent is of this time.
    Polling(Awaited<O>, Timestamp),
    /// What an unsuccessful create may have left at the broker must be deleted.
    OrphanMitigation {
        /// The DELETE is not sent before this time: an unanswered create could still take effect.
        not_before: Option<Timestamp>,
    },
    /// The broker has not deleted it yet.
    Deleting {
        /// The broker is not asked before this time.
        not_before: Option<Timestamp>,
    },
    /// The broker has what was last asked for.
    Present {
        /// The broker is not asked before this time.
        not_before: Option<Timestamp>,
    },
    /// The operator has given up. Only another spec can help.
    Failed,
}

/// What is polled for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Awaited<O> {
    /// The end of this operation.
    Operation(O),
    /// The end of a deletion.
    Deletion(Cause),
}

/// What a status records as its current operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded<O> {
    /// None.
    None,
    /// A create or an update.
    Operation(O),
    /// The deletion of the object.
    Deletion,
}

/// Why something is deleted at the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Its object is being deleted.
    Deletion,
    /// Orphan mitigation: an unsuccessful create may have left it behind, or its credentials are lost.
    Mitigation,
}
