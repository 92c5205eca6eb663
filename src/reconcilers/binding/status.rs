//! Which status does the operator write for a binding? This file has the statuses that only bindings have.
//! All functions are pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::{
    Binding, BindingAction, BindingRequestRecord, BindingView, SecretState, Written, lifetime, secret_name,
};
use crate::{
    crd::{
        Condition,
        ConditionStatus::{self, False, True},
        ConditionType::{Failed, Ready},
        ServiceBinding, ServiceBindingStatus,
        common::LocalObjectReference,
        condition::Conditioned as _,
        progress::DeletionStatus,
    },
    osb::{extras::Extras, outcome::Lifetime},
    reconcilers::{
        messages,
        operation::status::{StatusHooks, back_off, finish_operation, is_ready_for, start_mitigation},
        reason::Reason,
    },
};

/// The message of `Ready` when the credentials are in their Secret.
const INJECTED: &str = "Injected bind result";

/// The message of `Ready` for a binding without credentials.
const INJECTED_EMPTY: &str = "Injected bind result: the broker gave no credentials, so the Secret is empty; if there should be \
                     some, ask the broker's operator, then delete this binding and create it again";

/// The message of `Ready` when the Secret is written.
pub(super) fn injected(without_credentials: bool) -> &'static str {
    if without_credentials { INJECTED_EMPTY } else { INJECTED }
}

/// The message of `Ready` when nothing has changed about the Secret. What it says about the credentials stays true.
pub(super) fn still_injected(view: &BindingView<'_>) -> String {
    let ready = view.status.conditions.iter().find(|condition| condition.type_ == Ready);
    let said = ready.filter(|ready| ready.status == True && ready.message.starts_with(INJECTED));
    said.map_or_else(|| injected(view.status.without_credentials).to_owned(), |said| said.message.clone())
}

/// The message of `Ready` when `spec.secret` has changed and the operator cannot ask for the credentials.
pub(super) fn misshapen(secret: &str) -> String {
    format!(
        "The credentials are valid, but Secret {secret:?} does not have the shape that spec.secret asks for: the broker cannot be asked \
         for the credentials again (bindings_retrievable). Undo the change of spec.secret; or delete the Secret, and the operator binds \
         again; or create another binding"
    )
}

/// The end of the message of `Ready` after the operator has put right the credentials.
pub(super) const PUT_RIGHT: &str =
    "somebody had changed the credentials in the Secret, and the operator has written them again";

/// The message of `Ready` when somebody has changed credentials that the operator cannot ask for.
pub(super) fn edited(secret: &str) -> String {
    format!(
        "Somebody has changed the credentials in Secret {secret:?}, and the broker cannot be asked for them (bindings_retrievable). \
         The binding at the broker is as it was. Undo the change; or delete the Secret, and the operator binds again; or delete \
         this binding and create another"
    )
}

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
        // A request for a successor is announced with its id.
        let successor = status.rotation.as_ref().and_then(|rotation| rotation.successor.as_ref());
        let id = successor.map_or(&status.binding_id, |successor| &successor.binding_id);
        let id = if id.is_empty() { view.binding_id() } else { id.clone() };
        if spec.external_id != id.as_str() {
            fields.insert("externalID".into(), json!(id));
        }
        if spec.secret_name.is_empty() {
            fields.insert("secretName".into(), json!(secret_name(view.object)));
        }
        fields
    }

    fn derives_id(view: &BindingView<'_>, status: &ServiceBindingStatus) -> bool {
        view.is_id_derived() || status.rotation.as_ref().is_some_and(|rotation| rotation.successor.is_some())
    }

    fn restored_status(view: &BindingView<'_>) -> ServiceBindingStatus {
        let written = match &view.dependencies.secret {
            SecretState::Owned { written, .. }
            | SecretState::Edited { written, .. }
            | SecretState::Adoptable { written, .. } => written,
            SecretState::Unchecked | SecretState::Missing | SecretState::NotOwned => &Written::default(),
        };
        ready_as_written(view, written, RESTORED)
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

    fn clear_resource(status: &mut ServiceBindingStatus) {
        status.external_properties = None;
        status.without_credentials = false;
        lifetime::record(status, Lifetime::default());
        status.extras = Extras::default();
        status.binding = None;
    }

    fn next_attempt(view: &BindingView<'_>) -> i64 {
        let successor = view.status.rotation.as_ref().and_then(|rotation| rotation.successor.as_ref());
        let of_successor = successor.map_or(0, |successor| successor.progress.attempt);
        view.status.progress.attempt.max(of_successor) + 1
    }

    fn set_id(status: &mut ServiceBindingStatus, id: String) {
        status.binding_id = id.into();
    }
}

