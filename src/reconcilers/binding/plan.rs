//! What is the next step for a binding? This file has the decisions that only bindings have. All functions
//! are pure.

use jiff::{SignedDuration, Timestamp};

use super::{
    Binding, BindingAction, BindingRequest, BindingView,
    desired::{DesiredBinding, desired_binding},
    lifetime, requests, restarts,
    rotation::{self, Role},
    secret::{self, SECRET_WATCH_DELAY, SecretState, secret_name},
    status::{self, edited, injected, misshapen},
};
use crate::{
    clock::later,
    crd::{ConditionStatus::False, ConditionType::Ready, ServiceBindingStatus, common::ResolvedOffering},
    osb::outcome::Lifetime,
    reconcilers::{
        legacy,
        operation::{
            Address, Call, NextStep, Phase,
            call::RequestHooks as _,
            deletion_policy,
            obstacle::{self, ClearsOn},
            plan::delete_regardless_at,
            status::start_mitigation,
            steps::{PlanHooks, record_or, record_ready_and_wait, wait_until},
        },
        reason::Reason,
        reconciler::{Step, Wait},
        writes::{Write, secret::name_taken},
    },
};

impl PlanHooks for Binding {
    fn legacy_record(view: &BindingView<'_>) -> Option<ServiceBindingStatus> {
        if view.status.resolved.is_some() || !view.may_exist() {
            return None;
        }
        // The status of the instance must have its class and plan first.
        let resolved = view.dependencies.instance()?.status.resolved.clone()?;
        let (Address { instance_id, binding_id, .. }, target) = Self::recorded_target(view)?;
        let resolved = ResolvedOffering { plan_id: target.plan_id, ..resolved };
        let ids = (instance_id, binding_id?);
        Some(legacy::bindings::record(view.status_copy(), resolved, ids, view.generation()))
    }

    /// Checks whether the Secret with the credentials still exists.
    fn plan_present(view: &BindingView<'_>, not_before: Option<Timestamp>) -> NextStep<Self> {
        match &view.dependencies.secret {
            state if secret::is_secret_lost(state, view) => {
                // What the spec says now may do what could not be done before.
                let not_before = not_before.filter(|_| !view.spec_has_changed());
                wait_until(view, not_before).unwrap_or_else(|| plan_restore(view))
            }
            // `is_secret_lost` says so too.
            SecretState::Edited { .. } => plan_restore(view),
            SecretState::Owned { binding_id, uid, .. } if binding_id.is_empty() => {
                Step::Write(vec![secret::label(view, uid.clone())])
            }
            SecretState::Owned { written, .. } => match plan_expiry(view, written.lifetime) {
                Step::Wait(wait) => restarts::plan(view, wait),
                step => step,
            },
            SecretState::Adoptable { uid, .. } => Step::Write(vec![secret::adopt(view, uid.clone())]),
            SecretState::Unchecked | SecretState::Missing => {
                let recheck_at =
                    view.memory.answered.map(|at| later(at, SECRET_WATCH_DELAY)).filter(|at| *at > view.now);
                Step::Wait(Wait::until_first(recheck_at))
            }
            SecretState::NotOwned => {
                let rejected = name_taken(view.namespace(), &secret_name(view.object));
                let recheck = Wait::Until(later(view.now, view.settings.recheck_interval));
                record_ready_and_wait(
                    view,
                    (False, Reason::ErrorInjectingBindResult, &rejected.message),
                    recheck,
                )
            }
        }
    }

    fn plan_failed(view: &BindingView<'_>) -> NextStep<Self> {
        if view.is_retried_after_failure() {
            Self::plan_request(view, BindingAction::Bind, None)
        } else {
            Step::Wait(Wait::ForChange)
        }
    }

