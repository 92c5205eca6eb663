//! A binding that the original left. Pure.

use super::{
    phase,
    plan::{Seen, addressee},
};
use crate::crd::{ServiceBindingStatus, common::ResolvedOffering};

/// What the original has bound goes on record as if it had been bound here, once its instance is: then an unbind needs
/// neither.
pub(super) fn taken_over(observed: &Seen, status: &ServiceBindingStatus) -> Option<ServiceBindingStatus> {
    if status.resolved.is_some() || !phase::may_exist(status) {
        return None;
    }
    let instance = observed.world.instance.as_ref()?.status.as_ref()?;
    let resolved = instance.resolved.clone()?;
    let (recipient, target) = addressee(observed, status)?;
    Some(ServiceBindingStatus {
        binding_id: recipient.binding_id,
        instance_id: recipient.instance_id,
        resolved: Some(ResolvedOffering { plan_id: target.plan_id, ..resolved }),
        ..status.clone()
    })
}
