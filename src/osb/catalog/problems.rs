//! The faults of a catalog, as messages for people. Pure.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
};

use zeroize::Zeroizing;

use crate::{
    json::RawObject,
    json_schema::{MAX_ROOM, Schema, weight},
    memory_budget::one_at_a_time,
    osb::redact::quote,
};

/// How much of a broker's text is quoted in a place or message, in bytes.
const QUOTED: usize = 64;

/// How much of the reason is shown why a schema cannot be used, in bytes.
const REASON: usize = 256;

/// The room for the regular expressions of all schemas of a catalog, in bytes. To make what fills it takes less than a
/// second.
const ROOM: usize = 4 * MAX_ROOM;

/// One fault: `services[2] "redis": plans[0]: id is missing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The entry that has the fault: `services[2] "redis": plans[0]`.
    pub place: String,
    /// The fault: `id is missing`.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The problems of a catalog. `Display` shows the first [`Problems::SHOWN`] and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// How many problems are kept. A broker that generates its catalog may repeat one mistake in ten thousand
    /// plans.
    pub const KEPT: usize = 100;
    /// How many problems are shown.
    pub const SHOWN: usize = 10;

    /// Adds a problem; beyond [`Problems::KEPT`] it is only counted.
    pub fn push(&mut self, place: &str, message: impl Into<String>) {
        if self.kept.len() < Self::KEPT {
            self.kept.push(Problem { place: place.to_owned(), message: message.into() });
        } else {
            self.more += 1;
        }
    }

    /// Adds the problems of another list.
    pub fn extend(&mut self, other: &Self) {
        for Problem { place, message } in &other.kept {
            self.push(place, message);
        }
        self.more += other.more;
    }

    /// The problems that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.kept.iter()
    }

    /// The number of problems, kept or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() + self.more
    }

    /// Whether there is no problem.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().take(Self::SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Why a catalog is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker's catalog is invalid: {0}")]
pub struct InvalidCatalog(pub(super) String);

/// The faults that were found so far.
pub(super) struct Findings<'s> {
    pub skipped: Problems,
    pub tolerated: Problems,
    secrets: &'s [Zeroizing<String>],
    /// Why schemas cannot be used, by the hash of their text: a catalog may repeat one in ten thousand plans.
    schemas: HashMap<u64, Option<String>>,
    hasher: RandomState,
    /// The room for regular expressions of schemas that is left.
    room: usize,
}

impl<'s> Findings<'s> {
    /// No faults yet. `secrets` are removed from quoted text.
    pub fn new(secrets: &'s [Zeroizing<String>]) -> Self {
        Self {
            skipped: Problems::default(),
            tolerated: Problems::default(),
            secrets,
            schemas: HashMap::new(),
            hasher: RandomState::new(),
            room: ROOM,
        }
    }

    /// Why parameters cannot be checked against a schema. `None` also if the catalog has too many regular expressions
    /// to know.
    pub fn unusable(&mut self, schema: &RawObject) -> Option<String> {
        let hash = self.hasher.hash_one(schema.text());
        if let Some(known) = self.schemas.get(&hash) {
            return known.clone();
        }
        if self.room < MAX_ROOM {
            return None;
        }
        let mut left = MAX_ROOM;
        let unusable = one_at_a_time(weight(schema), || Schema::compile(schema, &mut left).err());
        self.room -= MAX_ROOM - left;
        let why = unusable.map(|why| quote(&why.to_string(), self.secrets, REASON));
        self.schemas.insert(hash, why.clone());
        why
    }

    /// A piece of the broker's text, without secrets.
    pub fn quoted(&self, text: &str) -> String {
        format!("\"{}\"", quote(text, self.secrets, QUOTED))
    }
}
