//! How do the credentials of a binding become the data of a Secret? The credentials may pass through
//! `spec.secretTransforms`, and then get the [`shape`] of `spec.secret`. All functions except `read` are pure.

use std::{collections::BTreeMap, fmt::Display, sync::Arc};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    keys::{KEY_LIMIT, is_legal},
    shape::{self, Shaped},
    well_known::ServiceType,
};
use crate::{
    crd::{
        binding::{AddKeyTransform, AddKeysFromTransform, SecretTransform},
        secret_shape::SecretShape,
    },
    jsonpath,
    kube_api::{
        Error,
        secrets::{Keys, MAX_KEYS, SecretValues, read_secret},
    },
    memory_budget::Reservation,
    osb::outcome::Credentials,
    printable::clip,
    reconcilers::context::Context,
};

/// The largest Secret that the API server accepts: the size of all values together.
const SIZE_LIMIT: usize = 1024 * 1024;

/// Turns credentials into Secret data. Strings stay as they are, and other values become JSON, as in v0.3.
///
/// # Errors
/// A key or a value cannot be stored in a Secret. The error is a sentence for the user. It names keys, never
/// values.
pub fn to_data(
    credentials: &Credentials,
    (transforms, shape): (&[SecretTransform], &SecretShape),
    sources: &SourceSecrets,
    service: Option<&ServiceType>,
) -> Result<Shaped, String> {
    let keys = credentials.expose().len();
    if keys > MAX_KEYS {
        return Err(format!(
            "the credentials have {keys} keys: {MAX_KEYS} are the most; ask the broker's operator for fewer"
        ));
    }
    let mut values =
        SecretBuilder { json: credentials.expose().clone(), raw: BTreeMap::new(), remaining: SIZE_LIMIT };
    for (index, transform) in transforms.iter().enumerate() {
        apply(transform, sources, &mut values)
            .map_err(|what| format!("spec.secretTransforms[{index}]: {what}"))?;
    }
    let SecretBuilder { json, raw, remaining } = values;
    let shaped = shape::apply(shape, json, raw, remaining, service)?;
    let data = &shaped.data;
    let illegal: Vec<&str> = data.keys().filter(|key| !is_legal(key)).map(String::as_str).take(5).collect();
    if !illegal.is_empty() {
        return Err(format!(
            "the credentials have keys that cannot stand in a Secret ({}): keys may hold letters, digits, '-', '_' and '.'; \
             set spec.secret.legalKeys to true to give them other names, or spec.secret.jsonKey to have one JSON document",
            illegal.iter().map(|key| format!("{:?}", clip(key, 64))).collect::<Vec<_>>().join(", ")
        ));
    }
    let size: usize = data.values().map(|value| value.0.len()).sum();
    if size > SIZE_LIMIT {
        return Err(format!(
            "the credentials are {size} bytes, but a Secret holds {SIZE_LIMIT} at most; ask the broker's operator for smaller ones"
        ));
    }
    Ok(shaped)
}

/// The Secret data while transforms are applied: JSON values, which templates can read, and binary values.
struct SecretBuilder {
    json: Map<String, Value>,
    raw: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// The number of bytes that transforms may still add. Keys that a later transform removes count as well,
    /// as they need memory until then.
    remaining: usize,
}

