//! How does Go write JSON? The checksum of parameters is computed over that text, so that it equals the one
//! of v0.3. All functions are pure.

use std::fmt::Write as _;

use serde_json::{Number, Value};
use zeroize::Zeroizing;

use crate::crd::common::JsonObject;

/// An object as Go's `json.Marshal` writes it. It may hold secrets.
#[must_use]
pub fn text(object: &JsonObject) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    go_object(&mut text, object);
    text
}

/// A value as Go's `json.Marshal` writes what `json.Unmarshal` read: keys sorted, no blanks, numbers as
/// `float64`, `<`, `>`, `&` and the two line separators escaped.
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

/// Go's `encoding/json` for `float64`: the shortest digits, plain between 1e-6 and 1e21, else with an
/// exponent of at least one digit and its sign.
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
        // Go writes at least two digits of exponent and then cuts a leading zero of negative ones only
        // ("e-09" → "e-9").
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

    /// Made with Go: `json.Unmarshal` into `map[string]interface{}`, `json.Marshal`, `sha256.Sum256`.
    // v0.3 D11
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
    }
}
