//! The parts of an array or object as text. A large document is taken apart this way, so that each part is
//! read alone, and a bad part does not affect the others. Pure.

use super::{Cursor, Structure};

/// The texts between the brackets and commas of an array or object, in order, without white space around
/// them.
///
/// `text` must be one valid JSON array or object. For other text the result has no meaning.
pub fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor::default();
    let ends = move |byte: &u8| match cursor.step(*byte) {
        Structure::Opened | Structure::Separated => cursor.depth() == 1,
        Structure::Closed => cursor.depth() == 0,
        Structure::Nothing => false,
    };
    text.split(ends).map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

/// The value of a member of an object, as text. If the object has the key twice, it is the last value, as for
/// every other reader in this crate.
///
/// `text` must be one valid JSON object.
#[must_use]
pub fn member<'t>(text: &'t [u8], key: &str) -> Option<&'t [u8]> {
    let value = |piece: &'t [u8]| {
        let mut reader = serde_json::Deserializer::from_slice(piece).into_iter::<String>();
        reader.next()?.ok().filter(|found| found == key)?;
        Some(piece.get(reader.byte_offset()..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
    };
    pieces(text).filter_map(value).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_or_object_is_taken_apart_at_its_outermost_level() {
        for (text, parts) in [
            ("[]", &[][..]),
            ("[ ]", &[]),
            ("{}", &[]),
            (r#"[1, "a,]" ,[2,3],{"b":[4]}]"#, &["1", r#""a,]""#, "[2,3]", r#"{"b":[4]}"#]),
            (r#" {"a": 1,"b":{"c":[2,3]}} "#, &[r#""a": 1"#, r#""b":{"c":[2,3]}"#]),
        ] {
            let found: Vec<_> =
                pieces(text.as_bytes()).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(found, parts, "{text}");
        }
    }

    #[test]
    fn a_member_is_found_by_its_key_and_the_last_one_counts() {
        let text = br#"{"a" : 1, "b,\"}": {"a": 2}, "c": "x:y", "\u0064": null, "e": 1, "e": [3] }"#;
        for (key, value) in [
            ("a", Some("1")),
            ("b,\"}", Some(r#"{"a": 2}"#)),
            ("c", Some("\"x:y\"")),
            ("d", Some("null")),
            ("e", Some("[3]")),
            ("f", None),
        ] {
            assert_eq!(member(text, key), value.map(str::as_bytes), "{key}");
        }
    }
}
