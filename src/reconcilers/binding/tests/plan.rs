//! `plan`: every phase in every situation, and what is sent.

use std::fmt::Write as _;

use super::*;
use crate::crd::common::DeletionPolicy;
use instances::{doubt, polled, refused, unsent};

type Change = fn(Fixture) -> Fixture;

fn edited() -> SecretState {
    SecretState::Edited { uid: None, written: Written::default() }
}

fn phases() -> Vec<(&'static str, Fixture)> {
    use RefusalReason::{BadRequest, Throttled};
    let new = Fixture::new;
    let put = |outcome| new().answered(Outcome::Bound(outcome));
    let lost = |fixture: Fixture| fixture.with_secret(SecretState::Missing);
    let gone = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Done));
    vec![
        ("new", new()),
        ("intending to bind", new().intending()),
        ("refused for now", put(refused(429, Throttled))),
        ("refused for now, unanswered before", {
            put(doubt(Some(200), true, false)).answered(Outcome::Bound(refused(429, Throttled)))
        }),
        ("binding", new().retrievable().answered(accepted())),
        ("no answer, to be repeated", put(doubt(None, false, true))),
        ("mitigating, unanswered", new().unanswered()),
        ("mitigating, answered", put(doubt(Some(500), true, true))),
        ("mitigated", put(doubt(Some(500), true, true)).answered(gone())),
        ("credentials unfit", new().answered(bound(&json!({"a b": "hunter2"})))),
        ("Secret rejected, retrievable", new().retrievable().rejected()),
        ("credentials lost, mitigated", new().credentials_lost().answered(gone())),
        ("refused for good", put(refused(400, BadRequest))),
        ("settled", new().settled()),
        ("settled, Secret lost", lost(new().settled())),
        ("settled, Secret lost, retrievable", lost(new().settled().retrievable())),
        ("settled, Secret of another attempt", {
            new().settled().with_secret(SecretState::Owned {
                binding_id: "old".into(),
                uid: None,
                written: Written::default(),
            })
        }),
        ("settled, Secret edited", new().settled().with_secret(edited())),
        ("settled, Secret edited, retrievable", new().settled().retrievable().with_secret(edited())),
        ("settled, Secret misshapen", new().settled().misshapen()),
        ("settled, Secret misshapen, retrievable", new().settled().retrievable().misshapen()),
        ("settled without credentials, Secret misshapen", {
            new().answered(bound(&json!(null))).misshapen()
        }),
        ("restoring", lost(new().settled()).intending()),
    ]
}

fn situations() -> Vec<(&'static str, Change)> {
    vec![
        ("nothing else", |f| f),
        ("after an hour", |f| f.after(3600)),
        ("parameters changed", |f| f.with_parameters(&json!({"role": "writer"})).after(3600)),
        ("parameters unreadable", |f| f.with_bad_parameters().after(3600)),
        ("Secret's name taken", |f| f.with_secret(SecretState::NotOwned).after(3600)),
        ("namespace unknown", |f| f.without_namespace().after(3600)),
        ("class missing", |f| f.unresolved().after(3600)),
        ("broker missing", |f| f.without_broker().after(3600)),
        ("not bindable", |f| f.offered(|offering| offering.bindable = false).after(3600)),
        ("instance missing", |f| f.with_instance(None).after(3600)),
        ("instance being deleted", |f| {
            f.with_instance(Some(instances::Fixture::new().settled().deleted().object)).after(3600)
        }),
        ("instance not ready", |f| {
            f.with_instance(Some(instances::Fixture::new().intending().object)).after(3600)
        }),
        ("instance recreated", |f| f.with_instance(Some(recreated())).after(3600)),
        ("instance of the original", |f| f.with_instance(Some(original())).after(3600)),
        ("abandoned", Fixture::without_finalizer),
        ("deleted", Fixture::deleted),
        ("deleted, after an hour", |f| f.deleted().after(3600)),
        ("deleted, Secret's name taken", |f| f.deleted().with_secret(SecretState::NotOwned).after(3600)),
        ("deleted, instance busy", |f| f.deleted().with_instance(Some(busy())).after(3600)),
        ("deleted, instance missing", |f| f.deleted().with_instance(None).after(3600)),
        ("deleted, class missing", |f| f.deleted().unresolved().after(3600)),
        ("deleted, broker missing", |f| f.deleted().without_broker().after(3600)),
        ("deleted, abandoned", |f| f.deleted().without_finalizer()),
    ]
}

