//! What the derived schemas need on top: tolerance for old clients, documentation-only formats, CEL expressions that
//! are built from lists of fields rather than written out.

use std::{collections::BTreeMap, fmt::Write as _};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::osb::catalog::MAX_ID;

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

/// A string with rules of its own: the API server then names the field, whichever list or object it is in.
///
/// What Go clients send for "not said", null and the empty string, is nobody's concern here.
fn text(longest: u32, rules: &[(&str, &str)]) -> Schema {
    let or_empty = |rule: &str| format!("self == '' || {rule}");
    let rules: Vec<_> = rules.iter().map(|(rule, message)| (or_empty(rule), *message)).collect();
    ruled(longest, &rules)
}

fn ruled(longest: u32, rules: &[(String, &str)]) -> Schema {
    let rules: Vec<Value> =
        rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect();
    json_schema!({ "type": "string", "maxLength": longest, "x-kubernetes-validations": rules })
}

/// A duration as Go prints it. The empty string is none, and no client of the original sends it.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    let is_duration = "self.matches('^-?([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$')";
    ruled(
        64,
        &[
            (is_duration.to_owned(), "must be a duration of hours, minutes and seconds, as in 15m0s"),
            // What is no duration at all is the other rule's concern.
            (
                format!("!{is_duration} || duration(self) > duration('0s')"),
                "relistDuration must be greater than zero",
            ),
        ],
    )
}

/// The name of an object that can be.
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(253, &[(IS_OBJECT_NAME, OBJECT_NAME)])
}

/// The same where there must be one.
pub(super) fn required_object_name(_: &mut SchemaGenerator) -> Schema {
    ruled(253, &[(IS_OBJECT_NAME.to_owned(), OBJECT_NAME)])
}

/// A key that a Secret can have.
pub(super) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    let rule = "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')";
    ruled(
        253,
        &[(
            rule.to_owned(),
            "no Secret can have this key: it must consist of letters, digits, '-', '_' and '.'",
        )],
    )
}

const IS_OBJECT_NAME: &str = "!format.dns1123Subdomain().validate(self).hasValue()";
const OBJECT_NAME: &str = "no object can have this name: it must consist of lower-case letters, digits, '-' and '.', and \
                           begin and end with a letter or digit";

/// The name of a namespace that can be.
pub(super) fn namespace_name(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        &[(
            "!format.dns1123Label().validate(self).hasValue()",
            "no namespace can have this name: it must consist of lower-case letters, digits and '-', and begin and end \
             with a letter or digit",
        )],
    )
}

/// An id at a broker, which will be a segment of a URL.
pub(super) fn id(_: &mut SchemaGenerator) -> Schema {
    text(
        u32::try_from(MAX_ID).unwrap_or(u32::MAX),
        &[(
            r"self.matches(r'^[^\s\p{Cc}/?#%]+$') && self != '.' && self != '..'",
            "no broker can be asked for this id: it must not hold blanks, control characters, '/', '?', '#' or '%', nor \
             be '.' or '..'",
        )],
    )
}

/// A list of label selectors over these properties, in the grammar of `reconcilers::broker::restrictions`.
fn selectors(properties: &[&str]) -> Schema {
    let key = format!("({})", properties.join("|").replace('.', "[.]"));
    let value = r"[^\s=!(),<>]*";
    let set = format!(r"\s+(not)?in\s*[(]\s*{value}\s*(,\s*{value}\s*)*[)]");
    let one = format!(r"\s*(!\s*{key}|{key}(\s*(=|==|!=)\s*{value}|{set})?)\s*");
    json_schema!({
        "type": "array",
        "maxItems": MAX_RESTRICTIONS,
        "items": {
            "type": "string",
            "maxLength": MAX_RESTRICTION,
            "x-kubernetes-validations": [{
                // The comma is added so that the grammar of one selector stands here once: the rule is paid by its length.
                "rule": format!("(self + ',').matches(r'^({one},)+$')"),
                "message": format!(
                    "must be a label selector over the properties {}, as in spec.externalName in (a, b)",
                    properties.join(", ")
                ),
            }],
        },
    })
}

/// How many restrictions of a kind there may be, and how long one: the API server wants to know what a rule costs.
const MAX_RESTRICTIONS: u32 = 64;
const MAX_RESTRICTION: u32 = 4096;

/// Restrictions of classes.
pub(super) fn class_restrictions(_: &mut SchemaGenerator) -> Schema {
    selectors(&["name", "spec.externalName", "spec.externalID"])
}

/// Restrictions of plans, of either scope.
pub(super) fn plan_restrictions(_: &mut SchemaGenerator) -> Schema {
    let names = ["name", "spec.externalName", "spec.externalID", "spec.free"];
    let classes = ["spec.clusterServiceClass.name", "spec.serviceClass.name"];
    selectors(&[&names[..], &classes].concat())
}

/// CEL: no restriction of plans asks for this property, which plans of the other scope have.
pub(super) fn no_restriction_by(property: &str) -> String {
    let list = "self.catalogRestrictions.servicePlan";
    let property = property.replace('.', "[.]");
    format!(
        r"!has(self.catalogRestrictions) || !has({list}) || {list}.all(r, !r.matches(r'(^|[\s!,]){property}($|[\s=!,])'))"
    )
}

/// Makes a derived definition fit for the cluster:
///
/// * every optional field may be `null`, as in the schemaless definitions of the original (enumerations have the empty
///   string instead);
/// * no schema default in the spec: what a user did not write is not written into it for them;
/// * `status` is one atomic value, because it has one writer: the API server then tracks one owner instead of thirty;
/// * `status.observedGeneration` is -1 until the operator writes one, so that nobody takes a new object for a finished one:
///   without it, programs that know nothing of a kind take the silence for success;
/// * what the original wrote into every status, be it false or 0, is there as well: scripts wait for it.
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

/// CEL: no more than one of these references names an object.
pub(super) fn not_both_named(one: &str, other: &str) -> String {
    let named =
        |field: &str| format!("has(self.{field}) && has(self.{field}.name) && self.{field}.name != ''");
    format!("!({} && {})", named(one), named(other))
}

/// CEL: at most one of these fields has a value.
pub(super) fn at_most_one(fields: &[&str]) -> String {
    let list = fields.iter().map(|field| set(field)).collect::<Vec<_>>().join(", ");
    format!("[{list}].filter(isSet, isSet).size() <= 1")
}

/// CEL: where the n-th plan field has a value, so has the n-th class field. An object without a class, or with two plans,
/// has another fault, which the rules for that name better.
pub(super) fn same_spelling(classes: &[&str], plans: &[&str]) -> String {
    let pairs = classes.iter().zip(plans).map(|(class, plan)| format!("(!{} || {})", set(plan), set(class)));
    let pairs = pairs.collect::<Vec<_>>().join(" && ");
    format!("!({}) || !({}) || ({pairs})", any_set(classes), at_most_one(plans))
}

/// CEL: this field has a value.
pub(super) fn required(field: &str) -> String {
    set(field)
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
