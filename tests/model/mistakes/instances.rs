//! Answers that are misread.

use service_catalog::{
    crd::{
        common::DeletionPolicy,
        instance::{InstanceOperation, ProvisionStatus},
        progress::DeletionStatus,
    },
    osb::{
        UnknownOutcome,
        outcome::{Deleted, OperationState, Polled},
    },
    reconcilers::identity::attempt_id,
};

use super::*;
use crate::surprises::Surprise::{ChangePlan, Delete, Edit};

/// Does not wait until an unanswered create can no longer take effect.
fn no_quiet_period(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    absorb_otherwise(observed, answer, |mut status| {
        if starts_mitigating(observed, &status) {
            status.progress.next_attempt_time = None;
        }
        status
    })
}

// v0.3 Q14
#[test]
fn a_mitigation_without_a_quiet_period_is_caught() {
    let mistake = Operator { absorb: no_quiet_period, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[Rule::NothingLeft], Rule::OneAtATime);
}

// v0.3 Q14
#[test]
fn a_deletion_without_a_quiet_period_is_caught() {
    let mistake = Operator { absorb: no_quiet_period, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[Rule::ComesToRest], Rule::NothingLeft);
}

/// What the broker says when it is asked about an operation is taken for this.
fn polled(
    observed: &Seen,
    answer: BrokerAnswer,
    misread: impl FnOnce(Awaited, osb::Outcome<Polled>) -> osb::Outcome<Polled>,
) -> AbsorbedOf<InstanceReconciler> {
    let answer = match (phase(&observed.status()), answer.answer) {
        (Phase::Polling(awaited, _), Answer::Poll(outcome)) => Answer::Poll(misread(awaited, outcome)),
        (_, other) => other,
    };
    InstanceReconciler::absorb(observed, Answered { binding_id: None, answer })
}

fn with_state(outcome: osb::Outcome<Polled>, of: OperationState, to: OperationState) -> osb::Outcome<Polled> {
    outcome.map(|polled| Polled { state: if polled.state == of { to } else { polled.state }, ..polled })
}

/// 410 to a poll is always the end, and the end is always good.
fn gone_is_success(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    polled(observed, answer, |_, outcome| {
        with_state(outcome, OperationState::Gone, OperationState::Succeeded)
    })
}

#[test]
fn a_410_that_is_taken_for_the_end_of_a_provision_is_caught() {
    let mistake = Operator { absorb: gone_is_success, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::ReadyIsTrue);
}

#[test]
fn a_410_that_is_taken_for_the_end_of_an_update_is_caught() {
    fn absorb(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
        polled(observed, answer, |awaited, outcome| match awaited {
            Awaited::Operation(InstanceAction::Update | InstanceAction::UpdateContext) => {
                with_state(outcome, OperationState::Gone, OperationState::Succeeded)
            }
            Awaited::Operation(InstanceAction::Provision) | Awaited::Deletion(_) => outcome,
        })
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[ChangePlan], &[], Rule::ReadyIsTrue);
}

/// 410 to a poll of a provision: there is nothing, so there is nothing to delete either.
fn gone_is_nothing(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    let gone = matches!(&answer.answer, Answer::Poll(osb::Outcome::Answered(polled)) if polled.state == OperationState::Gone);
    absorb_otherwise(observed, answer, |status| {
        let awaited = matches!(
            phase(&observed.status()),
            Phase::Polling(Awaited::Operation(InstanceAction::Provision), _)
        );
        if gone && awaited { nothing_there(status) } else { status }
    })
}

fn nothing_there(mut status: ServiceInstanceStatus) -> ServiceInstanceStatus {
    status.progress.stop_polling();
    status.progress.orphan_mitigation_in_progress = false;
    status.progress.unanswered = false;
    ServiceInstanceStatus {
        current_operation: InstanceOperation::None,
        in_progress_properties: None,
        provision_status: ProvisionStatus::NotProvisioned,
        deprovision_status: DeletionStatus::NotRequired,
        ..status
    }
}

#[test]
fn a_410_that_is_taken_for_the_absence_of_what_is_being_made_is_caught() {
    let mistake = Operator { absorb: gone_is_nothing, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::NothingLeft);
}

/// 404 to the poll of a deletion: it must be gone.
fn missing_is_gone(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    polled(observed, answer, |awaited, outcome| match (awaited, outcome) {
        (Awaited::Deletion(_), osb::Outcome::Refused(refusal)) if refusal.status == 404 => {
            osb::Outcome::Answered(Polled {
                state: OperationState::Gone,
                description: None,
                retry_after: None,
                instance_usable: None,
                update_repeatable: None,
            })
        }
        (_, outcome) => outcome,
    })
}

#[test]
fn a_404_that_is_taken_for_the_end_of_a_deletion_is_caught() {
    let mistake = Operator { absorb: missing_is_gone, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::NothingLeft);
}

