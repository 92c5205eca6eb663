//! `credentials` into a Secret: what the API server takes, with nothing lost, or a sentence without any of them.
//!
//! An input is `{"credentials": {…}, "transforms": […], "shape": {…}}`. Each text among the credentials gets a mark, which tells
//! wherever it turns up that a credential does.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};
use service_catalog::{
    crd::{binding::SecretTransform, secret_shape::SecretShape},
    osb::outcome::Credentials,
    reconcilers::binding::{
        ServiceType,
        credentials::{SourceSecrets, check as check_transforms, check_secrets, to_data},
    },
};
use std::collections::BTreeMap;

use crate::{
    MARK,
    harness::{self, Check},
    is_shown, json as changes, mark, promise,
};

const LARGEST: usize = 1024 * 1024;
const LONGEST: usize = 4096;

#[test]
fn a_secret_takes_all_credentials_or_the_reason_holds_none_of_them() {
    harness::run(bolero::check!(), "credentials", 400, changes::change, check);
}

fn check(input: &[u8]) -> Check {
    let Ok(Value::Object(mut input)) = serde_json::from_slice(input) else { return Ok(()) };
    let Some(Value::Object(mut members)) = input.remove("credentials") else { return Ok(()) };
    members.values_mut().for_each(mark);
    let transforms: Vec<SecretTransform> =
        serde_json::from_value(input.remove("transforms").unwrap_or_else(|| json!([]))).unwrap_or_default();
    let shape: SecretShape =
        serde_json::from_value(input.remove("shape").unwrap_or_else(|| json!({}))).unwrap_or_default();
    let service = ServiceType { type_: "t".into(), provider: "p".into() };
    let secret = |members: &Map<String, Value>| {
        let credentials = Credentials::new(members.clone());
        let shaped = to_data(&credentials, (&transforms, &shape), &SourceSecrets::default(), Some(&service))?;
        let told = shaped.told();
        Ok((shaped.data, told))
    };
    let result: Result<_, String> = secret(&members);
    promise!(result == secret(&members), "the same credentials became two Secrets");
    if shape.json_key.is_empty() && transforms.is_empty() {
        let reversed = members.iter().rev().map(|(key, value)| (key.clone(), value.clone())).collect();
        let is_same = match (&result, &secret(&reversed)) {
            (Ok(one), Ok(other)) => one == other,
            (one, other) => one.is_err() && other.is_err(),
        };
        promise!(
            is_same || !shape.templates.is_empty(),
            "the order of the credentials became another Secret"
        );
    }
    let others = SourceSecrets::default();
    let checked = check_transforms(&transforms, "ns").and_then(|()| check_secrets(&transforms, &others));
    if let Err(beforehand) = checked {
        promise!(result.is_err(), "{beforehand:?} was refused beforehand, and then done");
        promise!(
            is_shown(&beforehand, LONGEST),
            "not fit to be shown ({} bytes): {beforehand:?}",
            beforehand.len()
        );
    } else if let Err(error) = &result {
        let late = ["is not understood", "without a }", "has no {end}", "{end} without", "too many ranges"];
        promise!(!late.iter().any(|what| error.contains(what)), "could have been known beforehand: {error}");
    }
    match &result {
        Ok((data, told)) => {
            writable(data)?;
            let told = told.as_deref().unwrap_or_default();
            promise!(!told.contains(MARK) && is_shown(told, LONGEST), "not fit to be shown: {told:?}");
            if !shape.is_default() {
                let is_flat = shape.service_binding.is_none()
                    && shape.json_key.is_empty()
                    && shape.templates.is_empty()
                    && transforms.is_empty();
                promise!(!is_flat || data.len() == members.len(), "{} keys of {}", data.len(), members.len());
                Ok(())
            } else if transforms.is_empty() {
                same(data, &members)
            } else {
                untouched(data, &members, &transforms)
            }
        }
        Err(error) => {
            let is_legal = shape.legal_keys && shape.key_prefix.is_empty() && transforms.is_empty();
            promise!(
                !is_legal || !error.contains("cannot stand in a Secret"),
                "it was to be made legal: {error}"
            );
            promise!(!error.contains(MARK), "a credential is shown: {error}");
            promise!(is_shown(error, LONGEST), "not fit to be shown ({} bytes): {error:?}", error.len());
            Ok(())
        }
    }
}

/// The API server's rules (`ValidateSecret`, `IsConfigMapKey`).
fn writable(data: &BTreeMap<String, ByteString>) -> Check {
    let size: usize = data.values().map(|value| value.0.len()).sum();
    promise!(size <= LARGEST, "{size} bytes");
    for key in data.keys() {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let legal =
            (1..=253).contains(&key.len()) && key.bytes().all(known) && key != "." && !key.starts_with("..");
        promise!(legal, "the key {key:?}");
    }
    Ok(())
}

/// Without transforms, each credential is there as it was.
fn same(data: &BTreeMap<String, ByteString>, members: &Map<String, Value>) -> Check {
    promise!(data.len() == members.len(), "{} keys of {}", data.len(), members.len());
    for (key, value) in members {
        let written = data.get(key).ok_or_else(|| format!("{key:?} is missing"))?;
        holds(key, &written.0, value)?;
    }
    Ok(())
}

fn holds(key: &str, written: &[u8], value: &Value) -> Check {
    let read = match value {
        Value::String(text) => text.as_bytes() == written,
        other => serde_json::from_slice::<Value>(written).is_ok_and(|read| read == *other),
    };
    promise!(read, "{key:?} holds {:?} instead of {value}", written.escape_ascii().to_string());
    Ok(())
}

/// What no transform names is there as it was; what the last one removes is not.
fn untouched(
    data: &BTreeMap<String, ByteString>,
    members: &Map<String, Value>,
    transforms: &[SecretTransform],
) -> Check {
    let named = |key: &str| {
        transforms.iter().any(|transform| {
            let rename = transform.rename_key.as_ref();
            rename.is_some_and(|rename| rename.from == key || rename.to == key)
                || transform.add_key.as_ref().is_some_and(|add| add.key == key)
                || transform.remove_key.as_ref().is_some_and(|remove| remove.key == key)
        })
    };
    for (key, value) in members.iter().filter(|(key, _)| !named(key)) {
        let written = data.get(key).ok_or_else(|| format!("{key:?} is missing"))?;
        holds(key, &written.0, value)?;
    }
    if let Some(removed) = transforms.last().and_then(|last| last.remove_key.as_ref()) {
        promise!(!data.contains_key(&removed.key), "{:?} was not removed", removed.key);
    }
    Ok(())
}
