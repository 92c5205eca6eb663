//! What becomes of an object when everything around it has mended and the user does nothing: it comes to rest.

use std::collections::HashSet;

use jiff::Timestamp;
use service_catalog::{
    crd::common::DeletionPolicy,
    reconcilers::reconciler::{Next, Step, Wait},
};

use crate::{
    broker::{Answer, Kind, Request},
    pass::{After, Walker},
    rules::{self, Violation},
    state::State,
    subject::{Operator, Subject},
    surprises::{Instance, Surroundings},
};

/// More than any object needs.
const STEPS: usize = 48;

/// Follows an object from here to its rest. `live` are the states from which that is known to end well.
pub fn comes_to_rest<M: Subject>(
    walker: &mut Walker<'_, M>,
    state: &State<M::Status>,
    live: &mut HashSet<u64>,
) -> Result<(), Violation> {
    let mut state = state.then("everything mends, and the user does nothing");
    mend(&mut state.around);
    state.stale = None;
    let mut passed = vec![];
    for _ in 0..STEPS {
        let key = state.key::<M>();
        if live.contains(&key) {
            live.extend(passed);
            return Ok(());
        }
        passed.push(key);
        match walker.pass(&state)?.pop() {
            Some(After::Goes(next)) => state = next,
            Some(After::Released) => {
                live.extend(passed);
                return Ok(());
            }
            Some(After::Rests) | None => {
                walker.judge(rules::at_rest::<M>(&state), &state)?;
                live.extend(passed);
                return Ok(());
            }
        }
    }
    walker.judge(rules::restless(STEPS), &state)
}

fn mend(around: &mut Surroundings) {
    around.unresolved = false;
    around.bad_parameters = false;
    around.strict = false;
    around.broker_gone = false;
    around.bound = false;
    around.instance = Instance::Ready;
    around.secret = around.secret.take().filter(Option::is_some);
}

/// A create whose effect is late comes as late as it can.
pub fn at_the_last_moment<S>(state: &mut State<S>, until: Timestamp) {
    for (id, last) in state.broker.late() {
        if last > state.now && last <= until {
            state.broker.take_effect(&id);
        }
    }
}

/// What a broker answers that does what it is asked.
pub fn good_answer<S>(state: &State<S>, request: &Request, at_once: bool) -> Answer {
    match request.kind {
        Kind::Create if state.broker.is_foreign(&request.id) => Answer::Conflict,
        Kind::Create if !state.broker.can(request, Answer::Done) => Answer::Conflict,
        Kind::Create | Kind::Update | Kind::Delete { .. } if at_once => Answer::Done,
        Kind::Create | Kind::Update | Kind::Delete { .. } => Answer::Accepted,
        Kind::Poll { deletion: true } => Answer::Succeeded,
        Kind::Poll { deletion: false } if state.broker.can(request, Answer::Succeeded) => Answer::Succeeded,
        Kind::Poll { deletion: false } => Answer::Gone,
        Kind::Fetch if state.broker.can(request, Answer::Done) => Answer::Done,
        Kind::Fetch => Answer::Missing,
    }
}

/// The DELETE that would undo the create of this id, of which nothing is known but the intent, when object, class and (of a
/// binding) instance are gone.
pub fn undoing<M: Subject>(
    operator: &Operator<M>,
    announced: &State<M::Status>,
    id: &str,
) -> Option<Request> {
    let mut state = announced.clone();
    state.forget();
    mend(&mut state.around);
    (state.around.deleted, state.around.unresolved) = (true, true);
    state.around.policy = DeletionPolicy::Delete;
    state.around.instance = Instance::Gone;
    for _ in 0..8 {
        let observed = M::observed(&state.status, &state.around, state.memory, state.now);
        match (operator.plan)(&observed) {
            Step::Record(status) => {
                let written = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
                state.set_status(M::read(&written, &state.around, state.now));
            }
            Step::Wait(Wait::Until(at)) => state.advance(at),
            Step::Call { call, .. } => {
                let request = M::request(&state.status, &call);
                if request.id == id || !matches!(request.kind, Kind::Delete { .. }) {
                    return matches!(request.kind, Kind::Delete { .. }).then_some(request);
                }
                // Another binding of the object goes first.
                let gone = (operator.absorb)(&observed, M::answer(&call, Answer::Done));
                let Next::Record(status) = gone.next else { return None };
                state.set_status(status);
            }
            Step::Claim(_)
            | Step::Read
            | Step::RemoveFinalizer
            | Step::Attempt { .. }
            | Step::Write(_)
            | Step::WriteAndRecord(..)
            | Step::Wait(Wait::ForChange) => return None,
        }
    }
    None
}
