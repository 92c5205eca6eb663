//! What anybody may send us, broken in every way that chance finds, against what is promised of the result.
//!
//! A target is a folder of inputs (`corpus/<target>`), changes that keep an input nearly what it was, and promises that
//! hold for every input. `docs/contributing/testing.md` says how to run one for longer, and how to keep what it found.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod answers;
mod catalog;
mod credentials;
mod harness;
mod json;
mod malformed;
mod parameters;
mod random;
mod restrictions;
mod retry_after;
mod schemas;

/// Whether a text can be shown: short, and nothing in it that is not seen.
fn is_shown(text: &str, limit: usize) -> bool {
    let hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e01ef}')
    };
    text.len() <= limit && !text.contains(hidden)
}

/// Stands before every text that nobody may be shown. Nothing else has this character.
const MARK: char = '\u{2042}';

/// Marks each text in a document, its keys left out.
fn mark(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => text.insert(0, MARK),
        Value::Array(items) => items.iter_mut().for_each(mark),
        Value::Object(members) => members.values_mut().for_each(mark),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Each text in a document, its keys left out.
fn texts(value: &serde_json::Value) -> Vec<&str> {
    use serde_json::Value;
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => vec![],
    }
}
