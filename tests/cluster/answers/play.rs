//! The answers of the table, as the scripted broker gives them.

use serde_json::json;
use testkit::broker::{AsyncScript, Broker, Hold, Operation, Reply};

/// Beside those of the table: nothing is done, and nobody can know that.
pub const DOUBT: &str = "200 malformed, nothing done";
/// Beside those of the table: it is done, and nobody can know that.
pub const UNREADABLE: &str = "200 malformed, done";
/// Beside those of the table: nothing is done, and the request is repeated.
pub const FAULT: &str = "500, nothing done";

const CUT_OFF: &str = r#"{"operation":"#;
const HTML: &str = "<!DOCTYPE html><html><body>Welcome</body></html>";
const WRONG_TYPES: &str =
    r#"{"operation":5,"dashboard_url":{},"credentials":"x","state":7,"services":{},"description":[]}"#;

/// The next request of this kind (for this id) that no earlier script takes is answered so.
pub fn play(broker: &Broker, operation: Operation, id: Option<&str>, answer: &str) {
    let script = broker.on(operation).once();
    let script = match id {
        Some(id) => script.for_id(id),
        None => script,
    };
    // The worse case: it was done, and the platform is not told.
    let done =
        matches!(operation, Operation::PollInstance | Operation::PollBinding) || operation.is_mutation();
    let creates = matches!(operation, Operation::Provision | Operation::Bind);
    let (status, kind) = answer.split_once(' ').unwrap_or((answer, ""));
    let status: u16 = status.trim_end_matches(',').parse().unwrap_or_default();
    match (answer, kind) {
        ("200 valid", _) if creates => script.amend(|reply| reply.status = 200),
        ("200 valid", _) => script.truth(),
        ("201 valid", _) => script.amend(|reply| reply.status = 201),
        ("reset before effect", _) => script.reset(),
        ("reset after effect", _) => script.after_effect().reset(),
        ("stalled after effect", _) => script.after_effect().held_by(&Hold::new()).truth(),
        ("truncated after effect", _) => script.after_effect().truncated().truth(),
        (DOUBT, _) => script.reply(Reply::bytes(200, CUT_OFF)),
        (UNREADABLE, _) => script.after_effect().reply(Reply::bytes(200, CUT_OFF)),
        (FAULT, _) => script.respond(500, json!({})),
        (_, "with operation") if operation.is_mutation() => script.asynchronously(AsyncScript::succeeding(0)),
        (_, "without operation") if operation.is_mutation() => {
            script.asynchronously(AsyncScript::succeeding(0).without_operation())
        }
        _ => {
            let refused = (300..500).contains(&status) && status != 410 || creates && status == 410;
            let refused = refused || operation == Operation::Update && status == 410 || kind == "in progress";
            let script = if done && !refused { script.after_effect() } else { script };
            script.reply(reply(operation, status, kind))
        }
    };
}

fn reply(operation: Operation, status: u16, kind: &str) -> Reply {
    let json = |body| Reply::json(status, body);
    match kind {
        "malformed" => Reply::bytes(status, CUT_OFF),
        "wrong types" => Reply::bytes(status, WRONG_TYPES),
        "text/html" => Reply::bytes(status, HTML).header("content-type", "text/html"),
        "too long" => {
            let limit = if operation == Operation::Catalog { 16 << 20 } else { 1 << 20 };
            json(json!({ "description": "x".repeat(limit) }))
        }
        "with operation" => json(json!({ "operation": "op-1" })),
        "in progress" => json(json!({ "state": "in progress", "description": "50 %" })),
        "failed" => json(json!({ "state": "failed", "description": "no space" })),
        "not repeatable" => json(json!({ "update_repeatable": false })),
        "AsyncRequired" | "ConcurrencyError" | "MaintenanceInfoConflict" => json(json!({ "error": kind })),
        "unknown" => json(json!({ "error": "Unheard", "description": "of" })),
        "to another host" => json(json!({})).header("location", "http://127.0.0.1:9/"),
        "with Retry-After" => json(json!({})).header("retry-after", "1"),
        "" if status == 204 => Reply::bytes(204, ""),
        "" | "{}" | "without operation" => json(json!({})),
        other => panic!("{other:?} is no answer"),
    }
}
