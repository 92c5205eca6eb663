//! `ClusterServicePlan` and `ServicePlan`: plans of service offerings.

use std::sync::Arc;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CatalogObjectStatus,
    common::LocalObjectReference,
    defects::Defects,
    definition::{self, Column, flag, text, wide},
    rule,
    schema::{self, is_false, null_default},
};
use crate::{
    json::RawObject,
    osb::{PlanId, wire::MaintenanceInfo},
};

/// The spec of a plan of a cluster-wide class.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ClusterServicePlan",
    doc = "A plan of a ClusterServiceClass. An instance is ordered with a plan. The operator makes it from the catalog of the broker.",
    plural = "clusterserviceplans",
    singular = "clusterserviceplan",
    status = "CatalogObjectStatus",
    shortname = "csvcpl",
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.clusterServiceBrokerName",
    selectable = ".spec.clusterServiceClassRef.name"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("externalName"))]
#[x_kube(validation = rule::required("externalID"))]
#[x_kube(validation = rule::required("description"))]
#[x_kube(validation = rule::required("clusterServiceBrokerName"))]
#[x_kube(validation = rule::immutable("externalID"))]
#[x_kube(validation = rule::immutable("clusterServiceBrokerName"))]
#[x_kube(validation = rule::required_reference("clusterServiceClassRef", "name the ClusterServiceClass of the plan"))]
#[x_kube(validation = rule::immutable_object("clusterServiceClassRef"))]
pub struct ClusterServicePlanSpec {
    /// The fields of both kinds of plan.
    #[serde(flatten)]
    pub common: CommonServicePlanSpec,
    /// The name of the `ClusterServiceBroker` that offers this plan.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub cluster_service_broker_name: String,
    /// The `ClusterServiceClass` of this plan.
    #[serde(default, deserialize_with = "null_default")]
    pub cluster_service_class_ref: LocalObjectReference,
}

/// The spec of a plan of a class of one namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServicePlan",
    doc = "A plan of a ServiceClass. An instance is ordered with a plan. The operator makes it from the catalog of the broker.",
    plural = "serviceplans",
    singular = "serviceplan",
    namespaced,
    status = "CatalogObjectStatus",
    shortname = "svcpl",
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.serviceBrokerName",
    selectable = ".spec.serviceClassRef.name"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("externalName"))]
#[x_kube(validation = rule::required("externalID"))]
#[x_kube(validation = rule::required("description"))]
#[x_kube(validation = rule::required("serviceBrokerName"))]
#[x_kube(validation = rule::immutable("externalID"))]
#[x_kube(validation = rule::immutable("serviceBrokerName"))]
#[x_kube(validation = rule::required_reference("serviceClassRef", "name the ServiceClass of the plan"))]
#[x_kube(validation = rule::immutable_object("serviceClassRef"))]
pub struct ServicePlanSpec {
    /// The fields of both kinds of plan.
    #[serde(flatten)]
    pub common: CommonServicePlanSpec,
    /// The name of the `ServiceBroker` that offers this plan.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub service_broker_name: String,
    /// The `ServiceClass` of this plan.
    #[serde(default, deserialize_with = "null_default")]
    pub service_class_ref: LocalObjectReference,
}

/// The columns of kubectl for a plan. `broker` and `class` are the fields with the names of both.
pub(super) fn columns(broker: &str, class: &str) -> [Column; 9] {
    let bindable = "Whether an instance can have bindings; if empty, the class decides";
    let version = "The version of the software behind the plan";
    [
        text("External-Name", ".spec.externalName", "The name in the catalog of the broker"),
        text("Broker", &format!(".spec.{broker}"), "The broker that offers the plan"),
        text("Class", &format!(".spec.{class}.name"), "The class of the plan"),
        definition::age(),
        wide(flag("Free", ".spec.free", "Whether the plan costs nothing")),
        wide(flag("Bindable", ".spec.bindable", bindable)),
        wide(text("Version", ".spec.maintenanceInfo.version", version)),
        wide(flag(
            "Removed",
            ".status.removedFromBrokerCatalog",
            "Whether the catalog no longer has the plan",
        )),
        wide(text("Description", ".spec.description", "The description of the plan")),
    ]
}

/// The fields of both kinds of plan, from the catalog of the broker (OSB 2.17, "Service Plan Object").
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommonServicePlanSpec {
    /// The name of the plan in the catalog of the broker.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 63))]
    pub external_name: String,
    /// The id of the plan in the catalog of the broker. It never changes.
    #[serde(default, rename = "externalID", deserialize_with = "null_default")]
    #[schemars(schema_with = "schema::catalog_id")]
    pub external_id: PlanId,
    /// A short description of the plan.
    #[serde(default, deserialize_with = "null_default")]
    pub description: String,
    /// Whether instances of this plan can have bindings. Without it, the class decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindable: Option<bool>,
    /// Whether instances of this plan can change to another plan. Without it, the class decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_updatable: Option<bool>,
    /// Whether the broker supports rotation of bindings of this plan.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub binding_rotatable: bool,
    /// The longest time, in seconds, that an asynchronous operation can take. After it, the operation has
    /// failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_polling_duration: Option<i64>,
    /// The version of the software that the broker runs for this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
    /// Whether the plan costs nothing.
    #[serde(default, deserialize_with = "null_default")]
    pub free: bool,
    /// The metadata of the plan for display, as the broker sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub external_metadata: Option<RawObject>,
    /// The JSON schema of the parameters of a new instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub instance_create_parameter_schema: Option<RawObject>,
    /// The JSON schema of the parameters of an update of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub instance_update_parameter_schema: Option<RawObject>,
    /// The JSON schema of the parameters of a new binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub service_binding_create_parameter_schema: Option<RawObject>,
    /// Default parameters for new instances of this plan. People write them, the operator keeps them when it
    /// fetches the catalog again, and `--service-plan-defaults` switches them on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<RawObject>,
    /// The parts of the object that cannot be read. They are not part of the API.
    #[serde(skip)]
    pub defects: Option<Arc<Defects>>,
}
