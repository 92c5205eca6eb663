//! `defaultProvisionParameters`: who has the last word, and for how long.

use super::*;

fn object(value: &Value) -> Option<crate::json::RawObject> {
    value.as_object().cloned().map(Into::into)
}

/// An instance of a class and plan with defaults, where they are applied.
fn fixture() -> Fixture {
    let (class, plan) =
        (json!({"size": 3, "backup": {"every": "day"}}), json!({"size": 9, "backup": {"keep": 7}}));
    let mut fixture =
        Fixture::new().offered(|offering| offering.default_parameters = [object(&class), object(&plan)]);
    fixture.settings.service_plan_defaults = true;
    fixture
}

fn sent(fixture: Fixture) -> (Fixture, Value) {
    let (asked, call) = fixture.asking();
    let body = match &call {
        Call::Request(_, InstanceRequest::Provision(body)) => serde_json::to_value(body).unwrap(),
        Call::Request(_, InstanceRequest::Update(body)) => serde_json::to_value(body).unwrap(),
        other => panic!("{} has no body", name(other)),
    };
    (asked, body["parameters"].clone())
}

// v0.3 L2
#[test]
fn defaults_stand_below_what_the_spec_says_and_are_recorded() {
    let (asked, parameters) = sent(fixture().with_parameters(&json!({"size": 1, "backup": {"keep": 30}})));
    assert_eq!(parameters, json!({"size": 1, "backup": {"every": "day", "keep": 30}}));
    let status = asked.status();
    let recorded = object(&json!({"size": 9, "backup": {"every": "day", "keep": 7}}));
    assert_eq!(status.default_provision_parameters, recorded);
    assert_eq!(status.in_progress_properties.unwrap().parameters, object(&parameters));
    let spec = json!({"size": 1, "backup": {"keep": 30}});
    assert_eq!(asked.object.spec.parameters, object(&spec), "the spec is the user's");
}

#[test]
fn without_the_setting_there_are_no_defaults() {
    let mut off = fixture();
    off.settings.service_plan_defaults = false;
    let (asked, parameters) = sent(off);
    assert_eq!((parameters, asked.status().default_provision_parameters), (json!({"size": 1}), None));
}

#[test]
fn an_instance_keeps_the_defaults_that_it_was_ordered_with() {
    let mut ready = fixture().settled();
    ready.settings.service_plan_defaults = false;
    let ready = ready
        .offered(|offering| offering.default_parameters = [None, object(&json!({"size": 77, "new": 1}))]);
    assert_eq!(shown(&ready.plan(), &ready), "wait for a change");
    let (asked, parameters) = sent(ready.with_parameters(&json!({"backup": {"keep": 1}})));
    assert_eq!(parameters, json!({"size": 9, "backup": {"every": "day", "keep": 1}}));
    let kept = asked.answered(done()).status().default_provision_parameters;
    assert_eq!(kept, object(&json!({"size": 9, "backup": {"every": "day", "keep": 7}})));
}

#[test]
fn an_instance_that_was_ordered_without_defaults_never_gets_any() {
    let mut plain = fixture();
    plain.settings.service_plan_defaults = false;
    let mut ready = plain.settled();
    ready.settings.service_plan_defaults = true;
    assert_eq!(shown(&ready.plan(), &ready), "wait for a change");
    assert_eq!(sent(ready.with_parameters(&json!({"size": 2}))).1, json!({"size": 2}));
}

#[test]
fn a_request_that_is_repeated_says_the_defaults_of_the_first() {
    let changed =
        fixture().intending().offered(|offering| offering.default_parameters = [None, None]).after(60);
    let (_, parameters) = sent(changed);
    assert_eq!(parameters, json!({"size": 1, "backup": {"every": "day", "keep": 7}}));
}

#[test]
fn another_attempt_after_a_refusal_has_the_defaults_of_its_own_plan() {
    let refused = fixture().answered(Outcome::Provisioned(refused(400, RefusalReason::BadRequest)));
    let other = refused.with_plan("big-id");
    let other = other.offered(|offering| offering.default_parameters = [object(&json!({"big": true})), None]);
    let (asked, parameters) = sent(other);
    assert_eq!(parameters, json!({"size": 1, "big": true}));
    assert_eq!(asked.status().default_provision_parameters, object(&json!({"big": true})));
}

// v0.3 L2, O16
#[test]
fn defaults_that_the_original_wrote_into_the_spec_are_not_added_again() {
    let ready = fixture().settled();
    let mut status = ready.status();
    // As the original leaves it: the spec holds the defaults, and nothing says what was resolved.
    status.resolved = None;
    let mut left = ready.with_status(&status).with_parameters(&json!({"size": 1}));
    let (asked, parameters) = sent(left.clone());
    assert_eq!((parameters, asked.status().default_provision_parameters), (json!({"size": 1}), None));
    // The same once it goes on record what the original had resolved.
    left.legacy = Some(offering().to_record());
    let Step::Record(taken) = left.plan() else { panic!("it goes on record") };
    let left = left.with_status(&taken);
    let (asked, parameters) = sent(left);
    assert_eq!((parameters, asked.status().default_provision_parameters), (json!({"size": 1}), None));
}
