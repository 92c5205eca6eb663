//! Secrets are read only when nothing else decides, and not again and again.

use super::*;

type Change = fn(Fixture) -> Fixture;

fn reads(fixture: &Fixture) -> bool {
    matches!(fixture.clone().claimed().plan(), Step::Read)
}

#[test]
fn an_instance_that_can_be_ordered_reads_its_secrets() {
    assert!(reads(&Fixture::new().unread()));
    assert!(reads(&Fixture::new().settled().with_parameters(&json!({"size": 3})).unread()));
}

#[test]
fn an_instance_that_cannot_be_ordered_reads_nothing() {
    let rows: [(&str, Change); 9] = [
        ("no class", Fixture::unresolved),
        ("no broker", Fixture::without_broker),
        ("no namespace", Fixture::without_namespace),
        ("the broker leaves", |f| f.offered(|o| o.broker_state = BrokerState::BeingDeleted)),
        ("the plan is gone", |f| f.offered(|o| o.removed = Some(Removed::Plan))),
        ("credentials of the broker", |mut f| {
            f.precondition_error = Some("no Secret".to_owned());
            f
        }),
        ("an id of another", |mut f| {
            f.object.spec.external_id = "mine".to_owned();
            f.taken_id = Some(TakenId { id: "mine".into(), by: None });
            f
        }),
        ("a version that is not offered", |mut f| {
            f.object.spec.maintenance_version = "9.9.9".to_owned();
            f
        }),
        ("deleted, and never ordered", Fixture::deleted),
    ];
    for (what, change) in rows {
        let fixture = change(Fixture::new()).unread();
        assert!(!matches!(fixture.plan(), Step::Read), "{what}");
        assert!(!reads(&fixture), "{what}");
    }
}

#[test]
fn an_instance_at_rest_reads_nothing() {
    assert!(!reads(&Fixture::new().settled().unread()));
}

#[test]
fn secrets_are_read_when_the_next_request_is_due_and_not_before() {
    let refused = Fixture::new().answered(Outcome::Provisioned(refused(429, RefusalReason::Throttled)));
    let provisioning = Fixture::new().answered(accepted());
    for waiting in [refused, provisioning] {
        let waiting = waiting.unread();
        assert!(!reads(&waiting));
        assert!(reads(&waiting.after(3600)));
    }
}

#[test]
fn a_deletion_reads_secrets_only_for_a_request() {
    // The answer may repeat their values.
    let deleted = Fixture::new().settled().unread().deleted();
    assert!(reads(&deleted));
    assert!(!reads(&deleted.with_binding("b")));
}

#[test]
fn secrets_that_were_wrong_a_moment_ago_are_not_read_again() {
    let mut fixture = Fixture::new().unread();
    let generation = fixture.object.metadata.generation.unwrap();
    fixture.memory.unreadable = Some((generation, fixture.now));
    let Step::Wait(Wait::Until(at)) = fixture.clone().claimed().plan() else { panic!("it does not wait") };
    let interval = fixture.settings.recheck_interval;
    assert_eq!(at, fixture.now.checked_add(interval).unwrap());
    assert!(reads(&fixture.clone().after(interval.as_secs())));
    assert!(reads(&fixture.clone().with_parameters(&json!({"size": 3}))), "another spec may name others");
    // A request that is due anyway does without: then the message has nothing of the broker's text.
    let mut deleted = Fixture::new().settled().unread().deleted();
    deleted.memory.unreadable = Some((deleted.object.metadata.generation.unwrap(), deleted.now));
    let step = deleted.clone().claimed().plan();
    assert!(matches!(step, Step::Call { .. }), "{}", shown(&step, &deleted));
}
