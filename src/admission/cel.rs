//! CEL expressions over the fields of a spec, built from the schemas of the kinds.
//!
//! To these expressions an absent field, `null` and the zero value of the type are the same: Go clients of
//! v0.3 send zero values for fields that a manifest does not have, and that is no edit. The comparisons with
//! `null` need `dyn`, because the type checker of the API server does not know that the fields are nullable.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};

use crate::crd;

/// A top-level field of a spec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    zero: &'static str,
}

impl Field {
    /// CEL: the value in `object` or `oldObject`; the zero value if the field is absent.
    pub(super) fn of(&self, root: &str) -> String {
        let path = format!("{root}.spec.{}", self.name);
        format!("({} ? dyn({path}) : dyn({}))", given(root, &["spec", &self.name], 1), self.zero)
    }

    /// CEL: whether the request changes the value.
    pub(super) fn changed(&self) -> String {
        format!("{} != {}", self.of("object"), self.of("oldObject"))
    }

    /// CEL: whether the request has a value other than zero.
    pub(super) fn is_given(&self) -> String {
        format!("{} != {}", self.of("object"), self.zero)
    }

    /// CEL: whether the request changes the value. Zero in the request means no change.
    pub(super) fn changed_from_zero(&self) -> String {
        format!("({} != {} && {})", self.of("object"), self.zero, self.changed())
    }
}

/// The fields of the spec of a kind. `plural` is the name of its resource.
pub(super) fn spec_fields(plural: &str) -> Vec<Field> {
    // Policies ask for single fields, and the definitions take long to build.
    static FIELDS: LazyLock<BTreeMap<String, Vec<Field>>> = LazyLock::new(|| {
        crd::all().iter().map(|crd| (crd.spec.names.plural.clone(), fields_of(crd))).collect()
    });
    FIELDS.get(plural).cloned().unwrap_or_default()
}

fn fields_of(definition: &CustomResourceDefinition) -> Vec<Field> {
    let schemas = definition
        .spec
        .versions
        .iter()
        .filter_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let specs = schemas.filter_map(|schema| schema.properties.as_ref()?.get("spec")?.properties.as_ref());
    specs.flatten().map(|(name, schema)| Field { name: name.clone(), zero: zero(schema) }).collect()
}

/// One field of the spec of a kind.
pub(super) fn spec_field(plural: &str, name: &str) -> Field {
    let found = spec_fields(plural).into_iter().find(|field| field.name == name);
    debug_assert!(found.is_some(), "{plural} has no spec.{name}");
    found.unwrap_or_else(|| Field { name: name.to_owned(), zero: "null" })
}

fn zero(schema: &JSONSchemaProps) -> &'static str {
    match schema.type_.as_deref() {
        Some("string") => "''",
        Some("integer" | "number") => "0",
        Some("boolean") => "false",
        Some("array") => "[]",
        Some("object") => "{}",
        _ => "null",
    }
}

/// The references of an instance. The operator writes them. Users name class and plan by other fields.
pub(super) const REFERENCES: [&str; 4] =
    ["clusterServiceClassRef", "clusterServicePlanRef", "serviceClassRef", "servicePlanRef"];

/// Whether a field of the spec of an instance is written by the operator and not by users.
pub(super) fn is_written_by_the_operator(field: &str) -> bool {
    field == "externalID" || REFERENCES.contains(&field)
}

/// CEL: whether a path exists and is not null. The first `known` steps are known to exist.
pub(super) fn given(root: &str, steps: &[&str], known: usize) -> String {
    let tests = (known + 1..=steps.len()).map(|end| {
        let path = format!("{root}.{}", steps[..end].join("."));
        format!("has({path}) && dyn({path}) != null")
    });
    tests.collect::<Vec<_>>().join(" && ")
}

/// CEL: whether one of these expressions is true. One expression on each line.
pub(super) fn any(expressions: impl IntoIterator<Item = String>) -> String {
    expressions.into_iter().collect::<Vec<_>>().join("\n|| ")
}

/// CEL: whether the request creates the object or changes its spec.
///
/// It is false for an object without a spec. The schema refuses such an object with a better message.
pub(super) const SPEC_CHANGED: &str =
    "has(object.spec) && (request.operation == 'CREATE' || object.spec != oldObject.spec)";

/// CEL: a string literal.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_follow_the_schema() {
        let fields = spec_fields("serviceinstances");
        let zero = |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.zero);
        assert_eq!(zero("externalID"), Some("''"));
        assert_eq!(zero("updateRequests"), Some("0"));
        assert_eq!(zero("parametersFrom"), Some("[]"));
        assert_eq!(zero("parameters"), Some("{}"));
        assert!(fields.iter().all(|field| field.zero != "null"));
    }

    #[test]
    fn flattened_fields_are_found() {
        let fields = spec_fields("clusterservicebrokers");
        assert!(fields.iter().any(|field| field.name == "url"));
        assert!(fields.iter().any(|field| field.name == "authInfo"));
    }

    #[test]
    fn every_step_of_a_path_is_checked() {
        assert_eq!(
            given("object", &["spec", "authInfo", "basic"], 1),
            "has(object.spec.authInfo) && dyn(object.spec.authInfo) != null && \
             has(object.spec.authInfo.basic) && dyn(object.spec.authInfo.basic) != null"
        );
    }

    #[test]
    fn text_is_quoted() {
        assert_eq!(text(r"a'b\c"), r"'a\'b\\c'");
    }
}