impl SecretBuilder {
    fn add(&mut self, key: &str, bytes: Vec<u8>) -> Result<(), String> {
        self.remaining =
            self.remaining.checked_sub(bytes.len()).ok_or_else(|| jsonpath::TOO_LONG.to_owned())?;
        self.remove(key);
        match String::from_utf8(bytes) {
            Ok(text) => _ = self.json.insert(key.to_owned(), Value::from(text)),
            Err(error) => _ = self.raw.insert(key.to_owned(), Zeroizing::new(error.into_bytes())),
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(value) = self.json.shift_remove(from) {
            self.remove(to);
            self.json.insert(to.to_owned(), value);
        } else if let Some(value) = self.raw.remove(from) {
            self.remove(to);
            self.raw.insert(to.to_owned(), value);
        }
    }

    fn remove(&mut self, key: &str) {
        self.json.shift_remove(key);
        self.raw.remove(key);
    }
}

fn apply(
    transform: &SecretTransform,
    sources: &SourceSecrets,
    values: &mut SecretBuilder,
) -> Result<(), String> {
    let SecretTransform { rename_key, add_key, add_keys_from, remove_key } = transform;
    if let Some(rename) = rename_key {
        values.rename(&rename.from, &rename.to);
    }
    if let Some(add) = add_key {
        let value = added_value(add, &values.json, values.remaining).map_err(immutable)?;
        values.add(&add.key, value).map_err(immutable)?;
    }
    if let Some(from) = add_keys_from {
        for (key, value) in sources.data_of(from)? {
            values.add(key, value.to_vec()).map_err(immutable)?;
        }
    }
    if let Some(remove) = remove_key {
        values.remove(&remove.key);
    }
    Ok(())
}

/// What a user can do about a transform that cannot be applied: the spec of a binding cannot be changed.
fn immutable(what: impl Display) -> String {
    format!("{what}; delete this binding and create another, or ask the broker's operator")
}

fn added_value(
    add: &AddKeyTransform,
    values: &Map<String, Value>,
    remaining: usize,
) -> Result<Vec<u8>, String> {
    if let Some(template) = &add.json_path_expression {
        let filled = jsonpath::fill(template, values, remaining).map_err(|what| format!("addKey: {what}"))?;
        return Ok(filled.into_bytes());
    }
    Ok(match &add.string_value {
        Some(text) => text.clone().into_bytes(),
        None => add.value.clone().unwrap_or_default().0,
    })
}

/// The data of the Secrets that `addKeysFrom` names. It has no `Debug`.
#[derive(Clone, Default)]
pub struct SourceSecrets {
    /// By name. `None` for a Secret that does not exist.
    secrets: Arc<BTreeMap<String, Option<SecretValues>>>,
    /// Whether there is more than one binding may copy. What is over the limit is not kept.
    is_too_large: bool,
    /// The memory for it. Copies share it.
    _memory: Option<Arc<Reservation>>,
}

/// The most that is read from the Secrets of one binding, in bytes: four of the largest Secrets.
pub const MAX_SOURCE_BYTES: usize = 4 * SIZE_LIMIT;

/// Whether transforms copy keys from Secrets.
#[must_use]
pub fn names_secrets(transforms: &[SecretTransform]) -> bool {
    transforms.iter().any(|transform| transform.add_keys_from.is_some())
}

impl SourceSecrets {
    /// Reads the Secrets from the namespace of the binding, never from another one. The operator may read the
    /// Secrets of all namespaces, so a binding could otherwise copy any of them.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn read(
        context: &Context,
        namespace: &str,
        transforms: &[SecretTransform],
        memory: Option<Arc<Reservation>>,
    ) -> Result<Self, Error> {
        let (mut read, mut left) = (BTreeMap::new(), MAX_SOURCE_BYTES);
        for from in transforms.iter().filter_map(|transform| transform.add_keys_from.as_ref()) {
            let name = from.secret_ref.as_ref().map(|secret| secret.name.clone()).unwrap_or_default();
            if !name.is_empty() && !read.contains_key(&name) {
                let address = (namespace, &*name);
                let secret =
                    read_secret(&context.client, &context.memory.secrets, address, Keys::All).await?;
                let length: usize = secret.iter().flatten().map(|(_, value)| value.len()).sum();
                let Some(rest) = left.checked_sub(length) else {
                    return Ok(Self { is_too_large: true, ..Self::default() });
                };
                left = rest;
                read.insert(name, secret);
            }
        }
        Ok(Self { secrets: Arc::new(read), is_too_large: false, _memory: memory })
    }

    fn data_of(&self, from: &AddKeysFromTransform) -> Result<&SecretValues, String> {
        let name = from.secret_ref.as_ref().map(|secret| &*secret.name).unwrap_or_default();
        match self.secrets.get(name) {
            _ if self.is_too_large => Err(format!(
                "addKeysFrom: the Secrets have more than {MAX_SOURCE_BYTES} bytes; make them smaller"
            )),
            _ if name.is_empty() => {
                Err("addKeysFrom.secretRef names no Secret; delete this binding and create another"
                    .to_owned())
            }
            Some(Some(data)) => Ok(data),
            Some(None) | None => Err(format!(
                "addKeysFrom.secretRef: the Secret {:?} does not exist; create it in the namespace of the binding",
                clip(name, KEY_LIMIT)
            )),
        }
    }
}

/// Checks whether the transforms of a spec can be applied to any credentials. The operator checks this before
/// it sends a request to the broker.
///
/// # Errors
/// A sentence for the user. The spec of a binding cannot be changed, so the user must create another one.
pub fn check(transforms: &[SecretTransform], namespace: &str) -> Result<(), String> {
    for_each_transform(transforms, |transform| check_one(transform, namespace))
}

/// Checks whether the Secrets exist that transforms copy keys from.
///
/// # Errors
/// A sentence for the user, who can create the Secret.
pub fn check_secrets(transforms: &[SecretTransform], sources: &SourceSecrets) -> Result<(), String> {
    for_each_transform(transforms, |transform| {
        transform.add_keys_from.iter().try_for_each(|from| sources.data_of(from).map(|_| ()))
    })
}

