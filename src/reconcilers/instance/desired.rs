//! What does the spec of an instance ask for, and can the operator request it from the broker now? All
//! functions are pure.

use super::{InstanceView, phase::InstanceAction};
use crate::{
    crd::{
        ScopeKind,
        instance::{ContextAnnotations, InstanceProperties},
    },
    reconcilers::{
        operation::obstacle::{self, Obstacle},
        parameters::Parameters,
        reason::Reason,
        references::{self, BrokerState, Offering, Removed},
    },
};

/// What the spec asks for, with all references resolved.
pub(super) struct DesiredInstance<'a> {
    pub offering: &'a Offering,
    pub parameters: &'a Parameters,
    pub namespace_uid: &'a str,
    /// The maintenance version that the instance is to have. `None` if it has none, or if the version is
    /// unknown.
    pub maintenance_version: Option<&'a str>,
}

impl DesiredInstance<'_> {
    /// Whether a recorded request has the same plan, parameters and maintenance version.
    pub fn matches(&self, properties: &InstanceProperties) -> bool {
        *properties.plan_id() == self.offering.plan_id
            && properties.parameter_checksum == self.parameters.checksum()
            && properties.maintenance_version.as_deref() == self.maintenance_version
    }

    /// The properties that the status records of a request for it.
    pub fn properties(&self, context_annotations: Option<ContextAnnotations>) -> InstanceProperties {
        let Offering { broker, plan_id, plan_name, .. } = self.offering;
        let shared = InstanceProperties {
            parameters: self.parameters.to_show(),
            parameter_checksum: self.parameters.checksum().to_owned(),
            maintenance_version: self.maintenance_version.map(str::to_owned),
            context_annotations,
            ..InstanceProperties::default()
        };
        let (name, id) = (plan_name.clone(), plan_id.clone());
        match broker.scope {
            ScopeKind::Cluster => InstanceProperties {
                cluster_service_plan_external_name: name,
                cluster_service_plan_external_id: id,
                ..shared
            },
            ScopeKind::Namespace => InstanceProperties {
                service_plan_external_name: name,
                service_plan_external_id: id,
                ..shared
            },
        }
    }
}

/// What the spec asks for, or the reason why the operator cannot send a request for it.
pub(super) fn desired_instance<'a>(
    view: &'a InstanceView<'_>,
    action: InstanceAction,
) -> Result<DesiredInstance<'a>, Obstacle> {
    let dependencies = view.dependencies;
    let offering = dependencies
        .offering
        .as_ref()
        .map_err(|unresolved| Obstacle::until_change(unresolved.reason, unresolved.message.clone()))?;
    check_same_service(view, offering)?;
    check_offered(view, offering, action)?;
    let namespace_uid = obstacle::namespace_uid(view)?;
    let maintenance_version = maintenance_version(view, offering, action)?;
    let parameters = obstacle::parameters(view)?;
    Ok(DesiredInstance { offering, parameters, namespace_uid, maintenance_version })
}

/// An instance keeps the broker and the service offering that it was provisioned from.
fn check_same_service(view: &InstanceView<'_>, offering: &Offering) -> Result<(), Obstacle> {
    let Some(recorded) = view.status.resolved.as_ref().filter(|_| view.may_exist()) else { return Ok(()) };
    if references::recorded_broker(recorded, view.namespace()) == offering.broker
        && recorded.service_id == offering.service_id
    {
        return Ok(());
    }
    let message = format!(
        "the class {:?} is not the one that the instance was ordered from: it is of the {} now; bring the class of {} {:?} back",
        offering.class, offering.broker, recorded.broker, recorded.service_id
    );
    Err(Obstacle::until_change(Reason::ReferencesNonexistentServiceClass, message))
}

