//! Single rows: what went wrong once, or would go unnoticed in a table.

use super::*;
use crate::{
    crd::{
        ConditionType, condition,
        instance::{InstanceOperation, ProvisionStatus},
        progress::DeletionStatus,
    },
    reconcilers::{identity::attempt_id, writes::Write},
};

fn broken() -> Outcome {
    Outcome::Provisioned(doubt(Some(500), true, true))
}

fn gone() -> Outcome {
    Outcome::Deleted(osb::Outcome::Answered(Deleted::Done))
}

// v0.3 J8, Q20, Q57
#[test]
fn a_broker_that_fails_every_provision_is_asked_less_and_less() {
    let (mut fixture, mut delays, mut ids) = (Fixture::new(), vec![], vec![]);
    for _ in 0..6 {
        fixture = fixture.answered(broken()).answered(gone());
        let status = fixture.status();
        delays.push(status.progress.next_attempt_time.unwrap().0.duration_since(fixture.now).as_secs());
        ids.push(status.instance_id);
    }
    assert!(delays.windows(2).all(|pair| pair[1] > pair[0]), "{delays:?}");
    assert!(delays[5] > 20, "{delays:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "an id is used once");
}

// OSB 148
#[test]
fn a_provision_without_an_answer_is_repeated_a_few_times_and_then_cleaned_up() {
    let lost = || Outcome::Provisioned(doubt(None, false, true));
    let (mut fixture, mut delays) = (Fixture::new(), vec![]);
    for _ in 0..3 {
        fixture = fixture.answered(lost());
        let (asked, call) = fixture.clone().asking();
        assert_eq!((name(&call), &*asked.status().instance_id), ("PUT", UID));
        delays.push(asked.now.duration_since(fixture.now).as_secs());
        assert!(fixture.status().progress.unanswered && fixture.may_exist());
    }
    assert!(delays[2] > delays[0] && delays[2] < 10, "{delays:?}");
    // Refusals in between do not count as answers to the earlier requests, nor as lost ones.
    let busy = || Outcome::Provisioned(refused(422, RefusalReason::ConcurrencyError));
    let mitigating = fixture.clone().answered(busy()).answered(lost());
    assert!(mitigating.status().progress.orphan_mitigation_in_progress);
    let quiet = mitigating.status().progress.next_attempt_time.unwrap().0.duration_since(mitigating.now);
    assert!(quiet.as_secs() >= 100, "{quiet:?}");
    // An answer ends the doubt, and the next attempt has its own repetitions.
    assert_eq!(conditions(&fixture.clone().answered(done()).status()), "Ready=True:ProvisionedSuccessfully");
    assert_eq!(fixture.answered(done()).status().progress.unanswered_tries, 0);
    let next = mitigating.answered(gone()).answered(lost());
    assert!(!next.status().progress.orphan_mitigation_in_progress && next.status().progress.unanswered);
    assert_ne!(&*next.status().instance_id, UID);
}

#[test]
fn a_first_request_is_not_taken_for_a_repetition() {
    let status = Fixture::new().intending().status();
    assert!(!status.progress.unanswered && status.progress.retries == 0);
    let status = Fixture::new().answered(broken()).answered(gone()).intending().status();
    assert!(!status.progress.unanswered && status.progress.retries == 1);
}

#[test]
fn a_repetition_after_a_crash_is_one() {
    let status = Fixture::new().intending().after(60).intending().status();
    assert!(status.progress.unanswered && status.progress.retries == 1);
}

#[test]
fn an_update_request_outlives_what_stands_in_its_way() {
    let asked = Fixture::new().settled().with_update_request().unresolved();
    let Step::Record(said) = asked.plan() else { panic!("says what is missing") };
    let mended = asked.with_status(&said).resolved();
    assert_eq!(shown(&mended.plan(), &mended), "intent, PATCH");
}

// v0.3 Q23
#[test]
fn an_edit_is_tried_at_once_and_only_once() {
    let throttled = || Outcome::Provisioned(refused(429, RefusalReason::Throttled));
    let mut fixture = Fixture::new();
    for _ in 0..6 {
        fixture = fixture.answered(throttled());
    }
    let edited = fixture.with_parameters(&json!({"size": 9}));
    assert_eq!(shown(&edited.plan(), &edited), "intent, PUT");
    let again = edited.answered(throttled());
    assert_eq!(shown(&again.plan(), &again), "wait 1 s");
}

#[test]
fn an_edit_that_is_blocked_is_still_tried_at_once_when_it_can_be() {
    let mut fixture = Fixture::new();
    for _ in 0..6 {
        fixture = fixture.answered(Outcome::Provisioned(refused(429, RefusalReason::Throttled)));
    }
    let edited = fixture.with_parameters(&json!({"size": 9})).with_bad_parameters();
    let Step::Record(said) = edited.plan() else { panic!("says what is missing") };
    let mut mended = edited.with_status(&said);
    mended.secrets = Secrets::Read;
    assert_eq!(shown(&mended.plan(), &mended), "intent, PUT");
}

#[test]
fn a_mitigation_waits_for_an_earlier_request_too() {
    // The process dies after the first request, and the second one is answered with 500.
    let crashed = Fixture::new().intending().after(5);
    let mitigating = crashed.answered(broken());
    assert_eq!(shown(&mitigating.plan(), &mitigating), "wait 119 s");
}

#[test]
fn an_update_that_failed_half_way_is_undone_by_an_update() {
    let failed = Fixture::new()
        .changing()
        .answered(accepted())
        .answered(Outcome::Polled(polled(OperationState::Failed)));
    let reverted = failed.with_parameters(&json!({"size": 1}));
    assert_eq!(shown(&reverted.plan(), &reverted), "intent, PATCH");
}

// v0.3 H14, L7, Q29
#[test]
fn a_dashboard_stays_until_another_one_comes_or_the_instance_goes() {
    let with = |url: Option<&str>| {
        let dashboard_url = url.map(|url| Ok(url.to_owned()));
        Outcome::Provisioned(osb::Outcome::Answered(Provisioned::Done { dashboard_url }))
    };
    let fixture = Fixture::new().answered(with(Some("https://a")));
    let fixture = fixture.with_parameters(&json!({"size": 2})).answered(with(None));
    assert_eq!(fixture.status().dashboard_url.as_deref(), Some("https://a"));
    let fixture = fixture.with_parameters(&json!({"size": 3})).answered(with(Some("https://b")));
    assert_eq!(fixture.status().dashboard_url.as_deref(), Some("https://b"));
    // One that is left out is said, and changes nothing.
    let left_out = || Some(Err("it is odd"));
    let odd = Outcome::Provisioned(osb::Outcome::Answered(Provisioned::Done { dashboard_url: left_out() }));
    let fixture = fixture.with_parameters(&json!({"size": 4})).answered(odd);
    assert_eq!(fixture.status().dashboard_url.as_deref(), Some("https://b"));
    let said = |fixture: &Fixture| {
        let status = fixture.status();
        let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
        ready.message.ends_with("; the broker's dashboard_url is left out: it is odd")
    };
    assert!(said(&fixture));
    let begun = osb::Outcome::Answered(Provisioned::Accepted { operation: None, dashboard_url: left_out() });
    assert!(said(&Fixture::new().answered(Outcome::Provisioned(begun))));
    let dashboard_url = Some(Ok("https://c".into()));
    let begun = osb::Outcome::Answered(Provisioned::Accepted { operation: None, dashboard_url });
    let failed = Fixture::new()
        .answered(Outcome::Provisioned(begun))
        .answered(Outcome::Polled(polled(OperationState::Failed)))
        .answered(gone());
    assert_eq!(failed.status().dashboard_url, None);
}

// OSB 48, 102
#[test]
fn the_plan_that_an_instance_has_decides_whether_it_may_be_left() {
    let leaving = |present: bool, wanted: bool| {
        let mut fixture = Fixture::new().settled().with_plan("large-id");
        fixture = fixture.offered(|offering| offering.plan_updatable = wanted);
        fixture.acknowledged_offering = Some(Offering { plan_updatable: present, ..offering() });
        shown(&fixture.plan(), &fixture)
    };
    assert_eq!(leaving(true, false), "intent, PATCH");
    assert!(leaving(false, true).contains("PlanNotUpdatable"), "{}", leaving(false, true));
}

// v0.3 H16, Q20
#[test]
fn attempts_that_have_to_be_undone_come_to_an_end_together() {
    let mut fixture = Fixture::new();
    for _ in 0..3 {
        fixture = fixture.answered(broken()).answered(gone());
    }
    assert!(!condition::is_true(&fixture.status().conditions, ConditionType::Failed));
    let late = fixture.after(8 * 24 * 3600).answered(broken()).answered(gone()).status();
    assert!(condition::is_true(&late.conditions, ConditionType::Failed), "{late:?}");
    assert_eq!(late.deprovision_status, DeletionStatus::NotRequired);
}

#[test]
fn the_cause_stays_on_show_while_it_is_tried_again() {
    let message = |fixture: &Fixture| fixture.status().conditions[0].message.clone();
    let undone = Fixture::new().answered(broken()).answered(gone());
    let cause = message(&undone).split("the cause was: ").nth(1).unwrap().to_owned();
    assert!(message(&undone.clone().intending()).contains(&cause));
}

// v0.3 J4
#[test]
fn what_stands_in_the_way_is_told_and_nothing_is_announced() {
    let mut fixture = Fixture::new();
    fixture.precondition_error = Some("no such Secret".into());
    let mut mended = fixture.claimed();
    let said = mended.status();
    assert_eq!(said.conditions[0].reason, "ErrorGettingAuthCredentials");
    assert_eq!(said.current_operation, InstanceOperation::None);
    assert_eq!(shown(&mended.plan(), &mended), "wait 10 s");
    mended.precondition_error = None;
    assert_eq!(shown(&mended.plan(), &mended), "intent, PUT");
}

// v0.3 H22, Q17
#[test]
fn an_id_that_another_instance_has_is_not_asked_for() {
    let mut fixture = Fixture::new().with_external_id("mine");
    for (by, words) in
        [(Some("db"), "the ServiceInstance \"db\" has"), (None, "another object in this cluster has")]
    {
        fixture.taken_id = Some(TakenId { id: "mine".into(), by: by.map(str::to_owned) });
        let Step::Record(said) = fixture.plan() else { panic!("says who has it") };
        assert_eq!(said.conditions[0].reason, "ExternalIDInUse");
        assert!(said.conditions[0].message.contains(words), "{}", said.conditions[0].message);
    }
    // Without the policies it gets the finalizer with the first write. Otherwise it would look abandoned later.
    let plain = fixture.clone().without_finalizer();
    assert!(matches!(plain.plan(), Step::Claim(_)));
    let mut claimed = plain.claimed();
    claimed.taken_id = None;
    assert_eq!(shown(&claimed.plan(), &claimed), "intent, PUT");
    // What was taken is another id than this one.
    fixture.taken_id = Some(TakenId { id: "another".into(), by: None });
    assert_eq!(shown(&fixture.plan(), &fixture), "intent, PUT");
}

/// A user cannot choose the uid, so nobody can keep an instance from being ordered.
#[test]
fn a_derived_id_that_another_instance_has_is_left_to_it() {
    let mut fixture = Fixture::new();
    fixture.taken_id = Some(TakenId { id: UID.into(), by: None });
    let Step::Claim(next) = fixture.plan() else { panic!("goes on with the next id") };
    assert_eq!(next.status.progress.attempt, 1);
    assert_eq!(next.status.instance_id.as_str(), attempt_id("", UID, 1));
    assert_eq!(next.patch["spec"]["externalID"], attempt_id("", UID, 1));
    let fixture = fixture.patched(&next);
    let (_, call) = fixture.asking();
    assert_eq!(call.address().instance_id.as_str(), attempt_id("", UID, 1));
}

// v0.3 Q49
#[test]
fn an_instance_stays_with_the_broker_that_has_it() {
    let moved = Fixture::new().settled().with_parameters(&json!({"size": 2}));
    let moved = moved.offered(|offering| offering.broker.name = "another".into());
    let Step::Record(said) = moved.plan() else { panic!("says what is wrong") };
    assert_eq!(said.conditions[0].reason, "ReferencesNonexistentServiceClass");
    assert_eq!(said.resolved.unwrap().broker, "broker");
}

// v0.3 D9
#[test]
fn an_update_that_would_say_nothing_is_not_sent() {
    let asked = Fixture::new().with_parameters(&json!({})).settled().with_update_request();
    let asked = asked.offered(|offering| offering.plan_updatable = false);
    let Step::Record(seen) = asked.plan() else { panic!("takes note of it") };
    assert_eq!(seen.observed_update_requests, asked.object.spec.update_requests);
    let after = asked.with_status(&seen);
    assert_eq!(shown(&after.plan(), &after), "wait for a change");
}

// OSB 148
// v0.3 H9
#[test]
fn what_is_in_doubt_under_an_id_of_the_users_is_asked_again_and_deleted_only_with_the_object() {
    let lost = || Outcome::Provisioned(doubt(None, false, true));
    let doubtful = Fixture::new().with_external_id("mine").answered(lost()).answered(broken());
    assert_eq!(shown(&doubtful.plan(), &doubtful), "wait 2 s");
    let Call::Request(address, InstanceRequest::Provision(_)) = doubtful.clone().asking().1 else {
        panic!("not asked again")
    };
    assert_eq!(address.instance_id, "mine");
    let edited = doubtful.clone().with_parameters(&json!({"size": 2}));
    let Step::Record(said) = edited.plan() else { panic!("says what to do") };
    assert!(said.conditions[0].message.contains("set it back to what it was, or delete"));
    let back = edited.with_status(&said).with_parameters(&json!({"size": 1}));
    assert_eq!(shown(&back.plan(), &back), "intent, PUT");
    assert_eq!(name(&doubtful.clone().deleted().asking().1), "DELETE");
    assert!(!doubtful.answered(done()).status().progress.unanswered);
}

#[test]
fn an_instance_that_was_abandoned_before_it_was_ordered_does_not_get_its_finalizer_back() {
    let mut abandoned = Fixture::new().unresolved().claimed().without_finalizer();
    let Step::Record(said) = abandoned.plan() else { panic!("does not say that it is abandoned") };
    abandoned = abandoned.with_status(&said);
    assert_eq!(conditions(&said), "Ready=False:Abandoned");
    let resolved = abandoned.resolved();
    assert_eq!(shown(&resolved.plan(), &resolved), "wait for a change");
}

// v0.3 L3
#[test]
fn bindings_go_with_their_instance_where_that_is_set() {
    let mut fixture = Fixture::new().settled().with_binding("one").with_binding("two").deleted();
    fixture.settings.cascading_deletion = true;
    let Step::Record(said) = fixture.plan() else { panic!("says what is done first") };
    assert_eq!(conditions(&said), "Ready=False:ServiceBindingsDeletion");
    assert!(said.conditions[0].message.ends_with(": one, two"), "{}", said.conditions[0].message);
    let told = fixture.with_status(&said);
    let Step::Write(writes) = told.plan() else { panic!("deletes them") };
    let deleted =
        |write: &Write| matches!(write, Write::Delete(target, _) if target.resource.kind == "ServiceBinding");
    assert!(writes.len() == 2 && writes.iter().all(deleted));
    // Those that are on their way already are waited for.
    let leaving = told.with_leaving_bindings();
    assert_eq!(shown(&leaving.plan(), &leaving), "wait for a change");
}

// v0.3 Q25
#[test]
fn what_a_provision_may_have_left_is_undone_whatever_bindings_wait_for_it() {
    let mut fixture = Fixture::new().answered(broken()).with_binding("early");
    fixture.settings.cascading_deletion = true;
    assert_eq!(shown(&fixture.plan(), &fixture), "intent, DELETE to mitigate");
    fixture.settings.cascading_deletion = false;
    assert_eq!(shown(&fixture.plan(), &fixture), "intent, DELETE to mitigate");
}

// v0.3 Q22
#[test]
fn a_broker_with_other_words_for_every_failure_is_asked_no_sooner() {
    let failure = |words: &str| {
        Outcome::Deleted(osb::Outcome::Unknown(UnknownOutcome {
            status: Some(500),
            message: words.into(),
            answered: true,
            ..UnknownOutcome::default()
        }))
    };
    let (mut fixture, mut waits) = (Fixture::new().settled().deleted(), vec![]);
    for words in ["request 1", "request 2", "request 3", "request 4"] {
        fixture = fixture.answered(failure(words));
        assert!(fixture.status().conditions[0].message.contains(words), "{words}");
        waits.push(shown(&fixture.plan(), &fixture));
    }
    assert_eq!(waits, ["wait 1 s", "wait 2 s", "wait 4 s", "wait 8 s"]);
}

// OSB 84
#[test]
fn attempts_that_are_undone_asynchronously_come_to_an_end_together_as_well() {
    let deleting = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let gone = || Outcome::Polled(polled(OperationState::Gone));
    let mut fixture = Fixture::new();
    let mut days = 0;
    while !condition::is_true(&fixture.status().conditions, ConditionType::Failed) {
        days += 1;
        assert!(days < 9, "asked for ever");
        fixture = fixture.after(24 * 3600).answered(broken()).answered(deleting()).answered(gone());
    }
    assert!(days > 6, "given up after {days} days");
}

#[test]
fn an_edit_is_seen_although_the_status_is_of_a_later_generation() {
    let mut restored = Fixture::new().settled();
    for size in 2..5 {
        restored = restored.with_parameters(&json!({"size": size})).settled();
    }
    restored.object.metadata.generation = Some(1);
    let Step::Record(seen) = restored.plan() else { panic!("{}", shown(&restored.plan(), &restored)) };
    assert_eq!((seen.observed_generation, seen.reconciled_generation), (1, 1));
    restored = restored.with_status(&seen);
    assert_eq!(shown(&restored.plan(), &restored), "wait for a change");
    let edited = restored.with_parameters(&json!({"size": 5}));
    assert_eq!(shown(&edited.plan(), &edited), "intent, PATCH");
}

// OSB 111
#[test]
fn an_instance_that_nothing_can_repair_is_at_rest() {
    let unusable = match refused(409, RefusalReason::Conflict) {
        osb::Outcome::Refused(refusal) => {
            osb::Outcome::Refused(Refusal { instance_usable: Some(false), ..refusal })
        }
        other => other,
    };
    let mut fixture = Fixture::new().with_parameters(&json!({})).settled();
    fixture = fixture.offered(|offering| offering.plan_updatable = false);
    fixture = fixture.with_parameters(&json!({"size": 2})).answered(Outcome::Provisioned(unusable));
    let mut reverted = fixture.with_parameters(&json!({}));
    let Step::Record(said) = reverted.plan() else { panic!("takes note of it") };
    reverted = reverted.with_status(&said);
    assert_eq!(conditions(&said), "Ready=False:UpdateInstanceCallFailed");
    assert!(!said.conditions[0].message.contains("tried again"), "{}", said.conditions[0].message);
    assert_eq!(shown(&reverted.plan(), &reverted), "wait for a change");
}

#[test]
fn an_object_that_was_restored_amid_its_deletion_is_deleted_at_the_broker_and_ordered_anew() {
    let done = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Done));
    let accepted = Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let gone = || Outcome::Polled(polled(OperationState::Gone));
    for (answer, end) in [(Outcome::Deleted(unsent()), done()), (accepted, gone())] {
        let mut restored = Fixture::new().settled().deleted().answered(answer);
        restored.object.metadata.deletion_timestamp = None;
        let (asked, call) = restored.answered(end).asking();
        assert_eq!(name(&call), "PUT", "{}", conditions(&asked.status()));
        assert_ne!(asked.status().instance_id, UID);
        assert_eq!(asked.status().external_properties, None);
    }
}

