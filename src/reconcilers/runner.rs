//! How are decisions executed? The runner observes an object, and then plans and executes steps until there
//! is nothing left to do. It is the only place where decisions have effects.
//!
//! A reconcile continues with the object that each write returned, so it does not wait for its own watch
//! events. If the object in the cache is older than the last write of this process, the reconcile waits until
//! the watch has caught up.

use std::{
    future::Future,
    mem::take,
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, future::ready, stream};
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _, core::object::HasStatus};
use serde_json::json;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::{
    action::Action,
    backoff::Pace,
    context::Context,
    error::ReconcileError,
    events,
    expectations::is_gone,
    reconciler::{
        Absorbed, Admitted, Next, ObjectPatch, ObjectSource, Observed, Read, Reconciler, Step, Wait,
    },
    writes::{self, RejectedWrite, Write},
};
use crate::{
    brokers::permits::{ConcurrencyKey, Permit},
    caches::{cached::Cached, queue::Slot},
    clock,
    crd::{
        Condition, FINALIZER,
        condition::{ConditionType, find},
        scope::Object,
    },
    kube_api::request::diff,
    memory_budget::{Reservation, holding, one_at_a_time},
};

/// Far more steps than any object needs. A reconcile with more steps has a bug, and must not loop for ever.
const STEP_LIMIT: usize = 32;

/// The interval at which an object is reconciled although no watch announced a change. A watch may lose an
/// event (seen under load). A reconcile of an object that is up to date causes no request.
pub const SAFETY_INTERVAL: Duration = Duration::from_secs(600);

/// The time that the watch may take to show a write of this process. After that the object is read from the
/// API server.
const WATCH_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time until the next reconcile after a conflict. The conflicting write triggers a reconcile as
/// well.
const CONFLICT_RETRY_DELAY: Duration = Duration::from_secs(5);

/// How long a broker may take to answer before the status says that the operator waits. A quick answer costs no
/// further write.
const QUICK_ANSWER: Duration = Duration::from_secs(1);

/// How many writes of one answer are sent concurrently.
const CONCURRENT_WRITES: usize = 16;

/// Reconciles one object: executes steps until there is nothing left to do now.
///
/// # Errors
/// See [`ReconcileError`]. The object is reconciled again later.
pub async fn reconcile<R: Reconciler>(
    object: Cached<R::Object>,
    context: Arc<Context>,
    slot: Slot,
) -> Result<Action, ReconcileError> {
    traced(&object, &context, async {
        let (mut object, mut carried) = (object.clone(), Carried { slot: Some(slot), ..Carried::default() });
        loop {
            let memory = room(object.length(), &mut carried, &context).await;
            // Thousands of objects may wait for one broker, so the pass is in a box, which is gone while they wait.
            let pass = Box::pin(pass::<R>(object.clone(), &context, take(&mut carried)));
            let ended = pass.await?;
            drop(memory);
            carried = match ended {
                Pass::Ended(action) => return Ok(action),
                Pass::NeedsTurn(key) => {
                    let permit = wait_for_turn::<R>(&object, &key, &context).await;
                    Carried { admission: Some((key, permit)), ..Carried::default() }
                }
                Pass::NeedsMemory(bytes) => {
                    let memory = context.memory.parameters.reserve(bytes).await;
                    let slot = R::kind(&context.caches).slot().await;
                    Carried { memory: Some(memory), slot: Some(slot), ..Carried::default() }
                }
            };
            // The wait may have taken minutes, and the request must use the current state.
            let present = R::kind(&context.caches).cached(object.name());
            match present.filter(|present| present.uid() == object.uid() && !context.is_stopping()) {
                Some(present) => object = present,
                None => return Ok(Action::await_change()),
            }
        }
    })
    .await
}

/// How one pass over the steps of an object has ended. Nothing of the pass is kept while the object waits for what it
/// needs: thousands of objects may wait for the same.
enum Pass {
    /// There is nothing left to do now.
    Ended(Action),
    /// The next step is a request that has to wait for its turn.
    NeedsTurn(ConcurrencyKey),
    /// The next step is a read that needs so many bytes of [`parameters`](crate::memory_budget::MemoryBudget).
    NeedsMemory(usize),
}

/// What a pass has from the beginning: from the queue, or from the wait before it.
#[derive(Default)]
struct Carried {
    /// Until the pass sends a request: from then on, the permits of the broker are the limit.
    slot: Option<Slot>,
    /// If it follows a wait for a turn.
    admission: Option<Admission>,
    /// If it follows a wait for memory.
    memory: Option<Reservation>,
}

