//! The rules that the keywords of a schema become.

use std::{cmp::Ordering, collections::HashMap};

use serde_json::{Number, Value};

use super::{NodeId, pattern::Pattern};

/// A rule. It holds for values of one type, and values of other types follow it.
pub(super) enum Rule {
    /// The schema `false`, as the value of this keyword.
    Never(&'static str),
    /// `type`
    Types(Vec<Type>),
    /// `enum`, `const`
    Among { keyword: &'static str, values: Vec<Value>, length: usize },
    /// `maximum` and the like
    Bound { keyword: &'static str, limit: Number, is_followed: fn(Ordering) -> bool },
    /// `multipleOf`
    MultipleOf(Number),
    /// `maxLength` and the like
    Size { keyword: &'static str, of: Type, limit: u64, is_followed: fn(Ordering) -> bool },
    /// `pattern`
    Pattern(Pattern),
    /// `uniqueItems`
    Unique,
    /// `required`
    Required(Vec<String>),
    /// `dependentRequired`, `dependencies`
    RequiredWith { keyword: &'static str, key: String, others: Vec<String> },
    /// `properties`, `patternProperties`, `additionalProperties`
    Members { named: HashMap<String, NodeId>, matching: Vec<(Pattern, NodeId)>, others: Option<NodeId> },
    /// `propertyNames`
    Names(NodeId),
    /// `prefixItems`, `items`, `additionalItems`
    Items { first: Vec<NodeId>, others: Option<NodeId> },
    /// `contains`, `minContains`, `maxContains`. The last says whether the items count as evaluated.
    Contains { item: NodeId, least: u64, most: Option<u64>, evaluates: bool },
    /// `$ref`, `allOf`
    All(Vec<NodeId>),
    /// `anyOf`
    Any(Vec<NodeId>),
    /// `oneOf`
    One(Vec<NodeId>),
    /// `not`
    Not(NodeId),
    /// `if`, `then`, `else`
    If { condition: NodeId, then: Option<NodeId>, otherwise: Option<NodeId> },
    /// `dependentSchemas`, `dependencies`
    With { key: String, node: NodeId },
    /// `unevaluatedProperties`
    OtherMembers(NodeId),
    /// `unevaluatedItems`
    OtherItems(NodeId),
}

impl Rule {
    /// The schemas that hold for the same value.
    pub(super) fn in_place(&self) -> Vec<NodeId> {
        match self {
            Self::All(nodes) | Self::Any(nodes) | Self::One(nodes) => nodes.clone(),
            Self::Not(node) | Self::With { node, .. } => vec![*node],
            Self::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Type {
    /// The type with this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    /// Whether a value has the type. `1.0` is an integer too.
    pub(super) fn has(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Integer, Value::Number(number)) => {
                number.is_i64()
                    || number.is_u64()
                    || number.as_f64().is_some_and(|float| float.fract() == 0.0)
            }
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            _ => false,
        }
    }

    /// The type with its article.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}
