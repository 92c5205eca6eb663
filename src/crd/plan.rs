//! `ClusterServicePlan` and `ServicePlan`: one plan of an offering.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    EntryStatus,
    common::LocalObjectReference,
    definition::{self, Column, flag, text, wide},
    rule,
    schema::{self, is_false, null_default},
    scope::{EntryObject, EntrySpec, PlanObject},
};
use crate::json::RawObject;

/// A plan of a cluster-wide class.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ClusterServicePlan",
    doc = "A plan of a ClusterServiceClass: what is ordered when an instance is made. Made from the catalog of the broker.",
    plural = "clusterserviceplans",
    singular = "clusterserviceplan",
    status = "EntryStatus",
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
#[x_kube(validation = rule::same_id("ClusterServicePlan"))]
#[x_kube(validation = rule::immutable("clusterServiceBrokerName"))]
#[x_kube(validation = rule::has_class("clusterServiceClassRef"))]
#[x_kube(validation = rule::same_class("clusterServiceClassRef"))]
pub struct ClusterServicePlanSpec {
    /// What both kinds of plan have.
    #[serde(flatten)]
    pub common: CommonServicePlanSpec,
    /// Name of the `ClusterServiceBroker` that offers this plan.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub cluster_service_broker_name: String,
    /// The `ClusterServiceClass` that this plan belongs to.
    #[serde(default, deserialize_with = "null_default")]
    pub cluster_service_class_ref: LocalObjectReference,
}

/// A plan of a class of one namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServicePlan",
    doc = "A plan of a ServiceClass: what is ordered when an instance is made. Made from the catalog of the broker.",
    plural = "serviceplans",
    singular = "serviceplan",
    namespaced,
    status = "EntryStatus",
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
#[x_kube(validation = rule::same_id("ServicePlan"))]
#[x_kube(validation = rule::immutable("serviceBrokerName"))]
#[x_kube(validation = rule::has_class("serviceClassRef"))]
#[x_kube(validation = rule::same_class("serviceClassRef"))]
pub struct ServicePlanSpec {
    /// What both kinds of plan have.
    #[serde(flatten)]
    pub common: CommonServicePlanSpec,
    /// Name of the `ServiceBroker` that offers this plan.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub service_broker_name: String,
    /// The `ServiceClass` that this plan belongs to.
    #[serde(default, deserialize_with = "null_default")]
    pub service_class_ref: LocalObjectReference,
}

/// What kubectl shows of a plan, whose broker and class are named in these fields.
pub(super) fn columns(broker: &str, class: &str) -> [Column; 9] {
    let bindable = "Whether credentials can be had; the class says, where this is empty";
    let version = "The version of the software that the broker runs";
    [
        text("External-Name", ".spec.externalName", "Name in the broker's catalog"),
        text("Broker", &format!(".spec.{broker}"), "The broker that offers it"),
        text("Class", &format!(".spec.{class}.name"), "The class that it belongs to"),
        definition::age(),
        wide(flag("Free", ".spec.free", "Whether it costs nothing")),
        wide(flag("Bindable", ".spec.bindable", bindable)),
        wide(text("Version", ".spec.maintenanceInfo.version", version)),
        wide(flag("Removed", ".status.removedFromBrokerCatalog", "Whether it has left the catalog")),
        wide(text("Description", ".spec.description", "What it is")),
    ]
}

/// The fields that both kinds of plan have, as the broker's catalog gives them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommonServicePlanSpec {
    /// Name of the plan in the broker's catalog.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 63))]
    pub external_name: String,
    /// Id of the plan in the broker's catalog. Never changes.
    #[serde(default, rename = "externalID", deserialize_with = "null_default")]
    #[schemars(length(max = 256))]
    pub external_id: String,
    /// What the plan is, in a sentence.
    #[serde(default, deserialize_with = "null_default")]
    pub description: String,
    /// Whether instances of this plan can be bound to; without it, the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindable: Option<bool>,
    /// Whether instances of this plan can be moved to another; without it, the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_updatable: Option<bool>,
    /// Whether the credentials of a binding can be replaced by those of a successor.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub binding_rotatable: bool,
    /// How long, in seconds, an asynchronous operation may take before it counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_polling_duration: Option<i64>,
    /// The version of the software that the broker runs for this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
    /// Whether the plan costs nothing.
    #[serde(default, deserialize_with = "null_default")]
    pub free: bool,
    /// What the broker says about the plan for display, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub external_metadata: Option<RawObject>,
    /// JSON schema of the parameters for creating an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub instance_create_parameter_schema: Option<RawObject>,
    /// JSON schema of the parameters for updating an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub instance_update_parameter_schema: Option<RawObject>,
    /// JSON schema of the parameters for creating a binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub service_binding_create_parameter_schema: Option<RawObject>,
    /// Parameters for instances of this plan that do not set them themselves. Written by people, kept on relist, and
    /// applied to new instances with `--service-plan-defaults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<RawObject>,
}

/// A version of the software behind a plan ("Maintenance Info Object"). Versions are compared for equality only.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct MaintenanceInfo {
    /// The version, as in `2.1.0`.
    #[serde(default, deserialize_with = "null_default")]
    pub version: String,
    /// What is new in it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl EntrySpec for CommonServicePlanSpec {
    fn external_name(&self) -> &str {
        &self.external_name
    }

    fn external_id(&self) -> &str {
        &self.external_id
    }
}

impl EntryObject for ClusterServicePlan {
    type Common = CommonServicePlanSpec;

    fn common(&self) -> &Self::Common {
        &self.spec.common
    }

    fn common_mut(&mut self) -> &mut Self::Common {
        &mut self.spec.common
    }

    fn broker_name(&self) -> &str {
        &self.spec.cluster_service_broker_name
    }

    fn references(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("spec.clusterServiceClassRef.name", self.class_name()),
            ("spec.clusterServiceBrokerName", self.broker_name()),
        ]
    }
}

impl EntryObject for ServicePlan {
    type Common = CommonServicePlanSpec;

    fn common(&self) -> &Self::Common {
        &self.spec.common
    }

    fn common_mut(&mut self) -> &mut Self::Common {
        &mut self.spec.common
    }

    fn broker_name(&self) -> &str {
        &self.spec.service_broker_name
    }

    fn references(&self) -> Vec<(&'static str, &str)> {
        vec![("spec.serviceClassRef.name", self.class_name()), ("spec.serviceBrokerName", self.broker_name())]
    }
}

impl PlanObject for ClusterServicePlan {
    fn class_name(&self) -> &str {
        &self.spec.cluster_service_class_ref.name
    }

    fn build(name: &str, broker_name: &str, class_name: &str, common: CommonServicePlanSpec) -> Self {
        Self::new(
            name,
            ClusterServicePlanSpec {
                common,
                cluster_service_broker_name: broker_name.to_owned(),
                cluster_service_class_ref: LocalObjectReference { name: class_name.to_owned() },
            },
        )
    }
}

impl PlanObject for ServicePlan {
    fn class_name(&self) -> &str {
        &self.spec.service_class_ref.name
    }

    fn build(name: &str, broker_name: &str, class_name: &str, common: CommonServicePlanSpec) -> Self {
        Self::new(
            name,
            ServicePlanSpec {
                common,
                service_broker_name: broker_name.to_owned(),
                service_class_ref: LocalObjectReference { name: class_name.to_owned() },
            },
        )
    }
}
