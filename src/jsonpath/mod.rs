//! The JSONPath templates of Kubernetes, as `kubectl -o jsonpath` has them: `postgres://{.host}:{.port}`.
//! They are what `secretTransforms[].addKey.jsonPathExpression` holds. Pure.
//!
//! `{range .list[*]}{.name}{"\n"}{end}` repeats a part of the template for each value. Quoted text in braces
//! is written as it is. If a path leads to several values, they are written with blanks between them.
//!
//! No crate implements this language. Those for RFC 9535 have no relative paths, no `\.` and no `-` in names,
//! do not report a missing member as an error, and do not limit the work for a path.

mod path;

use serde_json::{Map, Value};

use self::path::{MAX_VISITS, Path, PathError, Quotes};
use crate::printable::clip;

/// How much of a template or path is quoted in an error, in bytes. Errors are shown in conditions.
const QUOTED: usize = 256;

/// How deep ranges may be nested.
const DEEPEST_RANGE: usize = 8;

/// The error of [`fill`] for a text that is longer than the limit.
pub const TOO_LONG: &str = "the keys that are added are larger than a Secret can be";

/// A part of a template.
enum Part<'a> {
    Text(String),
    /// A path, and its text.
    Path(Path, &'a str),
    Range(Path, &'a str, Vec<Part<'a>>),
}

/// A range that is not closed yet, with its parts so far. It is `None` for the template itself.
type Open<'a> = (Option<(Path, &'a str)>, Vec<Part<'a>>);

/// Fills in a template, up to `limit` bytes. The limit is needed because a template can contain one value
/// many times, and the next template can contain the result.
///
/// # Errors
/// A sentence for users: the template cannot be parsed, a path leads to nothing, or the text is too long. It
/// quotes the path, never a value.
pub fn fill(template: &str, values: &Map<String, Value>, limit: usize) -> Result<String, String> {
    let parts = parse(template)?;
    let root = Value::Object(values.clone());
    let mut writer = Writer { root: &root, text: String::new(), limit, visits: MAX_VISITS };
    writer.write(&parts, &root)?;
    Ok(writer.text)
}

/// Checks that a template can be parsed. This needs no credentials.
///
/// # Errors
/// A sentence for users.
pub fn check(template: &str) -> Result<(), String> {
    parse(template).map(|_| ())
}

fn parse(template: &str) -> Result<Vec<Part<'_>>, String> {
    // The template itself is first, and the innermost open range is last.
    let mut open: Vec<Open<'_>> = vec![(None, vec![])];
    let mut rest = template;
    loop {
        let (text, after) = rest.split_once('{').map_or((rest, None), |(text, after)| (text, Some(after)));
        let Some((_, parts)) = open.last_mut() else { return Err(unclosed(template)) };
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let Some(after) = after else { break };
        let end = closing_brace(after).ok_or_else(|| unclosed(template))?;
        let action = after[..end].trim();
        rest = &after[end + 1..];
        if let Some(over) = action.strip_prefix("range ") {
            if open.len() > DEEPEST_RANGE {
                return Err(format!("{{{}}} stands in too many ranges", clip(action, QUOTED)));
            }
            open.push((Some((path_of(over.trim(), action)?, action)), vec![]));
        } else if action == "end" {
            let (Some((Some((path, action)), inner)), Some((_, parts))) = (open.pop(), open.last_mut())
            else {
                return Err(format!("{:?} has an {{end}} without a {{range}}", clip(template, QUOTED)));
            };
            parts.push(Part::Range(path, action, inner));
        } else if let Some(text) = path::unquoted(action) {
            parts.push(Part::Text(text));
        } else {
            parts.push(Part::Path(path_of(action, action)?, action));
        }
    }
    match open.pop() {
        Some((None, parts)) => Ok(parts),
        Some((Some((_, action)), _)) => Err(format!("{{{}}} has no {{end}}", clip(action, QUOTED))),
        None => Err(unclosed(template)),
    }
}

/// The position of the first closing brace outside of quotes, where an action ends.
fn closing_brace(text: &str) -> Option<usize> {
    let mut quotes = Quotes::default();
    let mut outside = text.char_indices().filter(|(_, character)| !quotes.hold(*character));
    outside.find_map(|(at, character)| (character == '}').then_some(at))
}

