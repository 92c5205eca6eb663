//! `ClusterServiceClass` and `ServiceClass`: one offering of a broker.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    EntryStatus,
    broker::is_false,
    schema::{self, null_default},
    scope::{ClassObject, EntryObject},
};
use crate::json::RawObject;

/// An offering of a cluster-wide broker.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ClusterServiceClass",
    doc = "A service that a ClusterServiceBroker offers. Made from the catalog of the broker.",
    plural = "clusterserviceclasses",
    singular = "clusterserviceclass",
    status = "EntryStatus",
    shortname = "csvccl",
    category = "all",
    category = "svcat",
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.clusterServiceBrokerName",
    label("svcat", "true"),
    annotation(
        "api-approved.kubernetes.io",
        "unapproved, successor of the retired kubernetes-sigs/service-catalog"
    ),
    printcolumn(
        name = "External-Name",
        type_ = "string",
        json_path = ".spec.externalName",
        description = "Name in the broker's catalog"
    ),
    printcolumn(
        name = "Broker",
        type_ = "string",
        json_path = ".spec.clusterServiceBrokerName",
        description = "The broker that offers it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Bindable",
        type_ = "boolean",
        json_path = ".spec.bindable",
        description = "Whether credentials can be had",
        priority = 1
    ),
    printcolumn(
        name = "Plan-Updatable",
        type_ = "boolean",
        json_path = ".spec.planUpdatable",
        description = "Whether an instance can be moved to another plan",
        priority = 1
    ),
    printcolumn(
        name = "Removed",
        type_ = "boolean",
        json_path = ".status.removedFromBrokerCatalog",
        description = "Whether it has left the catalog",
        priority = 1
    ),
    printcolumn(
        name = "Description",
        type_ = "string",
        json_path = ".spec.description",
        description = "What it is",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(schema::required("externalName")).message("externalName is required").field_path(".externalName"))]
#[x_kube(validation = Rule::new(schema::required("externalID")).message("externalID is required").field_path(".externalID"))]
#[x_kube(validation = Rule::new(schema::required("description")).message("description is required").field_path(".description"))]
#[x_kube(validation = Rule::new(schema::required("clusterServiceBrokerName")).message("clusterServiceBrokerName is required").field_path(".clusterServiceBrokerName"))]
#[x_kube(validation = Rule::new(schema::unchanged(&["externalID"])).message("externalID cannot change when updating a ClusterServiceClass").field_path(".externalID"))]
#[x_kube(validation = Rule::new(schema::unchanged(&["clusterServiceBrokerName"])).message("clusterServiceBrokerName is immutable").field_path(".clusterServiceBrokerName"))]
pub struct ClusterServiceClassSpec {
    /// What both kinds of class have.
    #[serde(flatten)]
    pub common: CommonServiceClassSpec,
    /// Name of the `ClusterServiceBroker` that offers this class.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub cluster_service_broker_name: String,
}

/// An offering of a broker of one namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceClass",
    doc = "A service that a ServiceBroker offers. Made from the catalog of the broker.",
    plural = "serviceclasses",
    singular = "serviceclass",
    namespaced,
    status = "EntryStatus",
    shortname = "svccl",
    category = "all",
    category = "svcat",
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.serviceBrokerName",
    label("svcat", "true"),
    annotation(
        "api-approved.kubernetes.io",
        "unapproved, successor of the retired kubernetes-sigs/service-catalog"
    ),
    printcolumn(
        name = "External-Name",
        type_ = "string",
        json_path = ".spec.externalName",
        description = "Name in the broker's catalog"
    ),
    printcolumn(
        name = "Broker",
        type_ = "string",
        json_path = ".spec.serviceBrokerName",
        description = "The broker that offers it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Bindable",
        type_ = "boolean",
        json_path = ".spec.bindable",
        description = "Whether credentials can be had",
        priority = 1
    ),
    printcolumn(
        name = "Plan-Updatable",
        type_ = "boolean",
        json_path = ".spec.planUpdatable",
        description = "Whether an instance can be moved to another plan",
        priority = 1
    ),
    printcolumn(
        name = "Removed",
        type_ = "boolean",
        json_path = ".status.removedFromBrokerCatalog",
        description = "Whether it has left the catalog",
        priority = 1
    ),
    printcolumn(
        name = "Description",
        type_ = "string",
        json_path = ".spec.description",
        description = "What it is",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(schema::required("externalName")).message("externalName is required").field_path(".externalName"))]
