//! What a kind adds to the engine, and the decoded view that every decision works on.

use std::{borrow::Cow, fmt::Debug, ops::Deref};

use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _, core::object::HasStatus};
use serde::Serialize;

use super::phase::{Awaited, Cause, Phase, Recorded};
use crate::{
    crd::{
        Condition, ConditionType, FINALIZER, UserInfo,
        common::{ParametersFromSource, ResolvedOffering},
        condition::{self, Conditioned},
        progress::{DeletionStatus, Progress},
        scope::Object,
    },
    reconcilers::{
        backoff::Pace,
        memory::OperationMemory,
        parameters::{Parameters, ParametersError},
        reason::Reason,
        reconciler::Observed,
        redaction::{Redactor, SentParameters},
        settings::ReconcileSettings,
    },
};

/// A status with the record of an operation. The wire form differs from kind to kind.
pub trait OperationStatus:
    Conditioned + Clone + Debug + Default + PartialEq + Serialize + Send + Sync + 'static
{
    /// The operations of the kind.
    type Operation;

    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// How far the work at the broker is.
    fn progress(&self) -> &Progress;
    /// How far the work at the broker is, to be changed.
    fn progress_mut(&mut self) -> &mut Progress;
    /// The current operation.
    fn operation(&self) -> Recorded<Self::Operation>;
    /// Sets the current operation.
    fn set_operation(&mut self, operation: Recorded<Self::Operation>);
    /// Whether the broker must be told when the object is deleted.
    fn deletion_status(&self) -> DeletionStatus;
    /// Whether the broker must be told when the object is deleted, to be changed.
    fn deletion_status_mut(&mut self) -> &mut DeletionStatus;
    /// What the broker was last asked for and what it has acknowledged: parameters and their checksum.
    fn sent_parameters(&self) -> [Option<SentParameters<'_>>; 2];
    /// Drops what the broker was asked for.
    fn clear_in_progress(&mut self);
    /// Copies what the broker was asked for from another status.
    fn copy_in_progress(&mut self, from: &Self);
    /// What the references were resolved to when the broker was last asked.
    fn resolved(&self) -> Option<&ResolvedOffering>;
    /// Whether an id at the broker is on record.
    fn has_id(&self) -> bool;
}

/// The part of a spec that every operation needs.
#[derive(Clone, Copy)]
pub struct OperationSpec<'a> {
    /// The id that the user gave, or nothing.
    pub external_id: &'a str,
    /// Who asked for the present spec.
    pub user_info: Option<&'a UserInfo>,
    /// The Secrets that parameters come from.
    pub parameters_from: &'a [ParametersFromSource],
}

/// The words of a kind: reasons of conditions and parts of sentences.
pub struct Words {
    /// `instance`
    pub noun: &'static str,
    /// `provision`
    pub create: &'static str,
    /// The reason while orphan mitigation begins.
    pub mitigation_started: Reason,
    /// The reason while a DELETE is about to be sent.
    pub delete_in_flight: Reason,
    /// The reason and the sentence while the broker deletes asynchronously.
    pub deleting: (Reason, &'static str),
    /// The reason after a DELETE without success.
    pub delete_failed: Reason,
    /// `Deprovision call failed`
    pub delete_failed_sentence: &'static str,
    /// The reason and the sentence when no broker is known to delete at.
    pub no_target: (Reason, &'static str),
    /// What follows the last failure when the operator gives up.
    pub given_up: &'static str,
}

/// State outside the object that every operation depends on.
pub trait OperationDependencies: Send + Sync {
    /// Drops large values before a wait.
    fn release_memory(&mut self);
    /// The parameters, as far as they were read.
    fn parameters(&self) -> Option<&Result<Parameters, ParametersError>>;
    /// Whether the object of the broker that was last asked exists.
    fn recorded_broker_exists(&self) -> bool;
    /// How long an operation may be polled, in seconds, if the plan says so.
    fn maximum_polling_duration(&self) -> Option<i64>;
    /// The uid of the namespace; `None` while the cache does not have it.
    fn namespace_uid(&self) -> Option<&str>;
    /// Why the broker cannot be asked, as far as this cluster can tell.
    fn precondition_error(&self) -> Option<&str>;
}

/// A kind with operations at a broker: its types, its words, and how its status is read. What it adds to each step is in
/// [`ObserveHooks`](super::engine::ObserveHooks), [`PlanHooks`](super::plan::PlanHooks),
/// [`RequestHooks`](super::call::RequestHooks), [`AnswerHooks`](super::answers::AnswerHooks) and
/// [`StatusHooks`](super::status::StatusHooks).
pub trait BrokerResource: Sized + Send + Sync + 'static {
    /// The kind.
    type Object: Object + HasStatus<Status = Self::Status>;
    /// Its status.
    type Status: OperationStatus<Operation = Self::Operation>;
    /// State outside the object that decisions depend on.
    type Dependencies: OperationDependencies;
    /// Creates and updates.
    type Operation: Copy + Debug + Eq + Send + Sync + 'static;
    /// What a create or an update asks for, as it is recorded.
    type Order;
    /// The requests of the kind beside DELETE and polls.
    type Request: Send + Sync;
    /// Such a request together with what came of it.
    type Reply: Send;

    /// The words of the kind.
    const WORDS: Words;
    /// The operation that creates.
    const CREATE: Self::Operation;
    /// Whether orphan mitigation has a condition of its own (`OrphanMitigation`). Otherwise `Ready` says what goes wrong.
    const HAS_MITIGATION_CONDITION: bool;

    /// The part of the spec that every operation needs.
    fn spec(object: &Self::Object) -> OperationSpec<'_>;
    /// Whether the broker has acknowledged that it exists.
    fn exists(status: &Self::Status) -> bool;
    /// The operation that is polled for when the status names none.
    fn assumed_operation(status: &Self::Status) -> Self::Operation;
    /// Whether v0.3 gave up the deletion of what an unsuccessful create had left.
    #[must_use]
    fn legacy_gave_up_deletion(_: &Self::Status) -> bool {
        false
    }
}

/// An object with its status decoded, once for each decision.
pub struct Standing<'a, R: BrokerResource> {
    /// The object.
    pub object: &'a R::Object,
    /// Its status, or the empty one.
    pub status: Cow<'a, R::Status>,
    /// Where it stands.
    pub phase: Phase<R::Operation>,
}

