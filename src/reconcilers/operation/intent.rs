//! What does the operator record before it sends a request? It records an intent on the object itself, together
//! with the ids and references in the spec, so that a process that dies before the answer loses nothing, and a
//! backup has what it needs. [`crate::crd::intent`] has the format. All intents are built here. All functions are
//! pure.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use serde_json::{Value, json};

use super::{
    NextStep,
    call::Call,
    dependencies::OperationDependencies as _,
    phase::{CurrentOperation, Phase},
    resource::{BrokerResource, OperationStatus, View, may_exist},
    status::StatusHooks,
};
use crate::{
    crd::{
        ConditionStatus::False,
        ConditionType::{Failed, Ready},
        INTENT_ANNOTATION,
        condition::Conditioned as _,
        intent::{Intent, IntentRecord, IntentState},
        progress::DeletionStatus,
    },
    reconcilers::reconciler::{ObjectPatch, Step, with_finalizer},
};

/// The size of an intent, in bytes, from which on it leaves out the parameters that are shown. An annotation may have
/// 256 KiB together with all others of the object.
const LARGE: usize = 16 << 10;

/// A request that the operator is about to send. The intent holds everything that a later DELETE or an
/// identical repetition needs.
pub enum IntendedRequest<R: BrokerResource> {
    /// A create or an update.
    Request(R::Operation, R::RequestRecord),
    /// The DELETE of orphan mitigation.
    Mitigation,
}

/// The step that records an intent and then sends the request.
pub fn attempt<R: StatusHooks>(
    view: &View<'_, R>,
    intended: IntendedRequest<R>,
    call: Call<R::Request>,
) -> NextStep<R> {
    Step::Attempt { intent: patch(view, with_intent(view, intended)), call }
}

/// Whether an object with this status does not carry yet what the operator fills in: the finalizer, an id, the
/// references. The id of the next attempt is written with its request.
#[must_use]
pub fn needs_claim<R: StatusHooks>(view: &View<'_, R>, status: &R::Status) -> bool {
    let has_id = !R::spec(view.object).external_id.is_empty();
    let is_missing = |field: &String| !(has_id && field == "externalID");
    !view.has_finalizer()
        || view.has_intent_of_another()
        || has_failed_create(view)
        || R::operator_fields(view, status).keys().any(is_missing)
}

/// Whether the intent announces a create that has failed for good. A backup must not say that there is something.
fn has_failed_create<R: StatusHooks>(view: &View<'_, R>) -> bool {
    let announced =
        view.intent().is_some_and(|intent| intent.creates && intent.state == IntentState::Observed);
    announced && matches!(view.phase, Phase::Failed) && !view.may_exist()
}

/// The step that fills in the ids and references of an object that has no request to send now.
pub fn claim<R: StatusHooks>(view: &View<'_, R>, status: R::Status) -> NextStep<R> {
    Step::Claim(patch(view, with_deletion_status(view, status)))
}

/// A status that says whether the broker must be asked to delete. v0.3 cannot delete an object without it.
#[must_use]
pub fn with_deletion_status<R: BrokerResource>(view: &View<'_, R>, mut status: R::Status) -> R::Status {
    if status.deletion_status() == DeletionStatus::Unset && !may_exist::<R>(&status) && !view.may_exist() {
        *status.deletion_status_mut() = DeletionStatus::NotRequired;
    }
    status
}

/// The patch of the object that leads to this status.
pub(super) fn patch<R: StatusHooks>(view: &View<'_, R>, mut status: R::Status) -> ObjectPatch<R::Status> {
    let persisted = serde_json::to_value(view.persisted_status()).unwrap_or_default();
    let fields = R::operator_fields(view, &status);
    if !fields.is_empty() {
        // The API server counts the patch as a change of the spec. It is not one that the operator has to act on.
        observe_own_change(&mut status, view.generation());
    }
    let derived_id = R::derives_id(view, &status);
    let creates = status.operation() == CurrentOperation::Operation(R::CREATE);
    let progress = status.progress_mut();
    let time = match &progress.last_attempt_time {
        // The intent of a request has the time of the request.
        Some(time) if view.status.progress().last_attempt_time.as_ref() != Some(time) => time.clone(),
        _ => progress.intent_time(view.now),
    };
    progress.observed_intent = Some(time.clone());
    let (cluster, uid) = (view.dependencies.common().cluster_id.clone(), view.uid().to_owned());
    progress.intent = Some(Arc::new(Intent {
        cluster: cluster.clone(),
        uid: uid.clone(),
        derived_id,
        creates,
        state: IntentState::Pending(persisted),
    }));
    let record = IntentRecord {
        cluster,
        namespace: view.namespace().to_owned(),
        name: view.object.meta().name.clone().unwrap_or_default(),
        uid,
        time,
        derived_id,
        status: &status,
    };
    let mut text = serde_json::to_string(&record).unwrap_or_default();
    if text.len() > LARGE {
        let mut short = status.clone();
        short.clear_parameters();
        text = serde_json::to_string(&IntentRecord { status: &short, ..record }).unwrap_or_default();
    }
    let mut patch = json!({ "metadata": { "annotations": { INTENT_ANNOTATION: text } } });
    if !view.has_finalizer() {
        patch["metadata"]["finalizers"] = json!(with_finalizer(view.object));
    }
    if !fields.is_empty() {
        patch["spec"] = Value::Object(fields);
    }
    ObjectPatch { patch, status }
}

fn observe_own_change<S: OperationStatus>(status: &mut S, generation: i64) {
    let next = generation + 1;
    for observed in status.generations_mut() {
        if *observed == generation {
            *observed = next;
        }
    }
    for condition in status.conditions_mut().0 {
        if condition.observed_generation == generation {
            condition.observed_generation = next;
        }
    }
}

/// The status with the intent recorded in it.
fn with_intent<R: StatusHooks>(view: &View<'_, R>, intended: IntendedRequest<R>) -> R::Status {
    let mut status = view.status_copy();
    match intended {
        IntendedRequest::Request(operation, record) => {
            R::record_request(view, &mut status, record);
            begin_operation(view, &mut status, operation);
        }
        // Where v0.3 gave up orphan mitigation, only `deprovisionStatus` says that there is something to
        // delete.
        IntendedRequest::Mitigation => status.progress_mut().orphan_mitigation_in_progress = true,
    }
    status.progress_mut().record_attempt(view.now);
    status
}

fn begin_operation<R: StatusHooks>(view: &View<'_, R>, status: &mut R::Status, operation: R::Operation) {
    let progress = status.progress_mut();
    if matches!(view.phase, Phase::RequestInFlight(..)) {
        // The intent on record has no answer, so its request may have taken effect.
        progress.record_repetition();
    }
    let changed = view.spec_has_changed();
    if changed || view.status.operation() != CurrentOperation::Operation(operation) {
        // The attempt after orphan mitigation continues to count retries. Otherwise the operator would send a
        // request every second to a broker that fails each of them.
        if changed || progress.next_attempt_time.is_none() {
            progress.retries = 0;
        }
        if changed || progress.operation_start_time.is_none() {
            progress.operation_start_time = Some(Time(view.now));
        }
        // A retry keeps the condition that says why the previous attempt failed.
        if progress.retries == 0
            && let Some((reason, message)) = R::in_flight_condition(operation)
        {
            status.set_condition(Ready, False, reason, message, view.now);
        }
    }
    if operation == R::CREATE {
        *status.deletion_status_mut() = DeletionStatus::Required;
    }
    status.remove_condition(Failed);
    status.set_operation(CurrentOperation::Operation(operation));
}