/// The right to send a request with this concurrency key.
type Admission = (ConcurrencyKey, Permit);

/// An object is large if its text is longer than this, in bytes.
const LARGE: usize = 64 << 10;

/// How many times a large object exists in a pass: as text, decoded, and as the API server returns it.
const COPIES: usize = 3;

/// The memory for a pass over a large object, in place of a slot: those that wait for memory hold up no small
/// ones, and no request of others.
async fn room(length: usize, carried: &mut Carried, context: &Context) -> Option<Reservation> {
    if length <= LARGE {
        return None;
    }
    carried.slot = None;
    let objects = &context.memory.objects;
    if let Some(memory) = objects.try_reserve(COPIES * length) {
        return Some(memory);
    }
    *carried = Carried::default();
    Some(objects.reserve(COPIES * length).await)
}

async fn pass<R: Reconciler>(
    object: Cached<R::Object>,
    context: &Context,
    carried: Carried,
) -> Result<Pass, ReconcileError> {
    match fresh(object.read(), context).await? {
        Fresh::Object(object) => Reconcile::<R>::begin(object, context, carried).await?.run().await,
        Fresh::Wait(action) => Ok(Pass::Ended(action)),
    }
}

/// Waits for the right to send a request. After a long wait the status says so, once.
async fn wait_for_turn<R: Reconciler>(
    object: &Cached<R::Object>,
    key: &ConcurrencyKey,
    context: &Context,
) -> Permit {
    let Context { brokers, caches, .. } = context;
    let mut turn = pin!(brokers.acquire(caches, key));
    let under_way = tokio::select! {
        biased;
        permit = &mut turn => return permit,
        under_way = brokers.long_wait(key) => under_way,
    };
    let slot = tokio::select! {
        biased;
        permit = &mut turn => return permit,
        slot = R::kind(caches).slot() => slot,
    };
    if let Err(error) = Box::pin(show_queued::<R>(object, key, under_way, slot, context)).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "cannot write that a request waits for its turn"
        );
    }
    turn.await
}

/// Writes that a request waits for its turn.
async fn show_queued<R: Reconciler>(
    object: &Cached<R::Object>,
    key: &ConcurrencyKey,
    under_way: usize,
    slot: Slot,
    context: &Context,
) -> Result<(), ReconcileError> {
    let present = R::kind(&context.caches).cached(object.name());
    if let Some(present) = present.filter(|present| present.uid() == object.uid())
        && let Fresh::Object(object) = fresh(present.read(), context).await?
    {
        let carried = Carried { slot: Some(slot), ..Carried::default() };
        let mut reconcile = Reconcile::<R>::begin(object, context, carried).await?;
        if let Some(status) = R::queued(&reconcile.observed, key, under_way) {
            reconcile.record(&status).await?;
        }
    }
    Ok(())
}

/// Runs a reconcile in a tracing span with the name of the object, and measures it.
///
/// # Errors
/// Those of the reconcile.
pub async fn traced<K: Object>(
    object: &Cached<K>,
    context: &Context,
    reconcile: impl Future<Output = Result<Action, ReconcileError>>,
) -> Result<Action, ReconcileError> {
    let (kind, name, started) = (K::kind(&()), object.name(), Instant::now());
    let span = tracing::info_span!(
        "reconcile",
        %kind,
        namespace = name.namespace(),
        name = name.name(),
        uid = object.uid(),
    );
    let result = reconcile.instrument(span).await;
    let outcome = result.as_ref().map_or_else(ReconcileError::category, |_| "success");
    context.metrics.reconcile(&kind, outcome, started.elapsed());
    if result.is_ok() {
        context.expectations.reset_failures(object.uid());
    }
    result
}

/// An object that is not older than the last write of this process, or the action that waits for one.
pub enum Fresh<K> {
    /// The object, from the cache. If the cache stays stale, it comes from the API server.
    Object(Arc<K>),
    /// The cache is stale, or the object is gone.
    Wait(Action),
}

