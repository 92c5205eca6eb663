//! `addKey.jsonPathExpression`: text with paths into the credentials, as in `postgres://{.host}:{.port}`. Pure.
//!
//! The original takes the JSONPath templates of Kubernetes. Of these, what names one value is taken: `.name`, `['name']`,
//! `[0]`, with or without `$` before. Filters, ranges and functions are refused with a message that says so.

use serde_json::{Map, Value};

use crate::osb::text::clip;

/// How much of a template or path is quoted, in bytes. An error is shown in a condition.
const QUOTED: usize = 256;

/// Fills in a template, up to a number of bytes: a template names the same value as often as it likes, and what it makes
/// may be named by the next one.
///
/// # Errors
/// A sentence for the user: the template cannot be read, a path leads nowhere, or the text is too long. It names the path,
/// never a value.
pub fn fill(template: &str, values: &Map<String, Value>, limit: usize) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        filled.push_str(text);
        let (path, after) = after.split_once('}').ok_or_else(|| unclosed(template))?;
        let value = follow(path.trim(), values)?;
        match value {
            Value::String(text) => filled.push_str(text),
            other => filled.push_str(&other.to_string()),
        }
        if filled.len() > limit {
            break;
        }
        rest = after;
    }
    filled.push_str(rest);
    if filled.len() > limit { Err(TOO_LONG.to_owned()) } else { Ok(filled) }
}

/// What [`fill`] says of a text beyond its limit.
pub const TOO_LONG: &str = "the keys that are added are larger than a Secret can be";

fn unclosed(template: &str) -> String {
    format!("{:?} has a {{ without a }}", clip(template, QUOTED))
}

fn follow<'a>(path: &str, values: &'a Map<String, Value>) -> Result<&'a Value, String> {
    let mut steps = steps(path)?.into_iter();
    let nowhere = || format!("the credentials have nothing at {{{}}}", clip(path, QUOTED));
    let Some(Step::Key(first)) = steps.next() else { return Err(nowhere()) };
    let mut value = values.get(first).ok_or_else(nowhere)?;
    for step in steps {
        value = match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        }
        .ok_or_else(nowhere)?;
    }
    Ok(value)
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let strange = || {
        format!(
            "{{{}}} is not understood: only paths such as {{.name}}, {{['name']}} and {{.list[0]}} are",
            clip(path, QUOTED)
        )
    };
    let mut steps = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) {
                return Err(strange());
            }
            steps.push(Step::Key(name));
            rest = after;
        } else {
            let (inner, after) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(strange)?;
            let quoted =
                ['\'', '"'].iter().find_map(|quote| inner.strip_prefix(*quote)?.strip_suffix(*quote));
            steps.push(match (quoted, inner.parse()) {
                (Some(name), _) => Step::Key(name),
                (None, Ok(index)) => Step::Index(index),
                (None, Err(_)) => return Err(strange()),
            });
            rest = after;
        }
    }
    if steps.is_empty() { Err(strange()) } else { Ok(steps) }
}

/// Whether a template can be read at all, whatever the credentials will be.
///
/// # Errors
/// A sentence for the user.
pub fn check(template: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('{') {
        let (path, after) = after.split_once('}').ok_or_else(|| unclosed(template))?;
        steps(path.trim())?;
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let values =
            json!({"host": "db", "port": 5432, "a b": "x", "list": [{"n": true}], "deep": {"er": {"q": 1}}});
        fill(template, values.as_object().unwrap(), 100)
    }

    #[test]
    fn paths_are_replaced_by_what_they_lead_to() {
        for (template, text) in [
            ("{.host}:{.port}", "db:5432"),
            ("plain", "plain"),
            ("{$.host}", "db"),
            ("{ .host }", "db"),
            ("{['a b']}-{[\"host\"]}", "x-db"),
            ("{.list[0].n}", "true"),
            ("{.deep.er}", r#"{"q":1}"#),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(text), "{template}");
            assert_eq!(check(template), Ok(()), "{template}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        for template in ["{.missing}", "{.list[1]}", "{.host.x}", "{.list['n']}"] {
            assert!(filled(template).unwrap_err().contains("have nothing at"), "{template}");
        }
    }

    #[test]
    fn a_text_ends_where_a_secret_does() {
        let values = json!({ "a": "x".repeat(50) });
        let fill = |template: &str| fill(template, values.as_object().unwrap(), 100);
        assert_eq!(fill("{.a}{.a}").map(|text| text.len()), Ok(100));
        assert_eq!(fill("{.a}{.a}-"), Err(TOO_LONG.to_owned()));
        assert_eq!(fill(&"{.a}".repeat(1000)), Err(TOO_LONG.to_owned()));
    }

    #[test]
    fn what_is_not_understood_is_refused_beforehand() {
        for template in
            ["{.host", "{}", "{range .list[*]}", "{.list[?(@.n)]}", "{..host}", "{host}", "{.list[0:1]}"]
        {
            assert!(check(template).is_err(), "{template}");
            assert!(filled(template).is_err(), "{template}");
        }
    }
}
