//! The statuses of a binding that are written, beside those that all kinds have in common. Pure.

use super::{Binding, BindingAction, BindingOrder, BindingView, lifetime};
use crate::{
    crd::{
        ConditionStatus::{self, False, True},
        ConditionType::{Failed, Ready},
        ServiceBindingStatus,
        condition::Conditioned as _,
        progress::DeletionStatus,
    },
    osb::outcome::Lifetime,
    reconcilers::{
        messages,
        operation::{
            Phase,
            answers::is_ready_for,
            status::{StatusHooks, back_off, finish_operation, start_mitigation},
        },
        reason::Reason,
    },
};

/// What is said of a binding whose credentials are in their Secret.
pub(super) const INJECTED: &str = "Injected bind result";

/// While a bind is about to be asked for.
pub(super) const IN_FLIGHT: (Reason, &str) =
    (Reason::BindingRequestInFlight, "Binding request for ServiceBinding in-flight to Broker");

/// While the broker binds asynchronously.
pub(super) const BINDING: (Reason, &str) = (Reason::Binding, "The binding is being created asynchronously");

impl StatusHooks for Binding {
    fn record_order(
        view: &BindingView<'_>,
        status: &mut ServiceBindingStatus,
        BindingOrder { instance_id, resolved, properties }: BindingOrder,
    ) {
        status.observed_generation = view.generation();
        status.binding_id = view.binding_id();
        status.instance_id = instance_id;
        status.resolved = Some(resolved);
        status.in_progress_properties = Some(properties);
    }

    fn in_flight_words(BindingAction::Bind: BindingAction) -> Option<(Reason, &'static str)> {
        Some(IN_FLIGHT)
    }

    fn progress_words(BindingAction::Bind: BindingAction) -> Option<(Reason, &'static str)> {
        Some(BINDING)
    }

    fn ready_when_failed(_: &ServiceBindingStatus, message: &str) -> (ConditionStatus, String) {
        (ConditionStatus::False, message.to_owned())
    }

    /// Whether the credentials could not be written the last time.
    fn shows_injection_failure(status: &ServiceBindingStatus) -> bool {
        is_ready_for(status, Reason::ErrorInjectingBindResult)
    }

    fn finish_failed(status: &mut ServiceBindingStatus, generation: i64) {
        status.reconciled_generation = generation;
    }

    fn clear_resource(status: &mut ServiceBindingStatus, next_id: String) {
        status.external_properties = None;
        lifetime::record(status, Lifetime::default());
        status.binding_id = next_id.into();
    }
}

/// The credentials are in their Secret.
pub(super) fn ready(view: &BindingView<'_>, lifetime: Lifetime, message: &str) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    finish_operation(&mut status);
    lifetime::record(&mut status, lifetime);
    if let Some(properties) = status.in_progress_properties.take() {
        status.external_properties = Some(properties);
    }
    status.unbind_status = DeletionStatus::Required;
    status.reconciled_generation = view.generation();
    status.observed_generation = view.generation();
    status.remove_condition(Failed);
    match lifetime::expiry_condition(&status, view.now) {
        Some((state, reason, message)) => status.set_condition(Ready, state, reason, &message, view.now),
        None => status.set_condition(Ready, True, Reason::InjectedBindResult, message, view.now),
    }
    status
}

/// This request had no effect. An earlier one may have had.
pub(super) fn not_bound(mut status: ServiceBindingStatus) -> ServiceBindingStatus {
    if !status.progress.unanswered && status.external_properties.is_none() {
        status.unbind_status = DeletionStatus::NotRequired;
    }
    status
}

/// The broker has bound, but there are no credentials that can be written, and brokers need not give them twice: the
/// binding is deleted there, and another one asked for later.
pub(super) fn credentials_lost(view: &BindingView<'_>, why: &str) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    let reason = Reason::ErrorInjectingBindResult;
    let why = format!("Error injecting bind result: {why}");
    status.set_condition(Ready, False, reason, &messages::mitigating(&why, "binding", None), view.now);
    status.progress.retries += 1;
    // The broker answered, so no late effect is to be expected.
    status.progress.unanswered = false;
    start_mitigation(view, status, reason, &why, false)
}

/// The API server rejects the Secret.
pub(super) fn secret_rejected(view: &BindingView<'_>, why: &str) -> ServiceBindingStatus {
    match view.phase {
        // These credentials can be had again, and may be in use: they are not revoked.
        Phase::Present { .. } => {
            let mut status = view.status_copy();
            let next = back_off(view, &mut status, None);
            let message = messages::again(&format!("Error injecting bind result: {why}"), next);
            status.set_condition(Ready, False, Reason::ErrorInjectingBindResult, &message, view.now);
            status
        }
        _ => credentials_lost(view, why),
    }
}