/// Whether an instance of this class and plan can be provisioned, or an existing one be updated to this plan.
fn check_offered(
    view: &InstanceView<'_>,
    offering: &Offering,
    action: InstanceAction,
) -> Result<(), Obstacle> {
    let Offering { broker, class, plan_name, .. } = offering;
    let provisions = action == InstanceAction::Provision;
    let present = view.status.external_properties.as_ref().map(InstanceProperties::plan_id);
    let plan_changes = provisions || present != Some(&offering.plan_id);
    let verb = if provisions { "provision" } else { "update" };
    let (reason, message) = match (offering.broker_state, offering.removed) {
        (BrokerState::Missing, _) => (
            Reason::ReferencesNonexistentBroker,
            format!("the {broker} that offers the class {class:?} does not exist; create it again"),
        ),
        (BrokerState::BeingDeleted, _) if provisions => (
            Reason::ReferencesNonexistentBroker,
            format!("the {broker} is being deleted; nothing new can be ordered from it"),
        ),
        (_, Some(Removed::Class)) if plan_changes => {
            let helps = if provisions {
                "delete this ServiceInstance, and create one of another class"
            } else {
                "set the plan back to what it was"
            };
            (
                Reason::ReferencesDeletedServiceClass,
                format!(
                    "the broker has removed the class {class:?} from its catalog; cannot {verb}: {helps}"
                ),
            )
        }
        (_, Some(Removed::Plan)) if plan_changes => (
            Reason::ReferencesDeletedServicePlan,
            format!(
                "the broker has removed the plan {plan_name:?} from its catalog; cannot {verb}: use another plan"
            ),
        ),
        _ if !provisions && plan_changes && !view.dependencies.is_plan_updatable(offering) => {
            let plan = view
                .dependencies
                .acknowledged_offering
                .as_ref()
                .map_or("present", |present| &present.plan_name);
            (
                Reason::PlanNotUpdatable,
                format!(
                    "the plan {plan:?} of the class {class:?} does not allow plan changes: set the plan back to what it was"
                ),
            )
        }
        (BrokerState::Present | BrokerState::BeingDeleted, _) => return Ok(()),
    };
    Err(Obstacle::until_change(reason, message))
}

/// The maintenance version that the instance is to have (OSB 2.17, "Maintenance Info Object"). A new
/// instance, and one that changes its plan, gets the version of the plan. Later the version stays until the
/// user asks for the plan's version.
fn maintenance_version<'a>(
    view: &'a InstanceView<'_>,
    offering: &'a Offering,
    action: InstanceAction,
) -> Result<Option<&'a str>, Obstacle> {
    let wanted = Some(&*view.object.spec.maintenance_version).filter(|version| !version.is_empty());
    let offered = offering.maintenance.as_ref().map(|offered| &*offered.version);
    let provisions = action == InstanceAction::Provision;
    let unanswered = view.status.in_progress_properties.as_ref().filter(|_| view.has_unanswered_request());
    if wanted.is_none() && provisions && unanswered.is_some_and(|sent| sent.maintenance_version.is_none()) {
        // The repetition of a request without a version has no version either. Requests of v0.3 had none.
        return Ok(None);
    }
    let acknowledged = view.status.external_properties.as_ref();
    let same_plan =
        acknowledged.filter(|acknowledged| !provisions && *acknowledged.plan_id() == offering.plan_id);
    let present = same_plan.and_then(|acknowledged| acknowledged.maintenance_version.as_deref());
    match wanted {
        None if same_plan.is_some() => Ok(present),
        Some(wanted) if same_plan.is_some() && present == Some(wanted) => Ok(present),
        None => Ok(offered),
        Some(wanted) if offered == Some(wanted) => Ok(offered),
        Some(wanted) => Err(Obstacle::until_change(
            Reason::MaintenanceVersionNotOffered,
            version_not_offered(&offering.plan_name, wanted, offered),
        )),
    }
}

fn version_not_offered(plan: &str, wanted: &str, offered: Option<&str>) -> String {
    match offered {
        Some(offered) => format!(
            "spec.maintenanceVersion: the plan {plan:?} has the version {offered:?}, not {wanted:?}; set the field to {offered:?}, or leave it out"
        ),
        None => format!("spec.maintenanceVersion: the plan {plan:?} has no versions; leave the field out"),
    }
}
