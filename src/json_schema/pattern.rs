//! Regular expressions of schemas. They are those of ECMAScript, and are matched without backtracking, so that the time
//! grows with the length of the text only.
//!
//! A short expression may need much memory: `[^a]{200}` is an automaton of half a MiB. So the room for the expressions of
//! a schema is limited.

use regex::{Error, Regex, RegexBuilder};

use super::Unusable;
use crate::printable::clip;

/// The sizes of automatons, in bytes. A larger one takes about ten milliseconds to make.
const SIZES: [usize; 3] = [16 << 10, 128 << 10, 1 << 20];

/// How much of an expression is quoted, in bytes.
const QUOTED: usize = 64;

/// A regular expression.
pub(super) struct Pattern {
    /// As the schema has it.
    pub source: String,
    /// What a byte of a text costs.
    pub cost: usize,
    regex: Regex,
}

impl Pattern {
    /// Reads an expression, and takes its size from the room.
    pub(super) fn compile(source: &str, room: &mut usize) -> Result<Self, Unusable> {
        let quoted = clip(source, QUOTED);
        let translated = translated(source);
        for size in SIZES {
            let Some(left) = room.checked_sub(size) else {
                return Err(Unusable("its regular expressions are too large".to_owned()));
            };
            let built = translated.as_ref().map(|source| {
                RegexBuilder::new(source).size_limit(size).dfa_size_limit(size).nest_limit(50).build()
            });
            match built {
                Some(Ok(regex)) => {
                    *room = left;
                    return Ok(Self { source: source.to_owned(), cost: size / SIZES[0], regex });
                }
                Some(Err(Error::CompiledTooBig(_))) => {}
                _ => {
                    return Err(Unusable(format!(
                        "the pattern \"{quoted}\" is wrong, or needs backtracking"
                    )));
                }
            }
        }
        *room = room.saturating_sub(SIZES[2]);
        Err(Unusable(format!("the pattern \"{quoted}\" is too large")))
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The expression as the crate `regex` reads it. There `\d`, `\w` and `\b` know the letters of all languages, and
/// classes have operators.
fn translated(source: &str) -> Option<String> {
    let mut out = String::new();
    let mut in_class = false;
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match (characters.next()?, in_class) {
                ('d', true) => out.push_str("0-9"),
                ('d', false) => out.push_str("[0-9]"),
                ('D', _) => out.push_str("[^0-9]"),
                ('w', true) => out.push_str("0-9A-Za-z_"),
                ('w', false) => out.push_str("[0-9A-Za-z_]"),
                ('W', _) => out.push_str("[^0-9A-Za-z_]"),
                ('b', true) => out.push_str(r"\x08"),
                ('b', false) => out.push_str(r"(?-u:\b)"),
                (plain @ ('<' | '>'), _) => out.push(plain),
                (escaped, _) => out.extend(['\\', escaped]),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // Nothing, or everything, in ECMAScript.
                if characters.peek() == Some(&']') {
                    return None;
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '-' if in_class && characters.peek() == Some(&'-') => return None,
            operator @ ('[' | '&' | '~') if in_class => out.extend(['\\', operator]),
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema::MAX_ROOM;

    #[test]
    fn expressions_mean_what_they_mean_in_ecmascript() {
        for (source, matching, other) in [
            (r"^\d+$", "42", "٤٢"),
            (r"^[\w.-]+$", "a_b.c-d", "é"),
            (r"^[^\d]$", "x", "7"),
            (r"^\W$", "é", "e"),
            (r"\bé", "aé", "é"),
            ("^[[a&&b]+$", "a&[b", "c"),
            ("^[~~!]$", "~", "a"),
            (r"^\/\<\@\-$", "/<@-", "/"),
            (r"^[\b]$", "\u{8}", "b"),
            ("^\\u0041$", "A", "a"),
            ("^a$", "a", "a\n"),
            ("b", "abc", "ac"),
            (r"^\p{L}{1,3}$", "aé", "1"),
        ] {
            let pattern =
                Pattern::compile(source, &mut MAX_ROOM.clone()).unwrap_or_else(|why| panic!("{why}"));
            assert!(pattern.is_match(matching), "{source} matches {matching:?}");
            assert!(!pattern.is_match(other), "{source} does not match {other:?}");
        }
    }

    #[test]
    fn expressions_that_need_backtracking_or_much_memory_cannot_be_used() {
        let why = |source: &str| Pattern::compile(source, &mut MAX_ROOM.clone()).err().unwrap().to_string();
        let (deep, long) = ("(".repeat(1000) + &")".repeat(1000), "a{1000}".repeat(9000));
        for source in ["(?=a)b", "(?!a)b", "(?<=a)b", r"(a)\1", "(", "[", "[]", "[^]", "\\", "[+--]", &deep] {
            assert!(why(source).ends_with("is wrong, or needs backtracking"), "{}", why(source));
        }
        for source in ["a{99999}", "((a{100}){100}){100}", r"(\p{L}{500}){500}", &long] {
            assert!(why(source).ends_with("is too large"), "{}", why(source));
        }
    }

    #[test]
    fn all_expressions_have_a_room() {
        let mut room = MAX_ROOM;
        for _ in 0..2 {
            Pattern::compile("^.{1,255}$", &mut room).unwrap();
        }
        assert_eq!(room, MAX_ROOM - (2 << 20));
        assert!(Pattern::compile("a{99999}", &mut room).is_err());
        assert_eq!(room, MAX_ROOM - (3 << 20));
        for _ in 0..MAX_ROOM / SIZES[0] {
            let _ = Pattern::compile("^a$", &mut room);
        }
        let why = Pattern::compile("^a$", &mut room).err().unwrap().to_string();
        assert_eq!(why, "its regular expressions are too large");
    }

    #[test]
    fn no_expression_takes_long() {
        let text = "a".repeat(64 << 10);
        for source in ["^(a+)+$", "^(a|a)*$", "^(a*)*b$", "(.*a){20}b", "(x+x+)+y"] {
            let started = std::time::Instant::now();
            Pattern::compile(source, &mut MAX_ROOM.clone()).unwrap().is_match(&text);
            assert!(started.elapsed().as_secs() < 5, "{source}: {:?}", started.elapsed());
        }
    }
}
