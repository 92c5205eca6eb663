//! `ClusterServiceClass` and `ServiceClass`: service offerings of brokers.

use std::sync::Arc;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CatalogObjectStatus,
    defects::Defects,
    definition::{self, Column, flag, text, wide},
    rule,
    schema::{self, is_false, null_default},
};
use crate::{json::RawObject, osb::ServiceId};

/// The spec of a class of a cluster-wide broker.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ClusterServiceClass",
    doc = "A service offering of a ClusterServiceBroker. The operator makes it from the catalog of the broker.",
    plural = "clusterserviceclasses",
    singular = "clusterserviceclass",
    status = "CatalogObjectStatus",
    shortname = "csvccl",
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.clusterServiceBrokerName"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("externalName"))]
#[x_kube(validation = rule::required("externalID"))]
#[x_kube(validation = rule::required("description"))]
#[x_kube(validation = rule::required("clusterServiceBrokerName"))]
#[x_kube(validation = rule::immutable("externalID"))]
#[x_kube(validation = rule::immutable("clusterServiceBrokerName"))]
pub struct ClusterServiceClassSpec {
    /// The fields of both kinds of class.
    #[serde(flatten)]
    pub common: CommonServiceClassSpec,
    /// The name of the `ClusterServiceBroker` that offers this class.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub cluster_service_broker_name: String,
}

/// The spec of a class of a broker of one namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceClass",
    doc = "A service offering of a ServiceBroker. The operator makes it from the catalog of the broker.",
    plural = "serviceclasses",
    singular = "serviceclass",
    namespaced,
    status = "CatalogObjectStatus",
    shortname = "svccl",
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.serviceBrokerName"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("externalName"))]
#[x_kube(validation = rule::required("externalID"))]
#[x_kube(validation = rule::required("description"))]
#[x_kube(validation = rule::required("serviceBrokerName"))]
#[x_kube(validation = rule::immutable("externalID"))]
#[x_kube(validation = rule::immutable("serviceBrokerName"))]
pub struct ServiceClassSpec {
    /// The fields of both kinds of class.
    #[serde(flatten)]
    pub common: CommonServiceClassSpec,
    /// The name of the `ServiceBroker` that offers this class.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub service_broker_name: String,
}

/// The columns of kubectl for a class. `broker` is the field with the name of the broker.
pub(super) fn columns(broker: &str) -> [Column; 7] {
    let updatable = "Whether the plan of an instance can be changed";
    [
        text("External-Name", ".spec.externalName", "The name in the catalog of the broker"),
        text("Broker", &format!(".spec.{broker}"), "The broker that offers the class"),
        definition::age(),
        wide(flag("Bindable", ".spec.bindable", "Whether an instance can have bindings")),
        wide(flag("Plan-Updatable", ".spec.planUpdatable", updatable)),
        wide(flag(
            "Removed",
            ".status.removedFromBrokerCatalog",
            "Whether the catalog no longer has the class",
        )),
        wide(text("Description", ".spec.description", "The description of the offering")),
    ]
}

/// The fields of both kinds of class, from the catalog of the broker (OSB 2.17, "Service Offering Object").
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the catalog")]
pub struct CommonServiceClassSpec {
    /// The name of the offering in the catalog of the broker.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 63))]
    pub external_name: String,
    /// The id of the offering in the catalog of the broker. It never changes.
    #[serde(default, rename = "externalID", deserialize_with = "null_default")]
    #[schemars(schema_with = "schema::catalog_id")]
    pub external_id: ServiceId,
    /// A short description of the offering.
    #[serde(default, deserialize_with = "null_default")]
    pub description: String,
    /// Whether instances can have bindings. A plan can override it.
    #[serde(default, deserialize_with = "null_default")]
    pub bindable: bool,
    /// Whether the broker can return an existing binding. Asynchronous bindings need it.
    #[serde(default, deserialize_with = "null_default")]
    pub binding_retrievable: bool,
    /// Whether the broker can return an existing instance.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub instance_retrievable: bool,
    /// Whether the plan of an instance can be changed. A plan can override it.
    #[serde(default, deserialize_with = "null_default")]
    pub plan_updatable: bool,
    /// Whether the broker accepts an update that changes only the context of an instance.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub allow_context_updates: bool,
    /// The metadata of the offering for display, as the broker sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub external_metadata: Option<RawObject>,
    /// The tags of the offering.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The permissions that the offering needs from the platform.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Default parameters for new instances of this class. People write them, the operator keeps them when it
    /// fetches the catalog again, and `--service-plan-defaults` switches them on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub default_provision_parameters: Option<RawObject>,
    /// The parts of the object that cannot be read. They are not part of the API.
    #[serde(skip)]
    pub defects: Option<Arc<Defects>>,
}
