//! Parameters that the schema of the plan does not allow: when they are checked, and when a request is sent all the same.

use super::*;
use crate::{
    crd::{ConditionType, condition},
    json::RawObject,
};

/// A schema for a size of at most this.
fn at_most(size: u8) -> Option<RawObject> {
    json!({"properties": {"size": {"maximum": size}}}).as_object().cloned().map(Into::into)
}

fn with_schemas(fixture: Fixture, provision: Option<RawObject>, update: Option<RawObject>) -> Fixture {
    fixture.offered(|offering| offering.schemas = ParameterSchemas { provision, update, bind: at_most(0) })
}

/// The schemas of the plan allow no size that the instance has.
fn strict(fixture: Fixture) -> Fixture {
    with_schemas(fixture, at_most(0), at_most(0))
}

fn said(fixture: &Fixture) -> String {
    let conditions = fixture.status().conditions;
    let ready = condition::find(&conditions, ConditionType::Ready).unwrap();
    format!("{}: {}", ready.reason, ready.message)
}

/// What the operator does, until it waits.
fn waiting(mut fixture: Fixture) -> Fixture {
    for _ in 0..4 {
        match fixture.plan() {
            Step::Claim(patch) => fixture = fixture.patched(&patch),
            Step::Record(status) => fixture = fixture.with_status(&status),
            step => {
                assert_eq!(shown(&step, &fixture), "wait for a change");
                return fixture;
            }
        }
    }
    panic!("it does not wait: {}", shown(&fixture.plan(), &fixture))
}

fn request(fixture: Fixture) -> (&'static str, Value) {
    let call = fixture.asking().1;
    let body = match &call {
        Call::Request(_, InstanceRequest::Provision(body)) => serde_json::to_value(body).unwrap(),
        Call::Request(_, InstanceRequest::Update(body)) => serde_json::to_value(body).unwrap(),
        _ => Value::Null,
    };
    (name(&call), body["parameters"].clone())
}

#[test]
fn a_provision_waits_until_its_parameters_follow_the_schema() {
    let new = waiting(with_schemas(Fixture::new(), at_most(0), None));
    let words =
        "ErrorWithParameters: spec.parameters.size: must be at most 0 (maximum); correct the parameters";
    assert!(said(&new).starts_with(words), "{}", said(&new));
    assert!(said(&new).contains("the plan \"small\"") && said(&new).contains(parameters::schema::ANNOTATION));
    assert!(!new.may_exist(), "no intent is announced");
    assert_eq!(request(new.clone().with_parameters(&json!({"size": 0}))), ("PUT", json!({"size": 0})));
    assert_eq!(request(with_schemas(new.clone(), at_most(1), None)), ("PUT", json!({"size": 1})));
    assert_eq!(request(with_schemas(new, None, None)), ("PUT", json!({"size": 1})));
}

#[test]
fn only_the_schema_for_the_request_counts() {
    assert_eq!(request(with_schemas(Fixture::new(), at_most(1), at_most(0))).0, "PUT");
    assert_eq!(request(with_schemas(Fixture::new().changing(), at_most(0), at_most(2))).0, "PATCH");
    assert_eq!(request(with_schemas(Fixture::new().changing(), at_most(0), None)).0, "PATCH");
}

#[test]
fn a_schema_that_cannot_be_used_is_not_enforced() {
    let remote = json!({"$ref": "http://example.com/", "type": "null"}).as_object().cloned().map(Into::into);
    assert_eq!(request(with_schemas(Fixture::new(), remote, None)).0, "PUT");
}

#[test]
fn a_provision_that_may_be_under_way_is_repeated_as_it_was() {
    let no_answer = Outcome::Provisioned(doubt(None, false, true));
    for asked in [Fixture::new().intending(), Fixture::new().answered(no_answer)] {
        assert_eq!(request(strict(asked.clone())), ("PUT", json!({"size": 1})));
        // What is asked for anew is another matter, but what was sent comes first.
        let changed = strict(asked.with_parameters(&json!({"size": 2})));
        assert_eq!(request(changed).0, "DELETE to mitigate");
    }
}

#[test]
fn an_update_waits_until_its_parameters_follow_the_schema() {
    let changing = waiting(strict(Fixture::new().changing()));
    assert!(
        said(&changing).starts_with("ErrorWithParameters: spec.parameters.size: must be"),
        "{}",
        said(&changing)
    );
    assert_eq!(request(with_schemas(changing.clone(), None, at_most(2))), ("PATCH", json!({"size": 2})));
    // The instance is ready again without a request.
    let reverted = waiting(changing.with_parameters(&json!({"size": 1})));
    assert!(conditions(&reverted.status()).contains("Ready=True"), "{}", conditions(&reverted.status()));
}

#[test]
fn parameters_that_an_update_does_not_send_are_not_checked() {
    let moving = strict(Fixture::new().settled().with_plan("big-id"));
    assert_eq!(request(moving), ("PATCH", Value::Null));
    // The broker has accepted them.
    assert_eq!(
        request(strict(Fixture::new().settled().with_update_request())),
        ("PATCH", json!({"size": 1}))
    );
}

#[test]
fn an_update_that_may_be_under_way_is_repeated_as_it_was() {
    let no_answer = Outcome::Provisioned(doubt(None, false, true));
    for asked in [Fixture::new().changing().intending(), Fixture::new().changing().answered(no_answer)] {
        assert_eq!(request(strict(asked.clone())), ("PATCH", json!({"size": 2})));
        let wrong = waiting(strict(asked.with_parameters(&json!({"size": 3}))));
        assert!(said(&wrong).starts_with("ErrorWithParameters"), "{}", said(&wrong));
        assert_eq!(
            request(strict(wrong.with_parameters(&json!({"size": 0})))),
            ("PATCH", json!({"size": 0}))
        );
    }
}

#[test]
fn polls_and_deletions_go_on_whatever_the_schema_says() {
    assert_eq!(request(strict(Fixture::new().answered(accepted()))).0, "GET last_operation");
    assert_eq!(request(strict(Fixture::new().unanswered())).0, "DELETE to mitigate");
    for left in [Fixture::new().settled(), Fixture::new().changing()] {
        assert_eq!(request(waiting(strict(left)).deleted()).0, "DELETE");
    }
}
