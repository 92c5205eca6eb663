//! What the derived schemas need on top: tolerance for old clients, documentation-only formats, CEL expressions that
//! are built from lists of fields rather than written out.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// Reads `null` as the default: Go clients of the original send it for empty lists and maps.
pub(super) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A free-form object, absent or null when there is none.
pub(super) fn optional_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// A time stamp.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}

/// Bytes, base64-encoded.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "byte", "nullable": true})
}

/// A duration as Go prints it.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 64,
        "pattern": r"^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$",
    })
}

/// Makes a derived definition fit for the cluster:
///
/// * every optional field may be `null`, as in the schemaless definitions of the original (enumerations have the empty
///   string instead);
/// * no schema default: what a user did not write is not written into the spec for them;
/// * `status` is one atomic value, because it has one writer: the API server then tracks one owner instead of thirty.
pub(super) fn finish(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        let Some(properties) = root.properties.as_mut() else {
            continue;
        };
        for (name, property) in properties.iter_mut() {
            tolerate(property);
            if name == "status" {
                property.x_kubernetes_map_type = Some("atomic".to_owned());
                property.nullable = Some(true);
            }
        }
    }
    definition
}

fn tolerate(schema: &mut JSONSchemaProps) {
    schema.default = None;
    let required = schema.required.clone().unwrap_or_default();
    for (name, property) in schema.properties.iter_mut().flatten() {
        if property.enum_.is_none() && !required.contains(name) {
            property.nullable = Some(true);
        }
        tolerate(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        tolerate(items);
    }
}

fn set(field: &str) -> String {
    format!("(has(self.{field}) && self.{field} != '')")
}

/// CEL: at least one of these fields has a value.
pub(super) fn any_set(fields: &[&str]) -> String {
    fields.iter().map(|field| set(field)).collect::<Vec<_>>().join(" || ")
}

/// CEL: no field of the first list has a value, or none of the second.
pub(super) fn not_both(one: &[&str], other: &[&str]) -> String {
    format!("!(({}) && ({}))", any_set(one), any_set(other))
}

/// CEL: at most one of these fields has a value.
pub(super) fn at_most_one(fields: &[&str]) -> String {
    let list = fields.iter().map(|field| set(field)).collect::<Vec<_>>().join(", ");
    format!("[{list}].filter(isSet, isSet).size() <= 1")
}

/// CEL: where the n-th plan field has a value, so has the n-th class field.
pub(super) fn same_spelling(classes: &[&str], plans: &[&str]) -> String {
    let pairs = classes.iter().zip(plans).map(|(class, plan)| format!("(!{} || {})", set(plan), set(class)));
    pairs.collect::<Vec<_>>().join(" && ")
}

/// CEL, transition rule: none of these string fields changes, appears or disappears. Absent and empty are the same.
pub(super) fn unchanged(fields: &[&str]) -> String {
    let mut rule = String::new();
    for field in fields {
        let and = if rule.is_empty() { "" } else { " && " };
        // Writing to a String cannot fail.
        let _ = write!(
            rule,
            "{and}(has(self.{field}) ? self.{field} : '') == (has(oldSelf.{field}) ? oldSelf.{field} : '')"
        );
    }
    rule
}
