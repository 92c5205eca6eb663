//! The broker: what it is asked, what it may answer, and what is true there afterwards, which the operator cannot see.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::Hash as _,
};

use jiff::Timestamp;
use service_catalog::{crd::common::BrokerKey, osb::wire::Target, reconcilers::settings::ReconcileSettings};

use crate::{instance::GIVEN_ID, state::near};

/// A request, as far as it matters.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    pub broker: BrokerKey,
    /// The id of the instance or binding that it is about.
    pub id: String,
    /// What is asked for, where something is.
    pub wish: Wish,
    /// What a request that is no PUT or PATCH names.
    pub target: Option<Target>,
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Create,
    Update,
    Delete { mitigation: bool },
    Poll { deletion: bool },
    Fetch,
}

impl Kind {
    /// Whether it needs an intent: a DELETE for an object that is being deleted is announced by the deletion itself.
    pub fn must_be_announced(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete { mitigation: true })
    }
}

/// What is asked for; `None` means that it stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub plan: Option<String>,
    /// Checksum of the parameters.
    pub parameters: Option<String>,
}

/// What an instance or binding is: plan, and checksum of the parameters.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Content {
    pub plan: String,
    pub parameters: String,
}

impl Content {
    fn with(&self, wish: &Wish) -> Self {
        Self {
            plan: wish.plan.clone().unwrap_or_else(|| self.plan.clone()),
            parameters: wish.parameters.clone().unwrap_or_else(|| self.parameters.clone()),
        }
    }
}

/// What becomes of a request, at the broker and on the way back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    Done,
    Accepted,
    BadRequest,
    /// Any other 4xx that speaks of this request.
    Forbidden,
    Conflict,
    /// 422 `ConcurrencyError`.
    Concurrency,
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

impl Fate {
    /// What may become of a request whose answer nobody hears.
    pub fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Create => &[Self::Delayed, Self::Vanished, Self::Happened],
            Kind::Update | Kind::Delete { .. } => &[Self::Vanished, Self::Happened],
            Kind::Poll { .. } | Kind::Fetch => &[Self::Vanished],
        }
    }
}

impl Answer {
    /// Every answer to such a request.
    pub fn of(kind: Kind) -> Vec<Self> {
        use Fate::{Delayed, Happened, Vanished};
        let asked = [
            Self::Done,
            Self::Accepted,
            Self::BadRequest,
            Self::Concurrency,
            Self::Throttled,
            Self::Unsent,
            Self::Broken(true),
            Self::Broken(false),
            Self::Lost(Happened),
            Self::Lost(Vanished),
        ];
        let creating = [Self::Conflict, Self::Forbidden, Self::Garbled, Self::Lost(Delayed)];
        match kind {
            Kind::Create => [&asked[..], &creating].concat(),
            Kind::Update | Kind::Delete { .. } => asked.to_vec(),
            Kind::Poll { .. } => vec![
                Self::InProgress,
                Self::Succeeded,
                Self::Failed,
                Self::Gone,
                Self::Missing,
                Self::Throttled,
                Self::Unsent,
            ],
            Kind::Fetch => vec![Self::Done, Self::Missing, Self::Garbled, Self::Throttled, Self::Unsent],
        }
    }

    /// Whether the broker says that this request changed nothing, or never saw it.
    fn refuses(self) -> bool {
        matches!(
            self,
            Self::BadRequest
                | Self::Forbidden
                | Self::Conflict
                | Self::Concurrency
                | Self::Throttled
                | Self::Missing
                | Self::Unsent
        )
    }

    /// Whether the answer leaves the broker as no lost one does, so that dying with it in hand is a case of its own.
    pub fn is_worth_dying_with(self) -> bool {
        matches!(self, Self::Accepted | Self::Succeeded | Self::Failed | Self::Gone)
    }
}

