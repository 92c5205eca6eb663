//! `spec.catalogRestrictions`: which offerings and plans of a catalog become classes and plans. Pure.
//!
//! The language is that of v0.3. Each string is a Kubernetes label selector, with properties of the offering
//! or plan in place of labels. All strings must match. Kubernetes' library for Rust matches selectors, but
//! has no parser for them.

use std::{collections::BTreeSet, fmt, iter::Peekable};

use kube::core::{Expression, Selector, SelectorExt as _};

use crate::{
    crd::{ScopeKind, broker::CatalogRestrictions},
    printable::clip,
};

/// The properties that restrictions of classes can name.
const CLASS_KEYS: [&str; 3] = ["name", "spec.externalName", "spec.externalID"];

/// The properties that restrictions of plans can name.
fn plan_keys(scope: ScopeKind) -> [&'static str; 5] {
    let class = match scope {
        ScopeKind::Cluster => "spec.clusterServiceClass.name",
        ScopeKind::Namespace => "spec.serviceClass.name",
    };
    ["name", "spec.externalName", "spec.externalID", "spec.free", class]
}

/// How much of a restriction is quoted in an error, in bytes. Errors are shown in conditions.
const QUOTED: usize = 256;

/// The restrictions of a broker, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    classes: Selector,
    plans: Selector,
    scope: Option<ScopeKind>,
}

/// A restriction that cannot be parsed. Then nothing of the catalog is written, because its meaning is
/// unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRestriction {
    /// `serviceClass` or `servicePlan`.
    list: &'static str,
    index: usize,
    text: String,
    problem: String,
}

impl std::error::Error for InvalidRestriction {}

impl fmt::Display for InvalidRestriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, index, text, problem } = self;
        let text = clip(text, QUOTED);
        write!(f, "spec.catalogRestrictions.{list}[{index}]: {text:?} is not a restriction: {problem}")
    }
}

/// The values of the properties of a class.
#[derive(Clone, Copy, Debug)]
pub struct ClassProperties<'a> {
    /// Name of the class object.
    pub name: &'a str,
    /// Name of the offering or plan in the catalog.
    pub external_name: &'a str,
    /// Id in the catalog.
    pub external_id: &'a str,
}

/// The values of the properties of a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanProperties<'a> {
    /// Name of the plan object.
    pub name: &'a str,
    /// Name of the offering or plan in the catalog.
    pub external_name: &'a str,
    /// Id in the catalog.
    pub external_id: &'a str,
    /// Whether the plan costs nothing.
    pub free: bool,
    /// Name of the class object.
    pub class: &'a str,
}

impl Restrictions {
    /// Parses the restrictions of a broker of a scope.
    ///
    /// # Errors
    /// The first string that is not a selector over these properties.
    pub fn parse(
        restrictions: Option<&CatalogRestrictions>,
        scope: ScopeKind,
    ) -> Result<Self, InvalidRestriction> {
        let Some(restrictions) = restrictions else {
            return Ok(Self::default());
        };
        Ok(Self {
            classes: parse_list("serviceClass", &restrictions.service_class, &CLASS_KEYS)?,
            plans: parse_list("servicePlan", &restrictions.service_plan, &plan_keys(scope))?,
            scope: Some(scope),
        })
    }

    /// Whether the restrictions of classes admit a class. A class without admitted plans is not offered
    /// either.
    #[must_use]
    pub fn admit_class(&self, class: &ClassProperties<'_>) -> bool {
        admits(&self.classes, CLASS_KEYS, [class.name, class.external_name, class.external_id])
    }

    /// Whether the restrictions of plans admit a plan.
    #[must_use]
    pub fn admit_plan(&self, plan: &PlanProperties<'_>) -> bool {
        let Some(scope) = self.scope else { return true };
        let free = if plan.free { "true" } else { "false" };
        let values = [plan.name, plan.external_name, plan.external_id, free, plan.class];
        admits(&self.plans, plan_keys(scope), values)
    }
}

fn admits<const N: usize>(selector: &Selector, keys: [&str; N], values: [&str; N]) -> bool {
    let properties = || keys.into_iter().zip(values).map(|(key, value)| (key.to_owned(), value.to_owned()));
    selector.selects_all() || selector.matches(&properties().collect())
}

