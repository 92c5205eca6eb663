//! Which keys can a Secret have, and how does a value stand in it? All functions are pure.

use serde_json::Value;

/// The longest key, and the longest name of an object, that the API server accepts.
pub const KEY_LIMIT: usize = 253;

/// A value of the credentials as the text in a Secret.
pub fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// The API server's rule for the keys of a Secret.
pub fn is_legal(key: &str) -> bool {
    let is_allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    !key.is_empty()
        && key.len() <= KEY_LIMIT
        && key.chars().all(is_allowed)
        && key != "."
        && !key.starts_with("..")
}
