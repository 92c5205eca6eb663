//! Types that several kinds share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema::{self, null_default};

/// A free-form JSON object, kept as the user or the broker wrote it.
pub type JsonObject = Map<String, Value>;

/// The name of an object in the same scope.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LocalObjectReference {
    /// Name of the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// The name and namespace of an object.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ObjectReference {
    /// Namespace of the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: String,
    /// Name of the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// One key of a Secret in the object's own namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(schema_with = "schema::required_object_name")]
    pub name: String,
    /// Key within the Secret. Its value is a JSON object.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}

/// A source of parameters.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParametersFromSource {
    /// The key of a Secret in the same namespace whose value is a JSON object of parameters.
    pub secret_key_ref: SecretKeyReference,
}

/// The user on whose behalf a broker is asked, as the API server knows them. Written by admission, never by hand.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UserInfo {
    /// User name.
    #[serde(default, deserialize_with = "null_default")]
    pub username: String,
    /// Unique id of the user; may be empty.
    #[serde(default, deserialize_with = "null_default")]
    pub uid: String,
    /// Groups of the user.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Further attributes of the user, from the authenticator.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Status of a class or plan.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryStatus {
    /// True once the broker's catalog no longer contains this entry. It stays for as long as an instance uses it.
    #[serde(default, deserialize_with = "null_default")]
    pub removed_from_broker_catalog: bool,
}

/// What the references of an instance were resolved to when its broker was last asked: all that a later request needs,
/// even when class, plan or catalog have changed or gone since.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ResolvedOffering {
    /// Whether broker, class and plan are cluster-wide kinds (`Cluster`) or of the object's namespace (`Namespace`).
    pub scope: super::ScopeKind,
    /// Name of the broker object.
    pub broker: String,
    /// Name of the class object.
    pub class: String,
    /// Name of the plan object.
    pub plan: String,
    /// Id of the offering at the broker.
    #[serde(rename = "serviceID")]
    pub service_id: String,
    /// Id of the plan at the broker.
    #[serde(rename = "planID")]
    pub plan_id: String,
}
