//! `defaultProvisionParameters` of class and plan: what an instance gets where its spec does not say otherwise. Pure.

use super::Instance;
use crate::{
    json::RawObject,
    reconcilers::{
        operation::Standing,
        parameters::{self, ParametersError},
        references::Offering,
        settings::ReconcileSettings,
    },
};

/// The defaults of an instance: those of the catalog when it is ordered, if the operator is set so; from then on those in
/// its status, even if the catalog or the setting changes.
///
/// # Errors
/// The defaults of the catalog are invalid.
pub(super) fn in_force(
    standing: &Standing<'_, Instance>,
    offering: Option<&Offering>,
    settings: &ReconcileSettings,
) -> Result<Option<RawObject>, ParametersError> {
    let status = &standing.status;
    if standing.may_exist() {
        // v0.3, which did not write `resolved`, wrote its defaults into the spec. There they still are, unless a user removed
        // them.
        return Ok(status.resolved.as_ref().and(status.default_provision_parameters.clone()));
    }
    let Some(offering) = offering.filter(|_| settings.service_plan_defaults) else {
        return Ok(None);
    };
    let [of_class, of_plan] = &offering.default_parameters;
    parameters::defaults(of_class.as_ref(), of_plan.as_ref())
}
