//! `absorb`: every answer to every request, fresh and after an unanswered attempt, with our id and with the user's.

#![allow(clippy::large_stack_arrays, reason = "a table of a few fixtures")]

use std::fmt::Write as _;

use super::*;
use crate::reconcilers::operation::{Awaited, Phase};

type Make<T> = fn() -> osb::Outcome<T>;

pub(in crate::reconcilers) fn failures<T>() -> Vec<(&'static str, Make<T>)> {
    use RefusalReason as R;
    vec![
        ("400", || refused(400, R::BadRequest)),
        ("401", || refused(401, R::Unauthorized)),
        ("404", || refused(404, R::Other)),
        ("408", || refused(408, R::NotReceived)),
        ("409", || refused(409, R::Conflict)),
        ("412", || refused(412, R::VersionMismatch)),
        ("422 ConcurrencyError", || refused(422, R::ConcurrencyError)),
        ("422 AsyncRequired", || refused(422, R::AsyncRequired)),
        ("422 RequiresApp", || refused(422, R::RequiresApp)),
        ("422 MaintenanceInfoConflict", || refused(422, R::MaintenanceInfoConflict)),
        ("429", || refused(429, R::Throttled)),
        ("not sent", unsent),
        ("500", || doubt(Some(500), true, true)),
        ("502", || doubt(Some(502), false, true)),
        ("no answer", || doubt(None, false, true)),
        ("malformed 200", || doubt(Some(200), true, false)),
        ("200 cut off", || doubt(Some(200), false, false)),
    ]
}

/// A status in short.
fn shown(fixture: &Fixture, released: bool) -> String {
    if released {
        return "let go".into();
    }
    let status = fixture.status();
    let wait = |at: &Timestamp| at.duration_since(fixture.now).as_secs();
    let next = status.progress.next_attempt_time.as_ref().map(|at| format!(", again in {} s", wait(&at.0)));
    let phase = match Decoded::<Instance>::of(&fixture.object).phase {
        Phase::RequestInFlight(action, _) => format!("RequestInFlight {action:?}"),
        Phase::BackingOff(action, _) => format!("BackingOff {action:?}"),
        Phase::Polling(Awaited::Operation(action), _) => format!("Polling {action:?}"),
        Phase::Polling(awaited, _) => format!("Polling {awaited:?}"),
        Phase::Absent { .. } => "Absent".into(),
        Phase::OrphanMitigation { .. } => "OrphanMitigation".into(),
        Phase::Deleting { .. } => "Deleting".into(),
        Phase::Present { .. } => "Present".into(),
        Phase::Failed => "Failed".into(),
    };
    format!(
        "{phase}{}, {:?}/{:?}{}, id {}, {}",
        next.unwrap_or_default(),
        status.provision_status,
        status.deprovision_status,
        if status.progress.unanswered { ", unanswered" } else { "" },
        match &*status.instance_id {
            UID => "uid",
            "mine" => "mine",
            _ => "derived",
        },
        conditions(&status)
    )
}

fn histories() -> Vec<(&'static str, Fixture)> {
    let before = |fixture: Fixture| fixture.answered(Outcome::Provisioned(doubt(Some(200), true, false)));
    let mine = || Fixture::new().with_external_id("mine");
    vec![
        ("fresh", Fixture::new()),
        ("unanswered before", before(Fixture::new())),
        ("user's id", mine()),
        ("user's id, unanswered before", before(mine())),
    ]
}

