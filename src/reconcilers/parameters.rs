//! The parameters of a request: merged from the spec and from Secrets, shown without the secret values, and
//! fingerprinted exactly as the original did, so that a cluster that is taken over sees no change where there is none.

use std::{collections::HashSet, fmt::Write as _};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{error::Error, write::timed};
use crate::{
    crd::common::{JsonObject, ParametersFromSource, SecretKeyReference},
    json::{MAX_DEPTH, depth, is_within},
    osb::text::{clip, display, redact},
};

/// How much of a key is quoted, in bytes. Keys of a Secret's JSON may be as long as the Secret.
const QUOTED: usize = 256;

/// What stands in status in place of a value that came from a Secret.
pub const REDACTED: &str = "<redacted>";

/// The parameters of a request. No `Debug`: some values come from Secrets.
#[derive(Clone, Default)]
pub struct Parameters {
    merged: JsonObject,
    secret_keys: HashSet<String>,
}

/// Why there are no parameters. The message names the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParametersError {
    /// A sentence for the user.
    pub message: String,
}

/// A Secret value that `parametersFrom` names, as read from the API server.
pub struct Source {
    /// Where it stands in the spec.
    pub reference: SecretKeyReference,
    /// What is there.
    pub value: SourceValue,
}

/// What stands where `parametersFrom` points.
pub enum SourceValue {
    /// No such Secret.
    NoSecret,
    /// The Secret lacks the key.
    NoKey,
    /// This.
    Bytes(Zeroizing<Vec<u8>>),
}

/// Reads the Secrets that `parametersFrom` names.
///
/// # Errors
/// The API server did not answer. A missing Secret is no error here: [`merge`] says so in words for the user.
pub async fn read(
    client: &Client,
    namespace: &str,
    sources: &[ParametersFromSource],
) -> Result<Vec<Source>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut read = Vec::with_capacity(sources.len());
    for ParametersFromSource { secret_key_ref: reference } in sources {
        let action = format!("read Secret {namespace}/{}", reference.name);
        let value = match timed(&action, api.get_opt(&reference.name)).await? {
            None => SourceValue::NoSecret,
            Some(secret) => match secret.data.and_then(|mut data| data.remove(&reference.key)) {
                None => SourceValue::NoKey,
                Some(bytes) => SourceValue::Bytes(Zeroizing::new(bytes.0)),
            },
        };
        read.push(Source { reference: reference.clone(), value });
    }
    Ok(read)
}

/// Merges the inline parameters and those from Secrets. No key may occur twice. Pure.
///
/// # Errors
/// A Secret or key is missing, a value is not a JSON object or too deep, a key occurs twice.
pub fn merge(inline: Option<&JsonObject>, sources: &[Source]) -> Result<Parameters, ParametersError> {
    let mut parameters = Parameters::default();
    if inline.is_some_and(|inline| !is_shallow(inline)) {
        return Err(ParametersError { message: format!("spec.parameters: the value {TOO_DEEP}") });
    }
    for (index, source) in sources.iter().enumerate() {
        let object = object_of(index, source)?;
        for (key, value) in object {
            parameters.secret_keys.insert(key.clone());
            if parameters.merged.insert(key.clone(), value).is_some() {
                return Err(duplicate(&key));
            }
        }
    }
    for (key, value) in inline.into_iter().flatten() {
        if parameters.merged.insert(key.clone(), value.clone()).is_some() {
            return Err(duplicate(key));
        }
    }
    Ok(parameters)
}

fn object_of(index: usize, source: &Source) -> Result<Map<String, Value>, ParametersError> {
    let SecretKeyReference { name, key } = &source.reference;
    let field = format!("spec.parametersFrom[{index}].secretKeyRef");
    let complain = |what: &str| ParametersError { message: format!("{field}: {what}") };
    let bytes = match &source.value {
        SourceValue::NoSecret => {
            return Err(complain(&format!(
                "the Secret {name:?} does not exist; create it in this namespace"
            )));
        }
        SourceValue::NoKey => {
            let what =
                format!("the Secret {name:?} has no key {key:?}; add it, with a JSON object as its value");
            return Err(complain(&what));
        }
        SourceValue::Bytes(bytes) => bytes,
    };
    let too_deep = || complain(&format!("the value of key {key:?} of the Secret {name:?} {TOO_DEEP}"));
    // The parser's message would quote the secret, so it is not shown.
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) if !is_shallow(&object) => Err(too_deep()),
        Ok(Value::Object(object)) => Ok(object),
        // Deeper still, and the parser has given up.
        Err(_) if depth(bytes) > MAX_DEPTH => Err(too_deep()),
        Ok(_) | Err(_) => Err(complain(&format!(
            "the value of key {key:?} of the Secret {name:?} is not a JSON object, such as {{\"name\": \"value\"}}"
        ))),
    }
}

