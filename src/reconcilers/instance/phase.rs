//! What is special about where an instance stands: its actions, requests for updates, context updates. Pure.

use super::Instance;
use crate::{
    caches::Caches,
    crd::{
        Condition, ConditionType, ServiceInstanceStatus,
        common::ResolvedOffering,
        instance::{InstanceOperation, InstanceProperties},
        progress::{DeletionStatus, Progress},
    },
    osb::InstanceId,
    reconcilers::{
        identity::attempt_id,
        operation::{OperationStatus, Phase, Standing, phase::Recorded},
        redaction::SentParameters,
        references::{self, Offering, Unresolved, pinned},
    },
};

/// A request that creates or changes an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceAction {
    /// `PUT`
    Provision,
    /// `PATCH`
    Update,
    /// `PATCH` of the context alone: annotations have changed, and the offering asks to be told (OSB 2.17,
    /// `allow_context_updates`). The instance stays what it is, ready above all.
    UpdateContext,
}

impl OperationStatus for ServiceInstanceStatus {
    type Operation = InstanceAction;

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn operation(&self) -> Recorded<InstanceAction> {
        match self.current_operation {
            InstanceOperation::None => Recorded::None,
            InstanceOperation::Provision => Recorded::Operation(InstanceAction::Provision),
            InstanceOperation::Update if is_context_update(self) => {
                Recorded::Operation(InstanceAction::UpdateContext)
            }
            InstanceOperation::Update => Recorded::Operation(InstanceAction::Update),
            InstanceOperation::Deprovision => Recorded::Deletion,
        }
    }

    fn set_operation(&mut self, operation: Recorded<InstanceAction>) {
        self.current_operation = match operation {
            Recorded::None => InstanceOperation::None,
            Recorded::Operation(InstanceAction::Provision) => InstanceOperation::Provision,
            Recorded::Operation(InstanceAction::Update | InstanceAction::UpdateContext) => {
                InstanceOperation::Update
            }
            Recorded::Deletion => InstanceOperation::Deprovision,
        };
    }

    fn deletion_status(&self) -> DeletionStatus {
        self.deprovision_status
    }

    fn deletion_status_mut(&mut self) -> &mut DeletionStatus {
        &mut self.deprovision_status
    }

    fn sent_parameters(&self) -> [Option<SentParameters<'_>>; 2] {
        [&self.in_progress_properties, &self.external_properties].map(|properties| {
            properties.as_ref().map(|properties| SentParameters {
                parameters: properties.parameters.as_ref(),
                checksum: &properties.parameter_checksum,
            })
        })
    }

    fn clear_in_progress(&mut self) {
        self.in_progress_properties = None;
    }

    fn copy_in_progress(&mut self, from: &Self) {
        self.in_progress_properties.clone_from(&from.in_progress_properties);
    }

    fn resolved(&self) -> Option<&ResolvedOffering> {
        self.resolved.as_ref()
    }

    fn has_id(&self) -> bool {
        !self.instance_id.is_empty()
    }
}

/// Whether the update on record differs from what the broker has acknowledged in nothing but the annotations.
fn is_context_update(status: &ServiceInstanceStatus) -> bool {
    let (Some(asked), Some(acknowledged)) = (&status.in_progress_properties, &status.external_properties)
    else {
        return false;
    };
    let context_annotations = asked.context_annotations.clone();
    asked.context_annotations != acknowledged.context_annotations
        && *asked == InstanceProperties { context_annotations, ..acknowledged.clone() }
}

