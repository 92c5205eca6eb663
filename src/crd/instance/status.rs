//! The status of a `ServiceInstance`: what the original wrote there, and what recovery needs beside it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    crd::{
        Condition, UserInfo,
        common::ResolvedOffering,
        condition::Conditioned,
        plan::MaintenanceInfo,
        progress::Progress,
        schema::{self, is_false, is_zero, null_default},
    },
    json::RawObject,
};

// The flags are the original's; `reconcilers::instance::phase` is the one place that reads them.
/// Status of an instance.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInstanceStatus {
    /// `Ready`, `Stalled`, `Failed` and `OrphanMitigation`, in this order.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// How far the work at the broker is.
    #[serde(flatten)]
    pub progress: Progress,
    /// Where the instance can be managed.
    #[serde(default, rename = "dashboardURL", skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// The operation that is under way.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "InstanceOperation::is_none")]
    pub current_operation: InstanceOperation,
    /// Deprecated: the generation that was last brought to the broker successfully.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on; -1 before it has seen the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What the broker is being asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress_properties: Option<InstanceProperties>,
    /// What the broker has acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_properties: Option<InstanceProperties>,
    /// Whether the broker has an instance for this object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "ProvisionStatus::is_unset")]
    pub provision_status: ProvisionStatus,
    /// Whether the broker must be told when this object is deleted.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "DeprovisionStatus::is_unset")]
    pub deprovision_status: DeprovisionStatus,
    /// The defaults of class and plan that the instance was ordered with, under the parameters of its spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<RawObject>,
    /// `Ready`, `Failed`, or the reason why not.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub last_condition_state: String,
    /// The plan, as the user named it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub user_specified_plan_name: String,
    /// Kind and name of the class, as the user named it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub user_specified_class_name: String,
    /// The id of the instance at the broker.
    #[serde(
        default,
        rename = "instanceID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub instance_id: String,
    /// What the references in spec were resolved to when the broker was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedOffering>,
    /// The broker has said that the instance cannot be used: since an update failed, until one succeeds.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub unusable: bool,
    /// The version of the plan, when it is another than that of the instance: name it in `spec.maintenanceVersion` to
    /// have the instance brought to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_maintenance: Option<MaintenanceInfo>,
    /// The `updateRequests` that the broker was last asked with.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub observed_update_requests: i64,
}

/// An operation on an instance.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum InstanceOperation {
    /// None is under way.
    #[default]
    #[serde(rename = "")]
    None,
    /// `PUT`
    Provision,
    /// `PATCH`
    Update,
    /// `DELETE`
    Deprovision,
}

impl InstanceOperation {
    /// No operation is under way.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Whether the broker has an instance for an object.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ProvisionStatus {
    /// Not known.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// It has.
    Provisioned,
    /// It has not.
    NotProvisioned,
}

impl ProvisionStatus {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }
}

/// Whether the broker must be told when an instance is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeprovisionStatus {
    /// Nothing was asked of a broker yet.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// The broker has nothing.
    NotRequired,
    /// The broker has, or may have, an instance.
    Required,
    /// The instance was deleted at the broker.
    Succeeded,
    /// Written by the original when it gave up; here deletion is tried again.
    Failed,
}

impl DeprovisionStatus {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }
}

/// The properties of an instance that a broker was asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceProperties {
    /// Name of the `ClusterServicePlan` in the catalog.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub cluster_service_plan_external_name: String,
    /// Id of the `ClusterServicePlan` in the catalog.
    #[serde(
        default,
        rename = "clusterServicePlanExternalID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub cluster_service_plan_external_id: String,
    /// Name of the `ServicePlan` in the catalog.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub service_plan_external_name: String,
    /// Id of the `ServicePlan` in the catalog.
    #[serde(
        default,
        rename = "servicePlanExternalID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub service_plan_external_id: String,
    /// The parameters; values that came from a Secret are shown as `<redacted>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// SHA-256 of the parameters with the secret values, as version 0.3 computed it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub parameter_checksum: String,
    /// The version of the software behind the instance, where the plan has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_version: Option<String>,
    /// What the broker was told of the annotations of the instance and its namespace, where they are passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_annotations: Option<ContextAnnotations>,
    /// On whose behalf the broker is asked, while it is at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
}

/// The annotations in the context of a request (Kubernetes profile): those that the operator is set to pass on.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ContextAnnotations {
    /// Of the namespace.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace: BTreeMap<String, String>,
    /// Of the instance.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub instance: BTreeMap<String, String>,
}

impl InstanceProperties {
    /// Id of the plan in the catalog, of whichever scope.
    #[must_use]
    pub fn plan_id(&self) -> &str {
        if self.cluster_service_plan_external_id.is_empty() {
            &self.service_plan_external_id
        } else {
            &self.cluster_service_plan_external_id
        }
    }

    /// Name of the plan, of whichever scope, as it was asked for.
    #[must_use]
    pub fn plan_name(&self) -> &str {
        if self.cluster_service_plan_external_name.is_empty() {
            &self.service_plan_external_name
        } else {
            &self.cluster_service_plan_external_name
        }
    }

    /// The same plan by another name.
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
    fn parts(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }

    fn observed_generation(&self) -> i64 {
        self.observed_generation
    }
}
