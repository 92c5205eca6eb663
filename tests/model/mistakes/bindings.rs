//! What can be done wrong with credentials and their Secret.

use service_catalog::{
    osb,
    osb::outcome::Bound,
    reconcilers::{
        binding::{BindingMachine, Call, Outcome, SecretState},
        machine::{Absorbed, Machine as _, Next, Observed, Step},
        write::Write,
    },
};

use super::{caught, faultless};
use crate::{
    rules::Rule,
    subject::{Effect, Operator},
    surprises::{Surprise::TakeName, Surroundings},
};

type Seen = Observed<BindingMachine>;

/// The status first.
fn status_first(writes: Vec<Vec<Write>>, next: Next<BindingMachine>) -> Vec<Effect<BindingMachine>> {
    [Effect::Then(next)].into_iter().chain(writes.into_iter().map(Effect::Write)).collect()
}

#[test]
fn a_secret_that_is_written_after_the_status_is_caught() {
    let mistake = Operator { order: status_first, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::SecretFirst);
}

#[test]
fn a_secret_that_is_not_written_is_caught() {
    fn absorb(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<BindingMachine> {
        Absorbed { writes: vec![], ..BindingMachine::absorb(observed, call, outcome) }
    }
    let mistake = Operator { absorb, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::SecretFirst);
}

#[test]
fn a_secret_that_is_not_looked_for_is_caught() {
    fn plan(observed: &Seen) -> Step<BindingMachine> {
        let (object, world) = (observed.object.clone(), observed.world.clone());
        let Observed { memory, tunables, now, .. } = *observed;
        let mut seen: Seen = Observed { object, world, memory, tunables, now };
        if seen.world.secret == SecretState::Foreign {
            seen.world.secret = SecretState::Missing;
        }
        BindingMachine::plan(&seen)
    }
    let mistake = Operator { plan, ..faultless() };
    caught(&mistake, Surroundings::default(), &[TakeName], &[], Rule::SecretCanBeWritten);
}

/// A Secret of an earlier attempt is as good as any.
#[test]
fn a_secret_with_the_credentials_of_another_id_is_caught() {
    fn plan(observed: &Seen) -> Step<BindingMachine> {
        let (object, world) = (observed.object.clone(), observed.world.clone());
        let Observed { memory, tunables, now, .. } = *observed;
        let mut seen: Seen = Observed { object, world, memory, tunables, now };
        if let SecretState::Ours { binding_id, .. } = &mut seen.world.secret {
            binding_id.clone_from(&observed.status().binding_id);
        }
        BindingMachine::plan(&seen)
    }
    let mistake = Operator { plan, ..faultless() };
    let start = Surroundings { secret: Some(Some("an-earlier-id".to_owned())), ..Surroundings::default() };
    caught(&mistake, start, &[], &[], Rule::SecretFirst);
}

#[test]
fn a_credential_in_a_status_is_caught() {
    fn absorb(observed: &Seen, call: &Call, outcome: Outcome) -> Absorbed<BindingMachine> {
        let said = match &outcome {
            Outcome::Bound(osb::Outcome::Answered(Bound::Done(answer))) => {
                answer.credentials.as_ref().map(|credentials| format!("{:?}", credentials.expose()))
            }
            _ => None,
        };
        let absorbed = BindingMachine::absorb(observed, call, outcome);
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
