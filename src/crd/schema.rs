//! Schemas of single fields: tolerance for old clients, formats that are documentation only, strings with rules of their own.

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

/// Whether a flag says no more than its absence.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a number says no more than its absence.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
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
