//! What does the engine need to know of a kind, and how does it read an object? This file has the trait that
//! instances and bindings implement, and the decoded view that every decision uses.

use std::{borrow::Cow, fmt::Debug, ops::Deref};

use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _, core::object::HasStatus};
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};

use super::{
    dependencies::OperationDependencies,
    phase::{Awaited, CurrentOperation, DeletePurpose, Phase},
};
use crate::{
    crd::{
        Condition, ConditionType, FINALIZER, UserInfo,
        common::{DeletionPolicy, ParametersFromSource, ResolvedOffering},
        condition::{self, Conditioned},
        intent::{Intent, IntentState},
        progress::{DeletionStatus, Progress},
        scope::Object,
    },
    json::RawObject,
    reconcilers::{
        backoff::Pace,
        memory::OperationMemory,
        reason::Reason,
        reconciler::Observed,
        redaction::{Redactor, SentParameters},
        settings::ReconcileSettings,
    },
};

/// The properties of a request to the broker, as a status records them.
pub trait RequestProperties: Clone {
    /// The parameters and their checksum.
    fn sent_parameters(&self) -> SentParameters<'_>;
    /// Removes the parameters, which only show what the checksum stands for.
    fn clear_parameters(&mut self);
}

/// A status that records an operation. Its fields differ from kind to kind.
pub trait OperationStatus:
    Conditioned + Clone + Debug + Default + DeserializeOwned + PartialEq + Serialize + Send + Sync + 'static
{
    /// The operations of the kind.
    type Operation;
    /// The properties of the requests of the kind.
    type Properties: RequestProperties;

    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// The progress of the work at the broker.
    fn progress(&self) -> &Progress;
    /// The progress of the work at the broker, for changes.
    fn progress_mut(&mut self) -> &mut Progress;
    /// The current operation.
    fn operation(&self) -> CurrentOperation<Self::Operation>;
    /// Sets the current operation.
    fn set_operation(&mut self, operation: CurrentOperation<Self::Operation>);
    /// Whether the operator must send a DELETE when the object is deleted.
    fn deletion_status(&self) -> DeletionStatus;
    /// Whether the operator must send a DELETE when the object is deleted, for changes.
    fn deletion_status_mut(&mut self) -> &mut DeletionStatus;
    /// The properties of the request in progress, and those that the broker has acknowledged.
    fn properties(&self) -> [Option<&Self::Properties>; 2];
    /// The properties of the request in progress, and those that the broker has acknowledged, for changes.
    fn properties_mut(&mut self) -> [&mut Option<Self::Properties>; 2];
    /// Makes the properties those of a deletion. v0.3 goes on with a deletion only if it finds them as it
    /// records them itself.
    fn set_properties_of_deletion(&mut self);
    /// The class and plan that the last request was made for.
    fn resolved(&self) -> Option<&ResolvedOffering>;
    /// The class and plan that the last request was made for, for changes.
    fn resolved_mut(&mut self) -> &mut Option<ResolvedOffering>;
    /// Whether the status has an id of the resource at the broker.
    fn has_id(&self) -> bool;
    /// `observedGeneration` and `reconciledGeneration`, for changes.
    fn generations_mut(&mut self) -> [&mut i64; 2];

    /// The parameters of the request in progress, and those that the broker has acknowledged.
    fn sent_parameters(&self) -> [Option<SentParameters<'_>>; 2] {
        self.properties().map(|properties| properties.map(RequestProperties::sent_parameters))
    }

    /// Removes the record of the request in progress.
    fn clear_in_progress(&mut self) {
        let [in_progress, _] = self.properties_mut();
        *in_progress = None;
    }

    /// Makes what the broker has acknowledged the request in progress, if there is none.
    fn restore_in_progress(&mut self) {
        let [in_progress, acknowledged] = self.properties_mut();
        if in_progress.is_none() {
            in_progress.clone_from(acknowledged);
        }
    }

    /// Copies the record of the request in progress from another status.
    fn copy_in_progress(&mut self, from: &Self) {
        let [in_progress, _] = self.properties_mut();
        *in_progress = from.properties()[0].cloned();
    }

    /// Removes the parameters from the records of all requests.
    fn clear_parameters(&mut self) {
        self.properties_mut().into_iter().flatten().for_each(RequestProperties::clear_parameters);
    }
}

/// The part of a spec that every operation needs.
#[derive(Clone, Copy)]
pub struct OperationSpec<'a> {
    /// The id at the broker, which the user gave or the operator filled in, or an empty string.
    pub external_id: &'a str,
    /// The user who wrote the current spec.
    pub user_info: Option<&'a UserInfo>,
    /// The Secrets that parameters come from.
    pub parameters_from: &'a [ParametersFromSource],
    /// What happens at the broker when the object is deleted.
    pub deletion_policy: DeletionPolicy,
}