/// What the broker has for the object, and what was asked of it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The user has given the id, so that somebody else may have it.
    given_id: bool,
    held: BTreeMap<String, Held>,
    /// Creates that may still take effect, until then.
    late: Vec<(String, Content, Timestamp)>,
    /// Ids that somebody else has.
    foreign: BTreeSet<String>,
    /// Ids that a create was sent for, or may have been, and was not refused.
    asked: BTreeSet<String>,
    /// What was asked for in creates that nobody knows the end of.
    unanswered: BTreeMap<String, Content>,
    /// Ids whose deletion the broker has confirmed.
    used_up: BTreeSet<String>,
}

/// One instance or binding at the broker.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Held {
    content: Content,
    /// The broker is at work on it; in the end it will be this.
    becoming: Option<Content>,
}

impl Ledger {
    /// That of a new object, whose id is the user's word or not.
    pub fn new(given_id: bool) -> Self {
        Self { given_id, ..Self::default() }
    }

    /// Whether the user has given this id.
    fn is_given(&self, id: &str) -> bool {
        self.given_id && id == GIVEN_ID
    }

    /// Whether the broker, as it is, can answer so. It may lose requests and answers, and fail at any time, but what it
    /// says of an id is true.
    pub fn can(&self, request: &Request, answer: Answer) -> bool {
        let held = self.held.get(&request.id);
        match (request.kind, answer) {
            // The same id for something else is a conflict (OSB 2.17, "Provisioning", "Binding").
            (Kind::Create, Answer::Done | Answer::Accepted | Answer::Garbled) => {
                held.is_none_or(|held| held.content == held.content.with(&request.wish))
            }
            // And what is a repetition is none. An id that we made up nobody else has, but a broker may forget that it is ours.
            (Kind::Create, Answer::Conflict) if self.is_given(&request.id) => {
                held.is_none_or(|held| held.content != held.content.with(&request.wish))
            }
            // A broker that answers 5xx to a PATCH has changed nothing (OSB 2.17, "Service Broker Errors").
            (Kind::Update, Answer::Broken(done)) => held.is_some() && !done,
            (Kind::Update, answer) => held.is_some() || answer.refuses(),
            (Kind::Poll { deletion: false }, Answer::InProgress | Answer::Succeeded | Answer::Failed) => {
                held.is_some()
            }
            (Kind::Poll { deletion: true }, Answer::InProgress | Answer::Failed) => held.is_some(),
            (Kind::Fetch, Answer::Done | Answer::Garbled) => held.is_some_and(|held| held.becoming.is_none()),
            _ => true,
        }
    }

    /// What is true after this.
    pub fn settle(&mut self, request: &Request, answer: Answer, now: Timestamp) {
        let (id, wish) = (&request.id, &request.wish);
        match request.kind {
            Kind::Create => self.create(id, &Content::default().with(wish), answer, now),
            Kind::Update => self.update(id, wish, answer),
            Kind::Delete { .. } => match answer {
                Answer::Done => self.confirm_gone(id, now),
                Answer::Broken(true) | Answer::Lost(Fate::Happened) => {
                    self.held.remove(id);
                }
                _ => {}
            },
            Kind::Poll { deletion: true } => {
                if matches!(answer, Answer::Succeeded | Answer::Gone) {
                    self.confirm_gone(id, now);
                }
            }
            Kind::Poll { deletion: false } => {
                // A broker that says that it failed may have done it all the same.
                if let (Answer::Succeeded | Answer::Failed, Some(held)) = (answer, self.held.get_mut(id)) {
                    held.content = held.becoming.take().unwrap_or_else(|| held.content.clone());
                }
            }
            Kind::Fetch => {}
        }
    }

    fn create(&mut self, id: &str, content: &Content, answer: Answer, now: Timestamp) {
        if answer == Answer::Conflict && self.is_given(id) && !self.held.contains_key(id) {
            self.foreign.insert(id.to_owned());
            // What is still under way will be refused as well.
            self.late.retain(|(late, ..)| late != id);
            self.unanswered.remove(id);
        }
        if answer.refuses() {
            return;
        }
        // From here on it may be ours after all: nobody can tell.
        self.foreign.remove(id);
        self.asked.insert(id.to_owned());
        let made = Held { content: content.clone(), becoming: None };
        match answer {
            Answer::Done | Answer::Accepted => {
                let becoming = (answer == Answer::Accepted).then(|| content.clone());
                self.held.insert(id.to_owned(), Held { becoming, ..made });
                // An earlier request for the same is part of this one.
                self.late.retain(|(late, ..)| late != id);
                self.unanswered.remove(id);
                return;
            }
            Answer::Garbled | Answer::Broken(true) | Answer::Lost(Fate::Happened) => {
                self.held.entry(id.to_owned()).or_insert(made);
            }
            Answer::Lost(Fate::Delayed) => {
                let until = now + ReconcileSettings::default().quiet_period();
                self.late.push((id.to_owned(), content.clone(), until));
            }
            _ => {}
        }
        self.unanswered.insert(id.to_owned(), content.clone());
    }

