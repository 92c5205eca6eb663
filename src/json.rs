//! JSON as it passes by: how deep and how much of it, told from the bytes alone. Pure.
//!
//! A tree of values takes many times the room of its text, and reading one to its depths takes a stack that has an end, so
//! what others wrote is looked at before it is made a tree of. Of what is no JSON nothing sensible is told, but as fast.

mod raw;

pub use raw::{RawObject, text_of};

/// The most values of one object that others wrote: parameters, metadata, an answer of a broker. As a tree they take some 20
/// MiB. Nobody needs so many: an object that the cluster takes, 1.5 MiB at most, has them only if it consists of little else
/// than commas and brackets.
pub const MAX_VALUES: usize = 100_000;

/// The deepest parameters, metadata and schemas. Whoever lists the objects that hold them reads them within other levels,
/// and again in their `managedFields`; of readers of JSON, ours among them, many give up on a whole list that has 128
/// levels anywhere.
pub const MAX_DEPTH: usize = 64;

/// Where a reader stands. It takes any pieces, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    depth: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between texts.
    #[default]
    Open,
    /// Within a text.
    Text,
    /// Within a text, after a backslash.
    Escaped,
}

/// What a byte did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It began an array or object: the cursor is within it now.
    Opened,
    /// It ended one: the cursor is behind it now.
    Closed,
    /// It stands between two members.
    Separated,
    /// Nothing of the kind.
    Nothing,
}

impl Cursor {
    /// How many arrays and objects are open.
    #[must_use]
    pub fn depth(self) -> usize {
        self.depth
    }

    /// Goes over one byte.
    #[inline]
    pub fn step(&mut self, byte: u8) -> Step {
        match (self.place, byte) {
            (Place::Open, b'{' | b'[') => {
                self.depth += 1;
                return Step::Opened;
            }
            (Place::Open, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return Step::Closed;
            }
            (Place::Open, b',') => return Step::Separated,
            (Place::Open, b'"') | (Place::Escaped, _) => self.place = Place::Text,
            (Place::Text, b'"') => self.place = Place::Open,
            (Place::Text, b'\\') => self.place = Place::Escaped,
            (Place::Open | Place::Text, _) => {}
        }
        Step::Nothing
    }
}

/// How many levels of arrays and objects a text has.
#[must_use]
pub fn depth(text: &[u8]) -> usize {
    let mut cursor = Cursor::default();
    let deepest = |byte: &u8| {
        cursor.step(*byte);
        cursor.depth()
    };
    text.iter().map(deepest).max().unwrap_or_default()
}

/// Whether a text has so many values at most. An array or object counts beside its members, an empty one twice.
#[must_use]
pub fn has_at_most(limit: usize, text: &[u8]) -> bool {
    let mut cursor = Cursor::default();
    let counts = |byte: &&u8| matches!(cursor.step(**byte), Step::Opened | Step::Separated);
    text.iter().filter(counts).take(limit).count() < limit
}

/// How many values a text has. An array or object counts beside its members, an empty one twice.
#[must_use]
pub fn values(text: &[u8]) -> usize {
    let mut cursor = Cursor::default();
    1 + text.iter().filter(|byte| matches!(cursor.step(**byte), Step::Opened | Step::Separated)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_and_texts_are_not() {
        for (text, levels) in [
            ("", 0),
            ("7", 0),
            ("[]", 1),
            (r#"{"a":[{}],"b":1}"#, 3),
            (r#"{"[[[[":"{{{{"}"#, 1),
            (r#"["\"[[[["]"#, 1),
            (r#"["\\",[]]"#, 2),
            ("[[]][[[]]]", 3),
            ("]]]][", 1),
        ] {
            assert_eq!(depth(text.as_bytes()), levels, "{text}");
        }
    }

    #[test]
    fn values_are_counted_and_texts_are_not() {
        for (text, values) in [
            ("7", 1),
            (r#""a,b,[c,{d""#, 1),
            ("[1,2,3]", 4),
            (r#"{"a":1,"b":[true,null]}"#, 5),
            (r#"["\",",","]"#, 3),
            ("[]", 2),
        ] {
            assert!(has_at_most(values, text.as_bytes()), "{text}");
            assert!(!has_at_most(values - 1, text.as_bytes()), "{text}");
            assert_eq!(super::values(text.as_bytes()), values, "{text}");
        }
    }
}
