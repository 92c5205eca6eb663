//! The answers of a broker as they come off the wire, by the names that they have in the table.

use std::time::Duration;

use service_catalog::osb::{
    Operation, Outcome,
    classify::{self, BodyFault, Response, TransportFault},
};

/// The answers that every operation is given.
pub const ANSWERS: &[&str] = &[
    "200 valid",
    "200 {}",
    "200 malformed",
    "200 wrong types",
    "200 too long",
    "200 text/html",
    "201 valid",
    "201 malformed",
    "202 with operation",
    "202 without operation",
    "202 malformed",
    "204",
    "302 to another host",
    "400",
    "401",
    "403",
    "404",
    "408",
    "409",
    "410",
    "412",
    "422 AsyncRequired",
    "422 ConcurrencyError",
    "422 MaintenanceInfoConflict",
    "422 unknown",
    "429 with Retry-After",
    "500",
    "503 with Retry-After",
    "504",
    "refused",
    "reset before effect",
    "reset after effect",
    "stalled after effect",
    "truncated after effect",
];

const CATALOG: &[u8] = br#"{"services":[{"id":"s","name":"db","description":"d","bindable":true,
    "plans":[{"id":"p","name":"small","description":"d"}]}]}"#;
const WRONG_TYPES: &[u8] =
    br#"{"operation":5,"dashboard_url":{},"credentials":"x","state":7,"services":{},"description":[]}"#;
const HTML: &[u8] = b"<!DOCTYPE html><html><body>Welcome</body></html>";
const CUT_OFF: &[u8] = br#"{"operation":"#;

/// One answer to one operation.
pub struct Answer {
    pub operation: Operation,
    wire: Wire,
}

enum Wire {
    Response { status: u16, body: Result<&'static [u8], BodyFault>, retry_after: Option<Duration> },
    Fault(TransportFault),
}

impl Answer {
    pub fn new(operation: Operation, name: &str) -> Self {
        let (status, kind) = name.split_once(' ').unwrap_or((name, ""));
        let body = match (status, kind) {
            ("200" | "201", "valid") => Ok(valid_body(operation)),
            (_, "malformed") => Ok(CUT_OFF),
            (_, "wrong types") => Ok(WRONG_TYPES),
            (_, "too long") => Err(BodyFault::TooLong),
            (_, "text/html") => Ok(HTML),
            (_, "with operation") => Ok(&br#"{"operation":"op-1"}"#[..]),
            (_, "in progress") => Ok(&br#"{"state":"in progress","description":"50 %"}"#[..]),
            (_, "failed") => Ok(&br#"{"state":"failed","description":"no space"}"#[..]),
            (_, "not repeatable") => Ok(&br#"{"update_repeatable":false}"#[..]),
            (_, "AsyncRequired") => Ok(&br#"{"error":"AsyncRequired"}"#[..]),
            (_, "ConcurrencyError") => Ok(&br#"{"error":"ConcurrencyError"}"#[..]),
            (_, "MaintenanceInfoConflict") => Ok(&br#"{"error":"MaintenanceInfoConflict"}"#[..]),
            (_, "unknown") => Ok(&br#"{"error":"Unheard","description":"of"}"#[..]),
            ("204", _) => Ok(&b""[..]),
            _ => Ok(&b"{}"[..]),
        };
        let lost = || Wire::Fault(TransportFault::Lost("connection reset by peer".into()));
        let wire = match name {
            "refused" => Wire::Fault(TransportFault::Unsent("connection refused".into())),
            // Nobody on this side can tell the two apart.
            "reset before effect" | "reset after effect" => lost(),
            "stalled after effect" => Wire::Fault(TransportFault::TimedOut(Duration::from_secs(60))),
            "truncated after effect" => Wire::Response {
                status: if operation.creates() { 201 } else { 200 },
                body: Err(BodyFault::Lost),
                retry_after: None,
            },
            _ => Wire::Response {
                status: status.parse().unwrap_or_else(|_| panic!("{name:?} is no answer")),
                body,
                retry_after: (kind == "with Retry-After").then_some(Duration::from_secs(30)),
            },
        };
        Self { operation, wire }
    }

    /// What the classification makes of it.
    pub fn classified<T>(&self, meaning: impl FnOnce(&Response<'_>) -> Outcome<T>) -> Outcome<T> {
        match &self.wire {
            Wire::Fault(fault) => classify::transport(self.operation, fault.clone()),
            Wire::Response { status, body, retry_after } => {
                meaning(&Response { body: *body, retry_after: *retry_after, ..Response::new(*status, b"") })
            }
        }
    }

    /// The one refusal after which the same request waits for another one to end.
    pub fn is_concurrency_error(&self) -> bool {
        matches!(self.wire, Wire::Response { status: 422, body: Ok(body), .. }
            if body.windows(16).any(|word| word == b"ConcurrencyError"))
    }
}

fn valid_body(operation: Operation) -> &'static [u8] {
    match operation {
        Operation::Catalog => CATALOG,
        Operation::Provision | Operation::Update | Operation::GetInstance => {
            br#"{"dashboard_url":"https://dashboard"}"#
        }
        Operation::Deprovision | Operation::Unbind => b"{}",
        Operation::PollInstance | Operation::PollBinding => br#"{"state":"succeeded"}"#,
        Operation::Bind | Operation::GetBinding => br#"{"credentials":{"password":"hunter2"}}"#,
    }
}
