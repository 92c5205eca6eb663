//! One step of the operator, with everything that may come of it: every answer, every loss, and the death of the process
//! after the intent, after the request, with the answer in hand, and between any two of the writes that it leads to.
//!
//! What the shell does about an object that was edited while the broker was thinking needs no step of its own: the answer is
//! recorded as of the version that was asked about, and the edit is seen afterwards, as if it had come then.

use std::rc::Rc;

use serde::{Serialize, de::DeserializeOwned};
use service_catalog::{
    reconcilers::memory::OperationMemory,
    reconcilers::{
        operation::OperationStatus as _,
        reconciler::{Absorbed, Next, ObjectPatch, Observed, Step, StepOf, Wait},
        writes::{RejectedWrite, Write, secret::ANNOTATION_BINDING_ID},
    },
};

use crate::{
    broker::{Answer, Fate, Kind, Request},
    rest,
    rules::{self, Broken, Kept, Violation},
    state::{State, Version},
    subject::{Effect, Operator, Subject},
    surprises::Surroundings,
    walk::{Scenario, Seen},
    wire::RETRY_AFTER,
};

/// How a broker and the network are disposed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mood {
    /// Anything may happen.
    Any,
    /// All goes well.
    Mended,
}

/// What becomes of an object in one step.
#[expect(clippy::large_enum_variant, reason = "nearly all of them go on")]
pub enum After<S> {
    /// This.
    Goes(State<S>),
    /// It waits for a change.
    Rests,
    /// The finalizer is gone.
    Released,
}

pub type Found<S> = Result<Vec<After<S>>, Violation>;

impl<S> After<S> {
    /// The state, where there is one.
    pub fn goes(self) -> Option<State<S>> {
        match self {
            Self::Goes(state) => Some(state),
            Self::Rests | Self::Released => None,
        }
    }
}

/// Goes step by step.
pub struct Walker<'a, M: Subject> {
    pub operator: &'a Operator<M>,
    pub scenario: &'a Scenario,
    pub mood: Mood,
    pub seen: Seen,
}

/// How a pass sees the dependencies.
struct Eyes<'a, S> {
    status: S,
    around: &'a Surroundings,
    memory: OperationMemory,
    /// Whether that is the past.
    stale: bool,
}

