//! Paths of Kubernetes' JSONPath: `.name`, `['name']`, `[0]`, `[-1]`, `[1:3]`, `[0,2]`, `[*]`, `..name`, and filters such as
//! `[?(@.name=="x")]`, from `$` (all), `@` (the present one) or neither. Pure.

use std::cmp::Ordering;

use serde_json::Value;

mod parse;

pub(super) use self::parse::{Quotes, unquoted};

/// How many values one template may look at, all in all: a few steps can ask for more than anybody can wait for.
pub const MOST_LOOKS: usize = 200_000;

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

/// Why a path leads to nothing that can be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// There is nothing.
    Nowhere,
    /// There is too much to look at.
    TooMuch,
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
    fn there_is_an_end_to_looking() {
        let root = json!((0..300).map(|_| json!([[[1]]])).collect::<Vec<_>>());
        let path: Path = "$..[*]..[*]..[*]..[*]..[*]".parse().unwrap();
        assert_eq!(path.select(&root, &root, &mut 2_000), Err(Lost::TooMuch));
    }
}