#[test]
fn an_instance_that_others_keep_after_its_deletion_says_so() {
    for first in [Fixture::new().settled(), Fixture::new().answered(broken()), Fixture::new().changing()] {
        let gone = first.held().deleted().answered(gone());
        let status = gone.status();
        assert_eq!(conditions(&status), "Ready=False:DeprovisionedSuccessfully");
        assert_eq!(status.deprovision_status, DeletionStatus::Succeeded);
        assert_eq!(status.provision_status, ProvisionStatus::NotProvisioned);
        assert_eq!((&status.external_properties, &status.in_progress_properties), (&None, &None));
        assert_eq!(status.current_operation, InstanceOperation::None);
        assert_eq!(&*status.instance_id, UID);
        assert_eq!(shown(&gone.plan(), &gone), "let go");
        assert_eq!(shown(&gone.clone().without_finalizer().plan(), &gone), "wait for a change");
    }
}

#[test]
fn an_instance_that_others_keep_is_not_ready_without_our_finalizer() {
    let released = Fixture::new().settled().deleted().without_finalizer();
    let Step::Record(status) = released.plan() else { panic!("{}", shown(&released.plan(), &released)) };
    assert_eq!(conditions(&status), "Ready=False:Abandoned");
    let said = released.with_status(&status);
    assert_eq!(shown(&said.plan(), &said), "wait for a change");
}

