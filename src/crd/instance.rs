//! `ServiceInstance`: an instance of a service offering.

mod status;

use std::sync::Arc;

use kube::{CustomResource, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use status::{
    ContextAnnotations, InstanceOperation, InstanceProperties, ProvisionStatus, ServiceInstanceStatus,
};

use super::{
    UserInfo,
    common::{DeletionPolicy, LocalObjectReference, ParametersFromSource},
    defects::Defects,
    definition::{self, Column, text, wide},
    rule,
    schema::{self, is_zero, null_default},
};
use crate::json::RawObject;

/// The spec of an instance.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceInstance",
    doc = "An instance of a service. The operator provisions it at the broker, and deprovisions it when the object is deleted.",
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
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct ServiceInstanceSpec {
    /// The fields that name the class and the plan.
    #[serde(flatten)]
    pub plan_reference: PlanReference,
    /// The `ClusterServiceClass` of the instance. The operator writes it after it has resolved the fields that name class
    /// and plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_service_class_ref: Option<LocalObjectReference>,
    /// The `ClusterServicePlan` of the instance. The operator writes it after it has resolved the fields that name class
    /// and plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_service_plan_ref: Option<LocalObjectReference>,
    /// The `ServiceClass` of the instance. The operator writes it after it has resolved the fields that name class
    /// and plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_class_ref: Option<LocalObjectReference>,
    /// The `ServicePlan` of the instance. The operator writes it after it has resolved the fields that name class
    /// and plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_plan_ref: Option<LocalObjectReference>,
    /// Parameters for the broker, in plain text. Use `parametersFrom` for secret parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// Secrets with more parameters. Each key can occur only once in all sources and `parameters` together.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub parameters_from: Vec<ParametersFromSource>,
    /// The id of the instance at the broker. Set it only for an instance that exists at the broker already.
    /// If it is empty, the operator fills it in: with the uid of the object, or with an id made from it.
    #[serde(
        default,
        rename = "externalID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schemars(schema_with = "schema::id")]
    pub external_id: String,
    /// The user who last changed the spec. An admission policy writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
    /// The version of the software behind the instance. Set it to the version in
    /// `status.availableMaintenance` to upgrade the instance. Without it, a new instance gets the version of
    /// its plan and keeps it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub maintenance_version: String,
    /// Increase this number to make the operator send an update: after a failure, or when a Secret with
    /// parameters has changed.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub update_requests: i64,
    /// What happens when this object is deleted. `Delete`, the default: the operator deletes the instance at the
    /// broker. `Retain`: the instance stays at the broker, and an Event names its id. `Prevent`: the API server
    /// refuses the deletion. It can be changed at any time, but not removed.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "DeletionPolicy::is_delete")]
    pub deletion_policy: DeletionPolicy,
    /// The parts of the object that cannot be read. They are not part of the API.
    #[serde(skip)]
    pub defects: Option<Arc<Defects>>,
}

/// The columns of kubectl for an instance.
pub(super) fn columns() -> [Column; 9] {
    let version = "The version of the plan, if the instance has another version";
    [
        text("Class", ".status.userSpecifiedClassName", "The class, as the spec names it"),
        text("Plan", ".status.userSpecifiedPlanName", "The plan, as the spec names it"),
        definition::status(),
        definition::age(),
        wide(text("Instance-ID", ".status.instanceID", "The id of the instance at the broker")),
        wide(text("Broker", ".status.resolved.broker", "The broker of the last request")),
        wide(text("Dashboard", ".status.dashboardURL", "The URL of the dashboard of the instance")),
        wide(text("New-Version", ".status.availableMaintenance.version", version)),
        definition::message(),
    ]
}

/// The twelve fields that name a class and a plan: for each of two scopes, three ways to name them.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReference {
    /// The `ClusterServiceClass` by its name in the catalog of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_service_class_external_name: Option<String>,
    /// The `ClusterServicePlan` by its name in the catalog of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_service_plan_external_name: Option<String>,
    /// The `ClusterServiceClass` by its id in the catalog of the broker.
    #[serde(default, rename = "clusterServiceClassExternalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cluster_service_class_external_id: Option<String>,
    /// The `ClusterServicePlan` by its id in the catalog of the broker.
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
    /// The `ServiceClass` by its name in the catalog of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_class_external_name: Option<String>,
    /// The `ServicePlan` by its name in the catalog of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_plan_external_name: Option<String>,
    /// The `ServiceClass` by its id in the catalog of the broker.
    #[serde(default, rename = "serviceClassExternalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub service_class_external_id: Option<String>,
    /// The `ServicePlan` by its id in the catalog of the broker.
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

/// The fields that name a plan, each at the index of the class field that it goes with.
pub const PLAN_FIELDS: [&str; 6] = [
    "clusterServicePlanExternalName",
    "clusterServicePlanExternalID",
    "clusterServicePlanName",
    "servicePlanExternalName",
    "servicePlanExternalID",
    "servicePlanName",
];

/// The CEL rules of the spec.
fn rules() -> Vec<Rule> {
    let mut rules = vec![rule::one_required(&CLASS_FIELDS, "class")];
    rules.extend(rule::at_most_one(&CLASS_FIELDS, "class"));
    rules.extend(rule::at_most_one(&PLAN_FIELDS, "plan"));
    rules.extend(PLAN_FIELDS.iter().zip(CLASS_FIELDS).map(|(plan, class)| rule::goes_with(plan, class)));
    rules.extend(CLASS_FIELDS.map(rule::immutable_class));
    rules.extend([
        rule::never_less("updateRequests"),
        rule::not_both_references("clusterServiceClassRef", "serviceClassRef"),
        rule::not_both_references("clusterServicePlanRef", "servicePlanRef"),
    ]);
    rules
}
