//! The broker object of an instance was replaced by another one.

use super::*;

/// The record at the broker object that takes the place of the recorded one.
fn record() -> ResolvedOffering {
    ResolvedOffering { broker: "successor".into(), ..offering().to_record() }
}

fn next(fixture: &Fixture) -> String {
    shown(&fixture.plan(), fixture)
}

/// The broker of the next request.
fn asked(fixture: Fixture) -> (&'static str, String) {
    let (_, call) = fixture.asking();
    (name(&call), call.address().broker.name.clone())
}

#[test]
fn the_record_follows_once_and_requests_go_to_the_successor() {
    let phases = [
        (Fixture::new().answered(accepted()), "GET last_operation"),
        (Fixture::new().settled().deleted(), "DELETE"),
        (Fixture::new().answered(Outcome::Provisioned(doubt(Some(500), true, true))), "DELETE to mitigate"),
    ];
    for (mut fixture, request) in phases {
        assert_eq!(asked(fixture.clone()), (request, "broker".into()));
        fixture.replacement = Some(Ok(record()));
        let Step::Record(status) = fixture.plan() else { panic!("{}", next(&fixture)) };
        assert_eq!(status.resolved, Some(record()));
        assert_eq!(asked(fixture.with_status(&status)), (request, "successor".into()));
    }
    let mut settled = Fixture::new().settled();
    settled.replacement = Some(Ok(record()));
    let Step::Record(status) = settled.plan() else { panic!("{}", next(&settled)) };
    assert_eq!(status.conditions, settled.status().conditions);
    assert_eq!(next(&settled.with_status(&status)), "wait for a change");
}

#[test]
fn of_several_successors_none_is_taken_and_an_instance_with_work_to_do_says_so() {
    let ambiguous = |mut fixture: Fixture| {
        fixture.replacement = Some(Err("one, two".into()));
        fixture
    };
    assert_eq!(next(&ambiguous(Fixture::new().settled()).without_broker()), "wait for a change");
    let deleted = ambiguous(Fixture::new().settled().deleted());
    assert_eq!(next(&deleted), "DELETE", "the old broker object is still there");
    let deleted = deleted.without_broker();
    assert_eq!(next(&deleted), "say Ready=Unknown:ReferencesNonexistentBroker");
    let Step::Record(status) = deleted.plan() else { panic!("{}", next(&deleted)) };
    assert_eq!(next(&deleted.with_status(&status)), "wait for a change");
}
