//! A small model of one object, its operator and its broker, walked breadth-first: every answer, every crash, every edit
//! and every late effect, to a bounded depth. It checks what must never break, in all states that can be reached.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fmt::{self, Debug},
    rc::Rc,
};

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::machine::{Machine, Next, Observed, Step, Wait};
use crate::context::{Memory, Tunables};

/// What kind of request it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Create,
    Update,
    Delete { mitigation: bool },
    Poll { deletion: bool },
    Fetch,
}

/// What becomes of a request, at the broker and on the way back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    Done,
    Accepted,
    BadRequest,
    Conflict,
    Throttled,
    Missing,
    Unsent,
    /// 500; done all the same, or not.
    Broken(bool),
    /// A success that cannot be read.
    Garbled,
    /// No answer: done, not done, or done later.
    Lost(Fate),
    InProgress,
    Succeeded,
    Failed,
    Gone,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    Happened,
    Vanished,
    Delayed,
}

impl Answer {
    fn of(kind: Kind) -> Vec<Self> {
        use Fate::{Delayed, Happened, Vanished};
        let lost = [Self::Lost(Happened), Self::Lost(Vanished)];
        let asked =
            [Self::BadRequest, Self::Throttled, Self::Unsent, Self::Broken(true), Self::Broken(false)];
        match kind {
            Kind::Create => {
                let more = [Self::Done, Self::Accepted, Self::Conflict, Self::Garbled, Self::Lost(Delayed)];
                [&more[..], &asked, &lost].concat()
            }
            Kind::Update | Kind::Delete { .. } => [&[Self::Done, Self::Accepted][..], &asked, &lost].concat(),
            Kind::Poll { .. } => vec![
                Self::InProgress,
                Self::Succeeded,
                Self::Failed,
                Self::Gone,
                Self::Missing,
                Self::Throttled,
                Self::Unsent,
            ],
            Kind::Fetch => vec![Self::Done, Self::Missing, Self::Garbled, Self::Unsent],
        }
    }
}

/// What the user and the cluster may do to an object.
#[allow(
    clippy::struct_excessive_bools,
    clippy::option_option,
    reason = "each is one thing that may happen or not"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surroundings {
    pub edits: u8,
    pub deleted: bool,
    pub unresolved: bool,
    pub bad_parameters: bool,
    pub external_id: bool,
    /// Whether the broker can be asked for an existing binding.
    pub retrievable: bool,
    /// The Secret: none, ours with the credentials of an id, or somebody else's.
    pub secret: Option<Option<String>>,
}

/// How a machine is looked at.
pub trait Subject: Machine<Status: DeserializeOwned> {
    fn observed(
        status: &Self::Status,
        around: &Surroundings,
        memory: Memory,
        now: Timestamp,
    ) -> Observed<Self>;
    fn kind(status: &Self::Status, call: &Self::Call) -> Kind;
    fn id(call: &Self::Call) -> String;
    fn outcome(call: &Self::Call, answer: Answer) -> Self::Outcome;
    fn may_exist(status: &Self::Status) -> bool;
    fn is_ready(status: &Self::Status) -> bool;
    fn has_said_why(status: &Self::Status) -> bool;
    fn used_id(status: &Self::Status) -> String;
    /// Whether being ready means that there is a Secret.
    const HAS_SECRET: bool;
}

/// What is true.
#[derive(Clone)]
struct State<S> {
    status: S,
    around: Surroundings,
    memory: Memory,
    now: Timestamp,
    /// The ids that the broker has for this object.
    held: BTreeSet<String>,
    /// Creates that may still take effect, until then.
    late: Vec<(String, Timestamp)>,
    /// The ids that were only ever refused with 409.
    taken: BTreeSet<String>,
    /// The ids that the broker has confirmed.
    confirmed: BTreeSet<String>,
    path: Path,
    /// The status without what makes no difference, once it was needed.
    shape: Option<Rc<str>>,
}

/// How a state was reached.
#[derive(Clone, Default)]
struct Path(Option<Rc<(Path, String)>>, usize);

