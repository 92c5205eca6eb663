//! Paths of Kubernetes' JSONPath: `.name`, `['name']`, `[0]`, `[-1]`, `[1:3]`, `[0,2]`, `[*]`, `..name`, and filters such as
//! `[?(@.name=="x")]`, from `$` (all), `@` (the present one) or neither. Pure.

use std::{cmp::Ordering, str::FromStr};

use serde_json::Value;

/// How many values one template may look at, all in all: a few steps can ask for more than anybody can wait for.
pub const MOST_LOOKS: usize = 200_000;

/// How deep filters may stand in filters.
const DEEPEST_FILTER: usize = 4;

/// A path into the credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// It begins with `$`: not with what a range is at, but with everything.
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    /// Counted from the end if negative.
    Index(i64),
    All,
    Slice(Option<i64>, Option<i64>, i64),
    Any(Vec<Step>),
    /// The value itself and everything below it.
    Descend,
    Filter(Box<Filter>),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// Without it, the left side has to exist.
    condition: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Path),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Why a path leads to nothing that can be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// There is nothing.
    Nowhere,
    /// There is too much to look at.
    TooMuch,
}

/// A text is no path.
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
            steps.push(Step::Descend);
            rest = if after.starts_with('[') { after } else { name(after, &mut steps)? };
        } else if let Some(after) = rest.strip_prefix('.') {
            // `{.}` is all there is, and `.['name']` the same as `['name']`.
            let whole = after.is_empty() && steps.is_empty();
            rest = if whole || after.starts_with('[') { after } else { name(after, &mut steps)? };
        } else {
            let end = closing(rest).ok_or(NoPath)?;
            steps.push(bracket(rest[1..end].trim(), depth)?);
            rest = &rest[end + 1..];
        }
    }
    Ok(Path { from_root, steps })
}

/// A name after a dot, or a star. A backslash takes the meaning from what follows it: `.tls\.crt`.
fn name<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, NoPath> {
    if let Some(after) = text.strip_prefix('*') {
        steps.push(Step::All);
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
    steps.push(Step::Key(key));
    Ok(&text[end..])
}

/// Where the bracket that a text begins with is closed.
fn closing(text: &str) -> Option<usize> {
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

/// Keeps track of quotes while a text is read.
#[derive(Default)]
pub(super) struct Quotes {
    open: Option<char>,
    escaped: bool,
}

impl Quotes {
    /// Whether the next character stands in quotes, or is one.
    pub(super) fn hold(&mut self, character: char) -> bool {
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

fn bracket(inner: &str, depth: usize) -> Result<Step, NoPath> {
    if let Some(filter) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter_of(filter.trim(), depth + 1).map(|filter| Step::Filter(Box::new(filter)));
    }
    let parts = split(inner, ',');
    if parts.len() > 1 {
        return parts.into_iter().map(|part| selector(part.trim())).collect::<Result<_, _>>().map(Step::Any);
    }
    selector(inner)
}

fn selector(text: &str) -> Result<Step, NoPath> {
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(key) = unquoted(text) {
        return Ok(Step::Key(key));
    }
    if let Ok(index) = text.parse() {
        return Ok(Step::Index(index));
    }
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| NoPath),
    };
    let bounds: Vec<Option<i64>> = text.split(':').map(bound).collect::<Result<_, _>>()?;
    match bounds[..] {
        [from, to] => Ok(Step::Slice(from, to, 1)),
        [from, to, step] if step.is_none_or(|step| step > 0) => Ok(Step::Slice(from, to, step.unwrap_or(1))),
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

/// A text in quotes, without them.
pub(super) fn unquoted(text: &str) -> Option<String> {
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

/// The parts between separators that stand in no quotes and no brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for at in outside(text) {
        if text[at..].starts_with(separator) {
            parts.push(&text[begin..at]);
            begin = at + separator.len_utf8();
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn split_at_sign<'a>(text: &'a str, sign: &str) -> Vec<&'a str> {
    match outside(text).into_iter().find(|at| text[*at..].starts_with(sign)) {
        Some(at) => vec![&text[..at], &text[at + sign.len()..]],
        None => vec![text],
    }
}

/// Where the characters are that stand in no quotes and no brackets.
fn outside(text: &str) -> Vec<usize> {
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

impl Path {
    /// What the path leads to. As in `kubectl`, a name or place that is nowhere is an error, an empty list or filter is
    /// not. `looks` is what may yet be looked at.
    ///
    /// # Errors
    /// See [`Lost`].
    pub fn select<'a>(
        &self,
        root: &'a Value,
        current: &'a Value,
        looks: &mut usize,
    ) -> Result<Vec<&'a Value>, Lost> {
        let mut found = vec![if self.from_root { root } else { current }];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in &found {
                step.take(value, root, &mut next, looks)?;
            }
            *looks = looks.checked_sub(next.len() + 1).ok_or(Lost::TooMuch)?;
            let strict = matches!(step, Step::Key(_) | Step::Index(_) | Step::Any(_));
            if next.is_empty() && strict {
                return Err(Lost::Nowhere);
            }
            found = next;
        }
        Ok(found)
    }
}

impl Step {
    fn take<'a>(
        &self,
        value: &'a Value,
        root: &'a Value,
        into: &mut Vec<&'a Value>,
        looks: &mut usize,
    ) -> Result<(), Lost> {
        match self {
            Self::Key(key) => into.extend(value.get(key)),
            Self::Index(index) => into.extend(items(value).get(place(*index, items(value).len()))),
            Self::All => into.extend(children(value)),
            Self::Slice(from, to, step) => {
                let items = items(value);
                let end = |bound: &Option<i64>, otherwise| {
                    bound.map_or(otherwise, |bound| place(bound, items.len()))
                };
                let (from, to) = (end(from, 0), end(to, items.len()).min(items.len()));
                let step = usize::try_from(*step).unwrap_or(1);
                into.extend(items.get(from..to).unwrap_or_default().iter().step_by(step));
            }
            Self::Any(steps) => {
                for step in steps {
                    step.take(value, root, into, looks)?;
                }
            }
            Self::Descend => descend(value, into, looks)?,
            Self::Filter(filter) => {
                for item in items(value) {
                    if filter.holds(root, item, looks)? {
                        into.push(item);
                    }
                }
            }
        }
        Ok(())
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
    }
}