/// Another instance with the same name.
fn recreated() -> ServiceInstance {
    let mut fixture = instances::Fixture::new();
    fixture.object.metadata.uid = Some("44444444-4444-4444-8444-444444444444".into());
    fixture.settled().object
}

/// The original records no offering.
fn original() -> ServiceInstance {
    let mut instance = instances::Fixture::new().settled().object;
    instance.status.as_mut().unwrap().resolved = None;
    instance
}

fn busy() -> ServiceInstance {
    instances::Fixture::new().changing().answered(instances::accepted()).object
}

// OSB 78, 134
// v0.3 I1, I7
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
            let mut present = change(fixture.clone()).claimed();
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

// OSB 137
#[test]
fn a_bind_says_what_and_for_whom() {
    let body = |fixture: Fixture| match fixture.asking().1 {
        Call::Request(address, BindingRequest::Bind(body, incomplete)) => {
            (address.instance_id, address.binding_id, serde_json::to_value(body).unwrap(), incomplete)
        }
        other => panic!("{} has no body", name(&other)),
    };
    let mut expected = json!({
        "service_id": "service-id", "plan_id": "small-id", "bind_resource": {"app_guid": "namespace-uid"},
        "context": {
            "platform": "kubernetes", "namespace": "ns", "clusterid": "cluster-id", "instance_name": "name"
        },
        "parameters": {"role": "reader"},
    });
    let ids = (osb::InstanceId::from(instances::UID), Some(osb::BindingId::from(UID)));
    assert_eq!(body(Fixture::new()), (ids.0.clone(), ids.1.clone(), expected.clone(), false));
    assert_eq!(body(Fixture::new().retrievable()), (ids.0, ids.1, expected.clone(), true));
    expected.as_object_mut().unwrap().remove("parameters");
    assert_eq!(body(Fixture::new().with_parameters(&json!({}))).2, expected);
}

// v0.3 I6
#[test]
fn an_unbind_names_the_plan_that_the_broker_has_for_the_instance() {
    let moved = instances::Fixture::new().settled().with_plan("big-id").settled().object;
    for (instance, plan) in [(Some(moved), "big-id"), (None, "small-id"), (Some(recreated()), "small-id")] {
        match Fixture::new().settled().with_instance(instance).deleted().asking().1 {
            Call::Delete(address, target, ..) => {
                assert_eq!((&*address.instance_id, &*target.plan_id), (instances::UID, plan));
            }
            other => panic!("{}", name(&other)),
        }
    }
}

#[test]
fn a_binding_whose_status_is_of_a_later_generation_is_observed_again() {
    let mut restored = Fixture::new();
    restored.object.metadata.generation = Some(7);
    let mut restored = restored.settled();
    restored.object.metadata.generation = Some(1);
    let Step::Record(seen) = restored.plan() else { panic!("{}", shown(&restored.plan(), &restored)) };
    assert_eq!((seen.observed_generation, seen.reconciled_generation), (1, 1));
    assert!(seen.conditions.iter().all(|condition| condition.observed_generation == 1));
    let restored = restored.with_status(&seen);
    assert_eq!(shown(&restored.plan(), &restored), "wait for a change");
}

#[test]
fn a_lost_secret_of_a_binding_without_parameters_is_restored() {
    let mut fixture = Fixture::new();
    fixture.object.spec.parameters = None;
    let lost = fixture.settled().with_secret(SecretState::Missing);
    assert_eq!(shown(&lost.plan(), &lost), "intent, PUT");
}

// v0.3 Q35
#[test]
fn while_the_name_is_taken_the_broker_is_not_asked_again() {
    for (new, request) in [(Fixture::new(), "intent, PUT"), (Fixture::new().retrievable(), "GET the binding")]
    {
        let mut fixture = new.rejected();
        assert_eq!(conditions(&fixture.status()), "Ready=False:ErrorInjectingBindResult");
        fixture = fixture.with_secret(SecretState::NotOwned).after(3600);
        if let Step::Record(status) = fixture.plan() {
            fixture = fixture.with_status(&status);
        }
        assert_eq!(shown(&fixture.plan(), &fixture), "wait 10 s");
        let free = fixture.with_secret(SecretState::Missing);
        assert_eq!(shown(&free.plan(), &free), request);
    }
}

