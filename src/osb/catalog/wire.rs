//! The catalog as a broker sends it: the parts of the document, and the simple fields of its entries,
//! whatever types they have. Pure.
//!
//! The document is taken apart as text, and each entry is read alone. So no tree of the whole catalog is
//! made, and an unreadable entry does not affect the others. Objects (`metadata`, `schemas`) stay text.

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::MAX_VALUES;
use crate::json;

/// A field of an entry.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Member<T> {
    /// It has a value of the type that the spec asks for.
    Present(T),
    /// It is absent or null.
    Absent(()),
    /// It has a value of another type.
    Mistyped(IgnoredAny),
}

impl<T> Default for Member<T> {
    fn default() -> Self {
        Self::Absent(())
    }
}

/// "Service Offering Object", without its plans and its metadata.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OfferingMembers {
    pub id: Member<String>,
    pub name: Member<String>,
    pub description: Member<String>,
    pub bindable: Member<bool>,
    pub plan_updateable: Member<bool>,
    pub instances_retrievable: Member<bool>,
    pub bindings_retrievable: Member<bool>,
    pub allow_context_updates: Member<bool>,
    pub tags: Member<Vec<Member<String>>>,
    pub requires: Member<Vec<Member<String>>>,
}

/// "Service Plan Object", without the objects in it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PlanMembers {
    pub id: Member<String>,
    pub name: Member<String>,
    pub description: Member<String>,
    pub free: Member<bool>,
    pub bindable: Member<bool>,
    pub plan_updateable: Member<bool>,
    pub binding_rotatable: Member<bool>,
    pub maximum_polling_duration: Member<u64>,
}

/// "Maintenance Info Object".
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MaintenanceInfoMembers {
    pub version: Member<String>,
    pub description: Member<String>,
}

/// The text of each entry of `services`.
///
/// # Errors
/// A message for people that says why the document is no catalog.
pub(super) fn services(body: &[u8]) -> Result<Vec<&[u8]>, String> {
    if !json::has_at_most(MAX_VALUES, body) {
        return Err(format!("it has more than {MAX_VALUES} values, counting arrays and objects"));
    }
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| format!("it is not JSON: {error}"))?;
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("it is not a JSON object".to_owned());
    }
    array(body, "services")
}

/// The text of each item of an array in an object.
///
/// # Errors
/// There is no array. The text is a message for people.
pub(super) fn array<'t>(object: &'t [u8], key: &str) -> Result<Vec<&'t [u8]>, String> {
    match json::member(object, key) {
        None | Some(b"null") => Err(format!("{key} is missing")),
        Some(text) if text.starts_with(b"[") => Ok(json::pieces(text).collect()),
        Some(_) => Err(format!("{key} is not an array")),
    }
}

/// The text of an object in an object. `None` if it is absent or null.
///
/// # Errors
/// The value is not an object.
pub(super) fn object<'t>(object: &'t [u8], key: &str) -> Result<Option<&'t [u8]>, ()> {
    match json::member(object, key) {
        None | Some(b"null") => Ok(None),
        Some(text) if text.starts_with(b"{") => Ok(Some(text)),
        Some(_) => Err(()),
    }
}

/// Reads an entry.
///
/// # Errors
/// A sentence for people.
pub(super) fn entry<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    // serde reads a structure from an array as well.
    if !text.starts_with(b"{") {
        return Err("it is not an object".to_owned());
    }
    serde_json::from_slice(text).map_err(|error| format!("it cannot be read: {}", reason(&error)))
}

/// The message of an error without its line and column, which count within the entry and not within the
/// document.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(reason, _)| reason.to_owned())
}