/// 202 to a DELETE: it will be gone soon enough.
fn accepted_is_deleted(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    let answer = match answer.answer {
        Answer::Delete(cause, outcome) => Answer::Delete(cause, outcome.map(|_| Deleted::Done)),
        other => other,
    };
    InstanceReconciler::absorb(observed, Answered { binding_id: None, answer })
}

#[test]
fn a_finalizer_that_goes_before_the_deletion_has_ended_is_caught() {
    let mistake = Operator { absorb: accepted_is_deleted, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::NothingLeft);
}

/// What never became ready needs no DELETE.
fn drops_the_finalizer_early(observed: &Seen) -> StepOf<InstanceReconciler> {
    let status = observed.status();
    match InstanceReconciler::plan(observed) {
        Step::Call { call: Call::Delete(_, _, DeletePurpose::Deletion), .. }
            if status.provision_status != ProvisionStatus::Provisioned =>
        {
            Step::RemoveFinalizer
        }
        other => other,
    }
}

#[test]
fn a_finalizer_that_goes_without_a_delete_is_caught() {
    let mistake = Operator { plan: drops_the_finalizer_early, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[Rule::Undoable], Rule::NothingLeft);
}

/// Every "no" is cleaned up after, as if the broker had made something.
fn mitigates_refusals(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    let answer = match answer.answer {
        Answer::Request(InstanceReply::Provision(address, target, osb::Outcome::Refused(refusal))) => {
            let message = refusal.message;
            let status = Some(201);
            let doubt = UnknownOutcome {
                status,
                message,
                answered: true,
                mitigate: true,
                ..UnknownOutcome::default()
            };
            let outcome = osb::Outcome::Unknown(doubt);
            Answer::Request(InstanceReply::Provision(address, target, outcome))
        }
        other => other,
    };
    InstanceReconciler::absorb(observed, Answered { binding_id: None, answer })
}

#[test]
fn a_mitigation_after_a_refusal_is_caught() {
    let mistake = Operator { absorb: mitigates_refusals, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::OnlyWhatMayExist);
}

#[test]
fn a_delete_of_what_somebody_else_has_is_caught() {
    let mistake = Operator { absorb: mitigates_refusals, ..faultless() };
    let start = Surroundings { external_id: true, ..Surroundings::default() };
    caught(&mistake, start, &[], &[Rule::OnlyWhatMayExist], Rule::HandsOff);
}

/// The next attempt uses the id that was just deleted.
fn keeps_the_id(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    absorb_otherwise(observed, answer, |mut status| {
        let before = observed.status();
        status.progress.attempt = before.progress.attempt;
        ServiceInstanceStatus { instance_id: before.instance_id, ..status }
    })
}

// v0.3 Q15
#[test]
fn an_id_that_is_used_again_after_its_deletion_is_caught() {
    let mistake = Operator { absorb: keeps_the_id, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::NoIdTwice);
}

/// Begins anew under another id, without a DELETE.
fn moves_on(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    absorb_otherwise(observed, answer, |mut status| {
        if !starts_mitigating(observed, &status) {
            return status;
        }
        status.progress.attempt += 1;
        let uid = observed.object.metadata.uid.as_deref();
        let instance_id = attempt_id("", uid.unwrap_or_default(), status.progress.attempt).into();
        nothing_there(ServiceInstanceStatus { instance_id, ..status })
    })
}

// OSB 148
#[test]
fn another_id_before_the_old_one_is_deleted_is_caught() {
    let mistake = Operator { absorb: moves_on, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::OneAtATime);
}

/// An unanswered create is forgotten when the next try is refused.
fn forgets_doubt(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    let refused =
        matches!(&answer.answer, Answer::Request(InstanceReply::Provision(_, _, osb::Outcome::Refused(_))));
    let mut forgotten = observed.status();
    forgotten.progress.unanswered = false;
    let known = if refused { with_status(observed, forgotten) } else { with_object(observed, |_| {}) };
    InstanceReconciler::absorb(&known, answer)
}

// v0.3 Q12
#[test]
fn a_doubt_that_a_refusal_wipes_out_is_caught() {
    let mistake = Operator { absorb: forgets_doubt, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete, Edit], &[], Rule::NothingLeft);
}

/// Deletes whatever the user has said.
fn heedless(observed: &Seen) -> StepOf<InstanceReconciler> {
    let deletes = |object: &mut ServiceInstance| object.spec.deletion_policy = DeletionPolicy::Delete;
    InstanceReconciler::plan(&with_object(observed, deletes))
}

#[test]
fn a_deletion_against_the_policy_is_caught() {
    for policy in [DeletionPolicy::Retain, DeletionPolicy::Prevent] {
        let start = Surroundings { policy, ..Surroundings::default() };
        let mistake = Operator { plan: heedless, ..faultless() };
        caught(&mistake, start, &[Delete], &[Rule::ComesToRest], Rule::PolicyHolds);
    }
}
