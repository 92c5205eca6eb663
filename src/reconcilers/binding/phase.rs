//! Where a binding stands: the one place that reads the flags in its status. Total, like that of instances: what nobody
//! writes is read as "the broker may hold a binding".

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::Cause;
use crate::{
    crd::{
        ConditionType, ServiceBinding, ServiceBindingStatus,
        binding::{BindingOperation, UnbindStatus},
        condition,
    },
    reconcilers::{attempt::attempt_id, reason::Reason},
};

/// Where a binding stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The broker has nothing, and nothing is being asked.
    Absent {
        /// Not to be asked before this time.
        not_before: Option<Timestamp>,
    },
    /// An intent is on record and no answer: the request may or may not have been sent.
    Intending(Timestamp),
    /// The broker has answered "not now", or could not be reached.
    Retrying(Timestamp),
    /// The broker is busy since it has accepted a request of this time.
    Polling(Awaited, Timestamp),
    /// What an unsuccessful bind may have left must be deleted.
    Mitigating {
        /// Not before this time: an unanswered bind might still take effect.
        not_before: Option<Timestamp>,
    },
    /// The broker did not delete it yet.
    Unbinding {
        /// Not to be asked before this time.
        not_before: Option<Timestamp>,
    },
    /// The credentials are in their Secret.
    Settled {
        /// When they were looked for in vain: not again before this time.
        not_before: Option<Timestamp>,
    },
    /// The broker has refused for good.
    Stuck,
}

/// What is being polled for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Awaited {
    /// The end of a bind.
    Bind,
    /// The end of an unbind.
    Unbind(Cause),
}

/// Reads the flags.
#[must_use]
pub fn phase(status: &ServiceBindingStatus) -> Phase {
    let (sent, next) = (status.progress.sent(), status.progress.not_before());
    if status.progress.async_op_in_progress {
        let awaited = match status.current_operation {
            BindingOperation::Unbind => Awaited::Unbind(Cause::Deletion),
            BindingOperation::Bind | BindingOperation::None
                if status.progress.orphan_mitigation_in_progress =>
            {
                Awaited::Unbind(Cause::Mitigation)
            }
            BindingOperation::Bind | BindingOperation::None => Awaited::Bind,
        };
        // What went before the request that was accepted is not what is polled for. The deletion of an object has no intent.
        let accepted =
            if awaited == Awaited::Unbind(Cause::Deletion) { status.progress.began() } else { sent };
        return Phase::Polling(awaited, accepted);
    }
    match status.current_operation {
        BindingOperation::Unbind => Phase::Unbinding { not_before: next },
        BindingOperation::Bind | BindingOperation::None if status.progress.orphan_mitigation_in_progress => {
            Phase::Mitigating { not_before: next }
        }
        BindingOperation::Bind => next.map_or(Phase::Intending(sent), Phase::Retrying),
        BindingOperation::None if condition::is_true(&status.conditions, ConditionType::Failed) => {
            Phase::Stuck
        }
        BindingOperation::None if status.external_properties.is_some() => Phase::Settled { not_before: next },
        BindingOperation::None if may_exist(status) => Phase::Intending(sent),
        BindingOperation::None => Phase::Absent { not_before: next },
    }
}

/// Whether the broker may hold a binding for this object, so that it must be told when the object goes.
#[must_use]
pub fn may_exist(status: &ServiceBindingStatus) -> bool {
    match status.unbind_status {
        UnbindStatus::Required | UnbindStatus::Failed => true,
        UnbindStatus::NotRequired | UnbindStatus::Succeeded => status.progress.unanswered,
        UnbindStatus::Unset => {
            !status.current_operation.is_none()
                || status.progress.async_op_in_progress
                || status.progress.orphan_mitigation_in_progress
                || status.external_properties.is_some()
                || status.in_progress_properties.is_some()
        }
    }
}

/// Whether anything was ever said of this object, or asked of a broker for it. The finalizer comes before that, so from then
/// on a missing one means that a person has abandoned the object.
#[must_use]
pub fn is_recorded(status: &ServiceBindingStatus) -> bool {
    !status.conditions.is_empty() || !status.binding_id.is_empty() || may_exist(status)
}

