//! `ClusterServiceClass` and `ServiceClass`: one offering of a broker.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    EntryStatus,
    definition::{self, Column, flag, text, wide},
    rule,
    schema::{self, is_false, null_default},
    scope::{ClassObject, EntryObject, EntrySpec},
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
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.clusterServiceBrokerName"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("externalName"))]
#[x_kube(validation = rule::required("externalID"))]
#[x_kube(validation = rule::required("description"))]
#[x_kube(validation = rule::required("clusterServiceBrokerName"))]
#[x_kube(validation = rule::same_id("ClusterServiceClass"))]
#[x_kube(validation = rule::immutable("clusterServiceBrokerName"))]
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
    selectable = ".spec.externalName",
    selectable = ".spec.externalID",
    selectable = ".spec.serviceBrokerName"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("externalName"))]
#[x_kube(validation = rule::required("externalID"))]
#[x_kube(validation = rule::required("description"))]
#[x_kube(validation = rule::required("serviceBrokerName"))]
#[x_kube(validation = rule::same_id("ServiceClass"))]
#[x_kube(validation = rule::immutable("serviceBrokerName"))]
pub struct ServiceClassSpec {
    /// What both kinds of class have.
    #[serde(flatten)]
    pub common: CommonServiceClassSpec,
    /// Name of the `ServiceBroker` that offers this class.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(length(max = 253))]
    pub service_broker_name: String,
}

/// What kubectl shows of a class, whose broker is named in this field.
pub(super) fn columns(broker: &str) -> [Column; 7] {
    let updatable = "Whether an instance can be moved to another plan";
    [
        text("External-Name", ".spec.externalName", "Name in the broker's catalog"),
        text("Broker", &format!(".spec.{broker}"), "The broker that offers it"),
        definition::age(),
        wide(flag("Bindable", ".spec.bindable", "Whether credentials can be had")),
        wide(flag("Plan-Updatable", ".spec.planUpdatable", updatable)),
        wide(flag("Removed", ".status.removedFromBrokerCatalog", "Whether it has left the catalog")),
        wide(text("Description", ".spec.description", "What it is")),
    ]
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

impl EntrySpec for CommonServiceClassSpec {
    fn external_name(&self) -> &str {
        &self.external_name
    }

    fn external_id(&self) -> &str {
        &self.external_id
    }
}

impl EntryObject for ClusterServiceClass {
    type Common = CommonServiceClassSpec;

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
        vec![("spec.clusterServiceBrokerName", self.broker_name())]
    }
}

impl EntryObject for ServiceClass {
    type Common = CommonServiceClassSpec;

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
        vec![("spec.serviceBrokerName", self.broker_name())]
    }
}

impl ClassObject for ClusterServiceClass {
    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self {
        let cluster_service_broker_name = broker_name.to_owned();
        Self::new(name, ClusterServiceClassSpec { common, cluster_service_broker_name })
    }
}

impl ClassObject for ServiceClass {
    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self {
        Self::new(name, ServiceClassSpec { common, service_broker_name: broker_name.to_owned() })
    }
}
