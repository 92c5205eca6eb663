//! Updates of the context alone: the annotations of an instance or its namespace have changed, and its offering wants to
//! be told (OSB 2.17, `allow_context_updates`). Pure.
//!
//! Such an update says nothing of plan or parameters, is nobody's request, and does not make the instance any less ready.

use jiff::Timestamp;

use super::{
    Call, Recipient, intent,
    plan::{Next, Seen, addressee, pending},
};
use crate::{
    crd::{ServiceInstanceStatus, instance::InstanceProperties},
    osb::wire::{MaintenanceInfo, PreviousValues, UpdateRequest},
    reconcilers::{machine::Step, offering::BrokerState, reason::Reason},
};

/// What is said of an instance whose broker could not be told. It is what it was.
pub(super) const UNTOLD: (Reason, &str) = (
    Reason::InstanceUpdatedSuccessfully,
    "The instance is as its spec asks; the broker has not taken note of changed annotations",
);

/// Whether the broker is to be told of annotations that have changed since it was last told.
pub(super) fn have_moved(observed: &Seen, status: &ServiceInstanceStatus) -> bool {
    let world = &observed.world;
    let told = status.external_properties.as_ref().and_then(|told| told.context_annotations.as_ref());
    let wanted = world
        .present
        .as_ref()
        .is_some_and(|present| present.context_updatable && present.broker_state == BrokerState::Present);
    wanted && world.context_annotations.is_some() && world.context_annotations.as_ref() != told
}

/// Whether the update that is under way is one of the context alone.
pub(super) fn are_being_told(status: &ServiceInstanceStatus) -> bool {
    let (Some(asked), Some(acknowledged)) = (&status.in_progress_properties, &status.external_properties)
    else {
        return false;
    };
    let context_annotations = asked.context_annotations.clone();
    asked.context_annotations != acknowledged.context_annotations
        && *asked == InstanceProperties { context_annotations, ..acknowledged.clone() }
}

/// Tells the broker, when it is time.
pub(super) fn tell(
    observed: &Seen,
    status: &ServiceInstanceStatus,
    not_before: Option<Timestamp>,
) -> Option<Next> {
    let (recipient, target) = addressee(observed, status)?;
    let acknowledged = status.external_properties.as_ref()?;
    if let Some(wait) = pending(not_before, observed.now) {
        return Some(wait);
    }
    let mut intent = status.clone();
    intent::begin_telling(observed, &mut intent, acknowledged);
    // Who has changed an annotation is not known.
    let recipient = Recipient { identity: None, ..recipient };
    let body = UpdateRequest {
        service_id: target.service_id.clone(),
        plan_id: None,
        parameters: None,
        context: intent::context(observed, observed.world.context_annotations.as_ref()),
        previous_values: PreviousValues {
            service_id: target.service_id,
            plan_id: target.plan_id,
            maintenance_info: MaintenanceInfo::of(acknowledged.maintenance_version.as_deref()),
        },
        maintenance_info: None,
    };
    Some(Step::Attempt { intent, call: Call::Update(recipient, Box::new(body)) })
}