impl Path {
    fn then(&self, what: String) -> Self {
        Self(Some(Rc::new((self.clone(), what))), self.1 + 1)
    }
}

impl Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            Some((before, what)) => write!(f, "{before:?}\n  {what}"),
            None => Ok(()),
        }
    }
}

/// What a walk has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub states: usize,
    pub depth: usize,
    pub requests: usize,
    pub released: usize,
}

/// Walks from a new object and panics at the first state that breaks a rule.
pub fn walk<M: Subject>(start: Surroundings, depth: usize, limit: usize) -> Seen {
    let first = State::<M::Status> {
        status: M::Status::default(),
        around: start,
        memory: Memory::default(),
        now: Timestamp::from_second(1_000_000).unwrap(),
        held: BTreeSet::new(),
        late: vec![],
        taken: BTreeSet::new(),
        confirmed: BTreeSet::new(),
        path: Path::default(),
        shape: None,
    };
    let (mut known, mut queue, mut seen) = (HashSet::new(), VecDeque::from([first]), Seen::default());
    while let Some(mut state) = queue.pop_front() {
        if state.path.1 >= depth || seen.states >= limit || !known.insert(key::<M>(&mut state)) {
            continue;
        }
        seen.states += 1;
        seen.depth = state.path.1;
        queue.extend(surprises::<M>(&state));
        queue.extend(pass::<M>(&state, &mut seen));
    }
    seen
}

/// A state without what makes no difference: absolute times, words, and how often something was tried.
fn key<M: Subject>(state: &mut State<M::Status>) -> String {
    if state.shape.is_none() {
        state.shape = Some(shape(&state.status, state.now));
    }
    let relative = |at: Timestamp| at.duration_since(state.now).as_secs().clamp(-200, 200);
    let due = state.memory.answered.map(relative);
    let late: Vec<_> = state.late.iter().map(|(id, until)| (id, relative(*until))).collect();
    format!(
        "{:?} {:?} {due:?} {:?} {late:?} {:?} {:?}",
        state.shape, state.around, state.held, state.taken, state.confirmed
    )
}

fn shape(status: &impl serde::Serialize, now: Timestamp) -> Rc<str> {
    let mut status = serde_json::to_value(status).unwrap();
    if let Some(fields) = status.as_object_mut() {
        for field in ["lastAttemptTime", "nextAttemptTime"] {
            if let Some(Value::String(at)) = fields.get(field) {
                let at: Timestamp = at.parse().unwrap();
                fields[field] = json!(at.duration_since(now).as_secs().clamp(-200, 200));
            }
        }
        fields.remove("operationStartTime");
        for (field, most) in [("retries", 2), ("attempt", 1)] {
            if let Some(number) = fields.get(field).and_then(Value::as_i64) {
                fields[field] = json!(number.min(most));
            }
        }
        for condition in fields.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            condition["message"] = json!("");
            condition["lastTransitionTime"] = json!("");
        }
    }
    status.to_string().into()
}

fn then<S: Clone>(state: &State<S>, what: impl Into<String>) -> State<S> {
    let mut next = state.clone();
    next.path = state.path.then(what.into());
    next
}

/// What happens without the operator.
fn surprises<M: Subject>(state: &State<M::Status>) -> Vec<State<M::Status>> {
    let mut next = vec![];
    let mut change = |what: &str, apply: &dyn Fn(&mut State<M::Status>)| {
        let mut changed = then(state, what);
        apply(&mut changed);
        next.push(changed);
    };
    if state.around.edits < 2 && !state.around.deleted {
        change("edit", &|s| s.around.edits += 1);
    }
    if !state.around.deleted {
        change("delete", &|s| s.around.deleted = true);
    }
    if !state.around.bad_parameters {
        change("class comes or goes", &|s| s.around.unresolved ^= true);
    }
    if !state.around.unresolved {
        change("parameters break or mend", &|s| s.around.bad_parameters ^= true);
    }
    change("restart", &|s| s.memory = Memory::default());
    if M::HAS_SECRET && state.around.secret.is_none() {
        change("somebody takes the name", &|s| s.around.secret = Some(None));
    }
    if state.around.secret.is_some() {
        change("the Secret is deleted", &|s| s.around.secret = None);
    }
    for (index, (id, until)) in state.late.iter().enumerate() {
        if *until > state.now {
            change("a late create takes effect", &|s| {
                s.held.insert(id.clone());
                s.late.remove(index);
            });
        }
    }
    next
}