    fn plan_request(
        view: &BindingView<'_>,
        BindingAction::Bind: BindingAction,
        not_before: Option<Timestamp>,
    ) -> NextStep<Self> {
        if let Some(written) = written(view) {
            return Step::Record(written);
        }
        let desired = match desired_binding(view) {
            Ok(desired) => desired,
            Err(obstacle) => {
                let wait = if view.spec_has_changed() { None } else { wait_until(view, not_before) };
                // A renewal is never given up, so it has a next time.
                let is_given_up = obstacle.clears_on == ClearsOn::SpecChange;
                if view.dependencies.role == Role::Successor
                    && is_given_up
                    && let Some(wait) = wait
                {
                    return wait;
                }
                return obstacle::report_or_wait(view, &obstacle, wait);
            }
        };
        if conflicts_with_earlier_request(view, &desired) {
            // The request may have taken effect. The broker would refuse another request with the same id
            // (OSB 2.17, "Binding", 409).
            let why = "The parameters or the instance have changed since the broker was asked";
            let may_take_effect_late = matches!(view.phase, Phase::RequestInFlight(..));
            let reason = Reason::BindCallFailed;
            return Step::Record(start_mitigation(
                view,
                view.status_copy(),
                reason,
                why,
                may_take_effect_late,
            ));
        }
        let schema = (desired.plan.schemas.bind.as_ref(), &*desired.plan.plan_name);
        if let Err(obstacle) = obstacle::check_schema(view, desired.parameters, schema) {
            return obstacle::report(view, &obstacle);
        }
        wait_until(view, not_before).unwrap_or_else(|| requests::bind(view, &desired))
    }

    /// The operator deletes the binding when no operation of the instance is in progress (OSB 2.17, "Blocking
    /// Operations"). It does not wait long for that, as the operation need not end.
    fn plan_before_deletion(view: &BindingView<'_>) -> Option<NextStep<Self>> {
        if deletion_policy::awaits_end(view)
            && let Some(written) = written(view)
        {
            // It is to be retained, and somebody may use the credentials.
            return Some(Step::Record(written));
        }
        let at = delete_regardless_at(view);
        let is_blocked =
            view.dependencies.is_instance_operation_in_progress() && !deletion_policy::keeps(view);
        if !is_blocked || at <= view.now {
            return None;
        }
        let message = format!(
            "the instance has an operation in progress; the operator deletes the binding when it has ended, or at {at:.0} \
             even if it has not"
        );
        let ready = (False, Reason::ErrorAsyncOperationInProgress, &*message);
        Some(record_ready_and_wait(view, ready, Wait::Until(at)))
    }

    /// The Secret is deleted before the credentials are revoked, so that no workload starts with credentials
    /// that are about to become invalid.
    fn writes_before_deletion(view: &BindingView<'_>) -> Vec<Write> {
        secret::remove(view.object, &view.dependencies.secret)
    }

    fn is_mitigation_blocked(view: &BindingView<'_>) -> bool {
        view.dependencies.is_instance_operation_in_progress()
    }

    fn may_take_effect_late(_: &BindingView<'_>) -> bool {
        true
    }
}

/// The status if the broker answered and the credentials were written, and only the status that says so was lost.
fn written(view: &BindingView<'_>) -> Option<ServiceBindingStatus> {
    let written = secret::written(&view.dependencies.secret, &view.status)?;
    let is_open = matches!(view.phase, Phase::RequestInFlight(..));
    is_open.then(|| status::ready_as_written(view, written, injected(view.status.without_credentials)))
}

/// The next step when the Secret exists: the credentials may have expired.
fn plan_expiry(view: &BindingView<'_>, lifetime: Lifetime) -> NextStep<Binding> {
    let until = until_next_change(view);
    match status::shown(&view.status, None, view.now) {
        Some((state, reason, message)) => record_ready_and_wait(view, (state, reason, &message), until),
        // The Secret is as the spec asks for. What else can have changed, `deletionPolicy` and `pods`, asks for nothing. An
        // object that was restored with its status can have a lower generation than its status. v0.3 writes no
        // `observedGeneration`.
        None if view.is_true(Ready) && view.status.reconciled_generation == view.generation() => {
            record_or(view, status::naming_secret(view), Step::Wait(until))
        }
        None => Step::Record(status::ready(view, lifetime, &status::still_injected(view))),
    }
}

