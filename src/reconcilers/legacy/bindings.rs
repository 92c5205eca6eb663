//! What must be added to the status of a binding of v0.3? v0.3 did not record the broker of a binding. All
//! functions are pure.

use crate::{
    crd::{ConditionType, ServiceBindingStatus, common::ResolvedOffering, condition},
    osb::{BindingId, InstanceId},
};

/// The status with the class and plan that v0.3 bound to. With them, an unbind needs neither the spec nor the
/// instance. `generation` is that of the spec.
#[must_use]
pub fn record(
    status: ServiceBindingStatus,
    resolved: ResolvedOffering,
    (instance_id, binding_id): (InstanceId, BindingId),
    generation: i64,
) -> ServiceBindingStatus {
    // v0.3 writes `reconciledGeneration` last when it gives up. Without it, the spec would seem to have been
    // edited since.
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
