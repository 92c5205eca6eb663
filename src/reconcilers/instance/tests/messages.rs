//! What a user reads of an instance, word by word: what happened, what the broker said, whose turn it is, and when.

use std::fmt::Write as _;

use super::*;
use crate::crd::{Condition, ConditionType, condition};

const WEEK_AND_A_DAY: i64 = 8 * 24 * 3600;

/// The status after a step that only says something.
fn saying(fixture: Fixture) -> Fixture {
    match fixture.plan() {
        Step::Claim(patch) => fixture.patched(&patch).claimed(),
        Step::Record(said) => fixture.with_status(&said),
        other => panic!("{}", shown(&other, &fixture)),
    }
}

pub(in crate::reconcilers) fn words(conditions: &[Condition]) -> String {
    let word = |it: &Condition| format!("  {:?}={:?}, {}: {}\n", it.type_, it.status, it.reason, it.message);
    tables::shown(conditions).map(word).collect()
}

fn put(outcome: osb::Outcome<Provisioned>) -> Outcome {
    Outcome::Provisioned(outcome)
}

fn bad() -> Outcome {
    put(refused(400, RefusalReason::BadRequest))
}

fn busy() -> Outcome {
    put(refused(429, RefusalReason::Throttled))
}

/// 500: something may be left.
fn broken() -> Outcome {
    put(doubt(Some(500), true, true))
}

fn unanswered() -> Outcome {
    put(doubt(None, false, false))
}

fn deleting(outcome: osb::Outcome<Deleted>) -> Outcome {
    Outcome::Deleted(outcome)
}

fn gone() -> Outcome {
    deleting(osb::Outcome::Answered(Deleted::Done))
}

fn later() -> Outcome {
    deleting(osb::Outcome::Answered(Deleted::Accepted { operation: None }))
}

fn poll(state: OperationState) -> Outcome {
    Outcome::Polled(polled(state))
}

fn ended() -> Outcome {
    Outcome::Polled(polled(OperationState::Succeeded))
}

fn lost() -> Outcome {
    Outcome::Polled(unsent())
}

/// The broker does not know the operation, or has an error of its own.
fn forgotten(status: u16) -> Outcome {
    Outcome::Polled(match status {
        410 => polled(OperationState::Gone),
        500.. => doubt(Some(status), true, false),
        400 => refused(400, RefusalReason::BadRequest),
        _ => refused(status, RefusalReason::Other),
    })
}

fn failing_again_and_again(mut leaving: Fixture) -> Fixture {
    for _ in 0..5 {
        leaving = leaving.answered(deleting(doubt(Some(500), true, false)));
    }
    leaving
}

fn lost_operations() -> Vec<(&'static str, Fixture)> {
    let busy = || Outcome::Polled(polled(OperationState::InProgress));
    let provisioning = || Fixture::new().answered(accepted());
    let updating = || Fixture::new().changing().answered(accepted());
    let leaving = |fixture: Fixture| saying(fixture.deleted());
    let mitigating = || Fixture::new().answered(broken()).answered(later());
    let blocked = || deleting(refused(422, RefusalReason::ConcurrencyError));
    let deprovisioning = || Fixture::new().settled().deleted().answered(later());
    vec![
        ("lost: provision, 410", provisioning().answered(forgotten(410))),
        ("lost: provision, 404", provisioning().answered(forgotten(404))),
        ("lost: provision, 400", provisioning().answered(forgotten(400))),
        ("lost: provision, 500", provisioning().answered(forgotten(500))),
        ("lost: provision, 503", provisioning().answered(forgotten(503))),
        ("lost: update, 404", updating().answered(forgotten(404))),
        ("lost: provision, deleted, 400", leaving(provisioning()).answered(forgotten(400))),
        ("endless: provision, deleted", leaving(provisioning())),
        ("endless: provision, deleted, polled", leaving(provisioning()).answered(busy())),
        (
            "endless: provision, deleted, not now",
            leaving(provisioning()).after(30).answered(busy()).answered(blocked()),
        ),
        ("endless: update, deleted", leaving(updating())),
        ("endless: update, deleted, bindings exist", leaving(updating().with_binding("app"))),
        ("endless: provision, deleted, the broker object is gone", {
            saying(leaving(provisioning()).without_broker().after(60).answered(lost()))
        }),
        ("endless: orphan mitigation, deleted", leaving(mitigating())),
        ("endless: deprovision", deprovisioning().after(3600).answered(busy())),
        ("lost: deprovision, 500", deprovisioning().after(3600).answered(forgotten(500))),
        ("lost: deprovision, 400", deprovisioning().answered(forgotten(400))),
        ("deletion: fails again and again", failing_again_and_again(Fixture::new().settled().deleted())),
    ]
}

