//! How are the credentials of a binding renewed? The operator makes a second binding, the successor, and writes its
//! credentials into the Secret. From then on the first one is the predecessor. Workloads may use its credentials
//! for a grace period, and then the operator deletes it (OSB 2.17, "Binding Rotation"). All functions are pure.
//!
//! * `Ready` stays true all along, and the Secret changes only once, when there are new credentials.
//! * A broker whose plan is `binding_rotatable` is asked to rotate (`predecessor_binding_id`). Any other is asked for
//!   another binding, and so is one that has refused to rotate.
//! * What fails is tried again, later and later, and never given up.
//! * The ids of all bindings of an object follow from its uid, so that a crash loses none of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::{
    Binding, BindingView, SecretState, lifetime, secret_name,
    status::{injected, is_injected, requests, shown},
};
use crate::{
    clock::later,
    crd::{
        Condition,
        ConditionStatus::True,
        ConditionType::{Failed, Ready},
        FINALIZER, ServiceBinding, ServiceBindingStatus,
        common::{DeletionPolicy, ResolvedOffering},
        condition::{self, Conditioned as _},
        intent::{Intent, IntentState},
        progress::{DeletionStatus, Progress},
        rotation::{OtherBinding, Rotation, RotationStatus},
    },
    osb::BindingId,
    reconcilers::{
        backoff::Pace,
        identity::attempt_id,
        messages,
        operation::{
            BrokerResource as _, Decoded, Phase,
            apart::{Apart, ApartHooks},
            resource::may_exist,
        },
        reason::Reason,
    },
};

/// How long the old credentials stay valid if the spec does not say it.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_hours(1);

/// Credentials are not renewed sooner than this after they were made, unless a user asks for it. A broker whose
/// credentials live for seconds would keep the cluster busy.
const SHORTEST_AGE: SignedDuration = SignedDuration::from_mins(1);

/// Credentials of which only the end is known are renewed when a tenth of their time is left.
const LAST_PART: i32 = 10;

/// Which binding at the broker an observation is about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Role {
    /// The one whose credentials are in the Secret, or will be.
    #[default]
    Current,
    /// The one whose credentials are to replace those in the Secret.
    Successor,
}

/// What an observation of this object is about. `secret` is that of the current binding. As long as the broker has no
/// successor, the current binding comes first: what is under way for it ends, and its Secret is put right.
#[must_use]
pub fn role(decoded: &Decoded<'_, Binding>, secret: &SecretState, now: Timestamp) -> Role {
    let successor = rotation(decoded).and_then(|rotation| rotation.successor.as_deref());
    let may_begin = || {
        let is_in_secret = match secret {
            SecretState::Owned { binding_id, .. } => *binding_id == decoded.binding_id(),
            // The new credentials put it right.
            SecretState::Edited { .. } => true,
            SecretState::Unchecked
            | SecretState::Missing
            | SecretState::Adoptable { .. }
            | SecretState::NotOwned => false,
        };
        is_in_secret && matches!(decoded.phase, Phase::Present { .. })
    };
    let is_successor =
        has_successor(decoded, now) && (successor.is_some_and(may_be_at_broker) || may_begin());
    if is_successor { Role::Successor } else { Role::Current }
}

/// Whether the object has a successor to work on, or is to get one.
fn has_successor(decoded: &Decoded<'_, Binding>, now: Timestamp) -> bool {
    let successor = rotation(decoded).and_then(|rotation| rotation.successor.as_deref());
    let is_due = match successor {
        Some(successor) if decoded.is_being_deleted() => may_be_at_broker(successor),
        Some(_) => true,
        None => renewal_at(decoded).is_some_and(|at| at <= now),
    };
    is_due && is_ours(decoded)
}

fn rotation<'a>(decoded: &'a Decoded<'_, Binding>) -> Option<&'a RotationStatus> {
    decoded.status.rotation.as_ref()
}

fn may_be_at_broker(other: &OtherBinding) -> bool {
    may_exist::<Binding>(&status_of(other))
}

/// Whether the operator may work on another binding of this object: not if a person has abandoned the object, and not if
/// it comes from a backup or from another cluster, where its bindings may be in use.
fn is_ours(decoded: &Decoded<'_, Binding>) -> bool {
    decoded.has_finalizer() && !decoded.is_restored() && !decoded.has_intent_of_another()
}

