//! JSON text: its depth, its number of values and its parts, found from the bytes alone, and objects that are
//! kept as text ([`RawObject`]). Pure.
//!
//! A tree of values takes many times the memory of its text, and parsing a deep text can exhaust the stack.
//! So the operator checks the size and the depth of a text from outside before it parses it. The functions
//! also accept text that is not valid JSON: then the result has no meaning, but they are just as fast.

mod pieces;
mod raw;

use serde::{Deserialize, Deserializer};

pub use pieces::{member, pieces};
pub use raw::{RawObject, text_of};

/// The limit on the values of one object from outside: parameters, metadata, an answer of a broker. As a tree
/// this many take about 20 MiB. An object that the API server accepts (at most 1.5 MiB) has more only if it
/// consists almost entirely of commas and brackets.
pub const MAX_VALUES: usize = 100_000;

/// The limit on the levels of parameters, metadata and schemas. A client that lists the objects reads them
/// inside other levels, and again in `managedFields`. Many JSON readers, also `serde_json`, fail on a whole
/// list if anything in it has 128 levels.
pub const MAX_DEPTH: usize = 64;

/// Reads `null` as the default, because Go clients send `null` for what is empty.
///
/// # Errors
/// The value has another type.
pub fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The position of a reader of JSON text, which may be given in parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    depth: usize,
    place: Position,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    /// Outside of strings.
    #[default]
    Open,
    /// In a string.
    Text,
    /// In a string, after a backslash.
    Escaped,
}

/// The meaning of a byte for the structure of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// An array or object begins; the cursor is inside of it now.
    Opened,
    /// An array or object ends; the cursor is behind it now.
    Closed,
    /// A comma between two members.
    Separated,
    /// None of these.
    Nothing,
}

impl Cursor {
    /// The number of arrays and objects that are open.
    #[must_use]
    pub fn depth(self) -> usize {
        self.depth
    }

    /// Reads one byte.
    #[inline]
    pub fn step(&mut self, byte: u8) -> Structure {
        match (self.place, byte) {
            (Position::Open, b'{' | b'[') => {
                self.depth += 1;
                return Structure::Opened;
            }
            (Position::Open, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return Structure::Closed;
            }
            (Position::Open, b',') => return Structure::Separated,
            (Position::Open, b'"') | (Position::Escaped, _) => self.place = Position::Text,
            (Position::Text, b'"') => self.place = Position::Open,
            (Position::Text, b'\\') => self.place = Position::Escaped,
            (Position::Open | Position::Text, _) => {}
        }
        Structure::Nothing
    }
}

/// The number of levels of arrays and objects.
#[must_use]
pub fn depth(text: &[u8]) -> usize {
    let mut cursor = Cursor::default();
    let deepest = |byte: &u8| {
        cursor.step(*byte);
        cursor.depth()
    };
    text.iter().map(deepest).max().unwrap_or_default()
}

/// Whether a text has at most `limit` values, counted as by [`values`].
#[must_use]
pub fn has_at_most(limit: usize, text: &[u8]) -> bool {
    let mut cursor = Cursor::default();
    let counts = |byte: &&u8| matches!(cursor.step(**byte), Structure::Opened | Structure::Separated);
    text.iter().filter(counts).take(limit).count() < limit
}

/// The number of values in a text. An array or object counts in addition to its members; an empty one counts
/// twice.
#[must_use]
pub fn values(text: &[u8]) -> usize {
    let mut cursor = Cursor::default();
    1 + text
        .iter()
        .filter(|byte| matches!(cursor.step(**byte), Structure::Opened | Structure::Separated))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_without_brackets_in_strings() {
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
    fn values_are_counted_without_commas_and_brackets_in_strings() {
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