/// The texts of a kind: reasons of conditions and parts of messages.
pub struct KindTexts {
    /// `instance`
    pub noun: &'static str,
    /// `provision`
    pub create: &'static str,
    /// The reason of `Ready` when orphan mitigation starts.
    pub mitigation_started: Reason,
    /// The reason of `Ready` when the operator is about to send a DELETE.
    pub delete_in_flight: Reason,
    /// The reason and the message of `Ready` while the broker deletes asynchronously.
    pub deleting: (Reason, &'static str),
    /// The reason and the message of `Ready` after the broker has confirmed the deletion.
    pub deleted: (Reason, &'static str),
    /// The reason of `Ready` after a DELETE has failed.
    pub delete_failed: Reason,
    /// `Deprovision call failed`
    pub delete_failed_sentence: &'static str,
    /// The reason and the message of `Ready` when the status does not say at which broker to delete.
    pub unknown_broker: (Reason, &'static str),
    /// The end of the message when the operator gives up: what the user can do.
    pub after_giving_up: &'static str,
}

/// A kind with operations at a broker: its types, its texts, and how its status is read. The parts of single
/// steps that differ between kinds are in [`ObserveHooks`](super::engine::ObserveHooks),
/// [`PlanHooks`](super::steps::PlanHooks), [`RequestHooks`](super::call::RequestHooks),
/// [`AnswerHooks`](super::answers::AnswerHooks) and [`StatusHooks`](super::status::StatusHooks).
pub trait BrokerResource: Sized + Send + Sync + 'static {
    /// The kind.
    type Object: Object + HasStatus<Status = Self::Status>;
    /// Its status.
    type Status: OperationStatus<Operation = Self::Operation>;
    /// State outside the object that decisions depend on.
    type Dependencies: OperationDependencies;
    /// Creates and updates.
    type Operation: Copy + Debug + Eq + Send + Sync + 'static;
    /// The content of a create or an update, as the status records it.
    type RequestRecord;
    /// The requests of the kind, other than DELETE and polls.
    type Request: Send + Sync;
    /// The reply to such a request.
    type Reply: Send;

    /// The texts of the kind.
    const TEXTS: KindTexts;
    /// The operation that creates.
    const CREATE: Self::Operation;
    /// Whether the kind has the condition `OrphanMitigation`. Otherwise `Ready` shows problems of orphan
    /// mitigation.
    const HAS_MITIGATION_CONDITION: bool;

    /// The part of the spec that every operation needs.
    fn spec(object: &Self::Object) -> OperationSpec<'_>;
    /// The parameters in the spec itself.
    fn inline_parameters(object: &Self::Object) -> Option<&RawObject>;
    /// Whether the spec names Secrets that are read before a request.
    fn names_secrets(object: &Self::Object) -> bool {
        !Self::spec(object).parameters_from.is_empty()
    }
    /// Whether all Secrets that were read are as they must be.
    fn is_readable(dependencies: &Self::Dependencies, _: &Self::Object) -> bool {
        dependencies.common().parameters.as_ref().is_none_or(Result::is_ok)
    }
    /// Whether the broker has acknowledged that the resource exists.
    fn exists(status: &Self::Status) -> bool;
    /// The same, also after a DELETE was sent.
    fn is_acknowledged(status: &Self::Status) -> bool {
        Self::exists(status)
    }
    /// The operation that the operator polls for if the status names none.
    fn assumed_operation(status: &Self::Status) -> Self::Operation;
    /// Whether v0.3 gave up orphan mitigation.
    #[must_use]
    fn legacy_gave_up_deletion(_: &Self::Status) -> bool {
        false
    }
}

/// An object with its decoded status. The status is decoded once for each decision.
pub struct Decoded<'a, R: BrokerResource> {
    /// The object.
    pub object: &'a R::Object,
    /// Its status, or an empty one.
    pub status: Cow<'a, R::Status>,
    /// Its state at the broker.
    pub phase: Phase<R::Operation>,
}

impl<'a, R: BrokerResource> Decoded<'a, R> {
    /// Decodes the status of an object.
    #[must_use]
    pub fn of(object: &'a R::Object) -> Self {
        let status = object.status().map_or_else(|| Cow::Owned(R::Status::default()), Cow::Borrowed);
        let phase = phase::<R>(&status);
        Self { object, status, phase }
    }

    /// Whether the broker may hold a resource for this object. If so, the operator must send a DELETE when
    /// the object is deleted.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        may_exist::<R>(&self.status)
    }

