//! The message in the body of an error answer. It can have the form of the broker, of its framework, or of a
//! gateway in front of it. Pure.
//!
//! The protocol has `error` and `description` ("Service Broker Errors"). Many answers have another form,
//! because frameworks, API gateways and clouds answer before the code of the broker runs. Only this module
//! knows these forms. It looks for well-known names of fields at the places where the usual forms have them.
//! The table in `tests.rs` has real answers. If it finds nothing, it quotes the body, unless the answer may
//! hold credentials.
//!
//! The result is the broker's own text: the caller must clean, redact and cut it.

use serde_json::{Map, Value};

use crate::json::{MAX_VALUES, has_at_most};

mod markup;

/// The code and the message of an error answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorText {
    /// A code for programs: `ConcurrencyError`.
    pub code: Option<String>,
    /// A sentence for people.
    pub message: Option<String>,
    /// The body itself, if it has neither of them.
    pub unreadable: Option<String>,
}

/// Fields with a code. A number does not count, because it usually repeats the status.
const CODES: [&str; 12] = [
    "error",
    "Error",
    "error_code",
    "errorCode",
    "errorcode",
    "code",
    "Code",
    "__type",
    "status",
    "faultcode",
    "type",
    "@type",
];

/// Fields with a sentence, the best first.
const MESSAGES: [&str; 18] = [
    "description",
    "Description",
    "error_description",
    "message",
    "Message",
    "errorMessage",
    "error_message",
    "defaultMessage",
    "msg",
    "detail",
    "details",
    "reason",
    "faultstring",
    "hydra:description",
    "localizedMessage",
    "cause",
    "value",
    "title",
];

/// Fields that hold the error as an object or a list of its own.
const ENVELOPES: [&str; 8] =
    ["error", "Error", "fault", "odata.error", "exception", "errors", "Errors", "detail"];

/// Fields with a list of single faults, next to a message about all of them.
const LISTS: [&str; 7] =
    ["errors", "Errors", "fieldErrors", "violations", "invalid-params", "_embedded", "detail"];

/// Fields with the name of the input that a single fault is about.
const FIELDS: [&str; 6] = ["field", "loc", "propertyPath", "pointer", "param", "name"];

/// Fields of the protocol that are not a message.
const FLAGS: [&str; 2] = ["instance_usable", "update_repeatable"];

/// How many single faults are named.
const MOST_FAULTS: usize = 5;
/// How many members of an unreadable object or array are quoted.
const MOST_QUOTED: usize = 20;
/// How many levels of nested error objects are read.
const DEEPEST: usize = 4;

