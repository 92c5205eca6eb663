//! How is the status of an instance decoded, and is its spec already acted on? This file has what is special
//! about instances: their operations, requests for updates, updates of the context. All functions are pure.

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
        operation::{Decoded, OperationStatus, Phase, RequestProperties, phase::CurrentOperation},
        redaction::SentParameters,
        references::{self, Offering, Unresolved, pinned},
    },
};

/// An operation that creates or changes an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceAction {
    /// `PUT`
    Provision,
    /// `PATCH`
    Update,
    /// `PATCH` of the context alone, sent when annotations have changed and the offering has
    /// `allow_context_updates` (OSB 2.17). The instance stays ready.
    UpdateContext,
}

impl RequestProperties for InstanceProperties {
    fn sent_parameters(&self) -> SentParameters<'_> {
        SentParameters { parameters: self.parameters.as_ref(), checksum: &self.parameter_checksum }
    }

    fn clear_parameters(&mut self) {
        self.parameters = None;
    }
}

impl OperationStatus for ServiceInstanceStatus {
    type Operation = InstanceAction;
    type Properties = InstanceProperties;

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn operation(&self) -> CurrentOperation<InstanceAction> {
        match self.current_operation {
            InstanceOperation::None => CurrentOperation::None,
            InstanceOperation::Provision => CurrentOperation::Operation(InstanceAction::Provision),
            InstanceOperation::Update if is_context_update(self) => {
                CurrentOperation::Operation(InstanceAction::UpdateContext)
            }
            InstanceOperation::Update => CurrentOperation::Operation(InstanceAction::Update),
            InstanceOperation::Deprovision => CurrentOperation::Deletion,
        }
    }

    fn set_operation(&mut self, operation: CurrentOperation<InstanceAction>) {
        self.current_operation = match operation {
            CurrentOperation::None => InstanceOperation::None,
            CurrentOperation::Operation(InstanceAction::Provision) => InstanceOperation::Provision,
            CurrentOperation::Operation(InstanceAction::Update | InstanceAction::UpdateContext) => {
                InstanceOperation::Update
            }
            CurrentOperation::Deletion => InstanceOperation::Deprovision,
        };
    }

    fn deletion_status(&self) -> DeletionStatus {
        self.deprovision_status
    }

    fn deletion_status_mut(&mut self) -> &mut DeletionStatus {
        &mut self.deprovision_status
    }

    fn properties(&self) -> [Option<&InstanceProperties>; 2] {
        [self.in_progress_properties.as_ref(), self.external_properties.as_ref()]
    }

    fn properties_mut(&mut self) -> [&mut Option<InstanceProperties>; 2] {
        [&mut self.in_progress_properties, &mut self.external_properties]
    }

    /// v0.3 needs the properties in progress during a deprovision.
    fn set_properties_of_deletion(&mut self) {
        if let Some(acknowledged) = &self.external_properties {
            self.in_progress_properties = Some(acknowledged.clone());
        } else if self.in_progress_properties.is_none() {
            self.in_progress_properties = self.resolved.as_ref().map(InstanceProperties::of_plan);
        }
    }

    fn resolved(&self) -> Option<&ResolvedOffering> {
        self.resolved.as_ref()
    }

    fn resolved_mut(&mut self) -> &mut Option<ResolvedOffering> {
        &mut self.resolved
    }

    fn generations_mut(&mut self) -> [&mut i64; 2] {
        [&mut self.observed_generation, &mut self.reconciled_generation]
    }

    fn has_id(&self) -> bool {
        !self.instance_id.is_empty()
    }
}

/// Whether the recorded update differs from the acknowledged properties in nothing but the annotations.
fn is_context_update(status: &ServiceInstanceStatus) -> bool {
    let (Some(in_progress), Some(acknowledged)) =
        (&status.in_progress_properties, &status.external_properties)
    else {
        return false;
    };
    let context_annotations = in_progress.context_annotations.clone();
    in_progress.context_annotations != acknowledged.context_annotations
        && *in_progress == InstanceProperties { context_annotations, ..acknowledged.clone() }
}

impl Decoded<'_, Instance> {
    /// The id of the instance at the broker: the current one, or the one that the next attempt will use.
    #[must_use]
    pub fn instance_id(&self) -> InstanceId {
        if self.status.instance_id.is_empty() {
            attempt_id(self.given_id(), self.uid(), self.status.progress.attempt).into()
        } else {
            self.status.instance_id.clone()
        }
    }

    /// The class and plan that the references resolve to now. If the instance may exist, they stay the same
    /// until the spec names others.
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

    /// Whether the operator has acted on the spec and on each request for an update.
    #[must_use]
    pub fn is_spec_observed(&self) -> bool {
        !self.spec_has_changed() && !self.is_update_requested()
    }

    /// Whether `updateRequests` has grown since the operator last acted on it.
    #[must_use]
    pub fn is_update_requested(&self) -> bool {
        self.object.spec.update_requests > self.observed_update_requests()
    }

    /// The value of `updateRequests` that the operator last acted on. v0.3 did not record it, as it acted on
    /// every generation of the spec.
    #[must_use]
    pub fn observed_update_requests(&self) -> i64 {
        let status = &self.status;
        let by_v0_3 = status.instance_id.is_empty()
            && status.observed_generation > 0
            && self.generation() <= status.observed_generation;
        if by_v0_3 { self.object.spec.update_requests } else { status.observed_update_requests }
    }

    /// Whether the operator has acted on the spec, with success or not. It sends no request for the spec
    /// until the spec changes.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Present { .. } => self.is_spec_observed() && self.is_true(ConditionType::Ready),
            Phase::Failed => self.is_spec_observed(),
            Phase::Absent { .. }
            | Phase::RequestInFlight(..)
            | Phase::BackingOff(..)
            | Phase::Polling(..)
            | Phase::OrphanMitigation { .. }
            | Phase::Deleting { .. } => false,
        }
    }

    /// Whether the operator has a request to send for the spec, now or later.
    #[must_use]
    pub fn needs_request(&self) -> bool {
        match self.phase {
            Phase::Polling(..) | Phase::OrphanMitigation { .. } | Phase::Deleting { .. } => false,
            Phase::Absent { .. }
            | Phase::RequestInFlight(..)
            | Phase::BackingOff(..)
            | Phase::Present { .. }
            | Phase::Failed => !self.is_being_deleted() && !self.is_settled(),
        }
    }

    /// Whether the operator may bind to the instance: the instance exists, and no operation on it is in
    /// progress. While the operator retries a failed update the instance can be used as before, unless the
    /// broker says otherwise (OSB 2.17, "Updating a Service Instance", `instance_usable`).
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
        let new = Decoded::<Instance>::of(&object);
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
        let intent = Decoded::<Instance>::of(&object);
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
            let strange = Decoded::<Instance>::of(&object);
            assert!(strange.may_exist(), "{:?}", strange.status);
            assert_ne!(strange.phase, Phase::Absent { not_before: None }, "{:?}", strange.status);
        }
    }
}
