//! Changes to JSON that keep it nearly what it was: bytes at random never become a catalog.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Texts that have broken something somewhere.
const TEXTS: [&str; 24] = [
    "",
    " ",
    "\0",
    "a\u{1b}[31mb",
    "\u{202e}txt",
    "\u{61c}\u{feff}\u{200b}",
    "\r\n",
    "\u{85}\u{2028}x",
    "..",
    ".",
    "a/b?c#d%25",
    "true",
    "null",
    "-1",
    "{}",
    "{.a}{.b}",
    "{['a']}",
    "1.2.3",
    "in progress",
    "ConcurrencyError",
    "<redacted>",
    "…",
    "é",
    "😀",
];
/// Names that mean something to somebody, so that members meet.
const NAMES: [&str; 20] = [
    "id",
    "name",
    "description",
    "plans",
    "services",
    "bindable",
    "free",
    "metadata",
    "schemas",
    "requires",
    "state",
    "operation",
    "dashboard_url",
    "credentials",
    "error",
    "instance_usable",
    "a",
    "password",
    "",
    "a b\u{7}",
];
/// The largest document that changes make, about in bytes.
const WEIGHT: usize = 40_000;
const LENGTHS: [usize; 8] = [7, 30, 63, 64, 257, 1025, 2000, 10_001];

/// Changes a JSON document in one to four places, and sometimes its bytes; what is no JSON, its bytes only.
pub fn change(input: &[u8], random: &mut Random<'_>) -> Vec<u8> {
    let mut bytes = match serde_json::from_slice::<Value>(input) {
        Ok(mut document) => {
            for _ in 0..=random.below(4) {
                let mut changed = document.clone();
                change_value(&mut changed, random);
                // What is copied into itself grows without end.
                if weight(&changed) <= WEIGHT {
                    document = changed;
                }
            }
            let mut bytes = Vec::new();
            let mut strange = if random.once_in(8) { 3 } else { 0 };
            write(&mut bytes, &document, &mut strange, random);
            bytes
        }
        Err(_) => change_bytes(input, random),
    };
    if random.once_in(10) {
        bytes = change_bytes(&bytes, random);
    }
    bytes
}

/// Changes one node of a document.
pub fn change_value(document: &mut Value, random: &mut Random<'_>) {
    let count = size(document);
    let other = nth(document, &mut random.below(count)).map(|node| node.clone()).unwrap_or_default();
    let Some(node) = nth(document, &mut random.below(count)) else { return };
    match random.below(10) {
        0 => *node = scalar(random),
        1 => *node = other,
        2 => *node = json!([node.take()]),
        3 => *node = json!({ NAMES[random.below(NAMES.len())]: node.take() }),
        4 => *node = nested(random),
        _ => inside(node, other, random),
    }
}

/// A change that leaves the node of its type.
fn inside(node: &mut Value, other: Value, random: &mut Random<'_>) {
    match node {
        Value::Object(members) => change_members(members, other, random),
        Value::Array(items) => {
            let at = random.below(items.len());
            match random.below(4) {
                0 if !items.is_empty() => drop(items.remove(at)),
                1 if !items.is_empty() => {
                    let item = items[at].clone();
                    items.extend(std::iter::repeat_n(item, 1 + random.below(12)));
                }
                2 => random.shuffle(items),
                _ => items.push(other),
            }
        }
        Value::String(text) => change_text(text, random),
        Value::Null | Value::Bool(_) | Value::Number(_) => *node = scalar(random),
    }
}

fn change_members(members: &mut Map<String, Value>, other: Value, random: &mut Random<'_>) {
    let key = members.keys().nth(random.below(members.len())).cloned();
    let name = NAMES[random.below(NAMES.len())].to_owned();
    match (random.below(5), key) {
        (0 | 1, Some(key)) => drop(members.shift_remove(&key)),
        (2, Some(key)) => {
            let value = members.shift_remove(&key).unwrap_or_default();
            members.insert(name, value);
        }
        (3, Some(mut key)) => {
            let value = members.shift_remove(&key).unwrap_or_default();
            change_text(&mut key, random);
            members.insert(key, value);
        }
        _ => drop(members.insert(name, other)),
    }
}

