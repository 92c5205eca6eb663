//! The journal: every request the broker received, in order, with the bytes as they came.

use std::fmt;
use std::time::Instant;

use axum::http::HeaderMap;
use serde_json::Value;

use super::Operation;

/// One request as it reached the broker.
#[derive(Clone, Debug)]
pub struct Request {
    /// When the request was complete.
    pub at: Instant,
    /// What it asks for; `None` for a route that OSB does not have.
    pub operation: Option<Operation>,
    pub method: String,
    /// The path as sent, still percent-encoded.
    pub path: String,
    /// The decoded query, in order.
    pub query: Vec<(String, String)>,
    /// Path and query exactly as sent.
    pub raw_target: String,
    pub headers: HeaderMap,
    /// The body; `null` if it was empty or not JSON.
    pub body: Value,
    /// The body as sent: a repeated PUT has to be byte-identical.
    pub body_bytes: Vec<u8>,
    /// The decoded instance id of the path.
    pub instance_id: Option<String>,
    /// The decoded binding id of the path.
    pub binding_id: Option<String>,
    /// The status answered; `None` while there is none, and for ever when the connection was cut or
    /// the platform went away first. For raw bytes it is whatever the first line says, if anything.
    pub status: Option<u16>,
    /// When the answer was handed to the connection.
    pub answered_at: Option<Instant>,
}

impl Request {
    /// The (decoded) value of one query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether this is the given operation.
    pub fn is(&self, operation: Operation) -> bool {
        self.operation == Some(operation)
    }

    /// Whether the path names this instance or binding.
    pub fn concerns(&self, id: &str) -> bool {
        self.instance_id.as_deref() == Some(id) || self.binding_id.as_deref() == Some(id)
    }

    /// Whether the platform allowed an asynchronous answer.
    pub fn accepts_incomplete(&self) -> bool {
        self.query("accepts_incomplete") == Some("true")
    }

    /// A string property of the body; empty if absent.
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// The id of the binding if there is one in the path, else that of the instance.
    pub fn id(&self) -> &str {
        self.binding_id.as_deref().or(self.instance_id.as_deref()).unwrap_or_default()
    }

    /// The instance id of the path; empty if there is none.
    pub fn instance(&self) -> &str {
        self.instance_id.as_deref().unwrap_or_default()
    }

    /// Takes a request apart, by the *encoded* path: an id may hold an encoded slash.
    pub(super) fn parse(method: &str, raw_target: &str, headers: HeaderMap, body_bytes: Vec<u8>) -> Self {
        let (path, raw_query) = raw_target.split_once('?').unwrap_or((raw_target, ""));
        let query = raw_query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                // Form encoding, as every web framework reads a query: `+` is a blank.
                (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
            })
            .collect();
        let (operation, instance_id, binding_id) = Operation::of(method, path);
        Self {
            at: Instant::now(),
            operation,
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            raw_target: raw_target.to_owned(),
            headers,
            body: serde_json::from_slice(&body_bytes).unwrap_or(Value::Null),
            body_bytes,
            instance_id,
            binding_id,
            status: None,
            answered_at: None,
        }
    }
}

impl Operation {
    /// What a request asks for, of which instance, and of which binding.
    pub fn of(method: &str, path: &str) -> (Option<Self>, Option<String>, Option<String>) {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        route(method, &segments)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.raw_target)?;
        match self.status {
            Some(status) => write!(f, " -> {status}"),
            None => write!(f, " -> (no answer)"),
        }
    }
}

fn route(method: &str, segments: &[&str]) -> (Option<Operation>, Option<String>, Option<String>) {
    use Operation as O;
    match (method, segments) {
        ("GET", ["v2", "catalog"]) => (Some(O::Catalog), None, None),
        (_, ["v2", "service_instances", id, rest @ ..]) if !id.is_empty() => {
            let (operation, binding) = match (method, rest) {
                ("PUT", []) => (Some(O::Provision), None),
                ("PATCH", []) => (Some(O::Update), None),
                ("DELETE", []) => (Some(O::Deprovision), None),
                ("GET", []) => (Some(O::GetInstance), None),
                ("GET", ["last_operation"]) => (Some(O::PollInstance), None),
                ("PUT", ["service_bindings", binding]) => (Some(O::Bind), Some(*binding)),
                ("DELETE", ["service_bindings", binding]) => (Some(O::Unbind), Some(*binding)),
                ("GET", ["service_bindings", binding]) => (Some(O::GetBinding), Some(*binding)),
                ("GET", ["service_bindings", binding, "last_operation"]) => {
                    (Some(O::PollBinding), Some(*binding))
                }
                _ => (None, None),
            };
            match binding {
                Some("") => (None, Some(decode(id)), None),
                _ => (operation, Some(decode(id)), binding.map(decode)),
            }
        }
        _ => (None, None, None),
    }
}

/// Percent-decoding; what is not a valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
