//! What the original left.

use super::*;
use crate::crd::{
    ConditionStatus, ConditionType, binding::BindingOperation, condition, progress::DeletionStatus,
    progress::Progress,
};
use crate::osb::{BindingId, InstanceId};

/// The same, but as the original would have left it: nothing of what this operator notes beside.
fn of_original(fixture: Fixture) -> Fixture {
    let mut status = fixture.status();
    status.binding_id = BindingId::default();
    status.instance_id = InstanceId::default();
    status.resolved = None;
    status.progress.last_attempt_time = None;
    let mut left = fixture.without_intent().with_external_id("made-up-by-the-webhook");
    left.object.spec.secret_name = "creds".into();
    left.with_status(&status)
}

fn unmarked() -> SecretState {
    SecretState::Owned { binding_id: BindingId::default(), uid: None, written: Written::default() }
}

fn next(fixture: &Fixture) -> String {
    shown(&fixture.plan(), fixture)
}

#[test]
fn what_was_bound_goes_on_record_and_its_secret_is_marked() {
    let bound = of_original(Fixture::new().settled()).with_secret(unmarked());
    let Step::Record(taken) = bound.plan() else { panic!("{}", next(&bound)) };
    assert_eq!((&*taken.binding_id, &*taken.instance_id), ("made-up-by-the-webhook", instances::UID));
    assert_eq!(taken.resolved, Some(instances::offering().to_record()));
    let recorded = bound.with_status(&taken);
    let Step::Write(writes) = recorded.plan() else { panic!("{}", next(&recorded)) };
    let [Write::LabelSecret(metadata)] = &writes[..] else { panic!("something else is written") };
    let marks = metadata.annotations.clone().unwrap_or_default();
    assert_eq!(marks["servicecatalog.k8s.io/binding-id"], "made-up-by-the-webhook");
    assert_eq!(metadata.labels.clone().unwrap_or_default()["servicecatalog.k8s.io/binding-uid"], UID);
}

#[test]
fn credentials_that_were_written_without_a_word_are_those_of_the_bind_under_way() {
    let in_flight = of_original(Fixture::new().intending()).with_secret(unmarked());
    let Step::Record(taken) = in_flight.plan() else { panic!("{}", next(&in_flight)) };
    let recorded = in_flight.with_status(&taken);
    assert_eq!(next(&recorded), "say Ready=True:InjectedBindResult");
    // After an attempt of ours they would be of an earlier one.
    let later = ServiceBindingStatus { progress: Progress { attempt: 1, ..Progress::default() }, ..taken };
    assert_ne!(next(&recorded.with_status(&later)), "say Ready=True:InjectedBindResult");
}

#[test]
fn a_binding_that_failed_stays_failed_when_its_orphan_is_gone() {
    let mut status = ServiceBindingStatus {
        progress: Progress { orphan_mitigation_in_progress: true, ..Progress::default() },
        current_operation: BindingOperation::Bind,
        unbind_status: DeletionStatus::Required,
        ..ServiceBindingStatus::default()
    };
    let at = Time(Timestamp::UNIX_EPOCH);
    for (kind, state) in
        [(ConditionType::Ready, ConditionStatus::False), (ConditionType::Failed, ConditionStatus::True)]
    {
        condition::set(
            &mut status.conditions,
            (kind, state),
            "ServiceBindingReturnedFailure",
            "words",
            1,
            &at,
        );
    }
    let mitigated = of_original(Fixture::new().with_status(&status))
        .answered(Outcome::Deleted(osb::Outcome::Answered(Deleted::Done)))
        .claimed();
    assert_eq!(next(&mitigated.clone().after(3600)), "wait for a change");
    assert_eq!(mitigated.status().unbind_status, DeletionStatus::NotRequired);
}

#[test]
fn an_unbind_has_the_properties_that_the_original_allows() {
    let answers: [fn() -> osb::Outcome<Deleted>; 2] = [
        || osb::Outcome::Answered(Deleted::Accepted { operation: None }),
        || instances::doubt(Some(500), true, false),
    ];
    let unanswered = || Fixture::new().answered(Outcome::Bound(instances::doubt(Some(200), true, false)));
    for fixture in [Fixture::new().settled(), unanswered()] {
        for answer in answers {
            let status = fixture.clone().deleted().answered(Outcome::Deleted(answer())).status();
            assert_eq!(status.current_operation, BindingOperation::Unbind);
            assert_eq!(status.in_progress_properties, None);
            // Without them the operator could show secret parameters that the broker repeats.
            assert!(status.external_properties.is_some());
        }
    }
}

#[test]
fn a_binding_that_others_keep_after_its_deletion_says_so() {
    let done = || Outcome::Deleted(osb::Outcome::Answered(Deleted::Done));
    let gone = Fixture::new().settled().held().deleted().answered(done());
    let status = gone.status();
    assert_eq!(conditions(&status), "Ready=False:UnboundSuccessfully");
    assert_eq!(status.unbind_status, DeletionStatus::Succeeded);
    assert_eq!((&status.external_properties, &*status.binding_id), (&None, UID));
    assert_eq!(next(&gone), "let go");
}