impl<'a, R: BrokerResource> Standing<'a, R> {
    /// Decodes an object.
    #[must_use]
    pub fn of(object: &'a R::Object) -> Self {
        let status = object.status().map_or_else(|| Cow::Owned(R::Status::default()), Cow::Borrowed);
        let phase = phase::<R>(&status);
        Self { object, status, phase }
    }

    /// Whether the broker may hold something for this object, so that it must be told when the object is deleted.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        may_exist::<R>(&self.status)
    }

    /// Whether anything was ever said of this object, or asked of a broker for it. The finalizer comes before that. So from
    /// then on a missing finalizer means that a person has abandoned the object.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        !self.status.conditions().is_empty() || self.status.has_id() || self.may_exist()
    }

    /// Whether a request of the current operation may have taken effect without our knowing.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
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

    /// Whether some parameters of the present spec come from Secrets.
    #[must_use]
    pub fn has_secret_parameters(&self) -> bool {
        !R::spec(self.object).parameters_from.is_empty()
    }

    /// Whether the parameters are needed: to decide, which they are where a broker is `asked`, or to take secret ones out of
    /// what the broker says. Otherwise no Secret is read.
    #[must_use]
    pub fn needs_parameters(&self, asked: bool) -> bool {
        if self.is_being_deleted() {
            return self.has_secret_parameters() && self.may_exist();
        }
        match self.phase {
            Phase::Polling(..) | Phase::OrphanMitigation { .. } | Phase::Deleting { .. } => {
                self.has_secret_parameters()
            }
            Phase::Absent { .. }
            | Phase::RequestInFlight(..)
            | Phase::BackingOff(..)
            | Phase::Present { .. }
            | Phase::Failed => asked,
        }
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

    /// Whether the spec is another than the one that was last acted on. Generations begin anew when an object is restored
    /// from a backup together with its status, so it need not be a later one.
    #[must_use]
    pub fn spec_has_changed(&self) -> bool {
        self.generation() != self.status.observed_generation()
    }

    /// Whether this condition is there and true.
    #[must_use]
    pub fn is_true(&self, type_: ConditionType) -> bool {
        condition::is_true(self.status.conditions(), type_)
    }
}

/// A decoded object with everything else that a decision depends on.
pub struct View<'a, R: BrokerResource> {
    standing: Standing<'a, R>,
    /// State outside the object.
    pub dependencies: &'a R::Dependencies,
    /// What the process remembers of the object.
    pub memory: OperationMemory,
    /// The limits and intervals in force.
    pub settings: &'a ReconcileSettings,
    /// The present.
    pub now: Timestamp,
}

