//! Every row of the spec's "Orphan Mitigation" table, for every operation, and the bodies that brokers send.

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::osb::{Refusal, RefusalReason};

const ALL: [Operation; 10] = [
    Operation::Catalog,
    Operation::Provision,
    Operation::Update,
    Operation::Deprovision,
    Operation::PollInstance,
    Operation::GetInstance,
    Operation::Bind,
    Operation::Unbind,
    Operation::PollBinding,
    Operation::GetBinding,
];
const CREATING: [Operation; 2] = [Operation::Provision, Operation::Bind];
const DELETING: [Operation; 2] = [Operation::Deprovision, Operation::Unbind];
const POLLING: [Operation; 2] = [Operation::PollInstance, Operation::PollBinding];
const MALFORMED: [&[u8]; 9] =
    [b"", b"null", b"[]", b"\"x\"", b"7", b"{\"a\":", b"<html></html>", b"\xff\xfe{}", b"{\"a\":1e999}"];

/// An outcome without what was answered, comparable.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Answered,
    Refused(Refusal),
    Unsent,
    Unknown(Doubt),
}

fn kind<T>(outcome: Outcome<T>) -> Kind {
    match outcome {
        Outcome::Answered(_) => Kind::Answered,
        Outcome::Refused(refusal) => Kind::Refused(refusal),
        Outcome::Unsent(_) => Kind::Unsent,
        Outcome::Unknown(doubt) => Kind::Unknown(doubt),
    }
}

fn ask(operation: Operation, response: &Response<'_>) -> Kind {
    match operation {
        Operation::Catalog => kind(catalog(response, None::<()>)),
        Operation::Provision => kind(provision(response)),
        Operation::Update => kind(update(response)),
        Operation::Deprovision => kind(deprovision(response)),
        Operation::Unbind => kind(unbind(response)),
        Operation::PollInstance | Operation::PollBinding => kind(poll(operation, response)),
        Operation::GetInstance => kind(get_instance(response)),
        Operation::Bind => kind(bind(response, true)),
        Operation::GetBinding => kind(get_binding(response)),
    }
}

fn answer(operation: Operation, status: u16, body: &[u8]) -> Kind {
    ask(operation, &Response::new(status, body))
}

fn valid_body(operation: Operation) -> &'static [u8] {
    if POLLING.contains(&operation) { br#"{"state":"in progress"}"# } else { b"{}" }
}

#[track_caller]
fn doubt(kind: Kind) -> Doubt {
    let Kind::Unknown(doubt) = kind else { panic!("not unknown: {kind:?}") };
    doubt
}

#[track_caller]
fn refusal(kind: Kind) -> Refusal {
    let Kind::Refused(refusal) = kind else { panic!("not refused: {kind:?}") };
    refusal
}

#[track_caller]
fn answered<T>(outcome: Outcome<T>) -> T {
    let Outcome::Answered(answer) = outcome else { panic!("not answered: {:?}", kind(outcome)) };
    answer
}

#[test]
fn row_200_is_success() {
    for operation in ALL {
        assert_eq!(answer(operation, 200, valid_body(operation)), Kind::Answered, "{operation:?}");
    }
}

#[test]
fn row_200_malformed_is_a_failure_without_mitigation() {
    for operation in ALL {
        for body in MALFORMED {
            let kind = answer(operation, 200, body);
            if DELETING.contains(&operation) || operation == Operation::Catalog {
                // A DELETE needs no body; the catalog's is judged by its own module.
                assert_eq!(kind, Kind::Answered, "{operation:?}");
            } else {
                let doubt = doubt(kind);
                assert!(!doubt.mitigate && doubt.answered, "{operation:?} {doubt:?}");
            }
        }
    }
}

