//! What instances and bindings do alike: each rule is tried with both kinds.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Call, Decoded, OperationStatus, engine::OperationReconciler, resource::View, status};
use crate::{
    crd::{
        ConditionType::Ready,
        Defects, ScopeKind,
        common::{BrokerKey, DeletionPolicy},
        condition,
        scope::Object as _,
    },
    osb::{self, outcome::Deleted},
    reconcilers::{
        messages::WAITS_FOR_TURN,
        reconciler::{Reconciler as _, Step, Wait},
    },
};

fn broker() -> BrokerKey {
    BrokerKey::new(ScopeKind::Cluster, None, "busy")
}

/// The message of `Ready`.
fn message(status: &impl OperationStatus) -> &str {
    &condition::find(status.conditions(), Ready).expect("Ready is set").message
}

/// The rules for one kind: `$fixtures` has its test objects, `$created` is its answer to a create.
macro_rules! rules_for {
    ($name:ident, $resource:path, $fixtures:path, $created:ident) => {
        mod $name {
            use $fixtures as fixtures;
            use $resource as Resource;

            use super::*;
            use crate::reconcilers::instance::tests::doubt;

            /// The broker failed while it created, so that what it may have left must be deleted.
            fn mitigating() -> fixtures::Fixture {
                fixtures::Fixture::new().answered(fixtures::Outcome::$created(doubt(Some(500), true, true)))
            }

            fn deleted() -> fixtures::Outcome {
                fixtures::Outcome::Deleted(osb::Outcome::Answered(Deleted::Done))
            }

            /// A backup that is restored begins with generation 1 and may bring a status that has seen more.
            #[test]
            fn a_spec_of_an_earlier_or_later_generation_is_a_change() {
                for (generation, changed) in [(1, true), (2, false), (3, true)] {
                    let mut object = fixtures::Fixture::new().settled().object;
                    object.metadata.generation = Some(generation);
                    object.status.as_mut().unwrap().observed_generation = 2;
                    assert_eq!(Decoded::<Resource>::of(&object).spec_has_changed(), changed, "{generation}");
                }
            }

            /// What stands in the way is said of the present spec. The spec is acted on when nothing stands in the way.
            #[test]
            fn a_report_names_the_generation_and_leaves_it_to_be_acted_on() {
                let waiting = fixtures::Fixture::new().unresolved().claimed();
                let status = waiting.status();
                assert_eq!(status.observed_generation, 0);
                let generations = status.conditions.iter().map(|condition| condition.observed_generation);
                assert_eq!(generations.collect::<Vec<_>>(), [2]);
                assert_eq!(waiting.object.metadata.generation, Some(2));
            }

            #[test]
            fn the_cause_of_a_clean_up_is_a_field_of_the_status() {
                let mut fixture = mitigating();
                let cause =
                    fixture.status().progress().mitigation_cause.clone().expect("a cause is on record");
                // A status from before the field says it in `Ready`.
                let mut old = fixture.clone();
                let status = old.object.status.as_mut().unwrap();
                status.progress_mut().mitigation_cause = None;
                let said = message(status).to_owned();
                // What `Ready` says beside the field is not read.
                let status = fixture.object.status.as_mut().unwrap();
                for condition in &mut status.conditions {
                    condition.message = "other words".into();
                }
                for (cause, fixture) in [(cause, fixture), (said, old)] {
                    let status = fixture.answered(deleted()).status();
                    assert!(
                        message(&status).contains(&cause),
                        "{:?} does not name {cause:?}",
                        message(&status)
                    );
                    assert_eq!(status.progress().mitigation_cause, None);
                }
            }

            /// What waits for its turn says so once. What a failed try has left to say stays, and once the request is sent
            /// the status says that instead.
            #[test]
            fn a_wait_for_a_turn_is_said_until_the_request_is_sent() {
                let failed =
                    fixtures::Fixture::new().answered(fixtures::Outcome::$created(doubt(None, false, false)));
                for (fixture, reason) in vec![
                    (fixtures::Fixture::new().claimed(), "WaitingForTurn"),
                    (failed.clone(), ""),
                    (mitigating(), ""),
                ] {
                    let waits = |fixture: &fixtures::Fixture| {
                        let observed = fixture.observed();
                        status::waiting_for_turn(&View::<Resource>::of(&observed), &broker(), 12)
                    };
                    let said = waits(&fixture).expect("a status");
                    let before = condition::find(&fixture.status().conditions, Ready).cloned();
                    let after = condition::find(&said.conditions, Ready).expect("Ready is set");
                    assert!(
                        after.message.contains("had not answered 12 other requests"),
                        "{}",
                        after.message
                    );
                    match before.filter(|_| reason.is_empty()) {
                        None => assert_eq!(after.reason, reason),
                        Some(before) => {
                            assert_eq!((&after.reason, after.status), (&before.reason, before.status));
                            assert!(after.message.starts_with(&before.message), "{}", after.message);
                        }
                    }
                    let waiting = fixture.with_status(&said);
                    assert_eq!(waits(&waiting), None, "said twice");
                    let (sent, _) = waiting.asking();
                    let observed = sent.observed();
                    let unanswered = status::waiting_for_answer(&View::<Resource>::of(&observed), &broker());
                    let message = message(&unanswered);
                    assert!(message.contains("has not answered since"), "{message}");
                    assert!(!message.contains(WAITS_FOR_TURN), "{message}");
                }
            }

            /// What another process has recorded with a fast clock does not make the object wait for an hour, and with a slow
            /// clock it does not end the quiet period early.
            #[test]
            fn the_clock_of_another_replica_decides_about_nothing() {
                let wait = |fixture: &fixtures::Fixture, begun: Timestamp| {
                    let mut fixture = fixture.clone();
                    loop {
                        let mut observed = fixture.observed();
                        observed.settings.begun = begun;
                        match OperationReconciler::<Resource>::plan(&observed) {
                            Step::Wait(Wait::Until(at)) => return at.duration_since(fixture.now).as_secs(),
                            Step::Record(status) => fixture = fixture.with_status(&status),
                            _ => return 0,
                        }
                    }
                };
                // A request that nobody has seen the end of.
                let in_flight = fixtures::Fixture::new().intending();
                for hours in [-1, 1] {
                    let mut late = in_flight.clone();
                    late.now = late.now.checked_add(SignedDuration::from_hours(hours)).unwrap();
                    let begun = late.now;
                    assert!(wait(&late, begun) <= 2, "the repetition waits");
                    let deleted = late.deleted();
                    let quiet = wait(&deleted, begun);
                    assert!((119..=121).contains(&quiet), "clock {hours} h off: {quiet} s");
                    let mut later = deleted;
                    later.now = later.now.checked_add(SignedDuration::from_secs(121)).unwrap();
                    assert_eq!(wait(&later, begun), 0);
                }
                // What this process has recorded counts from when it was recorded.
                let mut own = in_flight.deleted();
                own.now = own.now.checked_add(SignedDuration::from_secs(60)).unwrap();
                let quiet = wait(&own, own.now.checked_sub(SignedDuration::from_hours(5)).unwrap());
                assert!((55..=61).contains(&quiet), "{quiet}");
                // A failed try was to be repeated soon.
                let mut backing_off =
                    fixtures::Fixture::new().answered(fixtures::Outcome::$created(doubt(None, false, false)));
                backing_off.now = backing_off.now.checked_sub(SignedDuration::from_hours(1)).unwrap();
                assert!(wait(&backing_off, backing_off.now) <= 30);
            }

            fn leaving(fixture: fixtures::Fixture, policy: DeletionPolicy) -> fixtures::Fixture {
                let mut leaving = fixture.deleted();
                leaving.object.spec.deletion_policy = policy;
                leaving
            }

            /// What comes next for an object when it has said why, and the reason and the message of `Ready`.
            fn next(mut fixture: fixtures::Fixture) -> (&'static str, String, String) {
                let next = loop {
                    match fixture.plan() {
                        Step::Record(status) => fixture = fixture.with_status(&status),
                        Step::Claim(_) => fixture = fixture.claimed(),
                        Step::RemoveFinalizer => break "let go",
                        Step::Call { call: Call::Delete(..), .. } => break "DELETE",
                        Step::Call { .. } => break "poll",
                        Step::Wait(Wait::Until(_)) => break "wait",
                        Step::Wait(Wait::ForChange) => break "rest",
                        _ => break "something else",
                    }
                };
                let status = fixture.status();
                let ready = condition::find(&status.conditions, Ready);
                let (reason, message) =
                    ready.map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default();
                (next, reason, message)
            }

            #[test]
            fn what_is_retained_is_named_and_let_go() {
                let settled = fixtures::Fixture::new().settled();
                let id = settled.object.spec.external_id.clone();
                let (did, reason, message) = next(leaving(settled.clone(), DeletionPolicy::Retain));
                assert_eq!((did, &*reason), ("let go", "Retained"));
                for named in [&*id, "ClusterServiceBroker broker", "service-id", "small-id"] {
                    assert!(message.contains(named), "{message}");
                }
                // A backup without status says no less.
                let mut restored = leaving(settled.clone(), DeletionPolicy::Retain);
                restored.object.metadata.uid = Some("11111111-3c67-4c5b-9d3f-0d7f2a2f5b11".into());
                restored.object.status = None;
                restored.object = restored.object.complete();
                let (did, reason, message) = next(restored);
                assert_eq!((did, &*reason), ("let go", "Retained"));
                assert!(message.contains(&id), "{message}");
                // No broker is needed for that.
                let gone = leaving(settled.without_broker(), DeletionPolicy::Retain);
                assert_eq!(next(gone).0, "let go");
            }

            #[test]
            fn what_is_prevented_is_not_deleted_and_says_what_to_do() {
                let settled = fixtures::Fixture::new().settled();
                let (did, reason, message) = next(leaving(settled.clone(), DeletionPolicy::Prevent));
                assert_eq!((did, &*reason), ("rest", "DeletionPrevented"));
                assert!(
                    message.contains("set it to Delete") && message.contains("or to Retain"),
                    "{message}"
                );
                let failed = leaving(settled, DeletionPolicy::Delete)
                    .answered(fixtures::Outcome::Deleted(doubt(Some(500), true, true)))
                    .after(3600);
                for (policy, expected) in [
                    (DeletionPolicy::Delete, "DELETE"),
                    (DeletionPolicy::Prevent, "rest"),
                    (DeletionPolicy::Retain, "let go"),
                ] {
                    assert_eq!(next(leaving(failed.clone(), policy)).0, expected, "{policy:?}");
                }
                // The broker has nothing.
                assert_eq!(next(leaving(fixtures::Fixture::new(), DeletionPolicy::Prevent)).0, "let go");
            }

            /// Nobody knows whether the broker has it, so nobody could take it over.
            #[test]
            fn what_was_never_acknowledged_is_deleted_although_it_is_to_be_retained() {
                let doubtful = fixtures::Fixture::new().intending();
                let (did, ..) = next(leaving(doubtful.clone(), DeletionPolicy::Retain));
                assert_eq!(did, "wait", "for the quiet period");
                let later = leaving(doubtful, DeletionPolicy::Retain).after(3600);
                assert_eq!(next(later.clone()).0, "DELETE");
                let refused = later.answered(fixtures::Outcome::Deleted(doubt(Some(500), true, true)));
                assert_eq!(next(refused.after(3600)).0, "DELETE", "again");
                assert_eq!(next(leaving(mitigating(), DeletionPolicy::Retain).after(3600)).0, "DELETE");
                // An older resource may have the id that a user gave.
                let given = fixtures::Fixture::new().with_external_id("mine").intending();
                let (did, reason, message) = next(leaving(given, DeletionPolicy::Retain));
                assert_eq!((did, &*reason), ("let go", "Retained"));
                assert!(message.contains("mine"), "{message}");
            }

            #[test]
            fn a_policy_that_cannot_be_read_keeps_everything_as_it_is() {
                let mut unreadable = fixtures::Fixture::new().settled().deleted();
                let spec = vec!["spec.deletionPolicy: unknown variant `Keep`".to_owned()];
                unreadable.object.set_defects(Arc::new(Defects { spec, ..Defects::default() }));
                let (did, reason, message) = next(unreadable);
                assert_eq!((did, &*reason), ("rest", "Unreadable"));
                assert!(message.contains("set spec.deletionPolicy to Delete or Retain"), "{message}");
            }

            /// The next attempt has another id, and is not made sooner than if the create had merely failed.
            #[test]
            fn after_a_clean_up_the_next_attempt_waits() {
                let fixture = mitigating();
                let (before, attempt) = (fixture.now, fixture.status().progress().attempt);
                let status = fixture.answered(deleted()).status();
                assert_eq!(status.progress().attempt, attempt + 1);
                assert!(status.progress().next_attempt_time.clone().expect("a time").0 > before);
            }
        }
    };
}

rules_for!(
    instances,
    crate::reconcilers::instance::Instance,
    crate::reconcilers::instance::tests,
    Provisioned
);
rules_for!(bindings, crate::reconcilers::binding::Binding, crate::reconcilers::binding::tests, Bound);