fn provisions() -> Vec<(&'static str, Fixture)> {
    let new = Fixture::new;
    let refused_for_good = new().answered(accepted()).answered(poll(OperationState::Failed));
    vec![
        ("the class does not exist", saying(new().unresolved())),
        ("the request is sent", new().intending()),
        ("the broker is at it", new().answered(accepted())),
        ("it says how far it is", new().answered(accepted()).answered(poll(OperationState::InProgress))),
        ("it does not say", new().answered(accepted()).answered(lost())),
        ("done", new().settled()),
        ("refused for now", new().answered(busy())),
        ("not reached", new().answered(put(unsent()))),
        ("refused for good", new().answered(bad())),
        ("refused for a week", new().answered(busy()).after(WEEK_AND_A_DAY).answered(busy())),
        ("no answer", new().answered(unanswered())),
        ("no answer, then a conflict", {
            new().answered(unanswered()).answered(put(refused(409, RefusalReason::Conflict)))
        }),
        ("broken", new().answered(broken())),
        ("broken, and the deletion too", new().answered(broken()).answered(deleting(unsent()))),
        ("broken, the deletion lasts", new().answered(broken()).answered(later())),
        ("broken, how the deletion stands is not said", {
            new().answered(broken()).answered(later()).answered(lost())
        }),
        ("broken, deleted", new().answered(broken()).answered(gone())),
        ("broken, deleted after all that", {
            new().answered(broken()).answered(later()).answered(lost()).answered(lost()).answered(ended())
        }),
        ("broken for a week, deleted", {
            new()
                .answered(broken())
                .answered(gone())
                .after(WEEK_AND_A_DAY)
                .answered(broken())
                .answered(gone())
        }),
        ("failed at last", refused_for_good.clone()),
        ("failed at last, the deletion too", refused_for_good.clone().answered(deleting(unsent()))),
        ("failed at last, how the deletion stands is not said", {
            refused_for_good.clone().answered(later()).answered(lost())
        }),
        ("failed at last, deleted", refused_for_good.answered(later()).answered(lost()).answered(ended())),
    ]
}

fn updates_and_deletions() -> Vec<(&'static str, Fixture)> {
    let changing = || Fixture::new().changing();
    let leaving = || Fixture::new().settled().deleted();
    vec![
        ("update: refused for now", changing().answered(busy())),
        ("update: refused for good", changing().answered(bad())),
        ("update: failed at last", changing().answered(accepted()).answered(poll(OperationState::Failed))),
        ("update: done", changing().answered(done())),
        ("deletion: bindings exist", saying(leaving().with_binding("app"))),
        ("deletion: the broker is at it", leaving().answered(later())),
        ("deletion: refused", leaving().answered(deleting(refused(400, RefusalReason::BadRequest)))),
        ("deletion: how it stands is not said", leaving().answered(later()).answered(lost())),
        ("deletion: of what was never answered", saying(Fixture::new().answered(unanswered()).deleted())),
    ]
}

// v0.3 J1
#[test]
fn each_situation_is_told_in_a_sentence() {
    let mut table = String::new();
    for (situation, fixture) in
        provisions().into_iter().chain(updates_and_deletions()).chain(lost_operations())
    {
        let _ = writeln!(table, "{situation}\n{}", words(&fixture.status().conditions));
    }
    tables::assert_table(&table, include_str!("messages.txt"));
}

/// `kubectl wait` takes a condition of an older generation for none.
#[test]
fn a_condition_says_of_which_generation_it_is() {
    let ready = |fixture: &Fixture| {
        let status = fixture.status();
        let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap().clone();
        (ready.observed_generation, status.observed_generation)
    };
    let settled = Fixture::new().settled();
    // The operator fills in the id and the references, which counts as a change of the spec.
    assert_eq!(ready(&settled), (2, 2));
    // Edited while the broker is at it: what it answers is about what it was asked.
    let edited = Fixture::new().answered(accepted()).with_parameters(&json!({"size": 2}));
    let edited = edited.answered(poll(OperationState::Succeeded));
    assert_eq!(ready(&edited), (2, 2));
    assert_eq!(ready(&edited.answered(done())), (3, 3));
    // An edit that asks for nothing is taken note of, and one that cannot be carried out is not acted on.
    let same = saying(settled.clone().with_parameters(&json!({"size": 1})));
    assert_eq!(ready(&same), (3, 3));
    assert_eq!(shown(&same.plan(), &same), "wait for a change");
    let blocked = saying(settled.with_parameters(&json!({"size": 2})).with_bad_parameters());
    assert_eq!(ready(&blocked), (3, 2));
    assert_eq!(shown(&blocked.plan(), &blocked), "wait 10 s");
}

/// A broker that repeats our own words does not make a message longer with each try.
#[test]
fn a_message_does_not_grow() {
    let mut fixture = Fixture::new();
    let mut longest = vec![];
    for _ in 0..5 {
        fixture = fixture.answered(broken()).answered(deleting(unsent())).answered(gone());
        longest.push(fixture.status().conditions[0].message.len());
    }
    assert!(longest.iter().all(|length| *length == longest[0]), "{longest:?}");
}
