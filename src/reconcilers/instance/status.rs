//! Which status does the operator write for an instance? This file has the statuses that only instances have.
//! All functions are pure.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Instance, InstanceRequestRecord, InstanceView, phase::InstanceAction};
use crate::{
    crd::{
        ConditionStatus::{self, False, True},
        ConditionType::{Failed, OrphanMitigation, Ready},
        ScopeKind, ServiceInstanceStatus,
        common::{LocalObjectReference, ResolvedOffering},
        condition::{self, Conditioned as _},
        instance::{InstanceProperties, ProvisionStatus},
        progress::DeletionStatus,
    },
    osb::{
        outcome::{Dashboard, InstanceAnswer},
        wire::MaintenanceInfo,
    },
    reconcilers::{
        operation::{
            BrokerResource as _, OperationStatus as _,
            phase::CurrentOperation,
            status::{StatusHooks, failed, finish_operation, start_mitigation},
        },
        reason::Reason,
        references::{Offering, class_as_specified, plan_reference_field},
    },
};

const PROVISION_IN_FLIGHT: (Reason, &str) =
    (Reason::ProvisionRequestInFlight, "Provision request for ServiceInstance in-flight to Broker");
const UPDATE_IN_FLIGHT: (Reason, &str) =
    (Reason::UpdateInstanceRequestInFlight, "Update request for ServiceInstance in-flight to Broker");
pub(super) const PROVISIONED: (Reason, &str) =
    (Reason::ProvisionedSuccessfully, "The instance was provisioned successfully");
/// The object was restored from a backup without its status.
const RESTORED: (Reason, &str) = (
    Reason::ProvisionedSuccessfully,
    "The object was restored from a backup; the operator continues with the instance that it provisioned before",
);
pub(super) const PROVISIONING: (Reason, &str) =
    (Reason::Provisioning, "The instance is being provisioned asynchronously");
pub(super) const UPDATED: (Reason, &str) =
    (Reason::InstanceUpdatedSuccessfully, "The instance was updated successfully");
pub(super) const UPDATING: (Reason, &str) =
    (Reason::UpdatingInstance, "The instance is being updated asynchronously");
/// The broker did not accept an update of the context alone. The instance has not changed.
pub(super) const CONTEXT_NOT_UPDATED: (Reason, &str) = (
    Reason::InstanceUpdatedSuccessfully,
    "The instance is as its spec asks; the broker did not accept the changed annotations",
);

impl StatusHooks for Instance {
    fn operator_fields(view: &InstanceView<'_>, status: &ServiceInstanceStatus) -> Map<String, Value> {
        let spec = &view.object.spec;
        let mut fields = Map::new();
        let id = if status.instance_id.is_empty() { view.instance_id() } else { status.instance_id.clone() };
        if spec.external_id != id.as_str() {
            fields.insert("externalID".into(), json!(id));
        }
        let Some(ResolvedOffering { scope, class, plan, .. }) = &status.resolved else { return fields };
        for (field, reference, of_scope, name) in [
            ("clusterServiceClassRef", &spec.cluster_service_class_ref, ScopeKind::Cluster, class),
            ("clusterServicePlanRef", &spec.cluster_service_plan_ref, ScopeKind::Cluster, plan),
            ("serviceClassRef", &spec.service_class_ref, ScopeKind::Namespace, class),
            ("servicePlanRef", &spec.service_plan_ref, ScopeKind::Namespace, plan),
        ] {
            let wanted = (of_scope == *scope).then(|| LocalObjectReference { name: name.clone() });
            if *reference != wanted {
                fields.insert(field.into(), json!(wanted));
            }
        }
        fields
    }

    fn restored_status(view: &InstanceView<'_>) -> ServiceInstanceStatus {
        ready(view, Details::default(), RESTORED)
    }

    fn record_request(
        view: &InstanceView<'_>,
        status: &mut ServiceInstanceStatus,
        InstanceRequestRecord { resolved, properties }: InstanceRequestRecord,
    ) {
        status.in_progress_properties = Some(properties);
        if let Some(resolved) = resolved {
            status.instance_id = view.instance_id();
            status.resolved = Some(resolved);
            status.default_provision_parameters.clone_from(&view.dependencies.defaults);
            observe_spec(view, status);
        }
    }