#[test]
fn of_an_instance_only_what_is_used_is_read() {
    let body = br#"{"metadata":{"labels":{"a/b":"\u0000","x":7},"attributes":"no object"},"service_id":[],
        "plan_id":"p","parameters":"withheld","maintenance_info":{"version":"1.0.0","description":7}}"#;
    let Outcome::Answered(found) = get_instance(&Response::new(200, body)) else { panic!("a success") };
    let expected = InstanceAnswer {
        dashboard_url: None,
        plan_id: Some("p".to_owned()),
        maintenance_version: Some("1.0.0".to_owned()),
    };
    assert_eq!(found, expected);
    let created = provision(&Response::new(201, body));
    assert!(matches!(created, Outcome::Answered(Provisioned::Done { dashboard_url: None })));
}

#[test]
fn of_a_binding_its_lifetime_is_read_and_what_cannot_be_served_is_named() {
    let bound = |body: &str| match bind(&Response::new(201, body.as_bytes()), false) {
        Outcome::Answered(Bound::Done(answer)) => (answer.lifetime, answer.unserved),
        _ => panic!("{body} is a success"),
    };
    let (lifetime, unserved) = bound(
        r#"{"metadata":{"expires_at":"2026-12-31T23:59:59.5Z","renew_before":"2026-12-01T00:00:00Z"},
            "volume_mounts":[{"driver":"d"}],"syslog_drain_url":"","route_service_url":"https://r"}"#,
    );
    assert_eq!(lifetime.expires_at, "2026-12-31T23:59:59.5Z".parse().ok());
    assert_eq!(lifetime.renew_before, "2026-12-01T00:00:00Z".parse().ok());
    assert_eq!(unserved, ["route_service_url", "volume_mounts"]);
    for nonsense in
        [r#"{"metadata":{"expires_at":"soon"}}"#, r#"{"metadata":{"expires_at":7}}"#, r#"{"metadata":[]}"#]
    {
        assert_eq!(bound(nonsense), (Lifetime::default(), vec![]), "{nonsense}");
    }
}

#[test]
fn row_200_failed_ends_a_poll() {
    for operation in POLLING {
        let body = br#"{"state":"failed","description":"no\u001b space\nleft","instance_usable":false,"update_repeatable":false}"#;
        let polled = answered(poll(operation, &Response::new(200, body)));
        assert_eq!(polled.state, OperationState::Failed);
        assert_eq!(polled.description.as_deref(), Some("no space left"));
        assert_eq!((polled.instance_usable, polled.update_repeatable), (Some(false), Some(false)));
    }
}

#[test]
fn row_201_is_success_of_creations_only() {
    for operation in ALL {
        let kind = answer(operation, 201, valid_body(operation));
        if CREATING.contains(&operation) {
            assert_eq!(kind, Kind::Answered);
        } else {
            // DELETE and PATCH: "any other status: failure", which contradicts the table; repeated, never mitigated.
            let doubt = doubt(kind);
            assert!(!doubt.mitigate && doubt.answered, "{operation:?}");
        }
    }
}

#[test]
fn rows_201_and_202_malformed_are_mitigated() {
    for operation in CREATING {
        for status in [201, 202] {
            for body in MALFORMED {
                let doubt = doubt(answer(operation, status, body));
                assert!(doubt.mitigate && doubt.answered, "{operation:?} {status} {body:?}");
                assert_eq!(doubt.status, Some(status));
            }
        }
    }
    for operation in [Operation::Update, Operation::Deprovision, Operation::Unbind] {
        for body in MALFORMED {
            let doubt = doubt(answer(operation, 202, body));
            assert!(!doubt.mitigate && doubt.answered, "{operation:?} {body:?}");
        }
    }
}

#[test]
fn row_202_is_success_of_everything_asynchronous() {
    for operation in ALL {
        let kind = answer(operation, 202, valid_body(operation));
        if operation.method() == "GET" {
            assert!(!doubt(kind).mitigate, "{operation:?}");
        } else {
            assert_eq!(kind, Kind::Answered, "{operation:?}");
        }
    }
}

