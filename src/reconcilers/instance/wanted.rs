//! What the spec asks for, and whether it can be asked for at present. Pure.

use kube::ResourceExt as _;

use super::{
    World,
    intent::Wanted,
    phase::{self, Requested},
    plan::Seen,
};
use crate::{
    crd::ServiceInstanceStatus,
    reconcilers::{
        backoff::later,
        machine::Wait,
        offering::{self, BrokerState, Offering, Removed},
        reason::Reason,
    },
};

/// Why nothing can be asked of a broker at present.
pub(super) struct Blocked {
    pub reason: Reason,
    pub message: String,
    pub wait: Wait,
}

/// What the spec asks for, if it can be asked for.
pub(super) fn wanted<'a>(
    observed: &'a Seen,
    status: &ServiceInstanceStatus,
    requested: Requested,
) -> Result<Wanted<'a>, Blocked> {
    let world = &observed.world;
    let for_change = |reason, message| Blocked { reason, message, wait: Wait::ForChange };
    let offering = world
        .offering
        .as_ref()
        .map_err(|unresolved| for_change(unresolved.reason, unresolved.message.clone()))?;
    // Nobody announces a change of a Secret that is not ours, or of another instance, so they are looked at again now and
    // then.
    let recheck = Wait::Until(later(observed.now, observed.tunables.recheck_interval));
    let blocked = |reason, message| Blocked { reason, message, wait: recheck };
    if let Some(rival) = &world.rival {
        let message = format!(
            "spec.externalID: the ServiceInstance {rival} has this id at the {} already; use another id, or none",
            offering.broker
        );
        return Err(blocked(Reason::ExternalIDInUse, message));
    }
    if let Some(recorded) = status.resolved.as_ref().filter(|_| phase::may_exist(status))
        && (offering::recorded_broker(recorded, &observed.object.namespace().unwrap_or_default())
            != offering.broker
            || recorded.service_id != offering.service_id)
    {
        let message = format!(
            "the class {:?} is not the one that the instance was ordered from: it is of the {} now; bring the class of {} {:?} back",
            offering.class, offering.broker, recorded.broker, recorded.service_id
        );
        return Err(for_change(Reason::ReferencesNonexistentServiceClass, message));
    }
    usable(world, offering, status, requested).map_err(|(reason, message)| for_change(reason, message))?;
    let namespace_uid = world.namespace_uid.as_deref().ok_or_else(|| {
        for_change(
            Reason::ErrorFindingNamespaceForInstance,
            "the namespace of the instance is not known yet; this mends itself".to_owned(),
        )
    })?;
    if let Some(message) = &world.hindrance {
        return Err(blocked(Reason::ErrorGettingAuthCredentials, message.clone()));
    }
    let maintenance_version = maintenance_version(observed, offering, requested)
        .map_err(|message| for_change(Reason::MaintenanceVersionNotOffered, message))?;
    match &world.parameters {
        Some(Ok(parameters)) => Ok(Wanted { offering, parameters, namespace_uid, maintenance_version }),
        // What stands in the spec, or in the catalog, is announced when it changes.
        Some(Err(error)) if observed.object.spec.parameters_from.is_empty() => {
            Err(for_change(Reason::ErrorWithParameters, error.message.clone()))
        }
        Some(Err(error)) => Err(blocked(Reason::ErrorWithParameters, error.message.clone())),
        None => {
            let message = "the parameters have not been read yet; this mends itself".to_owned();
            Err(blocked(Reason::ErrorWithParameters, message))
        }
    }
}

/// The version that the instance is to have: that of its plan when it is made or moved to another plan, then the same
/// until the user asks for the one that the plan has by then (OSB 2.17, "Maintenance Info").
fn maintenance_version<'a>(
    observed: &'a Seen,
    offering: &'a Offering,
    requested: Requested,
) -> Result<Option<&'a str>, String> {
    let asked = Some(&*observed.object.spec.maintenance_version).filter(|asked| !asked.is_empty());
    let offered = offering.maintenance.as_ref().map(|offered| &*offered.version);
    let acknowledged = observed.object.status.as_ref().and_then(|status| status.external_properties.as_ref());
    let stays = acknowledged
        .filter(|acknowledged| requested == Requested::Update && acknowledged.plan_id() == offering.plan_id);
    let status = observed.object.status.as_ref().filter(|status| phase::is_in_doubt(status));
    let in_flight = status.and_then(|status| status.in_progress_properties.as_ref());
    if asked.is_none()
        && requested == Requested::Provision
        && in_flight.is_some_and(|sent| sent.maintenance_version.is_none())
    {
        // The repetition of a request that named no version names none: those of the original did not.
        return Ok(None);
    }
    let present = stays.and_then(|acknowledged| acknowledged.maintenance_version.as_deref());
    match asked {
        None if stays.is_some() => Ok(present),
        Some(asked) if stays.is_some() && present == Some(asked) => Ok(present),
        None => Ok(offered),
        Some(asked) if offered == Some(asked) => Ok(offered),
        Some(asked) => {
            let plan = &offering.plan_name;
            Err(match offered {
                Some(offered) => format!(
                    "spec.maintenanceVersion: the plan {plan:?} has the version {offered:?}, not {asked:?}; set the field to {offered:?}, or leave it out"
                ),
                None => {
                    format!("spec.maintenanceVersion: the plan {plan:?} has no versions; leave the field out")
                }
            })
        }
    }
}

/// Whether an offering can be ordered, or an instance moved to it.
fn usable(
    world: &World,
    offering: &Offering,
    status: &ServiceInstanceStatus,
    requested: Requested,
) -> Result<(), (Reason, String)> {
    let present = status.external_properties.as_ref().map(|properties| properties.plan_id().to_owned());
    let plan_changes =
        requested == Requested::Provision || present.as_deref() != Some(offering.plan_id.as_str());
    let verb = match requested {
        Requested::Provision => "provision",
        Requested::Update => "update",
    };
    match (offering.broker_state, offering.removed) {
        (BrokerState::Missing, _) => {
            let message = format!(
                "the {} that offers the class {:?} does not exist; create it again",
                offering.broker, offering.class
            );
            return Err((Reason::ReferencesNonexistentBroker, message));
        }
        (BrokerState::Leaving, _) if requested == Requested::Provision => {
            let message =
                format!("the {} is being deleted; nothing new can be ordered from it", offering.broker);
            return Err((Reason::ReferencesNonexistentBroker, message));
        }
        (_, Some(Removed::Class)) if plan_changes => {
            let helps = match requested {
                Requested::Provision => "delete this ServiceInstance, and create one of another class",
                Requested::Update => "set the plan back to what it was",
            };
            let message = format!(
                "the class {:?} has been removed from the broker's catalog; cannot {verb}: {helps}",
                offering.class
            );
            return Err((Reason::ReferencesDeletedServiceClass, message));
        }
        (_, Some(Removed::Plan)) if plan_changes => {
            let message = format!(
                "the plan {:?} has been removed from the broker's catalog; cannot {verb}: use another plan",
                offering.plan_name
            );
            return Err((Reason::ReferencesDeletedServicePlan, message));
        }
        (BrokerState::Present | BrokerState::Leaving, _) => {}
    }
    if requested == Requested::Update && plan_changes && !world.is_plan_updatable(offering) {
        let plan = world.present.as_ref().map_or("present", |present| &present.plan_name);
        let message = format!(
            "the plan {plan:?} of the class {:?} does not allow plan changes: set the plan back to what it was",
            offering.class
        );
        return Err((Reason::PlanNotUpdatable, message));
    }
    Ok(())
}
