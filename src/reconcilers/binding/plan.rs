//! What comes next for a binding. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    BindingMachine, Call, Cause, Recipient,
    intent::{self, Wanted},
    lifetime,
    phase::{self, Awaited, Phase},
    secret::{self, SETTLING, SecretState, secret_name},
    takeover,
    wanted::{Blocked, wanted},
};
use crate::{
    crd::{
        ConditionStatus::{self, False, True, Unknown},
        ConditionType::{Failed, Ready},
        FINALIZER, ServiceBindingStatus,
        condition::{self, Conditioned as _},
    },
    osb::{outcome::Lifetime, wire::Target},
    reconcilers::{
        attempt::identity_of,
        backoff::{self, later, next_poll, retry_at},
        instance::phase as instance_phase,
        machine::{Observed, Step, Wait},
        offering,
        reason::Reason,
        secret::taken,
    },
};

pub(super) type Seen = Observed<BindingMachine>;
pub(super) type Next = Step<BindingMachine>;

/// What comes next?
pub(super) fn plan(observed: &Seen) -> Next {
    let object = &observed.object;
    let status = observed.status();
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    let deleted = object.metadata.deletion_timestamp.is_some();
    if let Some(taken) = takeover::taken_over(observed, &status).filter(|_| held) {
        return Step::Record(taken);
    }
    match (deleted, held) {
        (true, true) => removal(observed, &status),
        (true, false) => Step::Wait(Wait::ForChange),
        // A person has taken the finalizer away (`svcat … --abandon`): let go of the object.
        (false, false) if phase::is_recorded(&status) => Step::Wait(Wait::ForChange),
        (false, false) => Step::AddFinalizer,
        (false, true) => existence(observed, &status),
    }
}

/// For an object that is to exist.
fn existence(observed: &Seen, status: &ServiceBindingStatus) -> Next {
    match phase::phase(status) {
        Phase::Unbinding { .. } | Phase::Polling(Awaited::Unbind(Cause::Deletion), _) => {
            Step::Record(intent::restored(observed, status))
        }
        Phase::Polling(awaited, since) => poll(observed, status, awaited, since),
        Phase::Mitigating { not_before } => {
            pending(not_before, observed.now).unwrap_or_else(|| mitigate(observed, status))
        }
        Phase::Settled { not_before } => settled(observed, status, not_before),
        Phase::Stuck if phase::is_reopened(&observed.object, status) => converge(observed, status, None),
        Phase::Stuck => Step::Wait(Wait::ForChange),
        Phase::Absent { not_before } => converge(observed, status, not_before),
        Phase::Retrying(at) => converge(observed, status, Some(at)),
        Phase::Intending(sent) => {
            if let Some(lifetime) = secret::is_written(&observed.world.secret, status) {
                // The answer came and its credentials were written; only the word about it was lost.
                return Step::Record(intent::settle(observed, status, lifetime, intent::INJECTED));
            }
            let uid = observed.object.uid().unwrap_or_default();
            converge(
                observed,
                status,
                Some(retry_at(sent, status.progress.retries, &uid, &observed.tunables)),
            )
        }
    }
}

/// The credentials were written once. Are they still there?
fn settled(observed: &Seen, status: &ServiceBindingStatus, not_before: Option<Timestamp>) -> Next {
    match &observed.world.secret {
        state if secret::is_lost(state, &observed.object) => {
            pending(not_before, observed.now).unwrap_or_else(|| restore(observed, status))
        }
        SecretState::Ours { binding_id, uid, .. } if binding_id.is_empty() => {
            Step::Write(vec![secret::mark(&observed.object, status, uid.clone())])
        }
        SecretState::Ours { lifetime, .. } => aging(observed, status, *lifetime),
        SecretState::Unchecked | SecretState::Missing => {
            let settling =
                observed.memory.answered.map(|at| later(at, SETTLING)).filter(|at| *at > observed.now);
            Step::Wait(settling.map_or(Wait::ForChange, Wait::Until))
        }
        SecretState::Foreign => {
            let refused =
                taken(&observed.object.namespace().unwrap_or_default(), &secret_name(&observed.object));
            let recheck = Wait::Until(later(observed.now, observed.tunables.recheck_interval));
            say(observed, status, (False, Reason::ErrorInjectingBindResult, &refused.message), recheck)
        }
    }
}

/// The credentials are there. Are they still good?
fn aging(observed: &Seen, status: &ServiceBindingStatus, lifetime: Lifetime) -> Next {
    let until = lifetime::next(status, observed.now).map_or(Wait::ForChange, Wait::Until);
    match lifetime::word(status, observed.now) {
        Some((state, reason, message)) => say(observed, status, (state, reason, &message), until),
        None if condition::is_true(&status.conditions, Ready) => Step::Wait(until),
        None => Step::Record(intent::settle(observed, status, lifetime, intent::INJECTED)),
    }
}