impl<'a, R: BrokerResource> Deref for View<'a, R> {
    type Target = Standing<'a, R>;

    fn deref(&self) -> &Self::Target {
        &self.standing
    }
}

impl<'a, R: BrokerResource> View<'a, R> {
    /// Decodes what was observed.
    #[must_use]
    pub fn of<E>(observed: &'a Observed<E>) -> Self
    where
        E: crate::reconcilers::reconciler::Reconciler<
                Object = R::Object,
                Dependencies = R::Dependencies,
                Memory = OperationMemory,
            >,
    {
        Self {
            standing: Standing::of(&*observed.object),
            dependencies: &observed.dependencies,
            memory: observed.memory,
            settings: &observed.settings,
            now: observed.now,
        }
    }

    /// The pace at which this object is worked on.
    #[must_use]
    pub fn pace(&self) -> Pace<'_> {
        Pace { now: self.now, settings: self.settings, uid: self.uid() }
    }

    /// A copy of the status, to be changed.
    #[must_use]
    pub fn status_copy(&self) -> R::Status {
        self.status.clone().into_owned()
    }

    /// Takes secret parameters out of the broker's words.
    #[must_use]
    pub fn redactor(&self) -> Redactor<'_> {
        let [asked, acknowledged] = self.status.sent_parameters();
        let from = R::spec(self.object).parameters_from;
        Redactor::new(self.dependencies.parameters(), from, asked, acknowledged)
    }
}

/// Whether the broker may hold something, as a status says. A combination of flags that nothing writes counts as "yes", so
/// that nothing is ever forgotten.
#[must_use]
pub fn may_exist<R: BrokerResource>(status: &R::Status) -> bool {
    let progress = status.progress();
    match status.deletion_status() {
        DeletionStatus::Required | DeletionStatus::Failed => true,
        DeletionStatus::NotRequired => progress.unanswered || is_forgotten::<R>(status),
        DeletionStatus::Succeeded => progress.unanswered,
        DeletionStatus::Unset => {
            status.operation() != Recorded::None
                || progress.async_op_in_progress
                || progress.orphan_mitigation_in_progress
                || status.sent_parameters().iter().any(Option::is_some)
                || R::exists(status)
        }
    }
}

/// After a refusal v0.3 forgot requests before it that were never answered. Here each attempt has its time, and a doubt
/// lasts.
fn is_forgotten<R: BrokerResource>(status: &R::Status) -> bool {
    status.operation() == Recorded::Operation(R::CREATE) && status.progress().last_attempt_time.is_none()
}

/// Reads the flags. Total: a combination that nothing writes is read as "the broker may hold something".
fn phase<R: BrokerResource>(status: &R::Status) -> Phase<R::Operation> {
    let progress = status.progress();
    let (sent, next) = (progress.sent(), progress.not_before());
    let mitigating = progress.orphan_mitigation_in_progress;
    if progress.async_op_in_progress {
        return match status.operation() {
            // The deletion of an object has no intent.
            Recorded::Deletion => Phase::Polling(Awaited::Deletion(Cause::Deletion), progress.began()),
            _ if mitigating => Phase::Polling(Awaited::Deletion(Cause::Mitigation), sent),
            Recorded::Operation(operation) => Phase::Polling(Awaited::Operation(operation), sent),
            Recorded::None => Phase::Polling(Awaited::Operation(R::assumed_operation(status)), sent),
        };
    }
    let failed = condition::is_true(status.conditions(), ConditionType::Failed);
    match status.operation() {
        Recorded::Deletion => Phase::Deleting { not_before: next },
        _ if mitigating => Phase::OrphanMitigation { not_before: next },
        // A refused request is not in doubt. v0.3 did not note when it would ask again.
        Recorded::Operation(operation)
            if operation == R::CREATE
                && status.deletion_status() == DeletionStatus::NotRequired
                && !progress.unanswered =>
        {
            Phase::BackingOff(operation, next.unwrap_or(sent))
        }
        Recorded::Operation(operation) => {
            next.map_or(Phase::RequestInFlight(operation, sent), |at| Phase::BackingOff(operation, at))
        }
        Recorded::None if R::legacy_gave_up_deletion(status) => Phase::OrphanMitigation { not_before: next },
        Recorded::None if failed => Phase::Failed,
        Recorded::None if R::exists(status) => Phase::Present { not_before: next },
        Recorded::None if may_exist::<R>(status) => Phase::RequestInFlight(R::CREATE, sent),
        Recorded::None => Phase::Absent { not_before: next },
    }
}
