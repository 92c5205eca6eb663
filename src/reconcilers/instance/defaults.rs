//! `defaultProvisionParameters` of class and plan: what an instance gets where its spec does not say otherwise. Pure.

use super::phase;
use crate::{
    context::Tunables,
    crd::{ServiceInstanceStatus, common::JsonObject},
    reconcilers::offering::Offering,
};

/// The defaults of an instance: those of the catalog when it is ordered, where that is set, and from then on the same, as
/// they stand in its status, whatever becomes of the catalog and of the setting.
pub(super) fn in_force(
    status: &ServiceInstanceStatus,
    offering: Option<&Offering>,
    tunables: &Tunables,
) -> Option<JsonObject> {
    if phase::may_exist(status) {
        // The original, which resolved nothing in status, wrote its defaults into the spec. There they still are, unless
        // a user took them out.
        return status.resolved.as_ref().and(status.default_provision_parameters.clone());
    }
    offering.filter(|_| tunables.service_plan_defaults)?.default_parameters.clone()
}