fn observed<M: Subject>(state: &State<M::Status>) -> Observed<M> {
    M::observed(&state.status, &state.around, state.memory, state.now)
}

/// What the operator does next, with everything that may come of it.
fn pass<M: Subject>(state: &State<M::Status>, seen: &mut Seen) -> Vec<State<M::Status>> {
    match M::plan(&observed::<M>(state)) {
        Step::AddFinalizer => panic!("the finalizer is there: {:?}", state.path),
        Step::RemoveFinalizer => {
            assert!(!M::may_exist(&state.status), "let go of what may exist: {:?}", state.path);
            assert_released(state);
            seen.released += 1;
            vec![]
        }
        Step::Record(status) => vec![recorded::<M>(then(state, "record"), &status)],
        Step::Write(_) => panic!("no writes are planned: {:?}", state.path),
        Step::Wait(Wait::ForChange) => {
            assert!(
                M::is_ready(&state.status) || M::has_said_why(&state.status),
                "waits without a word: {:?}",
                state.path
            );
            vec![]
        }
        Step::Wait(Wait::Until(at)) => {
            assert!(at > state.now, "waits for the past: {:?}", state.path);
            let mut later = then(state, format!("wait {}", at.duration_since(state.now).as_secs()));
            (later.now, later.shape) = (at, None);
            vec![later]
        }
        Step::Attempt { intent, call } => {
            let announced = recorded::<M>(then(state, "intent"), &intent);
            ask::<M>(&announced, &call, seen)
        }
        Step::Call { call, .. } => {
            assert!(!M::needs_fence(&call), "a request without an intent: {:?}", state.path);
            ask::<M>(&then(state, "call"), &call, seen)
        }
    }
}

/// A status goes over the wire, and differs from the present one.
fn recorded<M: Subject>(mut state: State<M::Status>, status: &M::Status) -> State<M::Status> {
    let text = serde_json::to_string(status).unwrap();
    assert_ne!(serde_json::to_string(&state.status).unwrap(), text, "wrote what was there: {:?}", state.path);
    assert!(!text.contains("hunter2"), "a credential in the status: {:?}", state.path);
    state.shape = None;
    state.status = serde_json::from_str(&text).unwrap();
    state
}

fn assert_released<S>(state: &State<S>) {
    let foreign = &state.taken;
    let left: Vec<_> = state.held.iter().filter(|id| !foreign.contains(*id)).collect();
    assert!(left.is_empty(), "left {left:?} behind: {:?}", state.path);
    let late: Vec<_> =
        state.late.iter().filter(|(id, until)| *until > state.now && !foreign.contains(id)).collect();
    assert!(late.is_empty(), "{late:?} may still come: {:?}", state.path);
}