fn parse_list(list: &'static str, texts: &[String], keys: &[&str]) -> Result<Selector, InvalidRestriction> {
    let mut all = Selector::default();
    for (index, text) in texts.iter().enumerate() {
        let invalid = |problem| InvalidRestriction { list, index, text: text.clone(), problem };
        all.extend(selector(text, keys).map_err(invalid)?);
    }
    Ok(all)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// One of `=`, `==`, `!=`, `!`, `(`, `)`, `,`, `<`, `>`.
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{:?}", clip(word, QUOTED)),
            Self::Sign(sign) => write!(f, "\"{sign}\""),
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let sign =
            ["==", "!=", "=", "!", "(", ")", ",", "<", ">"].into_iter().find(|sign| rest.starts_with(sign));
        let length = if let Some(sign) = sign {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

fn selector(text: &str, keys: &[&str]) -> Result<Vec<Expression>, String> {
    let mut tokens = tokens(text).into_iter().peekable();
    let mut requirements = Vec::new();
    loop {
        requirements.push(requirement(&mut tokens, keys)?);
        match tokens.next() {
            None => return Ok(requirements),
            Some(Token::Sign(",")) => {}
            Some(other) => return Err(format!("expected a comma or the end, found {other}")),
        }
    }
}

fn requirement(
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    keys: &[&str],
) -> Result<Expression, String> {
    let absent = tokens.next_if_eq(&Token::Sign("!")).is_some();
    let key = match tokens.next() {
        Some(Token::Word(key)) if keys.contains(&key.as_str()) => key,
        other => {
            let found = other.map_or_else(|| "nothing".to_owned(), |token| token.to_string());
            return Err(format!("expected one of {}, found {found}", keys.join(", ")));
        }
    };
    if absent {
        return Ok(Expression::DoesNotExist(key));
    }
    let (negated, set) = match tokens.peek() {
        None | Some(Token::Sign(",")) => {
            return Ok(Expression::Exists(key));
        }
        Some(Token::Sign("=" | "==")) => (false, false),
        Some(Token::Sign("!=")) => (true, false),
        Some(Token::Word(word)) if word == "in" => (false, true),
        Some(Token::Word(word)) if word == "notin" => (true, true),
        Some(other) => {
            return Err(format!("expected one of =, ==, !=, in, notin, found {other}"));
        }
    };
    tokens.next();
    let values = if set { values(tokens)? } else { BTreeSet::from([value(tokens)]) };
    Ok(if negated { Expression::NotIn(key, values) } else { Expression::In(key, values) })
}

/// A value. A missing one is the empty value, as in label selectors.
fn value(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> String {
    match tokens.next_if(|token| matches!(token, Token::Word(_))) {
        Some(Token::Word(word)) => word,
        Some(Token::Sign(_)) | None => String::new(),
    }
}

fn values(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Result<BTreeSet<String>, String> {
    if tokens.next() != Some(Token::Sign("(")) {
        return Err("values belong in parentheses after in and notin, as in (a, b)".to_owned());
    }
    let mut values = BTreeSet::new();
    loop {
        values.insert(value(tokens));
        match tokens.next() {
            Some(Token::Sign(")")) => return Ok(values),
            Some(Token::Sign(",")) => {}
            Some(other) => return Err(format!("expected a comma or \")\", found {other}")),
            None => return Err("the \")\" is missing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(classes: &[&str], plans: &[&str], scope: ScopeKind) -> Result<Restrictions, String> {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let restrictions = CatalogRestrictions { service_class: list(classes), service_plan: list(plans) };
        Restrictions::parse(Some(&restrictions), scope).map_err(|error| error.to_string())
    }

    fn class(text: &str) -> bool {
        let class = ClassProperties { name: "arr-k8s", external_name: "arr", external_id: "id-1" };
        parse(&[text], &[], ScopeKind::Cluster).unwrap().admit_class(&class)
    }

    // v0.3 B7
    #[test]
    fn a_restriction_is_a_label_selector() {
        for (text, admitted) in [
            ("name=arr-k8s", true),
            ("name==arr-k8s", true),
            ("spec.externalName = arr", true),
            ("spec.externalName=foo", false),
            ("spec.externalName!=foo", true),
            ("spec.externalName!=arr", false),
            ("spec.externalName in (foo, arr)", true),
            ("spec.externalName in(foo)", false),
            ("spec.externalName notin (foo,arr)", false),
            ("spec.externalName notin (foo)", true),
            ("spec.externalID", true),
            ("!spec.externalID", false),
            ("name=arr-k8s,spec.externalID=id-1", true),
            ("name=arr-k8s, spec.externalID=id-2", false),
            ("spec.externalName=", false),
            ("spec.externalName in ()", false),
            ("spec.externalName=in", false),
        ] {
            assert_eq!(class(text), admitted, "{text}");
        }
    }

    // v0.3 B7
    #[test]
    fn all_restrictions_hold_at_once_and_none_admit_everything() {
        let arr = ClassProperties { name: "n", external_name: "arr", external_id: "i" };
        let both = ["spec.externalName in (arr, b)", "spec.externalName notin (arr)"];
        assert!(!parse(&both, &[], ScopeKind::Cluster).unwrap().admit_class(&arr));
        assert!(parse(&[], &[], ScopeKind::Cluster).unwrap().admit_class(&arr));
        assert!(Restrictions::parse(None, ScopeKind::Cluster).unwrap().admit_class(&arr));
    }

    // v0.3 B7
    #[test]
    fn plans_are_restricted_by_price_and_by_class() {
        let plan =
            PlanProperties { name: "p", external_name: "small", external_id: "i", free: true, class: "c" };
        for (scope, text, admitted) in [
            (ScopeKind::Cluster, "spec.free=true", true),
            (ScopeKind::Cluster, "spec.free=false", false),
            (ScopeKind::Cluster, "spec.clusterServiceClass.name=c", true),
            (ScopeKind::Namespace, "spec.serviceClass.name notin (c)", false),
        ] {
            assert_eq!(parse(&[], &[text], scope).unwrap().admit_plan(&plan), admitted, "{text}");
        }
        assert!(Restrictions::default().admit_plan(&plan));
    }

    #[test]
    fn an_invalid_selector_is_reported_with_its_field() {
        let error = parse(&["name=a", "spec.nothing=x"], &[], ScopeKind::Cluster).unwrap_err();
        assert_eq!(
            error,
            "spec.catalogRestrictions.serviceClass[1]: \"spec.nothing=x\" is not a restriction: \
             expected one of name, spec.externalName, spec.externalID, found \"spec.nothing\""
        );
        for text in [
            "",
            ",",
            "name in",
            "name in a",
            "name in (a",
            "name in (a=b)",
            "name>1",
            "name a",
            "!",
            "name=a b",
            "=x",
        ] {
            assert!(parse(&[text], &[], ScopeKind::Cluster).is_err(), "{text}");
        }
        let error = parse(&[], &["spec.serviceClass.name=x"], ScopeKind::Cluster).unwrap_err();
        assert!(error.starts_with("spec.catalogRestrictions.servicePlan[0]: "), "{error}");
    }
}
