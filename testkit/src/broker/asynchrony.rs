//! How asynchronous operations go, and how a test holds things back.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::Reply;

/// Something a test holds back and lets go: a request, or the end of an asynchronous operation.
#[derive(Clone, Debug)]
pub struct Hold(Arc<watch::Sender<bool>>);

impl Hold {
    /// A closed hold.
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    /// Lets everything go, for good.
    pub fn release(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_released(&self) -> bool {
        *self.0.borrow()
    }

    pub(super) async fn released(&self) {
        // The sender lives as long as this hold, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|released| *released).await;
    }
}

/// What a 202 hands out as `operation`.
#[derive(Clone, Debug)]
pub(super) enum Handed {
    /// One of the broker's own, never the same twice.
    Generated,
    /// This, whether it is legal or not.
    This(Value),
    Nothing,
}

/// How an asynchronous operation goes.
#[derive(Clone, Debug)]
pub struct AsyncScript {
    pub(super) operation: Handed,
    pub(super) polls: usize,
    pub(super) hold: Option<Hold>,
    pub(super) succeeds: bool,
    pub(super) progress: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) fields: Vec<(String, Value)>,
    pub(super) end: Option<Reply>,
}

impl AsyncScript {
    /// `in progress` so many times, then `succeeded`.
    pub fn succeeding(polls: usize) -> Self {
        Self {
            operation: Handed::Generated,
            polls,
            hold: None,
            succeeds: true,
            progress: "working on it".to_owned(),
            headers: Vec::new(),
            fields: Vec::new(),
            end: None,
        }
    }

    /// `in progress` so many times, then `failed` with this description. What a failed creation left
    /// behind stays live until it is deleted; a failed deletion deletes nothing.
    pub fn failing(polls: usize, description: &str) -> Self {
        let script = Self { succeeds: false, ..Self::succeeding(polls) };
        script.field("description", description)
    }

    /// `in progress` until the hold is released (and the number of polls is over).
    #[must_use]
    pub fn held_by(self, hold: &Hold) -> Self {
        Self { hold: Some(hold.clone()), ..self }
    }

    /// The 202 says this `operation`.
    #[must_use]
    pub fn operation(self, operation: impl Into<Value>) -> Self {
        Self { operation: Handed::This(operation.into()), ..self }
    }

    /// The 202 says no `operation`.
    #[must_use]
    pub fn without_operation(self) -> Self {
        Self { operation: Handed::Nothing, ..self }
    }

    /// The description of the `in progress` answers.
    #[must_use]
    pub fn describing(self, progress: &str) -> Self {
        Self { progress: progress.to_owned(), ..self }
    }

    /// A header of the `in progress` answers, such as `Retry-After`.
    #[must_use]
    pub fn progress_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The final answer, whatever it says of the end, such as 410 after a deletion.
    #[must_use]
    pub fn ending(self, reply: Reply) -> Self {
        Self { end: Some(reply), ..self }
    }

    /// A property of the final answer, such as `instance_usable`.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }
}
