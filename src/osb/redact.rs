//! Secrets are taken out of a text, in whatever form the text has them. Pure.
//!
//! A broker, its framework or its gateway may repeat what it received: as it is, in other letters (upper case),
//! as part of a URL (`%C3%A4`, `+`), of JSON (`\u00e4`, `\"`) or of HTML (`&quot;`), or in base64, alone or
//! behind a user name. A text and the secrets are brought into three plain forms, and compared there:
//! in lower case; in lower case without escapes; and as base64 of one alphabet.
//!
//! The secrets may be many: the values of all Secrets of an object. For each of them the text is read once at
//! most, however often it repeats itself, and only if it has the first bytes of the secret.

use std::{collections::HashSet, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::printable::clip;

const ELLIPSIS: char = '…';
const REDACTED: &str = "<redacted>";

/// How many bytes of a text are searched. No message shows more than a part of it.
const MAX_SEARCHED: usize = 8 * 1024;

/// How many bytes of a secret before a cut are taken for its beginning, and not for a coincidence.
const CUT: usize = 8;

/// How many characters a part of base64 has at least that belongs to a secret. Shorter ones are too often a
/// coincidence.
const SHORTEST_BASE64: usize = 4;

/// As [`clip`], with secrets replaced by `<redacted>`. They are looked for after invisible characters are
/// removed, because these may stand within a secret, and before the text is cut, because the beginning of a
/// secret might remain.
#[must_use]
pub fn quote(text: &str, secrets: &[Zeroizing<String>], limit: usize) -> String {
    let secrets: Vec<_> = secrets.iter().map(|secret| Zeroizing::new(clip(secret, usize::MAX))).collect();
    clip(&redact(&Zeroizing::new(clip(text, usize::MAX)), &secrets), limit)
}

/// Replaces every occurrence of a secret by `<redacted>`, in the forms that the module names. Call it before
/// the text is cut. The beginning of a secret at the end of the text, or before an ellipsis, is replaced too,
/// because the broker may have cut the text itself. A text of more than 8 KiB is cut.
#[must_use]
pub fn redact(text: &str, secrets: &[Zeroizing<String>]) -> String {
    let secrets: Vec<&str> =
        secrets.iter().map(|secret| secret.as_str()).filter(|secret| !secret.is_empty()).collect();
    let cut;
    let text = if text.len() > MAX_SEARCHED {
        cut = Zeroizing::new(clip(text, MAX_SEARCHED));
        cut.as_str()
    } else {
        text
    };
    if secrets.is_empty() || text.is_empty() {
        return text.to_owned();
    }
    let mut found = find(&Plain::lower(text), secrets.iter().map(|secret| Plain::lower(secret).bytes));
    found.extend(find(&Plain::unescaped(text), secrets.iter().map(|secret| Plain::unescaped(secret).bytes)));
    let base64 = find(&Plain::base64(text), secrets.iter().flat_map(|secret| encodings(secret)));
    found.extend(base64.into_iter().map(|part| whole_base64(text, part)));
    replace(text, found)
}

/// Replaces parts of a text. Parts that overlap are one.
fn replace(text: &str, mut parts: Vec<Range<usize>>) -> String {
    parts.sort_unstable_by_key(|part| (part.start, part.end));
    let mut redacted = String::with_capacity(text.len());
    let mut kept = 0;
    let mut parts = parts.into_iter().peekable();
    while let Some(mut part) = parts.next() {
        while let Some(next) = parts.next_if(|next| next.start < part.end) {
            part.end = part.end.max(next.end);
        }
        redacted.push_str(&text[kept..part.start]);
        redacted.push_str(REDACTED);
        kept = part.end;
    }
    redacted.push_str(&text[kept..]);
    redacted
}

/// The parts of a text that are one of the secrets, or the beginning of one before a cut.
fn find(text: &Plain, secrets: impl Iterator<Item = Zeroizing<Vec<u8>>>) -> Vec<Range<usize>> {
    let starts: HashSet<&[u8]> = text.bytes.windows(START).collect();
    let mut longest = vec![0; text.bytes.len() + 1];
    for secret in secrets.filter(|secret| secret.iter().any(|byte| *byte != b' ')) {
        // Most secrets are not in the text.
        if secret.get(..START).is_none_or(|start| starts.contains(start)) {
            // Of a secret that is longer than the text, only a beginning can be found.
            mark(text, &secret[..secret.len().min(text.bytes.len() + 1)], &mut longest);
        }
    }
    let ends = longest.into_iter().enumerate().filter(|(_, length)| *length > 0);
    ends.map(|(end, length)| text.places[end - length].start..text.places[end - 1].end).collect()
}

/// How many bytes at the beginning of a secret are looked up before it is searched.
const START: usize = 4;

/// Notes, for each place where a secret or its beginning before a cut ends, its length, if it is the longest
/// one there. The search of Knuth, Morris and Pratt, in which each byte is read once.
fn mark(text: &Plain, secret: &[u8], longest: &mut [usize]) {
    let borders = borders(secret);
    let mut same = 0;
    let mut cuts = text.cuts.iter().peekable();
    for (index, byte) in text.bytes.iter().enumerate() {
        let end = index + 1;
        same = extended(secret, &borders, same, *byte);
        let is_cut = std::iter::from_fn(|| cuts.next_if(|cut| **cut <= end)).last() == Some(&end);
        if same == secret.len() || (same >= CUT && is_cut) {
            longest[end] = longest[end].max(same);
        }
    }
}

/// For each beginning of a secret, the length of its longest end that is a beginning too.
fn borders(secret: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; secret.len()];
    for index in 1..secret.len() {
        borders[index] = extended(secret, &borders, borders[index - 1], secret[index]);
    }
    borders
}

