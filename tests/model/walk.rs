//! The walk: breadth-first from a new object, through everything that may happen, to the first broken rule.

use std::collections::{HashSet, VecDeque};

use crate::{
    pass::{After, Mood, Walker},
    rest,
    rules::{Rule, Violation},
    state::State,
    subject::{Operator, Subject},
    surprises::{Surprise, Surroundings, surprises},
};

/// What a walk begins with, and what it may meet.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub start: Surroundings,
    pub surprises: &'static [Surprise],
    /// Whether a broker that has mended does what it is asked at once.
    pub at_once: bool,
    /// How many states are looked at.
    pub states: usize,
    /// Rules that are not looked at, to see what follows when they are broken.
    pub overlooked: &'static [Rule],
}

/// What a walk has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub states: usize,
    pub depth: usize,
    pub requests: usize,
    pub released: usize,
}

/// Walks, to the end of the scenario or to the first state that breaks a rule.
pub fn walk<M: Subject>(scenario: &Scenario, operator: &Operator<M>) -> Result<Seen, Violation> {
    let mut walker = Walker { operator, scenario, mood: Mood::Any, seen: Seen::default() };
    let mut queue = VecDeque::from([State::new(scenario.start.clone())]);
    let (mut known, mut live) = (HashSet::new(), HashSet::new());
    while let Some(mut state) = queue.pop_front() {
        if walker.seen.states >= scenario.states {
            break;
        }
        if !known.insert(state.key::<M>()) {
            continue;
        }
        walker.seen.states += 1;
        walker.seen.depth = state.path.len();
        walker.mood = Mood::Any;
        queue.extend(surprises::<M>(&state, scenario.surprises));
        queue.extend(walker.pass(&state)?.into_iter().filter_map(After::goes));
        if let Some(stale) = state.stale.clone() {
            queue.extend(walker.stale_pass(&state, &stale)?.into_iter().filter_map(After::goes));
        }
        if !scenario.overlooked.contains(&Rule::ComesToRest) {
            let seen = walker.seen;
            walker.mood = Mood::Mended;
            rest::comes_to_rest(&mut walker, &state, &mut live)?;
            walker.seen = seen;
        }
    }
    Ok(walker.seen)
}
