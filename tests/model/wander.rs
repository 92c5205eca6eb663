//! Walks at random: less thorough than breadth-first, and much deeper. The same seed walks the same way.

use crate::{
    pass::{After, Mood, Walker},
    rest,
    rules::Violation,
    state::State,
    subject::{Operator, Subject},
    surprises::surprises,
    walk::{Scenario, Seen},
};

/// How long a walk is.
const STEPS: usize = 60;

/// Of so many steps, one is a surprise.
const SURPRISES: usize = 4;

/// Walks once, to the end of the object, of the steps, or to the first broken rule.
pub fn wander<M: Subject>(scenario: &Scenario, operator: &Operator<M>, seed: u64) -> Result<Seen, Violation> {
    let mut walker = Walker { operator, scenario, mood: Mood::Any, seen: Seen::default() };
    let mut dice = Dice(seed);
    let mut state = State::new(scenario.start.clone());
    for _ in 0..STEPS {
        walker.seen.states += 1;
        walker.seen.depth = state.path.len();
        let mut next = surprises::<M>(&state, scenario.surprises);
        if next.is_empty() || dice.throw(SURPRISES) != 0 {
            let mut steps = walker.pass(&state)?;
            if let Some(stale) = state.stale.clone() {
                steps.extend(walker.stale_pass(&state, &stale)?);
            }
            let steps: Vec<_> = steps.into_iter().filter_map(After::goes).collect();
            next = if steps.is_empty() { next } else { steps };
        }
        if next.is_empty() {
            break;
        }
        state = next.swap_remove(dice.throw(next.len()));
    }
    let seen = walker.seen;
    walker.mood = Mood::Mended;
    rest::comes_to_rest(&mut walker, &state, &mut std::collections::HashSet::new())?;
    Ok(seen)
}

/// Numbers that look random (Knuth's linear congruential generator).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
