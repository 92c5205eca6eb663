//! The status of a `ServiceInstance`: the fields of v0.3, and the fields that the operator needs to continue
//! after a crash.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    crd::{
        Condition, ScopeKind, UserInfo,
        common::ResolvedOffering,
        condition::Conditioned,
        progress::{DeletionStatus, Progress},
        schema::{self, is_false, is_zero, null_default},
    },
    json::RawObject,
    osb::{InstanceId, PlanId, wire::MaintenanceInfo},
};

// The flags are those of v0.3. Only `reconcilers::instance::phase` reads them.
/// The status of an instance.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInstanceStatus {
    /// The conditions `Ready`, `Stalled`, `Failed` and `OrphanMitigation`, in this order.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// The progress of the current operation.
    #[serde(flatten)]
    pub progress: Progress,
    /// The URL of the dashboard of the instance.
    #[serde(default, rename = "dashboardURL", skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// The current operation: `Provision`, `Update` or `Deprovision`. Empty if there is none.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "InstanceOperation::is_none")]
    pub current_operation: InstanceOperation,
    /// Deprecated: the generation of the spec that the broker last accepted.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on. -1 before the first time.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// The properties in the current request to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress_properties: Option<InstanceProperties>,
    /// The properties that the broker has accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_properties: Option<InstanceProperties>,
    /// Whether the broker has an instance for this object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "ProvisionStatus::is_unset")]
    pub provision_status: ProvisionStatus,
    /// Whether the operator must deprovision at the broker when this object is deleted.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "DeletionStatus::is_unset")]
    pub deprovision_status: DeletionStatus,
    /// The default parameters of class and plan that the instance was provisioned with. The parameters of the
    /// spec have precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<RawObject>,
    /// The type of the last condition if it is true, otherwise its reason.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub last_condition_state: String,
    /// The plan, as the spec names it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub user_specified_plan_name: String,
    /// The kind and the name of the class, as the spec names it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub user_specified_class_name: String,
    /// The id of the instance at the broker.
    #[serde(
        default,
        rename = "instanceID",
        deserialize_with = "null_default",
        skip_serializing_if = "InstanceId::is_empty"
    )]
    pub instance_id: InstanceId,
    /// The broker, class and plan at the last request to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedOffering>,
    /// An update failed and the broker reported that the instance is unusable. False again after an update
    /// succeeds.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub unusable: bool,
    /// The version of the plan, if the instance has another version. Set `spec.maintenanceVersion` to it to
    /// upgrade the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_maintenance: Option<MaintenanceInfo>,
    /// The value of `updateRequests` at the last request to the broker.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub observed_update_requests: i64,
}

/// An operation on an instance.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum InstanceOperation {
    /// No operation is under way.
    #[default]
    #[serde(rename = "")]
    None,
    /// A PUT of the instance.
    Provision,
    /// A PATCH of the instance.
    Update,
    /// A DELETE of the instance.
    Deprovision,
}

impl InstanceOperation {
    /// Whether no operation is under way.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Whether the broker has an instance for an object.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ProvisionStatus {
    /// The operator has sent no request.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// Yes.
    Provisioned,
    /// No.
    NotProvisioned,
}

impl ProvisionStatus {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }
}

/// The properties of an instance in a request to the broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceProperties {
    /// The name of the `ClusterServicePlan` in the catalog.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub cluster_service_plan_external_name: String,
    /// The id of the `ClusterServicePlan` in the catalog.
    #[serde(
        default,
        rename = "clusterServicePlanExternalID",
        deserialize_with = "null_default",
        skip_serializing_if = "PlanId::is_empty"
    )]
    pub cluster_service_plan_external_id: PlanId,
    /// The name of the `ServicePlan` in the catalog.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub service_plan_external_name: String,
    /// The id of the `ServicePlan` in the catalog.
    #[serde(
        default,
        rename = "servicePlanExternalID",
        deserialize_with = "null_default",
        skip_serializing_if = "PlanId::is_empty"
    )]
    pub service_plan_external_id: PlanId,
    /// The parameters, if they have no more than 128 KiB. Values from a Secret are shown as `<redacted>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// The SHA-256 checksum of the parameters with the secret values, computed as in v0.3.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub parameter_checksum: String,
    /// The version of the software behind the instance, if the plan has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_version: Option<String>,
    /// The annotations of the instance and its namespace in the request, if the operator is set to send them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_annotations: Option<ContextAnnotations>,
    /// The user of the request, while the request is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
}

/// The annotations in the context of a request (Kubernetes profile), as far as `--context-annotations` names
/// them.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ContextAnnotations {
    /// The annotations of the namespace.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace: BTreeMap<String, String>,
    /// The annotations of the instance.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub instance: BTreeMap<String, String>,
}

impl InstanceProperties {
    /// The properties of an instance of which only the plan is known, by its object and its id.
    #[must_use]
    pub fn of_plan(resolved: &ResolvedOffering) -> Self {
        let (name, id) = (resolved.plan.clone(), resolved.plan_id.clone());
        match resolved.scope {
            ScopeKind::Cluster => Self {
                cluster_service_plan_external_name: name,
                cluster_service_plan_external_id: id,
                ..Self::default()
            },
            ScopeKind::Namespace => {
                Self { service_plan_external_name: name, service_plan_external_id: id, ..Self::default() }
            }
        }
    }

    /// The id of the plan in the catalog, for either scope.
    #[must_use]
    pub fn plan_id(&self) -> &PlanId {
        if self.cluster_service_plan_external_id.is_empty() {
            &self.service_plan_external_id
        } else {
            &self.cluster_service_plan_external_id
        }
    }

    /// The name of the plan in the catalog, for either scope.
    #[must_use]
    pub fn plan_name(&self) -> &str {
        if self.cluster_service_plan_external_name.is_empty() {
            &self.service_plan_external_name
        } else {
            &self.cluster_service_plan_external_name
        }
    }

    /// Changes the name of the plan.
    #[must_use]
    pub fn with_plan_name(self, name: &str) -> Self {
        let name = name.to_owned();
        if self.cluster_service_plan_external_id.is_empty() {
            Self { service_plan_external_name: name, ..self }
        } else {
            Self { cluster_service_plan_external_name: name, ..self }
        }
    }
}

impl Conditioned for ServiceInstanceStatus {
    fn conditions_mut(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }

    fn observed_generation(&self) -> i64 {
        self.observed_generation
    }
}
