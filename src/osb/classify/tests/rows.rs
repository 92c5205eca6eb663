//! Every row of the spec's "Orphan Mitigation" table, for every operation.

use super::*;

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
                // A DELETE needs no body. The body of the catalog has tests of its own.
                assert_eq!(kind, Kind::Answered, "{operation:?}");
            } else {
                let unknown = unknown(kind);
                assert!(!unknown.mitigate && unknown.answered, "{operation:?} {unknown:?}");
            }
        }
    }
}

// OSB 73
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
            // For DELETE and PATCH the text says "any other status: failure", which contradicts the table.
            // The operator repeats the request, and starts no mitigation.
            let unknown = unknown(kind);
            assert!(!unknown.mitigate && unknown.answered, "{operation:?}");
        }
    }
}

#[test]
fn rows_201_and_202_malformed_are_mitigated() {
    for operation in CREATING {
        for status in [201, 202] {
            for body in MALFORMED {
                let unknown = unknown(answer(operation, status, body));
                assert!(unknown.mitigate && unknown.answered, "{operation:?} {status} {body:?}");
                assert_eq!(unknown.status, Some(status));
            }
        }
    }
    for operation in [Operation::Update, Operation::Deprovision, Operation::Unbind] {
        for body in MALFORMED {
            let unknown = unknown(answer(operation, 202, body));
            assert!(!unknown.mitigate && unknown.answered, "{operation:?} {body:?}");
        }
    }
}

#[test]
fn row_202_is_success_of_everything_asynchronous() {
    for operation in ALL {
        let kind = answer(operation, 202, valid_body(operation));
        if operation.method() == "GET" {
            assert!(!unknown(kind).mitigate, "{operation:?}");
        } else {
            assert_eq!(kind, Kind::Answered, "{operation:?}");
        }
    }
}

#[test]
fn row_any_other_2xx_is_mitigated_for_creations() {
    for operation in ALL {
        for status in [101, 203, 204, 205, 206, 207, 226, 299, 600, 700, 999] {
            let unknown = unknown(answer(operation, status, valid_body(operation)));
            assert_eq!(unknown.mitigate, CREATING.contains(&operation), "{operation:?} {status}");
            assert!(unknown.answered);
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
            let unknown = unknown(answer(operation, status, b"{}"));
            assert_eq!(unknown.mitigate, CREATING.contains(&operation), "{operation:?} {status}");
            assert_eq!(unknown.answered, !matches!(status, 502 | 504), "{status}");
        }
    }
}

#[test]
fn row_timeout_is_mitigated_for_creations() {
    for operation in ALL {
        for fault in [TransportFault::TimedOut(Duration::from_secs(60)), TransportFault::Lost("reset".into())]
        {
            let unknown = unknown(kind(transport::<()>(operation, fault)));
            assert_eq!(unknown.mitigate, CREATING.contains(&operation), "{operation:?}");
            assert!(!unknown.answered && unknown.status.is_none());
        }
    }
}

#[test]
fn a_request_that_was_not_sent_is_never_mitigated() {
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
            assert!(refusal.message.to_string().contains("spec.url"), "{}", refusal.message);
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
                let unknown = unknown(ask(operation, &broken(status, fault)));
                assert!(unknown.mitigate, "{operation:?} {status} {fault:?}");
                assert_eq!(unknown.answered, fault == BodyFault::TooLong);
            }
            // A malformed 200 needs no mitigation. A 200 whose body did not arrive in time needs it.
            assert_eq!(unknown(ask(operation, &broken(200, fault))).mitigate, !in_time, "{fault:?}");
            assert_eq!(refusal(ask(operation, &broken(400, fault))).reason, RefusalReason::BadRequest);
            assert!(unknown(ask(operation, &broken(500, fault))).mitigate);
        }
        for operation in DELETING {
            for status in [200, 410] {
                assert_eq!(ask(operation, &broken(status, fault)), Kind::Answered);
            }
            assert!(!unknown(ask(operation, &broken(202, fault))).mitigate);
        }
        for operation in
            [Operation::Catalog, Operation::GetBinding, Operation::PollInstance, Operation::Update]
        {
            assert!(!unknown(ask(operation, &broken(200, fault))).mitigate);
        }
        assert_eq!(ask(Operation::PollBinding, &broken(410, fault)), Kind::Answered);
    }
}

#[test]
fn a_304_is_an_answer_only_to_a_conditional_request() {
    let response = Response::new(304, b"");
    assert_eq!(answered(catalog(&response, Some("kept"))), CatalogAnswer::Unchanged("kept"));
    let message = refusal(kind(catalog(&response, None::<()>))).message.to_string();
    let expected = "the broker answered 304 Not Modified (but the request was not conditional)";
    assert_eq!(message, expected);
    assert_eq!(answered(catalog(&Response::new(200, b"{}"), Some("kept"))), CatalogAnswer::Body(b"{}"));
    for status in [204, 301, 305, 404, 412, 500] {
        assert!(kind(catalog(&Response::new(status, b"{}"), Some("kept"))) != Kind::Answered, "{status}");
    }
}