fn rows<T>(
    table: &mut String,
    name: &str,
    fixture: &Fixture,
    answers: impl IntoIterator<Item = (&'static str, Make<T>)>,
    wrap: fn(osb::Outcome<T>) -> Outcome,
) {
    let (asked, call) = fixture.clone().asking();
    let asked = asked.after(1);
    let mut told: Vec<(String, Vec<&str>)> = vec![];
    for (answer, make) in answers {
        let (absorbed, released) = asked.clone().absorbing(&call, wrap(make()));
        gather(&mut told, shown(&absorbed, released), answer);
    }
    for (result, answers) in told {
        let _ = writeln!(table, "{name} | {} | {result}", answers.join(", "));
    }
}

// OSB 93
// v0.3 H6, H8, H9
#[test]
fn every_answer_to_a_provision() {
    let mut table = String::new();
    let answers = || {
        let done: Make<Provisioned> =
            || osb::Outcome::Answered(Provisioned::Done { dashboard_url: Some(Ok("https://d".into())) });
        let accepted: Make<Provisioned> =
            || osb::Outcome::Answered(Provisioned::Accepted { operation: None, dashboard_url: None });
        [("done", done), ("accepted", accepted)].into_iter().chain(failures())
    };
    for (history, fixture) in histories() {
        rows(&mut table, history, &fixture, answers(), Outcome::Provisioned);
    }
    assert_table(&table, include_str!("provision.txt"));
}

// OSB 108, 110, 112
// v0.3 H7
#[test]
fn every_answer_to_an_update() {
    let mut table = String::new();
    let never_again: Make<Provisioned> = || match refused(422, RefusalReason::Other) {
        osb::Outcome::Refused(refusal) => {
            osb::Outcome::Refused(Refusal { update_repeatable: Some(false), ..refusal })
        }
        other => other,
    };
    let never_again_500: Make<Provisioned> = || match doubt(Some(500), true, false) {
        osb::Outcome::Unknown(doubt) => {
            osb::Outcome::Unknown(UnknownOutcome { update_repeatable: Some(false), ..doubt })
        }
        other => other,
    };
    let answers = || {
        let done: Make<Provisioned> = || osb::Outcome::Answered(Provisioned::Done { dashboard_url: None });
        let accepted: Make<Provisioned> =
            || osb::Outcome::Answered(Provisioned::Accepted { operation: None, dashboard_url: None });
        [
            ("done", done),
            ("accepted", accepted),
            ("422 not repeatable", never_again),
            ("500 not repeatable", never_again_500),
            ("405", || refused(405, RefusalReason::Other)),
            ("422 without a known code", || refused(422, RefusalReason::Other)),
            ("423", || refused(423, RefusalReason::Other)),
            ("501", || doubt(Some(501), true, false)),
        ]
        .into_iter()
        .chain(failures())
    };
    let fresh = Fixture::new().changing();
    let before = fresh.clone().answered(Outcome::Provisioned(doubt(None, false, false)));
    rows(&mut table, "fresh", &fresh, answers(), Outcome::Provisioned);
    rows(&mut table, "unanswered before", &before, answers(), Outcome::Provisioned);
    assert_table(&table, include_str!("update.txt"));
}

// OSB 144
#[test]
fn every_answer_to_a_delete() {
    let mut table = String::new();
    let answers = || {
        let done: Make<Deleted> = || osb::Outcome::Answered(Deleted::Done);
        let accepted: Make<Deleted> = || osb::Outcome::Answered(Deleted::Accepted { operation: None });
        [("done", done), ("accepted", accepted)].into_iter().chain(failures())
    };
    let broken = |fixture: Fixture| fixture.answered(Outcome::Provisioned(doubt(Some(500), true, true)));
    let failed =
        Fixture::new().answered(accepted()).answered(Outcome::Polled(polled(OperationState::Failed)));
    let objects = [
        ("deletion", Fixture::new().settled().deleted()),
        ("deletion again", {
            Fixture::new().settled().deleted().answered(Outcome::Deleted(doubt(Some(500), true, true)))
        }),
        ("deletion of what was being mitigated", broken(Fixture::new()).deleted()),
        ("mitigation", broken(Fixture::new())),
        ("mitigation, user's id", {
            let mine = Fixture::new().with_external_id("mine");
            mine.answered(Outcome::Provisioned(doubt(Some(201), true, true)))
        }),
        ("mitigation, failed for good", failed),
    ];
    for (name, fixture) in objects {
        rows(&mut table, name, &fixture, answers(), Outcome::Deleted);
    }
    assert_table(&table, include_str!("delete.txt"));
}

// OSB 70, 73, 83, 85, 95
// v0.3 H12, H16, J1, Q21
#[test]
fn every_answer_to_a_poll() {
    let mut table = String::new();
    let answers = || {
        let states: [(&'static str, Make<Polled>); 4] = [
            ("in progress", || polled(OperationState::InProgress)),
            ("succeeded", || polled(OperationState::Succeeded)),
            ("failed", || polled(OperationState::Failed)),
            ("gone", || polled(OperationState::Gone)),
        ];
        states.into_iter().chain(failures())
    };
    let accepted_delete = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let week = 7 * 24 * 3600;
    let provisioning = Fixture::new().answered(accepted());
    let updating = Fixture::new().changing().answered(accepted());
    let deleting = Fixture::new().settled().deleted().answered(accepted_delete());
    let mitigating = Fixture::new()
        .answered(Outcome::Provisioned(doubt(Some(500), true, true)))
        .answered(accepted_delete());
    for (name, fixture) in [
        ("provision", provisioning.clone()),
        ("provision, too long", provisioning.after(week)),
        ("update", updating.clone()),
        ("update, too long", updating.clone().after(week)),
        ("provision, deleted meanwhile", Fixture::new().answered(accepted()).deleted()),
        ("update, deleted meanwhile", updating.deleted()),
        ("deletion", deleting.clone()),
        ("deletion, too long", deleting.after(week)),
        ("mitigation", mitigating.clone()),
        ("mitigation, too long", mitigating.after(week)),
    ] {
        rows(&mut table, name, &fixture, answers(), Outcome::Polled);
    }
    assert_table(&table, include_str!("poll.txt"));
}