/// A place in a list, counted from its end if negative. Before its beginning is nowhere.
fn place(index: i64, length: usize) -> usize {
    let from_end = || usize::try_from(index.unsigned_abs()).ok().and_then(|back| length.checked_sub(back));
    if index < 0 { from_end().unwrap_or(usize::MAX) } else { usize::try_from(index).unwrap_or(usize::MAX) }
}

fn descend<'a>(value: &'a Value, into: &mut Vec<&'a Value>, looks: &mut usize) -> Result<(), Lost> {
    *looks = looks.checked_sub(1).ok_or(Lost::TooMuch)?;
    into.push(value);
    children(value).into_iter().try_for_each(|child| descend(child, into, looks))
}

impl Filter {
    fn holds(&self, root: &Value, item: &Value, looks: &mut usize) -> Result<bool, Lost> {
        let Some(left) = self.left.value(root, item, looks)? else { return Ok(false) };
        let Some((comparison, right)) = &self.condition else { return Ok(true) };
        let Some(right) = right.value(root, item, looks)? else { return Ok(false) };
        let order = match (&left, &right) {
            (Value::Number(left), Value::Number(right)) => {
                left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
            }
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => (left == right).then_some(Ordering::Equal),
        };
        Ok(match comparison {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        })
    }
}

impl Operand {
    /// The one value that is meant, if it is there.
    fn value<'a>(
        &'a self,
        root: &'a Value,
        item: &'a Value,
        looks: &mut usize,
    ) -> Result<Option<&'a Value>, Lost> {
        match self {
            Self::Value(value) => Ok(Some(value)),
            Self::Path(path) => match path.select(root, item, looks) {
                Ok(found) => Ok(found.first().copied()),
                Err(Lost::Nowhere) => Ok(None),
                Err(Lost::TooMuch) => Err(Lost::TooMuch),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str) -> Result<Value, Lost> {
        let root = json!({
            "host": "db", "tls.crt": "PEM", "a b": 1, "list": [1, 2, 3, 4],
            "users": [{"name": "ann", "age": 30}, {"name": "bob", "age": 20, "admin": true}, {"name": "c]d"}],
            "deep": {"users": {"name": "eve"}},
        });
        let Ok(path) = path.parse::<Path>() else { panic!("{path} is a path") };
        path.select(&root, &root, &mut MOST_LOOKS.clone())
            .map(|found| found.into_iter().cloned().collect::<Vec<_>>().into())
    }

    #[test]
    fn paths_lead_where_those_of_kubectl_lead() {
        for (path, expected) in [
            (".host", json!(["db"])),
            ("$.host", json!(["db"])),
            (".deep['users'].name", json!(["eve"])),
            (r".tls\.crt", json!(["PEM"])),
            ("['a b']", json!([1])),
            (".list[0]", json!([1])),
            (".list[-1]", json!([4])),
            (".list[1:3]", json!([2, 3])),
            (".list[-2:]", json!([3, 4])),
            (".list[::2]", json!([1, 3])),
            (".list[0,2]", json!([1, 3])),
            (".list[*]", json!([1, 2, 3, 4])),
            ("['host','a b']", json!(["db", 1])),
            (".users[*].name", json!(["ann", "bob", "c]d"])),
            ("..name", json!(["ann", "bob", "c]d", "eve"])),
            (r#".users[?(@.name=="bob")].age"#, json!([20])),
            (".users[?(@.name == 'c]d')].name", json!(["c]d"])),
            (".users[?(@.age>=20)].name", json!(["ann", "bob"])),
            (".users[?(@.age!=20)].name", json!(["ann"])),
            (".users[?(@.admin)].name", json!(["bob"])),
            (".users[?(@.admin==true)].name", json!(["bob"])),
            (".users[?(@.name==$.deep.users.name)]", json!([])),
            (".deep.*.name", json!(["eve"])),
        ] {
            assert_eq!(found(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_nowhere_is_said() {
        for path in [".missing", ".list[9]", ".list[-9]", ".host.x", ".host[0]", "['x','y']", "..missing"] {
            assert_eq!(found(path), Err(Lost::Nowhere), "{path}");
        }
    }

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

    #[test]
    fn there_is_an_end_to_looking() {
        let root = json!((0..300).map(|_| json!([[[1]]])).collect::<Vec<_>>());
        let path: Path = "$..[*]..[*]..[*]..[*]..[*]".parse().unwrap();
        assert_eq!(path.select(&root, &root, &mut 2_000), Err(Lost::TooMuch));
    }
}