/// The status after the credentials were written into their Secret.
pub(super) fn ready(view: &BindingView<'_>, lifetime: Lifetime, message: &str) -> ServiceBindingStatus {
    let mut status = naming_secret(view);
    finish_operation(&mut status);
    lifetime::record(&mut status, lifetime);
    if let Some(properties) = status.in_progress_properties.take() {
        status.external_properties = Some(properties);
        status.bound_at = Some(Time(view.now));
        count_requests(view.object, &mut status);
    }
    status.unbind_status = DeletionStatus::Required;
    status.reconciled_generation = view.generation();
    status.observed_generation = view.generation();
    status.remove_condition(Failed);
    set_valid(&mut status, message, view.now);
    status
}

/// The status with the name of the Secret, which v0.3 does not write.
pub(super) fn naming_secret(view: &BindingView<'_>) -> ServiceBindingStatus {
    let binding = Some(LocalObjectReference { name: secret_name(view.object) });
    ServiceBindingStatus { binding, ..view.status_copy() }
}

/// The status after the credentials were written, with what the Secret says, for a status that was lost.
pub(super) fn ready_as_written(
    view: &BindingView<'_>,
    written: &Written,
    message: &str,
) -> ServiceBindingStatus {
    let ready = ready(view, written.lifetime, message);
    // The Secret was written soon after the request, and this may be much later.
    let asked = view.status.progress.last_attempt_time.as_ref().map(|time| Time(time.0));
    let mut status = ServiceBindingStatus { extras: written.extras.clone(), ..ready };
    if status.bound_at.is_some() {
        status.bound_at = asked.or(status.bound_at);
    }
    set_valid(&mut status, message, view.now);
    status
}

/// Says that the credentials are in their Secret, and valid unless they have expired.
fn set_valid(status: &mut ServiceBindingStatus, message: &str, now: Timestamp) {
    match shown(status, None, now) {
        Some((state, reason, message)) => status.set_condition(Ready, state, reason, &message, now),
        None => status.set_condition(Ready, True, Reason::InjectedBindResult, message, now),
    }
}

/// The reasons of `Ready` when the credentials are in the Secret.
const WITH_CREDENTIALS: [Reason; 5] = [
    Reason::InjectedBindResult,
    Reason::CredentialsRenewed,
    Reason::CredentialsRenewalFailed,
    Reason::CredentialsToBeRenewed,
    Reason::CredentialsExpired,
];

/// Whether `Ready` says that the credentials are in the Secret.
pub(super) fn is_injected(ready: &Condition) -> bool {
    WITH_CREDENTIALS.iter().any(|reason| reason.as_str() == ready.reason)
}