/// How many bytes at the beginning of a secret are found at the next byte, if `same` were found before it.
fn extended(secret: &[u8], borders: &[usize], mut same: usize, byte: u8) -> usize {
    while same > 0 && secret.get(same) != Some(&byte) {
        same = borders[same - 1];
    }
    if secret.get(same) == Some(&byte) { same + 1 } else { same }
}

/// A text in a plain form.
struct Plain {
    bytes: Zeroizing<Vec<u8>>,
    /// For each byte, where the character or escape stands that it comes from.
    places: Vec<Range<usize>>,
    /// The numbers of bytes after which the text may have been cut, in order.
    cuts: Vec<usize>,
}

impl Plain {
    fn new(length: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(length)),
            places: Vec::with_capacity(length),
            cuts: Vec::new(),
        }
    }

    fn push(&mut self, character: char, place: Range<usize>) {
        if character == ELLIPSIS {
            self.cuts.push(self.bytes.len());
        }
        for lower in character.to_lowercase() {
            let mut buffer = [0; 4];
            self.push_bytes(lower.encode_utf8(&mut buffer).as_bytes(), &place);
        }
    }

    fn push_bytes(&mut self, bytes: &[u8], place: &Range<usize>) {
        self.bytes.extend_from_slice(bytes);
        self.places.extend(std::iter::repeat_n(place.clone(), bytes.len()));
    }

    fn finish(mut self) -> Self {
        self.cuts.push(self.bytes.len());
        self
    }

    /// In lower case.
    fn lower(text: &str) -> Self {
        let mut plain = Self::new(text.len());
        for (at, character) in text.char_indices() {
            plain.push(character, at..at + character.len_utf8());
        }
        plain.finish()
    }

    /// In lower case, without the escapes of URLs, JSON and HTML. White space and `+` are one blank.
    fn unescaped(text: &str) -> Self {
        let mut plain = Self::new(text.len());
        let mut at = 0;
        while let Some(character) = text[at..].chars().next() {
            let (meaning, length) =
                escape(&text[at..]).unwrap_or((Meaning::Character(character), character.len_utf8()));
            let place = at..at + length;
            match meaning {
                // `+` is a blank in the query of a URL.
                Meaning::Character(blank) if blank.is_whitespace() || blank == '+' => {
                    if plain.bytes.last() == Some(&b' ') {
                        if let Some(last) = plain.places.last_mut() {
                            last.end = place.end;
                        }
                    } else {
                        plain.push(' ', place);
                    }
                }
                Meaning::Character(character) => plain.push(character, place),
                // A part of a character in UTF-8: only letters of ASCII have another case here.
                Meaning::Byte(byte) => plain.push_bytes(&[byte.to_ascii_lowercase()], &place),
            }
            at += length;
        }
        plain.finish()
    }

    /// In lower case, with one alphabet of base64.
    fn base64(text: &str) -> Self {
        let mut plain = Self::new(text.len());
        for (at, character) in text.char_indices() {
            let character = match character {
                '-' => '+',
                '_' => '/',
                other => other,
            };
            plain.push(character, at..at + character.len_utf8());
        }
        plain.finish()
    }
}

