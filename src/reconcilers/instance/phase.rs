//! Where an instance stands: the one place that reads the flags in its status.
//!
//! The function is total: a combination that nobody writes maps to the reading under which the broker may hold an
//! instance, so that nothing is ever forgotten.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::Cause;
use crate::{
    crd::{
        ConditionType, ServiceInstance, ServiceInstanceStatus, condition,
        instance::{DeprovisionStatus, InstanceOperation, ProvisionStatus},
    },
    reconcilers::attempt::attempt_id,
};

/// Where an instance stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The broker has nothing, and nothing is being asked.
    Absent {
        /// Not to be asked before this time.
        not_before: Option<Timestamp>,
    },
    /// An intent is on record and no answer: the request may or may not have been sent.
    Intending(Requested, Timestamp),
    /// The broker has answered "not now", or could not be reached.
    Retrying(Requested, Timestamp),
    /// The broker is busy since it has accepted a request of this time.
    Polling(Awaited, Timestamp),
    /// What an unsuccessful create may have left must be deleted.
    Mitigating {
        /// Not before this time: an unanswered create might still take effect.
        not_before: Option<Timestamp>,
    },
    /// The broker did not delete it yet.
    Deleting {
        /// Not to be asked before this time.
        not_before: Option<Timestamp>,
    },
    /// The broker has what the spec asked for when it was last looked at.
    Settled,
    /// The broker has refused for good; only another spec can help.
    Stuck,
}

/// A request that is repeated until it is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Requested {
    /// `PUT`
    Provision,
    /// `PATCH`
    Update,
}

/// What is being polled for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Awaited {
    /// The end of a provision.
    Provision,
    /// The end of an update.
    Update,
    /// The end of a deletion.
    Deletion(Cause),
}

/// Reads the flags.
#[must_use]
pub fn phase(status: &ServiceInstanceStatus) -> Phase {
    let (sent, next) = (status.progress.sent(), status.progress.not_before());
    if status.progress.async_op_in_progress {
        let awaited = match status.current_operation {
            InstanceOperation::Deprovision => Awaited::Deletion(Cause::Deletion),
            _ if status.progress.orphan_mitigation_in_progress => Awaited::Deletion(Cause::Mitigation),
            InstanceOperation::Update => Awaited::Update,
            InstanceOperation::None if status.provision_status == ProvisionStatus::Provisioned => {
                Awaited::Update
            }
            InstanceOperation::Provision | InstanceOperation::None => Awaited::Provision,
        };
        // What went before the request that was accepted is not what is polled for. The deletion of an object has no intent.
        let accepted =
            if awaited == Awaited::Deletion(Cause::Deletion) { status.progress.began() } else { sent };
        return Phase::Polling(awaited, accepted);
    }
    let retried =
        |requested| next.map_or(Phase::Intending(requested, sent), |at| Phase::Retrying(requested, at));
    match status.current_operation {
        InstanceOperation::Deprovision => Phase::Deleting { not_before: next },
        _ if status.progress.orphan_mitigation_in_progress => Phase::Mitigating { not_before: next },
        // What was refused is not in doubt. The original did not note when it would ask again.
        InstanceOperation::Provision
            if status.deprovision_status == DeprovisionStatus::NotRequired && !status.progress.unanswered =>
        {
            Phase::Retrying(Requested::Provision, next.unwrap_or(sent))
        }
        InstanceOperation::Provision => retried(Requested::Provision),
        InstanceOperation::Update => retried(Requested::Update),
        // The original gave up the deletion of what an unsuccessful create had left.
        InstanceOperation::None
            if status.deprovision_status == DeprovisionStatus::Failed
                && status.provision_status != ProvisionStatus::Provisioned =>
        {
            Phase::Mitigating { not_before: next }
        }
        InstanceOperation::None if condition::is_true(&status.conditions, ConditionType::Failed) => {
            Phase::Stuck
        }
        InstanceOperation::None if status.provision_status == ProvisionStatus::Provisioned => Phase::Settled,
        InstanceOperation::None if may_exist(status) => Phase::Intending(Requested::Provision, sent),
        InstanceOperation::None => Phase::Absent { not_before: next },
    }
}

