//! The machine of instances, walked.

use super::*;
use crate::{
    crd::{ConditionType, condition},
    osb::outcome::InstanceAnswer,
    reconcilers::{
        instance::phase::{self, Awaited, Phase},
        model::{Answer, Fate, Kind, Subject, Surroundings, walk},
    },
};

impl Subject for InstanceMachine {
    const HAS_SECRET: bool = false;

    fn observed(
        status: &ServiceInstanceStatus,
        around: &Surroundings,
        memory: Memory,
        now: Timestamp,
    ) -> Observed<Self> {
        let mut fixture = Fixture::new().with_status(status);
        for edit in 0..around.edits {
            fixture = fixture.with_parameters(&json!({"size": 2 + edit}));
        }
        if around.external_id {
            fixture = fixture.with_external_id("mine");
        }
        if around.deleted {
            fixture = fixture.deleted();
        }
        if around.unresolved {
            fixture = fixture.unresolved();
        }
        if around.bad_parameters {
            fixture = fixture.with_bad_parameters();
        }
        Fixture { memory, now, ..fixture }.observed()
    }

    fn kind(status: &ServiceInstanceStatus, call: &Call) -> Kind {
        match call {
            Call::Provision(..) => Kind::Create,
            Call::Update(..) => Kind::Update,
            Call::Deprovision(_, _, cause) => Kind::Delete { mitigation: *cause == Cause::Mitigation },
            Call::Fetch(..) => Kind::Fetch,
            Call::Poll(..) => {
                let deletion = matches!(phase::phase(status), Phase::Polling(Awaited::Deletion(_), _));
                Kind::Poll { deletion }
            }
        }
    }

    fn id(call: &Call) -> String {
        call.recipient().instance_id.clone()
    }

    fn outcome(call: &Call, answer: Answer) -> Outcome {
        match call {
            Call::Provision(..) => Outcome::Provisioned(outcome(answer, true).map(provisioned)),
            Call::Update(..) => Outcome::Provisioned(outcome(answer, false).map(provisioned)),
            Call::Deprovision(..) => Outcome::Deleted(
                outcome(answer, false)
                    .map(|fast| if fast { Deleted::Done } else { Deleted::Accepted { operation: None } }),
            ),
            Call::Poll(..) => Outcome::Polled(poll_outcome(answer)),
            Call::Fetch(..) => Outcome::Fetched(outcome(answer, false).map(|_| InstanceAnswer::default())),
        }
    }

    fn may_exist(status: &ServiceInstanceStatus) -> bool {
        phase::may_exist(status)
    }

    fn is_ready(status: &ServiceInstanceStatus) -> bool {
        condition::is_true(&status.conditions, ConditionType::Ready)
    }

    fn has_said_why(status: &ServiceInstanceStatus) -> bool {
        condition::find(&status.conditions, ConditionType::Ready).is_some()
    }

    fn used_id(status: &ServiceInstanceStatus) -> String {
        status.instance_id.clone()
    }
}

fn provisioned(fast: bool) -> Provisioned {
    if fast {
        Provisioned::Done { dashboard_url: None }
    } else {
        Provisioned::Accepted { operation: None, dashboard_url: None }
    }
}

/// An answer as the client reports it; inside is whether it came at once.
pub(in crate::reconcilers) fn outcome(answer: Answer, creates: bool) -> osb::Outcome<bool> {
    match answer {
        Answer::Done => osb::Outcome::Answered(true),
        Answer::Accepted => osb::Outcome::Answered(false),
        Answer::BadRequest => refused(400, RefusalReason::BadRequest),
        Answer::Conflict => refused(409, RefusalReason::Conflict),
        Answer::Missing => refused(404, RefusalReason::Other),
        Answer::Throttled => refused(429, RefusalReason::Throttled),
        Answer::Unsent => unsent(),
        Answer::Broken(_) => doubt(Some(500), true, creates),
        Answer::Garbled => doubt(Some(200), true, false),
        Answer::Lost(Fate::Happened | Fate::Vanished | Fate::Delayed) => doubt(None, false, creates),
        other => panic!("{other:?} answers polls only"),
    }
}

pub(in crate::reconcilers) fn poll_outcome(answer: Answer) -> osb::Outcome<Polled> {
    match answer {
        Answer::InProgress => polled(OperationState::InProgress),
        Answer::Succeeded => polled(OperationState::Succeeded),
        Answer::Failed => polled(OperationState::Failed),
        Answer::Gone => polled(OperationState::Gone),
        other => outcome(other, false).map(|_| panic!("{other:?} is no answer to a poll")),
    }
}

fn check(external_id: bool, retrievable: bool, limit: usize) {
    let around = Surroundings { external_id, retrievable, ..Surroundings::default() };
    let seen = walk::<InstanceMachine>(around, 20, limit);
    assert!(seen.states == limit && seen.released > limit / 20, "{seen:?}");
}

#[test]
fn nothing_breaks_within_reach() {
    check(false, false, 1_200);
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
