//! `ServiceBinding`: credentials for an instance, in a Secret.

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, UserInfo,
    common::{LocalObjectReference, ObjectReference, ParametersFromSource, ResolvedOffering},
    condition::Conditioned,
    definition::{self, Column, text, wide},
    progress::Progress,
    rule,
    schema::{self, is_zero, null_default},
};
use crate::json::RawObject;

/// Credentials for a `ServiceInstance`, written to a Secret of the same namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceBinding",
    doc = "Credentials for a ServiceInstance, which the broker gives and which are written to a Secret.",
    plural = "servicebindings",
    singular = "servicebinding",
    namespaced,
    status = "ServiceBindingStatus",
    shortname = "svcb",
    selectable = ".spec.instanceRef.name",
    selectable = ".spec.secretName",
    selectable = ".spec.externalID",
    selectable = ".status.lastConditionState"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.instanceRef.name) && self.instanceRef.name != ''")
    .message("instanceRef.name is required: name the ServiceInstance of this namespace that the credentials are for").field_path(".instanceRef"))]
#[x_kube(validation = rule::immutable("externalID"))]
#[x_kube(validation = Rule::new("oldSelf.instanceRef == self.instanceRef").message("instanceRef is immutable: create another binding for another instance").field_path(".instanceRef"))]
#[x_kube(validation = Rule::new("!has(oldSelf.secretName) || oldSelf.secretName == '' || (has(self.secretName) && self.secretName == oldSelf.secretName)")
    .message("secretName is immutable: create another binding for another Secret").field_path(".secretName"))]
pub struct ServiceBindingSpec {
    /// The instance that the credentials are for, in the same namespace.
    pub instance_ref: LocalObjectReference,
    /// Parameters for the broker, in clear: use `parametersFrom` for what is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// Secrets whose values are JSON objects of further parameters. No key may occur twice in all of them together.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub parameters_from: Vec<ParametersFromSource>,
    /// Name of the Secret that the credentials are written to; the binding's own name without it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: String,
    /// Changes to make to the credentials before they are written, in this order.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub secret_transforms: Vec<SecretTransform>,
    /// The id of the binding at the broker, for taking over one that exists. Without it the object's uid is used.
    #[serde(
        default,
        rename = "externalID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schemars(schema_with = "schema::id")]
    pub external_id: String,
    /// Who asked for the binding. Written by admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
}

/// What kubectl shows of a binding.
pub(super) fn columns() -> [Column; 7] {
    [
        text("Service-Instance", ".spec.instanceRef.name", "The instance"),
        text("Secret-Name", ".spec.secretName", "The Secret with the credentials"),
        definition::status(),
        definition::age(),
        wide(text("Expires", ".status.expiresAt", "When the credentials end")),
        wide(text("Binding-ID", ".status.bindingID", "The id at the broker")),
        definition::message(),
    ]
}

/// One change to the credentials; exactly one of the fields.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.renameKey), has(self.addKey), has(self.addKeysFrom), has(self.removeKey)].filter(isSet, isSet).size() == 1")
    .message("a transform is exactly one of renameKey, addKey, addKeysFrom and removeKey"))]
pub struct SecretTransform {
    /// Gives a key another name; does nothing when the key is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename_key: Option<RenameKeyTransform>,
    /// Adds a key, or replaces its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_key: Option<AddKeyTransform>,
    /// Adds all keys of another Secret of the same namespace, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_keys_from: Option<AddKeysFromTransform>,
    /// Removes a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_key: Option<RemoveKeyTransform>,
}

/// Gives a key another name.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.from) && has(self.to)").message("renameKey needs both from and to"))]
pub struct RenameKeyTransform {
    /// The key as it is.
    #[serde(default, deserialize_with = "null_default")]
    pub from: String,
    /// The key as it will be.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(schema_with = "schema::secret_key")]
    pub to: String,
}

/// Adds a key. `jsonPathExpression` counts before `stringValue`, and that before `value`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.key)").message("addKey needs a key"))]
pub struct AddKeyTransform {
    /// The key.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
    /// Its value as bytes, base64-encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub value: Option<ByteString>,
    /// Its value as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Its value by a JSONPath template of kubectl over the credentials, as in `{.host}:{.port}` or
    /// `{range .users[*]}{.name} {end}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_path_expression: Option<String>,
}

/// Adds all keys of another Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) && has(self.secretRef.name) && self.secretRef.name != ''").message("addKeysFrom needs the name of a Secret in secretRef"))]
pub struct AddKeysFromTransform {
    /// The Secret. Only one of the binding's own namespace is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectReference>,
}

/// Removes a key.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.key) && self.key != ''").message("removeKey needs a key"))]
pub struct RemoveKeyTransform {
    /// The key.
    #[serde(default, deserialize_with = "null_default")]
    pub key: String,
}

// The flags are the original's; `reconcilers::binding::phase` is the one place that reads them.
/// Status of a binding.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBindingStatus {
    /// `Ready`, `Stalled` and `Failed`, in this order.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// How far the work at the broker is.
    #[serde(flatten)]
    pub progress: Progress,
    /// The operation that is under way.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BindingOperation::is_none")]
    pub current_operation: BindingOperation,
    /// The generation of the spec that was brought to an end, successfully or not.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on; -1 before it has seen the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What the broker is being asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress_properties: Option<BindingProperties>,
    /// What the broker has acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_properties: Option<BindingProperties>,
    /// Whether the broker must be told when this object is deleted.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "UnbindStatus::is_unset")]
    pub unbind_status: UnbindStatus,
    /// `Ready`, `Failed`, or the reason why not.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub last_condition_state: String,
    /// The id of the binding at the broker.
    #[serde(
        default,
        rename = "bindingID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub binding_id: String,
    /// The id at the broker of the instance that the binding belongs to.
    #[serde(
        default,
        rename = "instanceID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub instance_id: String,
    /// When the credentials end, if the broker says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub expires_at: Option<Time>,
    /// By when the broker wants the credentials renewed, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub renew_before: Option<Time>,
    /// What the instance's references were resolved to when the broker was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedOffering>,
}

/// An operation on a binding.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum BindingOperation {
    /// None is under way.
    #[default]
    #[serde(rename = "")]
    None,
    /// `PUT`
    Bind,
    /// `DELETE`
    Unbind,
}

impl BindingOperation {
    /// No operation is under way.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Whether the broker must be told when a binding is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum UnbindStatus {
    /// Nothing was asked of a broker yet.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// The broker has nothing.
    NotRequired,
    /// The broker has, or may have, a binding.
    Required,
    /// The binding was deleted at the broker.
    Succeeded,
    /// Written by the original when it gave up; here deletion is tried again.
    Failed,
}

impl UnbindStatus {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }
}

/// The properties of a binding that a broker was asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingProperties {
    /// The parameters; values that came from a Secret are shown as `<redacted>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// SHA-256 of the parameters with the secret values, as version 0.3 computed it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub parameter_checksum: String,
    /// On whose behalf the broker was asked, where version 0.3 wrote it. It is not written any more: `spec.userInfo` says
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
}

impl Conditioned for ServiceBindingStatus {
    fn parts(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }

    fn observed_generation(&self) -> i64 {
        self.observed_generation
    }
}
