//! Updates beyond plan and parameters: what a failed one leaves, versions, what is fetched, and annotations.

use super::*;
use crate::{
    crd::{ConditionStatus, ConditionType, UserInfo, condition},
    osb::{outcome::InstanceAnswer, wire::MaintenanceInfo},
    reconcilers::{identity::identity_of, instance::FetchPurpose},
};

fn refused_update(usable: Option<bool>) -> Outcome {
    let refused = match refused(400, RefusalReason::BadRequest) {
        osb::Outcome::Refused(refusal) => {
            osb::Outcome::Refused(Refusal { instance_usable: usable, ..refusal })
        }
        other => other,
    };
    Outcome::Provisioned(refused)
}

fn failed_update(usable: Option<bool>) -> Outcome {
    let failed = polled(OperationState::Failed);
    Outcome::Polled(failed.map(|polled| Polled { instance_usable: usable, ..polled }))
}

fn ready(fixture: &Fixture) -> (ConditionStatus, String) {
    let status = fixture.status();
    let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
    (ready.status, ready.message.clone())
}

fn version(version: &str) -> MaintenanceInfo {
    MaintenanceInfo { version: version.into(), description: "news".into() }
}

/// The plan has this version now.
fn at_version(fixture: Fixture, offered: &str) -> Fixture {
    fixture.offered(|offering| offering.maintenance = Some(version(offered)))
}

fn asking_for_version(mut fixture: Fixture, version: &str) -> Fixture {
    version.clone_into(&mut fixture.object.spec.maintenance_version);
    fixture.edited()
}

fn patch(fixture: &Fixture) -> Value {
    match fixture.clone().asking().1 {
        Call::Request(_, InstanceRequest::Update(body)) => serde_json::to_value(body).unwrap(),
        other => panic!("{} is no update", name(&other)),
    }
}

#[test]
fn an_instance_whose_update_failed_stays_ready_and_says_so() {
    let updating = || Fixture::new().changing().answered(accepted());
    for failed in [
        Fixture::new().changing().answered(refused_update(None)),
        Fixture::new().changing().answered(refused_update(Some(true))),
        updating().answered(failed_update(None)),
    ] {
        let (state, message) = ready(&failed);
        assert_eq!(state, ConditionStatus::True);
        assert!(message.starts_with("Update call failed: "), "{message}");
        let status = failed.status();
        assert!(condition::is_true(&status.conditions, ConditionType::Failed));
        assert!(failed.is_bindable() && status.last_condition_state == "Failed");
        assert_eq!(shown(&failed.plan(), &failed), "wait for a change");
    }
}

#[test]
fn while_an_update_is_tried_again_the_instance_is_bindable_but_not_ready() {
    let throttled = || Outcome::Provisioned(refused(429, RefusalReason::Throttled));
    let waiting = Fixture::new().changing().answered(throttled());
    assert_eq!(ready(&waiting).0, ConditionStatus::False);
    assert!(waiting.is_bindable());
    assert!(!Fixture::new().answered(throttled()).is_bindable(), "there is nothing yet");
    assert!(!waiting.answered(accepted()).is_bindable(), "the broker is at it");
}

// OSB 73, 111
#[test]
fn an_instance_that_the_broker_calls_unusable_is_so_until_an_update_succeeds() {
    for broken in [
        Fixture::new().changing().answered(refused_update(Some(false))),
        Fixture::new().changing().answered(accepted()).answered(failed_update(Some(false))),
    ] {
        assert_eq!(ready(&broken).0, ConditionStatus::False);
        assert!(!broken.is_bindable());
        assert_eq!(shown(&broken.plan(), &broken), "wait for a change");
        // Setting it back to what the broker has is an attempt to repair it.
        let reverted = broken.with_parameters(&json!({"size": 1}));
        assert_eq!(patch(&reverted)["parameters"], json!({"size": 1}));
        let still = reverted.clone().answered(refused_update(None));
        assert!(!still.is_bindable(), "the broker has not said otherwise");
        let repaired = reverted.answered(done());
        assert!(repaired.is_bindable() && !repaired.status().unusable);
    }
}