// OSB 151
#[test]
fn a_secret_that_cannot_be_written_is_tried_less_and_less_and_the_binding_stays() {
    for (new, request) in [(Fixture::new(), "PUT"), (Fixture::new().retrievable(), "GET the binding")] {
        let (mut fixture, mut delays) = (new.rejected(), vec![]);
        for retries in 1..14 {
            let status = fixture.status();
            assert_eq!(status.progress.retries, retries);
            assert_eq!((&*status.binding_id, status.progress.attempt), (UID, 0));
            assert!(!status.progress.orphan_mitigation_in_progress && status.external_properties.is_some());
            let next = status.progress.next_attempt_time.unwrap().0;
            delays.push(next.duration_since(fixture.now).as_secs());
            let (asked, call) = fixture.clone().asking();
            assert_eq!((name(&call), asked.now), (request, next));
            fixture = fixture.rejected();
        }
        assert!(delays.windows(2).all(|pair| pair[1] >= pair[0]), "{delays:?}");
        assert!(delays[0] <= 1 && delays[12] > 1000, "{delays:?}");
        let credentials = json!({"password": "hunter2"});
        let (asked, call) = fixture.asking();
        let outcome = if request == "PUT" {
            bound(&credentials)
        } else {
            Outcome::Fetched(osb::Outcome::Answered(answer(&credentials)))
        };
        let (written, also) = asked.after(1).absorbing(&call, outcome);
        assert_eq!((also, &*conditions(&written.status())), ("Secret, ", "Ready=True:InjectedBindResult"));
        assert_eq!((written.status().progress.retries, &*written.status().binding_id), (0, UID));
    }
}

#[test]
fn credentials_that_are_sent_once_and_cannot_be_written_are_asked_for_less_and_less() {
    let gone = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Done));
    let (mut fixture, mut delays) = (Fixture::new(), vec![]);
    for _ in 0..5 {
        fixture = fixture.rejected();
        delays.push(fixture.status().progress.next_attempt_time.unwrap().0.duration_since(fixture.now));
        fixture = fixture.answered(bound(&json!(null))).answered(gone());
        delays.push(fixture.status().progress.next_attempt_time.unwrap().0.duration_since(fixture.now));
    }
    assert!(delays.windows(2).all(|pair| pair[1] >= pair[0]), "{delays:?}");
    assert!(delays[9].as_secs() > 100, "{delays:?}");
}

#[test]
fn an_empty_secret_that_is_rejected_is_not_asked_for_again() {
    let (asked, call) = Fixture::new().asking();
    let absorbed = BindingReconciler::absorb(&asked.observed(), bound(&json!(null)).to(&call));
    let mut rejected = asked;
    rejected.memory = absorbed.memory;
    let refused = RejectedWrite { message: "exceeded quota".into() };
    let status = BindingReconciler::absorb_rejected_write(&rejected.observed(), &refused);
    assert!(status.without_credentials);
    let rejected = rejected.with_status(&status).after(60);
    assert_eq!(shown(&rejected.plan(), &rejected), "write");
}

// v0.3 Q22
#[test]
fn a_broker_with_other_words_for_every_failure_is_asked_no_sooner() {
    let failure = |words: &str| osb::outcome::UnknownOutcome {
        status: Some(500),
        message: words.into(),
        answered: true,
        ..osb::outcome::UnknownOutcome::default()
    };
    let (mut fixture, mut waits) = (Fixture::new().settled().deleted(), vec![]);
    for words in ["request 1", "request 2", "request 3", "request 4"] {
        fixture = fixture.answered(Outcome::Deleted(osb::Outcome::Unknown(failure(words))));
        waits.push(shown(&fixture.plan(), &fixture));
    }
    assert_eq!(waits, ["wait 1 s", "wait 2 s", "wait 4 s", "wait 8 s"]);
}