/// Finds code and message of an error answer. `is_open`: the body cannot hold credentials, so any part of it
/// may be shown. Otherwise only the values of the fields above are shown.
pub(super) fn read(body: &[u8], is_open: bool) -> ErrorText {
    let json = if has_at_most(MAX_VALUES, body) { serde_json::from_slice::<Value>(body).ok() } else { None };
    let found = match &json {
        Some(Value::Object(object)) if object.keys().all(|key| FLAGS.contains(&key.as_str())) => {
            return ErrorText::default();
        }
        Some(Value::Object(object)) => match of_object(object, 0) {
            // Here the broker chooses the names.
            (None, None) if is_open => (None, fields_of(object, 0)),
            found => found,
        },
        Some(value) if is_open => of_item(value, 0).map(|message| (None, Some(message))).unwrap_or_default(),
        None if is_open && body.trim_ascii_start().starts_with(b"<") => {
            markup::read(&String::from_utf8_lossy(body))
        }
        Some(_) | None => (None, None),
    };
    let quoted = || match &json {
        Some(value) => flattened(value),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let unreadable = (is_open && found == (None, None)).then(quoted);
    ErrorText {
        code: found.0,
        message: found.1,
        unreadable: unreadable.filter(|text| !text.trim().is_empty()),
    }
}

/// JSON without quotes and escapes, because a secret with escapes would not be recognised. Only the beginning
/// of a long document.
fn flattened(value: &Value) -> String {
    let list =
        |items: &mut dyn Iterator<Item = String>| items.take(MOST_QUOTED).collect::<Vec<_>>().join(", ");
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", list(&mut items.iter().map(flattened))),
        Value::Object(members) => {
            let mut members = members.iter().map(|(key, value)| format!("{key}: {}", flattened(value)));
            format!("{{{}}}", list(&mut members))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Code and message.
pub(super) type Found = (Option<String>, Option<String>);

fn of_object(object: &Map<String, Value>, depth: usize) -> Found {
    let (mut code, mut message) = (code_of(object), message_of(object));
    if message.is_none() && depth < DEEPEST {
        let inner = ENVELOPES.iter().find_map(|key| {
            let found = match object.get(*key)? {
                Value::Object(inner) => of_object(inner, depth + 1),
                Value::Array(items) => of_items(items, depth + 1),
                _ => return None,
            };
            Some(found).filter(|found| *found != (None, None))
        });
        let (inner_code, inner_message) = inner.unwrap_or_default();
        (code, message) = (code.or(inner_code), inner_message);
    } else if let Some(text) = &mut message {
        let mut faults = LISTS.iter().filter_map(|key| faults_of(object.get(*key)?, depth + 1));
        if let Some(faults) = faults.next()
            && faults != *text
        {
            *text = format!("{text}: {faults}");
        }
    }
    if code.is_none() && message.is_none() && depth > 0 {
        message = fields_of(object, depth);
    }
    (code.filter(|code| Some(code) != message.as_ref()), message)
}

/// A list of errors: code and message of the only one, or the messages of all.
fn of_items(items: &[Value], depth: usize) -> Found {
    match items {
        [Value::Object(only)] if field_of(only).is_none() => of_object(only, depth),
        items => (None, joined(items.iter().filter_map(|item| of_item(item, depth)))),
    }
}

fn code_of(object: &Map<String, Value>) -> Option<String> {
    let code = |key: &&str| {
        let text = object.get(*key)?.as_str().filter(|text| !text.is_empty())?;
        // AWS has qualified names as codes. A URL, a kind of object or an outcome is not a code.
        let text = text.rsplit_once('#').filter(|_| *key == "__type").map_or(text, |(_, kind)| kind);
        let is_code = match *key {
            "error" | "Error" | "faultcode" => true,
            "status" => text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'),
            _ => !text.contains(['/', ' ', ':']) && !text.bytes().all(|byte| byte.is_ascii_digit()),
        };
        is_code.then(|| text.to_owned())
    };
    let kubernetes = || (object.get("kind")? == "Status").then(|| text_of(object, "reason"))?;
    CODES.iter().find_map(code).or_else(kubernetes)
}

fn message_of(object: &Map<String, Value>) -> Option<String> {
    let text = MESSAGES.iter().find_map(|key| match object.get(*key)? {
        // Some APIs give a message for each language.
        Value::Object(inner) if matches!(*key, "message" | "Message") => text_of(inner, "value"),
        _ => text_of(object, key),
    })?;
    match text_of(object, "title") {
        Some(title) if title != text && object.contains_key("detail") => Some(format!("{title}: {text}")),
        _ => Some(text),
    }
}

fn text_of(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Single faults: a list of them, or an object with a list for each field.
fn faults_of(value: &Value, depth: usize) -> Option<String> {
    match value {
        Value::Array(items) => joined(items.iter().filter_map(|item| of_item(item, depth))),
        Value::Object(object) if object.contains_key("errors") && depth < DEEPEST => {
            faults_of(object.get("errors")?, depth + 1)
        }
        Value::Object(object) => fields_of(object, depth),
        _ => None,
    }
}

/// An object that has, under names of input fields, what is wrong with each: texts, or lists of texts.
fn fields_of(object: &Map<String, Value>, depth: usize) -> Option<String> {
    if object.is_empty() || !object.values().all(|value| matches!(value, Value::Array(_))) {
        return None;
    }
    joined(object.iter().filter_map(|(field, value)| Some(format!("{field}: {}", of_item(value, depth)?))))
}

/// One fault, with the field that it is about.
fn of_item(value: &Value, depth: usize) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(items) if depth < DEEPEST => {
            joined(items.iter().filter_map(|item| of_item(item, depth + 1)))
        }
        Value::Object(object) if depth < DEEPEST => {
            let (code, message) = of_object(object, depth + 1);
            let text = message.or(code)?;
            Some(match field_of(object) {
                Some(field) if field != text => format!("{field}: {text}"),
                _ => text,
            })
        }
        _ => None,
    }
}

/// The input field that a fault is about: a name, or a path.
fn field_of(object: &Map<String, Value>) -> Option<String> {
    FIELDS.iter().find_map(|key| match object.get(*key)? {
        Value::String(field) => Some(field.clone()).filter(|field| !field.is_empty()),
        Value::Array(path) => {
            let steps = path.iter().map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned));
            Some(steps.collect::<Vec<_>>().join("."))
        }
        _ => None,
    })
}

fn joined(texts: impl Iterator<Item = String>) -> Option<String> {
    let texts: Vec<String> = texts.take(MOST_FAULTS).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

#[cfg(test)]
mod tests;