/// Whether the parameters are needed: to decide, or to take secret ones out of what the broker says. Others do without
/// reading Secrets.
#[must_use]
pub fn needs_parameters(object: &ServiceBinding, secret_is_lost: bool) -> bool {
    let status = object.status.clone().unwrap_or_default();
    let secret = !object.spec.parameters_from.is_empty();
    if object.metadata.deletion_timestamp.is_some() {
        return secret && may_exist(&status);
    }
    match phase(&status) {
        Phase::Polling(..) | Phase::Mitigating { .. } | Phase::Unbinding { .. } => secret,
        Phase::Absent { .. }
        | Phase::Intending(_)
        | Phase::Retrying(_)
        | Phase::Settled { .. }
        | Phase::Stuck => asks(object, &status, secret_is_lost),
    }
}

/// Whether the broker is to be asked for credentials, now or later.
#[must_use]
pub fn asks(object: &ServiceBinding, status: &ServiceBindingStatus, secret_is_lost: bool) -> bool {
    let converges = match phase(status) {
        Phase::Absent { .. } | Phase::Intending(_) | Phase::Retrying(_) => true,
        // It must be asked again.
        Phase::Settled { .. } => secret_is_lost,
        Phase::Stuck => is_reopened(object, status),
        Phase::Polling(..) | Phase::Mitigating { .. } | Phase::Unbinding { .. } => false,
    };
    converges && object.metadata.deletion_timestamp.is_none()
}

/// Whether the next answer may hold credentials.
#[must_use]
pub fn awaits_credentials(object: &ServiceBinding, secret_is_lost: bool) -> bool {
    let status = object.status.clone().unwrap_or_default();
    matches!(phase(&status), Phase::Polling(Awaited::Bind, _)) || asks(object, &status, secret_is_lost)
}

/// Whether a binding that was refused for good is worth another look: its spec has been edited, or it was only the plan
/// that gave no credentials, which the catalog may change.
#[must_use]
pub fn is_reopened(object: &ServiceBinding, status: &ServiceBindingStatus) -> bool {
    let unbindable = condition::find(&status.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.reason == Reason::ErrorNonbindableServiceClass.to_string());
    unbindable || object.metadata.generation.unwrap_or(0) > status.reconciled_generation
}

/// The id of the binding at the broker: the one in use, or the one that the next attempt will use.
#[must_use]
pub fn binding_id(object: &ServiceBinding, status: &ServiceBindingStatus) -> String {
    if status.binding_id.is_empty() {
        attempt_id(&object.spec.external_id, object.uid().as_deref(), status.progress.attempt)
    } else {
        status.binding_id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{binding::BindingProperties, progress::Progress};

    #[test]
    fn a_new_object_is_absent_and_owes_the_broker_nothing() {
        let new = ServiceBindingStatus::default();
        assert_eq!(phase(&new), Phase::Absent { not_before: None });
        assert!(!may_exist(&new) && !is_recorded(&new));
    }

    #[test]
    fn unknown_combinations_are_read_as_may_exist() {
        let under_way = |progress| ServiceBindingStatus { progress, ..Default::default() };
        for strange in [
            ServiceBindingStatus { unbind_status: UnbindStatus::Required, ..Default::default() },
            ServiceBindingStatus { unbind_status: UnbindStatus::Failed, ..Default::default() },
            under_way(Progress { async_op_in_progress: true, ..Progress::default() }),
            under_way(Progress { orphan_mitigation_in_progress: true, ..Progress::default() }),
            ServiceBindingStatus { current_operation: BindingOperation::Bind, ..Default::default() },
            ServiceBindingStatus {
                external_properties: Some(BindingProperties::default()),
                ..Default::default()
            },
        ] {
            assert!(may_exist(&strange), "{strange:?}");
            assert_ne!(phase(&strange), Phase::Absent { not_before: None }, "{strange:?}");
        }
    }
}