/// The time at which the credentials are to be renewed. `None` if nothing says so, or if they cannot be renewed now.
pub(super) fn renewal_at(decoded: &Decoded<'_, Binding>) -> Option<Timestamp> {
    let (spec, rotation) = (decoded.object.spec.rotation.unwrap_or_default(), rotation(decoded));
    let is_in_secret =
        |ready: &Condition| is_injected(ready) || ready.reason == Reason::CredentialsEdited.as_str();
    let is_current = matches!(decoded.phase, Phase::Present { .. })
        && condition::find(&decoded.status.conditions, Ready).is_some_and(is_in_secret)
        && !decoded.is_being_deleted();
    if !is_current || rotation.is_some_and(|rotation| rotation.other().is_some()) {
        return None;
    }
    if spec.requests > 0 && spec.requests != rotation.map_or(0, |rotation| rotation.observed_requests) {
        return Some(Timestamp::MIN);
    }
    let by_user = interval(spec).map(|interval| due(decoded, later(bound_at(decoded), interval)));
    [wanted_by_broker(decoded), by_user].into_iter().flatten().min()
}

/// The time at which the broker wants the credentials renewed.
fn wanted_by_broker(decoded: &Decoded<'_, Binding>) -> Option<Timestamp> {
    let bound_at = bound_at(decoded);
    let lifetime = lifetime::recorded(&decoded.status);
    let before = lifetime.renew_before.filter(|at| *at > bound_at).or_else(|| {
        let end = lifetime.expires_at.filter(|end| *end > bound_at)?;
        Some(end.checked_sub(end.duration_since(bound_at) / LAST_PART).unwrap_or(end))
    });
    before.map(|at| due(decoded, at))
}

/// A time before this one, so that bindings that were made together are not renewed together.
fn due(decoded: &Decoded<'_, Binding>, at: Timestamp) -> Timestamp {
    let bound_at = bound_at(decoded);
    Pace::sooner(at, at.duration_since(bound_at), decoded.uid()).max(later(bound_at, SHORTEST_AGE))
}

