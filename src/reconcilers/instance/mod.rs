//! The reconciler of `ServiceInstance`: provision, update, deprovision.
//!
//! Read the modules in this order: [`observe`] reads what decisions depend on; [`phase`] decodes the status;
//! [`plan`] chooses the next step; [`desired`] says what the spec asks for and what prevents it; [`requests`]
//! builds requests; [`answers`] interprets answers; [`status`] builds the status that is written. What
//! instances and bindings have in common is in [`super::operation`].

mod answers;
mod defaults;
mod desired;
mod observe;
pub mod phase;
mod plan;
mod requests;
mod status;
#[cfg(test)]
pub(super) mod tests;

pub use self::{observe::InstanceDependencies, phase::InstanceAction};
use super::{
    operation::{
        Address, BrokerResource, KindTexts, OperationReconciler, View, apart::ApartHooks,
        resource::OperationSpec,
    },
    reason::Reason,
};
use crate::{
    crd::{
        ServiceInstance, ServiceInstanceStatus,
        common::ResolvedOffering,
        instance::{InstanceProperties, ProvisionStatus},
        progress::DeletionStatus,
    },
    json::RawObject,
    osb::{
        self,
        outcome::{Explanation, InstanceAnswer, Provisioned},
        wire::{ProvisionRequest, Target, UpdateRequest},
    },
};

/// `ServiceInstance` as a kind with operations at a broker.
pub struct Instance;

/// The reconciler of `ServiceInstance`.
pub type InstanceReconciler = OperationReconciler<Instance>;

/// A decoded instance with everything that a decision depends on.
pub type InstanceView<'a> = View<'a, Instance>;

/// The content of a provision or an update, as the status records it.
pub struct InstanceRequestRecord {
    /// The class and plan. `None` for an update of the context alone, which does not act on a spec.
    pub resolved: Option<ResolvedOffering>,
    /// The plan, the parameters and the context.
    pub properties: InstanceProperties,
}

/// A request about an instance, other than DELETE and polls.
pub enum InstanceRequest {
    /// `PUT`
    Provision(Box<ProvisionRequest>),
    /// `PATCH`
    Update(Box<UpdateRequest>),
    /// `GET`
    Fetch(Target, FetchPurpose),
}

/// The reply to such a request.
pub enum InstanceReply {
    /// The reply to a `PUT`, with its address and target.
    Provision(Address, Target, osb::Outcome<Provisioned>),
    /// The reply to a `PATCH`.
    Update(osb::Outcome<Provisioned>),
    /// The reply to a `GET`.
    Fetch(Target, FetchPurpose, osb::Outcome<InstanceAnswer>),
}

/// Why the operator fetches an instance from the broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchPurpose {
    /// An asynchronous provision has succeeded. The reply may have details that the answers before did not
    /// have.
    Provisioned,
    /// An asynchronous update has succeeded.
    Updated,
    /// A provision without an answer was repeated, and the broker refused the repetition with this message.
    /// The reply says whether the first request took effect.
    Refused(Explanation),
}

impl ApartHooks for Instance {}

impl BrokerResource for Instance {
    type Object = ServiceInstance;
    type Status = ServiceInstanceStatus;
    type Dependencies = InstanceDependencies;
    type Operation = InstanceAction;
    type RequestRecord = InstanceRequestRecord;
    type Request = InstanceRequest;
    type Reply = InstanceReply;

    const TEXTS: KindTexts = KindTexts {
        noun: "instance",
        create: "provision",
        mitigation_started: Reason::StartingInstanceOrphanMitigation,
        delete_in_flight: Reason::DeprovisionRequestInFlight,
        deleting: (Reason::Deprovisioning, "The instance is being deprovisioned asynchronously"),
        deleted: (Reason::DeprovisionedSuccessfully, "The instance was deprovisioned successfully"),
        delete_failed: Reason::DeprovisionCallFailed,
        delete_failed_sentence: "Deprovision call failed",
        unknown_broker: (
            Reason::ReferencesNonexistentServiceClass,
            "the status does not say at which broker the instance is, and the class in spec no longer exists; create \
             the class again, or remove the finalizer to forget the instance",
        ),
        after_giving_up: "the operator does not try again until the spec changes or updateRequests grows",
    };
    const CREATE: InstanceAction = InstanceAction::Provision;
    const HAS_MITIGATION_CONDITION: bool = true;

    fn spec(object: &ServiceInstance) -> OperationSpec<'_> {
        OperationSpec {
            external_id: &object.spec.external_id,
            user_info: object.spec.user_info.as_ref(),
            parameters_from: &object.spec.parameters_from,
            deletion_policy: object.spec.deletion_policy,
        }
    }

    fn inline_parameters(object: &ServiceInstance) -> Option<&RawObject> {
        object.spec.parameters.as_ref()
    }

    fn exists(status: &ServiceInstanceStatus) -> bool {
        status.provision_status == ProvisionStatus::Provisioned
    }

    fn assumed_operation(status: &ServiceInstanceStatus) -> InstanceAction {
        if Self::exists(status) { InstanceAction::Update } else { InstanceAction::Provision }
    }

    fn legacy_gave_up_deletion(status: &ServiceInstanceStatus) -> bool {
        status.deprovision_status == DeletionStatus::Failed && !Self::exists(status)
    }
}