#[test]
fn row_any_other_2xx_is_mitigated_for_creations() {
    for operation in ALL {
        for status in [101, 203, 204, 205, 206, 207, 226, 299, 600, 700, 999] {
            let doubt = doubt(answer(operation, status, valid_body(operation)));
            assert_eq!(doubt.mitigate, CREATING.contains(&operation), "{operation:?} {status}");
            assert!(doubt.answered);
        }
    }
}

#[test]
fn rows_408_and_other_4xx_are_refusals() {
    for operation in ALL {
        for status in 400..=499 {
            let kind = answer(operation, status, b"{}");
            if status == 410 && (DELETING.contains(&operation) || POLLING.contains(&operation)) {
                assert_eq!(kind, Kind::Answered);
            } else {
                assert_eq!(refusal(kind).status, status, "{operation:?}");
            }
        }
    }
}

#[test]
fn row_5xx_is_mitigated_for_creations() {
    for operation in ALL {
        for status in 500..=599 {
            let doubt = doubt(answer(operation, status, b"{}"));
            assert_eq!(doubt.mitigate, CREATING.contains(&operation), "{operation:?} {status}");
            assert_eq!(doubt.answered, !matches!(status, 502 | 504), "{status}");
        }
    }
}

#[test]
fn row_timeout_is_mitigated_for_creations() {
    for operation in ALL {
        for fault in [TransportFault::TimedOut(Duration::from_secs(60)), TransportFault::Lost("reset".into())]
        {
            let doubt = doubt(kind(transport::<()>(operation, fault)));
            assert_eq!(doubt.mitigate, CREATING.contains(&operation), "{operation:?}");
            assert!(!doubt.answered && doubt.status.is_none());
        }
    }
}

#[test]
fn what_was_not_sent_is_never_mitigated() {
    for operation in ALL {
        let fault = TransportFault::Unsent("refused".into());
        assert_eq!(kind(transport::<()>(operation, fault)), Kind::Unsent);
    }
}

#[test]
fn redirects_are_refusals_that_name_the_field() {
    for operation in ALL {
        for status in [300, 301, 302, 303, 307, 308] {
            let refusal = refusal(answer(operation, status, b"<html>"));
            assert_eq!(refusal.reason, RefusalReason::Redirected);
            assert!(refusal.message.contains("spec.url"), "{}", refusal.message);
        }
    }
}

#[test]
fn a_body_that_did_not_arrive() {
    let broken = |status, fault| Response { body: Err(fault), ..Response::new(status, b"") };
    for fault in [BodyFault::TooLong, BodyFault::Lost, BodyFault::TimedOut] {
        let in_time = fault != BodyFault::TimedOut;
        for operation in CREATING {
            for status in [201, 202] {
                let doubt = doubt(ask(operation, &broken(status, fault)));
                assert!(doubt.mitigate, "{operation:?} {status} {fault:?}");
                assert_eq!(doubt.answered, fault == BodyFault::TooLong);
            }
            // 200 that is malformed is not mitigated, one that did not come in time is.
            assert_eq!(doubt(ask(operation, &broken(200, fault))).mitigate, !in_time, "{fault:?}");
            assert_eq!(refusal(ask(operation, &broken(400, fault))).reason, RefusalReason::BadRequest);
            assert!(doubt(ask(operation, &broken(500, fault))).mitigate);
        }
        for operation in DELETING {
            for status in [200, 410] {
                assert_eq!(ask(operation, &broken(status, fault)), Kind::Answered);
            }
            assert!(!doubt(ask(operation, &broken(202, fault))).mitigate);
        }
        for operation in
            [Operation::Catalog, Operation::GetBinding, Operation::PollInstance, Operation::Update]
        {
            assert!(!doubt(ask(operation, &broken(200, fault))).mitigate);
        }
        assert_eq!(ask(Operation::PollBinding, &broken(410, fault)), Kind::Answered);
    }
}

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

