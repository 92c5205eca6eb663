//! Answers that are misread.

use service_catalog::{
    crd::instance::{DeprovisionStatus, InstanceOperation, ProvisionStatus},
    osb::{
        Doubt,
        outcome::{Deleted, OperationState, Polled},
    },
    reconcilers::{
        attempt::attempt_id,
        instance::{Cause, phase::Awaited},
    },
};

use super::*;
use crate::surprises::Surprise::{ChangePlan, Delete, Edit};

/// Does not wait until an unanswered create can no longer take effect.
fn no_quiet_period(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    absorb_otherwise(observed, call, outcome, |mut status| {
        if starts_mitigating(observed, &status) {
            status.progress.next_attempt_time = None;
        }
        status
    })
}

#[test]
fn a_mitigation_without_a_quiet_period_is_caught() {
    let mistake = Operator { absorb: no_quiet_period, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::OneAtATime);
}

#[test]
fn a_deletion_without_a_quiet_period_is_caught() {
    let mistake = Operator { absorb: no_quiet_period, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[Rule::ComesToRest], Rule::NothingLeft);
}

/// What the broker says when it is asked about an operation is taken for this.
fn polled(
    observed: &Seen,
    call: &Call,
    outcome: Outcome,
    misread: impl FnOnce(Awaited, osb::Outcome<Polled>) -> osb::Outcome<Polled>,
) -> Absorbed<InstanceMachine> {
    let outcome = match (phase::phase(&observed.status()), outcome) {
        (Phase::Polling(awaited, _), Outcome::Polled(outcome)) => Outcome::Polled(misread(awaited, outcome)),
        (_, other) => other,
    };
    InstanceMachine::absorb(observed, call, outcome)
}

fn with_state(outcome: osb::Outcome<Polled>, of: OperationState, to: OperationState) -> osb::Outcome<Polled> {
    outcome.map(|polled| Polled { state: if polled.state == of { to } else { polled.state }, ..polled })
}

/// 410 to a poll is always the end, and the end is always good.
fn gone_is_success(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    polled(observed, call, outcome, |_, outcome| {
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
    fn absorb(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
        polled(observed, call, outcome, |awaited, outcome| match awaited {
            Awaited::Update => with_state(outcome, OperationState::Gone, OperationState::Succeeded),
            Awaited::Provision | Awaited::Deletion(_) => outcome,
        })
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[ChangePlan], &[], Rule::ReadyIsTrue);
}

/// 410 to a poll of a provision: there is nothing, so there is nothing to delete either.
fn gone_is_nothing(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    let gone = matches!(&outcome, Outcome::Polled(osb::Outcome::Answered(polled)) if polled.state == OperationState::Gone);
    absorb_otherwise(observed, call, outcome, |status| {
        let awaited = matches!(phase::phase(&observed.status()), Phase::Polling(Awaited::Provision, _));
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
        deprovision_status: DeprovisionStatus::NotRequired,
        ..status
    }
}

#[test]
fn a_410_that_is_taken_for_the_absence_of_what_is_being_made_is_caught() {
    let mistake = Operator { absorb: gone_is_nothing, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::NothingLeft);
}

/// 404 to the poll of a deletion: it must be gone.
fn missing_is_gone(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    polled(observed, call, outcome, |awaited, outcome| match (awaited, outcome) {
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
fn accepted_is_deleted(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    let outcome = match outcome {
        Outcome::Deleted(outcome) => Outcome::Deleted(outcome.map(|_| Deleted::Done)),
        other => other,
    };
    InstanceMachine::absorb(observed, call, outcome)
}

#[test]
fn a_finalizer_that_goes_before_the_deletion_has_ended_is_caught() {
    let mistake = Operator { absorb: accepted_is_deleted, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::NothingLeft);
}

/// What never became ready needs no DELETE.
fn drops_the_finalizer_early(observed: &Seen) -> Step<InstanceMachine> {
    let status = observed.status();
    match InstanceMachine::plan(observed) {
        Step::Call { call: Call::Deprovision(_, _, Cause::Deletion), .. }
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
fn mitigates_refusals(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    let outcome = match outcome {
        Outcome::Provisioned(osb::Outcome::Refused(refusal)) if matches!(call, Call::Provision(..)) => {
            let message = refusal.message;
            let status = Some(201);
            let doubt = Doubt { status, message, answered: true, mitigate: true, ..Doubt::default() };
            Outcome::Provisioned(osb::Outcome::Unknown(doubt))
        }
        other => other,
    };
    InstanceMachine::absorb(observed, call, outcome)
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
fn keeps_the_id(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    absorb_otherwise(observed, call, outcome, |mut status| {
        let before = observed.status();
        status.progress.attempt = before.progress.attempt;
        ServiceInstanceStatus { instance_id: before.instance_id, ..status }
    })
}

#[test]
fn an_id_that_is_used_again_after_its_deletion_is_caught() {
    let mistake = Operator { absorb: keeps_the_id, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::NoIdTwice);
}

/// Begins anew under another id, without a DELETE.
fn moves_on(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    absorb_otherwise(observed, call, outcome, |mut status| {
        if !starts_mitigating(observed, &status) {
            return status;
        }
        status.progress.attempt += 1;
        let uid = observed.object.metadata.uid.as_deref();
        let instance_id = attempt_id("", uid, status.progress.attempt);
        nothing_there(ServiceInstanceStatus { instance_id, ..status })
    })
}

#[test]
fn another_id_before_the_old_one_is_deleted_is_caught() {
    let mistake = Operator { absorb: moves_on, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::OneAtATime);
}

/// An unanswered create is forgotten when the next try is refused.
fn forgets_doubt(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<InstanceMachine> {
    let refused = matches!(&outcome, Outcome::Provisioned(osb::Outcome::Refused(_)));
    let mut forgotten = observed.status();
    forgotten.progress.unanswered = false;
    let provision = matches!(call, Call::Provision(..));
    let known =
        if refused && provision { with_status(observed, forgotten) } else { with_object(observed, |_| {}) };
    InstanceMachine::absorb(&known, call, outcome)
}

#[test]
fn a_doubt_that_a_refusal_wipes_out_is_caught() {
    let mistake = Operator { absorb: forgets_doubt, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete, Edit], &[], Rule::NothingLeft);
}
