//! Bindings that v0.3 left: nothing in their status says at which broker they are. Pure.

use crate::{
    crd::{ConditionType, ServiceBindingStatus, common::ResolvedOffering, condition},
    osb::{BindingId, InstanceId},
};

/// The status with what v0.3 has bound on record: then an unbind needs neither spec nor instance any more. `generation` is
/// that of the spec.
#[must_use]
pub fn record(
    status: ServiceBindingStatus,
    resolved: ResolvedOffering,
    (instance_id, binding_id): (InstanceId, BindingId),
    generation: i64,
) -> ServiceBindingStatus {
    // v0.3 writes this last of all when it gives up. Until then the spec would seem to have been edited since.
    let failed = condition::is_true(&status.conditions, ConditionType::Failed);
    let reconciled_generation = match status.reconciled_generation {
        0 if failed => generation,
        reconciled => reconciled,
    };
    ServiceBindingStatus {
        binding_id,
        instance_id,
        resolved: Some(resolved),
        reconciled_generation,
        ..status
    }
}
