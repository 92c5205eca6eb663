//! `ServiceInstance`: one ordered service.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, UserInfo,
    broker::is_false,
    broker::is_zero,
    common::{JsonObject, LocalObjectReference, ParametersFromSource, ResolvedOffering},
    condition::Conditioned,
    schema::{self, null_default},
};

/// An instance of a service, ordered from a broker.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceInstance",
    plural = "serviceinstances",
    singular = "serviceinstance",
    namespaced,
    status = "ServiceInstanceStatus",
    category = "all",
    category = "svcat",
    label("svcat", "true"),
    annotation(
        "api-approved.kubernetes.io",
        "unapproved, successor of the retired kubernetes-sigs/service-catalog"
    ),
    printcolumn(
        name = "Class",
        type_ = "string",
        json_path = ".status.userSpecifiedClassName",
        description = "The class, as the user named it"
    ),
    printcolumn(
        name = "Plan",
        type_ = "string",
        json_path = ".status.userSpecifiedPlanName",
        description = "The plan, as the user named it"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.lastConditionState",
        description = "Ready, or the reason why not"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(schema::any_set(&CLASS_FIELDS))
    .message("a class is required: set exactly one of clusterServiceClassExternalName, clusterServiceClassExternalID, clusterServiceClassName, serviceClassExternalName, serviceClassExternalID, serviceClassName"))]
#[x_kube(validation = Rule::new(schema::not_both(&CLUSTER_FIELDS, &NAMESPACED_FIELDS))
    .message("instances can only refer to a cluster or namespaced class or plan type, but not both"))]
#[x_kube(validation = Rule::new(schema::at_most_one(&CLASS_FIELDS))
    .message("exactly one of clusterServiceClassExternalName, clusterServiceClassExternalID, clusterServiceClassName, serviceClassExternalName, serviceClassExternalID, serviceClassName may be set: the class is named twice"))]
#[x_kube(validation = Rule::new(schema::at_most_one(&PLAN_FIELDS))
    .message("exactly one of clusterServicePlanExternalName, clusterServicePlanExternalID, clusterServicePlanName, servicePlanExternalName, servicePlanExternalID, servicePlanName may be set: the plan is named twice"))]
#[x_kube(validation = Rule::new(schema::same_spelling(&CLASS_FIELDS, &PLAN_FIELDS))
    .message("class and plan must be named in the same way: ExternalName with ExternalName, ExternalID with ExternalID, Name with Name"))]
#[x_kube(validation = Rule::new(schema::unchanged(&CLASS_FIELDS))
    .message("the class of an instance is immutable: create another instance for another class"))]
#[x_kube(validation = Rule::new("!has(oldSelf.updateRequests) || !has(self.updateRequests) || self.updateRequests == 0 || self.updateRequests >= oldSelf.updateRequests")
    .message("new updateRequests value must not be less than the old one").field_path(".updateRequests"))]
#[x_kube(validation = Rule::new(schema::unchanged(&["externalID"]))
    .message("externalID is immutable").field_path(".externalID"))]
#[x_kube(validation = Rule::new(schema::not_both_named("clusterServiceClassRef", "serviceClassRef"))
    .message("clusterServiceClassRef and serviceClassRef should never be set simultaneously"))]
#[x_kube(validation = Rule::new(schema::not_both_named("clusterServicePlanRef", "servicePlanRef"))
    .message("clusterServicePlanRef and servicePlanRef should never be set simultaneously"))]
pub struct ServiceInstanceSpec {
    /// The class and the plan.
    #[serde(flatten)]
    pub plan_reference: PlanReference,
    /// Written by the original, and read only on objects that it left behind. What the references resolve to now
    /// stands in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_service_class_ref: Option<LocalObjectReference>,
    /// Written by the original, and read only on objects that it left behind. What the references resolve to now
    /// stands in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_service_plan_ref: Option<LocalObjectReference>,
    /// Written by the original, and read only on objects that it left behind. What the references resolve to now
    /// stands in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_class_ref: Option<LocalObjectReference>,
    /// Written by the original, and read only on objects that it left behind. What the references resolve to now
    /// stands in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_plan_ref: Option<LocalObjectReference>,
    /// Parameters for the broker, in clear: use `parametersFrom` for what is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<JsonObject>,
    /// Secrets whose values are JSON objects of further parameters. No key may occur twice in all of them together.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub parameters_from: Vec<ParametersFromSource>,
    /// The id of the instance at the broker, for taking over one that exists. Without it the object's uid is used.
    #[serde(
        default,
        rename = "externalID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schemars(schema_with = "schema::id")]
    pub external_id: String,
    /// Who asked for the present spec. Written by admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
    /// Increase this number to have the broker asked again: after a failure, or when a parameter Secret has changed.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub update_requests: i64,
}