/// `Ready` of a binding whose credentials are in the Secret, if it is not the same as always: they have expired or
/// should be renewed, or something goes wrong with the other binding.
pub(super) fn shown(
    status: &ServiceBindingStatus,
    trouble: Option<&str>,
    now: Timestamp,
) -> Option<(ConditionStatus, Reason, String)> {
    let rotation = status.rotation.as_ref();
    let is_renewed = rotation.is_some_and(|rotation| rotation.predecessor.is_some());
    if let Some((state, reason, message)) = lifetime::expiry_condition(status, now) {
        let born = status.bound_at.as_ref().map(|time| time.0);
        let is_born_late = born.is_some() && born >= status.expires_at.as_ref().map(|time| time.0);
        let next = match trouble {
            Some(trouble) if is_renewed => {
                format!("the operator renews them when it has deleted the previous binding: {trouble}")
            }
            Some(trouble) => format!("the operator renews them, so far without success: {trouble}"),
            None if is_born_late => "they had expired when the broker made them: check the clocks of the broker and of                                      this cluster, and then increase spec.rotation.requests"
                .to_owned(),
            None => "the operator renews them".to_owned(),
        };
        return Some((state, reason, format!("{message}; {next}")));
    }
    let injected = injected(status.without_credentials);
    Some(match (trouble, is_renewed) {
        (Some(trouble), true) => (
            True,
            Reason::CredentialsRenewed,
            format!("{injected}; the previous binding is not deleted yet: {trouble}"),
        ),
        (Some(trouble), false) => (
            True,
            Reason::CredentialsRenewalFailed,
            format!("{injected}; the operator renews the credentials, so far without success: {trouble}"),
        ),
        _ => return None,
    })
}

/// How often the user has asked for new credentials.
pub(super) fn requests(object: &ServiceBinding) -> i64 {
    object.spec.rotation.map_or(0, |rotation| rotation.requests)
}

/// Records that new credentials are what has been asked for so far.
fn count_requests(object: &ServiceBinding, status: &mut ServiceBindingStatus) {
    let requests = requests(object);
    if requests != status.rotation.as_ref().map_or(0, |rotation| rotation.observed_requests) {
        status.rotation.get_or_insert_default().observed_requests = requests;
    }
}

/// The status of a binding that is being deleted and whose bind has ended. The credentials are not needed.
pub(super) fn bound(view: &BindingView<'_>) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    finish_operation(&mut status);
    status.external_properties = status.in_progress_properties.take().or(status.external_properties);
    status
}

/// Records that this request had no effect. An earlier request may have had one.
pub(super) fn bind_had_no_effect(mut status: ServiceBindingStatus) -> ServiceBindingStatus {
    if !status.progress.unanswered && status.external_properties.is_none() {
        status.unbind_status = DeletionStatus::NotRequired;
    }
    status
}

/// Starts orphan mitigation: the binding exists, but the broker does not send its credentials again. The
/// operator deletes the binding, and creates another one later.
pub(super) fn credentials_lost(view: &BindingView<'_>, why: &str) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    let reason = Reason::ErrorInjectingBindResult;
    let why = not_injected_message(why);
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

/// The status of a binding whose credentials cannot be written. The binding exists, so it stays. The operator
/// asks for its credentials again and tries to write them, later and later: it fetches them, or it repeats
/// the bind if they cannot be fetched.
pub(super) fn not_injected(
    view: &BindingView<'_>,
    without_credentials: bool,
    why: &str,
) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    let retries = status.progress.retries;
    finish_operation(&mut status);
    status.progress.retries = retries;
    status.external_properties =
        Some(status.in_progress_properties.take().or(status.external_properties).unwrap_or_default());
    status.unbind_status = DeletionStatus::Required;
    status.without_credentials = without_credentials;
    status.observed_generation = view.generation();
    status.remove_condition(Failed);
    let next = back_off(view, &mut status, None);
    let message = messages::with_next_try(&not_injected_message(why), next);
    status.set_condition(Ready, False, Reason::ErrorInjectingBindResult, &message, view.now);
    status
}

/// The status when `spec.secret` has changed and the operator has asked for the credentials in vain. Those in the Secret are
/// in use, and valid for all that is known. So they stay, and the operator asks again later.
pub(super) fn not_shaped(
    view: &BindingView<'_>,
    why: &str,
    retry_after: Option<Duration>,
) -> ServiceBindingStatus {
    let mut status = view.status_copy();
    status.observed_generation = view.generation();
    let why = messages::with_next_try(why, back_off(view, &mut status, retry_after));
    let message = format!(
        "The credentials are valid, but the Secret does not have the shape that spec.secret asks for yet: {why}"
    );
    set_valid(&mut status, &message, view.now);
    status
}

fn not_injected_message(why: &str) -> String {
    format!("Error injecting bind result: {why}")
}