/// When the broker made the credentials. Earlier versions did not record it.
fn bound_at(decoded: &Decoded<'_, Binding>) -> Timestamp {
    let created = decoded.object.metadata.creation_timestamp.as_ref();
    decoded.status.bound_at.as_ref().or(created).map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn interval(spec: Rotation) -> Option<SignedDuration> {
    spec.interval.filter(|interval| !interval.is_negative()).and_then(signed)
}

fn signed(duration: kube::core::Duration) -> Option<SignedDuration> {
    SignedDuration::try_from(std::time::Duration::from(duration)).ok()
}

/// The time at which the operator deletes the predecessor: after its grace period, and before the broker wants the next
/// renewal.
pub(super) fn unbind_at(decoded: &Decoded<'_, Binding>) -> Option<Timestamp> {
    let predecessor = rotation(decoded)?.predecessor.as_deref()?;
    let end = predecessor.unbind_after.as_ref().map_or(Timestamp::MIN, |time| time.0);
    Some(wanted_by_broker(decoded).map_or(end, |next| next.min(end)))
}

impl ApartHooks for Binding {
    fn instead(view: &BindingView<'_>) -> Option<Apart<Self>> {
        if view.is_being_deleted()
            && view.object.spec.deletion_policy != DeletionPolicy::Prevent
            && is_ours(view)
            && let Some(predecessor) = predecessor(view)
        {
            return Some(predecessor);
        }
        let is_observed = view.dependencies.role == Role::Successor;
        (is_observed && has_successor(view, view.now)).then(|| successor(view))
    }

    fn beside(view: &BindingView<'_>) -> Option<Apart<Self>> {
        let is_due = is_ours(view) && unbind_at(view).is_some_and(|at| at <= view.now);
        if is_due { predecessor(view) } else { None }
    }

    fn with_id(view: &BindingView<'_>, id: &BindingId) -> Option<Apart<Self>> {
        let both = [Self::instead(view), predecessor(view)];
        both.into_iter().flatten().find(|apart| Decoded::<Self>::of(&apart.object).binding_id() == *id)
    }

    fn absorb_apart(
        view: &BindingView<'_>,
        apart: &BindingView<'_>,
        status: ServiceBindingStatus,
    ) -> ServiceBindingStatus {
        if apart.dependencies.role == Role::Current {
            return with_predecessor(view, status);
        }
        let is_switched = !view.is_being_deleted()
            && status.external_properties.is_some()
            && status.current_operation.is_none()
            && condition::find(&status.conditions, Ready).is_some_and(is_injected);
        if is_switched { switched(view, status) } else { with_successor(view, apart, status) }
    }

    fn released(view: &BindingView<'_>, apart: &BindingView<'_>) -> ServiceBindingStatus {
        let mut status = view.status_copy();
        let rotation = status.rotation.get_or_insert_default();
        match apart.dependencies.role {
            Role::Current => rotation.predecessor = None,
            Role::Successor => rotation.successor = None,
        }
        let is_at_rest = condition::find(&status.conditions, Ready).is_some_and(is_injected);
        if is_at_rest && !view.is_being_deleted() {
            let injected = injected(status.without_credentials);
            let since = status.bound_at.as_ref().map_or_else(String::new, |time| {
                format!("; the operator renewed the credentials at {:.0}", time.0)
            });
            let message = format!("{injected}{since}");
            status.set_condition(Ready, True, Reason::InjectedBindResult, &message, view.now);
        }
        show(view, &mut status, None);
        if status.rotation == Some(RotationStatus::default()) {
            status.rotation = None;
        }
        status
    }

    fn changes_at(view: &BindingView<'_>) -> Option<Timestamp> {
        lifetime::next_change(&view.status, view.now)
    }
}

/// The successor of a binding as an object of its own. Until its first intent is written, it is only planned.
pub(super) fn successor_of(decoded: &Decoded<'_, Binding>) -> ServiceBinding {
    let recorded = rotation(decoded).and_then(|rotation| rotation.successor.as_deref().cloned());
    let mut successor = recorded.unwrap_or_default();
    let next = decoded.status.progress.attempt + 1;
    // The current binding may have had a number of its own since.
    if successor.progress.attempt < next && !may_be_at_broker(&successor) {
        successor.progress.attempt = next;
        successor.binding_id = BindingId::default();
    }
    let deleted = decoded.object.metadata.deletion_timestamp.clone();
    as_object(decoded, &successor, deleted)
}

fn successor(view: &BindingView<'_>) -> Apart<Binding> {
    let mut dependencies = view.dependencies.clone();
    if view.is_being_deleted() && view.object.spec.deletion_policy == DeletionPolicy::Prevent {
        dependencies.secret = SecretState::NotOwned;
    }
    let is_valid = view.status.expires_at.as_ref().is_none_or(|end| end.0 > view.now);
    dependencies.predecessor = is_valid.then(|| view.binding_id());
    Apart { object: successor_of(view), dependencies }
}

/// The predecessor of a binding as an object of its own, which is being deleted.
fn predecessor(view: &BindingView<'_>) -> Option<Apart<Binding>> {
    let recorded = rotation(view)?.predecessor.as_deref()?;
    let mut dependencies = view.dependencies.clone();
    dependencies.role = Role::Current;
    if !view.is_being_deleted() || view.object.spec.deletion_policy == DeletionPolicy::Prevent {
        // The Secret has the credentials of the current binding, and stays.
        dependencies.secret = SecretState::NotOwned;
    }
    let mut recorded = recorded.clone();
    let of_object = match dependencies.common.replacement.take() {
        Some(Ok(replacement)) => Some(replacement),
        Some(Err(_)) | None => view.status.resolved.clone(),
    };
    // The broker object may have been replaced by another one since.
    if let (Some(own), Some(of_object)) = (&mut recorded.resolved, of_object)
        && (own.scope, &own.service_id) == (of_object.scope, &of_object.service_id)
    {
        *own = ResolvedOffering { plan_id: own.plan_id.clone(), ..of_object };
    }
    let deleted = view.object.metadata.deletion_timestamp.clone().or_else(|| recorded.unbind_after.clone());
    Some(Apart { object: as_object(view, &recorded, Some(deleted.unwrap_or(Time(view.now)))), dependencies })
}

/// Another binding as an object of its own: the object with the status and the id of this binding. Nobody else has
/// the id, as it follows from the uid.
fn as_object(decoded: &Decoded<'_, Binding>, other: &OtherBinding, deleted: Option<Time>) -> ServiceBinding {
    let (of_object, generation) = (&decoded.status.progress, decoded.generation());
    let mut intent = decoded.intent().cloned().unwrap_or_else(|| Intent {
        cluster: String::new(),
        uid: String::new(),
        derived_id: true,
        creates: false,
        state: IntentState::Observed,
    });
    decoded.uid().clone_into(&mut intent.uid);
    (intent.derived_id, intent.creates) = (true, false);
    let mut status = status_of(other);
    status.progress.observed_intent.clone_from(&of_object.observed_intent);
    status.progress.intent = Some(Arc::new(intent));
    (status.observed_generation, status.reconciled_generation) = (generation, generation);
    if status.binding_id.is_empty() {
        status.binding_id = attempt_id("", decoded.uid(), status.progress.attempt).into();
    }
    let mut object = decoded.object.clone();
    object.metadata.deletion_timestamp = deleted;
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    object.spec.external_id = status.binding_id.to_string();
    object.spec.secret_name = secret_name(decoded.object);
    object.spec.deletion_policy = DeletionPolicy::Delete;
    object.status = Some(status);
    object
}

fn status_of(other: &OtherBinding) -> ServiceBindingStatus {
    let OtherBinding {
        conditions,
        progress,
        current_operation,
        in_progress_properties,
        external_properties,
        unbind_status,
        binding_id,
        instance_id,
        resolved,
        requests: _,
        unbind_after: _,
    } = other.clone();
    ServiceBindingStatus {
        last_condition_state: condition::summary(&conditions),
        conditions,
        progress,
        current_operation,
        in_progress_properties,
        external_properties,
        unbind_status,
        binding_id,
        instance_id,
        resolved,
        ..ServiceBindingStatus::default()
    }
}

fn recorded(status: ServiceBindingStatus) -> OtherBinding {
    let ServiceBindingStatus {
        conditions,
        progress,
        current_operation,
        in_progress_properties,
        external_properties,
        unbind_status,
        binding_id,
        instance_id,
        resolved,
        ..
    } = status;
    OtherBinding {
        conditions,
        // The intent is that of the object.
        progress: Progress { observed_intent: None, intent: None, ..progress },
        current_operation,
        in_progress_properties,
        external_properties,
        unbind_status,
        binding_id,
        instance_id,
        resolved,
        ..OtherBinding::default()
    }
}

/// The status of the object while its successor has this one.
fn with_successor(
    view: &BindingView<'_>,
    apart: &BindingView<'_>,
    successor: ServiceBindingStatus,
) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    let successor = never_given_up(view, apart, successor);
    let ready = condition::find(&successor.conditions, Ready).cloned();
    let rotation = status.rotation.get_or_insert_default();
    let begun = rotation.successor.take().map_or_else(|| requests(view.object), |begun| begun.requests);
    rotation.successor = Some(Box::new(OtherBinding { requests: begun, ..recorded(successor) }));
    show(view, &mut status, ready.as_ref());
    status
}