    /// Whether the status shows that the operator has worked on this object. The finalizer is added before
    /// that. So if it is missing later, a person has removed it to abandon the object.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        !self.status.conditions().is_empty() || self.status.has_id() || self.may_exist()
    }

    /// The intent that the object carries, decoded.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        self.status.progress().intent.as_deref()
    }

    /// Whether the API server does not have this status yet, because an intent is pending.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.intent().is_some_and(|intent| intent.persisted().is_some())
    }

    /// Whether the object was restored from a backup without its status.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.intent().is_some_and(|intent| matches!(intent.state, IntentState::Restored(_)))
    }

    /// Whether the intent was recorded on another object than this one: on the one that was backed up, or on the one that
    /// this is a copy of.
    #[must_use]
    pub fn has_intent_of_another(&self) -> bool {
        self.intent().is_some_and(|intent| intent.uid != self.uid())
    }

    /// Whether the operator derived the id from the object, so that no other object can have it. An id that
    /// the user gave may belong to a resource that existed before. Orphan mitigation would delete that
    /// resource. So the operator repeats an unanswered operation under such an id, and it deletes the
    /// resource only when the user deletes the object. The table in OSB 2.17, "Orphan Mitigation", does not
    /// consider such ids.
    #[must_use]
    pub fn is_id_derived(&self) -> bool {
        let is_absent = R::spec(self.object).external_id.is_empty();
        is_absent || self.intent().is_some_and(|intent| intent.derived_id)
    }

    /// The id that the user gave, or an empty string.
    #[must_use]
    pub fn given_id(&self) -> &str {
        if self.is_id_derived() { "" } else { R::spec(self.object).external_id }
    }

    /// Whether a request of the current operation has no answer, so that it may have taken effect.
    #[must_use]
    pub fn has_unanswered_request(&self) -> bool {
        self.status.progress().unanswered || matches!(self.phase, Phase::RequestInFlight(..))
    }

    /// Whether the object is being deleted.
    #[must_use]
    pub fn is_being_deleted(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }

    /// Whether the object has our finalizer.
    #[must_use]
    pub fn has_finalizer(&self) -> bool {
        self.object.finalizers().iter().any(|name| name == FINALIZER)
    }

    /// Whether the object has finalizers of others, which keep it when ours is removed.
    #[must_use]
    pub fn has_other_finalizers(&self) -> bool {
        self.object.finalizers().iter().any(|name| name != FINALIZER)
    }

    /// Whether some parameters of the current spec come from Secrets.
    #[must_use]
    pub fn has_secret_parameters(&self) -> bool {
        !R::spec(self.object).parameters_from.is_empty()
    }

    /// The uid of the object.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.object.meta().uid.as_deref().unwrap_or_default()
    }

    /// The namespace of the object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.object.meta().namespace.as_deref().unwrap_or_default()
    }

    /// The generation of the spec.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or(0)
    }

    /// Whether the spec has changed since the operator last acted on it. A restored backup of an object may
    /// have a lower generation than its status, so the generations are compared for equality.
    #[must_use]
    pub fn spec_has_changed(&self) -> bool {
        self.generation() != self.status.observed_generation()
    }

    /// Whether the object has this condition with the status `True`.
    #[must_use]
    pub fn is_true(&self, type_: ConditionType) -> bool {
        condition::is_true(self.status.conditions(), type_)
    }
}

/// A decoded object with everything else that a decision depends on.
pub struct View<'a, R: BrokerResource> {
    decoded: Decoded<'a, R>,
    /// State outside the object.
    pub dependencies: &'a R::Dependencies,
    /// What the process keeps in memory about the object.
    pub memory: OperationMemory,
    /// The limits and intervals in force.
    pub settings: &'a ReconcileSettings,
    /// The current time.
    pub now: Timestamp,
}

impl<'a, R: BrokerResource> Deref for View<'a, R> {
    type Target = Decoded<'a, R>;

    fn deref(&self) -> &Self::Target {
        &self.decoded
    }
}

impl<'a, R: BrokerResource> View<'a, R> {
    /// Decodes an observation.
    #[must_use]
    pub fn of<E>(observed: &'a Observed<E>) -> Self
    where
        E: crate::reconcilers::reconciler::Reconciler<
                Object = R::Object,
                Dependencies = R::Dependencies,
                Memory = OperationMemory,
            >,
    {
        let mut decoded: Decoded<'a, R> = Decoded::of(&*observed.object);
        let sent = decoded.status.progress().sent();
        decoded.phase = decoded.phase.counted(&observed.settings, sent, observed.now);
        Self {
            decoded,
            dependencies: &observed.dependencies,
            memory: observed.memory,
            settings: &observed.settings,
            now: observed.now,
        }
    }

    /// A view of another decoded object at the same moment.
    #[must_use]
    pub fn at(mut decoded: Decoded<'a, R>, dependencies: &'a R::Dependencies, moment: &View<'a, R>) -> Self {
        let View { memory, settings, now, .. } = *moment;
        let sent = decoded.status.progress().sent();
        decoded.phase = decoded.phase.counted(settings, sent, now);
        Self { decoded, dependencies, memory, settings, now }
    }

    /// The times of retries and polls of this object.
    #[must_use]
    pub fn pace(&self) -> Pace<'_> {
        Pace { now: self.now, settings: self.settings, uid: self.uid() }
    }

