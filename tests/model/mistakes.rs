//! Deliberate mistakes: the machine with one thing falsified. A walk that does not see them would prove nothing.

mod bindings;
mod instances;
mod requests;
mod waiting;

use std::sync::Arc;

use service_catalog::{
    crd::{ServiceInstance, ServiceInstanceStatus},
    osb,
    reconcilers::{
        instance::{
            Call, InstanceMachine, Outcome,
            phase::{self, Phase},
        },
        machine::{Absorbed, Machine, Next, Observed, Step},
        parameters,
    },
};

use crate::{
    rules::{Rule, Violation},
    subject::{Operator, Subject},
    surprises::{Surprise, Surroundings},
    walk::{Scenario, walk},
};

/// More states than it takes to find any of them.
const STATES: usize = 3_000;

/// Walks with a mistake, and expects that this rule is the first to break; the shortest way there is printed.
#[expect(clippy::print_stderr, reason = "what a reader of the test wants to see")]
fn caught<M: Subject>(
    mistake: &Operator<M>,
    start: Surroundings,
    surprises: &'static [Surprise],
    overlooked: &'static [Rule],
    expected: Rule,
) {
    let scenario = Scenario { start, surprises, at_once: true, states: STATES, overlooked };
    match walk::<M>(&scenario, mistake) {
        Err(violation) if violation.rule == expected => eprintln!("{violation}"),
        Err(Violation { rule, what, path }) => {
            panic!("{rule:?} instead of {expected:?}: {what}, after:{path}")
        }
        Ok(seen) => panic!("not caught: {seen:?}"),
    }
}

fn faultless<M: Machine>() -> Operator<M> {
    Operator::faultless()
}

type Seen = Observed<InstanceMachine>;

/// The same, with another status.
fn with_status(observed: &Seen, status: ServiceInstanceStatus) -> Seen {
    with_object(observed, |object| object.status = Some(status))
}

/// The same, with another object.
fn with_object(observed: &Seen, change: impl FnOnce(&mut ServiceInstance)) -> Seen {
    let mut object = (*observed.object).clone();
    change(&mut object);
    let (world, memory) = (observed.world.clone(), observed.memory);
    Observed { object: Arc::new(object), world, memory, tunables: observed.tunables, now: observed.now }
}

/// The same, with the parameters read although they are not needed.
fn with_parameters(mut observed: Seen) -> Seen {
    let spec = observed.object.spec.parameters.as_ref();
    observed.world.parameters = Some(parameters::merge(spec, &[]));
    observed
}

/// What the machine absorbs, with another status to record.
fn absorb_otherwise(
    observed: &Seen,
    call: &Call,
    outcome: Outcome,
    change: impl FnOnce(ServiceInstanceStatus) -> ServiceInstanceStatus,
) -> Absorbed<InstanceMachine> {
    let absorbed = InstanceMachine::absorb(observed, call, outcome);
    let next = match absorbed.next {
        Next::Record(status) => Next::Record(change(status)),
        other => other,
    };
    Absorbed { next, ..absorbed }
}

fn starts_mitigating(observed: &Seen, status: &ServiceInstanceStatus) -> bool {
    let mitigates = |status| matches!(phase::phase(status), Phase::Mitigating { .. });
    mitigates(status) && !mitigates(&observed.status())
}