fn for_each_transform(
    transforms: &[SecretTransform],
    check: impl Fn(&SecretTransform) -> Result<(), String>,
) -> Result<(), String> {
    for (index, transform) in transforms.iter().enumerate() {
        check(transform).map_err(|what| format!("spec.secretTransforms[{index}]: {what}"))?;
    }
    Ok(())
}

fn check_one(transform: &SecretTransform, namespace: &str) -> Result<(), String> {
    if let Some(AddKeyTransform { json_path_expression: Some(template), .. }) = &transform.add_key {
        jsonpath::check(template)?;
    }
    let Some(from) = &transform.add_keys_from else { return Ok(()) };
    let elsewhere = from.secret_ref.as_ref().map(|secret| &*secret.namespace).unwrap_or_default();
    if !elsewhere.is_empty() && elsewhere != namespace {
        return Err(format!(
            "addKeysFrom.secretRef names a Secret of the namespace {:?}; copy it to {namespace:?}, where the binding is",
            clip(elsewhere, KEY_LIMIT)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sources() -> SourceSecrets {
        let data = [("ca.crt", "PEM"), ("port", "1")];
        let data = data.map(|(key, value)| (key.to_owned(), Zeroizing::new(value.as_bytes().to_vec())));
        let secrets = [("other".to_owned(), Some(data.into())), ("gone".to_owned(), None)];
        SourceSecrets { secrets: Arc::new(secrets.into()), ..SourceSecrets::default() }
    }

    fn service() -> ServiceType {
        ServiceType { type_: "t".into(), provider: "p".into() }
    }

    fn data(credentials: &Value) -> Result<BTreeMap<String, String>, String> {
        transformed(credentials, &[])
    }

    fn transformed(
        credentials: &Value,
        transforms: &[SecretTransform],
    ) -> Result<BTreeMap<String, String>, String> {
        let credentials = Credentials::new(credentials.as_object().cloned().unwrap());
        let shaped =
            to_data(&credentials, (transforms, &SecretShape::default()), &sources(), Some(&service()))?;
        Ok(shaped.data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect())
    }

    // v0.3 E7
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
    fn ten_thousand_keys_are_the_most() {
        let keys = |count: usize| (0..count).map(|key| (key.to_string(), json!(""))).collect::<Value>();
        assert!(data(&keys(MAX_KEYS)).is_ok());
        assert!(data(&keys(MAX_KEYS + 1)).unwrap_err().contains("10001 keys"));
    }

    // v0.3 E3
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

    fn transforms(list: &Value) -> Vec<SecretTransform> {
        serde_json::from_value(list.clone()).unwrap()
    }

    #[test]
    fn the_keys_of_another_secret_are_added_and_replace_those_that_are_there() {
        let list = transforms(&json!([
            {"addKeysFrom": {"secretRef": {"name": "other", "namespace": "ns"}}},
            {"addKey": {"key": "url", "jsonPathExpression": "{.user}:{.port}"}},
        ]));
        assert_eq!(check(&list, "ns"), Ok(()));
        assert_eq!(check_secrets(&list, &sources()), Ok(()));
        let data = transformed(&json!({"user": "u", "port": 5432}), &list).unwrap();
        assert_eq!((&*data["ca.crt"], &*data["port"], &*data["url"]), ("PEM", "1", "u:1"));
    }

    // v0.3 E5, Q29
    #[test]
    fn a_secret_that_cannot_be_taken_from_is_named_before_a_broker_is_asked() {
        for (secret, words) in [
            (json!({"name": "gone"}), "\"gone\" does not exist"),
            (json!({"name": "other", "namespace": "kube-system"}), "copy it to \"ns\""),
            (json!({}), "names no Secret"),
            (json!(null), "names no Secret"),
        ] {
            let list = transforms(&json!([{"addKeysFrom": {"secretRef": secret}}]));
            let error = check(&list, "ns").and_then(|()| check_secrets(&list, &sources())).unwrap_err();
            assert!(error.starts_with("spec.secretTransforms[0]: ") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let list = transforms(&json!([
            {"addKey": {"key": "key", "value": "/wA="}},
            {"renameKey": {"from": "key", "to": "tls.der"}},
        ]));
        let credentials = Credentials::new(Map::new());
        let shaped =
            to_data(&credentials, (&list, &SecretShape::default()), &sources(), Some(&service())).unwrap();
        assert_eq!(shaped.data["tls.der"].0, [0xff, 0]);
    }
}
