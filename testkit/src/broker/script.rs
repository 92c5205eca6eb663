//! Scripts: what the broker is to do instead of, or after, the truthful thing.
//!
//! A script starts at [`Broker::on`](super::Broker::on), says which calls it is for, and ends with
//! what happens. Scripts are tried in the order they were added; the first that still applies wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{AsyncScript, Broker, Hold, Request};

/// The operations of OSB, as scripts and the journal name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Catalog,
    Provision,
    Update,
    Deprovision,
    GetInstance,
    PollInstance,
    Bind,
    Unbind,
    GetBinding,
    PollBinding,
}

impl Operation {
    /// Whether the operation changes something at the broker.
    pub fn is_mutation(self) -> bool {
        matches!(self, Self::Provision | Self::Update | Self::Deprovision | Self::Bind | Self::Unbind)
    }
}

/// An answer, truthful or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// A JSON answer.
    #[allow(clippy::needless_pass_by_value, reason = "reads as `json(500, json!({}))` at every call")]
    pub fn json(status: u16, body: Value) -> Self {
        Self::bytes(status, body.to_string()).header("content-type", "application/json")
    }

    /// An answer of any bytes, without a content type.
    pub fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body as JSON; `null` if it is none.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Sets one property of a JSON body.
    pub fn set(&mut self, property: &str, value: impl Into<Value>) {
        let mut body = self.value();
        if !body.is_object() {
            body = json!({});
        }
        body[property] = value.into();
        self.body = body.to_string().into_bytes();
    }
}

/// How the bytes of an answer travel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    Whole,
    /// The full length is announced, half of it is sent, the connection ends.
    Truncated,
    /// One byte each time.
    Dripping(Duration),
    /// After the body, blanks without end.
    Endless,
    /// After the body, nothing, and no end.
    Stalling,
}

type Amendment = Arc<dyn Fn(&mut Reply) + Send + Sync>;

#[derive(Clone)]
pub(super) enum Action {
    /// The truthful answer, amended.
    Truth(Option<Amendment>),
    Reply(Reply),
    /// The truthful thing, asynchronously.
    Async(AsyncScript),
    /// A TCP reset instead of an answer.
    Reset,
    /// An orderly end of the connection instead of an answer.
    Close,
    /// These bytes instead of an HTTP answer, then the end of the connection.
    Raw(Vec<u8>),
}

#[derive(Clone)]
pub(super) struct Rule {
    operation: Operation,
    id: Option<String>,
    skip: usize,
    left: Option<usize>,
    hits: Arc<AtomicUsize>,
    pub(super) after_effect: bool,
    pub(super) hold: Option<Hold>,
    pub(super) delivery: Delivery,
    pub(super) action: Action,
}

impl Rule {
    /// Whether the rule takes this request; counts it if so.
    pub(super) fn takes(&mut self, request: &Request) -> bool {
        let concerned =
            request.is(self.operation) && self.id.as_deref().is_none_or(|id| request.concerns(id));
        if !concerned || self.left == Some(0) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        self.hits.fetch_add(1, Ordering::SeqCst);
        true
    }
}

/// A script that was added: how often it has acted.
#[derive(Clone, Debug)]
pub struct Script(Arc<AtomicUsize>);

impl Script {
    pub fn hits(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A script being written. Without `once`, `times` or `nth` it applies always; without
/// `after_effect` nothing happens at the broker unless the truthful answer is asked for.
#[must_use = "a script acts only once it has an action such as `respond` or `reset`"]
pub struct ScriptBuilder<'a> {
    broker: &'a Broker,
    rule: Rule,
}

impl<'a> ScriptBuilder<'a> {
    pub(super) fn new(broker: &'a Broker, operation: Operation) -> Self {
        let rule = Rule {
            operation,
            id: None,
            skip: 0,
            left: None,
            hits: Arc::default(),
            after_effect: false,
            hold: None,
            delivery: Delivery::Whole,
            action: Action::Truth(None),
        };
        Self { broker, rule }
    }

    /// Only requests whose path names this instance or binding.
    pub fn for_id(mut self, id: &str) -> Self {
        self.rule.id = Some(id.to_owned());
        self
    }

    /// The first request only.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The first `count` requests.
    pub fn times(mut self, count: usize) -> Self {
        self.rule.left = Some(count);
        self
    }

    /// Every request (the default, said aloud).
    pub fn always(mut self) -> Self {
        self.rule.left = None;
        self
    }

    /// Only the `n`th request, counting from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.rule.skip = n - 1;
        self.times(1)
    }

    /// The effect takes place; only the platform does not learn the truth.
    pub fn after_effect(mut self) -> Self {
        self.rule.after_effect = true;
        self
    }

    /// Waits for the hold before the action; after the effect if that was asked for.
    pub fn held_by(mut self, hold: &Hold) -> Self {
        self.rule.hold = Some(hold.clone());
        self
    }

    /// The answer announces its full length, but the connection ends after half of the body.
    pub fn truncated(mut self) -> Self {
        self.rule.delivery = Delivery::Truncated;
        self
    }

    /// The headers come at once, the body one byte per interval.
    pub fn dripping(mut self, interval: Duration) -> Self {
        self.rule.delivery = Delivery::Dripping(interval);
        self
    }

    /// The body never ends.
    pub fn endless(mut self) -> Self {
        self.rule.delivery = Delivery::Endless;
        self
    }

    /// The body comes at once, but its end does not.
    pub fn stalling(mut self) -> Self {
        self.rule.delivery = Delivery::Stalling;
        self
    }

    /// Answers with a status and JSON.
    pub fn respond(self, status: u16, body: Value) -> Script {
        self.reply(Reply::json(status, body))
    }

    /// Answers with any status, headers and bytes.
    pub fn reply(self, reply: Reply) -> Script {
        self.add(Action::Reply(reply))
    }

    /// The truthful answer, for use with `truncated`, `dripping`, `endless` and `held_by`.
    pub fn truth(self) -> Script {
        self.add(Action::Truth(None))
    }

    /// The truthful answer, changed: more headers, more properties, another status.
    pub fn amend(self, amendment: impl Fn(&mut Reply) + Send + Sync + 'static) -> Script {
        self.add(Action::Truth(Some(Arc::new(amendment))))
    }

    /// Does the truthful thing asynchronously, if the platform accepts that.
    pub fn asynchronously(self, script: AsyncScript) -> Script {
        self.add(Action::Async(script))
    }

    /// No answer until the returned hold is released, then the truthful one. Unless `after_effect` was
    /// asked for the effect comes with the release, even if the platform has gone by then.
    pub fn hang(self) -> Hold {
        let hold = Hold::new();
        self.held_by(&hold).truth();
        hold
    }

    /// Resets the connection instead of answering.
    pub fn reset(self) -> Script {
        self.add(Action::Reset)
    }

    /// Closes the connection in order instead of answering.
    pub fn close(self) -> Script {
        self.add(Action::Close)
    }

    /// Sends exactly these bytes in place of an HTTP answer, then closes the connection.
    pub fn raw(self, bytes: impl Into<Vec<u8>>) -> Script {
        self.add(Action::Raw(bytes.into()))
    }

    fn add(mut self, action: Action) -> Script {
        self.rule.action = action;
        let script = Script(Arc::clone(&self.rule.hits));
        self.broker.add_rule(self.rule);
        script
    }
}