enum Meaning {
    Character(char),
    Byte(u8),
}

/// The escape at the beginning of a text: what it means, and its length.
fn escape(text: &str) -> Option<(Meaning, usize)> {
    let hex = |from: usize, to: usize| u32::from_str_radix(text.get(from..to)?, 16).ok();
    let character = |code: u32, length: usize| Some((Meaning::Character(char::from_u32(code)?), length));
    match text.as_bytes() {
        [b'%', ..] => {
            let byte = u8::try_from(hex(1, 3)?).ok()?;
            Some(if byte.is_ascii() {
                (Meaning::Character(char::from(byte)), 3)
            } else {
                (Meaning::Byte(byte), 3)
            })
        }
        [b'\\', b'u', ..] => match (hex(2, 6)?, text.get(6..8), hex(8, 12)) {
            (high @ 0xd800..=0xdbff, Some("\\u"), Some(low @ 0xdc00..=0xdfff)) => {
                character(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
            }
            (code, ..) => character(code, 6),
        },
        [b'\\', b'n' | b'r' | b't', ..] => character(u32::from(b' '), 2),
        [b'\\', escaped @ (b'"' | b'\'' | b'\\' | b'/'), ..] => character(u32::from(*escaped), 2),
        [b'&', b'#', rest @ ..] => {
            let length = rest.iter().take(9).position(|byte| *byte == b';')?;
            let digits = text.get(2..2 + length)?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            character(code.ok()?, length + 3)
        }
        [b'&', ..] => {
            let entities = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')];
            let (entity, meaning) = entities.into_iter().find(|(entity, _)| text.starts_with(entity))?;
            Some((Meaning::Character(meaning), entity.len()))
        }
        _ => None,
    }
}

/// The characters of base64 that depend on the secret alone, for each of the three places in a group of three
/// bytes where it may begin: after a user name, for example.
fn encodings(secret: &str) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    (0..3_usize).filter_map(move |before| {
        let padded = Zeroizing::new([&[0; 2][..before], secret.as_bytes()].concat());
        let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(padded.as_slice()));
        // The first characters have bits of what is before, and the last one may have bits of what follows.
        let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        let part = encoded.as_bytes().get(from..to).filter(|part| part.len() >= SHORTEST_BASE64)?;
        Some(Zeroizing::new(part.to_ascii_lowercase()))
    })
}