/// Checks an object from the cache against the expectations.
///
/// # Errors
/// The API server did not answer.
pub async fn fresh<K: Object>(object: Arc<K>, context: &Context) -> Result<Fresh<K>, ReconcileError> {
    Ok(match context.expectations.stale_for(&*object) {
        None => Fresh::Object(object),
        Some(stale) if stale < WATCH_TIMEOUT => Fresh::Wait(Action::requeue(WATCH_TIMEOUT)),
        // The watch has not shown the write of this process in time.
        Some(_) => match writes::reread(context, &*object).await? {
            Some(present) => {
                context.expectations.resync(&present);
                Fresh::Object(Arc::new(present))
            }
            None => Fresh::Wait(Action::await_change()),
        },
    })
}

/// When the object of this uid, whose reconcile failed, is reconciled again.
#[must_use]
pub fn after_error(uid: &str, error: &ReconcileError, context: &Context) -> Action {
    if error.is_conflict() {
        return Action::requeue(CONFLICT_RETRY_DELAY);
    }
    let now = clock::now();
    let failures = context.expectations.record_failure(uid);
    let pace = Pace { now, settings: &context.settings, uid };
    requeue(pace.retry_at(now, failures - 1), now)
}

struct Reconcile<'a, R: Reconciler> {
    context: &'a Context,
    observed: Observed<R>,
    source: ObjectSource,
    carried: Carried,
}

impl<'a, R: Reconciler> Reconcile<'a, R> {
    async fn begin(
        object: Arc<R::Object>,
        context: &'a Context,
        carried: Carried,
    ) -> Result<Self, ReconcileError> {
        let dependencies = R::observe(&object, context).await?;
        let memory = R::memories(context).get(&uid(&*object));
        let observed =
            Observed { object, dependencies, memory, settings: context.settings, now: clock::now() };
        Ok(Self { context, observed, source: ObjectSource::Cache, carried })
    }

    async fn run(mut self) -> Result<Pass, ReconcileError> {
        for _ in 0..STEP_LIMIT {
            self.observed.now = clock::now();
            match self.step().await? {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(ended) => return Ok(ended),
            }
        }
        Err(ReconcileError::StepLimit { steps: STEP_LIMIT })
    }

