//! Request bodies of OSB 2.17, as sent. Answers are read leniently in `classify`, and the catalog in `catalog`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::RawObject;

/// The `platform` of every context and of the originating identity (Kubernetes profile).
pub const PLATFORM: &str = "kubernetes";

/// The Kubernetes profile's context object (`profile.md`, "Context Object").
#[derive(Serialize, Clone, PartialEq)]
pub struct Context {
    /// Always [`PLATFORM`].
    pub platform: &'static str,
    /// Namespace of the instance or binding.
    pub namespace: String,
    /// The persisted id of this cluster.
    pub clusterid: String,
    /// Name of the `ServiceInstance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// Annotations of the namespace that are passed on; left out when none ever are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_annotations: Option<BTreeMap<String, String>>,
    /// Annotations of the `ServiceInstance` that are passed on, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_annotations: Option<BTreeMap<String, String>>,
}

/// `maintenance_info` of a request ("Maintenance Info Object"): the version alone, byte for byte as the catalog has it.
#[derive(Serialize, Clone, PartialEq, Eq)]
pub struct MaintenanceInfo {
    /// The version.
    pub version: String,
}

impl MaintenanceInfo {
    /// Of a version, where there is one.
    #[must_use]
    pub fn of(version: Option<&str>) -> Option<Self> {
        version.map(|version| Self { version: version.to_owned() })
    }
}

/// `PUT /v2/service_instances/:id`
#[derive(Serialize, Clone, PartialEq)]
pub struct ProvisionRequest {
    /// Id of the offering.
    pub service_id: String,
    /// Id of the plan.
    pub plan_id: String,
    /// Deprecated but required: the cluster id.
    pub organization_guid: String,
    /// Deprecated but required: the uid of the namespace.
    pub space_guid: String,
    /// Who and where.
    pub context: Context,
    /// The merged parameters; left out when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RawObject>,
    /// The version that the plan has according to the catalog; left out when the catalog has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// `PATCH /v2/service_instances/:id`
#[derive(Serialize, Clone, PartialEq)]
pub struct UpdateRequest {
    /// Id of the offering.
    pub service_id: String,
    /// The new plan; left out when the plan stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// The new parameters; left out when they stay, `{}` when all were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RawObject>,
    /// Who and where.
    pub context: Context,
    /// What the broker has acknowledged so far.
    pub previous_values: PreviousValues,
    /// The version to go to; left out when it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// `previous_values` of an update.
#[derive(Serialize, Clone, PartialEq, Eq)]
pub struct PreviousValues {
    /// Id of the offering (deprecated by the spec, still read by brokers).
    pub service_id: String,
    /// The plan before the update.
    pub plan_id: String,
    /// The version before the update; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// `PUT /v2/service_instances/:id/service_bindings/:id`
#[derive(Serialize, Clone, PartialEq)]
pub struct BindRequest {
    /// Id of the instance's offering.
    pub service_id: String,
    /// Id of the instance's plan.
    pub plan_id: String,
    /// Who and where.
    pub context: Context,
    /// What the credentials are for.
    pub bind_resource: BindResource,
    /// The merged parameters; left out when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RawObject>,
}

/// `bind_resource` of a bind.
#[derive(Serialize, Clone, PartialEq, Eq)]
pub struct BindResource {
    /// The uid of the namespace, as the original sends it.
    pub app_guid: String,
}

/// What DELETE, GET and `last_operation` name in their query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Id of the offering.
    pub service_id: String,
    /// Id of the plan at the broker.
    pub plan_id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_is_sent_where_there_is_one() {
        let mut values =
            PreviousValues { service_id: "s".into(), plan_id: "p".into(), maintenance_info: None };
        assert_eq!(serde_json::to_value(&values).unwrap(), json!({ "service_id": "s", "plan_id": "p" }));
        values.maintenance_info = Some(MaintenanceInfo { version: "2.1.1+abcdef".into() });
        let expected = json!({
            "service_id": "s", "plan_id": "p", "maintenance_info": { "version": "2.1.1+abcdef" },
        });
        assert_eq!(serde_json::to_value(&values).unwrap(), expected);
    }
}