// OSB 116
#[test]
fn the_plan_that_the_instance_has_decides_whether_it_can_be_bound_to() {
    let binding = |present: bool, wanted: bool| {
        let mut fixture = Fixture::new().offered(|offering| {
            offering.plan_id = "wanted-id".into();
            offering.bindable = wanted;
        });
        fixture.acknowledged_offering = Some(Offering { bindable: present, ..instances::offering() });
        let claimed = fixture.claimed();
        conditions(&claimed.status()) + &super::shown(&claimed.plan(), &claimed)
    };
    assert_eq!(binding(true, false), "intent, PUT");
    assert!(binding(false, true).contains("ErrorNonbindableServiceClass"), "{}", binding(false, true));
}

// OSB 62
#[test]
fn what_a_bind_may_have_left_is_deleted_when_the_operation_of_its_instance_has_ended() {
    let mut busy = INSTANCE.clone();
    busy.status.get_or_insert_default().progress.async_op_in_progress = true;
    let broken = Fixture::new().answered(Outcome::Bound(doubt(Some(500), true, true)));
    assert_eq!(shown(&broken.plan(), &broken), "intent, DELETE to mitigate");
    let waiting = broken.with_instance(Some(busy));
    assert_eq!(shown(&waiting.plan(), &waiting), "wait for a change");
}

#[test]
fn a_binding_whose_plan_has_become_bindable_goes_on_whatever_it_waits_for_first() {
    let failed = Fixture::new().offered(|offering| offering.bindable = false).claimed();
    let status = failed.status();
    assert!(conditions(&status).contains("Failed=True"), "{}", conditions(&status));
    let bindable = failed.offered(|offering| offering.bindable = true);
    let mut busy = INSTANCE.clone();
    busy.status.get_or_insert_default().progress.async_op_in_progress = true;
    let waiting = bindable.clone().with_instance(Some(busy));
    let Step::Record(status) = waiting.plan() else { panic!("{}", shown(&waiting.plan(), &waiting)) };
    assert_eq!(conditions(&status), "Ready=False:ErrorInstanceNotReady");
    let waiting = waiting.with_status(&status);
    assert_eq!(shown(&waiting.plan(), &waiting), "wait for a change");
    let ready = waiting.with_instance(Some(INSTANCE.clone()));
    assert_eq!(shown(&ready.plan(), &ready), "intent, PUT");
}

#[test]
fn a_binding_that_was_restored_amid_its_deletion_is_deleted_at_the_broker_and_bound_anew() {
    let done = Outcome::Deleted(osb::Outcome::Answered(Deleted::Done));
    let accepted = Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let gone = Outcome::Polled(polled(OperationState::Gone));
    for (answer, end) in [(Outcome::Deleted(unsent()), done), (accepted, gone)] {
        let mut restored = Fixture::new().settled().deleted().answered(answer);
        restored.object.metadata.deletion_timestamp = None;
        let (asked, call) = restored.answered(end).asking();
        assert_eq!(name(&call), "PUT", "{}", conditions(&asked.status()));
        assert_ne!(asked.status().binding_id, UID);
    }
}

/// The credentials are renewed as before, whatever shape they have. The new ones have the right one.
#[test]
fn a_secret_that_cannot_be_shaped_anew_is_told_while_its_credentials_are_valid() {
    let mut settled = Fixture::new().settled();
    settled.object.status.as_mut().unwrap().expires_at =
        Some(Time(settled.now + SignedDuration::from_secs(600)));
    let mut told = settled.misshapen();
    let Step::Record(status) = told.plan() else { panic!("{}", shown(&told.plan(), &told)) };
    told = told.with_status(&status);
    let message = &told.status().conditions[0].message;
    assert!(message.contains("does not have the shape that spec.secret asks for"), "{message}");
    assert_eq!(conditions(&told.status()), "Ready=True:InjectedBindResult");
    let (renewing, call) = told.asking();
    assert_eq!(name(&call), "PUT");
    assert!(renewing.now < renewing.status().expires_at.unwrap().0);
}

