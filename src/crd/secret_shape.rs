//! `spec.secret` of a binding: how the credentials stand in the Secret.

use std::collections::BTreeMap;

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    rule,
    schema::{self, is_false, null_default},
};

/// How the credentials stand in the Secret. Without any field, each credential is a key of the Secret. The steps
/// are made in this order: `secretTransforms`, `legalKeys`, `keyPrefix` or `jsonKey`, `templates`, `serviceBinding`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = one_layout())]
#[x_kube(validation = rule::no_reserved_key("labels"))]
#[x_kube(validation = rule::no_reserved_key("annotations"))]
#[x_kube(validation = rule::qualified_keys("labels"))]
#[x_kube(validation = rule::qualified_keys("annotations"))]
pub struct SecretShape {
    /// All credentials as one JSON document under this key, and not as a key each.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::optional_secret_key")]
    pub json_key: String,
    /// The beginning of the key of each credential, as in `DB_`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::key_prefix")]
    pub key_prefix: String,
    /// Makes the names of credentials fit for keys of a Secret: `ÄB c` becomes `AB_c`. If another key has this name
    /// already, a number follows: `AB_c_2`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub legal_keys: bool,
    /// More keys, made of the credentials. They replace keys of the same name.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub templates: Vec<SecretTemplate>,
    /// Makes the Secret one of servicebinding.io. Without fields, `{}`, the operator finds out its type and provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_binding: Option<ServiceBindingEntries>,
    /// Labels of the Secret.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

impl SecretShape {
    /// Whether the spec asks for no other shape than v0.3 knows.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What applications expect of a Secret by the specification of servicebinding.io. The Secret has the type
/// `servicebinding.io/<type>`, the entries `type` and `provider`, and those of `host`, `port`, `uri`, `username`, `password`,
/// `database`, `certificates` and `private-key` that the credentials have under another name. All other keys stay as they
/// are.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ServiceBindingEntries {
    /// The type of the service, as `postgresql`. If it is empty: the entry `type` of the credentials, or else a tag or the
    /// name of the offering.
    #[serde(
        default,
        rename = "type",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schemars(schema_with = "schema::service_type")]
    pub type_: String,
    /// The provider of the service. If it is empty: the entry `provider` of the credentials, or else the provider in the
    /// catalog, or else the name of the broker object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::provider")]
    pub provider: String,
}

fn one_layout() -> Rule {
    rule::about(
        "keyPrefix",
        "!(has(self.jsonKey) && self.jsonKey != '' && has(self.keyPrefix) && self.keyPrefix != '')",
        "keyPrefix has no effect with jsonKey: remove one of them",
    )
}

/// A key of the Secret that is made of the credentials.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretTemplate {
    /// The name of the key.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
    /// The value, as a JSONPath template of kubectl over the credentials: `{.username}@{.host}:{.port}`. The credentials
    /// have the names that they have after `secretTransforms`.
    #[schemars(length(max = 4096))]
    pub template: String,
}
