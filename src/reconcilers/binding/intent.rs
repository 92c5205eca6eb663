//! What is recorded before a broker is asked for credentials, and when it has given them. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::{
    Call, Recipient, lifetime,
    phase::{self, Phase},
    plan::{Next, Seen},
};
use crate::{
    crd::{
        ConditionStatus::{False, True},
        ConditionType::{Failed, Ready},
        ServiceBindingStatus,
        binding::{BindingOperation, BindingProperties, UnbindStatus},
        common::ResolvedOffering,
        condition::{self, Conditioned as _},
        progress::Progress,
    },
    osb::{
        outcome::Lifetime,
        wire::{BindRequest, BindResource, Context, PLATFORM},
    },
    reconcilers::{
        attempt::identity_of, backoff::quiet_until, machine::Step, offering::recorded_broker,
        parameters::Parameters, reason::Reason, told::undoing,
    },
};

/// What is to be bound.
pub(super) struct Wanted<'a> {
    pub instance_id: String,
    /// With the plan that the broker has for the instance.
    pub resolved: ResolvedOffering,
    pub retrievable: bool,
    pub parameters: &'a Parameters,
    pub namespace_uid: &'a str,
}

/// Records a bind and sends it. A repetition of an unanswered one is the same request under the same id.
pub(super) fn bind(observed: &Seen, status: &ServiceBindingStatus, wanted: &Wanted<'_>) -> Next {
    let object = &observed.object;
    let namespace = object.namespace().unwrap_or_default();
    let mut intent = status.clone();
    intent.observed_generation = object.metadata.generation.unwrap_or(0);
    if matches!(phase::phase(status), Phase::Intending(_)) {
        intent.progress.repeat();
    }
    if intent.current_operation.is_none() {
        intent.progress.retries =
            if intent.progress.next_attempt_time.is_some() { intent.progress.retries } else { 0 };
        intent.progress.operation_start_time =
            intent.progress.operation_start_time.or(Some(Time(observed.now)));
        // A later attempt leaves on show why the one before failed.
        if intent.progress.retries == 0 {
            let message = "Binding request for ServiceBinding in-flight to Broker";
            intent.mark(Ready, False, Reason::BindingRequestInFlight, message, observed.now);
        }
    }
    intent.unmark(Failed);
    intent.current_operation = BindingOperation::Bind;
    intent.unbind_status = UnbindStatus::Required;
    intent.binding_id = phase::binding_id(object, status);
    intent.instance_id.clone_from(&wanted.instance_id);
    intent.resolved = Some(wanted.resolved.clone());
    intent.in_progress_properties = Some(BindingProperties {
        parameters: wanted.parameters.to_show(),
        parameter_checksum: wanted.parameters.checksum().to_owned(),
        user_info: None,
    });
    intent.progress.stamp(observed.now);
    let body = BindRequest {
        service_id: wanted.resolved.service_id.clone(),
        plan_id: wanted.resolved.plan_id.clone(),
        context: Context {
            platform: PLATFORM,
            namespace: namespace.clone(),
            clusterid: observed.world.cluster_id.clone(),
            instance_name: Some(object.spec.instance_ref.name.clone()),
            namespace_annotations: None,
            instance_annotations: None,
        },
        bind_resource: BindResource { app_guid: wanted.namespace_uid.to_owned() },
        parameters: wanted.parameters.to_send(),
    };
    let recipient = Recipient {
        broker: recorded_broker(&wanted.resolved, &namespace),
        instance_id: wanted.instance_id.clone(),
        binding_id: intent.binding_id.clone(),
        identity: identity_of(object.spec.user_info.as_ref()),
    };
    Step::Attempt { intent, call: Call::Bind(recipient, Box::new(body), wanted.retrievable) }
}

/// What is said of a binding whose credentials are in their Secret.
pub(super) const INJECTED: &str = "Injected bind result";

/// The credentials are in their Secret.
pub(super) fn settle(
    observed: &Seen,
    status: &ServiceBindingStatus,
    lifetime: Lifetime,
    message: &str,
) -> ServiceBindingStatus {
    let mut settled = status.clone();
    end_operation(&mut settled);
    lifetime::record(&mut settled, lifetime);
    if let Some(properties) = settled.in_progress_properties.take() {
        settled.external_properties = Some(properties);
    }
    settled.unbind_status = UnbindStatus::Required;
    settled.reconciled_generation = observed.object.metadata.generation.unwrap_or(0);
    settled.observed_generation = settled.reconciled_generation;
    settled.unmark(Failed);
    match lifetime::word(&settled, observed.now) {
        Some((state, reason, message)) => settled.mark(Ready, state, reason, &message, observed.now),
        None => settled.mark(Ready, True, Reason::InjectedBindResult, message, observed.now),
    }
    settled
}

/// Records that what a bind may have left must be deleted before anything else is tried. When the bind was never
/// answered, a DELETE proves something only after the bind can no longer take effect.
pub(super) fn start_mitigation(
    observed: &Seen,
    status: &ServiceBindingStatus,
    why: &str,
    may_still_come: bool,
) -> ServiceBindingStatus {
    let mut started = status.clone();
    let quiet = quiet_until(observed, status.progress.last_attempt_time.as_ref());
    started.progress.undo(may_still_come, quiet);
    started.unbind_status = UnbindStatus::Required;
    if !condition::is_true(&started.conditions, Failed) && !is_unfit(&started) {
        let message = undoing(why, "binding", started.progress.next_attempt_time.as_ref());
        started.mark(Ready, False, Reason::ServiceBindingNeedsOrphanMitigation, &message, observed.now);
    }
    started
}

/// Only a deletion records that the binding is being deleted, and a deletion cannot be taken back; but an object can be
/// restored from a backup, with the status that it had then. The deletion goes on, and what comes after it is another attempt.
pub(super) fn restored(observed: &Seen, status: &ServiceBindingStatus) -> ServiceBindingStatus {
    let mut restored = ServiceBindingStatus {
        current_operation: BindingOperation::None,
        progress: Progress { orphan_mitigation_in_progress: true, ..status.progress.clone() },
        unbind_status: UnbindStatus::Required,
        ..status.clone()
    };
    let why = "The binding was being deleted, as its status says, but its object is to exist";
    let reason = Reason::ServiceBindingNeedsOrphanMitigation;
    restored.mark(Ready, False, reason, &undoing(why, "binding", None), observed.now);
    restored
}

/// Whether the credentials could not be written the last time. What the user must mend stays on show meanwhile.
pub(super) fn is_unfit(status: &ServiceBindingStatus) -> bool {
    condition::find(&status.conditions, Ready)
        .is_some_and(|ready| ready.reason == Reason::ErrorInjectingBindResult.to_string())
}

/// Clears what belongs to an operation that has come to its end.
pub(super) fn end_operation(status: &mut ServiceBindingStatus) {
    status.current_operation = BindingOperation::None;
    status.progress.end();
}