/// The Secret is gone: the credentials are fetched, or, where the broker cannot be asked for them, bound again under
/// the same id.
fn restore(observed: &Seen, status: &ServiceBindingStatus) -> Next {
    let retrievable = matches!(&observed.world.offering, Some(Ok(offering)) if offering.bindings_retrievable);
    if !retrievable {
        return converge(observed, status, None);
    }
    match addressee(observed, status) {
        Some((recipient, target)) => Step::Call { before: vec![], call: Call::Fetch(recipient, target) },
        None => Step::Wait(Wait::ForChange),
    }
}

/// Asks the broker for credentials, when it is time.
fn converge(observed: &Seen, status: &ServiceBindingStatus, not_before: Option<Timestamp>) -> Next {
    let wanted = match wanted(observed) {
        Ok(wanted) => wanted,
        Err(blocked) => return report(observed, status, &blocked),
    };
    if is_asked_otherwise(status, &wanted) {
        // What was asked may have been done; another request under the same id would be refused by the broker.
        let why = "The parameters or the instance have changed since the broker was asked";
        let may_still_come = matches!(phase::phase(status), Phase::Intending(_));
        return Step::Record(intent::start_mitigation(observed, status, why, may_still_come));
    }
    pending(not_before, observed.now).unwrap_or_else(|| intent::bind(observed, status, &wanted))
}

/// Whether the broker may have done something else than what is wanted now.
fn is_asked_otherwise(status: &ServiceBindingStatus, wanted: &Wanted<'_>) -> bool {
    let elsewhere = !status.instance_id.is_empty() && status.instance_id != wanted.instance_id;
    let unanswered = status.progress.unanswered || matches!(phase::phase(status), Phase::Intending(_));
    let asked = status.in_progress_properties.as_ref();
    let otherwise = asked.is_some_and(|asked| asked.parameter_checksum != wanted.parameters.checksum())
        || status.resolved.as_ref().is_some_and(|resolved| resolved.plan_id != wanted.resolved.plan_id);
    (unanswered && otherwise) || (phase::may_exist(status) && elsewhere)
}

/// Says in status why nothing happens, and waits.
fn report(observed: &Seen, status: &ServiceBindingStatus, blocked: &Blocked) -> Next {
    let mut said = status.clone();
    said.observed_generation = observed.object.metadata.generation.unwrap_or(0);
    said.mark(Ready, False, blocked.reason, &blocked.message, observed.now);
    // A binding that the broker has is not given up for what its class says today.
    let is_owed = phase::may_exist(status);
    if !blocked.for_good && !is_owed {
        // It had been, and goes on.
        said.unmark(Failed);
    }
    if blocked.for_good && !is_owed {
        said.mark(Failed, True, blocked.reason, &blocked.message, observed.now);
        said.reconciled_generation = observed.object.metadata.generation.unwrap_or(0);
    }
    if said == *status { Step::Wait(blocked.wait) } else { Step::Record(said) }
}

/// For an object that is to go.
fn removal(observed: &Seen, status: &ServiceBindingStatus) -> Next {
    let phase = phase::phase(status);
    if let Phase::Polling(awaited, since) = phase {
        return poll(observed, status, awaited, since);
    }
    if !phase::may_exist(status) {
        return Step::RemoveFinalizer;
    }
    match not_unbound_before(observed, status, phase).filter(|at| *at > observed.now) {
        None => unbind(observed, status),
        Some(at) if matches!(phase, Phase::Unbinding { .. }) => Step::Wait(Wait::Until(at)),
        Some(at) => {
            let message = format!(
                "What an unfinished bind may have left is deleted at the broker after {at:.0}, when it can no longer take effect"
            );
            say(observed, status, (False, Reason::UnbindingRequestInFlight, &message), Wait::Until(at))
        }
    }
}

/// A DELETE proves something only when no bind can take effect any more, and a broker that failed is given time.
fn not_unbound_before(observed: &Seen, status: &ServiceBindingStatus, phase: Phase) -> Option<Timestamp> {
    let quiet = |sent| later(sent, observed.tunables.quiet_period());
    match phase {
        Phase::Intending(sent) => Some(quiet(sent)),
        Phase::Retrying(_) | Phase::Absent { .. } | Phase::Stuck if status.progress.unanswered => {
            status.progress.last_attempt_time.as_ref().map(|sent| quiet(sent.0))
        }
        Phase::Mitigating { not_before } | Phase::Unbinding { not_before } => not_before,
        Phase::Retrying(_)
        | Phase::Absent { .. }
        | Phase::Stuck
        | Phase::Settled { .. }
        | Phase::Polling(..) => None,
    }
}

