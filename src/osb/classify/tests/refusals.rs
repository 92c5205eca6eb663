//! The message of a refusal or a failure: the reason, what the user can do, and the exact text.

use super::*;

// OSB 2, 31
#[test]
fn reasons_follow_status_and_code_alone() {
    use RefusalReason::{
        AsyncRequired, BadRequest, ConcurrencyError, Conflict, MaintenanceInfoConflict, NotReceived, Other,
        RequiresApp, Throttled, Unauthorized, VersionMismatch,
    };
    let rows: [(u16, &str, RefusalReason); 22] = [
        (400, "{}", BadRequest),
        (401, "", Unauthorized),
        (401, r#"{"error":"Nope"}"#, Unauthorized),
        (403, "Forbidden", Unauthorized),
        (403, r#"{"error":"QuotaExceeded"}"#, Other),
        (404, "{}", Other),
        (408, "{}", NotReceived),
        (409, "{}", Conflict),
        (412, r#"{"Description":"wants 2.14"}"#, VersionMismatch),
        (413, "", Other),
        (422, r#"{"error":"ConcurrencyError"}"#, ConcurrencyError),
        (422, r#"{"error":"ConcurrencyError","description":"any text"}"#, ConcurrencyError),
        (422, r#"{"Error":"ConcurrencyError"}"#, ConcurrencyError),
        (422, r#"{"error":"AsyncRequired","description":null}"#, AsyncRequired),
        (422, r#"{"error":"RequiresApp"}"#, RequiresApp),
        (422, r#"{"error":"MaintenanceInfoConflict"}"#, MaintenanceInfoConflict),
        (
            422,
            r#"{"description":"This Service Plan requires client support for asynchronous operations"}"#,
            Other,
        ),
        (422, r#"{"error":"concurrencyerror"}"#, Other),
        (422, r#"{"error":{"code":"ConcurrencyError"}}"#, Other),
        (422, "<html>ConcurrencyError</html>", Other),
        (400, r#"{"error":"ConcurrencyError"}"#, BadRequest),
        (429, "", Throttled),
    ];
    for operation in [Operation::Provision, Operation::Update, Operation::Deprovision, Operation::Bind] {
        for (status, body, reason) in rows {
            assert_eq!(refusal(answer(operation, status, body.as_bytes())).reason, reason, "{status} {body}");
        }
    }
}

// OSB 26
#[test]
fn failures_say_what_the_user_can_do() {
    let body = br#"{"instance_usable":false,"update_repeatable":false}"#;
    let refused = refusal(answer(Operation::Update, 422, body));
    assert_eq!((refused.instance_usable, refused.update_repeatable), (Some(false), Some(false)));
    let failed = unknown(answer(Operation::Update, 500, body));
    assert_eq!((failed.instance_usable, failed.update_repeatable), (Some(false), Some(false)));
    let silent = refusal(answer(Operation::Update, 422, br#"{"instance_usable":"no"}"#));
    assert_eq!((silent.instance_usable, silent.update_repeatable), (None, None));
}

// OSB 71
// v0.3 Q19
#[test]
fn retry_after_is_passed_on() {
    let after = Some(Duration::from_secs(7));
    let with = |status, body| Response { retry_after: after, ..Response::new(status, body) };
    assert_eq!(refusal(ask(Operation::Bind, &with(429, b""))).retry_after, after);
    assert_eq!(unknown(ask(Operation::Bind, &with(503, b""))).retry_after, after);
    let polled = answered(poll(Operation::PollInstance, &with(200, br#"{"state":"in progress"}"#)));
    assert_eq!(polled.retry_after, after);
}

// OSB 13
// v0.3 J3
#[test]
fn messages_are_sentences() {
    let rows: [(u16, &str, &str); 8] = [
        (
            409,
            r#"{"error":"ConcurrencyError","description":"in progress"}"#,
            "the broker answered 409 Conflict: ConcurrencyError: in progress",
        ),
        (400, r#"{"Error":"Bad","Description":"x"}"#, "the broker answered 400 Bad Request: Bad: x"),
        (400, "{}", "the broker answered 400 Bad Request"),
        (400, r#"{"description":"a\u0000b\r\nc"}"#, "the broker answered 400 Bad Request: ab c"),
        (404, "no such\npage", "the broker answered 404 Not Found: no such page"),
        (404, " <!DOCTYPE html>…", "the broker answered 404 Not Found: (an HTML page)"),
        (499, "", "the broker answered 499"),
        (401, "", "the broker answered 401 Unauthorized (check the credentials in spec.authInfo)"),
    ];
    for (status, body, message) in rows {
        assert_eq!(refusal(answer(Operation::Update, status, body.as_bytes())).message.to_string(), message);
    }
}

// OSB 3
#[test]
fn after_a_refused_version_the_message_says_what_to_set() {
    let say = |body: &str, version: Option<&str>| {
        let version = version.map(|text| text.parse().unwrap());
        refusal(ask(Operation::Bind, &Response { version, ..Response::new(412, body.as_bytes()) }))
            .message
            .to_string()
    };
    let annotation = "the annotation servicecatalog.k8s.io/broker-api-version";
    let named = format!("version 2.14 of the API: set {annotation}: \"2.14\" on the broker object)");
    for body in ["", "{}", r#"{"description":"not 2.16"}"#] {
        assert!(say(body, Some("2.14")).ends_with(&named), "{}", say(body, Some("2.14")));
    }
    let unnamed =
        format!("another version of the API than 2.17: set it in {annotation} of the broker object)");
    for (body, header) in [
        ("", None),
        ("<html>", None),
        (r#"{"description":"wants 2.14"}"#, None),
        ("expected 2.14", Some("2.17")),
    ] {
        assert!(say(body, header).ends_with(&unnamed), "{}", say(body, header));
    }
    assert!(say(r#"{"description":"wants 2.14"}"#, None).contains(": wants 2.14 ("));
}

// OSB 33
// v0.3 Q7
#[test]
fn messages_are_short_whatever_the_broker_writes() {
    let long = "é\n".repeat(500_000);
    let structured = serde_json::json!({ "error": long, "description": long }).to_string();
    for body in [long.as_bytes(), structured.as_bytes()] {
        for status in [400, 500] {
            let message = match answer(Operation::Update, status, body) {
                Kind::Refused(refusal) => refusal.message.to_string(),
                Kind::Unknown(unknown) => unknown.message.to_string(),
                other => panic!("{other:?}"),
            };
            assert!(message.len() < 1400 && !message.contains(char::is_control), "{}", message.len());
        }
    }
}

// OSB 33
#[test]
fn our_own_secret_is_not_repeated_even_where_it_is_cut() {
    let secrets = [Zeroizing::new("s3cret-password".to_owned())];
    for padding in [0, 1000, 1015, 1024] {
        let body = serde_json::json!({ "error": "s3cret-password",
            "description": format!("{}s3cret-password", "x".repeat(padding)) });
        let body = body.to_string();
        let response = Response { secrets: &secrets, ..Response::new(401, body.as_bytes()) };
        let message = refusal(ask(Operation::Provision, &response)).message.to_string();
        assert!(!message.contains("s3cr") && message.contains("<redacted>"), "{message}");
    }
    let response = Response { secrets: &secrets, ..Response::new(500, b"bad: s3cret-password") };
    assert!(unknown(ask(Operation::Provision, &response)).message.to_string().ends_with(": bad: <redacted>"));
    let body = br#"{"state":"failed","description":"s3cret-password"}"#;
    let response = Response { secrets: &secrets, ..Response::new(200, body) };
    let polled = answered(poll(Operation::PollInstance, &response));
    assert_eq!(polled.description.as_deref(), Some("<redacted>"));
}

#[test]
fn no_success_body_and_no_unstructured_body_of_a_bind_is_quoted() {
    let body =
        br#"{"credentials":"hunter2","operation":"hunter2","state":"hunter2","dashboard_url":["hunter2"]}"#;
    for operation in ALL {
        for status in [200, 201, 202, 203] {
            if let Kind::Unknown(unknown) = answer(operation, status, body) {
                assert!(
                    !unknown.message.to_string().contains("hunter2"),
                    "{operation:?} {status} {}",
                    unknown.message
                );
            }
        }
    }
    for operation in [Operation::Bind, Operation::GetBinding] {
        assert!(
            !unknown(answer(operation, 500, b"{\"credentials\": hunter2"))
                .message
                .to_string()
                .contains("hunter2")
        );
    }
}
