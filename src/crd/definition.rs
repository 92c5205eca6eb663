//! What the derived definitions need on top: what all kinds have in common, columns, tolerance for old clients.

use std::collections::BTreeMap;

pub(super) use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition as Column;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

/// The API group is protected; this is what the API server wants of those who define kinds in it.
const UNAPPROVED: &str = "unapproved, successor of the retired kubernetes-sigs/service-catalog";

/// The definition of a kind, from what is derived from its type and the columns that kubectl shows:
///
/// * what is the same for all kinds: label, annotation, categories;
/// * every optional field may be `null`, as in the schemaless definitions of the original (enumerations have the empty
///   string instead);
/// * no schema default in the spec: what a user did not write is not written into it for them;
/// * `status` is one atomic value, because it has one writer: the API server then tracks one owner instead of thirty;
/// * `status.observedGeneration` is -1 until the operator writes one, so that nobody takes a new object for a finished one:
///   without it, programs that know nothing of a kind take the silence for success;
/// * what the original wrote into every status, be it false or 0, is there as well: scripts wait for it.
pub(super) fn of<K: CustomResourceExt>(columns: &[Column]) -> CustomResourceDefinition {
    let mut definition = K::crd();
    definition.metadata.labels = Some([("svcat".to_owned(), "true".to_owned())].into());
    definition.metadata.annotations =
        Some([("api-approved.kubernetes.io".to_owned(), UNAPPROVED.to_owned())].into());
    definition.spec.names.categories = Some(["all", "svcat"].map(str::to_owned).into());
    for version in &mut definition.spec.versions {
        version.additional_printer_columns = Some(columns.to_vec());
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
                let observes = |below: &BTreeMap<_, _>| below.contains_key("observedGeneration");
                if property.properties.as_ref().is_some_and(observes) {
                    property.default = Some(JSON(json!({ "observedGeneration": -1 })));
                }
                say_what_is_not(property);
            }
        }
    }
    definition
}

/// Nobody has to write these for them to be there.
fn say_what_is_not(status: &mut JSONSchemaProps) {
    for (name, property) in status.properties.iter_mut().flatten() {
        property.default = match &**name {
            "asyncOpInProgress" | "orphanMitigationInProgress" => Some(JSON(json!(false))),
            "reconciledGeneration" => Some(JSON(json!(0))),
            _ => continue,
        };
        property.nullable = None;
    }
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

fn column(type_: &str, name: &str, path: &str, description: &str) -> Column {
    Column {
        description: Some(description.to_owned()),
        json_path: path.to_owned(),
        name: name.to_owned(),
        type_: type_.to_owned(),
        ..Column::default()
    }
}

/// A column of texts.
pub(super) fn text(name: &str, path: &str, description: &str) -> Column {
    column("string", name, path, description)
}

/// A column of flags.
pub(super) fn flag(name: &str, path: &str, description: &str) -> Column {
    column("boolean", name, path, description)
}

/// A column of times, shown as how long ago they were.
pub(super) fn time(name: &str, path: &str, description: &str) -> Column {
    column("date", name, path, description)
}

/// A column that is shown with `-o wide` only.
pub(super) fn wide(column: Column) -> Column {
    Column { priority: Some(1), ..column }
}

/// The age, which kubectl shows by itself where a kind has no columns.
pub(super) fn age() -> Column {
    Column { description: None, ..time("Age", ".metadata.creationTimestamp", "") }
}

/// The summary of the conditions of a broker, instance or binding.
pub(super) fn status() -> Column {
    text("Status", ".status.lastConditionState", "Ready, or the reason why not")
}

/// What a broker, instance or binding says beside its summary.
pub(super) fn message() -> Column {
    let path = r#".status.conditions[?(@.type=="Ready")].message"#;
    wide(text("Message", path, "What is the matter, and what is to be done"))
}