#[test]
fn failures_say_what_is_left_to_do() {
    let body = br#"{"instance_usable":false,"update_repeatable":false}"#;
    let refused = refusal(answer(Operation::Update, 422, body));
    assert_eq!((refused.instance_usable, refused.update_repeatable), (Some(false), Some(false)));
    let failed = doubt(answer(Operation::Update, 500, body));
    assert_eq!((failed.instance_usable, failed.update_repeatable), (Some(false), Some(false)));
    let silent = refusal(answer(Operation::Update, 422, br#"{"instance_usable":"no"}"#));
    assert_eq!((silent.instance_usable, silent.update_repeatable), (None, None));
}

#[test]
fn retry_after_is_passed_on() {
    let after = Some(Duration::from_secs(7));
    let with = |status, body| Response { retry_after: after, ..Response::new(status, body) };
    assert_eq!(refusal(ask(Operation::Bind, &with(429, b""))).retry_after, after);
    assert_eq!(doubt(ask(Operation::Bind, &with(503, b""))).retry_after, after);
    let polled = answered(poll(Operation::PollInstance, &with(200, br#"{"state":"in progress"}"#)));
    assert_eq!(polled.retry_after, after);
}

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
        assert_eq!(refusal(answer(Operation::Update, status, body.as_bytes())).message, message);
    }
}

#[test]
fn a_refused_version_is_answered_with_what_to_set() {
    let say = |body: &str, version: Option<&str>| {
        let version = version.map(|text| text.parse().unwrap());
        refusal(ask(Operation::Bind, &Response { version, ..Response::new(412, body.as_bytes()) })).message
    };
    let annotation = "the annotation servicecatalog.k8s.io/broker-api-version";
    let told = format!("version 2.14 of the API: set {annotation}: \"2.14\" on the broker object)");
    for (body, header) in [
        (r#"{"description":"this broker depends on version 2.14"}"#, None),
        (r#"{"Description":"supports 2.14, not 2.17"}"#, None),
        (r#"{"error":"want 2.14"}"#, None),
        ("expected 2.14", Some("2.17")),
        ("{}", Some("2.14")),
        (r#"{"description":"not 2.16"}"#, Some("2.14")),
    ] {
        assert!(say(body, header).ends_with(&told), "{}", say(body, header));
    }
    let untold =
        format!("another version of the API than 2.17: name it in {annotation} of the broker object)");
    for body in ["", "{}", "<html>", r#"{"description":"2.17? No: 2.13 or 2.14"}"#] {
        assert!(say(body, None).ends_with(&untold), "{}", say(body, None));
    }
}

#[test]
fn a_304_is_an_answer_to_a_question_only() {
    let response = Response::new(304, b"");
    assert_eq!(answered(catalog(&response, Some("kept"))), CatalogAnswer::Unchanged("kept"));
    let message = refusal(kind(catalog(&response, None::<()>))).message;
    let expected = "the broker answered 304 Not Modified (but it was not asked whether anything has changed)";
    assert_eq!(message, expected);
    assert_eq!(answered(catalog(&Response::new(200, b"{}"), Some("kept"))), CatalogAnswer::Body(b"{}"));
    for status in [204, 301, 305, 404, 412, 500] {
        assert!(kind(catalog(&Response::new(status, b"{}"), Some("kept"))) != Kind::Answered, "{status}");
    }
}

#[test]
fn messages_are_short_whatever_the_broker_writes() {
    let long = "é\n".repeat(500_000);
    let structured = serde_json::json!({ "error": long, "description": long }).to_string();
    for body in [long.as_bytes(), structured.as_bytes()] {
        for status in [400, 500] {
            let message = match answer(Operation::Update, status, body) {
                Kind::Refused(refusal) => refusal.message,
                Kind::Unknown(doubt) => doubt.message,
                other => panic!("{other:?}"),
            };
            assert!(message.len() < 1400 && !message.contains(char::is_control), "{}", message.len());
        }
    }
}

#[test]
fn our_own_secret_is_not_repeated_even_where_it_is_cut() {
    let secrets = [Zeroizing::new("s3cret-password".to_owned())];
    for padding in [0, 1000, 1015, 1024] {
        let body = serde_json::json!({ "error": "s3cret-password",
            "description": format!("{}s3cret-password", "x".repeat(padding)) });
        let body = body.to_string();
        let response = Response { secrets: &secrets, ..Response::new(401, body.as_bytes()) };
        let message = refusal(ask(Operation::Provision, &response)).message;
        assert!(!message.contains("s3cr") && message.contains("<redacted>"), "{message}");
    }
    let response = Response { secrets: &secrets, ..Response::new(500, b"bad: s3cret-password") };
    assert!(doubt(ask(Operation::Provision, &response)).message.ends_with(": bad: <redacted>"));
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
            if let Kind::Unknown(doubt) = answer(operation, status, body) {
                assert!(!doubt.message.contains("hunter2"), "{operation:?} {status} {}", doubt.message);
            }
        }
    }
    for operation in [Operation::Bind, Operation::GetBinding] {
        assert!(!doubt(answer(operation, 500, b"{\"credentials\": hunter2")).message.contains("hunter2"));
    }
}

#[test]
fn a_dashboard_url_that_nobody_can_open_is_as_if_absent() {
    for (url, is_kept) in [
        ("d".repeat(8192), true),
        ("d".repeat(8193), false),
        ("é".repeat(4097), false),
        ("https://d\n".to_owned(), false),
        ("https://d\u{1b}[2J".to_owned(), false),
        ("https://\u{9b}d".to_owned(), false),
    ] {
        let body = serde_json::json!({ "dashboard_url": url }).to_string();
        let dashboard_url = is_kept.then_some(url);
        let response = |status| Response::new(status, body.as_bytes());
        for outcome in [provision(&response(201)), update(&response(200))] {
            assert_eq!(answered(outcome), Provisioned::Done { dashboard_url: dashboard_url.clone() });
        }
        assert_eq!(answered(get_instance(&response(200))).dashboard_url, dashboard_url);
    }
}

#[test]
fn a_body_of_too_many_values_is_malformed_and_no_tree_is_made_of_it() {
    let body = |values: usize| format!("{{\"x\":[{}0]}}", "0,".repeat(values - 3));
    assert!(matches!(provision(&Response::new(201, body(100_000).as_bytes())), Outcome::Answered(_)));
    let doubt = doubt(kind(provision(&Response::new(201, body(100_001).as_bytes()))));
    assert!(doubt.message.contains("more than 100,000 values"), "{}", doubt.message);
}

#[test]
fn operation_and_dashboard_url_are_texts_or_nothing() {
    type Texts = (Option<&'static str>, Option<&'static str>);
    let rows: [(&str, Option<Texts>); 7] = [
        ("{}", Some((None, None))),
        (r#"{"operation":null,"dashboard_url":null}"#, Some((None, None))),
        (r#"{"operation":"","dashboard_url":""}"#, Some((None, None))),
        (
            r#"{"operation":" a&b ","dashboard_url":"http://d","metadata":[]}"#,
            Some((Some(" a&b "), Some("http://d"))),
        ),
        (r#"{"operation":5}"#, None),
        (r#"{"operation":{"a":1}}"#, None),
        (r#"{"dashboard_url":{}}"#, None),
    ];
    for (body, expected) in rows {
        let response = Response::new(202, body.as_bytes());
        for outcome in [provision(&response), update(&response)] {
            match expected {
                Some((operation, dashboard_url)) => {
                    let accepted = Provisioned::Accepted {
                        operation: operation.map(str::to_owned),
                        dashboard_url: dashboard_url.map(str::to_owned),
                    };
                    assert_eq!(answered(outcome), accepted, "{body}");
                }
                None => {
                    doubt(kind(outcome));
                }
            }
        }
    }
    let long = "o".repeat(10_000);
    let body = serde_json::json!({ "operation": long }).to_string();
    let accepted = answered(unbind(&Response::new(202, body.as_bytes())));
    assert_eq!(accepted, Deleted::Accepted { operation: Some(long) });
}

#[test]
fn deletes_are_done_with_200_and_410_whatever_the_body() {
    for status in [200, 410] {
        for body in MALFORMED {
            let response = Response::new(status, body);
            assert_eq!(answered(deprovision(&response)), Deleted::Done);
            assert_eq!(answered(unbind(&response)), Deleted::Done);
        }
    }
}

#[test]
fn states_are_exactly_those_of_the_spec() {
    for operation in POLLING {
        for (state, expected) in [
            ("in progress", OperationState::InProgress),
            ("succeeded", OperationState::Succeeded),
            ("failed", OperationState::Failed),
        ] {
            let body = serde_json::json!({ "state": state, "description": 5, "x": {} }).to_string();
            let polled = answered(poll(operation, &Response::new(200, body.as_bytes())));
            assert_eq!((polled.state, polled.description), (expected, None));
        }
        for body in [
            r#"{"state":"Succeeded"}"#,
            r#"{"state":"in_progress"}"#,
            r#"{"state":"done"}"#,
            r#"{"state":""}"#,
            r#"{"state":null}"#,
            r#"{"state":1}"#,
            "{}",
        ] {
            assert!(!doubt(answer(operation, 200, body.as_bytes())).mitigate, "{body}");
        }
        for body in ["", "{}", "<html>", r#"{"state":"succeeded"}"#] {
            let polled = answered(poll(operation, &Response::new(410, body.as_bytes())));
            assert_eq!(polled.state, OperationState::Gone);
        }
    }
}

#[test]
fn credentials_are_an_object_or_absent() {
    let credentials = |outcome| match outcome {
        Outcome::Answered(Bound::Done(BindingAnswer { credentials, .. })) => {
            credentials.map(|credentials| serde_json::to_string(credentials.expose()).unwrap())
        }
        _ => panic!("not done"),
    };
    for status in [200, 201] {
        let done = |body: &str| credentials(bind(&Response::new(status, body.as_bytes()), false));
        assert_eq!(done("{}"), None);
        assert_eq!(done(r#"{"credentials":null}"#), None);
        assert_eq!(done(r#"{"credentials":{}}"#).as_deref(), Some("{}"));
        let nested = r#"{"uri":"x","ports":[1,2.5,null],"tls":{"ca":true}}"#;
        assert_eq!(done(&format!(r#"{{"endpoints":5,"credentials":{nested}}}"#)).as_deref(), Some(nested));
        for body in [r#"{"credentials":"x"}"#, r#"{"credentials":[]}"#, r#"{"credentials":true}"#] {
            assert_eq!(doubt(answer(Operation::Bind, status, body.as_bytes())).mitigate, status == 201);
        }
    }
    doubt(answer(Operation::GetBinding, 200, br#"{"credentials":[]}"#));
}

#[test]
fn an_asynchronous_bind_has_no_credentials_and_must_have_been_asked_for() {
    let response = Response::new(202, br#"{"operation":"o","credentials":"ignored"}"#);
    let Bound::Accepted { operation } = answered(bind(&response, true)) else { panic!("done") };
    assert_eq!(operation.as_deref(), Some("o"));
    assert!(doubt(kind(bind(&response, false))).mitigate);
}

#[test]
fn deep_nesting_is_malformed_and_not_a_crash() {
    let body = format!("{{\"credentials\":{}", "[".repeat(100_000));
    assert!(doubt(answer(Operation::Bind, 201, body.as_bytes())).mitigate);
}