/// Whether the broker may hold an instance for this object, so that it must be told when the object goes.
#[must_use]
pub fn may_exist(status: &ServiceInstanceStatus) -> bool {
    match status.deprovision_status {
        DeprovisionStatus::Required | DeprovisionStatus::Failed => true,
        DeprovisionStatus::NotRequired => status.progress.unanswered || is_forgotten(status),
        DeprovisionStatus::Succeeded => status.progress.unanswered,
        DeprovisionStatus::Unset => {
            !status.current_operation.is_none()
                || status.progress.async_op_in_progress
                || status.progress.orphan_mitigation_in_progress
                || status.external_properties.is_some()
                || status.in_progress_properties.is_some()
                || status.provision_status == ProvisionStatus::Provisioned
        }
    }
}

/// The original forgot by a refusal whatever had been asked in vain before. Here each attempt has its time, and a doubt lasts.
fn is_forgotten(status: &ServiceInstanceStatus) -> bool {
    status.current_operation == InstanceOperation::Provision && status.progress.last_attempt_time.is_none()
}

/// Whether anything was ever said of this object, or asked of a broker for it. The finalizer comes before that, so from then
/// on a missing one means that a person has abandoned the object.
#[must_use]
pub fn is_recorded(status: &ServiceInstanceStatus) -> bool {
    !status.conditions.is_empty() || !status.instance_id.is_empty() || may_exist(status)
}

/// Whether a request of the current operation may have taken effect without our knowing.
#[must_use]
pub fn is_in_doubt(status: &ServiceInstanceStatus) -> bool {
    status.progress.unanswered || matches!(phase(status), Phase::Intending(..))
}

/// Whether the spec has been acted on: nothing is asked of a broker until it changes.
#[must_use]
pub fn is_at_rest(object: &ServiceInstance, status: &ServiceInstanceStatus) -> bool {
    let seen = is_seen(object, status);
    match phase(status) {
        Phase::Settled => seen && condition::is_true(&status.conditions, ConditionType::Ready),
        Phase::Stuck => seen,
        Phase::Absent { .. }
        | Phase::Intending(..)
        | Phase::Retrying(..)
        | Phase::Polling(..)
        | Phase::Mitigating { .. }
        | Phase::Deleting { .. } => false,
    }
}

/// Whether the spec is another than the one that was last acted on. Its generations begin anew when an object is restored
/// from a backup together with its status, so it need not be a later one.
#[must_use]
pub fn has_moved(object: &ServiceInstance, status: &ServiceInstanceStatus) -> bool {
    object.metadata.generation.unwrap_or(0) != status.observed_generation
}

/// Whether the spec, and each request for an update, has been acted on.
#[must_use]
pub fn is_seen(object: &ServiceInstance, status: &ServiceInstanceStatus) -> bool {
    !has_moved(object, status) && object.spec.update_requests <= seen_update_requests(object, status)
}

/// The `updateRequests` that were acted on. The original did not count them: it acted on every generation of the spec.
#[must_use]
pub fn seen_update_requests(object: &ServiceInstance, status: &ServiceInstanceStatus) -> i64 {
    let by_original = status.instance_id.is_empty()
        && status.observed_generation > 0
        && object.metadata.generation.unwrap_or(0) <= status.observed_generation;
    if by_original { object.spec.update_requests } else { status.observed_update_requests }
}

