//! `ServiceBinding`: a binding of an instance, with its credentials in a Secret.

pub(in crate::crd) mod record;

use std::sync::Arc;

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::record::{BindingOperation, BindingProperties};
use super::{
    Condition, UserInfo,
    common::{DeletionPolicy, LocalObjectReference, ObjectReference, ParametersFromSource, ResolvedOffering},
    condition::Conditioned,
    defects::Defects,
    definition::{self, Column, text, wide},
    pods::{Pods, PodsStatus, RestartStatus},
    progress::{DeletionStatus, Progress},
    rotation::{Rotation, RotationStatus},
    rule,
    schema::{self, is_false, is_zero, null_default},
    secret_shape::SecretShape,
};
use crate::{
    json::RawObject,
    osb::{BindingId, InstanceId, extras::Extras},
};

/// The spec of a binding.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceBinding",
    doc = "A binding of a ServiceInstance. The operator writes the credentials that the broker returns into a Secret.",
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
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct ServiceBindingSpec {
    /// The instance of the binding, in the same namespace.
    pub instance_ref: LocalObjectReference,
    /// Parameters for the broker, in plain text. Use `parametersFrom` for secret parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// Secrets with more parameters. Each key can occur only once in all sources and `parameters` together.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub parameters_from: Vec<ParametersFromSource>,
    /// The name of the Secret for the credentials. If it is empty, the operator fills in the name of the
    /// binding.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: String,
    /// Changes of the credentials before they are written, in this order.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub secret_transforms: Vec<SecretTransform>,
    /// How the credentials stand in the Secret, and labels and annotations for it. Can be changed at any time: the
    /// operator then writes the Secret again. To go back to the default, set it to `{}`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "SecretShape::is_default")]
    pub secret: SecretShape,
    /// The id of the binding at the broker. Set it only for a binding that exists at the broker already. If it
    /// is empty, the operator fills it in: with the uid of the object, or with an id made from it.
    #[serde(
        default,
        rename = "externalID",
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schemars(schema_with = "schema::id")]
    pub external_id: String,
    /// The user who created the binding. An admission policy writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
    /// What happens when this object is deleted. `Delete`, the default: the operator deletes the binding at the
    /// broker. `Retain`: the binding stays at the broker, and an Event names its id. `Prevent`: the API server
    /// refuses the deletion. It can be changed at any time, but not removed.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "DeletionPolicy::is_delete")]
    pub deletion_policy: DeletionPolicy,
    /// Pods of the namespace that get the credentials when they are created. It can be changed at any time, but not
    /// removed: with `{}`, no more pods get them. To set it, a user needs the right to create pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// When the credentials are renewed, and how. It can be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// The parts of the object that cannot be read. They are not part of the API.
    #[serde(skip)]
    pub defects: Option<Arc<Defects>>,
}

/// The CEL rules of the spec.
fn rules() -> [Rule; 3] {
    [
        rule::required_reference("instanceRef", "name the ServiceInstance that the credentials are for"),
        rule::immutable_object("instanceRef"),
        rule::set_once("secretName"),
    ]
}

/// The columns of kubectl for a binding.
pub(super) fn columns() -> [Column; 7] {
    [
        text("Service-Instance", ".spec.instanceRef.name", "The instance of the binding"),
        text("Secret-Name", ".spec.secretName", "The Secret with the credentials"),
        definition::status(),
        definition::age(),
        wide(text("Expires", ".status.expiresAt", "When the credentials expire")),
        wide(text("Binding-ID", ".status.bindingID", "The id of the binding at the broker")),
        definition::message(),
    ]
}

/// One change of the credentials. Exactly one field is set.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.renameKey), has(self.addKey), has(self.addKeysFrom), has(self.removeKey)].filter(isSet, isSet).size() == 1")
    .message("set exactly one of renameKey, addKey, addKeysFrom and removeKey"))]
