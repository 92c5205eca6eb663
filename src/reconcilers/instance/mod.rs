//! `ServiceInstance`: provision, update, deprovision.
//!
//! Read in this order: [`observe`] reads what decisions depend on; [`phase`] decodes the flags; [`plan`] picks a step;
//! [`desired`] says what the spec asks for and what is missing; [`requests`] builds bodies; [`answers`] reads outcomes;
//! [`status`] builds the status that is written. What instances and bindings do alike is in [`super::operation`].

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
    operation::{Address, BrokerResource, OperationReconciler, View, Words, resource::OperationSpec},
    reason::Reason,
};
use crate::{
    crd::{
        ServiceInstance, ServiceInstanceStatus,
        common::ResolvedOffering,
        instance::{InstanceProperties, ProvisionStatus},
        progress::DeletionStatus,
    },
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

/// What a provision or an update asks for, as it is recorded.
pub struct InstanceOrder {
    /// The class and plan; none for an update of the context alone, which acts on no spec.
    pub resolved: Option<ResolvedOffering>,
    /// The plan, the parameters and the context.
    pub properties: InstanceProperties,
}

/// A request about an instance, beside DELETE and polls.
pub enum InstanceRequest {
    /// `PUT`
    Provision(Box<ProvisionRequest>),
    /// `PATCH`
    Update(Box<UpdateRequest>),
    /// `GET`
    Fetch(Target, Fetching),
}

/// Such a request together with what came of it.
pub enum InstanceReply {
    /// Of a `PUT`: where it was sent, and what it asked for.
    Provision(Address, Target, osb::Outcome<Provisioned>),
    /// Of a `PATCH`.
    Update(osb::Outcome<Provisioned>),
    /// Of a `GET`.
    Fetch(Target, Fetching, osb::Outcome<InstanceAnswer>),
}

/// Why an instance is fetched from the broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fetching {
    /// An asynchronous provision has succeeded. The instance says more than the answers so far.
    Provisioned,
    /// An asynchronous update has succeeded.
    Updated,
    /// A provision without an answer was repeated and refused with this message. Did the first one take effect?
    Refused(Explanation),
}

impl BrokerResource for Instance {
    type Object = ServiceInstance;
    type Status = ServiceInstanceStatus;
    type Dependencies = InstanceDependencies;
    type Operation = InstanceAction;
    type Order = InstanceOrder;
    type Request = InstanceRequest;
    type Reply = InstanceReply;

    const WORDS: Words = Words {
        noun: "instance",
        create: "provision",
        mitigation_started: Reason::StartingInstanceOrphanMitigation,
        delete_in_flight: Reason::DeprovisionRequestInFlight,
        deleting: (Reason::Deprovisioning, "The instance is being deprovisioned asynchronously"),
        delete_failed: Reason::DeprovisionCallFailed,
        delete_failed_sentence: "Deprovision call failed",
        no_target: (
            Reason::ReferencesNonexistentServiceClass,
            "the status does not say at which broker the instance is, and the class in spec no longer exists; create \
             the class again, or remove the finalizer to forget the instance",
        ),
        given_up: "the operator does not try again until the spec changes or updateRequests grows",
    };
    const CREATE: InstanceAction = InstanceAction::Provision;
    const HAS_MITIGATION_CONDITION: bool = true;

    fn spec(object: &ServiceInstance) -> OperationSpec<'_> {
        OperationSpec {
            external_id: &object.spec.external_id,
            user_info: object.spec.user_info.as_ref(),
            parameters_from: &object.spec.parameters_from,
        }
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
