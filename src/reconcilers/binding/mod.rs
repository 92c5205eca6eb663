//! The reconciler of `ServiceBinding`: bind, write credentials into a Secret, unbind.
//!
//! Read the modules in this order: [`observe`] reads what decisions depend on; [`phase`] decodes the status;
//! [`plan`] chooses the next step; [`desired`] says what the spec asks for and what prevents it; [`requests`]
//! builds requests; [`answers`] interprets answers; [`status`] builds the status that is written. [`secret`],
//! [`credentials`], [`shape`], [`well_known`] and [`lifetime`] are about the Secret. [`rotation`] renews the credentials.
//! [`pods`] and [`restarts`] are about the pods that get them. What instances and bindings have in common is in
//! [`super::operation`].

mod answers;
pub mod credentials;
mod desired;
mod keys;
mod lifetime;
mod observe;
pub mod phase;
mod plan;
pub mod pods;
mod requests;
pub mod restarts;
mod rotation;
mod secret;
mod shape;
mod status;
#[cfg(test)]
pub(super) mod tests;
mod well_known;

pub use self::{
    observe::BindingDependencies,
    phase::BindingAction,
    rotation::{Role, role},
    secret::{SecretState, Written, is_secret_lost, secret_name},
    shape::Shaped,
    well_known::ServiceType,
};
use super::{
    operation::{BrokerResource, KindTexts, OperationReconciler, View, resource::OperationSpec},
    reason::Reason,
};
use crate::{
    crd::{
        ServiceBinding, ServiceBindingSpec, ServiceBindingStatus,
        binding::{BindingOperation, BindingProperties},
        common::ResolvedOffering,
    },
    json::RawObject,
    osb::{
        self, InstanceId,
        outcome::{BindingAnswer, Bound},
        wire::{BindRequest, Target},
    },
};

/// `ServiceBinding` as a kind with operations at a broker.
pub struct Binding;

/// The reconciler of `ServiceBinding`.
pub type BindingReconciler = OperationReconciler<Binding>;

/// A decoded binding with everything that a decision depends on.
pub type BindingView<'a> = View<'a, Binding>;

/// The content of a bind, as the status records it.
pub struct BindingRequestRecord {
    /// The instance.
    pub instance_id: InstanceId,
    /// The class, and the plan that the broker has acknowledged for the instance.
    pub resolved: ResolvedOffering,
    /// The parameters.
    pub properties: BindingProperties,
}

/// A request about a binding, other than DELETE and polls.
pub enum BindingRequest {
    /// `PUT`. The flag is `accepts_incomplete`.
    Bind(Box<BindRequest>, bool),
    /// `GET`, for the credentials.
    Fetch(Target),
}

/// The reply to such a request. It has no `Debug`, as it may hold credentials.
pub enum BindingReply {
    /// The reply to a `PUT`.
    Bind(osb::Outcome<Bound>),
    /// The reply to a `GET`.
    Fetch(osb::Outcome<BindingAnswer>),
}

impl BrokerResource for Binding {
    type Object = ServiceBinding;
    type Status = ServiceBindingStatus;
    type Dependencies = BindingDependencies;
    type Operation = BindingAction;
    type RequestRecord = BindingRequestRecord;
    type Request = BindingRequest;
    type Reply = BindingReply;

    const TEXTS: KindTexts = KindTexts {
        noun: "binding",
        create: "bind",
        mitigation_started: Reason::ServiceBindingNeedsOrphanMitigation,
        delete_in_flight: Reason::UnbindingRequestInFlight,
        deleting: (Reason::Unbinding, "The binding is being deleted asynchronously"),
        deleted: (Reason::UnboundSuccessfully, "The binding was deleted successfully"),
        delete_failed: Reason::UnbindCallFailed,
        delete_failed_sentence: "Unbind call failed",
        unknown_broker: (
            Reason::ReferencesNonexistentInstance,
            "the status does not say at which broker the binding is, and its instance no longer exists; remove the \
             finalizer to forget the binding",
        ),
        after_giving_up: "the operator does not try again: delete this binding and create another",
    };
    const CREATE: BindingAction = BindingAction::Bind;
    const HAS_MITIGATION_CONDITION: bool = false;

    fn spec(object: &ServiceBinding) -> OperationSpec<'_> {
        OperationSpec {
            external_id: &object.spec.external_id,
            user_info: object.spec.user_info.as_ref(),
            parameters_from: &object.spec.parameters_from,
            deletion_policy: object.spec.deletion_policy,
        }
    }

    fn inline_parameters(object: &ServiceBinding) -> Option<&RawObject> {
        object.spec.parameters.as_ref()
    }

    fn names_secrets(object: &ServiceBinding) -> bool {
        let ServiceBindingSpec { parameters_from, secret_transforms, .. } = &object.spec;
        !parameters_from.is_empty() || credentials::names_secrets(secret_transforms)
    }

    fn is_readable(dependencies: &BindingDependencies, object: &ServiceBinding) -> bool {
        let (transforms, sources) = (&object.spec.secret_transforms, &dependencies.source_secrets);
        dependencies.common.parameters.as_ref().is_none_or(Result::is_ok)
            && credentials::check_secrets(transforms, sources).is_ok()
    }

    fn exists(status: &ServiceBindingStatus) -> bool {
        status.external_properties.is_some()
    }

    /// An unbind has the properties of the last bind, whether the broker has acknowledged that or not.
    fn is_acknowledged(status: &ServiceBindingStatus) -> bool {
        let is_bind_open = status.progress.last_attempt_time.is_some();
        Self::exists(status) && !(status.current_operation == BindingOperation::Unbind && is_bind_open)
    }

    fn assumed_operation(_: &ServiceBindingStatus) -> BindingAction {
        BindingAction::Bind
    }
}