/// The twelve fields that name a class and a plan: two scopes, three spellings.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReference {
    /// The `ClusterServiceClass` by its name in the broker's catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_service_class_external_name: Option<String>,
    /// The `ClusterServicePlan` by its name in the broker's catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_service_plan_external_name: Option<String>,
    /// The `ClusterServiceClass` by its id in the broker's catalog.
    #[serde(default, rename = "clusterServiceClassExternalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cluster_service_class_external_id: Option<String>,
    /// The `ClusterServicePlan` by its id in the broker's catalog.
    #[serde(default, rename = "clusterServicePlanExternalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cluster_service_plan_external_id: Option<String>,
    /// The `ClusterServiceClass` by the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_service_class_name: Option<String>,
    /// The `ClusterServicePlan` by the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_service_plan_name: Option<String>,
    /// The `ServiceClass` by its name in the broker's catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_class_external_name: Option<String>,
    /// The `ServicePlan` by its name in the broker's catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_plan_external_name: Option<String>,
    /// The `ServiceClass` by its id in the broker's catalog.
    #[serde(default, rename = "serviceClassExternalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub service_class_external_id: Option<String>,
    /// The `ServicePlan` by its id in the broker's catalog.
    #[serde(default, rename = "servicePlanExternalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub service_plan_external_id: Option<String>,
    /// The `ServiceClass` by the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_class_name: Option<String>,
    /// The `ServicePlan` by the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_plan_name: Option<String>,
}

/// The fields that name a class, in the order of [`PLAN_FIELDS`].
pub const CLASS_FIELDS: [&str; 6] = [
    "clusterServiceClassExternalName",
    "clusterServiceClassExternalID",
    "clusterServiceClassName",
    "serviceClassExternalName",
    "serviceClassExternalID",
    "serviceClassName",
];

/// The fields that name a plan, each at the place of the class field that it goes with.
pub const PLAN_FIELDS: [&str; 6] = [
    "clusterServicePlanExternalName",
    "clusterServicePlanExternalID",
    "clusterServicePlanName",
    "servicePlanExternalName",
    "servicePlanExternalID",
    "servicePlanName",
];

const CLUSTER_FIELDS: [&str; 6] =
    [CLASS_FIELDS[0], CLASS_FIELDS[1], CLASS_FIELDS[2], PLAN_FIELDS[0], PLAN_FIELDS[1], PLAN_FIELDS[2]];

const NAMESPACED_FIELDS: [&str; 6] =
    [CLASS_FIELDS[3], CLASS_FIELDS[4], CLASS_FIELDS[5], PLAN_FIELDS[3], PLAN_FIELDS[4], PLAN_FIELDS[5]];

/// Status of an instance. The flags are the original's; `reconcilers::instance::phase` is the one place that reads them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInstanceStatus {
    /// `Ready`, `Failed` and `OrphanMitigation`, in this order.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// The broker accepted an operation and is being polled.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub async_op_in_progress: bool,
    /// The broker may hold an instance that must be removed before another attempt.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub orphan_mitigation_in_progress: bool,
    /// What the broker calls the operation that is being polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<String>,
    /// Where the instance can be managed.
    #[serde(default, rename = "dashboardURL", skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// The operation that is under way.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "InstanceOperation::is_none")]
    pub current_operation: InstanceOperation,
    /// Deprecated: the generation that was last brought to the broker successfully.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// When the current operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub operation_start_time: Option<Time>,
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
    /// The defaults of class and plan that the original merged into the parameters. Kept; defaults are not applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<JsonObject>,
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
    /// How many ids were used up by attempts that had to be cleaned up.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub attempt: i64,
    /// How often the current operation has been tried without success.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub retries: i64,
    /// When the latest request that changes something at the broker was recorded, just before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_attempt_time: Option<MicroTime>,
    /// The broker is not asked again before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_attempt_time: Option<MicroTime>,
    /// An earlier request of the current operation was never conclusively answered: it may have taken effect.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub unanswered: bool,
    /// What the references in spec were resolved to when the broker was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedOffering>,
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
    pub parameters: Option<JsonObject>,
    /// SHA-256 of the parameters with the secret values, as the original computed it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub parameter_checksum: String,
    /// On whose behalf the broker is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
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
}

impl Conditioned for ServiceInstanceStatus {
    fn parts(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }
}
