//! What does a rule say, for people? It quotes the schema, and never a value.

use std::cmp::Ordering;

use super::rule::{Rule, Type};
use crate::printable::clip;

/// How much of one value of the schema is shown, in bytes.
const QUOTED: usize = 64;

/// How many values of an `enum` are shown.
const VALUES: usize = 8;

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", clip(text, QUOTED))
}

/// What a rule says, for people.
pub(super) fn text(rule: &Rule) -> String {
    match rule {
        Rule::Never(keyword) => format!("is not allowed ({keyword})"),
        Rule::Types(types) => {
            let names: Vec<_> = types.iter().map(|one| one.name()).collect();
            format!("must be {} (type)", names.join(" or "))
        }
        Rule::Among { keyword, values, .. } => {
            let shown = values.iter().take(VALUES).map(|value| clip(&value.to_string(), QUOTED));
            let mut shown: Vec<_> = shown.collect();
            if let Some(more) = values.len().checked_sub(VALUES + 1) {
                shown.push(format!("{} others", more + 1));
            }
            format!("must be {} ({keyword})", shown.join(" or "))
        }
        Rule::Bound { keyword, limit, is_followed } => {
            let is_exclusive = !is_followed(Ordering::Equal);
            let words = match (is_followed(Ordering::Less), is_exclusive) {
                (true, true) => "less than",
                (true, false) => "at most",
                (false, true) => "more than",
                (false, false) => "at least",
            };
            format!("must be {words} {limit} ({keyword})")
        }
        Rule::MultipleOf(divisor) => format!("must be a multiple of {divisor} (multipleOf)"),
        Rule::Size { keyword, of, limit, is_followed } => {
            let words = if is_followed(Ordering::Less) { "at most" } else { "at least" };
            let things = match of {
                Type::String => "characters",
                Type::Array => "items",
                _ => "members",
            };
            format!("must have {words} {limit} {things} ({keyword})")
        }
        Rule::Pattern(pattern) => format!("must match {} (pattern)", quoted(&pattern.source)),
        Rule::Unique => "must not have the same item twice (uniqueItems)".to_owned(),
        _ => String::new(),
    }
}
