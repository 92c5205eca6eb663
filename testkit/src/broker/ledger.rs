//! What a test can learn afterwards: the ledger of what exists, the journal, and how to wait for either.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{Binding, Broker, Instance, Operation, Request, check};

impl Broker {
    /// Loses an instance and its bindings, as by somebody else's hand.
    pub fn lose_instance(&self, id: &str) {
        self.inner.change(|state| {
            state.model.instances.remove(id);
            state.model.bindings.retain(|_, binding| binding.instance_id != id);
        });
    }

    /// Loses a binding, as by somebody else's hand.
    pub fn lose_binding(&self, id: &str) {
        self.inner.change(|state| state.model.bindings.remove(id));
    }

    /// The ids of the instances that exist, those in the making and those left by a failure included.
    pub fn live_instances(&self) -> BTreeSet<String> {
        self.inner.read(|state| state.model.instances.keys().cloned().collect())
    }

    /// The ids of the bindings that exist, those in the making and those left by a failure included.
    pub fn live_bindings(&self) -> BTreeSet<String> {
        self.inner.read(|state| state.model.bindings.keys().cloned().collect())
    }

    /// The ids of all instances and bindings that ever existed.
    pub fn ever_created(&self) -> BTreeSet<String> {
        self.inner.read(|state| state.model.created.keys().cloned().collect())
    }

    /// How often the instance or binding of this id came into being.
    pub fn creations(&self, id: &str) -> usize {
        self.inner.read(|state| state.model.created.get(id).copied().unwrap_or(0))
    }

    pub fn instance(&self, id: &str) -> Option<Instance> {
        self.inner.read(|state| state.model.instances.get(id).cloned())
    }

    pub fn binding(&self, id: &str) -> Option<Binding> {
        self.inner.read(|state| state.model.bindings.get(id).cloned())
    }

    /// What requests did that a platform must not do; each was answered with 400.
    pub fn violations(&self) -> Vec<String> {
        self.inner.read(|state| state.violations.clone())
    }

    /// Every request so far, in order.
    pub fn journal(&self) -> Vec<Request> {
        self.inner.read(|state| state.journal.clone())
    }

    /// The requests that match, in order.
    pub fn requests(&self, matcher: impl Fn(&Request) -> bool) -> Vec<Request> {
        self.inner.read(|state| state.journal.iter().filter(|request| matcher(request)).cloned().collect())
    }

    /// The requests of one operation, in order.
    pub fn requests_of(&self, operation: Operation) -> Vec<Request> {
        self.requests(|request| request.is(operation))
    }

    /// The user in a request's `X-Broker-API-Originating-Identity`, if there is a well-formed one.
    pub fn originating_user(request: &Request) -> Option<Value> {
        check::originating_identity(request.header("x-broker-api-originating-identity")?)
    }

    /// Pairs of changes to one instance (its bindings included) of which the second arrived before the
    /// first was answered. A first request that was never answered is not counted: the platform may
    /// have given it up.
    pub fn overlapping_changes(&self) -> Vec<(Request, Request)> {
        let changes = self.requests(|request| request.operation.is_some_and(Operation::is_mutation));
        let mut pairs = Vec::new();
        for (index, second) in changes.iter().enumerate() {
            for first in changes[..index].iter().filter(|first| first.instance_id == second.instance_id) {
                if first.answered_at.is_some_and(|answered| answered > second.at) {
                    pairs.push((first.clone(), second.clone()));
                }
            }
        }
        pairs
    }

    /// Waits until the journal shows something; looks again whenever a request comes or is answered.
    ///
    /// # Panics
    /// If it does not within the deadline: with what was waited for, and the end of the journal.
    pub async fn wait_for<T>(
        &self,
        mut probe: impl FnMut(&[Request]) -> Option<T>,
        deadline: Duration,
        what: &str,
    ) -> T {
        self.wait_until(|broker| probe(&broker.journal()), deadline, what).await
    }

    /// Waits until the broker shows something, its ledger for example; looks again at every change.
    ///
    /// # Panics
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_until<T>(
        &self,
        mut probe: impl FnMut(&Self) -> Option<T>,
        deadline: Duration,
        what: &str,
    ) -> T {
        let found = tokio::time::timeout(deadline, async {
            loop {
                let changed = self.inner.changed.notified();
                tokio::pin!(changed);
                // Listening begins before looking, so that no change falls between the two.
                changed.as_mut().enable();
                if let Some(found) = probe(self) {
                    return found;
                }
                changed.await;
            }
        });
        let Ok(found) = found.await else {
            panic!("waited {deadline:?} in vain for {what}; {}", self.summary())
        };
        found
    }

    /// The state of things in a few lines, for the message of a failed test.
    pub fn summary(&self) -> String {
        let journal = self.journal();
        let last: Vec<String> =
            journal.iter().rev().take(20).rev().map(|request| format!("  {request}")).collect();
        format!(
            "live instances {:?}, live bindings {:?}, violations {:#?}, the last of {} requests:\n{}",
            self.live_instances(),
            self.live_bindings(),
            self.violations(),
            journal.len(),
            last.join("\n")
        )
    }
}
