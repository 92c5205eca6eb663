//! What follows a reconcile.

use std::time::Duration;

/// What follows a reconcile: the object is reconciled again when something changes that concerns it, and at
/// the latest after some time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Action(Option<Duration>);

impl Action {
    /// Reconciles the object again after this time.
    #[must_use]
    pub fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }

    /// Reconciles the object again only when something changes.
    #[must_use]
    pub fn await_change() -> Self {
        Self(None)
    }

    /// The time after which the object is reconciled again, if any.
    #[must_use]
    pub fn requeue_after(self) -> Option<Duration> {
        self.0
    }
}