    /// The operator never got to read the answer.
    pub fn unheard(&mut self, request: &Request) {
        if request.kind == Kind::Create {
            let content = Content::default().with(&request.wish);
            self.unanswered.insert(request.id.clone(), content);
        }
    }

    fn update(&mut self, id: &str, wish: &Wish, answer: Answer) {
        let Some(held) = self.held.get_mut(id) else { return };
        let content = held.becoming.as_ref().unwrap_or(&held.content).with(wish);
        match answer {
            Answer::Done => (held.content, held.becoming) = (content, None),
            Answer::Broken(true) | Answer::Lost(Fate::Happened) => held.content = content,
            // To be told of annotations, a broker may take its time; the instance stays what it is.
            Answer::Accepted if held.becoming.is_none() && content == held.content => {}
            Answer::Accepted => held.becoming = Some(content),
            _ => {}
        }
    }

    fn confirm_gone(&mut self, id: &str, now: Timestamp) {
        self.held.remove(id);
        if !self.may_still_come(id, now) {
            self.unanswered.remove(id);
            self.used_up.insert(id.to_owned());
        }
    }

    /// Creates that have not taken effect yet, and until when they may.
    pub fn late(&self) -> Vec<(String, Timestamp)> {
        self.late.iter().map(|(id, _, until)| (id.clone(), *until)).collect()
    }

    /// A late create takes effect.
    pub fn take_effect(&mut self, id: &str) {
        if let Some(at) = self.late.iter().position(|(late, ..)| late == id) {
            let (id, content, _) = self.late.remove(at);
            self.held.entry(id).or_insert(Held { content, becoming: None });
        }
    }

    fn may_still_come(&self, id: &str, now: Timestamp) -> bool {
        self.late.iter().any(|(late, _, until)| late == id && *until > now)
    }

    /// What the broker has, or may yet get, that is not somebody else's.
    pub fn ours(&self, now: Timestamp) -> BTreeSet<&str> {
        let coming = self.late.iter().filter(|(_, _, until)| *until > now).map(|(id, ..)| id.as_str());
        let held = self.held.keys().map(String::as_str);
        held.chain(coming).filter(|id| !self.foreign.contains(*id)).collect()
    }

    /// What the broker has under an id, if it is not at work on it.
    pub fn content(&self, id: &str) -> Option<&Content> {
        self.held.get(id).filter(|held| held.becoming.is_none()).map(|held| &held.content)
    }

    /// Whether it has anything under an id.
    pub fn holds(&self, id: &str) -> bool {
        self.held.contains_key(id)
    }

    pub fn is_foreign(&self, id: &str) -> bool {
        self.foreign.contains(id)
    }

    pub fn was_asked(&self, id: &str) -> bool {
        self.asked.contains(id)
    }

    pub fn is_used_up(&self, id: &str) -> bool {
        self.used_up.contains(id)
    }

    /// What was asked for under this id without a conclusive answer.
    pub fn unanswered(&self, id: &str) -> Option<&Content> {
        self.unanswered.get(id)
    }

    pub fn hash_into(&self, now: Timestamp, hasher: &mut DefaultHasher) {
        let late: Vec<_> =
            self.late.iter().map(|(id, content, until)| (id, content, near(*until, now))).collect();
        (&self.held, late, &self.foreign).hash(hasher);
        (&self.asked, &self.unanswered, &self.used_up).hash(hasher);
    }
}