    async fn step(&mut self) -> Result<ControlFlow<Pass>, ReconcileError> {
        let ended = |action| Ok(ControlFlow::Break(Pass::Ended(action)));
        let key = match R::plan(&self.observed) {
            Step::Wait(Wait::ForChange) => return ended(Action::requeue(SAFETY_INTERVAL)),
            Step::Wait(Wait::Until(at)) => return ended(requeue(at, self.observed.now)),
            Step::Claim(patch) => {
                self.patch(patch).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Step::RemoveFinalizer => {
                self.remove_finalizer().await?;
                return ended(Action::await_change());
            }
            Step::Read => {
                let memory = self.carried.memory.take();
                return match R::read_secrets(&mut self.observed, memory, self.context).await? {
                    Read::Done => Ok(ControlFlow::Continue(())),
                    Read::NeedsMemory(bytes) => Ok(ControlFlow::Break(Pass::NeedsMemory(bytes))),
                };
            }
            Step::Record(status) => {
                self.record(&status).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Step::Write(writes) => {
                self.write_or_fail(writes).await?;
                return ended(Action::requeue(SAFETY_INTERVAL));
            }
            Step::WriteAndRecord(writes, status) => {
                self.write_or_fail(writes).await?;
                self.record(&status).await?;
                return Ok(ControlFlow::Continue(()));
            }
            Step::Attempt { call, .. } | Step::Call { call, .. } => {
                R::concurrency_key(&self.observed.object, &call)
            }
        };
        self.carried.slot = None;
        let admitted = self.carried.admission.take().filter(|(admitted, _)| *admitted == key);
        let admitted = admitted.map(|(_, permit)| permit);
        let try_acquire = || self.context.brokers.try_acquire(&self.context.caches, &key);
        let Some(_permit) = admitted.or_else(try_acquire) else {
            return Ok(ControlFlow::Break(Pass::NeedsTurn(key)));
        };
        if self.context.is_stopping() {
            return ended(Action::await_change());
        }
        if R::is_contested(&self.observed.object, self.context) {
            // Another object may have got the id since, and cannot get it any more.
            self.observe_again().await?;
        }
        // What answers need is reserved until everything that follows from them is written.
        Ok(holding(self.send_if_due(&key)).await?.map_break(Pass::Ended))
    }

    /// Plans again, and sends the request if it still has this concurrency key.
    async fn send_if_due(&mut self, key: &ConcurrencyKey) -> Result<ControlFlow<Action>, ReconcileError> {
        self.observed.now = clock::now();
        let mut step = R::plan(&self.observed);
        if matches!(step, Step::Read) {
            if let Read::NeedsMemory(_) = R::read_secrets(&mut self.observed, None, self.context).await? {
                // The pass ends to wait for memory. Others use the permit meanwhile.
                return Ok(ControlFlow::Continue(()));
            }
            step = R::plan(&self.observed);
        }
        match step {
            Step::Attempt { intent, call } if R::concurrency_key(&self.observed.object, &call) == *key => {
                self.patch(intent).await?;
                let writing = clock::now().duration_since(self.observed.now);
                if writing > self.context.settings.request_timeout / 2 {
                    // The quiet period is computed for a request that is sent soon after its intent.
                    return Err(ReconcileError::IntentExpired);
                }
                self.send(call).await
            }
            Step::Call { before, call } if R::concurrency_key(&self.observed.object, &call) == *key => {
                self.write_or_fail(before).await?;
                self.send(call).await
            }
            // Another step is due by now. The next iteration executes it.
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    /// Observes again, as the last observation may be minutes old after a request or a wait.
    async fn observe_again(&mut self) -> Result<(), ReconcileError> {
        self.observed.dependencies = R::observe(&self.observed.object, self.context).await?;
        Ok(())
    }

    /// Sends a request, and the requests that follow from its answers.
    async fn send(&mut self, mut call: R::Call) -> Result<ControlFlow<Action>, ReconcileError> {
        loop {
            let needs_intent = R::needs_intent(&call);
            let admitted = Admitted::admit(call, needs_intent, self.source)?;
            if !self.context.leadership.is_valid() {
                return Err(ReconcileError::NotLeader);
            }
            let waiting = R::unanswered(&self.observed, admitted.request());
            let mut answering = pin!(R::call(admitted, self.context));
            let answer = if let Ok(answer) = timeout(QUICK_ANSWER, &mut answering).await {
                answer
            } else {
                self.show_waiting(waiting).await;
                answering.await
            };
            self.observed.now = clock::now();
            let Absorbed { writes, next, memory } = R::absorb(&self.observed, answer);
            self.remember(memory);
            let mut rejected = Vec::new();
            for stage in writes {
                rejected.extend(self.write(stage).await?);
            }
            let rejected =
                RejectedWrite::all(rejected).map(|all| R::absorb_rejected_write(&self.observed, &all));
            match rejected.map_or(next, Next::Record) {
                Next::Call(follow_up) => call = follow_up,
                Next::RemoveFinalizer => {
                    self.remove_finalizer().await?;
                    return Ok(ControlFlow::Break(Action::await_change()));
                }
                Next::Record(status) => {
                    self.record_result(&status).await?;
                    self.observe_again().await?;
                    return Ok(ControlFlow::Continue(()));
                }
            }
        }
    }

    /// Patches the object itself. The write fails if the object is not the observed version.
    async fn patch(
        &mut self,
        ObjectPatch { patch, status }: ObjectPatch<R::Status>,
    ) -> Result<(), ReconcileError> {
        let object = Arc::clone(&self.observed.object);
        let mut written = writes::patch_object(self.context, &*object, patch, "claim").await?;
        self.report_change(&object, &status);
        // The annotation leaves out what is large.
        *written.status_mut() = Some(status);
        self.continue_with(written);
        Ok(())
    }

    /// Writes that the operator waits for a broker. The answer does not depend on this write.
    async fn show_waiting(&mut self, status: Option<R::Status>) {
        if let Some(status) = status
            && let Err(error) = self.record(&status).await
        {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot write that a broker has not answered"
            );
        }
    }

    /// Writes a status. The write fails if the object is not the observed version.
    async fn record(&mut self, status: &R::Status) -> Result<(), ReconcileError> {
        let object = Arc::clone(&self.observed.object);
        let written = writes::record(self.context, &*object, status).await?;
        self.report_change(&object, status);
        self.continue_with(written);
        Ok(())
    }

    /// Writes the status that follows from an answer. A user may have edited the object while the broker
    /// worked, and the answer must not be lost. So the status is written to the new version, if that has the
    /// status that announced the request: only this process writes the status.
    async fn record_result(&mut self, status: &R::Status) -> Result<(), ReconcileError> {
        let object = &*self.observed.object;
        if object.persisted_status().is_none() && is_same(object.status(), status) {
            return Ok(());
        }
        let conflict = match self.record(status).await {
            Err(error) if error.is_conflict() => error,
            done => return done,
        };
        let Some(present) = writes::reread(self.context, &*self.observed.object).await? else {
            return Err(conflict);
        };
        let announced = self.observed.status();
        if !is_same(present.status(), &announced) {
            return Err(conflict);
        }
        self.observed.object = Arc::new(present);
        self.record(status).await
    }

    async fn remove_finalizer(&mut self) -> Result<(), ReconcileError> {
        let object = &*self.observed.object;
        if object.finalizers().iter().any(|name| name == FINALIZER) {
            // The expectation comes before the write, as the watch may be faster than the response.
            self.context.expectations.expect_deletion(&uid(object));
            let released = self.write_finalizer_removal(object).await;
            if !matches!(&released, Ok(None)) {
                self.context.expectations.cancel_deletion(&uid(object));
            }
            released?;
            tracing::info!("finalizer removed");
        }
        Ok(())
    }

    /// Removes the finalizer. `None`: the object does not exist any more.
    async fn write_finalizer_removal(&self, object: &R::Object) -> Result<Option<R::Object>, ReconcileError> {
        let mut released = writes::remove_finalizer(self.context, object).await;
        if released.as_ref().is_err_and(ReconcileError::is_conflict) {
            // A user has edited the object. What the broker holds for it is as it was.
            released = match writes::reread(self.context, object).await? {
                Some(present) => writes::remove_finalizer(self.context, &present).await,
                None => Ok(None),
            };
        }
        Ok(released?.filter(|kept| !is_gone(kept)))
    }

    /// Writes other objects. If the API server rejects one of them, the others are still written.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<RejectedWrite>, ReconcileError> {
        let context = self.context;
        let perform = |write: Write| async move { write.perform(context).await };
        let results = stream::iter(writes).map(perform).buffer_unordered(CONCURRENT_WRITES);
        results.try_filter_map(|rejected| ready(Ok(rejected))).try_collect().await
    }

    /// Like [`Self::write`], but a rejection makes the reconcile fail, as no status can show it.
    async fn write_or_fail(&self, writes: Vec<Write>) -> Result<(), ReconcileError> {
        let rejected = RejectedWrite::all(self.write(writes).await?);
        rejected.map_or(Ok(()), |RejectedWrite { message }| Err(ReconcileError::Rejected { message }))
    }

    fn continue_with(&mut self, written: R::Object) {
        self.observed.object = Arc::new(written);
        self.source = ObjectSource::Write;
    }

    fn remember(&mut self, memory: R::Memory) {
        self.observed.memory = memory;
        R::memories(self.context).set(&uid(&*self.observed.object), memory);
    }

    /// Logs a change of `Ready` or `Failed`, and publishes Events.
    fn report_change(&self, from: &R::Object, to: &R::Status) {
        let (before, after) = (from.status().map(R::conditions).unwrap_or_default(), R::conditions(to));
        let state = |conditions| {
            [ConditionType::Ready, ConditionType::Failed].map(|type_| state_of(conditions, type_))
        };
        if state(before) != state(after) {
            let [ready, failed] = state(after);
            let message = find(after, ConditionType::Ready).map(|ready| &*ready.message);
            tracing::info!(ready, failed, message, "state changed");
        }
        events::publish(self.context, &from.object_ref(&()), before, after);
    }
}

/// The status and the reason of a condition, as in `False: ProvisionCallFailed`.
fn state_of(conditions: &[Condition], type_: ConditionType) -> Option<String> {
    let condition = find(conditions, type_)?;
    Some(format!("{}: {}", condition.status.name(), condition.reason))
}

fn uid<K: Object>(object: &K) -> String {
    object.meta().uid.clone().unwrap_or_default()
}

/// Whether writing a status would change nothing. The comparison is made in JSON, because times lose their
/// fractions of a second there.
fn is_same<S: serde::Serialize>(present: Option<&S>, status: &S) -> bool {
    one_at_a_time(writes::text_length(status), || {
        let present = present.and_then(|present| serde_json::to_value(present).ok());
        let present = present.unwrap_or_else(|| json!({}));
        serde_json::to_value(status).is_ok_and(|status| diff(&present, &status).is_none())
    })
}

fn requeue(at: Timestamp, now: Timestamp) -> Action {
    Action::requeue(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}
