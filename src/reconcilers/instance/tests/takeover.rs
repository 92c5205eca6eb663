//! What the original left.

use super::*;
use crate::crd::{
    Condition, ConditionStatus, ConditionType, condition, instance::InstanceOperation,
    progress::DeletionStatus,
};
use crate::osb::InstanceId;

fn record() -> ResolvedOffering {
    offering().to_record()
}

/// The same, but as the original would have left it: nothing of what this operator notes beside.
fn of_original(fixture: Fixture) -> Fixture {
    let mut status = fixture.status();
    status.instance_id = InstanceId::default();
    status.resolved = None;
    status.observed_update_requests = 0;
    status.progress.last_attempt_time = None;
    status.progress.next_attempt_time = None;
    status.progress.retries = 0;
    let mut left = fixture.without_intent().with_external_id("made-up-by-the-webhook").with_status(&status);
    left.legacy = left.may_exist().then(record);
    left
}

fn requesting(mut fixture: Fixture, count: i64) -> Fixture {
    fixture.object.spec.update_requests = count;
    fixture
}

fn next(fixture: &Fixture) -> String {
    shown(&fixture.plan(), fixture)
}

fn refused_for_good() -> Fixture {
    Fixture::new().answered(Outcome::Provisioned(refused(400, RefusalReason::BadRequest)))
}

#[test]
fn what_was_ordered_goes_on_record_once_and_nothing_is_asked() {
    let settled = requesting(of_original(Fixture::new().settled()), 2);
    let before = settled.status();
    let Step::Record(taken) = settled.plan() else { panic!("{}", next(&settled)) };
    assert_eq!(taken.conditions.len(), before.conditions.len());
    assert_eq!(taken.resolved, Some(record()));
    assert_eq!((&*taken.instance_id, taken.observed_update_requests), ("made-up-by-the-webhook", 2));
    assert_eq!(next(&settled.with_status(&taken)), "wait for a change");
}

#[test]
fn requests_for_an_update_that_were_acted_on_are_not_new() {
    let stuck = requesting(of_original(refused_for_good()), 1);
    assert_eq!(next(&stuck), "wait for a change");
    assert_eq!(next(&stuck.with_update_request()), "intent, PUT");
}

#[test]
fn a_deletion_needs_nothing_but_what_went_on_record() {
    let gone = of_original(Fixture::new().settled()).unresolved().deleted();
    let (_, call) = gone.asking();
    let Call::Delete(address, target, DeletePurpose::Deletion) = call else { panic!("{}", name(&call)) };
    assert_eq!(address.instance_id, "made-up-by-the-webhook");
    assert_eq!((&*target.service_id, &*target.plan_id), ("service-id", "small-id"));
}

#[test]
fn without_a_finalizer_nothing_is_taken_over() {
    let abandoned = of_original(Fixture::new().settled()).without_finalizer();
    assert_eq!(next(&abandoned), "say Ready=False:Abandoned");
}

// v0.3 O13
#[test]
fn a_provision_that_was_refused_is_not_in_doubt_and_its_spec_can_be_corrected() {
    let refused = || Outcome::Provisioned(refused(422, RefusalReason::Other));
    let left = of_original(Fixture::new().answered(refused()));
    // The original wrote the same after an attempt that was not answered and one that was refused.
    assert_eq!(name(&left.clone().deleted().asking().1), "DELETE");
    assert_eq!(name(&left.clone().asking().1), "PUT");
    for corrected in [left.clone(), left.answered(refused())] {
        let corrected = corrected.with_parameters(&json!({"size": 2}));
        let settled = corrected.answered(done());
        assert_eq!(conditions(&settled.status()), "Ready=True:ProvisionedSuccessfully");
    }
}

// v0.3 A12
#[test]
fn what_was_refused_for_good_gets_the_condition_stalled_once() {
    let given_up =
        Fixture::new().changing().answered(Outcome::Provisioned(refused(400, RefusalReason::BadRequest)));
    for fixture in [refused_for_good(), given_up] {
        let mut status = fixture.status();
        status.conditions.retain(|condition| condition.type_ != ConditionType::Stalled);
        let left = of_original(fixture.with_status(&status));
        let Step::Record(taken) = left.plan() else { panic!("{}", next(&left)) };
        let stalled = condition::find(&taken.conditions, ConditionType::Stalled);
        let failed = condition::find(&taken.conditions, ConditionType::Failed).unwrap();
        assert_eq!(stalled, Some(&Condition { type_: ConditionType::Stalled, ..failed.clone() }));
        assert_eq!(taken.last_condition_state, "Failed");
        assert_eq!(next(&left.with_status(&taken)), "wait for a change");
    }
}

fn given_up_orphan() -> ServiceInstanceStatus {
    let mut status = Fixture::new().intending().status();
    status.current_operation = InstanceOperation::None;
    status.in_progress_properties = None;
    status.deprovision_status = DeletionStatus::Failed;
    status
}

// v0.3 O14
#[test]
fn the_asynchronous_deletion_of_a_given_up_orphan_is_followed_as_what_it_is() {
    let operation = Some("op".to_owned());
    let accepted = Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation }));
    let polling = of_original(Fixture::new().with_status(&given_up_orphan())).answered(accepted);
    let (asked, call) = polling.asking();
    assert_eq!(name(&call), "GET last_operation");
    let gone = asked.absorbing(&call, Outcome::Polled(polled(OperationState::Succeeded))).0;
    assert!(!condition::is_true(&gone.status().conditions, ConditionType::Ready));
    assert_eq!(next(&gone.after(3600)), "intent, PUT");
}

#[test]
fn an_orphan_whose_deletion_was_given_up_is_deleted() {
    for failed in [false, true] {
        let mut status = given_up_orphan();
        if failed {
            let at = Time(Timestamp::UNIX_EPOCH);
            let (kind, state) = (ConditionType::Failed, ConditionStatus::True);
            condition::set(&mut status.conditions, (kind, state), "ProvisionCallFailed", "words", 1, &at);
        }
        let (asked, call) = of_original(Fixture::new().with_status(&status)).asking();
        assert_eq!(name(&call), "DELETE to mitigate", "{failed}");
        let deleted = asked.absorbing(&call, Outcome::Deleted(osb::Outcome::Answered(Deleted::Done))).0;
        let is_failed = |c: &Condition| c.type_ == ConditionType::Failed;
        assert_eq!(deleted.status().conditions.iter().any(is_failed), failed);
        assert_eq!(next(&deleted.after(3600)), if failed { "wait for a change" } else { "intent, PUT" });
    }
}

#[test]
fn a_request_that_named_no_version_is_repeated_without_one() {
    let in_flight = of_original(Fixture::new().intending());
    let versioned = in_flight.offered(|offering| {
        let version = "2.0.0".to_owned();
        offering.maintenance =
            Some(crate::osb::wire::MaintenanceInfo { version, description: String::new() });
    });
    let (_, call) = versioned.asking();
    let Call::Request(_, InstanceRequest::Provision(body)) = call else { panic!("{}", name(&call)) };
    assert!(body.maintenance_info.is_none());
}
