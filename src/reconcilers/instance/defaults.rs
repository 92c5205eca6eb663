//! Which `defaultProvisionParameters` of class and plan does an instance get? All functions are pure.

use super::Instance;
use crate::{
    json::RawObject,
    reconcilers::{
        operation::Decoded,
        parameters::{self, ParametersError},
        references::Offering,
        settings::ReconcileSettings,
    },
};

/// The default parameters of an instance. A new instance gets those of the catalog, if the setting
/// `service_plan_defaults` is on. Later the defaults in its status count, even if the catalog or the setting
/// changes.
///
/// # Errors
/// The defaults of the catalog are invalid.
pub(super) fn effective(
    decoded: &Decoded<'_, Instance>,
    offering: Option<&Offering>,
    settings: &ReconcileSettings,
) -> Result<Option<RawObject>, ParametersError> {
    let status = &decoded.status;
    if decoded.may_exist() {
        // v0.3 did not write `status.resolved`, and it wrote the defaults into the spec. They are still there
        // unless a user has removed them.
        return Ok(status.resolved.as_ref().and(status.default_provision_parameters.clone()));
    }
    let Some(offering) = offering.filter(|_| settings.service_plan_defaults) else {
        return Ok(None);
    };
    let [of_class, of_plan] = &offering.default_parameters;
    parameters::merge_defaults(of_class.as_ref(), of_plan.as_ref())
}
