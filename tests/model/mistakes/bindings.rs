//! What can be done wrong with credentials and their Secret.

use service_catalog::{
    crd::{ConditionType, condition, rotation::RotationStatus},
    osb,
    osb::{outcome::Bound, wire::Target},
    reconcilers::{
        binding::{BindingReconciler, BindingReply, SecretState},
        operation::{Address, Answer, Answered, Call, DeletePurpose},
        reconciler::{Absorbed, AbsorbedOf, Next, NextOf, Observed, Reconciler as _, Step, StepOf},
        writes::Write,
    },
};

use super::{caught, faultless};
use crate::{
    rules::Rule,
    subject::{Effect, Operator},
    surprises::{
        Surprise::{Renew, TakeName},
        Surroundings,
    },
};

type Seen = Observed<BindingReconciler>;
type BrokerAnswer = Answered<BindingReply>;

/// The status first.
fn status_first(writes: Vec<Vec<Write>>, next: NextOf<BindingReconciler>) -> Vec<Effect<BindingReconciler>> {
    [Effect::Then(next)].into_iter().chain(writes.into_iter().map(Effect::Write)).collect()
}

#[test]
fn a_secret_that_is_written_after_the_status_is_caught() {
    let mistake = Operator { order: status_first, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::SecretFirst);
}

#[test]
fn a_secret_that_is_not_written_is_caught() {
    fn absorb(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<BindingReconciler> {
        Absorbed { writes: vec![], ..BindingReconciler::absorb(observed, answer) }
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::SecretFirst);
}

#[test]
fn a_secret_that_is_not_looked_for_is_caught() {
    fn plan(observed: &Seen) -> StepOf<BindingReconciler> {
        let (object, dependencies) = (observed.object.clone(), observed.dependencies.clone());
        let Observed { memory, settings, now, .. } = *observed;
        let mut seen: Seen = Observed { object, dependencies, memory, settings, now };
        if seen.dependencies.secret == SecretState::NotOwned {
            seen.dependencies.secret = SecretState::Missing;
        }
        BindingReconciler::plan(&seen)
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[TakeName], &[], Rule::SecretCanBeWritten);
}

/// A Secret of an earlier attempt is as good as any.
#[test]
fn a_secret_with_the_credentials_of_another_id_is_caught() {
    fn plan(observed: &Seen) -> StepOf<BindingReconciler> {
        let (object, dependencies) = (observed.object.clone(), observed.dependencies.clone());
        let Observed { memory, settings, now, .. } = *observed;
        let mut seen: Seen = Observed { object, dependencies, memory, settings, now };
        if let SecretState::Owned { binding_id, .. } = &mut seen.dependencies.secret {
            binding_id.clone_from(&observed.status().binding_id);
        }
        BindingReconciler::plan(&seen)
    }
    let mistake = Operator { plan, ..faultless() };
    let start = Surroundings { secret: Some(Some("an-earlier-id".to_owned())), ..Surroundings::default() };
    caught(&mistake, start, &[], &[], Rule::SecretFirst);
}

#[test]
fn a_credential_in_a_status_is_caught() {
    fn absorb(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<BindingReconciler> {
        let said = match &answer.answer {
            Answer::Request(BindingReply::Bind(osb::Outcome::Answered(Bound::Done(answer)))) => {
                answer.credentials.as_ref().map(|credentials| format!("{:?}", credentials.expose()))
            }
            _ => None,
        };
        let absorbed = BindingReconciler::absorb(observed, answer);
        let next = match absorbed.next {
            Next::Record(mut status) => {
                status.progress.last_operation = said;
                Next::Record(status)
            }
            other => other,
        };
        Absorbed { next, ..absorbed }
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::NoCredentialShown);
}

/// The binding whose credentials were replaced is forgotten.
#[test]
fn a_predecessor_that_is_forgotten_is_caught() {
    fn absorb(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<BindingReconciler> {
        let absorbed = BindingReconciler::absorb(observed, answer);
        let next = match absorbed.next {
            Next::Record(mut status) => {
                if let Some(rotation) = &mut status.rotation {
                    rotation.predecessor = None;
                }
                Next::Record(status)
            }
            other => other,
        };
        Absorbed { next, ..absorbed }
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Renew], &[], Rule::ComesToRest);
}

/// The old credentials end before the new ones are in the Secret.
#[test]
fn credentials_that_end_before_there_are_new_ones_are_caught() {
    fn plan(observed: &Seen) -> StepOf<BindingReconciler> {
        match BindingReconciler::plan(observed) {
            Step::Attempt { call: Call::Request(address, _), .. } if observed.status().rotation.is_some() => {
                let resolved = observed.status().resolved.unwrap();
                let target = Target { service_id: resolved.service_id, plan_id: resolved.plan_id };
                let address = Address { binding_id: Some(observed.status().binding_id), ..address };
                let call = Call::Delete(address, target, DeletePurpose::Deletion);
                Step::Call { before: vec![], call }
            }
            step => step,
        }
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Renew], &[], Rule::DeletesOnlyWhenDeleted);
}

/// A renewal shows in `Ready`.
#[test]
fn a_renewal_that_seems_to_be_an_outage_is_caught() {
    fn absorb(observed: &Seen, answer: BrokerAnswer) -> AbsorbedOf<BindingReconciler> {
        let absorbed = BindingReconciler::absorb(observed, answer);
        let next = match absorbed.next {
            Next::Record(mut status) => {
                let renews = |rotation: &RotationStatus| rotation.successor.is_some();
                if status.rotation.as_ref().is_some_and(renews) {
                    condition::remove(&mut status.conditions, ConditionType::Ready);
                }
                Next::Record(status)
            }
            other => other,
        };
        Absorbed { next, ..absorbed }
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Renew], &[], Rule::StaysReady);
}