impl<M: Subject> Walker<'_, M> {
    /// What the operator does next, with everything that may come of it.
    pub fn pass(&mut self, state: &State<M::Status>) -> Found<M::Status> {
        let eyes =
            Eyes { status: state.status.clone(), around: &state.around, memory: state.memory, stale: false };
        let step = (self.operator.plan)(&eyes.look(state));
        self.carry_out(state, &eyes, step)
    }

    /// What somebody does who takes the past for the present: a compare-and-swap fails.
    pub fn stale_pass(
        &mut self,
        state: &State<M::Status>,
        past: &Rc<Version<M::Status>>,
    ) -> Found<M::Status> {
        if past.status == state.status && past.around == state.around {
            return Ok(vec![]);
        }
        let eyes = Eyes {
            status: past.status.clone(),
            around: &past.around,
            memory: OperationMemory::default(),
            stale: true,
        };
        let step = (self.operator.plan)(&eyes.look(state));
        let mut acting = state.then("the one who is behind acts");
        // It keeps a pace of its own.
        (acting.answered, acting.pause) = (None, None);
        match step {
            Step::Call { .. } | Step::RemoveFinalizer => self.carry_out(&acting, &eyes, step),
            Step::Attempt { .. } if !self.operator.compares => self.carry_out(&acting, &eyes, step),
            Step::Claim(_)
            | Step::Read
            | Step::Record(_)
            | Step::Attempt { .. }
            | Step::Write(_)
            | Step::WriteAndRecord(..)
            | Step::Wait(_) => Ok(vec![]),
        }
    }

    fn carry_out(
        &mut self,
        state: &State<M::Status>,
        eyes: &Eyes<'_, M::Status>,
        step: StepOf<M>,
    ) -> Found<M::Status> {
        match step {
            // The parameters are always read here.
            Step::Read | Step::Write(_) | Step::WriteAndRecord(..) => Ok(vec![]),
            Step::Claim(patch) => {
                let claimed = self.patched(state.then("the operator fills in ids"), &patch)?;
                self.judge(rules::claims_once(&state.around.carried, &claimed.around.carried), state)?;
                Ok(one(claimed))
            }
            Step::RemoveFinalizer => self.release(state, eyes),
            Step::Record(status) => self.recorded(state.then("the operator says so"), &status).map(one),
            Step::Wait(Wait::ForChange) => {
                self.judge(rules::says_why(&M::standing(&state.status)), state)?;
                Ok(vec![After::Rests])
            }
            Step::Wait(Wait::Until(at)) => {
                self.judge(rules::waits_for_the_future(at, state.now), state)?;
                let mut later = state.then(format!("{} s go by", at.duration_since(state.now).as_secs()));
                if self.mood == Mood::Mended {
                    rest::at_the_last_moment(&mut later, at);
                }
                later.advance(at.max(state.now));
                Ok(one(later))
            }
            Step::Attempt { intent, call } => {
                let request = M::request(&eyes.status, &call);
                self.judge(rules::one_operation(&request, &M::standing(&eyes.status)), state)?;
                let announced = self.patched(state.then("the operator announces a request"), &intent)?;
                if request.kind == Kind::Create && self.mood == Mood::Any {
                    let found = rest::undoing::<M>(self.operator, &announced, &request.id);
                    self.judge(rules::undoable(&request, found.as_ref()), &announced)?;
                }
                let eyes = Eyes { status: announced.status.clone(), ..*eyes };
                self.ask(&announced, &eyes, &call, true)
            }
            Step::Call { call, before } => {
                let mut removed = state.clone();
                let removes = |write: &Write| matches!(write, Write::DeleteSecret { .. });
                if before.iter().any(removes) && removed.around.secret != Some(None) {
                    removed.around.secret = None;
                }
                self.ask(&removed, eyes, &call, false)
            }
        }
    }

    /// A status goes over the wire, and differs from the present one.
    fn recorded(
        &mut self,
        mut state: State<M::Status>,
        status: &M::Status,
    ) -> Result<State<M::Status>, Violation> {
        let (text, status) = over_the_wire(status);
        let status = M::read(&status, &state.around, state.now);
        self.judge(rules::no_credential_shown(&text), &state)?;
        self.judge(rules::way_back(&text, &state.around), &state)?;
        self.judge(rules::never_the_same_twice(&state.status, &status), &state)?;
        let standing = M::standing(&state.status);
        state.set_status(status);
        self.judge(rules::being::<M>(&standing, &state), &state)?;
        Ok(state)
    }

    /// A patch of the object itself. What it says of the status, the operator reads out of the annotation.
    fn patched(
        &mut self,
        mut state: State<M::Status>,
        ObjectPatch { patch, .. }: &ObjectPatch<M::Status>,
    ) -> Result<State<M::Status>, Violation> {
        self.judge(rules::no_credential_shown(&patch.to_string()), &state)?;
        let standing = M::standing(&state.status);
        let persisted =
            state.status.progress().intent.as_ref().and_then(|intent| intent.persisted().cloned());
        let persisted = persisted.map_or_else(
            || over_the_wire(&state.status).1,
            |persisted| serde_json::from_value(persisted).unwrap(),
        );
        state.around.carried.apply(patch);
        let status = M::read(&persisted, &state.around, state.now);
        state.set_status(status);
        self.judge(rules::being::<M>(&standing, &state), &state)?;
        Ok(state)
    }

    fn release(&mut self, state: &State<M::Status>, eyes: &Eyes<'_, M::Status>) -> Found<M::Status> {
        self.judge(rules::nothing_left(state, eyes.around, &M::standing(&eyes.status).id), state)?;
        self.seen.released += 1;
        Ok(vec![After::Released])
    }

    /// A request is sent, and anything comes of it.
    fn ask(
        &mut self,
        state: &State<M::Status>,
        eyes: &Eyes<'_, M::Status>,
        call: &M::Call,
        announced: bool,
    ) -> Found<M::Status> {
        let request = M::request(&eyes.status, call);
        let kept = rules::asking::<M>(state, &request, announced);
        self.judge(kept, &state.then(format!("{:?}", request.kind)))?;
        self.judge(rules::policy_holds::<M>(&request, eyes.around, &M::standing(&eyes.status)), state)?;
        self.seen.requests += 1;
        let mut next = vec![];
        for answer in self.answers(state, eyes, &request) {
            let mut answered = state.then(format!("{:?} {}: {answer:?}", request.kind, short(&request.id)));
            answered.broker.settle(&request, answer, state.now);
            answered = answered.a_second_later();
            if !eyes.stale {
                answered.answered = Some(answered.now);
                answered.pause =
                    (answer == Answer::Throttled).then(|| (request.kind, answered.now + RETRY_AFTER));
            }
            if self.mood == Mood::Any && answer.is_worth_dying_with() {
                let mut dead = dead(&answered, "crash, before anything is written");
                dead.broker.unheard(&request);
                next.push(After::Goes(dead));
            }
            let observed = eyes.look(&answered);
            let answer = M::answer(call, answer);
            let Absorbed { writes, next: then, memory } = (self.operator.absorb)(&observed, answer);
            if !eyes.stale {
                answered.memory = memory;
            }
            let effects = (self.operator.order)(writes, then);
            next.extend(self.effects(answered, eyes, memory, effects)?);
        }
        if self.mood == Mood::Any && !eyes.around.broker_gone {
            for fate in Fate::of(request.kind) {
                let what = format!("{:?} {}: {fate:?}", request.kind, short(&request.id));
                let mut dead = dead(&state.then(what), "crash, without an answer").a_second_later();
                dead.broker.settle(&request, Answer::Lost(*fate), state.now);
                next.push(After::Goes(dead));
            }
        }
        Ok(next)
    }

    fn answers(
        &self,
        state: &State<M::Status>,
        eyes: &Eyes<'_, M::Status>,
        request: &Request,
    ) -> Vec<Answer> {
        if eyes.around.broker_gone {
            return vec![Answer::Unsent];
        }
        match self.mood {
            Mood::Any => {
                let every = Answer::of(request.kind).into_iter();
                every.filter(|answer| state.broker.can(request, *answer)).collect()
            }
            Mood::Mended => vec![rest::good_answer(state, request, self.scenario.at_once)],
        }
    }

    /// Does what an answer asks for, one thing after the other.
    fn effects(
        &mut self,
        mut state: State<M::Status>,
        eyes: &Eyes<'_, M::Status>,
        memory: OperationMemory,
        effects: Vec<Effect<M>>,
    ) -> Found<M::Status> {
        let mut next = vec![];
        for effect in effects {
            match effect {
                Effect::Write(writes) => {
                    let refused = |state: &State<M::Status>| {
                        let status = M::absorb_rejected_write(&eyes.look(state), &refusal());
                        (state.then("the API server refuses the Secret"), status)
                    };
                    if state.around.secret == Some(None) {
                        let (state, status) = refused(&state);
                        next.extend(self.result(state, eyes, &status)?);
                        return Ok(next);
                    }
                    if self.mood == Mood::Any {
                        next.push(After::Goes(state.then("the API server does not answer")));
                        let (state, status) = refused(&state);
                        next.extend(self.result(state, eyes, &status)?);
                    }
                    state.around.secret = writes.iter().find_map(secret_id).or(state.around.secret);
                    if self.mood == Mood::Any {
                        next.push(After::Goes(dead(&state, "crash, the Secret is written")));
                    }
                }
                Effect::Then(Next::Record(status)) => {
                    let recorded = self.result(state.clone(), eyes, &status)?;
                    if let [After::Goes(recorded)] = &recorded[..] {
                        state = recorded.clone();
                    }
                    next.extend(recorded);
                }
                Effect::Then(Next::RemoveFinalizer) => next.extend(self.release(&state, eyes)?),
                Effect::Then(Next::Call(follow_up)) => {
                    let eyes = Eyes { status: eyes.status.clone(), memory, ..*eyes };
                    next.extend(self.ask(&state, &eyes, &follow_up, false)?);
                }
            }
        }
        Ok(next)
    }

    /// The status that an answer meant is written, if the one that announced the request is still there.
    fn result(
        &mut self,
        state: State<M::Status>,
        eyes: &Eyes<'_, M::Status>,
        status: &M::Status,
    ) -> Found<M::Status> {
        let is_ahead = status.progress().intent.as_ref().is_some_and(|intent| intent.persisted().is_some());
        if (*status == eyes.status && !is_ahead) || eyes.status != state.status {
            return Ok(one(state));
        }
        self.recorded(state, status).map(one)
    }

    /// A broken rule is the end of the walk, unless it is overlooked.
    pub fn judge(&self, kept: Kept, state: &State<M::Status>) -> Result<(), Violation> {
        match kept {
            Err(Broken { rule, what }) if !self.scenario.overlooked.contains(&rule) => {
                Err(Violation { rule, what, path: state.path.clone() })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl<S> Eyes<'_, S> {
    fn look<M: Subject<Status = S>>(&self, state: &State<S>) -> Observed<M> {
        M::observed(&self.status, self.around, self.memory, state.now)
    }
}

/// A status as it is written, and as it is read again.
fn over_the_wire<S: Serialize + DeserializeOwned>(status: &S) -> (String, S) {
    let text = serde_json::to_string(status).unwrap();
    let read = serde_json::from_str(&text).unwrap();
    (text, read)
}

fn one<S>(state: State<S>) -> Vec<After<S>> {
    vec![After::Goes(state)]
}

fn dead<S: Clone + Default + Serialize>(state: &State<S>, what: &str) -> State<S> {
    let mut dead = state.then(what);
    dead.forget();
    dead
}

fn refusal() -> RejectedWrite {
    RejectedWrite { message: "admission says no".to_owned() }
}

/// The binding whose credentials a write brings to the Secret.
#[expect(clippy::option_option, reason = "what the Secret is then")]
fn secret_id(write: &Write) -> Option<Option<String>> {
    match write {
        Write::ApplySecret(secret) => {
            let annotations = secret.metadata.annotations.as_ref();
            Some(annotations.and_then(|all| all.get(ANNOTATION_BINDING_ID)).cloned())
        }
        _ => None,
    }
}

fn short(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}