    fn operation_name(action: InstanceAction) -> &'static str {
        match action {
            InstanceAction::Provision => "provision",
            InstanceAction::Update | InstanceAction::UpdateContext => "update",
        }
    }

    fn in_flight_condition(action: InstanceAction) -> Option<(Reason, &'static str)> {
        match action {
            InstanceAction::Provision => Some(PROVISION_IN_FLIGHT),
            InstanceAction::Update => Some(UPDATE_IN_FLIGHT),
            InstanceAction::UpdateContext => None,
        }
    }

    /// An update of the context does not change `Ready`.
    fn in_progress_condition(action: InstanceAction) -> Option<(Reason, &'static str)> {
        match action {
            InstanceAction::Provision => Some(PROVISIONING),
            InstanceAction::Update => Some(UPDATING),
            InstanceAction::UpdateContext => None,
        }
    }

    fn record_printer_columns(view: &InstanceView<'_>, status: &mut ServiceInstanceStatus) {
        let reference = &view.object.spec.plan_reference;
        status.user_specified_class_name = class_as_specified(reference);
        status.user_specified_plan_name =
            plan_reference_field(reference).map_or_else(String::new, |field| field.value().to_owned());
    }

    fn ready_when_failed(status: &ServiceInstanceStatus, message: &str) -> (ConditionStatus, String) {
        match (Instance::exists(status), status.unusable) {
            (false, _) => (False, message.to_owned()),
            // No new bindings are created until the instance is repaired or deleted (OSB 2.17, "Updating a
            // Service Instance").
            (true, true) => (False, format!("{message}; the broker says that the instance cannot be used")),
            (true, false) => (True, format!("{message}; the instance can still be used")),
        }
    }

    /// An update that failed leaves an instance that can be used with the former spec.
    fn after_giving_up(status: &ServiceInstanceStatus) -> &'static str {
        if Instance::exists(status) {
            "the operator does not try this update again: set the spec back, change it, or increase updateRequests to \
             try again"
        } else {
            Instance::TEXTS.after_giving_up
        }
    }

    fn clear_resource(status: &mut ServiceInstanceStatus) {
        status.external_properties = None;
        status.unusable = false;
        status.dashboard_url = None;
        status.provision_status = ProvisionStatus::NotProvisioned;
    }

    fn set_id(status: &mut ServiceInstanceStatus, id: String) {
        status.instance_id = id.into();
    }
}

/// Records the spec as observed: the operator acts on it now.
fn observe_spec(view: &InstanceView<'_>, status: &mut ServiceInstanceStatus) {
    status.observed_generation = view.generation();
    status.observed_update_requests = view.object.spec.update_requests;
    Instance::record_printer_columns(view, status);
}

/// Details of the instance in a broker's answer. A value that is absent does not change (OSB 2.17, "Updating
/// a Service Instance").
#[derive(Default)]
pub(super) struct Details {
    pub dashboard_url: Option<Dashboard>,
    pub maintenance_version: Option<String>,
}

impl From<InstanceAnswer> for Details {
    fn from(InstanceAnswer { dashboard_url, maintenance_version, .. }: InstanceAnswer) -> Self {
        Self { dashboard_url, maintenance_version }
    }
}

/// The status after the broker has done what the spec asks for.
pub(super) fn ready(
    view: &InstanceView<'_>,
    Details { dashboard_url, maintenance_version }: Details,
    (reason, message): (Reason, &str),
) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    finish_operation(&mut status);
    if let Some(properties) = status.in_progress_properties.take() {
        status.external_properties = Some(InstanceProperties { user_info: None, ..properties });
    }
    if let Some(properties) = status.external_properties.as_mut().filter(|_| maintenance_version.is_some()) {
        properties.maintenance_version = maintenance_version;
    }
    status.available_maintenance = available_maintenance(view, status.external_properties.as_ref());
    status.unusable = false;
    let message = with_dashboard(message, dashboard_url.as_ref());
    status.dashboard_url = dashboard_url.and_then(Result::ok).or(status.dashboard_url);
    status.provision_status = ProvisionStatus::Provisioned;
    status.deprovision_status = DeletionStatus::Required;
    status.reconciled_generation = status.observed_generation;
    status.remove_condition(Failed);
    status.remove_condition(OrphanMitigation);
    status.set_condition(Ready, True, reason, &message, view.now);
    status
}

