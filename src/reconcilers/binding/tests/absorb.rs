//! `absorb`: every answer to every request.

#![allow(clippy::large_stack_arrays, reason = "a table of a few fixtures")]

use std::fmt::Write as _;

use super::*;
use crate::crd::{ConditionType, condition};
use crate::reconcilers::{
    binding::BindingAction,
    operation::{Awaited, Phase},
};
use instances::{absorb::failures, doubt, polled, refused};

type Make<T> = fn() -> osb::Outcome<T>;

fn shown(fixture: &Fixture, also: &str) -> String {
    if also == "let go" {
        return also.into();
    }
    let status = fixture.status();
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains("hunter2"), "a credential in a status: {text}");
    let wait = |at: &Timestamp| at.duration_since(fixture.now).as_secs();
    let next = status.progress.next_attempt_time.as_ref().map(|at| format!(", again in {} s", wait(&at.0)));
    let phase = match Decoded::<Binding>::of(&fixture.object).phase {
        Phase::Polling(Awaited::Operation(BindingAction::Bind), _) => "Polling Bind".to_owned(),
        Phase::Polling(awaited, _) => format!("Polling {awaited:?}"),
        phase => format!("{phase:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
    };
    format!(
        "{also}{phase}{}, {:?}{}, id {}, {}",
        next.unwrap_or_default(),
        status.unbind_status,
        if status.progress.unanswered { ", unanswered" } else { "" },
        match &*status.binding_id {
            UID => "uid",
            "mine" => "mine",
            _ => "derived",
        },
        conditions(&status)
    )
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
        let (absorbed, also) = asked.clone().absorbing(&call, wrap(make()));
        gather(&mut told, shown(&absorbed, also), answer);
    }
    for (result, answers) in told {
        let _ = writeln!(table, "{name} | {} | {result}", answers.join(", "));
    }
}

