//! What the operator reads from the bodies of successes, and which bodies are malformed.

use super::*;

// OSB 114, 115
#[test]
fn of_an_instance_only_what_is_used_is_read() {
    let body = br#"{"metadata":{"labels":{"a/b":"\u0000","x":7},"attributes":"no object"},"service_id":[],
        "plan_id":"p","parameters":"withheld","maintenance_info":{"version":"1.0.0","description":7}}"#;
    let Outcome::Answered(found) = get_instance(&Response::new(200, body)) else { panic!("a success") };
    let expected = InstanceAnswer {
        dashboard_url: None,
        plan_id: Some("p".into()),
        maintenance_version: Some("1.0.0".to_owned()),
    };
    assert_eq!(found, expected);
    let created = provision(&Response::new(201, body));
    assert!(matches!(created, Outcome::Answered(Provisioned::Done { dashboard_url: None })));
}

// OSB 124, 125
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

// OSB 93
#[test]
fn a_dashboard_url_that_is_no_page_of_the_web_is_left_out() {
    let (long, page) = ("it is longer than 8 KiB", "it is not an http or https URL");
    let (odd, user) =
        ("it has blanks, control characters or invisible ones", "it has a user name or a password");
    for (url, why) in [
        (format!("https://{}", "d".repeat(8184)), None),
        (format!("https://{}", "d".repeat(8185)), Some(long)),
        (format!("https://{}", "é".repeat(4093)), Some(long)),
        ("HTTP://d.example:8080/a?b=c#d".to_owned(), None),
        ("https://d\n".to_owned(), Some(odd)),
        (" https://d".to_owned(), Some(odd)),
        ("https://d/a b".to_owned(), Some(odd)),
        ("https://d\u{1b}[2J".to_owned(), Some(odd)),
        ("https://\u{9b}d".to_owned(), Some(odd)),
        ("https://bank.example\u{202e}moc.live".to_owned(), Some(odd)),
        ("javascript:alert(1)".to_owned(), Some(page)),
        ("java\nscript:alert(1)".to_owned(), Some(odd)),
        ("data:text/html,x".to_owned(), Some(page)),
        ("file:///etc/passwd".to_owned(), Some(page)),
        ("//d.example".to_owned(), Some(page)),
        ("d.example".to_owned(), Some(page)),
        ("https://".to_owned(), Some(page)),
        ("https://bank.example@evil.example/".to_owned(), Some(user)),
        ("https://u:p@d.example/".to_owned(), Some(user)),
    ] {
        let body = serde_json::json!({ "dashboard_url": url }).to_string();
        let dashboard_url = Some(why.map_or(Ok(url), Err));
        let response = |status| Response::new(status, body.as_bytes());
        for outcome in [provision(&response(201)), update(&response(200))] {
            assert_eq!(answered(outcome), Provisioned::Done { dashboard_url: dashboard_url.clone() });
        }
        assert_eq!(answered(get_instance(&response(200))).dashboard_url, dashboard_url);
    }
}

// OSB 25, 93, 100, 110
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
                        dashboard_url: dashboard_url.map(|url| Ok(url.to_owned())),
                    };
                    assert_eq!(answered(outcome), accepted, "{body}");
                }
                None => {
                    unknown(kind(outcome));
                }
            }
        }
    }
    let long = "o".repeat(10_000);
    let body = serde_json::json!({ "operation": long }).to_string();
    let accepted = answered(unbind(&Response::new(202, body.as_bytes())));
    assert_eq!(accepted, Deleted::Accepted { operation: Some(long) });
}

// OSB 141
// v0.3 P12, Q30
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

// OSB 67
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
            assert!(!unknown(answer(operation, 200, body.as_bytes())).mitigate, "{body}");
        }
        for body in ["", "{}", "<html>", r#"{"state":"succeeded"}"#] {
            let polled = answered(poll(operation, &Response::new(410, body.as_bytes())));
            assert_eq!(polled.state, OperationState::Gone);
        }
    }
}

// OSB 126
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
            assert_eq!(unknown(answer(Operation::Bind, status, body.as_bytes())).mitigate, status == 201);
        }
    }
    unknown(answer(Operation::GetBinding, 200, br#"{"credentials":[]}"#));
}

// OSB 58
#[test]
fn an_asynchronous_bind_has_no_credentials_and_must_have_been_asked_for() {
    let response = Response::new(202, br#"{"operation":"o","credentials":"ignored"}"#);
    let Bound::Accepted { operation } = answered(bind(&response, true)) else { panic!("done") };
    assert_eq!(operation.as_deref(), Some("o"));
    assert!(unknown(kind(bind(&response, false))).mitigate);
}

// OSB 25b
#[test]
fn a_body_of_too_many_values_is_malformed_and_no_tree_is_made_of_it() {
    let body = |values: usize| format!("{{\"x\":[{}0]}}", "0,".repeat(values - 3));
    assert!(matches!(provision(&Response::new(201, body(100_000).as_bytes())), Outcome::Answered(_)));
    let unknown = unknown(kind(provision(&Response::new(201, body(100_001).as_bytes()))));
    assert!(unknown.message.to_string().contains("more than 100,000 values"), "{}", unknown.message);
}

#[test]
fn deep_nesting_is_malformed_and_not_a_crash() {
    let body = format!("{{\"credentials\":{}", "[".repeat(100_000));
    assert!(unknown(answer(Operation::Bind, 201, body.as_bytes())).mitigate);
}