/// A message, with a remark about a dashboard that is left out.
fn with_dashboard<'m>(message: &'m str, dashboard: Option<&Dashboard>) -> Cow<'m, str> {
    match dashboard {
        Some(Err(why)) => format!("{message}; the broker's dashboard_url is left out: {why}").into(),
        Some(Ok(_)) | None => message.into(),
    }
}

/// The maintenance version of the plan, if the instance has another one.
pub(super) fn available_maintenance(
    view: &InstanceView<'_>,
    properties: Option<&InstanceProperties>,
) -> Option<MaintenanceInfo> {
    let properties = properties?;
    let offered = view.dependencies.plan(properties.plan_id())?.maintenance.as_ref()?;
    (properties.maintenance_version.as_ref() != Some(&offered.version)).then(|| offered.clone())
}

/// The status after the broker has accepted an asynchronous operation. Polling starts.
pub(super) fn accepted(
    view: &InstanceView<'_>,
    operation: Option<String>,
    dashboard_url: Option<&Dashboard>,
) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    status.progress.operation_accepted(operation);
    status.dashboard_url = dashboard_url.and_then(|url| url.clone().ok()).or(status.dashboard_url);
    let CurrentOperation::Operation(action) = view.status.operation() else { return status };
    if let Some((reason, message)) = Instance::in_progress_condition(action) {
        status.set_condition(Ready, False, reason, &with_dashboard(message, dashboard_url), view.now);
        if let Some(properties) = &mut status.in_progress_properties {
            // Another user may edit the spec before the operation ends, and polls need the user who requested
            // the operation.
            properties.user_info.clone_from(&view.object.spec.user_info);
        }
    }
    status
}

/// The status when the spec has changed, but the broker already has what the spec asks for.
pub(super) fn up_to_date(view: &InstanceView<'_>, plan: &Offering) -> ServiceInstanceStatus {
    // The status may still have the plan of the last request, which the broker refused.
    let mut status = ServiceInstanceStatus { resolved: Some(plan.to_record()), ..view.status_copy() };
    observe_spec(view, &mut status);
    finish_operation(&mut status);
    status.in_progress_properties = None;
    status.external_properties = status.external_properties.map(|had| had.with_plan_name(&plan.plan_name));
    let had_failed = condition::is_true(&status.conditions, Failed);
    if status.unusable {
        // The broker said that the instance cannot be used. It has the values of the spec already, so no
        // update is sent that could repair it.
        if !had_failed {
            let message = "The instance is as its spec asks, but the broker says that it cannot be used since an update of it \
                           failed: change its plan or parameters, or delete it";
            status.set_condition(Ready, False, Reason::UpdateInstanceCallFailed, message, view.now);
        }
        status.set_conditions_generation(view.generation());
        return status;
    }
    status.reconciled_generation = status.observed_generation;
    status.remove_condition(Failed);
    if had_failed || !condition::is_true(&status.conditions, Ready) {
        let (reason, message) = (Reason::InstanceUpdatedSuccessfully, "The instance is as its spec asks");
        status.set_condition(Ready, True, reason, message, view.now);
    }
    status.set_conditions_generation(view.generation());
    status
}

/// The status when a provision without an answer may have taken effect, and the spec asks for something else
/// now.
pub(super) fn spec_changed_while_unanswered(view: &InstanceView<'_>) -> ServiceInstanceStatus {
    let mut status = view.status_copy();
    status.progress.unanswered = true;
    let reason = Reason::ProvisionCallFailed;
    if view.is_id_derived() {
        status.remove_condition(Failed);
        let why = "The spec or a parameter Secret has changed before the broker answered a provision";
        return start_mitigation(view, status, reason, why, true);
    }
    let message = format!(
        "The spec or a parameter Secret has changed while a provision under spec.externalID {:?} was unanswered: set it back \
         to what it was, or delete this ServiceInstance, and with it what has this id at the broker",
        view.object.spec.external_id
    );
    observe_spec(view, &mut status);
    failed(view, status, (reason, reason), &message)
}
