//! Parses paths: from text to steps. Pure.

use std::str::FromStr;

use serde_json::Value;

use super::{Comparison, Filter, Operand, Path, Segment};

/// How deep filters may be nested.
const DEEPEST_FILTER: usize = 4;

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// The text is not a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoPath;

impl FromStr for Path {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        parse(text.trim(), 0)
    }
}

fn parse(text: &str, depth: usize) -> Result<Path, NoPath> {
    let (from_root, mut rest) = match (text.strip_prefix('$'), text.strip_prefix('@')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) if text.starts_with(['.', '[']) => (false, text),
        (None, None) => return Err(NoPath),
    };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Segment::Descend);
            rest = if after.starts_with('[') { after } else { name(after, &mut steps)? };
        } else if let Some(after) = rest.strip_prefix('.') {
            // `{.}` is the current value, and `.['name']` is the same as `['name']`.
            let whole = after.is_empty() && steps.is_empty();
            rest = if whole || after.starts_with('[') { after } else { name(after, &mut steps)? };
        } else {
            let end = closing_bracket(rest).ok_or(NoPath)?;
            steps.push(bracket(rest[1..end].trim(), depth)?);
            rest = &rest[end + 1..];
        }
    }
    Ok(Path { from_root, steps })
}

/// A name after a dot, or a star. A backslash makes the next character a part of the name: `.tls\.crt`.
fn name<'a>(text: &'a str, steps: &mut Vec<Segment>) -> Result<&'a str, NoPath> {
    if let Some(after) = text.strip_prefix('*') {
        steps.push(Segment::All);
        return Ok(after);
    }
    let (mut key, mut characters) = (String::new(), text.char_indices());
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => key.push(characters.next().ok_or(NoPath)?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            _ if character.is_alphanumeric() || matches!(character, '-' | '_' | '/') => key.push(character),
            _ => return Err(NoPath),
        }
    }
    if key.is_empty() {
        return Err(NoPath);
    }
    steps.push(Segment::Key(key));
    Ok(&text[end..])
}

/// The position of the bracket that closes the first one.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut open, mut quotes) = (0_usize, Quotes::default());
    if !text.starts_with('[') {
        return None;
    }
    for (at, character) in text.char_indices().filter(|(_, character)| !quotes.hold(*character)) {
        match character {
            '[' => open += 1,
            ']' if open == 1 => return Some(at),
            ']' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Tracks quotes while a text is read.
#[derive(Default)]
pub struct Quotes {
    open: Option<char>,
    escaped: bool,
}

impl Quotes {
    /// Reads a character, and returns whether it is in quotes or a quote.
    pub fn hold(&mut self, character: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            return true;
        }
        match self.open {
            Some(_) if character == '\\' => self.escaped = true,
            Some(begun) if begun == character => self.open = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"') => self.open = Some(character),
            None => return false,
        }
        true
    }
}

fn bracket(inner: &str, depth: usize) -> Result<Segment, NoPath> {
    if let Some(filter) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter_of(filter.trim(), depth + 1).map(|filter| Segment::Filter(Box::new(filter)));
    }
    let parts = split(inner, ',');
    if parts.len() > 1 {
        return parts
            .into_iter()
            .map(|part| selector(part.trim()))
            .collect::<Result<_, _>>()
            .map(Segment::Any);
    }
    selector(inner)
}

fn selector(text: &str) -> Result<Segment, NoPath> {
    if text == "*" {
        return Ok(Segment::All);
    }
    if let Some(key) = unquoted(text) {
        return Ok(Segment::Key(key));
    }
    if let Ok(index) = text.parse() {
        return Ok(Segment::Index(index));
    }
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| NoPath),
    };
    let bounds: Vec<Option<i64>> = text.split(':').map(bound).collect::<Result<_, _>>()?;
    match bounds[..] {
        [from, to] => Ok(Segment::Slice(from, to, 1)),
        [from, to, step] if step.is_none_or(|step| step > 0) => {
            Ok(Segment::Slice(from, to, step.unwrap_or(1)))
        }
        _ => Err(NoPath),
    }
}

fn filter_of(text: &str, depth: usize) -> Result<Filter, NoPath> {
    if depth > DEEPEST_FILTER {
        return Err(NoPath);
    }
    for (sign, comparison) in COMPARISONS {
        if let [left, right] = split_at_sign(text, sign)[..] {
            let condition = Some((comparison, operand(right.trim(), depth)?));
            return Ok(Filter { left: operand(left.trim(), depth)?, condition });
        }
    }
    Ok(Filter { left: operand(text, depth)?, condition: None })
}

fn operand(text: &str, depth: usize) -> Result<Operand, NoPath> {
    if let Some(text) = unquoted(text) {
        return Ok(Operand::Value(Value::from(text)));
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Operand::Value(value)),
        Ok(_) | Err(_) => parse(text, depth).map(Operand::Path),
    }
}

/// The text in quotes. None if the text is not quoted.
pub fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let (mut plain, mut characters) = (String::new(), inner.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            _ if character == quote => return None,
            _ => plain.push(character),
        }
    }
    Some(plain)
}

/// Splits a text at separators outside of quotes and brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for at in outside_quotes_and_brackets(text) {
        if text[at..].starts_with(separator) {
            parts.push(&text[begin..at]);
            begin = at + separator.len_utf8();
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn split_at_sign<'a>(text: &'a str, sign: &str) -> Vec<&'a str> {
    match outside_quotes_and_brackets(text).into_iter().find(|at| text[*at..].starts_with(sign)) {
        Some(at) => vec![&text[..at], &text[at + sign.len()..]],
        None => vec![text],
    }
}

/// The positions of the characters outside of quotes and brackets.
fn outside_quotes_and_brackets(text: &str) -> Vec<usize> {
    let (mut places, mut open, mut quotes) = (Vec::new(), 0_usize, Quotes::default());
    for (at, character) in text.char_indices().filter(|(_, character)| !quotes.hold(*character)) {
        match character {
            '[' | '(' => open += 1,
            ']' | ')' => open = open.saturating_sub(1),
            _ if open == 0 => places.push(at),
            _ => {}
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "host",
            ".a b",
            ".a.",
            "..",
            ".a[",
            ".a[]",
            ".a[x]",
            ".a['x]",
            ".a[1:2:0]",
            ".a[1:2:-1]",
            ".a[1:2:3:4]",
            ".a[?(@.x==)]",
            ".a[?(x)]",
            ".a[?@.x]",
            r".a\",
            "{.a}",
            ".a[?(@[?(@[?(@[?(@[?(@.x)])])])])]",
        ] {
            assert_eq!(text.parse::<Path>(), Err(NoPath), "{text}");
        }
    }
}
