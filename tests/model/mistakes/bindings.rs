//! What can be done wrong with credentials and their Secret.

use service_catalog::{
    osb,
    osb::outcome::Bound,
    reconcilers::{
        binding::{BindingReconciler, BindingReply, SecretState},
        operation::Answer,
        reconciler::{Absorbed, AbsorbedOf, Next, NextOf, Observed, Reconciler as _, StepOf},
        writes::Write,
    },
};

use super::{caught, faultless};
use crate::{
    rules::Rule,
    subject::{Effect, Operator},
    surprises::{Surprise::TakeName, Surroundings},
};

type Seen = Observed<BindingReconciler>;
type BrokerAnswer = Answer<BindingReply>;

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
        let said = match &answer {
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