fn unbind(observed: &Seen, status: &ServiceBindingStatus) -> Next {
    let Some((recipient, target)) = addressee(observed, status) else {
        let message = "it is not recorded at which broker the binding is, and its instance does not exist any more; \
                       remove the finalizer to forget the binding";
        return say(
            observed,
            status,
            (Unknown, Reason::ReferencesNonexistentInstance, message),
            Wait::ForChange,
        );
    };
    if status.resolved.is_some() && !observed.world.recorded_broker_exists {
        let message = format!(
            "the {} does not exist, so the binding cannot be deleted there; create the broker again, or remove the finalizer to forget the binding",
            recipient.broker
        );
        return say(
            observed,
            status,
            (Unknown, Reason::ReferencesNonexistentBroker, &message),
            Wait::ForChange,
        );
    }
    if is_instance_busy(observed) {
        let message = "the instance has an operation in progress; the binding is deleted when it has ended";
        let said = (False, Reason::ErrorAsyncOperationInProgress, message);
        return say(observed, status, said, Wait::ForChange);
    }
    // The credentials disappear before they are revoked, so that nothing starts with ones that are about to fail.
    let before = secret::remove(&observed.object, &observed.world.secret);
    Step::Call { before, call: Call::Unbind(recipient, target, Cause::Deletion) }
}

/// Whether the broker has accepted an operation on the instance: whether another one may overlap it is the broker's choice, so
/// none does (OSB 2.17, "Blocking Operations").
fn is_instance_busy(observed: &Seen) -> bool {
    let status = observed.world.instance.as_ref().and_then(|instance| instance.status.as_ref());
    status.is_some_and(|status| status.progress.async_op_in_progress)
}

/// Deletes what an unsuccessful bind may have left. Why is on show already.
fn mitigate(observed: &Seen, status: &ServiceBindingStatus) -> Next {
    if is_instance_busy(observed) {
        return Step::Wait(Wait::ForChange);
    }
    match addressee(observed, status) {
        Some((recipient, target)) => {
            let mut intent = status.clone();
            intent.progress.stamp(observed.now);
            Step::Attempt { intent, call: Call::Unbind(recipient, target, Cause::Mitigation) }
        }
        None => Step::Wait(Wait::ForChange),
    }
}

/// Asks what became of an operation, when it is time.
fn poll(observed: &Seen, status: &ServiceBindingStatus, awaited: Awaited, since: Timestamp) -> Next {
    let due = next_poll(observed, since, polled_until(observed, awaited, since));
    if let Some(wait) = pending(due, observed.now) {
        return wait;
    }
    match addressee(observed, status) {
        Some((recipient, target)) => Step::Call {
            before: vec![],
            call: Call::Poll(recipient, target, status.progress.last_operation.clone()),
        },
        None => Step::Wait(Wait::ForChange),
    }
}

/// Until when an operation is polled. A deletion is sent again then, so that the binds before it do not count.
pub(super) fn polled_until(observed: &Seen, awaited: Awaited, accepted: Timestamp) -> Timestamp {
    let status = observed.object.status.as_ref();
    let binds = status.filter(|_| awaited == Awaited::Bind);
    let began = binds.and_then(|status| status.progress.operation_start_time.as_ref());
    let plans_limit = observed.world.maximum_polling_duration;
    backoff::polled_until(&observed.tunables, accepted, began, plans_limit)
}

/// To whom a request about what exists goes, from what was recorded. An object of the original that records nothing is
/// resolved by its instance; and the plan is the one that the broker has for the instance now.
pub(super) fn addressee(observed: &Seen, status: &ServiceBindingStatus) -> Option<(Recipient, Target)> {
    let (object, world) = (&observed.object, &observed.world);
    let instance = world.instance.as_deref();
    let instance_status = instance.and_then(|instance| instance.status.clone()).unwrap_or_default();
    let present = instance.map(|instance| instance_phase::instance_id(instance, &instance_status));
    let resolved = status.resolved.clone().or(instance_status.resolved).or_else(|| {
        let offering = world.offering.as_ref()?.as_ref().ok()?;
        Some(offering.to_record())
    })?;
    let recorded = Some(status.instance_id.clone()).filter(|id| !id.is_empty());
    let instance_id = recorded.or_else(|| present.clone())?;
    let plan_id = instance_status
        .external_properties
        .map(|properties| properties.plan_id().to_owned())
        .filter(|id| !id.is_empty() && present.as_ref() == Some(&instance_id))
        .unwrap_or(resolved.plan_id.clone());
    let recipient = Recipient {
        broker: offering::recorded_broker(&resolved, &object.namespace().unwrap_or_default()),
        instance_id,
        binding_id: phase::binding_id(object, status),
        identity: identity_of(object.spec.user_info.as_ref()),
    };
    Some((recipient, Target { service_id: resolved.service_id, plan_id }))
}

fn say(
    observed: &Seen,
    status: &ServiceBindingStatus,
    (state, reason, message): (ConditionStatus, Reason, &str),
    wait: Wait,
) -> Next {
    let mut said = status.clone();
    said.observed_generation = observed.object.metadata.generation.unwrap_or(0);
    said.mark(Ready, state, reason, message, observed.now);
    if said == *status { Step::Wait(wait) } else { Step::Record(said) }
}

fn pending(not_before: Option<Timestamp>, now: Timestamp) -> Option<Next> {
    not_before.filter(|at| *at > now).map(|at| Step::Wait(Wait::Until(at)))
}