fn path_of(text: &str, action: &str) -> Result<Path, String> {
    text.parse().map_err(|_| {
        format!(
            "{{{}}} is not understood: paths are such as {{.name}}, {{['name']}}, {{.list[0]}} and {{.list[?(@.name==\"x\")].value}}",
            clip(action, QUOTED)
        )
    })
}

fn unclosed(template: &str) -> String {
    format!("{:?} has a {{ without a }}", clip(template, QUOTED))
}

struct Writer<'a> {
    root: &'a Value,
    text: String,
    limit: usize,
    /// How many values may still be visited.
    visits: usize,
}

impl Writer<'_> {
    fn write(&mut self, parts: &[Part<'_>], current: &Value) -> Result<(), String> {
        for part in parts {
            match part {
                Part::Text(text) => self.push(text)?,
                Part::Path(path, action) => {
                    for (index, value) in self.select(path, action, current)?.into_iter().enumerate() {
                        self.push(if index == 0 { "" } else { " " })?;
                        match value {
                            Value::String(text) => self.push(text)?,
                            other => self.push(&other.to_string())?,
                        }
                    }
                }
                Part::Range(path, action, inner) => {
                    for value in self.select(path, action, current)? {
                        self.write(inner, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn select<'v>(&mut self, path: &Path, action: &str, current: &'v Value) -> Result<Vec<&'v Value>, String>
    where
        Self: 'v,
    {
        path.select(self.root, current, &mut self.visits).map_err(|error| match error {
            PathError::Missing => format!("the credentials have nothing at {{{}}}", clip(action, QUOTED)),
            PathError::TooExpensive => {
                format!("{{{}}} leads to more than can be looked at", clip(action, QUOTED))
            }
        })
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        if self.text.len() + text.len() > self.limit {
            return Err(TOO_LONG.to_owned());
        }
        self.text.push_str(text);
        Ok(())
    }
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
    fn paths_are_replaced_by_their_values() {
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

    // v0.3 E4
    #[test]
    fn the_text_between_range_and_end_is_repeated() {
        for (template, text) in [
            (r#"{range .users[*]}{.name}={$.host}{"\n"}{end}."#, "ann=db\nbob=db\n."),
            (r#"{range .users[?(@.name=="bob")]}{@.name}{end}"#, "bob"),
            ("{range .users[*]}{range .ports[*]}{@},{end};{end}", "1,2,;3,;"),
            ("{.users[*].name}", "ann bob"),
            ("{range .none[*]}{.x}{end}", ""),
            ("{'{}'}{\"'\"}", "{}'"),
        ] {
            let values = json!({
                "host": "db", "none": [], "users": [{"name": "ann", "ports": [1, 2]}, {"name": "bob", "ports": [3]}],
            });
            let filled = fill(template, values.as_object().unwrap(), 100);
            assert_eq!(filled.as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_path_without_a_value_is_named() {
        for template in ["{.missing}", "{.list[1]}", "{.host.x}", "{.list['n']}"] {
            assert!(filled(template).unwrap_err().contains("have nothing at"), "{template}");
        }
    }

    #[test]
    fn a_text_over_the_limit_is_an_error() {
        let values = json!({ "a": "x".repeat(50) });
        let fill = |template: &str| fill(template, values.as_object().unwrap(), 100);
        assert_eq!(fill("{.a}{.a}").map(|text| text.len()), Ok(100));
        assert_eq!(fill("{.a}{.a}-"), Err(TOO_LONG.to_owned()));
        assert_eq!(fill(&"{.a}".repeat(1000)), Err(TOO_LONG.to_owned()));
    }

    // v0.3 E4
    #[test]
    fn a_template_that_cannot_be_parsed_is_refused_before_there_are_credentials() {
        for template in [
            "{.host",
            "{}",
            "{range .list[*]}",
            "{end}",
            "{host}",
            "{range}{end}",
            "{.a['}",
            "{\"a}",
            &"{range .a}".repeat(20),
        ] {
            assert!(check(template).is_err(), "{template}");
            assert!(filled(template).is_err(), "{template}");
        }
    }

    #[test]
    fn a_filter_costs_what_it_looks_at() {
        let values = json!({ "list": vec![0; 3_000] });
        for filter in ["1==2", "@==1", "@.a==1"] {
            let template = format!("{{range .list[*]}}{{$.list[?({filter})]}}{{end}}");
            let error = fill(&template, values.as_object().unwrap(), 100).unwrap_err();
            assert!(error.contains("more than can be looked at"), "{error}");
        }
    }
}
