//! The paths of Kubernetes' JSONPath: `.name`, `['name']`, `[0]`, `[-1]`, `[1:3]`, `[0,2]`, `[*]`, `..name`,
//! and filters such as `[?(@.name=="x")]`. They begin at `$` (the whole document) or at `@` (the current
//! value, also the default). Pure.

use std::cmp::Ordering;

use serde_json::Value;

mod parse;

pub(super) use self::parse::{Quotes, unquoted};

/// How many values one template may visit in all. Without a limit, a path of a few steps could take too long.
pub const MAX_VISITS: usize = 200_000;

/// A path.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The path begins with `$`: at the document, not at the current value of a range.
    from_root: bool,
    steps: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Key(String),
    /// An index, counted from the end if it is negative.
    Index(i64),
    All,
    Slice(Option<i64>, Option<i64>, i64),
    Any(Vec<Segment>),
    /// The value and all values in it (`..`).
    Descend,
    Filter(Box<Filter>),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// If there is none, the left side must exist.
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

/// Why a path has no result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathError {
    /// There is no value.
    Missing,
    /// More than [`MAX_VISITS`] values would be visited.
    TooExpensive,
}

impl Path {
    /// The values that the path leads to. As in `kubectl`, a missing member or index is an error, but an
    /// empty list or a filter without matches is not. `visits` is how many values may still be visited.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn select<'a>(
        &self,
        root: &'a Value,
        current: &'a Value,
        visits: &mut usize,
    ) -> Result<Vec<&'a Value>, PathError> {
        let mut found = vec![if self.from_root { root } else { current }];
        spend(visits, 1)?;
        for step in &self.steps {
            let mut next = Vec::new();
            for value in &found {
                step.take(value, root, &mut next, visits)?;
            }
            spend(visits, next.len() + 1)?;
            let strict = matches!(step, Segment::Key(_) | Segment::Index(_) | Segment::Any(_));
            if next.is_empty() && strict {
                return Err(PathError::Missing);
            }
            found = next;
        }
        Ok(found)
    }
}

impl Segment {
    fn take<'a>(
        &self,
        value: &'a Value,
        root: &'a Value,
        into: &mut Vec<&'a Value>,
        visits: &mut usize,
    ) -> Result<(), PathError> {
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
                    step.take(value, root, into, visits)?;
                }
            }
            Self::Descend => descend(value, into, visits)?,
            Self::Filter(filter) => {
                // Every item is visited, also those that the filter leaves out.
                spend(visits, items(value).len())?;
                for item in items(value) {
                    if filter.holds(root, item, visits)? {
                        into.push(item);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes so many visits from those that are left.
fn spend(visits: &mut usize, visited: usize) -> Result<(), PathError> {
    *visits = visits.checked_sub(visited).ok_or(PathError::TooExpensive)?;
    Ok(())
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

/// An index into a list, counted from its end if it is negative. An index before the beginning becomes the
/// index after the end.
fn place(index: i64, length: usize) -> usize {
    let from_end = || usize::try_from(index.unsigned_abs()).ok().and_then(|back| length.checked_sub(back));
    if index < 0 { from_end().unwrap_or(usize::MAX) } else { usize::try_from(index).unwrap_or(usize::MAX) }
}

fn descend<'a>(value: &'a Value, into: &mut Vec<&'a Value>, visits: &mut usize) -> Result<(), PathError> {
    spend(visits, 1)?;
    into.push(value);
    children(value).into_iter().try_for_each(|child| descend(child, into, visits))
}

impl Filter {
    fn holds(&self, root: &Value, item: &Value, visits: &mut usize) -> Result<bool, PathError> {
        let Some(left) = self.left.value(root, item, visits)? else { return Ok(false) };
        let Some((comparison, right)) = &self.condition else { return Ok(true) };
        let Some(right) = right.value(root, item, visits)? else { return Ok(false) };
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
    /// The value of this side of a comparison, if it exists.
    fn value<'a>(
        &'a self,
        root: &'a Value,
        item: &'a Value,
        visits: &mut usize,
    ) -> Result<Option<&'a Value>, PathError> {
        match self {
            Self::Value(value) => Ok(Some(value)),
            Self::Path(path) => match path.select(root, item, visits) {
                Ok(found) => Ok(found.first().copied()),
                Err(PathError::Missing) => Ok(None),
                Err(PathError::TooExpensive) => Err(PathError::TooExpensive),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str) -> Result<Value, PathError> {
        let root = json!({
            "host": "db", "tls.crt": "PEM", "a b": 1, "list": [1, 2, 3, 4],
            "users": [{"name": "ann", "age": 30}, {"name": "bob", "age": 20, "admin": true}, {"name": "c]d"}],
            "deep": {"users": {"name": "eve"}},
        });
        let Ok(path) = path.parse::<Path>() else { panic!("{path} is a path") };
        path.select(&root, &root, &mut MAX_VISITS.clone())
            .map(|found| found.into_iter().cloned().collect::<Vec<_>>().into())
    }

    // v0.3 E4
    #[test]
    fn paths_give_the_same_values_as_in_kubectl() {
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
    fn a_path_without_a_value_is_an_error() {
        for path in [".missing", ".list[9]", ".list[-9]", ".host.x", ".host[0]", "['x','y']", "..missing"] {
            assert_eq!(found(path), Err(PathError::Missing), "{path}");
        }
    }

    #[test]
    fn the_number_of_visited_values_is_limited() {
        let root = json!((0..300).map(|_| json!([[[1]]])).collect::<Vec<_>>());
        let path: Path = "$..[*]..[*]..[*]..[*]..[*]".parse().unwrap();
        assert_eq!(path.select(&root, &root, &mut 2_000), Err(PathError::TooExpensive));
    }
}