pub fn change_text(text: &mut String, random: &mut Random<'_>) {
    let strange = TEXTS[random.below(TEXTS.len())];
    match random.below(5) {
        0 => strange.clone_into(text),
        1 => {
            *text =
                random.pick(&["x", "é", "😀", "a\n", "\u{7}"]).repeat(LENGTHS[random.below(LENGTHS.len())]);
        }
        2 => text.push_str(strange),
        _ => {
            let at = text.char_indices().nth(random.below(text.chars().count())).map_or(0, |(at, _)| at);
            match random.below(3) {
                0 => text.truncate(at),
                1 if !text.is_empty() => drop(text.remove(at)),
                _ => text.insert_str(at, strange),
            }
        }
    }
}

fn scalar(random: &mut Random<'_>) -> Value {
    match random.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!(0),
        4 => json!(-1),
        5 => json!(u64::MAX),
        6 => json!(i64::MIN),
        7 => json!(-0.0),
        8 => json!(1.5),
        9 => json!(1e308),
        10 => json!([]),
        11 => json!({}),
        _ => json!(TEXTS[random.below(TEXTS.len())]),
    }
}

/// Lists or objects within each other, as deep as a reader may allow or deeper.
fn nested(random: &mut Random<'_>) -> Value {
    let depth = [5, 30, 70, 110, 118, 121, 124, 126, 130][random.below(9)];
    let in_lists = random.once_in(2);
    let wrap = |inner, _| if in_lists { json!([inner]) } else { json!({ "a": inner }) };
    (0..depth).fold(json!("x"), wrap)
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

fn weight(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(key, member)| key.len() + weight(member)).sum(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, left)),
        _ => None,
    }
}

/// Writes a document, with so many things that a writer should not write: keys twice, numbers and escapes that mean nothing.
fn write(bytes: &mut Vec<u8>, value: &Value, strange: &mut usize, random: &mut Random<'_>) {
    let is_strange = *strange > 0 && random.once_in(12);
    *strange -= usize::from(is_strange);
    if is_strange && random.once_in(2) {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let texts = [
            "1e999",
            "-0",
            "007",
            "NaN",
            r#""\ud800""#,
            r#""\u0000""#,
            "\"\u{1}\"",
            "123456789012345678901234567890",
        ];
        let text = if random.once_in(9) { deep.as_str() } else { random.pick(&texts) };
        return bytes.extend_from_slice(text.as_bytes());
    }
    match value {
        Value::Array(items) => {
            bytes.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                write(bytes, item, strange, random);
            }
            bytes.push(b']');
        }
        Value::Object(members) => {
            bytes.push(b'{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                for _ in 0..if is_strange && index == 0 { 2 } else { 1 } {
                    if bytes.last().is_some_and(|last| !b"{,".contains(last)) {
                        bytes.push(b',');
                    }
                    bytes.extend(serde_json::to_vec(key).unwrap());
                    bytes.extend_from_slice(if is_strange { b" :\n" } else { b":" });
                    write(bytes, member, strange, random);
                }
            }
            bytes.push(b'}');
        }
        scalar => bytes.extend(serde_json::to_vec(scalar).unwrap()),
    }
}

/// Changes bytes whatever they mean.
pub fn change_bytes(input: &[u8], random: &mut Random<'_>) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, *b"\xff\xfe")),
            2 => drop(bytes.splice(..0, *b"\xef\xbb\xbf")),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            5 => {
                let end = (at + random.below(20)).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            _ => {
                let strange = TEXTS[random.below(TEXTS.len())].bytes();
                drop(bytes.splice(at..at, strange));
            }
        }
    }
    bytes
}