#[test]
fn an_unusable_instance_that_no_update_can_repair_waits() {
    let mut broken = Fixture::new().with_parameters(&json!({})).settled().with_plan("big-id");
    broken = broken.answered(refused_update(Some(false)));
    let back = broken.offered(|offering| {
        offering.plan_updatable = false;
        offering.plan_id = "small-id".into();
    });
    let back = back.edited();
    let Step::Record(said) = back.plan() else { panic!("sees the edit") };
    assert!(said.unusable && !condition::is_true(&said.conditions, ConditionType::Ready));
    let seen = back.with_status(&said);
    assert_eq!(shown(&seen.plan(), &seen), "wait for a change");
}

#[test]
fn a_revert_after_a_refused_update_is_ready_without_a_word_of_the_failure() {
    let failed = Fixture::new().changing().answered(refused_update(None));
    let reverted = failed.with_parameters(&json!({"size": 1}));
    let Step::Record(said) = reverted.plan() else { panic!("nothing is asked of the broker") };
    let settled = reverted.with_status(&said);
    assert_eq!(ready(&settled), (ConditionStatus::True, "The instance is as its spec asks".to_owned()));
    assert!(!condition::is_true(&settled.status().conditions, ConditionType::Failed));
}

// OSB 26, 109
#[test]
fn an_update_that_was_answered_with_5xx_is_taken_back_without_a_request() {
    let failure = |status, answered| match doubt::<Provisioned>(status, answered, false) {
        osb::Outcome::Unknown(unknown) => unknown,
        _ => panic!("a doubt"),
    };
    let reverted = |unknown| {
        let failed = Fixture::new().changing().answered(Outcome::Provisioned(osb::Outcome::Unknown(unknown)));
        failed.with_parameters(&json!({"size": 1}))
    };
    let Step::Record(said) = reverted(failure(Some(500), true)).plan() else { panic!("nothing is asked") };
    assert_eq!(conditions(&said), "Ready=True:InstanceUpdatedSuccessfully");
    let broken = UnknownOutcome { instance_usable: Some(false), ..failure(Some(500), true) };
    for in_doubt in [failure(None, false), failure(Some(502), false), failure(Some(200), true), broken] {
        assert_eq!(patch(&reverted(in_doubt))["parameters"], json!({"size": 1}));
    }
    // What the first request did, the answer to the second does not say.
    let lost = Fixture::new().changing().answered(Outcome::Provisioned(doubt(None, false, false)));
    let failed = lost.answered(Outcome::Provisioned(doubt(Some(500), true, false)));
    assert_eq!(patch(&failed.with_parameters(&json!({"size": 1})))["parameters"], json!({"size": 1}));
}

#[test]
fn a_broker_without_updates_is_not_told_of_annotations_again() {
    let moved = annotated(annotated(Fixture::new(), "a").settled(), "b");
    for answer in [refused(404, RefusalReason::Other), doubt(Some(501), true, false)] {
        let told = moved.clone().answered(Outcome::Provisioned(answer));
        assert_eq!(conditions(&told.status()), "Ready=True:InstanceUpdatedSuccessfully");
        assert_eq!(shown(&told.plan(), &told), "wait for a change");
    }
}

// OSB 89
#[test]
fn an_instance_begins_with_the_version_of_its_plan_and_keeps_it() {
    let new = at_version(Fixture::new(), "1.0.0");
    let Call::Request(_, InstanceRequest::Provision(body)) = new.clone().asking().1 else {
        panic!("not provisioned")
    };
    assert_eq!(serde_json::to_value(body).unwrap()["maintenance_info"], json!({"version": "1.0.0"}));
    let settled = new.settled();
    assert_eq!(settled.status().available_maintenance, None);
    let newer = at_version(settled, "2.0.0");
    let Step::Record(said) = newer.plan() else { panic!("says what is available") };
    assert_eq!(said.available_maintenance, Some(version("2.0.0")));
    let newer = newer.with_status(&said);
    assert_eq!(shown(&newer.plan(), &newer), "wait for a change");
    let changed = patch(&newer.with_parameters(&json!({"size": 2})));
    assert_eq!(changed.get("maintenance_info"), None, "nobody has asked for it");
    assert_eq!(changed["previous_values"]["maintenance_info"], json!({"version": "1.0.0"}));
}