#[test]
fn a_deprovision_has_the_properties_that_the_original_needs() {
    let accepted = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None }));
    let failed = || Outcome::Deleted(doubt(Some(500), true, false));
    let settled = || Fixture::new().settled();
    let acknowledged = settled().status().external_properties;
    assert!(acknowledged.is_some());
    for fixture in [settled(), Fixture::new().changing().answered(Outcome::Provisioned(unsent()))] {
        for answer in [accepted(), failed()] {
            let status = fixture.clone().deleted().answered(answer).status();
            assert_eq!(status.current_operation, InstanceOperation::Deprovision);
            assert_eq!(status.in_progress_properties, acknowledged);
            assert_eq!(status.external_properties, acknowledged);
        }
    }
    // Nothing was acknowledged.
    let broken = Fixture::new().answered(broken());
    let requested = broken.status().in_progress_properties;
    assert!(requested.is_some());
    assert_eq!(broken.clone().deleted().answered(failed()).status().in_progress_properties, requested);
    let mut forgotten = broken.status();
    forgotten.in_progress_properties = None;
    let deleting = broken.with_status(&forgotten).deleted().answered(accepted()).status();
    let plan = deleting.in_progress_properties.map(|properties| properties.plan_id().clone());
    assert_eq!(plan, deleting.resolved.map(|resolved| resolved.plan_id));
}
