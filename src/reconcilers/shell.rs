//! The pass: observe, then plan and do, until there is nothing left to do. The one place where decisions become effects.
//!
//! A pass goes on with the object that each write *returned*, so it does not wait for its own watch events; and an
//! object in the cache that is older than our own last write is left alone until the watch has caught up.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, future::ready, stream};
use jiff::Timestamp;
use kube::{ResourceExt as _, core::object::HasStatus, runtime::controller::Action};
use serde_json::json;

use super::{
    error::Error,
    event,
    machine::{Absorbed, Admitted, Machine, Next, Observed, Seen, Step, Wait},
    write::{self, Refused, Write, diff},
};
use crate::{
    brokers::Lane,
    context::{Context, Memory, is_over},
};

/// Far more than any object needs; a pass that makes more is wrong and must not spin.
const STEP_LIMIT: usize = 32;

/// How often an object at rest is looked at although nothing announced a change: a watch may lose an event (seen under
/// load), and looking costs nothing but a moment.
const SAFETY_INTERVAL: Duration = Duration::from_secs(600);

/// How long the watch gets to bring what this process wrote, before the cache is looked at without its help.
const CATCH_UP: Duration = Duration::from_secs(15);

/// How many writes of one answer are under way at once.
const WRITES_AT_ONCE: usize = 16;

/// Brings one object as far as it goes now.
///
/// # Errors
/// See [`Error`]. The object is tried again later.
pub async fn reconcile<M: Machine>(object: Arc<M::Object>, context: Arc<Context>) -> Result<Action, Error> {
    let object = match context.memories.behind(&*object) {
        None => object,
        Some(waited) if waited < CATCH_UP => return Ok(Action::requeue(CATCH_UP)),
        // The watch does not bring what this process wrote: look without its help.
        Some(_) => match write::reread(&context, &*object).await? {
            Some(present) => {
                context.memories.caught_up(&present);
                Arc::new(present)
            }
            None => return Ok(Action::await_change()),
        },
    };
    let world = M::observe(&object, &context).await?;
    let uid = uid::<M>(&object);
    let memory = context.memories.get(&uid);
    let observed = Observed { object, world, memory, tunables: context.tunables, now: Timestamp::now() };
    let action = Pass::<M> { context: &context, observed, seen: Seen::Cached }.run().await?;
    context.memories.succeeded(&uid);
    Ok(action)
}

/// When an object whose pass failed is tried again.
#[must_use]
pub fn after_error<M: Machine>(object: &Arc<M::Object>, error: &Error, context: &Context) -> Action {
    let uid = uid::<M>(object);
    if let Error::Outdated { .. } = error {
        // The change that outdated us brings a pass of its own; this is the net below it.
        return Action::requeue(Duration::from_secs(5));
    }
    let now = Timestamp::now();
    let stumbles = context.memories.stumbled(&uid);
    requeue(super::backoff::retry_at(now, stumbles - 1, &uid, &context.tunables), now)
}

struct Pass<'a, M: Machine> {
    context: &'a Context,
    observed: Observed<M>,
    seen: Seen,
}

