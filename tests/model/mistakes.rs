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
        instance::{InstanceAction, InstanceReconciler, InstanceReply, InstanceRequest},
        operation::{Answer, Answered, Call, DeletePurpose, Phase},
        parameters,
        reconciler::{Absorbed, AbsorbedOf, Next, Observed, Reconciler, Step, StepOf},
    },
};

use crate::{
    instance::phase,
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

fn faultless<M: Reconciler>() -> Operator<M> {
    Operator::faultless()
}

type Seen = Observed<InstanceReconciler>;
type BrokerAnswer = Answered<InstanceReply>;
type Awaited = service_catalog::reconcilers::operation::Awaited<InstanceAction>;

/// The same, with another status.
fn with_status(observed: &Seen, status: ServiceInstanceStatus) -> Seen {
    with_object(observed, |object| object.status = Some(status))
}

/// The same, with another object.
fn with_object(observed: &Seen, change: impl FnOnce(&mut ServiceInstance)) -> Seen {
    let mut object = (*observed.object).clone();
    change(&mut object);
    let (dependencies, memory) = (observed.dependencies.clone(), observed.memory);
    Observed {
        object: Arc::new(object),
        dependencies,
        memory,
        settings: observed.settings,
        now: observed.now,
    }
}

/// The same, with the parameters read although they are not needed.
fn with_parameters(mut observed: Seen) -> Seen {
    let spec = observed.object.spec.parameters.as_ref();
    observed.dependencies.common.parameters = Some(parameters::merge(spec, &[]));
    observed
}

/// What the machine absorbs, with another status to record.
fn absorb_otherwise(
    observed: &Seen,
    answer: BrokerAnswer,
    change: impl FnOnce(ServiceInstanceStatus) -> ServiceInstanceStatus,
) -> AbsorbedOf<InstanceReconciler> {
    let absorbed = InstanceReconciler::absorb(observed, answer);
    let next = match absorbed.next {
        Next::Record(status) => Next::Record(change(status)),
        other => other,
    };
    Absorbed { next, ..absorbed }
}

fn starts_mitigating(observed: &Seen, status: &ServiceInstanceStatus) -> bool {
    let mitigates = |status| matches!(phase(status), Phase::OrphanMitigation { .. });
    mitigates(status) && !mitigates(&observed.status())
}