// OSB 106
// v0.3 F13
#[test]
fn an_instance_is_brought_to_a_version_when_the_user_asks_for_it() {
    let settled = at_version(Fixture::new(), "1.0.0").settled();
    let newer = at_version(settled, "2.0.0");
    let asked = asking_for_version(newer, "2.0.0");
    let body = patch(&asked);
    assert_eq!(body["maintenance_info"], json!({"version": "2.0.0"}));
    assert_eq!((body.get("plan_id"), body.get("parameters")), (None, None));
    let upgraded = asked.answered(done());
    let status = upgraded.status();
    assert_eq!(status.external_properties.unwrap().maintenance_version.as_deref(), Some("2.0.0"));
    assert_eq!(status.available_maintenance, None);
    // An old client has erased the field: nothing is asked for.
    let erased = asking_for_version(upgraded, "");
    assert_eq!(shown(&erased.plan(), &erased), "say Ready=True:InstanceUpdatedSuccessfully");
}

// OSB 113
#[test]
fn a_version_that_the_plan_does_not_have_is_not_asked_for() {
    let settled = at_version(Fixture::new(), "1.0.0").settled();
    for (offered, words) in [(Some(version("3.0.0")), "has the version \"3.0.0\""), (None, "has no versions")]
    {
        let asked = asking_for_version(settled.clone(), "2.0.0");
        let asked = asked.offered(|offering| offering.maintenance = offered);
        let Step::Record(said) = asked.plan() else { panic!("asks the broker") };
        assert_eq!(said.conditions[0].reason, "MaintenanceVersionNotOffered");
        assert!(said.conditions[0].message.contains(words), "{}", said.conditions[0].message);
    }
}

#[test]
fn a_new_plan_comes_with_its_version() {
    let settled = at_version(Fixture::new(), "1.0.0").settled();
    let moved = at_version(settled.with_plan("big-id"), "7.0.0");
    assert_eq!(patch(&moved)["maintenance_info"], json!({"version": "7.0.0"}));
}

fn retrievable(mut fixture: Fixture) -> Fixture {
    fixture.requested_offering = Some(Offering { instances_retrievable: true, ..offering() });
    fixture
}

fn found(plan: Option<&str>) -> Outcome {
    Outcome::Fetched(osb::Outcome::Answered(InstanceAnswer {
        dashboard_url: Some(Ok("https://there".into())),
        plan_id: plan.map(Into::into),
        maintenance_version: Some("1.2.3".into()),
    }))
}

// OSB 96, 100
#[test]
fn after_an_asynchronous_success_the_instance_tells_the_rest() {
    let polling = retrievable(Fixture::new().answered(accepted()));
    let (polled, fetch) = polling.following(Outcome::Polled(polled(OperationState::Succeeded)));
    assert!(matches!(&fetch, Call::Request(_, InstanceRequest::Fetch(_, FetchPurpose::Provisioned))));
    let (told, _) = polled.clone().absorbing(&fetch, found(None));
    assert_eq!(told.status().dashboard_url.as_deref(), Some("https://there"));
    assert_eq!(told.status().external_properties.unwrap().maintenance_version.as_deref(), Some("1.2.3"));
    let (untold, _) = polled.absorbing(&fetch, Outcome::Fetched(doubt(None, false, false)));
    assert_eq!(ready(&untold).0, ConditionStatus::True, "the success was the broker's word");
}

