//! `defaultProvisionParameters` of class and plan: what an instance gets where its spec does not say otherwise. Pure.

use super::phase;
use crate::{
    context::Tunables,
    crd::ServiceInstanceStatus,
    json::RawObject,
    reconcilers::{
        offering::Offering,
        parameters::{self, ParametersError},
    },
};

/// The defaults of an instance: those of the catalog when it is ordered, where that is set, and from then on the same, as
/// they stand in its status, whatever becomes of the catalog and of the setting.
///
/// # Errors
/// Those of the catalog cannot be had.
pub(super) fn in_force(
    status: &ServiceInstanceStatus,
    offering: Option<&Offering>,
    tunables: &Tunables,
) -> Result<Option<RawObject>, ParametersError> {
    if phase::may_exist(status) {
        // The original, which resolved nothing in status, wrote its defaults into the spec. There they still are, unless
        // a user took them out.
        return Ok(status.resolved.as_ref().and(status.default_provision_parameters.clone()));
    }
    let Some(offering) = offering.filter(|_| tunables.service_plan_defaults) else {
        return Ok(None);
    };
    let [of_class, of_plan] = &offering.default_parameters;
    parameters::defaults(of_class.as_ref(), of_plan.as_ref())
}