impl<M: Machine> Pass<'_, M> {
    async fn run(mut self) -> Result<Action, Error> {
        for _ in 0..STEP_LIMIT {
            self.observed.now = Timestamp::now();
            if let ControlFlow::Break(action) = self.step().await? {
                return Ok(action);
            }
        }
        Err(Error::Restless { steps: STEP_LIMIT })
    }

    async fn step(&mut self) -> Result<ControlFlow<Action>, Error> {
        let lane = match M::plan(&self.observed) {
            Step::Wait(Wait::ForChange) => return Ok(ControlFlow::Break(Action::requeue(SAFETY_INTERVAL))),
            Step::Wait(Wait::Until(at)) => return Ok(ControlFlow::Break(requeue(at, self.observed.now))),
            Step::AddFinalizer => {
                let written = write::add_finalizer(self.context, &*self.observed.object).await?;
                self.go_on_with(written);
                return Ok(ControlFlow::Continue(()));
            }
            Step::RemoveFinalizer => return self.release().await,
            Step::Record(status) => {
                self.record(&status).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Step::Write(writes) => {
                self.write_or_fail(writes).await?;
                return Ok(ControlFlow::Break(Action::requeue(SAFETY_INTERVAL)));
            }
            Step::Attempt { call, .. } | Step::Call { call, .. } => M::lane(&call),
        };
        // Thousands may wait for one broker: none of them holds on to what it would send.
        let world = &mut self.observed.world;
        let slot = self.context.brokers.slot(&lane, || M::lighten(world)).await;
        if self.context.is_stopping() {
            return Ok(ControlFlow::Break(Action::await_change()));
        }
        if slot.waited {
            // It may have been minutes: what is sent is decided on how things are now.
            self.look().await?;
        }
        self.ask(&lane).await
    }

    /// Sends the request that is due, if it still is one for this lane: deciding again costs nothing.
    async fn ask(&mut self, lane: &Lane) -> Result<ControlFlow<Action>, Error> {
        self.observed.now = Timestamp::now();
        match M::plan(&self.observed) {
            Step::Attempt { intent, call } if M::lane(&call) == *lane => {
                self.record(&intent).await?;
                if Timestamp::now().duration_since(self.observed.now)
                    > self.context.tunables.request_timeout / 2
                {
                    // The quiet period counts on a request to leave soon after its intent. This one would be late.
                    return Err(Error::Late);
                }
                self.send(call).await
            }
            Step::Call { before, call } if M::lane(&call) == *lane => {
                self.write_or_fail(before).await?;
                self.send(call).await
            }
            // Something else is due now; the next step does it.
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    /// Looks at the world again: what was seen before a request or a wait may be minutes old.
    async fn look(&mut self) -> Result<(), Error> {
        self.observed.world = M::observe(&self.observed.object, self.context).await?;
        Ok(())
    }

    /// Sends a request and what follows from its answers.
    async fn send(&mut self, mut call: M::Call) -> Result<ControlFlow<Action>, Error> {
        loop {
            let fenced = M::needs_fence(&call);
            let admitted = Admitted::admit(call, fenced, self.seen)?;
            if !self.context.term.holds() {
                return Err(Error::Deposed);
            }
            let outcome = M::call(&admitted, self.context).await;
            self.observed.now = Timestamp::now();
            let Absorbed { writes, next, memory } = M::absorb(&self.observed, admitted.get(), outcome);
            self.remember(memory);
            let mut refused = Vec::new();
            for stage in writes {
                refused.extend(self.write(stage).await?);
            }
            let refused = Refused::all(refused).map(|all| M::absorb_refused_write(&self.observed, &all));
            match refused.map_or(next, Next::Record) {
                Next::Call(follow_up) => call = follow_up,
                Next::Release => return self.release().await,
                Next::Record(status) => {
                    self.record_result(&status).await?;
                    self.look().await?;
                    return Ok(ControlFlow::Continue(()));
                }
            }
        }
    }

    /// Writes an intent or a finding; the object must be the one observed.
    async fn record(&mut self, status: &M::Status) -> Result<(), Error> {
        let object = Arc::clone(&self.observed.object);
        let written = write::record(self.context, &*object, object.status(), status).await?;
        self.tell(&object, status);
        self.go_on_with(written);
        Ok(())
    }

    /// Writes what an answer meant. The object may have been edited while the broker was thinking, and the answer must
    /// not be lost for that: it is written to the new version, if the status is still the one that announced the
    /// request (nobody but this process writes it).
    async fn record_result(&mut self, status: &M::Status) -> Result<(), Error> {
        if same(self.observed.object.status(), status) {
            return Ok(());
        }
        let outdated = match self.record(status).await {
            Err(error @ Error::Outdated { .. }) => error,
            done => return done,
        };
        let Some(present) = write::reread(self.context, &*self.observed.object).await? else {
            return Err(outdated);
        };
        let announced = self.observed.status();
        if !same(present.status(), &announced) {
            return Err(outdated);
        }
        self.observed.object = Arc::new(present);
        self.record(status).await
    }

    async fn release(&mut self) -> Result<ControlFlow<Action>, Error> {
        let object = &*self.observed.object;
        if object.finalizers().iter().any(|name| name == crate::crd::FINALIZER) {
            // Before the write, as the watch may be faster than its answer.
            self.context.memories.release(&uid::<M>(object));
            let released = self.let_go(object).await;
            if !matches!(&released, Ok(None)) {
                self.context.memories.keep(&uid::<M>(object));
            }
            released?;
        }
        Ok(ControlFlow::Break(Action::await_change()))
    }

    /// Removes the finalizer. `None`: that was the end of the object.
    async fn let_go(&self, object: &M::Object) -> Result<Option<M::Object>, Error> {
        let mut released = write::remove_finalizer(self.context, object).await;
        if matches!(released, Err(Error::Outdated { .. })) {
            // Edited meanwhile. That the broker has nothing any more stays true.
            released = match write::reread(self.context, object).await? {
                Some(present) => write::remove_finalizer(self.context, &present).await,
                None => Ok(None),
            };
        }
        Ok(released?.filter(|kept| !is_over(kept)))
    }

    /// Writes other objects. One that the API server refuses keeps none of the rest from being written.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Refused>, Error> {
        let context = self.context;
        let perform = |write: Write| async move { write.perform(context).await };
        let results = stream::iter(writes).map(perform).buffer_unordered(WRITES_AT_ONCE);
        results.try_filter_map(|refused| ready(Ok(refused))).try_collect().await
    }

    /// The same where no status has a place for a refusal: the pass fails by it.
    async fn write_or_fail(&self, writes: Vec<Write>) -> Result<(), Error> {
        let refused = Refused::all(self.write(writes).await?);
        refused.map_or(Ok(()), |Refused { message }| Err(Error::Refused { message }))
    }

    fn go_on_with(&mut self, written: M::Object) {
        self.observed.object = Arc::new(written);
        self.seen = Seen::Written;
    }

    fn remember(&mut self, memory: Memory) {
        self.observed.memory = memory;
        self.context.memories.set(&uid::<M>(&self.observed.object), memory);
    }

    fn tell(&self, from: &M::Object, to: &M::Status) {
        let before = from.status().map(M::conditions).unwrap_or_default();
        event::publish::<M>(self.context, from, before, M::conditions(to));
    }
}

fn uid<M: Machine>(object: &M::Object) -> String {
    object.uid().unwrap_or_default()
}

/// Whether writing a status would change nothing. Compared as JSON, because that is what is written: times lose their
/// fractions on the wire.
fn same<S: serde::Serialize>(present: Option<&S>, status: &S) -> bool {
    let present = present.and_then(|present| serde_json::to_value(present).ok()).unwrap_or_else(|| json!({}));
    serde_json::to_value(status).is_ok_and(|status| diff(&present, &status).is_none())
}

fn requeue(at: Timestamp, now: Timestamp) -> Action {
    Action::requeue(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}
