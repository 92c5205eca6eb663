//! Waiting where there is something to do, and doing something where there is nothing.

use serde_json::json;
use service_catalog::reconcilers::reconciler::{ObjectPatch, Wait};

use super::*;
use crate::surprises::Surprise::{Class, Delete};

fn exists(observed: &Seen) -> bool {
    observed.object.metadata.deletion_timestamp.is_none()
}

/// Does not remember when the broker last answered.
fn does_not_remember(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
    let memory = observed.memory;
    Absorbed { memory, ..InstanceReconciler::absorb(observed, answer) }
}

#[test]
fn a_memory_that_stays_behind_is_caught() {
    let mistake = Operator { absorb: does_not_remember, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::NoHaste);
}

#[test]
fn a_broker_that_is_not_left_alone_is_caught() {
    fn absorb(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<InstanceReconciler> {
        let mut absorbed = InstanceReconciler::absorb(observed, answer);
        absorbed.memory.not_before = None;
        absorbed
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::LeftAlone);
}

/// Whatever is due later is left to chance.
fn sleeps(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Wait(_) if exists(observed) => Step::Wait(Wait::ForChange),
        other => other,
    }
}

#[test]
fn a_retry_that_nobody_wakes_up_for_is_caught() {
    let mistake = Operator { plan: sleeps, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::ComesToRest);
}

/// A deletion that the broker refused is given up.
fn gives_up(observed: &Seen) -> StepOf<InstanceReconciler> {
    match phase(&observed.status()) {
        Phase::Deleting { .. } => Step::Wait(Wait::ForChange),
        _ => InstanceReconciler::plan(observed),
    }
}

// v0.3 H16, Q21
#[test]
fn a_deletion_that_is_given_up_is_caught() {
    let mistake = Operator { plan: gives_up, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::ComesToRest);
}

#[test]
fn a_wait_without_a_word_is_caught() {
    fn plan(observed: &Seen) -> StepOf<InstanceReconciler> {
        match InstanceReconciler::plan(observed) {
            Step::Record(_) | Step::Claim(_)
                if exists(observed) && observed.dependencies.offering.is_err() =>
            {
                Step::Wait(Wait::ForChange)
            }
            other => other,
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Class], &[], Rule::SaysWhy);
}

#[test]
fn a_status_that_is_written_again_is_caught() {
    fn plan(observed: &Seen) -> StepOf<InstanceReconciler> {
        match InstanceReconciler::plan(observed) {
            Step::Wait(Wait::ForChange) => Step::Record(observed.status()),
            other => other,
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::NeverTheSameTwice);
}

#[test]
fn a_wait_for_the_past_is_caught() {
    fn plan(observed: &Seen) -> StepOf<InstanceReconciler> {
        match InstanceReconciler::plan(observed) {
            Step::Wait(Wait::Until(_)) if exists(observed) => Step::Wait(Wait::Until(observed.now)),
            other => other,
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::WaitsForTheFuture);
}

#[test]
fn an_operation_that_is_tried_again_for_ever_is_caught() {
    fn plan(observed: &Seen) -> StepOf<InstanceReconciler> {
        match InstanceReconciler::plan(observed) {
            Step::Attempt { call: Call::Request(_, InstanceRequest::Provision(_)), .. }
                if observed.status().progress.attempt > 0 =>
            {
                Step::Wait(Wait::Until(observed.now + observed.settings.retry_base))
            }
            other => other,
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::ComesToRest);
}

#[test]
fn letting_go_of_what_has_failed_is_caught() {
    fn plan(observed: &Seen) -> StepOf<InstanceReconciler> {
        match phase(&observed.status()) {
            Phase::Failed => Step::RemoveFinalizer,
            _ => InstanceReconciler::plan(observed),
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::ReleasesOnlyWhatIsDeleted);
}

#[test]
fn an_id_that_is_filled_in_twice_is_caught() {
    fn plan(observed: &Seen) -> StepOf<InstanceReconciler> {
        match InstanceReconciler::plan(observed) {
            Step::Wait(Wait::ForChange) => {
                Step::Claim(ObjectPatch { patch: json!({}), status: observed.status() })
            }
            other => other,
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::ClaimsOnce);
}