fn is_shallow(object: &JsonObject) -> bool {
    object.values().all(|value| is_within(value, MAX_DEPTH - 1))
}

/// What is wrong with parameters that stand in status, in a list of objects, and in a broker's memory: see [`MAX_DEPTH`].
const TOO_DEEP: &str = "is nested too deep: 64 levels of arrays and objects are the most";
const _: () = assert!(MAX_DEPTH == 64, "TOO_DEEP names the limit");

fn duplicate(key: &str) -> ParametersError {
    let key = clip(key, QUOTED);
    ParametersError {
        message: format!(
            "conflict: duplicate entry for parameter {key:?}; give it only once in spec.parameters and spec.parametersFrom"
        ),
    }
}

/// One object over another: what both say are objects is merged in the same way, of anything else the upper one counts.
/// Nothing where there is nothing in either.
#[must_use]
pub fn overlaid(lower: Option<&JsonObject>, upper: Option<&JsonObject>) -> Option<JsonObject> {
    let mut merged = lower.cloned().unwrap_or_default();
    for (key, value) in upper.into_iter().flatten() {
        match (merged.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => {
                *below = overlaid(Some(below), Some(above)).unwrap_or_default();
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    (!merged.is_empty()).then_some(merged)
}

impl Parameters {
    /// The same over defaults. A key that comes from a Secret is the Secret's alone.
    ///
    /// # Errors
    /// The defaults are too deep.
    pub fn over(mut self, defaults: Option<&JsonObject>) -> Result<Self, ParametersError> {
        if defaults.is_some_and(|defaults| !is_shallow(defaults)) {
            let whose = "the defaultProvisionParameters of the class and the plan";
            return Err(ParametersError { message: format!("{whose}: the value {TOO_DEEP}") });
        }
        let given = |(key, _): &(&String, &Value)| self.secret_keys.contains(*key);
        let defaults: JsonObject = defaults
            .into_iter()
            .flatten()
            .filter(|default| !given(default))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.merged = overlaid(Some(&defaults), Some(&self.merged)).unwrap_or_default();
        Ok(self)
    }

    /// What is sent to the broker; `None` when there are none.
    #[must_use]
    pub fn to_send(&self) -> Option<JsonObject> {
        (!self.merged.is_empty()).then(|| self.merged.clone())
    }

    /// What is shown in status; `None` when there are none.
    #[must_use]
    pub fn to_show(&self) -> Option<JsonObject> {
        let show = |(key, value): (&String, &Value)| {
            let hidden = self.secret_keys.contains(key);
            (key.clone(), if hidden { Value::from(REDACTED) } else { value.clone() })
        };
        (!self.merged.is_empty()).then(|| self.merged.iter().map(show).collect())
    }

    /// SHA-256 of the parameters as Go's `encoding/json` writes them, in hex; empty when there are none.
    #[must_use]
    pub fn checksum(&self) -> String {
        if self.merged.is_empty() {
            return String::new();
        }
        let mut text = Zeroizing::new(String::new());
        go_object(&mut text, &self.merged);
        hex(&Sha256::digest(text.as_bytes()))
    }

    /// A text by a broker with every secret value taken out that it may have echoed, also in the form that texts of
    /// brokers are shown in. Values of fewer than four characters are left: they are no secrets, and taking them out
    /// would leave no text.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        for key in &self.secret_keys {
            if let Some(value) = self.merged.get(key) {
                collect_strings(value, &mut secrets);
            }
        }
        let shown: Vec<_> = secrets.iter().map(|secret| Zeroizing::new(display(secret))).collect();
        secrets.extend(shown);
        secrets.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
        redact(text, &secrets)
    }
}

/// The fewest characters of a value that is taken out of texts.
const SHORTEST_SECRET: usize = 4;

fn collect_strings(value: &Value, into: &mut Vec<Zeroizing<String>>) {
    match value {
        Value::String(text) if !text.is_empty() => into.push(Zeroizing::new(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| collect_strings(item, into)),
        Value::Object(members) => members.values().for_each(|member| collect_strings(member, into)),
        Value::Number(number) => into.push(Zeroizing::new(number.to_string())),
        Value::String(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value as Go's `json.Marshal` writes what `json.Unmarshal` read: keys sorted, no blanks, numbers as `float64`,
/// `<`, `>`, `&` and the two line separators escaped.
fn go_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => go_number(text, number),
        Value::String(value) => go_string(text, value),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                go_value(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => go_object(text, members),
    }
}

fn go_object(text: &mut String, members: &JsonObject) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by_key(|(key, _)| key.as_bytes());
    text.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        go_string(text, key);
        text.push(':');
        go_value(text, value);
    }
    text.push('}');
}

/// Go's `encoding/json` for `float64`: the shortest digits, plain between 1e-6 and 1e21, else with an exponent of at
/// least one digit and its sign.
fn go_number(text: &mut String, number: &Number) {
    let Some(value) = number.as_f64() else {
        text.push_str(&number.to_string());
        return;
    };
    let magnitude = value.abs();
    // Writing to a String cannot fail.
    let _ = if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let shown = format!("{value:e}");
        let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
        // Go writes at least two digits of exponent and then cuts a leading zero of negative ones only ("e-09" → "e-9").
        let pad = if sign == "+" && exponent.len() < 2 { "0" } else { "" };
        write!(text, "{digits}e{sign}{pad}{exponent}")
    } else {
        write!(text, "{value}")
    };
}

fn go_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> JsonObject {
        value.as_object().cloned().unwrap()
    }

    fn source(value: SourceValue) -> Source {
        Source { reference: SecretKeyReference { name: "s".into(), key: "k".into() }, value }
    }

    fn holding(text: &str) -> Source {
        source(SourceValue::Bytes(Zeroizing::new(text.as_bytes().to_vec())))
    }

    #[test]
    fn inline_and_secret_parameters_are_one_object() {
        let inline = object(&json!({"a": 1}));
        let parameters = merge(Some(&inline), &[holding(r#"{"b": {"c": "hunter2"}}"#)]).ok().unwrap();
        assert_eq!(parameters.to_send(), Some(object(&json!({"a": 1, "b": {"c": "hunter2"}}))));
        assert_eq!(parameters.to_show(), Some(object(&json!({"a": 1, "b": "<redacted>"}))));
        assert_eq!(parameters.redact("bad value hunter2 for c"), "bad value <redacted> for c");
    }

    #[test]
    fn one_object_over_another_is_merged_all_the_way_down() {
        let over = |lower: Value, upper: Value| {
            overlaid(lower.as_object(), upper.as_object()).map_or(Value::Null, Value::Object)
        };
        let rows = [
            (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
            (
                json!({"a": {"b": {"c": 1, "d": 2}}}),
                json!({"a": {"b": {"d": 3}}}),
                json!({"a": {"b": {"c": 1, "d": 3}}}),
            ),
            (json!({"a": {"b": 1}}), json!({"a": 2}), json!({"a": 2})),
            (json!({"a": 2}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (json!({"a": 1}), json!({"a": null}), json!({"a": null})),
            (json!({}), json!({}), Value::Null),
        ];
        for (lower, upper, merged) in rows {
            assert_eq!(over(lower.clone(), upper.clone()), merged, "{upper} over {lower}");
        }
    }

    #[test]
    fn defaults_never_show_through_a_key_of_a_secret() {
        let given = merge(Some(&object(&json!({"a": {"x": 1}}))), &[holding(r#"{"b": {"c": "hunter2"}}"#)]);
        let defaults = object(&json!({"a": {"y": 2}, "b": {"c": "plain", "d": 3}, "e": 4}));
        let parameters = given.ok().unwrap().over(Some(&defaults)).ok().unwrap();
        let expected = json!({"a": {"x": 1, "y": 2}, "b": {"c": "hunter2"}, "e": 4});
        assert_eq!(parameters.to_send(), Some(object(&expected)));
        let shown = json!({"a": {"x": 1, "y": 2}, "b": "<redacted>", "e": 4});
        assert_eq!(parameters.to_show(), Some(object(&shown)));
        assert_eq!(merge(None, &[]).ok().unwrap().over(None).ok().unwrap().to_send(), None);
        let deep = (0..MAX_DEPTH).fold(json!(1), |below, _| json!({ "a": below }));
        let refused = merge(None, &[]).ok().unwrap().over(Some(&object(&json!({ "b": deep })))).err();
        assert!(
            refused.unwrap().message.starts_with("the defaultProvisionParameters of the class and the plan")
        );
    }

    #[test]
    fn nothing_is_sent_when_there_is_nothing() {
        let parameters = merge(Some(&object(&json!({}))), &[holding("{}")]).ok().unwrap();
        assert_eq!(
            (parameters.to_send(), parameters.to_show(), parameters.checksum()),
            (None, None, String::new())
        );
    }

    #[test]
    fn every_fault_names_the_field_and_what_to_do() {
        let message =
            |inline: Value, sources: &[Source]| merge(Some(&object(&inline)), sources).err().unwrap().message;
        assert!(
            message(json!({}), &[source(SourceValue::NoSecret)])
                .contains(r#"spec.parametersFrom[0].secretKeyRef: the Secret "s" does not exist"#)
        );
        assert!(message(json!({}), &[source(SourceValue::NoKey)]).contains(r#"has no key "k""#));
        for value in ["", "[]", "7", "hunter2", "{\"a\":"] {
            let message = message(json!({}), &[holding(value)]);
            assert!(message.contains("is not a JSON object") && !message.contains("hunter2"), "{message}");
        }
        assert!(
            message(json!({"a": 1}), &[holding(r#"{"a": 2}"#)])
                .contains(r#"duplicate entry for parameter "a""#)
        );
        let twice = [holding(r#"{"a": 2}"#), holding(r#"{"a": 2}"#)];
        assert!(message(json!({}), &twice).contains("duplicate"));
    }

    #[test]
    fn parameters_that_are_too_deep_are_refused_by_field_wherever_they_come_from() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let inline = |levels| object(&serde_json::from_str(&nested(levels)).unwrap());
        assert!(merge(Some(&inline(64)), &[]).is_ok());
        assert!(merge(None, &[holding(&nested(64))]).is_ok());
        let said = |result: Result<Parameters, ParametersError>| result.err().unwrap().message;
        let message = said(merge(Some(&inline(65)), &[]));
        assert_eq!(
            message,
            "spec.parameters: the value is nested too deep: 64 levels of arrays and objects are the most"
        );
        // At the second, our reader of JSON gives up.
        for levels in [65, 200, 100_000] {
            let message = said(merge(None, &[holding(&nested(levels))]));
            assert!(
                message.starts_with("spec.parametersFrom[0].secretKeyRef: the value of key \"k\""),
                "{message}"
            );
            assert!(message.contains("64 levels"), "{message}");
        }
        let brackets = format!("{{\"a\": \"{}\"}}", "[".repeat(100));
        assert!(merge(None, &[holding(&brackets)]).is_ok());
    }

    /// Made with Go: `json.Unmarshal` into `map[string]interface{}`, `json.Marshal`, `sha256.Sum256`.
    #[test]
    fn the_checksum_is_over_the_bytes_that_go_writes() {
        let go = |value: Value| {
            let mut text = String::new();
            go_value(&mut text, &value);
            text
        };
        assert_eq!(
            go(json!({"b": 1, "a": "<&>\u{2028}\u{7f}é\u{1}\"\\\n"})),
            "{\"a\":\"\\u003c\\u0026\\u003e\\u2028\u{7f}é\\u0001\\\"\\\\\\n\",\"b\":1}"
        );
        assert_eq!(
            go(json!([1.0, 0.5, 1e21, 1e20, 1e-6, 1e-7, 123_456_789_012_345_678_u64, -0.0, 1.5e300])),
            "[1,0.5,1e+21,100000000000000000000,0.000001,1e-7,123456789012345680,-0,1.5e+300]"
        );
        let parameters = merge(Some(&object(&json!({"name": "test", "args": {"x": 1}}))), &[]).ok().unwrap();
        assert_eq!(parameters.checksum(), hex(&Sha256::digest(br#"{"args":{"x":1},"name":"test"}"#)));
    }
}
