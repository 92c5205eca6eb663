//! What a user reads of a binding, word by word, as of instances.

use std::fmt::Write as _;

use super::*;
use instances::{doubt, messages::words, polled, refused, unsent};

fn saying(fixture: Fixture) -> Fixture {
    match fixture.plan() {
        Step::Claim(patch) => fixture.patched(&patch).claimed(),
        Step::Record(said) => fixture.with_status(&said),
        other => panic!("{}", shown(&other, &fixture)),
    }
}

fn put(outcome: osb::Outcome<Bound>) -> Outcome {
    Outcome::Bound(outcome)
}

fn broken() -> Outcome {
    put(doubt(Some(500), true, true))
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

fn ended() -> Outcome {
    Outcome::Polled(polled(OperationState::Succeeded))
}

fn lost() -> Outcome {
    Outcome::Polled(unsent())
}

fn waiting() -> Vec<(&'static str, Fixture)> {
    let instance = |answer: Make| Fixture::new().with_instance(Some(answer().object));
    let busy = instance(|| instances::Fixture::new().answered(instances::accepted()));
    let failed = instance(|| {
        let bad = refused(400, RefusalReason::BadRequest);
        instances::Fixture::new().answered(instances::Outcome::Provisioned(bad))
    });
    vec![
        ("no instance", saying(Fixture::new().with_instance(None))),
        ("the instance is on its way", saying(busy)),
        ("the instance has failed", saying(failed)),
    ]
}

type Make = fn() -> instances::Fixture;

fn binds() -> Vec<(&'static str, Fixture)> {
    let new = Fixture::new;
    let retrievable = || new().retrievable().answered(accepted());
    let failed = || retrievable().answered(Outcome::Polled(polled(OperationState::Failed)));
    vec![
        ("the request is sent", new().intending()),
        ("the broker is at it", retrievable()),
        ("it does not say how far it is", retrievable().answered(lost())),
        ("done", new().settled()),
        ("refused for now", new().answered(put(refused(429, RefusalReason::Throttled)))),
        ("not reached", new().answered(put(unsent()))),
        ("refused for good", new().answered(put(refused(400, RefusalReason::BadRequest)))),
        ("broken", new().answered(broken())),
        ("broken, and the deletion too", new().answered(broken()).answered(deleting(unsent()))),
        ("broken, and the deletion twice", {
            new().answered(broken()).answered(deleting(unsent())).answered(deleting(unsent()))
        }),
        ("broken, how the deletion stands is not said", {
            new().retrievable().answered(broken()).answered(later()).answered(lost())
        }),
        ("broken, deleted after all that", {
            new().retrievable().answered(broken()).answered(later()).answered(lost()).answered(ended())
        }),
        ("failed at last", failed()),
        ("failed at last, the deletion too", failed().answered(deleting(unsent()))),
        ("failed at last, deleted after that", failed().answered(deleting(unsent())).answered(gone())),
        ("the credentials cannot be written", new().rejected()),
        ("the credentials cannot be written, fetched again", new().retrievable().rejected().rejected()),
        ("the credentials have an illegal key", new().answered(bound(&json!({"a b": "hunter2"})))),
        ("the credentials have another shape, and cannot be fetched", saying(new().settled().misshapen())),
        ("the credentials have another shape, and cannot be fetched now", {
            new().retrievable().settled().misshapen().answered(Outcome::Fetched(unsent()))
        }),
        ("the credentials cannot have another shape", {
            let unfit = osb::Outcome::Answered(answer(&json!({"a b": "hunter2"})));
            new().retrievable().settled().misshapen().answered(Outcome::Fetched(unfit))
        }),
        ("the credentials are lost", new().credentials_lost()),
        ("they are lost, deleted", new().credentials_lost().answered(gone())),
        ("they are lost, and the deletion fails", new().credentials_lost().answered(deleting(unsent()))),
        ("they are lost, deleted after that", {
            new().credentials_lost().answered(deleting(unsent())).answered(gone())
        }),
        ("bind: the broker has lost it", {
            retrievable().answered(Outcome::Polled(refused(404, RefusalReason::Other)))
        }),
        ("bind: deleted before it has ended", saying(retrievable().deleted())),
        ("bind: deleted before it has ended, not now", {
            let blocked = refused(422, RefusalReason::ConcurrencyError);
            saying(retrievable().deleted())
                .after(30)
                .answered(Outcome::Polled(polled(OperationState::InProgress)))
                .answered(deleting(blocked))
        }),
        ("unbind: the instance is busy", {
            let busy = instances::Fixture::new().answered(instances::accepted());
            saying(new().settled().with_instance(Some(busy.object)).deleted())
        }),
        ("unbind: refused", {
            new().settled().deleted().answered(deleting(refused(400, RefusalReason::BadRequest)))
        }),
    ]
}

// v0.3 J1
#[test]
fn each_situation_is_told_in_a_sentence() {
    let mut table = String::new();
    for (situation, fixture) in waiting().into_iter().chain(binds()) {
        let status = fixture.status();
        let generation = fixture.object.metadata.generation.unwrap();
        assert!(status.conditions.iter().all(|it| it.observed_generation == generation), "{situation}");
        let _ = writeln!(table, "{situation}\n{}", words(&status.conditions));
    }
    tables::assert_table(&table, include_str!("messages.txt"));
}