// v0.3 J1, Q36
#[test]
fn every_answer_to_a_bind() {
    let mut table = String::new();
    let answers = || {
        let answers: [(&'static str, Make<Bound>); 4] = [
            ("credentials", || osb::Outcome::Answered(Bound::Done(answer(&json!({"password": "hunter2"}))))),
            ("no credentials", || osb::Outcome::Answered(Bound::Done(answer(&json!(null))))),
            ("unfit credentials", || osb::Outcome::Answered(Bound::Done(answer(&json!({"a b": "hunter2"}))))),
            ("accepted", || osb::Outcome::Answered(Bound::Accepted { operation: None })),
        ];
        answers.into_iter().chain(failures())
    };
    let before = |fixture: Fixture| fixture.answered(Outcome::Bound(doubt(Some(200), true, false)));
    let mine = || Fixture::new().with_external_id("mine");
    let lost = |fixture: Fixture| fixture.settled().with_secret(SecretState::Missing);
    for (name, fixture) in [
        ("fresh", Fixture::new()),
        ("unanswered before", before(Fixture::new())),
        ("user's id", mine()),
        ("user's id, unanswered before", before(mine())),
        ("to restore the Secret", lost(Fixture::new())),
        ("to restore the Secret, user's id", lost(mine())),
        ("for too long", before(Fixture::new()).after(8 * 24 * 3600)),
    ] {
        rows(&mut table, name, &fixture, answers(), Outcome::Bound);
    }
    assert_table(&table, include_str!("bind.txt"));
}

#[test]
fn every_answer_to_an_unbind() {
    let mut table = String::new();
    let answers = || {
        let done: Make<Deleted> = || osb::Outcome::Answered(Deleted::Done);
        let accepted: Make<Deleted> = || osb::Outcome::Answered(Deleted::Accepted { operation: None });
        [("done", done), ("accepted", accepted)].into_iter().chain(failures())
    };
    let broken = |fixture: Fixture| fixture.answered(Outcome::Bound(doubt(Some(500), true, true)));
    for (name, fixture) in [
        ("deletion", Fixture::new().settled().deleted()),
        ("deletion of what was being mitigated", broken(Fixture::new()).deleted()),
        ("mitigation", broken(Fixture::new())),
        ("mitigation, user's id", broken(Fixture::new().with_external_id("mine"))),
        ("mitigation of lost credentials", Fixture::new().credentials_lost()),
        ("mitigation, refused for good", {
            let before = Fixture::new().answered(Outcome::Bound(doubt(Some(200), true, false)));
            before.answered(Outcome::Bound(refused(400, RefusalReason::BadRequest)))
        }),
    ] {
        rows(&mut table, name, &fixture, answers(), Outcome::Deleted);
    }
    assert_table(&table, include_str!("unbind.txt"));
}

// v0.3 J7, Q37
#[test]
fn every_answer_to_a_poll() {
    let mut table = String::new();
    let answers = || {
        let states: [(&'static str, Make<osb::outcome::Polled>); 4] = [
            ("in progress", || polled(OperationState::InProgress)),
            ("succeeded", || polled(OperationState::Succeeded)),
            ("failed", || polled(OperationState::Failed)),
            ("gone", || polled(OperationState::Gone)),
        ];
        states.into_iter().chain(failures())
    };
    let accepted_delete = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let week = 7 * 24 * 3600;
    let binding = Fixture::new().retrievable().answered(accepted());
    let unbinding = Fixture::new().settled().deleted().answered(accepted_delete());
    let mitigating =
        Fixture::new().answered(Outcome::Bound(doubt(Some(500), true, true))).answered(accepted_delete());
    for (name, fixture) in [
        ("bind", binding.clone()),
        ("bind, too long", binding.clone().after(week)),
        ("bind, deleted meanwhile", binding.deleted()),
        ("unbind", unbinding.clone()),
        ("unbind, too long", unbinding.after(week)),
        ("mitigation", mitigating.clone()),
        ("mitigation, too long", mitigating.after(week)),
    ] {
        rows(&mut table, name, &fixture, answers(), Outcome::Polled);
    }
    assert_table(&table, include_str!("poll.txt"));
}

// v0.3 Q36
#[test]
fn every_answer_to_a_fetch() {
    let mut table = String::new();
    let answers: [(&'static str, Make<BindingAnswer>); 3] = [
        ("credentials", || osb::Outcome::Answered(answer(&json!({"password": "hunter2"})))),
        ("no credentials", || osb::Outcome::Answered(answer(&json!(null)))),
        ("unfit credentials", || osb::Outcome::Answered(answer(&json!({"a b": "hunter2"})))),
    ];
    let binding = Fixture::new().retrievable().answered(accepted());
    let lost = Fixture::new().retrievable().settled().with_secret(SecretState::Missing);
    for (name, fixture) in [
        ("after a bind", binding.clone()),
        ("after a bind, too long", binding.after(8 * 24 * 3600)),
        ("to restore the Secret", lost),
    ] {
        let (asked, call) = fixture.asking();
        let call = match call {
            Call::Poll(address, target, _) => Call::Request(address, BindingRequest::Fetch(target)),
            fetch => fetch,
        };
        let mut told: Vec<(String, Vec<&str>)> = vec![];
        for (answer, make) in answers.into_iter().chain(failures()) {
            let (absorbed, also) = asked.clone().absorbing(&call, Outcome::Fetched(make()));
            gather(&mut told, shown(&absorbed, also), answer);
        }
        for (result, answers) in told {
            let _ = writeln!(table, "{name} | {} | {result}", answers.join(", "));
        }
    }
    assert_table(&table, include_str!("fetch.txt"));
}

// OSB 123, 136
#[test]
fn the_secret_of_a_binding_without_credentials_comes_back_without_another_bind() {
    let none = || bound(&json!(null));
    let lost = |fixture: Fixture| {
        assert!(fixture.status().without_credentials);
        fixture.with_secret(SecretState::Missing)
    };
    let bound = lost(Fixture::new().answered(none()));
    assert_eq!(super::shown(&bound.plan(), &bound), "write");
    let fetched = lost(Fixture::new().retrievable().answered(none()));
    let (asked, call) = fetched.asking();
    assert_eq!(name(&call), "GET the binding");
    let empty = Outcome::Fetched(osb::Outcome::Answered(answer(&json!(null))));
    let (ready, also) = asked.after(1).absorbing(&call, empty);
    assert_eq!((also, &*conditions(&ready.status())), ("Secret, ", "Ready=True:InjectedBindResult"));
    assert!(ready.status().without_credentials);
    // Credentials that are there after all are written.
    let (asked, call) = lost(ready).asking();
    let some = Outcome::Fetched(osb::Outcome::Answered(answer(&json!({"a": "hunter2"}))));
    assert!(!asked.after(1).absorbing(&call, some).0.status().without_credentials);
}

/// Credentials that are good from now on for this long, to be renewed earlier by as much.
fn expiring(fixture: &Fixture, seconds: i64, earlier: i64) -> Outcome {
    let at = |second| Some(fixture.now + SignedDuration::from_secs(second));
    let lifetime = Lifetime { expires_at: at(seconds), renew_before: at(seconds - earlier) };
    let answer = BindingAnswer { lifetime, ..answer(&json!({"password": "hunter2"})) };
    Outcome::Bound(osb::Outcome::Answered(Bound::Done(answer)))
}

// OSB 127
#[test]
fn credentials_that_expire_are_ready_until_they_have() {
    let new = Fixture::new();
    let outcome = expiring(&new, 1_000, 100);
    let mut bound = new.answered(outcome);
    let (expires_at, renew_before) = (bound.status().expires_at, bound.status().renew_before);
    assert!(expires_at > renew_before && renew_before.is_some());
    // Without an instance, they cannot be renewed.
    let mut said = vec![];
    bound = bound.with_instance(None);
    for _ in 0..12 {
        match bound.plan() {
            Step::Record(status) => {
                said.push(conditions(&status));
                bound = bound.with_status(&status);
            }
            Step::Wait(Wait::Until(at)) => bound.now = at,
            Step::Wait(Wait::ForChange) => break,
            other => panic!("the broker is not asked: {}", super::shown(&other, &bound)),
        }
    }
    let said_last = ["Ready=True:CredentialsToBeRenewed", "Ready=False:CredentialsExpired"];
    assert_eq!(said, [&["Ready=True:CredentialsRenewalFailed"], &said_last[..]].concat());
}

// OSB 124, 125
// v0.3 I9
#[test]
fn what_a_cluster_cannot_serve_is_told() {
    let answer = BindingAnswer { unserved: vec!["volume_mounts"], ..answer(&json!({"a": "b"})) };
    let bound = Fixture::new().answered(Outcome::Bound(osb::Outcome::Answered(Bound::Done(answer))));
    let message = &bound.status().conditions[0].message;
    assert!(message.contains("volume_mounts, which means nothing to a Kubernetes cluster"), "{message}");
}

// OSB 84
#[test]
fn what_is_polled_for_has_its_time_from_when_it_was_accepted() {
    let busy = || Outcome::Polled(polled(OperationState::InProgress));
    let mut late = Fixture::new().retrievable();
    late.maximum_polling_duration = Some(60);
    for _ in 0..8 {
        late = late.answered(Outcome::Bound(refused(422, RefusalReason::ConcurrencyError)));
    }
    let polling = late.answered(accepted()).after(50).answered(busy());
    assert_eq!(conditions(&polling.status()), "Ready=False:Binding");
    let over = polling.after(61).answered(busy());
    assert!(over.status().progress.orphan_mitigation_in_progress, "{}", conditions(&over.status()));
}

// OSB 84
#[test]
fn attempts_that_are_undone_asynchronously_come_to_an_end_together_as_well() {
    let broken = || Outcome::Bound(doubt(Some(500), true, true));
    let deleting = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let gone = || Outcome::Polled(polled(OperationState::Gone));
    let (mut fixture, mut days) = (Fixture::new(), 0);
    while !condition::is_true(&fixture.status().conditions, ConditionType::Failed) {
        days += 1;
        assert!(days < 9, "asked for ever");
        fixture = fixture.after(24 * 3600).answered(broken()).answered(deleting()).answered(gone());
    }
    assert!(days > 6, "given up after {days} days");
}

// OSB 135
#[test]
fn a_binding_that_cannot_be_fetched_yet_is_not_written_down_word_by_word_nor_asked_for_too_soon() {
    let failing = |words: &str| {
        let message = words.to_owned();
        let retry_after = Some(std::time::Duration::from_secs(300));
        let doubt = osb::outcome::UnknownOutcome {
            status: Some(503),
            message: message.into(),
            retry_after,
            ..Default::default()
        };
        Outcome::Fetched(osb::Outcome::Unknown(doubt))
    };
    let fetched = |fixture: Fixture, words: &str| {
        let (asked, call) = fixture.asking();
        let Call::Poll(address, target, _) = call else { panic!("{}", name(&call)) };
        asked.after(1).absorbing(&Call::Request(address, BindingRequest::Fetch(target)), failing(words)).0
    };
    let first = fetched(Fixture::new().retrievable().answered(accepted()), "request 1");
    assert!(first.status().conditions[0].message.contains("request 1"));
    assert_eq!(super::shown(&first.plan(), &first), "wait 300 s");
    let mut soon = first.clone();
    soon.memory.not_before = None;
    let second = fetched(soon, "request 2");
    assert_eq!(second.status(), first.status());
    assert!(fetched(second, "request 3").status().conditions[0].message.contains("request 3"));
}