impl Standing<'_, Instance> {
    /// The id of the instance at the broker: the one in use, or the one that the next attempt will use.
    #[must_use]
    pub fn instance_id(&self) -> InstanceId {
        if self.status.instance_id.is_empty() {
            attempt_id(&self.object.spec.external_id, self.uid(), self.status.progress.attempt).into()
        } else {
            self.status.instance_id.clone()
        }
    }

    /// The class and plan that the references mean now: those that were ordered, until the spec names others.
    ///
    /// # Errors
    /// See [`references::resolve`].
    pub fn offering(&self, caches: &Caches) -> Result<Offering, Unresolved> {
        let (reference, namespace) = (&self.object.spec.plan_reference, self.namespace());
        if self.may_exist() {
            return pinned::resolve(reference, &self.status, namespace, caches);
        }
        references::resolve(reference, namespace, caches)
    }

    /// Whether the id is derived from the object, so that no other instance can have it. A user-given id may be that of an
    /// instance that was there before, and a DELETE to be on the safe side would lose that instance. So an operation in doubt
    /// is repeated under it, and the instance is deleted only when the user deletes the object. The orphan table of the
    /// specification does not consider such ids.
    #[must_use]
    pub fn is_id_derived(&self) -> bool {
        self.object.spec.external_id.is_empty()
    }

    /// Whether the spec, and each request for an update, has been acted on.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        !self.spec_has_changed() && !self.is_update_requested()
    }

    /// Whether `updateRequests` has grown since it was last acted on.
    #[must_use]
    pub fn is_update_requested(&self) -> bool {
        self.object.spec.update_requests > self.seen_update_requests()
    }

    /// The `updateRequests` that were acted on. v0.3 did not count them: it acted on every generation of the spec.
    #[must_use]
    pub fn seen_update_requests(&self) -> i64 {
        let status = &self.status;
        let by_v0_3 = status.instance_id.is_empty()
            && status.observed_generation > 0
            && self.generation() <= status.observed_generation;
        if by_v0_3 { self.object.spec.update_requests } else { status.observed_update_requests }
    }

    /// Whether the spec has been acted on: no broker is asked until it changes.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        match self.phase {
            Phase::Present { .. } => self.is_seen() && self.is_true(ConditionType::Ready),
            Phase::Failed => self.is_seen(),
            Phase::Absent { .. }
            | Phase::RequestInFlight(..)
            | Phase::BackingOff(..)
            | Phase::Polling(..)
            | Phase::OrphanMitigation { .. }
            | Phase::Deleting { .. } => false,
        }
    }

    /// Whether the broker is to be asked for what the spec says, now or later.
    #[must_use]
    pub fn asks(&self) -> bool {
        match self.phase {
            Phase::Polling(..) | Phase::OrphanMitigation { .. } | Phase::Deleting { .. } => false,
            Phase::Absent { .. }
            | Phase::RequestInFlight(..)
            | Phase::BackingOff(..)
            | Phase::Present { .. }
            | Phase::Failed => !self.is_being_deleted() && !self.is_at_rest(),
        }
    }

    /// Whether credentials for the instance may be asked for: it is there, and no operation on it is under way. While a
    /// failed update is tried again the instance can be used as before, unless the broker says otherwise (OSB 2.17,
    /// "Updating a Service Instance", `instance_usable`).
    #[must_use]
    pub fn is_bindable(&self) -> bool {
        !self.status.unusable
            && !self.status.progress.async_op_in_progress
            && (self.is_true(ConditionType::Ready)
                || matches!(
                    self.phase,
                    Phase::BackingOff(InstanceAction::Update | InstanceAction::UpdateContext, _)
                ))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;
    use crate::crd::{ServiceInstance, ServiceInstanceSpec, instance::ProvisionStatus};

    fn with(change: impl FnOnce(&mut ServiceInstanceStatus)) -> ServiceInstance {
        let mut object = ServiceInstance::new("db", ServiceInstanceSpec::default());
        change(object.status.insert(ServiceInstanceStatus::default()));
        object
    }

    #[test]
    fn new_instance_is_absent_and_has_nothing_at_the_broker() {
        let object = with(|_| ());
        let new = Standing::<Instance>::of(&object);
        assert_eq!(new.phase, Phase::Absent { not_before: None });
        assert!(!new.may_exist() && !new.is_recorded());
    }

    #[test]
    fn intent_without_an_answer_may_have_been_sent() {
        let at = Timestamp::from_second(7).unwrap();
        let object = with(|status| {
            status.current_operation = InstanceOperation::Provision;
            status.deprovision_status = DeletionStatus::Required;
            status.progress.last_attempt_time = Some(MicroTime(at));
        });
        let intent = Standing::<Instance>::of(&object);
        assert_eq!(intent.phase, Phase::RequestInFlight(InstanceAction::Provision, at));
        assert!(intent.may_exist());
    }

    // v0.3 D12, J7
    #[test]
    fn unknown_combinations_of_flags_are_read_as_may_exist() {
        let changes: [fn(&mut ServiceInstanceStatus); 8] = [
            |status| status.deprovision_status = DeletionStatus::Required,
            |status| status.deprovision_status = DeletionStatus::Failed,
            |status| status.progress.async_op_in_progress = true,
            |status| status.progress.orphan_mitigation_in_progress = true,
            |status| status.current_operation = InstanceOperation::Update,
            |status| {
                status.current_operation = InstanceOperation::Provision;
                status.deprovision_status = DeletionStatus::NotRequired;
            },
            |status| status.provision_status = ProvisionStatus::Provisioned,
            |status| {
                status.external_properties = Some(InstanceProperties::default());
            },
        ];
        for change in changes {
            let object = with(change);
            let strange = Standing::<Instance>::of(&object);
            assert!(strange.may_exist(), "{:?}", strange.status);
            assert_ne!(strange.phase, Phase::Absent { not_before: None }, "{:?}", strange.status);
        }
    }
}
