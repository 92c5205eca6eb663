//! What a status records of the requests for a binding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    crd::{
        UserInfo,
        schema::{self, null_default},
    },
    json::RawObject,
    osb::BindingId,
};

/// An operation on a binding.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum BindingOperation {
    /// No operation is under way.
    #[default]
    #[serde(rename = "")]
    None,
    /// A PUT of the binding.
    Bind,
    /// A DELETE of the binding.
    Unbind,
}

impl BindingOperation {
    /// Whether no operation is under way.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// The properties of a binding in a request to the broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingProperties {
    /// The parameters, if they have no more than 128 KiB. Values from a Secret are shown as `<redacted>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_object")]
    pub parameters: Option<RawObject>,
    /// The SHA-256 checksum of the parameters with the secret values, computed as in v0.3.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub parameter_checksum: String,
    /// The id of the binding that this one replaces, if the request named it (OSB 2.17, "Binding
    /// Rotation").
    #[serde(
        default,
        rename = "predecessorBindingID",
        deserialize_with = "null_default",
        skip_serializing_if = "BindingId::is_empty"
    )]
    pub predecessor_binding_id: BindingId,
    /// The user of the request, if v0.3 wrote it. The operator does not write it: `spec.userInfo` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_info: Option<UserInfo>,
}