#[x_kube(validation = Rule::new(schema::required("externalID")).message("externalID is required").field_path(".externalID"))]
#[x_kube(validation = Rule::new(schema::required("description")).message("description is required").field_path(".description"))]
#[x_kube(validation = Rule::new(schema::required("serviceBrokerName")).message("serviceBrokerName is required").field_path(".serviceBrokerName"))]
#[x_kube(validation = Rule::new(schema::unchanged(&["externalID"])).message("externalID cannot change when updating a ServiceClass").field_path(".externalID"))]
#[x_kube(validation = Rule::new(schema::unchanged(&["serviceBrokerName"])).message("serviceBrokerName is immutable").field_path(".serviceBrokerName"))]
pub struct ServiceClassSpec {
    /// What both kinds of class have.
    #[serde(flatten)]
    pub common: CommonServiceClassSpec,
    /// Name of the `ServiceBroker` that offers this class.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub service_broker_name: String,
}

/// The fields that both kinds of class have, as the broker's catalog gives them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the catalog")]
pub struct CommonServiceClassSpec {
    /// Name of the offering in the broker's catalog.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 63))]
    pub external_name: String,
    /// Id of the offering in the broker's catalog. Never changes.
    #[serde(default, rename = "externalID", deserialize_with = "null_default")]
    #[schemars(length(max = 256))]
    pub external_id: String,
    /// What the offering is, in a sentence.
    #[serde(default, deserialize_with = "null_default")]
    pub description: String,
    /// Whether its instances can be bound to, unless a plan says otherwise.
    #[serde(default, deserialize_with = "null_default")]
    pub bindable: bool,
    /// Whether the broker can be asked for an existing binding. Asynchronous bindings need it.
    #[serde(default, deserialize_with = "null_default")]
    pub binding_retrievable: bool,
    /// Whether the broker can be asked for an existing instance.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub instance_retrievable: bool,
    /// Whether the plan of an instance can be changed, unless a plan says otherwise.
    #[serde(default, deserialize_with = "null_default")]
    pub plan_updatable: bool,
    /// Whether the broker wants to be told when the context of an instance changes.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub allow_context_updates: bool,
    /// What the broker says about the offering for display, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub external_metadata: Option<RawObject>,
    /// Words to find the offering by.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Permissions that the offering asks of a platform.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Parameters for instances of this class that do not set them themselves. Written by people, kept on relist, and
    /// applied to new instances with `--service-plan-defaults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<RawObject>,
}

impl EntryObject for ClusterServiceClass {
    fn broker_name(&self) -> &str {
        &self.spec.cluster_service_broker_name
    }

    fn external_name(&self) -> &str {
        &self.spec.common.external_name
    }

    fn external_id(&self) -> &str {
        &self.spec.common.external_id
    }

    fn lookup_values(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("spec.externalID", self.external_id()),
            ("spec.externalName", self.external_name()),
            ("spec.clusterServiceBrokerName", self.broker_name()),
        ]
    }
}

impl EntryObject for ServiceClass {
    fn broker_name(&self) -> &str {
        &self.spec.service_broker_name
    }

    fn external_name(&self) -> &str {
        &self.spec.common.external_name
    }

    fn external_id(&self) -> &str {
        &self.spec.common.external_id
    }

    fn lookup_values(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("spec.externalID", self.external_id()),
            ("spec.externalName", self.external_name()),
            ("spec.serviceBrokerName", self.broker_name()),
        ]
    }
}

impl ClassObject for ClusterServiceClass {
    fn common(&self) -> &CommonServiceClassSpec {
        &self.spec.common
    }

    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self {
        Self::new(
            name,
            ClusterServiceClassSpec { common, cluster_service_broker_name: broker_name.to_owned() },
        )
    }

    fn with_common(mut self, common: CommonServiceClassSpec) -> Self {
        self.spec.common = common;
        self
    }
}

impl ClassObject for ServiceClass {
    fn common(&self) -> &CommonServiceClassSpec {
        &self.spec.common
    }

    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self {
        Self::new(name, ServiceClassSpec { common, service_broker_name: broker_name.to_owned() })
    }

    fn with_common(mut self, common: CommonServiceClassSpec) -> Self {
        self.spec.common = common;
        self
    }
}