// OSB 61, 96
#[test]
fn a_conflict_with_our_own_unanswered_request_is_looked_into_before_anything_is_deleted() {
    let unanswered =
        || retrievable(Fixture::new().answered(Outcome::Provisioned(doubt(Some(200), true, false))));
    let conflict = || Outcome::Provisioned(refused(409, RefusalReason::Conflict));
    let (asked, fetch) = unanswered().following(conflict());
    assert!(matches!(&fetch, Call::Request(_, InstanceRequest::Fetch(_, FetchPurpose::Refused(_)))));
    for ours in [None, Some("small-id")] {
        let (recovered, _) = asked.clone().absorbing(&fetch, found(ours));
        assert_eq!(ready(&recovered).0, ConditionStatus::True);
        assert_eq!(recovered.status().instance_id, UID);
    }
    let elsewhere = Outcome::Fetched(refused(404, RefusalReason::Other));
    for not_ours in [found(Some("other-id")), elsewhere] {
        let (lost, _) = asked.clone().absorbing(&fetch, not_ours);
        assert!(lost.status().progress.orphan_mitigation_in_progress);
    }
    // Under an id of the user's the instance may be somebody else's, and is neither adopted nor deleted.
    let mine = Fixture::new().with_external_id("mine");
    let mine = retrievable(mine.answered(Outcome::Provisioned(doubt(Some(200), true, false))));
    let refused = mine.answered(conflict());
    assert!(!refused.status().progress.orphan_mitigation_in_progress && !refused.may_exist());
}

fn annotated(mut fixture: Fixture, team: &str) -> Fixture {
    let instance = [("team".to_owned(), team.to_owned())].into();
    fixture.annotations = Some(ContextAnnotations { instance, ..ContextAnnotations::default() });
    fixture.acknowledged_offering = Some(Offering { context_updatable: true, ..offering() });
    fixture
}

// OSB 105
#[test]
fn annotations_that_change_are_told_where_the_broker_wants_to_know() {
    let settled = annotated(Fixture::new(), "a").settled();
    assert_eq!(shown(&settled.plan(), &settled), "wait for a change");
    let mut moved = annotated(settled, "b");
    let body = patch(&moved);
    assert_eq!(body["context"]["instance_annotations"], json!({"team": "b"}));
    assert_eq!(body["context"]["namespace_annotations"], json!({}));
    assert_eq!((body.get("plan_id"), body.get("parameters")), (None, None));
    let (telling, call) = moved.clone().asking();
    assert_eq!(ready(&telling).0, ConditionStatus::True, "the instance is as ready as before");
    let Call::Request(address, InstanceRequest::Update(_)) = &call else { panic!("no update") };
    assert!(address.identity.is_none(), "nobody knows who has annotated");
    for answer in [done(), refused_update(None)] {
        let (told, _) = telling.clone().absorbing(&call, answer);
        assert_eq!(ready(&told).0, ConditionStatus::True);
        assert_eq!(shown(&told.plan(), &told), "wait for a change");
    }
    moved.acknowledged_offering = Some(offering());
    assert_eq!(shown(&moved.plan(), &moved), "wait for a change", "this one does not want to know");
}

#[test]
fn annotations_are_told_again_when_the_broker_could_not_listen() {
    let moved = annotated(annotated(Fixture::new(), "a").settled(), "b");
    for answer in [Outcome::Provisioned(unsent()), Outcome::Provisioned(doubt(None, false, false))] {
        let waiting = moved.clone().answered(answer);
        assert_eq!(ready(&waiting).0, ConditionStatus::True);
        assert!(shown(&waiting.plan(), &waiting).starts_with("wait "));
        assert_eq!(patch(&waiting).get("parameters"), None);
        let given_up = waiting.clone().after(8 * 24 * 3600).answered(Outcome::Provisioned(unsent()));
        assert_eq!(conditions(&given_up.status()), "Ready=True:InstanceUpdatedSuccessfully");
        assert_eq!(shown(&given_up.plan(), &given_up), "wait for a change");
        // An edit does not wait for that.
        let edited = waiting.with_parameters(&json!({"size": 5}));
        assert_eq!(patch(&edited)["parameters"], json!({"size": 5}));
    }
}

