//! `spec.catalogRestrictions`: which entries of the catalog are offered (original, "Catalog restrictions language").
//!
//! Each string is a Kubernetes label selector over properties of the entry in place of labels; all strings must hold.
//! Pure.

use std::{fmt, iter::Peekable};

use crate::{
    crd::{ScopeKind, broker::CatalogRestrictions},
    osb::text::clip,
};

/// The properties of a class.
const CLASS_KEYS: [&str; 3] = ["name", "spec.externalName", "spec.externalID"];

/// The properties of a plan of either scope.
fn plan_keys(scope: ScopeKind) -> [&'static str; 5] {
    let class = match scope {
        ScopeKind::Cluster => "spec.clusterServiceClass.name",
        ScopeKind::Namespace => "spec.serviceClass.name",
    };
    ["name", "spec.externalName", "spec.externalID", "spec.free", class]
}

/// How much of a restriction is quoted, in bytes. An error is shown in a condition.
const QUOTED: usize = 256;

/// The restrictions of a broker, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    classes: Vec<Requirement>,
    plans: Vec<Requirement>,
    scope: Option<ScopeKind>,
}

/// A restriction that cannot be understood. Nothing is offered on the strength of a guess.
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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// The properties of a class that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct ClassProperties<'a> {
    /// Name of the class object.
    pub name: &'a str,
    /// Name in the catalog.
    pub external_name: &'a str,
    /// Id in the catalog.
    pub external_id: &'a str,
}

/// The properties of a plan that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct PlanProperties<'a> {
    /// Name of the plan object.
    pub name: &'a str,
    /// Name in the catalog.
    pub external_name: &'a str,
    /// Id in the catalog.
    pub external_id: &'a str,
    /// Whether it costs nothing.
    pub free: bool,
    /// Name of the class object.
    pub class: &'a str,
}

impl Restrictions {
    /// Parses the restrictions of a broker of a scope.
    ///
    /// # Errors
    /// The first string that is not a selector over the properties that there are.
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

    /// Whether a class is offered, as far as the class itself is concerned.
    #[must_use]
    pub fn admit_class(&self, class: &ClassProperties<'_>) -> bool {
        let values = CLASS_KEYS.into_iter().zip([class.name, class.external_name, class.external_id]);
        let labels: Vec<(&str, &str)> = values.collect();
        self.classes.iter().all(|requirement| requirement.holds(&labels))
    }

    /// Whether a plan is offered.
    #[must_use]
    pub fn admit_plan(&self, plan: &PlanProperties<'_>) -> bool {
        let Some(scope) = self.scope else { return true };
        let free = if plan.free { "true" } else { "false" };
        let values = [plan.name, plan.external_name, plan.external_id, free, plan.class];
        let labels: Vec<(&str, &str)> = plan_keys(scope).into_iter().zip(values).collect();
        self.plans.iter().all(|requirement| requirement.holds(&labels))
    }
}

impl Requirement {
    /// As a label selector: what is absent is not in any set.
    fn holds(&self, labels: &[(&str, &str)]) -> bool {
        let value = labels.iter().find(|(key, _)| *key == self.key).map(|(_, value)| *value);
        let is_in = |set: &[String]| value.is_some_and(|value| set.iter().any(|one| one == value));
        match &self.test {
            Test::In(set) => is_in(set),
            Test::NotIn(set) => !is_in(set),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

fn parse_list(
    list: &'static str,
    texts: &[String],
    keys: &[&str],
) -> Result<Vec<Requirement>, InvalidRestriction> {
    let mut all = Vec::new();
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

fn selector(text: &str, keys: &[&str]) -> Result<Vec<Requirement>, String> {
    let mut tokens = tokens(text).into_iter().peekable();
    let mut requirements = Vec::new();
    loop {
        requirements.push(requirement(&mut tokens, keys)?);
        match tokens.next() {
            None => return Ok(requirements),
            Some(Token::Sign(",")) => {}
            Some(other) => return Err(format!("{other} stands where a comma or the end belongs")),
        }
    }
}

fn requirement(
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    keys: &[&str],
) -> Result<Requirement, String> {
    let absent = tokens.next_if_eq(&Token::Sign("!")).is_some();
    let key = match tokens.next() {
        Some(Token::Word(key)) if keys.contains(&key.as_str()) => key,
        other => {
            let found = other.map_or_else(|| "nothing".to_owned(), |token| token.to_string());
            return Err(format!("{found} stands where one of {} belongs", keys.join(", ")));
        }
    };
    if absent {
        return Ok(Requirement { key, test: Test::Absent });
    }
    let (negated, set) = match tokens.peek() {
        None | Some(Token::Sign(",")) => {
            return Ok(Requirement { key, test: Test::Exists });
        }
        Some(Token::Sign("=" | "==")) => (false, false),
        Some(Token::Sign("!=")) => (true, false),
        Some(Token::Word(word)) if word == "in" => (false, true),
        Some(Token::Word(word)) if word == "notin" => (true, true),
        Some(other) => {
            return Err(format!("{other} stands where one of =, ==, !=, in, notin belongs"));
        }
    };
    tokens.next();
    let values = if set { values(tokens)? } else { vec![value(tokens)] };
    Ok(Requirement { key, test: if negated { Test::NotIn(values) } else { Test::In(values) } })
}

/// A value; none at all is the empty one, as in label selectors.
fn value(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> String {
    match tokens.next_if(|token| matches!(token, Token::Word(_))) {
        Some(Token::Word(word)) => word,
        Some(Token::Sign(_)) | None => String::new(),
    }
}

fn values(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Result<Vec<String>, String> {
    if tokens.next() != Some(Token::Sign("(")) {
        return Err("values belong in parentheses after in and notin, as in (a, b)".to_owned());
    }
    let mut values = Vec::new();
    loop {
        values.push(value(tokens));
        match tokens.next() {
            Some(Token::Sign(")")) => return Ok(values),
            Some(Token::Sign(",")) => {}
            Some(other) => return Err(format!("{other} stands where a comma or \")\" belongs")),
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

    #[test]
    fn all_restrictions_hold_at_once_and_none_admit_everything() {
        let arr = ClassProperties { name: "n", external_name: "arr", external_id: "i" };
        let both = ["spec.externalName in (arr, b)", "spec.externalName notin (arr)"];
        assert!(!parse(&both, &[], ScopeKind::Cluster).unwrap().admit_class(&arr));
        assert!(parse(&[], &[], ScopeKind::Cluster).unwrap().admit_class(&arr));
        assert!(Restrictions::parse(None, ScopeKind::Cluster).unwrap().admit_class(&arr));
    }

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
    fn what_is_no_selector_is_named_with_its_field() {
        let error = parse(&["name=a", "spec.nothing=x"], &[], ScopeKind::Cluster).unwrap_err();
        assert_eq!(
            error,
            "spec.catalogRestrictions.serviceClass[1]: \"spec.nothing=x\" is not a restriction: \
             \"spec.nothing\" stands where one of name, spec.externalName, spec.externalID belongs"
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
