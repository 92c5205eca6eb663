//! What is true at one moment: of the object, its operator, its broker and everything around; how it came to be; and the
//! key by which two moments are told apart.

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash as _, Hasher as _},
    io,
    rc::Rc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use service_catalog::{
    crd::Condition,
    reconcilers::{memory::OperationMemory, settings::ReconcileSettings},
};

use crate::{
    broker::{Kind, Ledger},
    instance::generation,
    subject::Subject,
    surprises::Surroundings,
};

/// What is true.
#[derive(Clone)]
pub struct State<S> {
    /// The status, as the API server has it.
    pub status: S,
    /// The rest of the object, and what it depends on.
    pub around: Surroundings,
    /// An earlier version, which another replica or a cache that lags behind still takes for the present.
    pub stale: Option<Rc<Version<S>>>,
    /// What the process remembers.
    pub memory: OperationMemory,
    /// When the broker last answered this process, whatever it remembers of that.
    pub answered: Option<Timestamp>,
    /// The broker wants to be left alone with such requests until then.
    pub pause: Option<(Kind, Timestamp)>,
    /// What the broker has.
    pub broker: Ledger,
    /// The present.
    pub now: Timestamp,
    /// How it came to be.
    pub path: Path,
    /// The status without what makes no difference, once it was needed.
    shape: Option<u64>,
}

/// One version of an object and its surroundings.
#[derive(Clone)]
pub struct Version<S> {
    pub status: S,
    pub around: Surroundings,
    shape: u64,
}

impl<S: Clone + Default + serde::Serialize> State<S> {
    /// An object that was just created.
    pub fn new(around: Surroundings) -> Self {
        Self {
            status: S::default(),
            broker: Ledger::new(around.external_id),
            around,
            stale: None,
            memory: OperationMemory::default(),
            answered: None,
            pause: None,
            now: Timestamp::from_second(1_000_000).unwrap(),
            path: Path::default(),
            shape: None,
        }
    }

    /// The same, a moment later, because of this.
    pub fn then(&self, what: impl Into<String>) -> Self {
        Self { path: self.path.then(what.into()), ..self.clone() }
    }

    /// A request takes a second.
    pub fn a_second_later(mut self) -> Self {
        self.advance(self.now + SignedDuration::from_secs(1));
        self
    }

    pub fn advance(&mut self, to: Timestamp) {
        self.now = to;
        self.shape = None;
    }

    /// The process dies, and with it what it remembers.
    pub fn forget(&mut self) {
        self.memory = OperationMemory::default();
        self.answered = None;
        self.pause = None;
    }

    pub fn set_status(&mut self, status: S) {
        self.status = status;
        self.shape = None;
    }

    /// What somebody sees who looks now, and never again.
    pub fn version<M: Subject<Status = S>>(&mut self) -> Version<S> {
        let shape = self.shape::<M>();
        Version { status: self.status.clone(), around: self.around.clone(), shape }
    }

    /// A number that is the same for states that differ in nothing that matters: absolute times, words, and how often
    /// something was tried do not.
    pub fn key<M: Subject<Status = S>>(&mut self) -> u64 {
        let shape = self.shape::<M>();
        let mut hasher = DefaultHasher::new();
        shape.hash(&mut hasher);
        self.around.hash(&mut hasher);
        // Which generation the operator has acted on matters only as seen from the present one.
        let present = generation(&self.around);
        let mut status = self.status.clone();
        status.generations_mut().map(|seen| present - *seen).hash(&mut hasher);
        let intent = self.status.progress().intent.as_ref();
        intent.map(|intent| intent.persisted().is_some()).hash(&mut hasher);
        let near = |at: Timestamp| near(at, self.now);
        [self.memory.answered, self.memory.not_before].map(|at| at.map(near)).hash(&mut hasher);
        self.broker.hash_into(self.now, &mut hasher);
        if let Some(stale) = &self.stale {
            (&stale.shape, &stale.around).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn shape<M: Subject<Status = S>>(&mut self) -> u64 {
        let Self { status, now, .. } = self;
        *self.shape.get_or_insert_with(|| {
            let mut writer = HashWriter(DefaultHasher::new());
            serde_json::to_writer(&mut writer, &M::shape(status, *now)).unwrap();
            writer.0.finish()
        })
    }
}

/// How far away, as far as it matters: nothing waits longer than the quiet period but for the end of all patience.
pub fn near(at: Timestamp, now: Timestamp) -> i64 {
    at.duration_since(now).as_secs().clamp(-200, 200)
}

/// What the times in a status come to.
pub fn near_time(at: &mut Option<MicroTime>, now: Timestamp) {
    if let Some(at) = at {
        at.0 = Timestamp::from_second(near(at.0, now)).unwrap();
    }
}

/// Whether an operation has gone on for too long is all that matters of its beginning.
pub fn patience(since: &mut Option<Time>, now: Timestamp) {
    if let Some(since) = since {
        let over = now.duration_since(since.0) > ReconcileSettings::default().give_up_after;
        since.0 = Timestamp::from_second(over.into()).unwrap();
    }
}

/// Words make no difference, nor since when they are said, and of which generation.
pub fn wordless(conditions: &mut [Condition]) {
    for condition in conditions {
        condition.message.clear();
        condition.last_transition_time = None;
        condition.observed_generation = 0;
    }
}

/// Hashes what is written to it.
struct HashWriter(DefaultHasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a state was reached.
#[derive(Clone, Default)]
pub struct Path(Option<Rc<(Path, String)>>, usize);

impl Path {
    fn then(&self, what: String) -> Self {
        Self(Some(Rc::new((self.clone(), what))), self.1 + 1)
    }

    pub fn len(&self) -> usize {
        self.1
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            Some((before, what)) => write!(f, "{before}\n  {:2}. {what}", self.1),
            None => Ok(()),
        }
    }
}