fn with_predecessor(view: &BindingView<'_>, predecessor: ServiceBindingStatus) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    let ready = condition::find(&predecessor.conditions, Ready).cloned();
    let rotation = status.rotation.get_or_insert_default();
    let unbind_after = rotation.predecessor.take().and_then(|recorded| recorded.unbind_after);
    rotation.predecessor = Some(Box::new(OtherBinding { unbind_after, ..recorded(predecessor) }));
    show(view, &mut status, ready.as_ref());
    status
}

/// Where the engine has given up a successor, and the broker has nothing of it, the operator tries again later with
/// the next id: without new credentials, the workloads lose their access one day.
fn never_given_up(
    view: &BindingView<'_>,
    apart: &BindingView<'_>,
    mut successor: ServiceBindingStatus,
) -> ServiceBindingStatus {
    if !condition::is_true(&successor.conditions, Failed) || may_exist::<Binding>(&successor) {
        return successor;
    }
    let attempt = successor.progress.attempt + 1;
    let retries = attempt - view.status.progress.attempt;
    let next = apart.pace().next_try(retries, None);
    successor.progress = Progress { attempt, retries, ..Progress::default() };
    successor.progress.next_attempt_time = Some(MicroTime(next));
    successor.in_progress_properties = None;
    successor.binding_id = attempt_id("", view.uid(), attempt).into();
    successor.remove_condition(Failed);
    if let Some(ready) = condition::find(&successor.conditions, Ready).cloned() {
        let giving_up = format!("; {}", Binding::TEXTS.after_giving_up);
        let why = ready.message.strip_suffix(&giving_up).unwrap_or(&ready.message);
        let message = messages::with_next_try(why, next);
        successor.set_condition(Ready, ready.status, &ready.reason, &message, view.now);
    }
    successor
}