// OSB 105
#[test]
fn annotations_that_a_broker_takes_its_time_with_are_an_operation_like_any_other_but_nobodys() {
    let mut moved = annotated(annotated(Fixture::new(), "a").settled(), "b");
    moved.object.spec.user_info = Some(UserInfo { username: "alice".into(), ..UserInfo::default() });
    let telling = moved.clone().answered(accepted());
    assert_eq!(ready(&telling).0, ConditionStatus::True);
    assert!(!telling.is_bindable(), "the broker is at it");
    let Call::Poll(address, ..) = telling.clone().asking().1 else { panic!("not polled") };
    assert!(address.identity.is_none(), "nobody knows who has annotated");
    for answer in [polled(OperationState::InProgress), doubt(Some(503), true, false)] {
        let polling = telling.clone().answered(Outcome::Polled(answer));
        assert_eq!(conditions(&polling.status()), conditions(&telling.status()));
    }
    // That it comes to nothing is not the instance's failure, unless the broker says so.
    let failed = telling.clone().answered(failed_update(None));
    assert_eq!(conditions(&failed.status()), "Ready=True:InstanceUpdatedSuccessfully");
    assert_eq!(shown(&failed.plan(), &failed), "wait for a change");
    for unusable in
        [telling.answered(failed_update(Some(false))), moved.answered(refused_update(Some(false)))]
    {
        assert_eq!(ready(&unusable).0, ConditionStatus::False);
        assert!(!unusable.is_bindable());
    }
}

// OSB 94
#[test]
fn a_repeated_request_names_the_annotations_of_the_first() {
    let first = annotated(Fixture::new(), "a").intending().after(60);
    let Call::Request(_, InstanceRequest::Provision(body)) = annotated(first, "b").asking().1 else {
        panic!("not provisioned")
    };
    let body = serde_json::to_value(body).unwrap();
    assert_eq!(body["context"]["instance_annotations"], json!({"team": "a"}));
}

// OSB 7
#[test]
fn an_operation_is_polled_in_the_name_of_the_user_who_asked_for_it() {
    let by = |mut fixture: Fixture, name: &str| {
        fixture.object.spec.user_info = Some(UserInfo { username: name.into(), ..UserInfo::default() });
        fixture
    };
    let asked = by(Fixture::new().changing(), "alice").answered(accepted());
    let (polling, call) = by(asked, "bob").with_parameters(&json!({"size": 3})).asking();
    let Call::Poll(address, ..) = call else { panic!("not polled") };
    let alice = UserInfo { username: "alice".into(), ..UserInfo::default() };
    assert!(address.identity == identity_of(Some(&alice)));
    let settled = polling.answered(Outcome::Polled(polled(OperationState::Succeeded)));
    assert_eq!(settled.status().external_properties.unwrap().user_info, None);
}

#[test]
fn a_doubt_about_more_than_annotations_outlives_a_refusal_although_the_spec_is_as_before() {
    // An annotation has changed, an update of the parameters is lost, and the user takes the edit back.
    let moved = annotated(annotated(Fixture::new(), "a").settled(), "b");
    let doubtful = moved.with_parameters(&json!({"size": 2})).intending();
    let reverted = doubtful.with_parameters(&json!({"size": 1}));
    assert_eq!(patch(&reverted)["parameters"], json!({"size": 1}));
    let refused = reverted.answered(refused_update(None));
    assert!(condition::is_true(&refused.status().conditions, ConditionType::Failed));
    assert!(refused.status().progress.unanswered);
}

#[test]
fn a_refused_change_of_plan_that_is_taken_back_leaves_the_plan_that_is_there_on_record() {
    let moved = |fixture: Fixture, plan: &str| {
        fixture.offered(|offering| plan.clone_into(&mut offering.plan)).with_plan(&format!("{plan}-id"))
    };
    let refused = Outcome::Provisioned(refused(422, RefusalReason::Other));
    let refused = moved(moved(Fixture::new(), "small").settled(), "large").answered(refused);
    let back = moved(refused, "small");
    let back = back.claimed();
    let resolved = back.status().resolved.unwrap();
    assert_eq!((&*resolved.plan, &*resolved.plan_id), ("small", "small-id"));
    assert_eq!(back.object.spec.cluster_service_plan_ref.as_ref().unwrap().name, "small");
    assert_eq!(shown(&back.plan(), &back), "wait for a change");
}
