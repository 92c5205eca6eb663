//! Makes a broker's text fit for a condition, an Event or a log line, and reads `Retry-After`. Pure.
//!
//! A broker's text is not trusted: it may have a megabyte, contain terminal escapes, or repeat the password
//! that the broker received. The functions here return text that is short, printable and without our own
//! secrets.

use std::time::Duration;

use jiff::{Timestamp, civil, fmt::rfc2822::DateTimeParser, tz::TimeZone};
use zeroize::Zeroizing;

use super::redact::redact;

/// The longest text of a broker that is shown, in bytes. OSB 2.17 ("Service Broker Errors") leaves the limit
/// to the platform, and advises brokers to stay below 255 characters.
pub const MAX_TEXT: usize = 1024;

/// The longest pause that a broker can ask for: a clock that is wrong by years must not stop work for years.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

const ELLIPSIS: char = '…';

/// Makes a text printable: removes control characters and invisible ones, replaces white space by single
/// blanks, and cuts it between characters to at most [`MAX_TEXT`] bytes.
#[must_use]
pub fn display(text: &str) -> String {
    clip(text, MAX_TEXT)
}

/// As [`display`], with another limit in bytes, which must be at least the three of the ellipsis.
#[must_use]
pub fn clip(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character {
            blank if blank.is_whitespace() => {
                if !shown.is_empty() && !shown.ends_with(' ') {
                    shown.push(' ');
                }
            }
            hidden if hidden.is_control() || is_invisible(hidden) => {}
            visible => shown.push(visible),
        }
        if shown.len() > limit {
            return shorten(&shown, limit);
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn shorten(text: &str, limit: usize) -> String {
    let mut end = limit.saturating_sub(ELLIPSIS.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", text[..end].trim_end())
}

/// Whether a character is invisible but changes how others are read (direction overrides, joiners, marks).
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e01ef}')
}

/// As [`clip`], with secrets replaced by `<redacted>`. They are looked for after invisible characters are
/// removed, because these may stand within a secret, and before the text is cut, because the beginning of a
/// secret might remain.
#[must_use]
pub fn quote(text: &str, secrets: &[Zeroizing<String>], limit: usize) -> String {
    let secrets: Vec<_> = secrets.iter().map(|secret| Zeroizing::new(clip(secret, usize::MAX))).collect();
    clip(&redact(&Zeroizing::new(clip(text, usize::MAX)), &secrets), limit)
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in any of its forms. None for any other value.
/// The result is at most [`MAX_RETRY_AFTER`]; a date that has passed gives zero.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit 64 bits are a very long pause.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let then = date(value)?;
    let pause = Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(pause.min(MAX_RETRY_AFTER))
}

/// A date in one of the three forms that a recipient must accept (RFC 9110, 5.6.7). Two of them are obsolete.
fn date(value: &str) -> Option<Timestamp> {
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].into_iter();
    let obsolete = obsolete.filter_map(|form| civil::DateTime::strptime(form, value).ok());
    let mut obsolete = obsolete.filter_map(|date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    DateTimeParser::new().parse_timestamp(value).ok().or_else(|| obsolete.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    // v0.3 Q7
    #[test]
    fn shown_text_has_no_control_characters() {
        assert_eq!(display("  a\r\n\tb\u{1b}[31mc\u{0}\u{202e}d\u{feff}  "), "a b[31mcd");
        assert_eq!(display("\n\n"), "");
    }

    // OSB 24
    #[test]
    fn shown_text_is_cut_between_characters() {
        for text in ["x".repeat(5000), "é".repeat(5000), "😀".repeat(5000), format!("a{}", "😀".repeat(5000))]
        {
            let shown = display(&text);
            assert!(shown.len() <= MAX_TEXT && shown.len() > MAX_TEXT - 8, "{}", shown.len());
            assert!(shown.ends_with(ELLIPSIS));
        }
        assert_eq!(display(&"x".repeat(MAX_TEXT)), "x".repeat(MAX_TEXT));
    }

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

    // OSB 71
    #[test]
    fn retry_after_is_seconds_or_a_date_and_clamped() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let rows = [
            ("0", Some(0)),
            ("30", Some(30)),
            (" 30 ", Some(30)),
            ("1000000000", Some(86400)),
            ("99999999999999999999999999", Some(86400)),
            ("Thu, 01 Jan 2026 00:01:00 GMT", Some(60)),
            ("Wed, 31 Dec 2025 23:59:00 GMT", Some(0)),
            ("Fri, 01 Jan 2100 00:00:00 GMT", Some(86400)),
            ("Thursday, 01-Jan-26 00:01:00 GMT", Some(60)),
            ("Thu Jan  1 00:01:00 2026", Some(60)),
            ("Thu Jan 40 00:01:00 2026", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in rows {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
