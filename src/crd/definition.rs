//! Completes the derived definitions: what all kinds share, columns, tolerance for old clients.

use std::collections::BTreeMap;

pub(super) use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition as Column;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

/// The value of `api-approved.kubernetes.io`. The API server requires it for groups below `k8s.io`.
const UNAPPROVED: &str = "unapproved, successor of the retired kubernetes-sigs/service-catalog";

/// The definition of a kind: the derived definition with the columns of kubectl and these changes:
///
/// * All kinds have the same label, annotation and categories.
/// * Every optional field can be `null`, as in v0.3, whose definitions have no schema. Enumerations have the
///   empty string instead. [`NEVER_NULL`] has the exceptions.
/// * Descriptions have no line breaks within a paragraph.
/// * The spec has no defaults: the operator writes nothing into it for the user.
/// * `status` is one atomic value, because it has one writer. The API server then tracks one owner and not
///   one for each field.
/// * `status.observedGeneration` is -1 until the operator writes it. Without it, programs that do not know
///   the kind (kstatus, for example) take a new object for a finished one.
/// * Fields that v0.3 writes into every status, also if they are false or 0, have that value as default.
///   Scripts wait for them.
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
            complete(property, true);
            if name == "status" {
                property.x_kubernetes_map_type = Some("atomic".to_owned());
                property.nullable = Some(true);
                let observes = |below: &BTreeMap<_, _>| below.contains_key("observedGeneration");
                if property.properties.as_ref().is_some_and(observes) {
                    property.default = Some(JSON(json!({ "observedGeneration": -1 })));
                }
                set_status_defaults(property);
            }
        }
    }
    definition
}

/// The definition with the label that tells programs of servicebinding.io: `status.binding.name` of the objects names a
/// Secret.
pub(super) fn provisioned_service(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let labels = definition.metadata.labels.get_or_insert_default();
    labels.insert("servicebinding.io/provisioned-service".to_owned(), "true".to_owned());
    definition
}

/// Fields that v0.3 writes into every status.
fn set_status_defaults(status: &mut JSONSchemaProps) {
    for (name, property) in status.properties.iter_mut().flatten() {
        property.default = match &**name {
            "asyncOpInProgress" | "orphanMitigationInProgress" => Some(JSON(json!(false))),
            "reconciledGeneration" => Some(JSON(json!(0))),
            _ => continue,
        };
        property.nullable = None;
    }
}

/// Fields with a structure that v0.3 does not have. CEL rules and policies read them, and each `null` in them would be one
/// more case.
const NEVER_NULL: [&str; 1] = ["pods"];

fn complete(schema: &mut JSONSchemaProps, can_be_null: bool) {
    schema.default = None;
    schema.description = schema.description.take().map(|text| in_one_line(&text));
    let required = schema.required.clone().unwrap_or_default();
    for (name, property) in schema.properties.iter_mut().flatten() {
        let can_be_null = can_be_null && !NEVER_NULL.contains(&&**name);
        let is_optional = property.enum_.is_none() && !required.contains(name);
        property.nullable =
            (can_be_null && is_optional).then_some(true).or(property.nullable.filter(|_| can_be_null));
        complete(property, can_be_null);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        complete(items, can_be_null);
    }
}

/// Each paragraph of a comment as one line: kubectl and consoles wrap lines themselves.
fn in_one_line(comment: &str) -> String {
    comment.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
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

/// A column with a text.
pub(super) fn text(name: &str, path: &str, description: &str) -> Column {
    column("string", name, path, description)
}

/// A column with a flag.
pub(super) fn flag(name: &str, path: &str, description: &str) -> Column {
    column("boolean", name, path, description)
}

/// A column with a time, which kubectl shows as an age.
pub(super) fn time(name: &str, path: &str, description: &str) -> Column {
    column("date", name, path, description)
}

/// A column that kubectl shows only with `-o wide`.
pub(super) fn wide(column: Column) -> Column {
    Column { priority: Some(1), ..column }
}

/// The age of the object. kubectl adds it by itself only to kinds without columns.
pub(super) fn age() -> Column {
    Column { description: None, ..time("Age", ".metadata.creationTimestamp", "") }
}

/// The summary of the conditions of a broker, instance or binding.
pub(super) fn status() -> Column {
    text("Status", ".status.lastConditionState", "Ready, or the reason of the condition that is not true")
}

/// The message of the condition `Ready` of a broker, instance or binding.
pub(super) fn message() -> Column {
    let path = r#".status.conditions[?(@.type=="Ready")].message"#;
    wide(text("Message", path, "The state of the object, and what to do about it"))
}
