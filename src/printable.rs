//! Makes a text of others fit for a condition, an Event or a log line: short and printable. Pure.
//!
//! Such a text is not trusted: it may have a megabyte, or contain terminal escapes. [`crate::osb::redact`] takes our own
//! secrets out of it.

/// The longest text of a broker that is shown, in bytes. OSB 2.17 ("Service Broker Errors") leaves the limit
/// to the platform, and advises brokers to stay below 255 characters.
pub const MAX_TEXT: usize = 1024;

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
}
