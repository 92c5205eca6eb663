//! `plan`: every phase in every situation.

use std::fmt::Write as _;

use super::*;

type Change = fn(Fixture) -> Fixture;

/// Every phase, as the machine gets there.
pub(super) fn phases() -> Vec<(&'static str, Fixture)> {
    use RefusalReason::{BadRequest, Throttled};
    let new = Fixture::new;
    let put = |outcome| new().answered(Outcome::Provisioned(outcome));
    let patch = |outcome| new().changing().answered(Outcome::Provisioned(outcome));
    let accepted_delete = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    vec![
        ("new", new()),
        ("intending to provision", new().intending()),
        ("refused for now", put(refused(429, Throttled))),
        ("refused for now, unanswered before", {
            put(doubt(Some(200), true, false)).answered(Outcome::Provisioned(refused(429, Throttled)))
        }),
        ("provisioning", new().answered(accepted())),
        ("no answer, to be repeated", put(doubt(None, false, true))),
        ("mitigating, unanswered", new().unanswered()),
        ("mitigating, answered", put(doubt(Some(500), true, true))),
        ("mitigating, DELETE in flight", put(doubt(Some(500), true, true)).intending()),
        ("mitigating asynchronously", put(doubt(Some(500), true, true)).answered(accepted_delete())),
        ("mitigated", {
            put(doubt(Some(500), true, true))
                .answered(Outcome::Deleted(osb::Outcome::Answered(Deleted::Done)))
        }),
        ("refused for good", put(refused(400, BadRequest))),
        ("settled", new().settled()),
        ("intending to update", new().changing().intending()),
        ("update refused for now", patch(refused(429, Throttled))),
        ("update unanswered", patch(doubt(None, false, false))),
        ("updating", new().changing().answered(accepted())),
        ("update refused for good", patch(refused(400, BadRequest))),
    ]
}

fn situations() -> Vec<(&'static str, Change)> {
    vec![
        ("nothing else", |f| f),
        ("after an hour", |f| f.after(3600)),
        ("parameters changed", |f| f.with_parameters(&json!({"size": 3}))),
        ("parameters changed back", |f| f.with_parameters(&json!({"size": 1}))),
        ("updateRequests increased", Fixture::with_update_request),
        ("parameters changed, class missing", |f| f.with_parameters(&json!({"size": 3})).unresolved()),
        ("parameters changed, parameters unreadable", |f| {
            f.with_parameters(&json!({"size": 3})).with_bad_parameters()
        }),
        ("parameters changed, namespace unknown", |f| {
            f.with_parameters(&json!({"size": 3})).without_namespace()
        }),
        ("parameters changed, plan removed", |f| {
            f.with_parameters(&json!({"size": 3})).offered(|o| o.removed = Some(Removed::Plan))
        }),
        ("plan changed, class removed", |f| {
            f.with_plan("big-id").offered(|o| o.removed = Some(Removed::Class))
        }),
        ("plan changed, not updatable", |f| f.with_plan("big-id").offered(|o| o.plan_updatable = false)),
        ("parameters changed, broker leaving", |f| {
            f.with_parameters(&json!({"size": 3})).offered(|o| o.broker_state = BrokerState::BeingDeleted)
        }),
        ("parameters changed, broker missing", |f| f.with_parameters(&json!({"size": 3})).without_broker()),
        ("abandoned", Fixture::without_finalizer),
        ("deleted", Fixture::deleted),
        ("deleted, after an hour", |f| f.deleted().after(3600)),
        ("deleted, with a binding", |f| f.deleted().with_binding("b").after(3600)),
        ("deleted, class missing", |f| f.deleted().unresolved().after(3600)),
        ("deleted, broker missing", |f| f.deleted().without_broker().after(3600)),
        ("deleted, abandoned", |f| f.deleted().without_finalizer()),
    ]
}

// OSB 75, 86, 94
// v0.3 G9, Q16
#[test]
fn every_phase_in_every_situation() {
    let mut table = String::new();
    for (phase, fixture) in phases() {
        let mut next: Vec<(String, Vec<&str>)> = vec![];
        for (situation, change) in situations() {
            let changed = change(fixture.clone());
            gather(&mut next, shown(&changed.plan(), &changed), situation);
        }
        for (step, situations) in next {
            let _ = writeln!(table, "{phase} | {} | {step}", situations.join("; "));
        }
    }
    assert_table(&table, include_str!("plan.txt"));
}

#[test]
fn a_finding_is_recorded_once_and_then_waited_on() {
    for (phase, fixture) in phases() {
        for (situation, change) in situations() {
            let changed = change(fixture.clone());
            let mut present = changed.claimed();
            for _ in 0..2 {
                let Step::Record(status) = present.plan() else { break };
                let before = serde_json::to_value(&present.object.status).unwrap();
                let after = serde_json::to_value(&status).unwrap();
                assert_ne!(before, after, "{phase}, {situation}");
                present = present.with_status(&status);
            }
            assert!(!matches!(present.plan(), Step::Record(_)), "{phase}, {situation}: keeps recording");
        }
    }
}