/// Until the credentials have expired, or are to be renewed, or the previous ones end.
fn until_next_change(view: &BindingView<'_>) -> Wait {
    let unbind_at = rotation::unbind_at(view).filter(|at| *at > view.now);
    let times = [lifetime::next_change(&view.status, view.now), rotation::renewal_at(view), unbind_at];
    Wait::until_first(times.into_iter().flatten())
}

/// The next step when the Secret has another shape than the spec asks for, and the operator cannot ask for the credentials.
/// They are as valid as before.
fn plan_misshapen(view: &BindingView<'_>) -> NextStep<Binding> {
    let message = misshapen(&secret_name(view.object));
    record_or(
        view,
        status::ready(view, lifetime::recorded(&view.status), &message),
        Step::Wait(until_next_change(view)),
    )
}

/// How often the Secret is put right. Somebody who changes it again at once, as tools do that know another content,
/// must not keep the broker busy.
const PUT_RIGHT_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Whether bindings of the offering can be fetched.
pub(super) fn is_retrievable(view: &BindingView<'_>) -> bool {
    let offering = view.dependencies.offering.as_ref().and_then(|offering| offering.as_ref().ok());
    offering.is_some_and(|offering| offering.bindings_retrievable)
}

/// The next step when the Secret does not exist, or is not as it should be. The operator fetches the credentials. If bindings of the
/// offering cannot be fetched, it binds again with the same id. If the binding has no credentials, there is
/// nothing to ask for.
fn plan_restore(view: &BindingView<'_>) -> NextStep<Binding> {
    let is_edited = matches!(view.dependencies.secret, SecretState::Edited { .. });
    if !is_retrievable(view) {
        return if view.status.without_credentials {
            plan_empty_secret(view)
        } else if secret::is_misshapen(view) {
            plan_misshapen(view)
        } else if is_edited {
            // Another bind could replace credentials that somebody needs.
            let message = edited(&secret_name(view.object));
            record_ready_and_wait(view, (False, Reason::CredentialsEdited, &message), Wait::ForChange)
        } else {
            Binding::plan_request(view, BindingAction::Bind, None)
        };
    }
    let is_rewritten = is_edited || secret::is_misshapen(view);
    let next = view
        .memory
        .put_right
        .filter(|_| is_rewritten && !view.spec_has_changed())
        .map(|at| later(at, PUT_RIGHT_INTERVAL));
    if let Some(wait) = wait_until(view, next) {
        return wait;
    }
    match Binding::recorded_target(view) {
        Some((address, target)) => {
            Step::Call { before: vec![], call: Call::Request(address, BindingRequest::Fetch(target)) }
        }
        None => Step::Wait(Wait::ForChange),
    }
}

/// The next step when the Secret of a binding without credentials does not exist.
fn plan_empty_secret(view: &BindingView<'_>) -> NextStep<Binding> {
    let beside = (lifetime::recorded(&view.status), &view.status.extras);
    match secret::with_credentials(view, beside, &secret::no_credentials()) {
        Ok((secret, _)) => Step::Write(vec![secret]),
        Err(message) => {
            let recheck = Wait::Until(later(view.now, view.settings.recheck_interval));
            record_ready_and_wait(view, (False, Reason::ErrorInjectingBindResult, &message), recheck)
        }
    }
}

/// Whether the broker may have created a binding that differs from the desired one.
fn conflicts_with_earlier_request(view: &BindingView<'_>, desired: &DesiredBinding<'_>) -> bool {
    let status = &view.status;
    let of_another_instance = !status.instance_id.is_empty() && status.instance_id != desired.instance_id;
    let in_progress = status.in_progress_properties.as_ref();
    let differs = in_progress
        .is_some_and(|properties| properties.parameter_checksum != desired.parameters.checksum())
        || status.resolved.as_ref().is_some_and(|resolved| resolved.plan_id != desired.resolved.plan_id);
    (view.has_unanswered_request() && differs) || (view.may_exist() && of_another_instance)
}
