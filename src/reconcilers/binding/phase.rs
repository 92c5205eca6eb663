//! How is the status of a binding decoded? This file has what is special about bindings: whether the next
//! answer may have credentials, and whether the operator retries a failed binding. All functions are pure.

use super::Binding;
use crate::{
    crd::{
        Condition, ServiceBindingStatus,
        binding::{BindingOperation, BindingProperties},
        common::ResolvedOffering,
        progress::{DeletionStatus, Progress},
    },
    osb::BindingId,
    reconcilers::{
        identity::attempt_id,
        operation::{
            Awaited, Decoded, OperationStatus, Phase, RequestProperties, phase::CurrentOperation,
            status::is_ready_for,
        },
        reason::Reason,
        redaction::SentParameters,
    },
};

/// An operation that creates a binding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BindingAction {
    /// `PUT`
    Bind,
}

impl RequestProperties for BindingProperties {
    fn sent_parameters(&self) -> SentParameters<'_> {
        SentParameters { parameters: self.parameters.as_ref(), checksum: &self.parameter_checksum }
    }

    fn clear_parameters(&mut self) {
        self.parameters = None;
    }
}

impl OperationStatus for ServiceBindingStatus {
    type Operation = BindingAction;
    type Properties = BindingProperties;

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn operation(&self) -> CurrentOperation<BindingAction> {
        match self.current_operation {
            BindingOperation::None => CurrentOperation::None,
            BindingOperation::Bind => CurrentOperation::Operation(BindingAction::Bind),
            BindingOperation::Unbind => CurrentOperation::Deletion,
        }
    }

    fn set_operation(&mut self, operation: CurrentOperation<BindingAction>) {
        self.current_operation = match operation {
            CurrentOperation::None => BindingOperation::None,
            CurrentOperation::Operation(BindingAction::Bind) => BindingOperation::Bind,
            CurrentOperation::Deletion => BindingOperation::Unbind,
        };
    }

    fn deletion_status(&self) -> DeletionStatus {
        self.unbind_status
    }

    fn deletion_status_mut(&mut self) -> &mut DeletionStatus {
        &mut self.unbind_status
    }

    fn properties(&self) -> [Option<&BindingProperties>; 2] {
        [self.in_progress_properties.as_ref(), self.external_properties.as_ref()]
    }

    fn properties_mut(&mut self) -> [&mut Option<BindingProperties>; 2] {
        [&mut self.in_progress_properties, &mut self.external_properties]
    }

    /// v0.3 allows properties in progress only during a bind. Those of the last bind are still needed to
    /// remove secret parameters from the broker's messages.
    fn set_properties_of_deletion(&mut self) {
        self.external_properties = self.in_progress_properties.take().or(self.external_properties.take());
    }

    fn resolved(&self) -> Option<&ResolvedOffering> {
        self.resolved.as_ref()
    }

    fn resolved_mut(&mut self) -> &mut Option<ResolvedOffering> {
        &mut self.resolved
    }

    fn clear_parameters(&mut self) {
        self.properties_mut().into_iter().flatten().for_each(RequestProperties::clear_parameters);
        let others = self.rotation.iter_mut().flat_map(|all| [&mut all.successor, &mut all.predecessor]);
        for other in others.flatten() {
            let both = [&mut other.in_progress_properties, &mut other.external_properties];
            both.into_iter().flatten().for_each(RequestProperties::clear_parameters);
        }
    }

    fn generations_mut(&mut self) -> [&mut i64; 2] {
        [&mut self.observed_generation, &mut self.reconciled_generation]
    }

    fn has_id(&self) -> bool {
        !self.binding_id.is_empty()
    }
}

impl Decoded<'_, Binding> {
    /// The id of the binding at the broker: the current one, or the one that the next attempt will use.
    #[must_use]
    pub fn binding_id(&self) -> BindingId {
        if self.status.binding_id.is_empty() {
            attempt_id(self.given_id(), self.uid(), self.status.progress.attempt).into()
        } else {
            self.status.binding_id.clone()
        }
    }

    /// Whether the operator has a request for credentials to send, now or later.
    #[must_use]
    pub fn needs_request(&self, secret_is_lost: bool) -> bool {
        let needs_request = match self.phase {
            Phase::Absent { .. } | Phase::RequestInFlight(..) | Phase::BackingOff(..) => true,
            Phase::Present { .. } => secret_is_lost,
            Phase::Failed => self.is_retried_after_failure(),
            Phase::Polling(..) | Phase::OrphanMitigation { .. } | Phase::Deleting { .. } => false,
        };
        needs_request && !self.is_being_deleted()
    }

    /// Whether the next answer may hold credentials. `needs_request`: whether the operator has a request for
    /// them to send.
    #[must_use]
    pub fn awaits_credentials(&self, needs_request: bool) -> bool {
        matches!(self.phase, Phase::Polling(Awaited::Operation(BindingAction::Bind), _)) || needs_request
    }

    /// Whether the operator tries again after it has given up a binding. It does if the spec has been edited.
    /// It also does if only the plan was not bindable, as the catalog may change.
    #[must_use]
    pub fn is_retried_after_failure(&self) -> bool {
        is_ready_for(&*self.status, Reason::ErrorNonbindableServiceClass)
            || self.generation() != self.status.reconciled_generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{ServiceBinding, ServiceBindingSpec};

    fn with(status: ServiceBindingStatus) -> ServiceBinding {
        let mut object = ServiceBinding::new("db", ServiceBindingSpec::default());
        object.status = Some(status);
        object
    }

    #[test]
    fn new_binding_is_absent_and_has_nothing_at_the_broker() {
        let object = with(ServiceBindingStatus::default());
        let new = Decoded::<Binding>::of(&object);
        assert_eq!(new.phase, Phase::Absent { not_before: None });
        assert!(!new.may_exist() && !new.is_recorded());
    }

    #[test]
    fn unknown_combinations_of_flags_are_read_as_may_exist() {
        let under_way = |progress| ServiceBindingStatus { progress, ..Default::default() };
        for strange in [
            ServiceBindingStatus { unbind_status: DeletionStatus::Required, ..Default::default() },
            ServiceBindingStatus { unbind_status: DeletionStatus::Failed, ..Default::default() },
            under_way(Progress { async_op_in_progress: true, ..Progress::default() }),
            under_way(Progress { orphan_mitigation_in_progress: true, ..Progress::default() }),
            ServiceBindingStatus { current_operation: BindingOperation::Bind, ..Default::default() },
            ServiceBindingStatus {
                external_properties: Some(BindingProperties::default()),
                ..Default::default()
            },
        ] {
            let object = with(strange);
            let strange = Decoded::<Binding>::of(&object);
            assert!(strange.may_exist(), "{:?}", strange.status);
            assert_ne!(strange.phase, Phase::Absent { not_before: None }, "{:?}", strange.status);
        }
    }
}
