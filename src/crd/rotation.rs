//! The rotation of a binding: new credentials from the broker, and the end of the old ones.
//!
//! A binding object has one binding at the broker whose credentials are in the Secret, and at most one other: the
//! successor, while it is being made, or the predecessor, for as long as workloads may still use its credentials.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition,
    binding::record::{BindingOperation, BindingProperties},
    common::ResolvedOffering,
    progress::{DeletionStatus, Progress},
    schema::{self, is_zero, null_default},
};
use crate::osb::{BindingId, InstanceId};

/// When the credentials of a binding are renewed, in addition to what the broker says, and how.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The age at which credentials are renewed, as in `720h`, at least a minute. Without it, only the broker says
    /// when: before `renew_before`, or else before `expires_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub interval: Option<Duration>,
    /// How long the old credentials stay valid after the new ones are in the Secret, as in `15m`. One hour by
    /// default, and never longer than until they expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::delay")]
    pub grace_period: Option<Duration>,
    /// Increase this number to renew the credentials now.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub requests: i64,
}

/// The state of the rotation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// The value of `spec.rotation.requests` that the credentials were last renewed for.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_requests: i64,
    /// The binding that is being made. Its credentials replace those in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Box<OtherBinding>>,
    /// The binding whose credentials were in the Secret before. The operator deletes it after its grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Box<OtherBinding>>,
}

/// A binding at the broker whose credentials are not in the Secret. The fields mean what those of the status itself
/// mean.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherBinding {
    /// The condition `Ready` of this binding.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The progress of the current operation.
    #[serde(flatten)]
    pub progress: Progress,
    /// The current operation: `Bind` or `Unbind`. Empty if there is none.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BindingOperation::is_none")]
    pub current_operation: BindingOperation,
    /// The properties in the current request to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress_properties: Option<BindingProperties>,
    /// The properties that the broker has accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_properties: Option<BindingProperties>,
    /// Whether the operator must delete it at the broker.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "DeletionStatus::is_unset")]
    pub unbind_status: DeletionStatus,
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
    /// The broker, class and plan at the last request to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedOffering>,
    /// The value of `spec.rotation.requests` when the operator began to make it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub requests: i64,
    /// When the operator deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub unbind_after: Option<Time>,
}

impl RotationStatus {
    /// The binding beside the one whose credentials are in the Secret.
    #[must_use]
    pub fn other(&self) -> Option<&OtherBinding> {
        self.successor.as_deref().or(self.predecessor.as_deref())
    }
}