/// Whether credentials for the instance may be asked for: it is there, and nothing is being done to it. While a failed
/// update is tried again it can be used as before, unless the broker has said otherwise (OSB 2.17, "Updating a Service
/// Instance", `instance_usable`).
#[must_use]
pub fn is_bindable(status: &ServiceInstanceStatus) -> bool {
    let settled = condition::is_true(&status.conditions, ConditionType::Ready);
    !status.unusable
        && !status.progress.async_op_in_progress
        && (settled || matches!(phase(status), Phase::Retrying(Requested::Update, _)))
}

/// Whether the parameters are needed: to decide, or to take secret ones out of what the broker says. Others do without
/// reading Secrets.
#[must_use]
pub fn needs_parameters(object: &ServiceInstance) -> bool {
    let status = object.status.clone().unwrap_or_default();
    let secret = !object.spec.parameters_from.is_empty();
    if object.metadata.deletion_timestamp.is_some() {
        return secret && may_exist(&status);
    }
    match phase(&status) {
        Phase::Polling(..) | Phase::Mitigating { .. } | Phase::Deleting { .. } => secret,
        Phase::Absent { .. } | Phase::Intending(..) | Phase::Retrying(..) | Phase::Settled | Phase::Stuck => {
            asks(object, &status)
        }
    }
}

/// Whether the broker is to be asked for what the spec says, now or later.
#[must_use]
pub fn asks(object: &ServiceInstance, status: &ServiceInstanceStatus) -> bool {
    let converges = match phase(status) {
        Phase::Polling(..) | Phase::Mitigating { .. } | Phase::Deleting { .. } => false,
        Phase::Absent { .. } | Phase::Intending(..) | Phase::Retrying(..) | Phase::Settled | Phase::Stuck => {
            true
        }
    };
    converges && object.metadata.deletion_timestamp.is_none() && !is_at_rest(object, status)
}

/// The id of the instance at the broker: the one in use, or the one that the next attempt will use.
#[must_use]
pub fn instance_id(object: &ServiceInstance, status: &ServiceInstanceStatus) -> String {
    if status.instance_id.is_empty() {
        attempt_id(&object.spec.external_id, object.uid().as_deref(), status.progress.attempt)
    } else {
        status.instance_id.clone()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn status(change: impl FnOnce(&mut ServiceInstanceStatus)) -> ServiceInstanceStatus {
        let mut status = ServiceInstanceStatus::default();
        change(&mut status);
        status
    }

    #[test]
    fn a_new_object_is_absent_and_owes_the_broker_nothing() {
        let new = ServiceInstanceStatus::default();
        assert_eq!(phase(&new), Phase::Absent { not_before: None });
        assert!(!may_exist(&new) && !is_recorded(&new));
    }

    #[test]
    fn an_intent_without_an_answer_may_have_been_sent() {
        let at = Timestamp::from_second(7).unwrap();
        let intent = status(|status| {
            status.current_operation = InstanceOperation::Provision;
            status.deprovision_status = DeprovisionStatus::Required;
            status.progress.last_attempt_time = Some(MicroTime(at));
        });
        assert_eq!(phase(&intent), Phase::Intending(Requested::Provision, at));
        assert!(may_exist(&intent));
    }

    #[test]
    fn unknown_combinations_are_read_as_may_exist() {
        for strange in [
            status(|status| status.deprovision_status = DeprovisionStatus::Required),
            status(|status| status.deprovision_status = DeprovisionStatus::Failed),
            status(|status| status.progress.async_op_in_progress = true),
            status(|status| status.progress.orphan_mitigation_in_progress = true),
            status(|status| status.current_operation = InstanceOperation::Update),
            status(|status| {
                status.current_operation = InstanceOperation::Provision;
                status.deprovision_status = DeprovisionStatus::NotRequired;
            }),
            status(|status| status.provision_status = ProvisionStatus::Provisioned),
            status(|status| {
                status.external_properties = Some(crate::crd::instance::InstanceProperties::default());
            }),
        ] {
            assert!(may_exist(&strange), "{strange:?}");
            assert_ne!(phase(&strange), Phase::Absent { not_before: None }, "{strange:?}");
        }
    }
}
