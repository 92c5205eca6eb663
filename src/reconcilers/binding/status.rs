//! Which status does the operator write for a binding? This file has the statuses that only bindings have.
//! All functions are pure.

use serde_json::{Map, Value, json};

use super::{Binding, BindingAction, BindingRequestRecord, BindingView, SecretState, lifetime, secret_name};
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
            status::{StatusHooks, back_off, finish_operation, is_ready_for, start_mitigation},
        },
        reason::Reason,
    },
};

/// The message of `Ready` when the credentials are in their Secret.
pub(super) const INJECTED: &str = "Injected bind result";

/// The message of `Ready` after the object was restored from a backup without its status.
const RESTORED: &str =
    "The object was restored from a backup; the operator continues with the binding that it created before";

/// The reason and the message of `Ready` before a bind is sent.
pub(super) const IN_FLIGHT: (Reason, &str) =
    (Reason::BindingRequestInFlight, "Binding request for ServiceBinding in-flight to Broker");

/// The reason and the message of `Ready` while the broker binds asynchronously.
pub(super) const BINDING: (Reason, &str) = (Reason::Binding, "The binding is being created asynchronously");

impl StatusHooks for Binding {
    fn operator_fields(view: &BindingView<'_>, status: &ServiceBindingStatus) -> Map<String, Value> {
        let spec = &view.object.spec;
        let mut fields = Map::new();
        let id = if status.binding_id.is_empty() { view.binding_id() } else { status.binding_id.clone() };
        if spec.external_id != id.as_str() {
            fields.insert("externalID".into(), json!(id));
        }
        if spec.secret_name.is_empty() {
            fields.insert("secretName".into(), json!(secret_name(view.object)));
        }
        fields
    }

    fn restored_status(view: &BindingView<'_>) -> ServiceBindingStatus {
        let lifetime = match view.dependencies.secret {
            SecretState::Owned { lifetime, .. } | SecretState::Adoptable { lifetime, .. } => lifetime,
            SecretState::Unchecked | SecretState::Missing | SecretState::NotOwned => Lifetime::default(),
        };
        ready(view, lifetime, RESTORED)
    }

    fn record_request(
        view: &BindingView<'_>,
        status: &mut ServiceBindingStatus,
        BindingRequestRecord { instance_id, resolved, properties }: BindingRequestRecord,
    ) {
        status.observed_generation = view.generation();
        status.binding_id = view.binding_id();
        status.instance_id = instance_id;
        status.resolved = Some(resolved);
        status.in_progress_properties = Some(properties);
    }

    fn operation_name(BindingAction::Bind: BindingAction) -> &'static str {
        "bind"
    }

    fn in_flight_condition(BindingAction::Bind: BindingAction) -> Option<(Reason, &'static str)> {
        Some(IN_FLIGHT)
    }

    fn in_progress_condition(BindingAction::Bind: BindingAction) -> Option<(Reason, &'static str)> {
        Some(BINDING)
    }

    fn ready_when_failed(_: &ServiceBindingStatus, message: &str) -> (ConditionStatus, String) {
        (ConditionStatus::False, message.to_owned())
    }

    /// Whether `Ready` says that the credentials could not be written.
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

/// The status after the credentials were written into their Secret.
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

/// Records that this request had no effect. An earlier request may have had one.
pub(super) fn bind_had_no_effect(mut status: ServiceBindingStatus) -> ServiceBindingStatus {
    if !status.progress.unanswered && status.external_properties.is_none() {
        status.unbind_status = DeletionStatus::NotRequired;
    }
    status
}

/// Starts orphan mitigation: the binding exists, but the operator has no credentials that it can write, and
/// brokers need not send them twice. The operator deletes the binding, and creates another one later.
pub(super) fn credentials_lost(view: &BindingView<'_>, why: &str) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    let reason = Reason::ErrorInjectingBindResult;
    let why = format!("Error injecting bind result: {why}");
    status.set_condition(
        Ready,
        False,
        reason,
        &messages::mitigation_planned(&why, "binding", None),
        view.now,
    );
    status.progress.retries += 1;
    // The broker answered, so the bind takes no effect later.
    status.progress.unanswered = false;
    start_mitigation(view, status, reason, &why, false)
}

/// The status after the API server has rejected the Secret.
pub(super) fn secret_rejected(view: &BindingView<'_>, why: &str) -> ServiceBindingStatus {
    match view.phase {
        // The operator can get these credentials again, and they may be in use, so it does not revoke them.
        Phase::Present { .. } => {
            let mut status = view.status_copy();
            let next = back_off(view, &mut status, None);
            let message = messages::with_next_try(&format!("Error injecting bind result: {why}"), next);
            status.set_condition(Ready, False, Reason::ErrorInjectingBindResult, &message, view.now);
            status
        }
        _ => credentials_lost(view, why),
    }
}
