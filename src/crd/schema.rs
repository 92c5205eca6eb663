//! Schemas of single fields: what serde and schemars cannot derive, and strings with CEL rules of their own.

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use k8s_openapi::ByteString;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Value, json};

pub(super) use crate::json::null_default;
use crate::osb::catalog::MAX_ID;

/// Reads bytes as Go does, which also accepts unused bits at the end (`QR==`), as the API server does.
pub(super) fn lenient_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ByteString>, D::Error> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let text = Option::<String>::deserialize(deserializer)?;
    let bytes = text.map(|text| {
        let lines: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        LENIENT.decode(lines).map(ByteString)
    });
    bytes.transpose().map_err(|_| D::Error::custom("this is not base64"))
}

/// Whether a flag has the value that its absence means.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a number has the value that its absence means.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// A free-form JSON object, or null.
pub(super) fn optional_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// A time in RFC 3339, or null.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}

/// Bytes in base64, or null.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "byte", "nullable": true})
}

/// A string with CEL rules of its own, so that an error names the field in whichever list or object it is.
/// The rules do not apply to the empty string, which Go clients send for an absent value.
fn text(longest: u32, rules: &[(&str, &str)]) -> Schema {
    let or_empty = |rule: &str| format!("self == '' || {rule}");
    let rules: Vec<_> = rules.iter().map(|(rule, message)| (or_empty(rule), *message)).collect();
    ruled(longest, &rules)
}

/// A string with CEL rules of its own.
pub(super) fn ruled(longest: u32, rules: &[(String, &str)]) -> Schema {
    let rules: Vec<Value> =
        rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect();
    json_schema!({ "type": "string", "maxLength": longest, "x-kubernetes-validations": rules })
}

/// A duration in the notation of Go. The empty string is refused: no client of v0.3 sends it.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    duration_that("> duration('0s')", "must be greater than zero")
}

/// A duration after which something is done again and again.
pub(super) fn interval(_: &mut SchemaGenerator) -> Schema {
    duration_that(">= duration('1m')", "must be a minute or more")
}

/// A duration that may be zero.
pub(super) fn delay(_: &mut SchemaGenerator) -> Schema {
    duration_that(">= duration('0s')", "must not be negative")
}

fn duration_that(compares: &str, message: &str) -> Schema {
    let is_duration = "self.matches('^-?([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$')";
    ruled(
        64,
        &[
            (is_duration.to_owned(), "must be a duration, as in 15m0s or 1h"),
            // The first rule reports a value that is no duration.
            (format!("!{is_duration} || duration(self) {compares}"), message),
        ],
    )
}

/// The name of an object, or the empty string.
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(253, &[(IS_OBJECT_NAME, OBJECT_NAME)])
}

/// The name of an object.
pub(super) fn required_object_name(_: &mut SchemaGenerator) -> Schema {
    ruled(253, &[(IS_OBJECT_NAME.to_owned(), OBJECT_NAME)])
}

const IS_SECRET_KEY: &str = "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')";
const SECRET_KEY: &str = "must be a key of a Secret: letters, digits, '-', '_' and '.', but not '.' alone and not '..' at the start";

/// A key of a Secret.
pub(super) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    ruled(253, &[(IS_SECRET_KEY.to_owned(), SECRET_KEY)])
}

/// A key of a Secret, or the empty string.
pub(super) fn optional_secret_key(_: &mut SchemaGenerator) -> Schema {
    text(253, &[(&format!("({IS_SECRET_KEY})"), SECRET_KEY)])
}

/// The beginning of keys of a Secret, or the empty string.
pub(super) fn key_prefix(_: &mut SchemaGenerator) -> Schema {
    let rule = "(self.matches('^[-._a-zA-Z0-9]+$') && !self.startsWith('..'))";
    text(
        63,
        &[(
            rule,
            "must be the beginning of a key of a Secret: letters, digits, '-', '_' and '.', but not '..' at the start",
        )],
    )
}

/// The type of a service, or the empty string.
pub(super) fn service_type(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        &[(
            "self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",
            "must be the type of a service, as in postgresql: lower-case letters, digits, '-' and '.', with a letter or digit at \
             the start and at the end",
        )],
    )
}

/// The provider of a service, or the empty string.
pub(super) fn provider(_: &mut SchemaGenerator) -> Schema {
    text(253, &[(r"!self.matches(r'\p{Cc}')", "must have no control characters")])
}

/// Labels of an object.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    let value = ruled(
        63,
        &[(
            "!format.labelValue().validate(self).hasValue()".to_owned(),
            "must be the value of a label: letters, digits, '-', '_' and '.', with a letter or digit at the start and at the end",
        )],
    );
    texts(&value)
}

/// Annotations of an object.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    texts(&json_schema!({ "type": "string", "maxLength": 4096 }))
}

fn texts(value: &Schema) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 32, "additionalProperties": value })
}

const IS_OBJECT_NAME: &str = "!format.dns1123Subdomain().validate(self).hasValue()";
const OBJECT_NAME: &str = "must be the name of an object: lower-case letters, digits, '-' and '.', with a letter or digit \
                           at the start and at the end";

/// The name of a namespace, or the empty string.
pub(super) fn namespace_name(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        &[(
            "!format.dns1123Label().validate(self).hasValue()",
            "must be the name of a namespace: lower-case letters, digits and '-', with a letter or digit at the start and \
             at the end",
        )],
    )
}

/// An id at a broker, which becomes a segment of a URL; or the empty string.
pub(super) fn id(_: &mut SchemaGenerator) -> Schema {
    text(
        u32::try_from(MAX_ID).unwrap_or(u32::MAX),
        &[(
            r"self.matches(r'^[^\s\p{Cc}/?#%]+$') && self != '.' && self != '..'",
            "must be usable in a URL: without blanks, control characters, '/', '?', '#' and '%', and neither '.' nor '..'",
        )],
    )
}

/// An id in a broker's catalog.
pub(super) fn catalog_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": MAX_ID })
}

/// A list of label selectors over these properties. `reconcilers::broker::restrictions` reads the same
/// grammar.
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
                // With a comma at the end, the grammar of one requirement stands here once. The API server
                // limits the cost of a rule, and a long expression costs more.
                "rule": format!("(self + ',').matches(r'^({one},)+$')"),
                "message": format!(
                    "must be a label selector over the properties {}, as in spec.externalName in (a, b)",
                    properties.join(", ")
                ),
            }],
        },
    })
}

/// The largest number of restrictions of a list, and the greatest length of one. Without these limits the API
/// server refuses the rule as too costly.
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
