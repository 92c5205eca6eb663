//! Types that several kinds share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema::{self, null_default};
use crate::osb::{PlanId, ServiceId};

/// The scope of a broker and of its classes and plans.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ScopeKind {
    /// The cluster: `ClusterServiceBroker`, `ClusterServiceClass`, `ClusterServicePlan`.
    Cluster,
    /// One namespace: `ServiceBroker`, `ServiceClass`, `ServicePlan`.
    Namespace,
}

/// A free-form JSON object with its members in the order in which they were written.
pub type JsonObject = Map<String, Value>;

/// A reference to an object of the same namespace, or from a cluster-wide object to another one.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LocalObjectReference {
    /// The name of the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A reference to an object of any namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ObjectReference {
    /// The namespace of the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: String,
    /// The name of the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A reference to one key of a Secret in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretKeyReference {
    /// The name of the Secret.
    #[schemars(schema_with = "schema::required_object_name")]
    pub name: String,
    /// The key within the Secret. Its value must be a JSON object.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}

/// A source of parameters outside the spec.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParametersFromSource {
    /// A key of a Secret in the same namespace. Its value must be a JSON object with parameters.
    pub secret_key_ref: SecretKeyReference,
}

/// What happens at the broker when an object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// The operator deletes the resource at the broker.
    #[default]
    Delete,
    /// The operator lets the object go, and the resource stays at the broker.
    Retain,
    /// The API server refuses the deletion.
    Prevent,
}

impl DeletionPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(super) fn is_delete(&self) -> bool {
        matches!(self, Self::Delete)
    }
}

/// The user who created an object or last changed its spec, as the API server authenticated them. An
/// admission policy writes it, and a request cannot set it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UserInfo {
    /// The name of the user.
    #[serde(default, deserialize_with = "null_default")]
    pub username: String,
    /// The unique id of the user. Can be empty.
    #[serde(default, deserialize_with = "null_default")]
    pub uid: String,
    /// The groups of the user.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// More attributes of the user, from the authenticator of the API server.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The status of a class or plan.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogObjectStatus {
    /// The broker's catalog no longer has this class or plan. The object stays for as long as an instance
    /// uses it.
    #[serde(default, deserialize_with = "null_default")]
    pub removed_from_broker_catalog: bool,
}

/// The broker, class and plan that the references of an instance named at the last request to the broker.
/// Later requests use it, also if the class or the plan has changed or gone since.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ResolvedOffering {
    /// The scope of broker, class and plan: the cluster (`Cluster`) or the namespace of the instance
    /// (`Namespace`).
    pub scope: ScopeKind,
    /// The name of the broker object.
    pub broker: String,
    /// The URL of the broker, without credentials. With it, the instance goes on with another broker object of
    /// the same URL when this one is deleted.
    #[serde(default, rename = "brokerURL", skip_serializing_if = "Option::is_none")]
    pub broker_url: Option<String>,
    /// The name of the class object.
    pub class: String,
    /// The name of the plan object.
    pub plan: String,
    /// The id of the offering at the broker (`service_id`).
    #[serde(rename = "serviceID")]
    pub service_id: ServiceId,
    /// The id of the plan at the broker (`plan_id`).
    #[serde(rename = "planID")]
    pub plan_id: PlanId,
}

/// The identity of a broker object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BrokerKey {
    /// The scope of the broker.
    pub scope: ScopeKind,
    /// The namespace of a `ServiceBroker`; `None` for a `ClusterServiceBroker`.
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
}

impl BrokerKey {
    /// The key of a broker. The namespace is ignored for a cluster-wide one.
    #[must_use]
    pub fn new(scope: ScopeKind, namespace: Option<&str>, name: &str) -> Self {
        let namespace = match scope {
            ScopeKind::Cluster => None,
            ScopeKind::Namespace => namespace.map(str::to_owned),
        };
        Self { scope, namespace, name: name.to_owned() }
    }
}

impl std::fmt::Display for BrokerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            None => write!(f, "ClusterServiceBroker {}", self.name),
            Some(namespace) => write!(f, "ServiceBroker {namespace}/{}", self.name),
        }
    }
}