pub struct SecretTransform {
    /// Renames a key. Has no effect if there is no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename_key: Option<RenameKeyTransform>,
    /// Adds a key or replaces its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_key: Option<AddKeyTransform>,
    /// Adds all keys of another Secret of the same namespace. The binding waits until there is such a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_keys_from: Option<AddKeysFromTransform>,
    /// Removes a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_key: Option<RemoveKeyTransform>,
}

/// Renames a key.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.from) && has(self.to)").message("from and to are required"))]
pub struct RenameKeyTransform {
    /// The present name of the key.
    #[serde(default, deserialize_with = "null_default")]
    pub from: String,
    /// The new name of the key.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(schema_with = "schema::secret_key")]
    pub to: String,
}

/// Adds a key. `jsonPathExpression` has precedence over `stringValue`, and `stringValue` over `value`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.key)").message("key is required"))]
pub struct AddKeyTransform {
    /// The name of the key.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
    /// The value as bytes in base64.
    #[serde(default, deserialize_with = "schema::lenient_bytes", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub value: Option<ByteString>,
    /// The value as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value as a JSONPath template of kubectl over the credentials, as in `{.host}:{.port}` or `{range
    /// .users[*]}{.name} {end}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_path_expression: Option<String>,
}

/// Adds all keys of another Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) && has(self.secretRef.name) && self.secretRef.name != ''").message("secretRef.name is required"))]
pub struct AddKeysFromTransform {
    /// The Secret. It must be in the namespace of the binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectReference>,
}

/// Removes a key.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.key) && self.key != ''").message("key is required"))]
pub struct RemoveKeyTransform {
    /// The name of the key.
    #[serde(default, deserialize_with = "null_default")]
    pub key: String,
}

// The flags are those of v0.3. Only `reconcilers::binding::phase` reads them.
/// The status of a binding.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBindingStatus {
    /// The conditions `Ready`, `Stalled` and `Failed`, in this order.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// The progress of the current operation.
    #[serde(flatten)]
    pub progress: Progress,
    /// The current operation: `Bind` or `Unbind`. Empty if there is none.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BindingOperation::is_none")]
    pub current_operation: BindingOperation,
    /// The generation of the spec that the operator last finished, with or without success.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on. -1 before the first time.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// The properties in the current request to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress_properties: Option<BindingProperties>,
    /// The properties that the broker has accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_properties: Option<BindingProperties>,
    /// Whether the operator must unbind at the broker when this object is deleted.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "DeletionStatus::is_unset")]
    pub unbind_status: DeletionStatus,
    /// The type of the last condition if it is true, otherwise its reason.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub last_condition_state: String,
    /// The id of the binding at the broker.
    #[serde(
        default,
        rename = "bindingID",
        deserialize_with = "null_default",
        skip_serializing_if = "BindingId::is_empty"
    )]
    pub binding_id: BindingId,
    /// The id of the instance at the broker.
    #[serde(
        default,
        rename = "instanceID",
        deserialize_with = "null_default",
        skip_serializing_if = "InstanceId::is_empty"
    )]
    pub instance_id: InstanceId,
    /// The broker gave no credentials for this binding, so its Secret has none, and the operator can write it
    /// again without a request.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub without_credentials: bool,
    /// When the broker made the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub bound_at: Option<Time>,
    /// When the credentials expire, if the broker says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub expires_at: Option<Time>,
    /// When the credentials must be renewed at the latest, if the broker says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub renew_before: Option<Time>,
    /// The Secret with the credentials, for programs that know servicebinding.io (its "Provisioned Service").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<LocalObjectReference>,
    /// What the broker gave beside credentials.
    #[serde(flatten)]
    pub extras: Extras,
    /// The broker, class and plan of the instance at the last request to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedOffering>,
    /// The pods that `spec.pods` names, if the operator watches pods (`--watch-pods`) and the binding is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsStatus>,
    /// The restart of these pods, if `spec.pods.restart` asks for it and the operator restarts pods (`--restart-pods`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStatus>,
    /// The state of the rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
}

impl Conditioned for ServiceBindingStatus {
    fn conditions_mut(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }

    fn observed_generation(&self) -> i64 {
        self.observed_generation
    }
}
