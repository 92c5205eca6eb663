//! Credentials as Secret data. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use super::template;
use crate::{
    crd::binding::{AddKeyTransform, SecretTransform},
    osb::outcome::Credentials,
};

/// What the API server accepts as a Secret, all values together.
const SIZE_LIMIT: usize = 1024 * 1024;

/// The length of a key that the API server accepts.
const KEY_LIMIT: usize = 253;

/// Turns credentials into Secret data: strings as they are, anything else as JSON (the original's rule).
///
/// # Errors
/// A sentence for the user: a key or a value cannot stand in a Secret. It names keys, never values.
pub fn to_data(
    credentials: &Credentials,
    transforms: &[SecretTransform],
) -> Result<BTreeMap<String, ByteString>, String> {
    let mut values = credentials.expose().clone();
    // What may yet be added. Keys that are removed again count: nobody needs them, and memory does not ask.
    let mut room = SIZE_LIMIT;
    for (index, transform) in transforms.iter().enumerate() {
        apply(transform, &mut values, &mut room)
            .map_err(|what| format!("spec.secretTransforms[{index}]: {what}"))?;
    }
    let data: BTreeMap<String, ByteString> =
        values.into_iter().map(|(key, value)| (key, ByteString(bytes(value)))).collect();
    let illegal: Vec<&str> = data.keys().filter(|key| !is_legal(key)).map(String::as_str).take(5).collect();
    if !illegal.is_empty() {
        return Err(format!(
            "the credentials have keys that cannot stand in a Secret ({}): keys may hold letters, digits, '-', '_' and '.'; \
             rename them with spec.secretTransforms, or ask the broker's operator",
            illegal
                .iter()
                .map(|key| format!("{:?}", crate::osb::text::clip(key, 64)))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    let size: usize = data.values().map(|value| value.0.len()).sum();
    if size > SIZE_LIMIT {
        return Err(format!(
            "the credentials are {size} bytes, but a Secret holds {SIZE_LIMIT} at most; ask the broker's operator for smaller ones"
        ));
    }
    Ok(data)
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// The API server's rule for the keys of a Secret.
fn is_legal(key: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    !key.is_empty()
        && key.len() <= KEY_LIMIT
        && key.chars().all(known)
        && key != "."
        && !key.starts_with("..")
}

fn apply(
    transform: &SecretTransform,
    values: &mut Map<String, Value>,
    room: &mut usize,
) -> Result<(), String> {
    let SecretTransform { rename_key, add_key, add_keys_from, remove_key } = transform;
    if let Some(rename) = rename_key
        && let Some(value) = values.shift_remove(&rename.from)
    {
        values.insert(rename.to.clone(), value);
    }
    if let Some(add) = add_key {
        let text = added(add, values, *room)?;
        *room = room.checked_sub(text.len()).ok_or_else(|| template::TOO_LONG.to_owned())?;
        values.insert(add.key.clone(), Value::from(text));
    }
    if add_keys_from.is_some() {
        return Err(NO_OTHER_SECRET.to_owned());
    }
    if let Some(remove) = remove_key {
        values.shift_remove(&remove.key);
    }
    Ok(())
}

fn added(add: &AddKeyTransform, values: &Map<String, Value>, room: usize) -> Result<String, String> {
    if let Some(template) = &add.json_path_expression {
        return template::fill(template, values, room).map_err(|what| format!("addKey: {what}"));
    }
    if let Some(text) = &add.string_value {
        return Ok(text.clone());
    }
    let bytes = add.value.clone().unwrap_or_default().0;
    String::from_utf8(bytes).map_err(|_| NOT_TEXT.to_owned())
}

/// Whether the transforms of a spec can be made, whatever the credentials will be. Asked before a broker is.
///
/// # Errors
/// A sentence for the user.
pub fn check(transforms: &[SecretTransform]) -> Result<(), String> {
    for (index, transform) in transforms.iter().enumerate() {
        let fault = match (&transform.add_keys_from, &transform.add_key) {
            (Some(_), _) => Err(NO_OTHER_SECRET.to_owned()),
            (None, Some(AddKeyTransform { json_path_expression: Some(template), .. })) => {
                template::check(template)
            }
            (None, Some(AddKeyTransform { string_value: None, value: Some(bytes), .. })) => {
                std::str::from_utf8(&bytes.0).map(|_| ()).map_err(|_| NOT_TEXT.to_owned())
            }
            (None, _) => Ok(()),
        };
        fault.map_err(|what| format!("spec.secretTransforms[{index}]: {what}"))?;
    }
    Ok(())
}

const NO_OTHER_SECRET: &str =
    "addKeysFrom is not supported; take the other Secret into the pod beside this one";
const NOT_TEXT: &str = "addKey.value is not UTF-8; use text";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data(credentials: &Value) -> Result<BTreeMap<String, String>, String> {
        transformed(credentials, &[])
    }

    fn transformed(
        credentials: &Value,
        transforms: &[SecretTransform],
    ) -> Result<BTreeMap<String, String>, String> {
        let credentials = Credentials::new(credentials.as_object().cloned().unwrap());
        let data = to_data(&credentials, transforms)?;
        Ok(data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect())
    }

    #[test]
    fn strings_stay_as_they_are_and_the_rest_is_json() {
        let data = data(
            &json!({"s": "a \"b\"\n", "i": 5432, "f": 1.5, "t": true, "n": null, "o": {"x": [1, "y"]}, "e": ""}),
        );
        let data = data.unwrap();
        assert_eq!(data["s"], "a \"b\"\n");
        assert_eq!(data["i"], "5432");
        assert_eq!(data["f"], "1.5");
        assert_eq!(data["t"], "true");
        assert_eq!(data["n"], "null");
        assert_eq!(data["o"], r#"{"x":[1,"y"]}"#);
        assert_eq!(data["e"], "");
    }

    #[test]
    fn illegal_keys_are_named_and_values_are_not() {
        for key in ["a b", "", "a/b", "..", "..x", ".", "ü", &"k".repeat(254)] {
            let error = data(&json!({key: "hunter2", "good": "x"})).unwrap_err();
            assert!(error.contains("cannot stand in a Secret") && !error.contains("hunter2"), "{error}");
        }
        assert!(data(&json!({"a.b-c_D9": "", ".x": ""})).is_ok());
    }

    #[test]
    fn a_mebibyte_is_the_most_that_fits() {
        assert!(data(&json!({"a": "x".repeat(SIZE_LIMIT)})).is_ok());
        assert!(data(&json!({"a": "x".repeat(SIZE_LIMIT), "b": "y"})).unwrap_err().contains("1048577 bytes"));
    }

    #[test]
    fn transforms_are_made_in_order() {
        let transforms: Vec<SecretTransform> = serde_json::from_value(json!([
            {"renameKey": {"from": "user", "to": "USERNAME"}},
            {"renameKey": {"from": "missing", "to": "x"}},
            {"addKey": {"key": "driver", "stringValue": "psql", "value": null, "jsonPathExpression": null}},
            {"addKey": {"key": "raw", "value": "YWJj"}},
            {"removeKey": {"key": "port"}},
        ]))
        .unwrap();
        let data = transformed(&json!({"user": "u", "port": 1}), &transforms).unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["USERNAME", "driver", "raw"]);
        assert_eq!(data["raw"], "abc");
    }
}