/// A part of base64, with what stands around it: all of it is about the secret.
fn whole_base64(text: &str, part: Range<usize>) -> Range<usize> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes[..part.start].iter().rev().take_while(|byte| is_base64(byte)).count();
    let after = bytes[part.end..].iter().take_while(|byte| is_base64(byte) || **byte == b'=').count();
    part.start - before..part.end + after
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn a_secret_is_redacted_even_with_invisible_characters_in_it() {
        let secrets: Vec<_> =
            ["hunter2-hunter2", "of two\n\u{1b}words"].map(|text| Zeroizing::new(text.to_owned())).into();
        for text in [
            "hunter2-hu\0nter2",
            "hunter2\u{ad}-hunter2",
            "of two \n words",
            "of two\n\u{1b}words",
            "hunter2-hun",
        ] {
            assert_eq!(quote(&format!("no: {text}"), &secrets, 100), "no: <redacted>", "{text:?}");
        }
        assert_eq!(
            quote(&format!("{}hunter2-hunter2", "x".repeat(95)), &secrets, 100),
            format!("{}<r…", "x".repeat(95))
        );
    }

    #[test]
    fn secrets_are_replaced_and_empty_ones_do_no_harm() {
        let secrets = [Zeroizing::new(String::new()), Zeroizing::new("hunter2".to_owned())];
        assert_eq!(redact("no hunter2, really: hunter2", &secrets), "no <redacted>, really: <redacted>");
    }

    #[test]
    fn redaction_does_not_search_inserted_text() {
        let secrets: Vec<_> = ["e", "e", "d", "redacted"].map(|text| Zeroizing::new(text.to_owned())).into();
        assert_eq!(redact("bee", &secrets), "b<redacted><redacted>");
        assert_eq!(redact("a redacted one", &secrets), "a <redacted> on<redacted>");
    }

    #[test]
    fn the_longest_secret_is_redacted_and_so_is_its_beginning_at_the_end() {
        let secrets: Vec<_> = ["pass", "password-of-mine"].map(|text| Zeroizing::new(text.to_owned())).into();
        assert_eq!(redact("x password-of-mine y pass", &secrets), "x <redacted> y <redacted>");
        assert_eq!(redact("it was password-of-m", &secrets), "it was <redacted>");
        assert_eq!(redact("it was password-of-m…", &secrets), "it was <redacted>…");
        assert_eq!(redact("it was password-of-m… (check it)", &secrets), "it was <redacted>… (check it)");
        assert_eq!(redact("nothing of it………", &secrets), "nothing of it………");
    }

    fn secrets(texts: &[&str]) -> Vec<Zeroizing<String>> {
        texts.iter().map(|text| Zeroizing::new((*text).to_owned())).collect()
    }

    const SECRET: &str = "pässWord \"1\" <+/>";

    #[test]
    fn a_secret_is_recognised_in_every_usual_form() {
        for form in [
            SECRET,
            "PÄSSWORD \"1\" <+/>",
            "p%C3%A4ssWord%20%221%22%20%3C%2B%2F%3E",
            "p%c3%a4ssword+%221%22+%3c%2b/%3e",
            r#"pässWord \"1\" <+\/>"#,
            r"p\u00e4ssWord \u00221\u0022 \u003c+/\u003E",
            "p&#228;ssWord &quot;1&quot; &lt;+/&gt;",
            "p&#xE4;ssWord &#34;1&#x22; &lt;+/>",
        ] {
            let redacted = redact(&format!("I got {form}, which is wrong"), &secrets(&[SECRET]));
            assert_eq!(redacted, "I got <redacted>, which is wrong", "{form}");
        }
        let lines = secrets(&["two lines"]);
        for form in [r"two\nlines", "two%0D%0Alines", r"two\r\nlines", "two + lines"] {
            assert_eq!(redact(form, &lines), "<redacted>", "{form}");
        }
    }

    #[test]
    fn a_secret_is_recognised_in_base64_wherever_it_stands_in_it() {
        for user in ["", "u", "me", "jane", "jane:doe:"] {
            for after in ["", ":", "!!", " and more"] {
                let plain = format!("{user}{SECRET}{after}");
                let encoded = [STANDARD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)];
                for encoded in encoded.iter().flat_map(|encoded| [encoded.to_uppercase(), encoded.clone()]) {
                    let text = format!("Authorization: Basic {encoded}, unknown");
                    let redacted = redact(&text, &secrets(&[SECRET]));
                    assert_eq!(redacted, "Authorization: Basic <redacted>, unknown", "{text}");
                }
            }
        }
        assert_eq!(redact("a Zm9v of YmFy", &secrets(&["foo", "bar"])), "a <redacted> of <redacted>");
        assert_eq!(redact("nothing to see here", &secrets(&["ab", "+", " ", "%20"])), "nothing to see here");
    }

    #[test]
    fn parts_that_overlap_are_one_and_text_around_them_stays() {
        assert_eq!(redact("xabcdey", &secrets(&["abc", "cde", "bcd"])), "x<redacted>y");
        assert_eq!(redact("ananas", &secrets(&["ana"])), "<redacted>s");
        let odd = r"100% of 50%2x, a+b &c \d &#xx; %u0041";
        assert_eq!(redact(odd, &secrets(&["hunter2"])), odd);
        // What looks like an escape does not hide what follows.
        assert_eq!(redact("%41bc and %zz41bc", &secrets(&["41bc"])), "%<redacted> and %zz<redacted>");
    }

    /// A text that repeats itself, and secrets that nearly fit everywhere.
    #[test]
    fn near_misses_and_many_secrets_are_searched() {
        let text = "a".repeat(100_000);
        let nearly: Vec<_> = (1..100).map(|length| Zeroizing::new("a".repeat(length + 8000) + "b")).collect();
        assert!(redact(&text, &nearly).len() <= MAX_SEARCHED);
        let many: Vec<_> = (0..10_000).map(|index| Zeroizing::new(format!("secret-{index}"))).collect();
        assert_eq!(redact("it is secret-9999 or SECRET-0", &many), "it is <redacted> or <redacted>");
    }
}
