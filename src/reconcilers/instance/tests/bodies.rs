//! What is sent.

#![allow(clippy::large_stack_arrays, reason = "a table of a few fixtures")]

use super::*;

fn body(fixture: Fixture) -> Value {
    match fixture.asking().1 {
        Call::Request(_, InstanceRequest::Provision(body)) => serde_json::to_value(body).unwrap(),
        Call::Request(_, InstanceRequest::Update(body)) => serde_json::to_value(body).unwrap(),
        other => panic!("{} has no body", name(&other)),
    }
}

fn context() -> Value {
    json!({"platform": "kubernetes", "namespace": "ns", "clusterid": "cluster-id", "instance_name": "name"})
}

fn previous() -> Value {
    json!({"service_id": "service-id", "plan_id": "small-id"})
}

// OSB 86, 87, 154
// v0.3 H2
#[test]
fn a_provision_says_what_and_for_whom() {
    let expected = json!({
        "service_id": "service-id", "plan_id": "small-id", "organization_guid": "cluster-id",
        "space_guid": "namespace-uid", "context": context(), "parameters": {"size": 1},
    });
    assert_eq!(body(Fixture::new()), expected);
    let without = body(Fixture::new().with_parameters(&json!({})));
    assert_eq!(without.get("parameters"), None);
}

// OSB 101, 103, 104, 107
// v0.3 D9, H5, Q27
#[test]
fn an_update_says_only_what_differs() {
    let settled = || Fixture::new().settled();
    let head = |rest: Value| {
        let mut expected =
            json!({"service_id": "service-id", "context": context(), "previous_values": previous()});
        expected.as_object_mut().unwrap().extend(rest.as_object().cloned().unwrap());
        expected
    };
    let rows = [
        ("parameters", settled().with_parameters(&json!({"size": 2})), json!({"parameters": {"size": 2}})),
        ("no parameters any more", settled().with_parameters(&json!({})), json!({"parameters": {}})),
        ("plan", settled().with_plan("big-id"), json!({"plan_id": "big-id"})),
        (
            "everything, when only asked again",
            settled().with_update_request(),
            json!({"plan_id": "small-id", "parameters": {"size": 1}}),
        ),
        (
            "everything, after an update that was not answered",
            settled()
                .with_plan("big-id")
                .answered(Outcome::Provisioned(doubt(None, false, false)))
                .offered(|offering| offering.plan_id = "small-id".into())
                .with_parameters(&json!({"size": 1})),
            json!({"plan_id": "small-id", "parameters": {"size": 1}}),
        ),
        (
            "no plan where plans cannot be changed",
            settled()
                .offered(|offering| offering.plan_updatable = false)
                .with_parameters(&json!({"size": 2}))
                .answered(Outcome::Provisioned(doubt(None, false, false))),
            json!({"parameters": {"size": 2}}),
        ),
    ];
    for (name, fixture, rest) in rows {
        assert_eq!(body(fixture), head(rest), "{name}");
    }
}

// OSB 56, 65, 143
// v0.3 H20
#[test]
fn delete_and_polls_name_the_plan_that_the_broker_has() {
    let target = |fixture: Fixture| match fixture.asking().1 {
        Call::Delete(_, target, _) | Call::Poll(_, target, _) => (target.service_id, target.plan_id),
        other @ Call::Request(..) => panic!("{} names no plan", name(&other)),
    };
    let pair = |plan: &str| (osb::ServiceId::from("service-id"), osb::PlanId::from(plan));
    let updating = Fixture::new().settled().with_plan("big-id").answered(accepted());
    assert_eq!(target(updating), pair("small-id"));
    let updated = Fixture::new().settled().with_plan("big-id").answered(done());
    assert_eq!(target(updated.unresolved().deleted()), pair("big-id"));
    let refused_update = Fixture::new()
        .settled()
        .with_plan("big-id")
        .answered(Outcome::Provisioned(refused(400, RefusalReason::BadRequest)));
    assert_eq!(target(refused_update.deleted()), pair("small-id"));
    let mitigating = Fixture::new().answered(Outcome::Provisioned(doubt(Some(500), true, true)));
    assert_eq!(target(mitigating.with_plan("big-id")), pair("small-id"));
}