fn ask<M: Subject>(state: &State<M::Status>, call: &M::Call, seen: &mut Seen) -> Vec<State<M::Status>> {
    let (kind, id) = (M::kind(&state.status, call), M::id(call));
    let changes = matches!(kind, Kind::Create | Kind::Update);
    assert!(!(changes && state.around.deleted), "{kind:?} for what is being deleted: {:?}", state.path);
    let taken = state.around.secret == Some(None);
    assert!(!(kind == Kind::Create && taken), "asks for what cannot be written: {:?}", state.path);
    if let Kind::Delete { .. } = kind {
        assert!(!state.taken.contains(&id), "deletes somebody else's {id}: {:?}", state.path);
    }
    seen.requests += 1;
    let mut next = vec![];
    // The process dies before or after the request is sent.
    let fates = if kind == Kind::Create {
        vec![Fate::Delayed, Fate::Vanished, Fate::Happened]
    } else {
        vec![Fate::Vanished, Fate::Happened]
    };
    for fate in fates {
        let mut dead = then(state, format!("crash, {kind:?} {fate:?}"));
        dead.memory = Memory::default();
        dead.shape = None;
        dead.now = dead.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        effect::<M>(&mut dead, kind, &id, Answer::Lost(fate));
        next.push(dead);
    }
    for answer in Answer::of(kind) {
        let mut answered = then(state, format!("{kind:?}: {answer:?}"));
        effect::<M>(&mut answered, kind, &id, answer);
        answered.shape = None;
        answered.now = answered.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        next.extend(absorbed::<M>(answered, call, answer, seen));
    }
    next
}

/// What is true at the broker afterwards.
fn effect<M: Subject>(state: &mut State<M::Status>, kind: Kind, id: &str, answer: Answer) {
    let quiet = Tunables::default().request_timeout.saturating_mul(2);
    let refused =
        matches!(answer, Answer::Conflict | Answer::BadRequest | Answer::Throttled | Answer::Unsent);
    if kind == Kind::Create && !refused {
        // From here on it may be ours after all.
        state.taken.remove(id);
    }
    match (kind, answer) {
        (Kind::Create, Answer::Lost(Fate::Delayed)) => {
            state.late.push((id.to_owned(), state.now.checked_add(quiet).unwrap()));
        }
        (Kind::Create, Answer::Conflict) if state.around.external_id && !state.confirmed.contains(id) => {
            state.taken.insert(id.to_owned());
        }
        (Kind::Create, Answer::Done | Answer::Accepted) => {
            state.held.insert(id.to_owned());
            state.confirmed.insert(id.to_owned());
            // An earlier request for the same is part of this one.
            state.late.retain(|(late, _)| late != id);
        }
        (Kind::Create, Answer::Garbled | Answer::Broken(true) | Answer::Lost(Fate::Happened)) => {
            state.held.insert(id.to_owned());
        }
        (Kind::Delete { .. }, Answer::Done | Answer::Broken(true) | Answer::Lost(Fate::Happened))
        | (Kind::Poll { deletion: true }, Answer::Succeeded | Answer::Gone) => {
            state.held.remove(id);
            state.confirmed.remove(id);
        }
        _ => {}
    }
}

fn absorbed<M: Subject>(
    mut state: State<M::Status>,
    call: &M::Call,
    answer: Answer,
    seen: &mut Seen,
) -> Vec<State<M::Status>> {
    let mitigated =
        matches!(M::kind(&state.status, call), Kind::Delete { mitigation: true }) && answer == Answer::Done;
    let before = M::used_id(&state.status);
    let absorbed = M::absorb(&observed::<M>(&state), call, M::outcome(call, answer));
    state.memory = absorbed.memory;
    if !absorbed.writes.is_empty() {
        state.around.secret = Some(Some(before.clone()));
    }
    match absorbed.next {
        Next::Record(status) => {
            let same =
                serde_json::to_string(&status).unwrap() == serde_json::to_string(&state.status).unwrap();
            let next = if same { state } else { recorded::<M>(state, &status) };
            if mitigated {
                let kept = before == M::used_id(&next.status);
                assert_eq!(kept, next.around.external_id, "the id after a mitigation: {:?}", next.path);
            }
            if M::is_ready(&next.status) {
                let id = M::used_id(&next.status);
                let written = !M::HAS_SECRET || next.around.secret == Some(Some(id));
                assert!(written, "ready without credentials: {:?}", next.path);
                assert!(
                    next.held.contains(&M::used_id(&next.status)),
                    "ready without anything: {:?}",
                    next.path
                );
            }
            vec![next]
        }
        Next::Release => {
            assert_released(&state);
            seen.released += 1;
            vec![]
        }
        Next::Call(follow_up) => ask::<M>(&state, &follow_up, seen),
    }
}
