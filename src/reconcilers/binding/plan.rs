//! What comes next for a binding, beside what all kinds have in common. Pure.

use jiff::Timestamp;

use super::{
    Binding, BindingAction, BindingRequest, BindingView,
    desired::{DesiredBinding, desired_binding},
    lifetime, requests,
    secret::{self, SETTLING, SecretState, secret_name},
    status,
};
use crate::{
    crd::{ConditionStatus::False, ConditionType::Ready, ServiceBindingStatus, common::ResolvedOffering},
    osb::outcome::Lifetime,
    reconcilers::{
        backoff::later,
        legacy,
        operation::{
            Address, Call, NextStep, Phase,
            call::RequestHooks as _,
            obstacle,
            plan::{PlanHooks, say, wait_until},
            status::start_mitigation,
        },
        reason::Reason,
        reconciler::{Step, Wait},
        writes::{Write, secret::taken},
    },
};

impl PlanHooks for Binding {
    fn legacy_record(view: &BindingView<'_>) -> Option<ServiceBindingStatus> {
        if view.status.resolved.is_some() || !view.may_exist() {
            return None;
        }
        // Once its instance is on record.
        let resolved = view.dependencies.instance()?.status.resolved.clone()?;
        let (Address { instance_id, binding_id, .. }, target) = Self::recorded_target(view)?;
        let resolved = ResolvedOffering { plan_id: target.plan_id, ..resolved };
        let ids = (instance_id, binding_id?);
        Some(legacy::bindings::record(view.status_copy(), resolved, ids, view.generation()))
    }

    /// The credentials were written once. Are they still there?
    fn plan_present(view: &BindingView<'_>, not_before: Option<Timestamp>) -> NextStep<Self> {
        match &view.dependencies.secret {
            state if secret::is_lost(state, view) => {
                wait_until(view, not_before).unwrap_or_else(|| plan_restore(view))
            }
            SecretState::Ours { binding_id, uid, .. } if binding_id.is_empty() => {
                Step::Write(vec![secret::label(view, uid.clone())])
            }
            SecretState::Ours { lifetime, .. } => plan_expiry(view, *lifetime),
            SecretState::Unchecked | SecretState::Missing => {
                let settled = view.memory.answered.map(|at| later(at, SETTLING)).filter(|at| *at > view.now);
                Step::Wait(settled.map_or(Wait::ForChange, Wait::Until))
            }
            SecretState::Foreign => {
                let rejected = taken(view.namespace(), &secret_name(view.object));
                let recheck = Wait::Until(later(view.now, view.settings.recheck_interval));
                say(view, (False, Reason::ErrorInjectingBindResult, &rejected.message), recheck)
            }
        }
    }

    fn plan_failed(view: &BindingView<'_>) -> NextStep<Self> {
        if view.is_reopened() {
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
        if let (Phase::RequestInFlight(..), Some(lifetime)) =
            (view.phase, secret::is_written(&view.dependencies.secret, &view.status))
        {
            // The answer came and its credentials were written. Only the status that says so was lost.
            return Step::Record(status::ready(view, lifetime, status::INJECTED));
        }
        let desired = match desired_binding(view) {
            Ok(desired) => desired,
            Err(obstacle) => return obstacle::report(view, &obstacle),
        };
        if was_asked_for_something_else(view, &desired) {
            // The request may have taken effect. The broker would refuse a different one under the same id.
            let why = "The parameters or the instance have changed since the broker was asked";
            let may_still_come = matches!(view.phase, Phase::RequestInFlight(..));
            let reason = Reason::BindCallFailed;
            return Step::Record(start_mitigation(view, view.status_copy(), reason, why, may_still_come));
        }
        wait_until(view, not_before).unwrap_or_else(|| requests::bind(view, &desired))
    }

    /// The binding is deleted when no operation of the instance is under way.
    fn plan_before_deletion(view: &BindingView<'_>) -> Option<NextStep<Self>> {
        let message =
            "the instance has an operation in progress; the operator deletes the binding when it has ended";
        let ready = (False, Reason::ErrorAsyncOperationInProgress, message);
        view.dependencies.is_instance_busy().then(|| say(view, ready, Wait::ForChange))
    }

    /// The credentials disappear before they are revoked, so that nothing starts with credentials that are about to fail.
    fn writes_before_deletion(view: &BindingView<'_>) -> Vec<Write> {
        secret::remove(view.object, &view.dependencies.secret)
    }

    fn is_mitigation_blocked(view: &BindingView<'_>) -> bool {
        view.dependencies.is_instance_busy()
    }

    fn may_create_late(_: &BindingView<'_>) -> bool {
        true
    }
}

/// The credentials are there. Have they expired?
fn plan_expiry(view: &BindingView<'_>, lifetime: Lifetime) -> NextStep<Binding> {
    let until = lifetime::next(&view.status, view.now).map_or(Wait::ForChange, Wait::Until);
    match lifetime::expiry_condition(&view.status, view.now) {
        Some((state, reason, message)) => say(view, (state, reason, &message), until),
        None if view.is_true(Ready) => Step::Wait(until),
        None => Step::Record(status::ready(view, lifetime, status::INJECTED)),
    }
}

/// The Secret is gone. The credentials are fetched or, where the broker cannot be asked for them, bound again under the
/// same id.
fn plan_restore(view: &BindingView<'_>) -> NextStep<Binding> {
    let offering = view.dependencies.offering.as_ref().and_then(|offering| offering.as_ref().ok());
    if !offering.is_some_and(|offering| offering.bindings_retrievable) {
        return Binding::plan_request(view, BindingAction::Bind, None);
    }
    match Binding::recorded_target(view) {
        Some((address, target)) => {
            Step::Call { before: vec![], call: Call::Request(address, BindingRequest::Fetch(target)) }
        }
        None => Step::Wait(Wait::ForChange),
    }
}

/// Whether the broker may have done something else than what is asked for now.
fn was_asked_for_something_else(view: &BindingView<'_>, desired: &DesiredBinding<'_>) -> bool {
    let status = &view.status;
    let of_another_instance = !status.instance_id.is_empty() && status.instance_id != desired.instance_id;
    let asked = status.in_progress_properties.as_ref();
    let differs = asked.is_some_and(|asked| asked.parameter_checksum != desired.parameters.checksum())
        || status.resolved.as_ref().is_some_and(|resolved| resolved.plan_id != desired.resolved.plan_id);
    (view.is_in_doubt() && differs) || (view.may_exist() && of_another_instance)
}
