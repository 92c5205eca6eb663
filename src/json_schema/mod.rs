//! Does a value follow a JSON schema? Pure.
//!
//! The schemas come from brokers and the values from users, and neither is trusted. A schema of one KiB can ask for
//! more steps than anybody can wait for: `$ref`s that double at each level, patterns that backtrack. So a schema is
//! read within limits ([`Schema::compile`]), and each check has a number of steps ([`Schema::check`]). The crate
//! `jsonschema` has no such number: with 0.61.2, a schema of 150 bytes and a value of 20 levels took more than 2 GB. So
//! the rules are here. The module never follows a reference to another document.
//!
//! It knows the keywords of the drafts 4, 6, 7, 2019-09 and 2020-12. `$schema` says which of them a schema has; without
//! it all of them count. A schema with a keyword that cannot be checked is [`Unusable`] as a whole, because half of
//! a schema may refuse what the whole accepts. `format` and `content…` are for people, as the newer
//! drafts say. Where drafts or engines of regular expressions differ, the milder reading counts: the broker checks
//! again.
//!
//! Messages name a rule and quote the schema. They never quote the value, because it may be a secret.

mod check;
mod compile;
mod kept;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;
mod values;
mod wording;

use std::sync::Arc;

use serde_json::Value;

use crate::json::{MAX_DEPTH, RawObject, depth};
use rule::Rule;

/// The largest schema, in bytes (OSB 2.17, "Input Parameters Schema Object": 64 kB).
pub const MAX_LENGTH: usize = 64 << 10;

/// The room for the regular expressions of one schema, in bytes. Many of them take 16 KiB each.
pub const MAX_ROOM: usize = 4 << 20;

/// How many violations are shown.
pub const SHOWN: usize = 3;

/// A schema that can be used for checks.
pub struct Schema {
    /// The schema and all the schemas in it. The first is the whole.
    nodes: Vec<Vec<Rule>>,
}

/// The place of a schema in [`Schema::nodes`].
type NodeId = usize;

/// Why a schema cannot be used. The text continues "because …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// A check took more steps than it may. Nobody knows whether the value follows the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

/// A rule that a value breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where in the value.
    pub path: Vec<Step>,
    /// What the schema says: `must be at most 10 (maximum)`.
    pub rule: String,
}

/// One step of a path into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a member of an object.
    Key(String),
    /// Into an item of an array.
    Index(usize),
}

/// How much text a schema counts as, for [`one_at_a_time`](crate::memory_budget::one_at_a_time): regular expressions
/// take far more memory than their text.
#[must_use]
pub fn weight(schema: &RawObject) -> usize {
    let text = schema.text();
    if text.contains("pattern") { usize::MAX } else { text.len() }
}

impl Schema {
    /// A schema for a check: [`compile`](Self::compile), or one of those that were used last.
    ///
    /// # Errors
    /// See [`compile`](Self::compile).
    pub fn read(schema: &RawObject) -> Result<Arc<Self>, Unusable> {
        kept::read(schema)
    }

    /// Reads a schema. `room` is the room for its regular expressions, in bytes. What they take is subtracted.
    ///
    /// # Errors
    /// The schema is too large or too deep, breaks a rule of its draft, or has something that cannot be checked.
    pub fn compile(schema: &RawObject, room: &mut usize) -> Result<Self, Unusable> {
        let text = schema.text().as_bytes();
        if text.len() > MAX_LENGTH {
            return Err(Unusable(format!("it is larger than {MAX_LENGTH} bytes")));
        }
        if depth(text) > MAX_DEPTH {
            return Err(Unusable(format!("it is nested more than {MAX_DEPTH} levels deep")));
        }
        let document = schema.parse().map_err(|_| Unusable("it cannot be read".to_owned()))?;
        Ok(Self { nodes: compile::nodes(&Value::Object(document), room)? })
    }

    /// The rules that a value breaks, in the order of the schema and of the value: one more than are [`SHOWN`] at
    /// most.
    ///
    /// # Errors
    /// The check takes too long.
    pub fn check(&self, value: &Value) -> Result<Vec<Violation>, Undecided> {
        check::violations(&self.nodes, value)
    }
}