    /// The status that the API server has, without a pending intent.
    #[must_use]
    pub fn persisted_status(&self) -> R::Status {
        let persisted = self.intent().and_then(Intent::persisted);
        persisted.and_then(|status| R::Status::deserialize(status).ok()).unwrap_or_else(|| self.status_copy())
    }

    /// A copy of the status, for changes.
    #[must_use]
    pub fn status_copy(&self) -> R::Status {
        self.status.clone().into_owned()
    }

    /// A redactor that removes secret parameters from the broker's messages.
    #[must_use]
    pub fn redactor(&self) -> Redactor<'_> {
        let [in_progress, acknowledged] = self.status.sent_parameters();
        let from = R::spec(self.object).parameters_from;
        Redactor::new(self.dependencies.common().parameters.as_ref(), from, in_progress, acknowledged)
    }
}

/// Whether the broker may hold a resource, according to a status. Unknown combinations of fields count as
/// "yes", so that the operator never loses track of a resource.
#[must_use]
pub fn may_exist<R: BrokerResource>(status: &R::Status) -> bool {
    let progress = status.progress();
    match status.deletion_status() {
        DeletionStatus::Required | DeletionStatus::Failed => true,
        DeletionStatus::NotRequired => progress.unanswered || legacy_may_hide_create::<R>(status),
        DeletionStatus::Succeeded => progress.unanswered,
        DeletionStatus::Unset => {
            status.operation() != CurrentOperation::None
                || progress.async_op_in_progress
                || progress.orphan_mitigation_in_progress
                || status.sent_parameters().iter().any(Option::is_some)
                || R::exists(status)
        }
    }
}

/// Whether an earlier create without an answer is possible although the last one was refused. v0.3 kept no
/// record of earlier unanswered requests after a refusal. This operator records the time of each attempt, and
/// it keeps `unanswered`.
fn legacy_may_hide_create<R: BrokerResource>(status: &R::Status) -> bool {
    status.operation() == CurrentOperation::Operation(R::CREATE)
        && status.progress().last_attempt_time.is_none()
}

/// Decodes the phase from the fields of a status. Combinations that no version writes are decoded as "the
/// broker may hold a resource".
fn phase<R: BrokerResource>(status: &R::Status) -> Phase<R::Operation> {
    let progress = status.progress();
    let (sent, next) = (progress.sent(), progress.not_before());
    let mitigating = progress.orphan_mitigation_in_progress;
    if progress.async_op_in_progress {
        return match status.operation() {
            // The DELETE for an object that is being deleted has no intent, so the time of the answer counts.
            CurrentOperation::Deletion => {
                Phase::Polling(Awaited::Deletion(DeletePurpose::Deletion), progress.began())
            }
            _ if mitigating => Phase::Polling(Awaited::Deletion(DeletePurpose::Mitigation), sent),
            CurrentOperation::Operation(operation) => Phase::Polling(Awaited::Operation(operation), sent),
            CurrentOperation::None => Phase::Polling(Awaited::Operation(R::assumed_operation(status)), sent),
        };
    }
    let failed = condition::is_true(status.conditions(), ConditionType::Failed);
    match status.operation() {
        CurrentOperation::Deletion => Phase::Deleting { not_before: next },
        _ if mitigating => Phase::OrphanMitigation { not_before: next },
        // A refused request had no effect. v0.3 did not record when it would send it again.
        CurrentOperation::Operation(operation)
            if operation == R::CREATE
                && status.deletion_status() == DeletionStatus::NotRequired
                && !progress.unanswered =>
        {
            Phase::BackingOff(operation, next.unwrap_or(sent))
        }
        CurrentOperation::Operation(operation) => {
            next.map_or(Phase::RequestInFlight(operation, sent), |at| Phase::BackingOff(operation, at))
        }
        CurrentOperation::None if R::legacy_gave_up_deletion(status) => {
            Phase::OrphanMitigation { not_before: next }
        }
        CurrentOperation::None if failed => Phase::Failed,
        CurrentOperation::None if R::exists(status) => Phase::Present { not_before: next },
        CurrentOperation::None if may_exist::<R>(status) => Phase::RequestInFlight(R::CREATE, sent),
        CurrentOperation::None => Phase::Absent { not_before: next },
    }
}
