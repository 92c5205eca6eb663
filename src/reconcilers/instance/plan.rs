//! What comes next for an instance. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    Call, Cause, InstanceMachine, Recipient, annotations, intent,
    phase::{self, Awaited, Phase, Requested},
    verdict::{available_maintenance, is_id_ours, stuck},
    wanted::{Blocked, wanted},
};
use crate::{
    crd::{
        ConditionStatus::{False, True, Unknown},
        ConditionType::{Failed, Ready},
        FINALIZER, ServiceInstanceStatus,
        condition::{self, Conditioned as _},
        instance::{InstanceProperties, ProvisionStatus},
    },
    osb::wire::Target,
    reconcilers::{
        attempt::identity_of,
        backoff::{self, later, next_poll, retry_at},
        machine::{Observed, Step, Wait},
        offering::{self, Offering},
        reason::Reason,
        write::Write,
    },
};

pub(super) type Seen = Observed<InstanceMachine>;
pub(super) type Next = Step<InstanceMachine>;

/// What comes next?
pub(super) fn plan(observed: &Seen) -> Next {
    let object = &observed.object;
    let status = observed.status();
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    let deleted = object.metadata.deletion_timestamp.is_some();
    if let Some(taken) = intent::taken_over(observed, &status).filter(|_| held) {
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
fn existence(observed: &Seen, status: &ServiceInstanceStatus) -> Next {
    match phase::phase(status) {
        Phase::Deleting { .. } | Phase::Polling(Awaited::Deletion(Cause::Deletion), _) => {
            Step::Record(intent::restored(observed, status))
        }
        Phase::Polling(awaited, since) => poll(observed, status, awaited, since),
        Phase::Mitigating { not_before } => match pending(not_before, observed.now) {
            Some(wait) => wait,
            None => mitigate(observed, status),
        },
        Phase::Settled | Phase::Stuck if phase::is_at_rest(&observed.object, status) => {
            rest(observed, status)
        }
        Phase::Settled => converge(observed, status, Requested::Update, None),
        Phase::Stuck if status.provision_status == ProvisionStatus::Provisioned => {
            converge(observed, status, Requested::Update, None)
        }
        Phase::Stuck => converge(observed, status, Requested::Provision, None),
        Phase::Absent { not_before } => converge(observed, status, Requested::Provision, not_before),
        Phase::Retrying(requested, at) => go_on(observed, status, requested, at),
        Phase::Intending(requested, sent) => {
            let uid = observed.object.uid().unwrap_or_default();
            let again = retry_at(sent, status.progress.retries, &uid, &observed.tunables);
            go_on(observed, status, requested, again)
        }
    }
}

/// The spec has been acted on. What the catalog says may still be news, and so may annotations.
fn rest(observed: &Seen, status: &ServiceInstanceStatus) -> Next {
    let shown = ServiceInstanceStatus {
        available_maintenance: available_maintenance(observed, status.external_properties.as_ref()),
        ..status.clone()
    };
    if shown != *status {
        return Step::Record(shown);
    }
    let settled = phase::phase(status) == Phase::Settled;
    let told = (settled && annotations::have_moved(observed, status))
        .then(|| annotations::tell(observed, status, None))
        .flatten();
    told.unwrap_or(Step::Wait(Wait::ForChange))
}

/// Repeats what was asked, when it is time, unless the spec says something else by now.
fn go_on(
    observed: &Seen,
    status: &ServiceInstanceStatus,
    requested: Requested,
    not_before: Timestamp,
) -> Next {
    (phase::is_seen(&observed.object, status) && annotations::are_being_told(status))
        .then(|| annotations::tell(observed, status, Some(not_before)))
        .flatten()
        .unwrap_or_else(|| converge(observed, status, requested, Some(not_before)))
}

/// Asks the broker for what the spec says, when it is time.
fn converge(
    observed: &Seen,
    status: &ServiceInstanceStatus,
    requested: Requested,
    not_before: Option<Timestamp>,
) -> Next {
    let wanted = match wanted(observed, status, requested) {
        Ok(wanted) => wanted,
        Err(blocked) => return report(observed, status, &blocked),
    };
    let moved = phase::has_moved(&observed.object, status);
    let pending = pending(not_before, observed.now);
    match requested {
        Requested::Provision => {
            let asked = status.in_progress_properties.as_ref();
            if asked.is_some_and(|asked| !wanted.is(asked)) && phase::is_in_doubt(status) {
                // What was asked may have been done; another request under the same id would be another instance.
                return Step::Record(asked_otherwise(observed, status));
            }
            match pending {
                Some(wait) if !moved => wait,
                Some(_) | None => intent::provision(observed, status, &wanted),
            }
        }
        Requested::Update => {
            let acknowledged = status.external_properties.as_ref();
            let differs = acknowledged.is_none_or(|acknowledged| !wanted.is(acknowledged));
            let seen = phase::seen_update_requests(&observed.object, status);
            let forced = observed.object.spec.update_requests > seen;
            let broken = status.unusable;
            // An update that says nothing would be one of the context alone, which an offering has to allow.
            let says_something =
                observed.world.is_plan_updatable(wanted.offering) || wanted.parameters.to_send().is_some();
            let asks = differs || ((forced || broken) && says_something) || phase::is_in_doubt(status);
            if !asks {
                return record_or(
                    status,
                    up_to_date(observed, status, wanted.offering),
                    Step::Wait(Wait::ForChange),
                );
            }
            match pending {
                Some(wait) if !moved => wait,
                Some(_) | None => intent::update(observed, status, &wanted),
            }
        }
    }
}

/// What was asked may have been done, and something else is wanted now.
fn asked_otherwise(observed: &Seen, status: &ServiceInstanceStatus) -> ServiceInstanceStatus {
    let mut status = status.clone();
    status.progress.unanswered = true;
    let reason = Reason::ProvisionCallFailed;
    if is_id_ours(observed) {
        status.unmark(Failed);
        let why = "The spec or a parameter Secret has changed while a provision was unanswered";
        return intent::start_mitigation(observed, &status, reason, why, true);
    }
    let message = format!(
        "The spec or a parameter Secret has changed while a provision under spec.externalID {:?} was unanswered: set it back \
         to what it was, or delete this ServiceInstance, and with it what has this id at the broker",
        observed.object.spec.external_id
    );
    intent::observe_spec(observed, &mut status);
    stuck(observed, status, (reason, reason), &message)
}

/// Says in status why nothing happens, and waits.
fn report(observed: &Seen, status: &ServiceInstanceStatus, blocked: &Blocked) -> Next {
    // The generation and the `updateRequests` stay unseen: they will be acted on when nothing stands in the way.
    let mut said = status.clone();
    intent::show_spec(observed, &mut said);
    said.unmark(Failed);
    said.mark(Ready, False, blocked.reason, &blocked.message, observed.now);
    said.confirm(generation(observed));
    record_or(status, said, Step::Wait(blocked.wait))
}

/// The spec has moved, but what the broker has is what it asks for.
fn up_to_date(observed: &Seen, status: &ServiceInstanceStatus, plan: &Offering) -> ServiceInstanceStatus {
    // The plan that was last asked for may be another one, which the broker has refused.
    let mut settled = ServiceInstanceStatus { resolved: Some(plan.to_record()), ..status.clone() };
    intent::observe_spec(observed, &mut settled);
    intent::end_operation(&mut settled);
    settled.in_progress_properties = None;
    settled.external_properties = settled.external_properties.map(|had| had.with_plan_name(&plan.plan_name));
    if settled.unusable {
        // The broker's last word: nothing that the spec says now can repair it.
        if !condition::is_true(&settled.conditions, Failed) {
            let message = "The instance is as its spec asks, but the broker says that it cannot be used since an update of it \
                           failed: change its plan or parameters, or delete it";
            settled.mark(Ready, False, Reason::UpdateInstanceCallFailed, message, observed.now);
        }
        settled.confirm(generation(observed));
        return settled;
    }
    settled.reconciled_generation = settled.observed_generation;
    let failed = condition::is_true(&settled.conditions, Failed);
    settled.unmark(Failed);
    if failed || !condition::is_true(&settled.conditions, Ready) {
        settled.mark(
            Ready,
            True,
            Reason::InstanceUpdatedSuccessfully,
            "The instance is as its spec asks",
            observed.now,
        );
    }
    settled.confirm(generation(observed));
    settled
}

fn generation(observed: &Seen) -> i64 {
    observed.object.metadata.generation.unwrap_or(0)
}

/// For an object that is to go.
fn removal(observed: &Seen, status: &ServiceInstanceStatus) -> Next {
    let phase = phase::phase(status);
    if let Phase::Polling(awaited, since) = phase {
        return poll(observed, status, awaited, since);
    }
    if !phase::may_exist(status) {
        return Step::RemoveFinalizer;
    }
    if !observed.world.bindings.is_empty() {
        return unbind_first(observed, status);
    }
    match not_deleted_before(observed, status, phase).filter(|at| *at > observed.now) {
        None => deprovision(observed, status),
        Some(at) if matches!(phase, Phase::Deleting { .. }) => Step::Wait(Wait::Until(at)),
        Some(at) => {
            let message = format!(
                "What an unfinished provision may have left is deleted at the broker after {at:.0}, when it can no longer take effect"
            );
            say(observed, status, (False, Reason::DeprovisionRequestInFlight, &message), Wait::Until(at))
        }
    }
}

/// Bindings go before their instance: by themselves where that is set, else when their users delete them.
fn unbind_first(observed: &Seen, status: &ServiceInstanceStatus) -> Next {
    let bindings = &observed.world.bindings;
    let names = bindings.iter().map(|binding| binding.name_any()).collect::<Vec<_>>().join(", ");
    if !observed.tunables.cascading_deletion {
        let message = format!(
            "All associated ServiceBindings must be removed before this ServiceInstance can be deleted: delete {names}"
        );
        let reason = Reason::DeprovisionBlockedByExistingCredentials;
        return say(observed, status, (False, reason, &message), Wait::ForChange);
    }
    let message = format!("The ServiceBindings of this ServiceInstance are being deleted first: {names}");
    let to_delete = bindings.iter().filter(|binding| binding.metadata.deletion_timestamp.is_none());
    let writes: Vec<Write> = to_delete.map(|binding| Write::delete(&**binding)).collect();
    let mut said = status.clone();
    said.mark(Ready, False, Reason::ServiceBindingsDeletion, &message, observed.now);
    let next = if writes.is_empty() { Step::Wait(Wait::ForChange) } else { Step::Write(writes) };
    record_or(status, said, next)
}

/// A DELETE proves something only when no create can take effect any more, and a broker that failed is given time.
fn not_deleted_before(observed: &Seen, status: &ServiceInstanceStatus, phase: Phase) -> Option<Timestamp> {
    let quiet = |sent| later(sent, observed.tunables.quiet_period());
    match phase {
        Phase::Intending(Requested::Provision, sent) => Some(quiet(sent)),
        Phase::Retrying(Requested::Provision, _) | Phase::Absent { .. } | Phase::Stuck
            if status.progress.unanswered && status.provision_status != ProvisionStatus::Provisioned =>
        {
            status.progress.last_attempt_time.as_ref().map(|sent| quiet(sent.0))
        }
        Phase::Mitigating { not_before } | Phase::Deleting { not_before } => not_before,
        Phase::Intending(..)
        | Phase::Retrying(..)
        | Phase::Absent { .. }
        | Phase::Stuck
        | Phase::Settled
        | Phase::Polling(..) => None,
    }
}

fn deprovision(observed: &Seen, status: &ServiceInstanceStatus) -> Next {
    let Some((recipient, target)) = addressee(observed, status) else {
        let message = "it is not recorded at which broker the instance is, and the class in spec does not exist any more; \
                       create the class again, or remove the finalizer to forget the instance";
        return say(
            observed,
            status,
            (Unknown, Reason::ReferencesNonexistentServiceClass, message),
            Wait::ForChange,
        );
    };
    if status.resolved.is_some() && !observed.world.recorded_broker_exists {
        let message = format!(
            "the {} does not exist, so the instance cannot be deleted there; create the broker again, or remove the finalizer to forget the instance",
            recipient.broker
        );
        return say(
            observed,
            status,
            (Unknown, Reason::ReferencesNonexistentBroker, &message),
            Wait::ForChange,
        );
    }
    Step::Call { before: vec![], call: Call::Deprovision(recipient, target, Cause::Deletion) }
}

/// Deletes what an unsuccessful create may have left. The intent makes sure that nobody else has gone on meanwhile.
fn mitigate(observed: &Seen, status: &ServiceInstanceStatus) -> Next {
    match addressee(observed, status) {
        Some((recipient, target)) => {
            let mut intent = status.clone();
            // Where the original gave up, only the outcome of its deletion says that there is something to undo.
            intent.progress.orphan_mitigation_in_progress = true;
            intent.progress.stamp(observed.now);
            Step::Attempt { intent, call: Call::Deprovision(recipient, target, Cause::Mitigation) }
        }
        None => Step::Wait(Wait::ForChange),
    }
}

/// Asks what became of an operation, when it is time.
fn poll(observed: &Seen, status: &ServiceInstanceStatus, awaited: Awaited, since: Timestamp) -> Next {
    let due = next_poll(observed, since, polled_until(observed, awaited, since));
    if let Some(wait) = pending(due, observed.now) {
        return wait;
    }
    let Some((mut recipient, mut target)) = addressee(observed, status) else {
        return Step::Wait(Wait::ForChange);
    };
    let asked = status.in_progress_properties.as_ref().and_then(|asked| asked.user_info.as_ref());
    match awaited {
        // Who has changed an annotation is not known.
        Awaited::Update if annotations::are_being_told(status) => recipient.identity = None,
        Awaited::Provision | Awaited::Update if asked.is_some() => recipient.identity = identity_of(asked),
        Awaited::Provision | Awaited::Update | Awaited::Deletion(_) => {}
    }
    // While a plan changes, the plan before the change is named (OSB 2.17, "Polling Last Operation").
    if let (Awaited::Provision, Some(asked)) = (awaited, &status.in_progress_properties) {
        asked.plan_id().clone_into(&mut target.plan_id);
    }
    Step::Call { before: vec![], call: Call::Poll(recipient, target, status.progress.last_operation.clone()) }
}

/// Until when an operation is polled. A deletion is sent again then, so that the creates before it do not count.
pub(super) fn polled_until(observed: &Seen, awaited: Awaited, accepted: Timestamp) -> Timestamp {
    let status = observed.object.status.as_ref();
    let creates = status.filter(|_| !matches!(awaited, Awaited::Deletion(_)));
    let began = creates.and_then(|status| status.progress.operation_start_time.as_ref());
    let plans_limit = observed.world.maximum_polling_duration();
    backoff::polled_until(&observed.tunables, accepted, began, plans_limit)
}

/// To whom a request about what exists goes, from what was recorded: class, plan and catalog may have changed since.
/// An object of the original that records nothing is resolved anew.
pub(super) fn addressee(observed: &Seen, status: &ServiceInstanceStatus) -> Option<(Recipient, Target)> {
    let object = &observed.object;
    let resolved =
        status.resolved.clone().or_else(|| observed.world.offering.as_ref().ok().map(Offering::to_record))?;
    let properties = status.external_properties.as_ref().or(status.in_progress_properties.as_ref());
    let plan_id =
        properties.map(InstanceProperties::plan_id).filter(|id| !id.is_empty()).unwrap_or(&resolved.plan_id);
    let recipient = Recipient {
        broker: offering::recorded_broker(&resolved, &object.namespace().unwrap_or_default()),
        instance_id: phase::instance_id(object, status),
        identity: identity_of(object.spec.user_info.as_ref()),
    };
    Some((recipient, Target { service_id: resolved.service_id.clone(), plan_id: plan_id.to_owned() }))
}

fn say(
    observed: &Seen,
    status: &ServiceInstanceStatus,
    (state, reason, message): (crate::crd::ConditionStatus, Reason, &str),
    wait: Wait,
) -> Next {
    let mut said = status.clone();
    said.mark(Ready, state, reason, message, observed.now);
    said.confirm(generation(observed));
    record_or(status, said, Step::Wait(wait))
}

fn record_or(present: &ServiceInstanceStatus, said: ServiceInstanceStatus, otherwise: Next) -> Next {
    if said == *present { otherwise } else { Step::Record(said) }
}

pub(super) fn pending(not_before: Option<Timestamp>, now: Timestamp) -> Option<Next> {
    not_before.filter(|at| *at > now).map(|at| Step::Wait(Wait::Until(at)))
}