/// The status of the object when the credentials of its successor, which has this status, are in the Secret.
fn switched(view: &BindingView<'_>, successor: ServiceBindingStatus) -> ServiceBindingStatus {
    let before = view.status_copy();
    let grace = view.object.spec.rotation.and_then(|rotation| rotation.grace_period).and_then(signed);
    let end = later(view.now, grace.unwrap_or(GRACE_PERIOD));
    let end = before.expires_at.as_ref().map_or(end, |expiry| end.min(expiry.0));
    let predecessor = ServiceBindingStatus {
        conditions: vec![],
        progress: Progress { attempt: before.progress.attempt, ..Progress::default() },
        in_progress_properties: None,
        unbind_status: DeletionStatus::Required,
        binding_id: view.binding_id(),
        ..before.clone()
    };
    let begun = rotation(view).and_then(|rotation| rotation.successor.as_deref());
    let observed_requests = begun.map_or_else(|| requests(view.object), |begun| begun.requests);
    let mut status = ServiceBindingStatus {
        conditions: before.conditions,
        progress: Progress {
            attempt: successor.progress.attempt,
            observed_intent: before.progress.observed_intent,
            intent: before.progress.intent,
            ..Progress::default()
        },
        bound_at: successor.bound_at.clone().or(Some(Time(view.now))),
        reconciled_generation: view.generation(),
        observed_generation: view.generation(),
        pods: before.pods,
        restart: before.restart,
        rotation: Some(RotationStatus {
            observed_requests,
            successor: None,
            predecessor: Some(Box::new(OtherBinding {
                unbind_after: Some(Time(end)),
                ..recorded(predecessor)
            })),
        }),
        ..successor
    };
    let message = format!(
        "{}; the operator has renewed the credentials, and deletes the previous binding at {end:.0}",
        injected(status.without_credentials)
    );
    match shown(&status, None, view.now) {
        Some((state, reason, message)) => status.set_condition(Ready, state, reason, &message, view.now),
        None => status.set_condition(Ready, True, Reason::CredentialsRenewed, &message, view.now),
    }
    status
}

/// Sets `Ready` of the object itself while the operator works on its other binding, whose `Ready` is this one.
fn show(view: &BindingView<'_>, status: &mut ServiceBindingStatus, other: Option<&Condition>) {
    if view.is_being_deleted() {
        if let Some(other) = other {
            status.set_condition(Ready, other.status, &other.reason, &other.message, view.now);
        }
        return;
    }
    if !condition::find(&status.conditions, Ready).is_some_and(is_injected) {
        return;
    }
    let is_trouble = |other: &&Condition| {
        other.status != True && !QUIET.iter().any(|reason| reason.as_str() == other.reason)
    };
    let trouble = other.filter(is_trouble).map(|other| &*other.message);
    if let Some((state, reason, message)) = shown(status, trouble, view.now) {
        status.set_condition(Ready, state, reason, &message, view.now);
    }
}

/// The reasons of `Ready` of a successor or predecessor that are not worth telling: all goes well.
const QUIET: [Reason; 5] = [
    Reason::BindingRequestInFlight,
    Reason::Binding,
    Reason::WaitingForTurn,
    Reason::UnbindingRequestInFlight,
    Reason::Unbinding,
];
