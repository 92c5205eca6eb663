//! CEL rules, built from the names of fields rather than written out.

use std::fmt::Write as _;

use kube::core::Rule;

/// A rule about one field of the spec, which the API server then names.
fn about(field: &str, expression: impl Into<String>, message: &str) -> Rule {
    Rule::new(expression).message(message).field_path(format!(".{field}"))
}

/// This string has a value.
pub(super) fn required(field: &str) -> Rule {
    about(field, set(field), &format!("{field} is required"))
}

/// Transition rule: this string does not change.
pub(super) fn immutable(field: &str) -> Rule {
    about(field, unchanged(&[field]), &format!("{field} is immutable"))
}

/// Transition rule: this number does not fall, unless to 0, which clients send for "not said".
pub(super) fn never_less(field: &str, message: &str) -> Rule {
    let (old, new) = (format!("oldSelf.{field}"), format!("self.{field}"));
    about(field, format!("!has({old}) || !has({new}) || {new} == 0 || {new} >= {old}"), message)
}

/// Transition rule: a class or plan stays what it is at the broker.
pub(super) fn same_id(kind: &str) -> Rule {
    let message = format!("externalID cannot change when updating a {kind}");
    about("externalID", unchanged(&["externalID"]), &message)
}

/// This reference of a plan names its class.
pub(super) fn has_class(reference: &str) -> Rule {
    let message = format!("an owning serviceclass is required: name it in {reference}");
    about(reference, named(reference), &message)
}

/// Transition rule: a plan stays in its class.
pub(super) fn same_class(reference: &str) -> Rule {
    let expression = format!("self.{reference} == oldSelf.{reference}");
    about(reference, expression, &format!("{reference} is immutable"))
}

/// A broker has an address.
pub(super) fn has_url() -> Rule {
    about("url", "has(self.url) && self.url != ''", "brokers must have a remote url to contact: set url")
}

/// Where any certificate will do, there is none that it must be issued by.
pub(super) fn one_way_to_trust() -> Rule {
    about(
        "caBundle",
        "!(has(self.insecureSkipTLSVerify) && self.insecureSkipTLSVerify && has(self.caBundle) && size(self.caBundle) > 0)",
        "caBundle cannot be used when insecureSkipTLSVerify is true: leave one of them out",
    )
}

/// Who says that a broker wants authentication says which.
pub(super) fn has_authentication() -> Rule {
    about(
        "authInfo",
        "!has(self.authInfo) || has(self.authInfo.basic) || has(self.authInfo.bearer)",
        "auth config is required: set authInfo.basic or authInfo.bearer, or leave authInfo out",
    )
}

/// A method of authentication, if it is given, names its Secret by these fields.
pub(super) fn has_secret(method: &str, fields: &[&str]) -> Rule {
    let secret = format!("authInfo.{method}.secretRef");
    let named = |field: &&str| format!("has(self.{secret}.{field}) && self.{secret}.{field} != ''");
    let named = fields.iter().map(named).collect::<Vec<_>>().join(" && ");
    let expression =
        format!("!has(self.authInfo) || !has(self.authInfo.{method}) || (has(self.{secret}) && {named})");
    let message = format!("a {method} auth secret is required: set {} in {secret}", fields.join(" and "));
    about(&secret, expression, &message)
}

/// No restriction asks for this property, which plans of the other scope have.
pub(super) fn no_restriction_by(property: &str, kind: &str, instead: &str) -> Rule {
    let list = "self.catalogRestrictions.servicePlan";
    let pattern = property.replace('.', "[.]");
    let expression = format!(
        r"!has(self.catalogRestrictions) || !has({list}) || {list}.all(r, !r.matches(r'(^|[\s!,]){pattern}($|[\s=!,])'))"
    );
    let message = format!("plans of a {kind} have no property {property}: use {instead}");
    about("catalogRestrictions.servicePlan", expression, &message)
}

fn set(field: &str) -> String {
    format!("(has(self.{field}) && self.{field} != '')")
}

/// CEL: at least one of these fields has a value.
pub(super) fn any_set(fields: &[&str]) -> String {
    fields.iter().map(|field| set(field)).collect::<Vec<_>>().join(" || ")
}

/// CEL: no field of the first list has a value, or none of the second.
pub(super) fn not_both(one: &[&str], other: &[&str]) -> String {
    format!("!(({}) && ({}))", any_set(one), any_set(other))
}

/// CEL: no more than one of these references names an object.
pub(super) fn not_both_named(one: &str, other: &str) -> String {
    format!("!({} && {})", named(one), named(other))
}

fn named(reference: &str) -> String {
    format!("has(self.{reference}) && has(self.{reference}.name) && self.{reference}.name != ''")
}

/// CEL: at most one of these fields has a value.
pub(super) fn at_most_one(fields: &[&str]) -> String {
    let list = fields.iter().map(|field| set(field)).collect::<Vec<_>>().join(", ");
    format!("[{list}].filter(isSet, isSet).size() <= 1")
}

/// CEL: where the n-th plan field has a value, so has the n-th class field. An object without a class, or with two plans,
/// has another fault, which the rules for that name better.
pub(super) fn same_spelling(classes: &[&str], plans: &[&str]) -> String {
    let pairs = classes.iter().zip(plans).map(|(class, plan)| format!("(!{} || {})", set(plan), set(class)));
    let pairs = pairs.collect::<Vec<_>>().join(" && ");
    format!("!({}) || !({}) || ({pairs})", any_set(classes), at_most_one(plans))
}

/// CEL, transition rule: none of these string fields changes, appears or disappears. Absent and empty are the same.
pub(super) fn unchanged(fields: &[&str]) -> String {
    let mut rule = String::new();
    for field in fields {
        let and = if rule.is_empty() { "" } else { " && " };
        // Writing to a String cannot fail.
        let _ = write!(
            rule,
            "{and}(has(self.{field}) ? self.{field} : '') == (has(oldSelf.{field}) ? oldSelf.{field} : '')"
        );
    }
    rule
}
