//! The bodies of requests. Answers are read in `classify`, the catalog in `catalog`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{BindingId, PlanId, ServiceId};
use crate::json::{RawObject, null_default};

/// The `platform` of every context and of the originating identity (Kubernetes profile).
pub const PLATFORM: &str = "kubernetes";

/// The Kubernetes profile's context object (`profile.md`, "Context Object").
#[derive(Serialize, Clone, PartialEq)]
pub struct ContextObject {
    /// Always [`PLATFORM`].
    pub platform: &'static str,
    /// Namespace of the instance or binding.
    pub namespace: String,
    /// The persisted id of this cluster.
    pub clusterid: String,
    /// Name of the `ServiceInstance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// The annotations of the namespace that the operator may pass on. `None` if it passes on none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_annotations: Option<BTreeMap<String, String>>,
    /// The same for the `ServiceInstance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_annotations: Option<BTreeMap<String, String>>,
}

/// A version of the software behind a plan (OSB 2.17, "Maintenance Info Object"). The operator compares
/// versions for equality only.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct MaintenanceInfo {
    /// The version, as in `2.1.0`.
    #[serde(default, deserialize_with = "null_default")]
    pub version: String,
    /// What is new in this version. Requests do not have it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl MaintenanceInfo {
    /// The object of a request for a version, if there is one.
    #[must_use]
    pub fn of(version: Option<&str>) -> Option<Self> {
        version.map(|version| Self { version: version.to_owned(), description: String::new() })
    }
}

/// `PUT /v2/service_instances/:id`
#[derive(Serialize, Clone, PartialEq)]
pub struct ProvisionRequest {
    /// Id of the offering.
    pub service_id: ServiceId,
    /// Id of the plan.
    pub plan_id: PlanId,
    /// Deprecated but required: the cluster id.
    pub organization_guid: String,
    /// Deprecated but required: the uid of the namespace.
    pub space_guid: String,
    /// The context of the instance.
    pub context: ContextObject,
    /// The merged parameters. None if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RawObject>,
    /// The version of the plan in the catalog. None if the catalog has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// `PATCH /v2/service_instances/:id`
#[derive(Serialize, Clone, PartialEq)]
pub struct UpdateRequest {
    /// Id of the offering.
    pub service_id: ServiceId,
    /// The new plan. None if the plan stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The new parameters. None if they stay; `{}` if all were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RawObject>,
    /// The context of the instance.
    pub context: ContextObject,
    /// The values that the broker has acknowledged last.
    pub previous_values: PreviousValues,
    /// The new version. None if it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// `previous_values` of an update.
#[derive(Serialize, Clone, PartialEq, Eq)]
pub struct PreviousValues {
    /// Id of the offering (deprecated by the spec, but brokers read it).
    pub service_id: ServiceId,
    /// The plan before the update.
    pub plan_id: PlanId,
    /// The version before the update. None if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// `PUT /v2/service_instances/:id/service_bindings/:id`
#[derive(Serialize, Clone, PartialEq)]
pub struct BindRequest {
    /// Id of the instance's offering.
    pub service_id: ServiceId,
    /// Id of the instance's plan.
    pub plan_id: PlanId,
    /// The context of the instance.
    pub context: ContextObject,
    /// The user of the credentials.
    pub bind_resource: BindResource,
    /// The merged parameters. None if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RawObject>,
    /// The binding that this one replaces. The broker takes over its parameters (OSB 2.17, "Binding Rotation").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predecessor_binding_id: Option<BindingId>,
}

/// `bind_resource` of a bind.
#[derive(Serialize, Clone, PartialEq, Eq)]
pub struct BindResource {
    /// The uid of the namespace, as v0.3 sends it.
    pub app_guid: String,
}

/// Offering and plan in the query of DELETE, GET and `last_operation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Id of the offering.
    pub service_id: ServiceId,
    /// Id of the plan at the broker.
    pub plan_id: PlanId,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_sent_if_there_is_one() {
        let mut values =
            PreviousValues { service_id: "s".into(), plan_id: "p".into(), maintenance_info: None };
        assert_eq!(serde_json::to_value(&values).unwrap(), json!({ "service_id": "s", "plan_id": "p" }));
        values.maintenance_info =
            Some(MaintenanceInfo { version: "2.1.1+abcdef".into(), ..MaintenanceInfo::default() });
        let expected = json!({
            "service_id": "s", "plan_id": "p", "maintenance_info": { "version": "2.1.1+abcdef" },
        });
        assert_eq!(serde_json::to_value(&values).unwrap(), expected);
    }
}
