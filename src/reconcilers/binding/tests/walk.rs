//! The machine of bindings, walked.

use super::*;
use crate::{
    crd::{ConditionType, condition},
    reconcilers::{
        binding::phase::{Awaited, Phase},
        instance::tests::walk::{outcome, poll_outcome},
        model::{Answer, Kind, Subject, Surroundings, walk},
    },
};

impl Subject for BindingMachine {
    const HAS_SECRET: bool = true;

    fn observed(
        status: &ServiceBindingStatus,
        around: &Surroundings,
        memory: Memory,
        now: Timestamp,
    ) -> Observed<Self> {
        let mut fixture = Fixture::new().with_status(status);
        for edit in 0..around.edits {
            fixture = fixture.with_parameters(&json!({"role": edit}));
        }
        if around.external_id {
            fixture = fixture.with_external_id("mine");
        }
        if around.deleted {
            fixture = fixture.deleted();
        }
        if around.unresolved {
            fixture = fixture.unresolved();
        } else if around.retrievable {
            fixture = fixture.retrievable();
        }
        if around.bad_parameters {
            fixture = fixture.with_bad_parameters();
        }
        let secret = match &around.secret {
            None => SecretState::Missing,
            Some(None) => SecretState::Foreign,
            Some(Some(id)) => {
                SecretState::Ours { binding_id: id.clone(), uid: None, lifetime: Lifetime::default() }
            }
        };
        Fixture { secret, memory, now, ..fixture }.observed()
    }

    fn kind(status: &ServiceBindingStatus, call: &Call) -> Kind {
        match call {
            Call::Bind(..) => Kind::Create,
            Call::Unbind(.., cause) => Kind::Delete { mitigation: *cause == Cause::Mitigation },
            Call::Fetch(..) => Kind::Fetch,
            Call::Poll(..) => {
                let deletion = matches!(phase::phase(status), Phase::Polling(Awaited::Unbind(_), _));
                Kind::Poll { deletion }
            }
        }
    }

    fn id(call: &Call) -> String {
        call.recipient().binding_id.clone()
    }

    fn outcome(call: &Call, answer: Answer) -> Outcome {
        let credentials = || super::answer(&json!({"password": "hunter2"}));
        match call {
            Call::Bind(..) => Outcome::Bound(outcome(answer, true).map(|fast| {
                if fast { Bound::Done(credentials()) } else { Bound::Accepted { operation: None } }
            })),
            Call::Unbind(..) => Outcome::Deleted(
                outcome(answer, false)
                    .map(|fast| if fast { Deleted::Done } else { Deleted::Accepted { operation: None } }),
            ),
            Call::Fetch(..) => Outcome::Fetched(outcome(answer, false).map(|_| credentials())),
            Call::Poll(..) => Outcome::Polled(poll_outcome(answer)),
        }
    }

    fn may_exist(status: &ServiceBindingStatus) -> bool {
        phase::may_exist(status)
    }

    fn is_ready(status: &ServiceBindingStatus) -> bool {
        condition::is_true(&status.conditions, ConditionType::Ready)
    }

    fn has_said_why(status: &ServiceBindingStatus) -> bool {
        condition::find(&status.conditions, ConditionType::Ready).is_some()
    }

    fn used_id(status: &ServiceBindingStatus) -> String {
        status.binding_id.clone()
    }
}

fn check(external_id: bool, retrievable: bool, limit: usize) {
    let around = Surroundings { external_id, retrievable, ..Surroundings::default() };
    let seen = walk::<BindingMachine>(around, 20, limit);
    assert!(seen.states == limit && seen.released > limit / 20, "{seen:?}");
}

#[test]
fn nothing_breaks_within_reach() {
    check(false, true, 1_200);
}

#[test]
fn nothing_breaks_within_reach_under_an_id_of_the_user() {
    check(true, false, 1_200);
}

#[test]
#[ignore = "takes minutes"]
fn nothing_breaks_further_away() {
    for (external_id, retrievable) in [(false, false), (false, true), (true, false)] {
        check(external_id, retrievable, 20_000);
    }
}
