//! `ServiceInstance`: one ordered service.

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use status::{
    ContextAnnotations, DeprovisionStatus, InstanceOperation, InstanceProperties, ProvisionStatus,
    ServiceInstanceStatus,
};

use super::{
    UserInfo,
    common::{LocalObjectReference, ParametersFromSource},
    definition::{self, Column, text, wide},
    rule,
    schema::{self, is_zero, null_default},
};
use crate::json::RawObject;

/// An instance of a service, ordered from a broker.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceInstance",
    doc = "An instance of a service, ordered from a broker by being created, and given back by being deleted.",
    plural = "serviceinstances",
    singular = "serviceinstance",
    namespaced,
    status = "ServiceInstanceStatus",
    shortname = "svci",
    selectable = ".spec.clusterServiceClassExternalName",
    selectable = ".spec.clusterServicePlanExternalName",
    selectable = ".spec.serviceClassExternalName",
    selectable = ".spec.servicePlanExternalName",
    selectable = ".spec.externalID",
    selectable = ".status.resolved.class",
    selectable = ".status.resolved.plan",
    selectable = ".status.lastConditionState"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rule::any_set(&CLASS_FIELDS))
    .message("a class is required: set exactly one of clusterServiceClassExternalName, clusterServiceClassExternalID, clusterServiceClassName, serviceClassExternalName, serviceClassExternalID, serviceClassName"))]
#[x_kube(validation = Rule::new(rule::not_both(&CLUSTER_FIELDS, &NAMESPACED_FIELDS))
    .message("instances can only refer to a cluster or namespaced class or plan type, but not both"))]
#[x_kube(validation = Rule::new(rule::at_most_one(&CLASS_FIELDS))
    .message("exactly one of clusterServiceClassExternalName, clusterServiceClassExternalID, clusterServiceClassName, serviceClassExternalName, serviceClassExternalID, serviceClassName may be set: the class is named twice"))]
#[x_kube(validation = Rule::new(rule::at_most_one(&PLAN_FIELDS))
    .message("exactly one of clusterServicePlanExternalName, clusterServicePlanExternalID, clusterServicePlanName, servicePlanExternalName, servicePlanExternalID, servicePlanName may be set: the plan is named twice"))]
#[x_kube(validation = Rule::new(rule::same_spelling(&CLASS_FIELDS, &PLAN_FIELDS))
    .message("class and plan must be named in the same way: ExternalName with ExternalName, ExternalID with ExternalID, Name with Name"))]
#[x_kube(validation = Rule::new(rule::unchanged(&CLASS_FIELDS))
    .message("the class of an instance is immutable: create another instance for another class"))]
#[x_kube(validation = rule::never_less("updateRequests", "new updateRequests value must not be less than the old one"))]
#[x_kube(validation = rule::immutable("externalID"))]
#[x_kube(validation = Rule::new(rule::not_both_named("clusterServiceClassRef", "serviceClassRef"))
    .message("clusterServiceClassRef and serviceClassRef should never be set simultaneously"))]
#[x_kube(validation = Rule::new(rule::not_both_named("clusterServicePlanRef", "servicePlanRef"))
    .message("clusterServicePlanRef and servicePlanRef should never be set simultaneously"))]
pub struct ServiceInstanceSpec {
    /// The class and the plan.
    #[serde(flatten)]
    pub plan_reference: PlanReference,
    /// Written by version 0.3, and read only on objects that it left behind. What the references resolve to now stands
    /// in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_service_class_ref: Option<LocalObjectReference>,
    /// Written by version 0.3, and read only on objects that it left behind. What the references resolve to now stands
    /// in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_service_plan_ref: Option<LocalObjectReference>,
    /// Written by version 0.3, and read only on objects that it left behind. What the references resolve to now stands
    /// in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_class_ref: Option<LocalObjectReference>,
    /// Written by version 0.3, and read only on objects that it left behind. What the references resolve to now stands
    /// in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_plan_ref: Option<LocalObjectReference>,
    /// Parameters for the broker, in clear: use `parametersFrom` for what is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
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
    /// The version of the software behind the instance, to be set to the one in `status.availableMaintenance` when the
    /// instance is to be brought to it. Without it the instance begins with the version of its plan and keeps it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub maintenance_version: String,
    /// Increase this number to have the broker asked again: after a failure, or when a parameter Secret has changed.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub update_requests: i64,
}

/// What kubectl shows of an instance.
pub(super) fn columns() -> [Column; 9] {
    let version = "The version of the plan, when the instance has another";
    [
        text("Class", ".status.userSpecifiedClassName", "The class, as the user named it"),
        text("Plan", ".status.userSpecifiedPlanName", "The plan, as the user named it"),
        definition::status(),
        definition::age(),
        wide(text("Instance-ID", ".status.instanceID", "The id at the broker")),
        wide(text("Broker", ".status.resolved.broker", "The broker that was last asked")),
        wide(text("Dashboard", ".status.dashboardURL", "Where the instance can be managed")),
        wide(text("New-Version", ".status.availableMaintenance.version", version)),
        definition::message(),
    ]
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