/// The next try has a time, but the spec may be mended.
#[test]
fn a_change_of_the_shape_does_not_wait() {
    let (asked, call) = Fixture::new().retrievable().settled().misshapen().asking();
    let unfit = Outcome::Fetched(osb::Outcome::Answered(answer(&json!({"a b": "hunter2"}))));
    let mut waiting = asked.after(1).absorbing(&call, unfit).0;
    assert_eq!(conditions(&waiting.status()), "Ready=False:ErrorInjectingBindResult");
    assert!(shown(&waiting.plan(), &waiting).starts_with("wait "));
    *waiting.object.metadata.generation.as_mut().unwrap() += 1;
    assert_eq!(shown(&waiting.plan(), &waiting), "GET the binding");
    let (asked, call) = waiting.asking();
    let failed = asked.after(1).absorbing(&call, Outcome::Fetched(unsent())).0;
    assert!(shown(&failed.plan(), &failed).starts_with("wait "), "it asks once for each change");
}

/// Somebody may use the credentials, although the status does not say that there are any.
#[test]
fn a_binding_whose_secret_was_written_is_retained() {
    let mut leaving = Fixture::new().intending().deleted();
    leaving.object.spec.deletion_policy = DeletionPolicy::Retain;
    let binding_id = leaving.status().binding_id;
    let mut written =
        leaving.with_secret(SecretState::Owned { binding_id, uid: None, written: Written::default() });
    while let Step::Record(status) = written.plan() {
        written = written.with_status(&status);
    }
    assert!(matches!(written.plan(), Step::RemoveFinalizer), "{}", shown(&written.plan(), &written));
    assert_eq!(conditions(&written.status()), "Ready=False:Retained");
}

/// What changes the Secret again and again does not keep the broker busy.
#[test]
fn edited_credentials_are_put_right_once_a_minute() {
    let edited = Fixture::new().settled().retrievable().with_secret(edited());
    let (asked, call) = edited.asking();
    let fetched = Outcome::Fetched(osb::Outcome::Answered(answer(&json!({"password": "hunter2"}))));
    let (mut fixture, _) = asked.absorbing(&call, fetched);
    let message = fixture.status().conditions[0].message.clone();
    assert!(message.contains("somebody had changed the credentials"), "{message}");
    fixture = fixture.with_secret(self::edited());
    assert_eq!(shown(&fixture.plan(), &fixture), "wait 60 s");
    assert_eq!(shown(&fixture.clone().after(60).plan(), &fixture.after(60)), "GET the binding");
}

#[test]
fn parameters_of_a_bind_follow_the_schema_of_the_plan_that_the_instance_has() {
    let schema =
        |role: &str| json!({"properties": {"role": {"const": role}}}).as_object().cloned().map(Into::into);
    let with_schema = |mut fixture: Fixture, role: &str| {
        let schemas = ParameterSchemas { bind: schema(role), ..ParameterSchemas::default() };
        fixture.acknowledged_offering = Some(Offering { schemas, ..instances::offering() });
        fixture
    };
    let next = |fixture: &Fixture| shown(&fixture.plan(), fixture);
    let new = with_schema(Fixture::new(), "writer").claimed();
    assert_eq!(conditions(&new.status()), "Ready=False:ErrorWithParameters");
    let message = &new.status().conditions[0].message;
    let words = "spec.parameters.role: must be \"writer\" (const); correct the parameters";
    assert!(message.starts_with(words) && !message.contains("reader"), "{message}");
    assert_eq!(next(&new), "wait for a change");
    assert_eq!(next(&with_schema(new.clone(), "reader")), "intent, PUT");
    assert_eq!(next(&new.with_parameters(&json!({"role": "writer"}))), "intent, PUT");
    // What may be under way is repeated as it was, and so is what the broker has accepted.
    let asked: [fn() -> Fixture; 3] = [
        || Fixture::new().intending(),
        || Fixture::new().answered(Outcome::Bound(doubt(None, false, false))),
        || Fixture::new().settled().with_secret(SecretState::Missing),
    ];
    for asked in asked {
        let (_, call) = with_schema(asked(), "writer").asking();
        let Call::Request(_, BindingRequest::Bind(body, _)) = call else { panic!("{}", super::name(&call)) };
        assert_eq!(body.parameters.unwrap().text(), "{\"role\":\"reader\"}");
    }
}
