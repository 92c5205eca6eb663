//! CEL rules of the definitions, built from the names of fields. An error names the field that the rule is
//! about.

use kube::core::{Reason, Rule};

/// A rule about one field of the spec. If it does not hold, the API server reports `spec.<field>: Invalid
/// value: <message>`.
pub(super) fn about(field: &str, expression: impl Into<String>, message: &str) -> Rule {
    Rule::new(expression).message(message).field_path(format!(".{field}"))
}

/// The same for a field that is missing: the API server reports `spec.<field>: Required value: <message>`.
fn needs(field: &str, expression: impl Into<String>, message: &str) -> Rule {
    about(field, expression, message).reason(Reason::FieldValueRequired)
}

/// This string is set.
pub(super) fn required(field: &str) -> Rule {
    needs(field, is_set(field), &format!("{field} is required"))
}

/// This reference names an object.
pub(super) fn required_reference(field: &str, message: &str) -> Rule {
    needs(&format!("{field}.name"), names_object(field), message)
}

/// At least one of these strings is set.
pub(super) fn one_required(fields: &[&str], what: &str) -> Rule {
    let message = format!("a {what} is required: set exactly one of {}", fields.join(", "));
    Rule::new(any_set(fields)).message(message.as_str()).reason(Reason::FieldValueRequired)
}

/// At most one of these strings is set. One rule for each field after the first, so that the error names the
/// second field that is set.
pub(super) fn at_most_one(fields: &[&str], what: &str) -> Vec<Rule> {
    let message = format!("the {what} is named twice: set only one field that names it");
    let rule = |index: usize| {
        let expression = format!("!{} || !({})", is_set(fields[index]), any_set(&fields[..index]));
        about(fields[index], expression, &message)
    };
    (1..fields.len()).map(rule).collect()
}

/// This string is set only together with another one.
pub(super) fn goes_with(field: &str, other: &str) -> Rule {
    let message = format!("{field} goes with {other}: name the class and the plan in the same way");
    about(field, format!("!{} || {}", is_set(field), is_set(other)), &message)
}

/// At most one of these references names an object. The error names the second.
pub(super) fn not_both_references(one: &str, other: &str) -> Rule {
    let expression = format!("!({} && {})", names_object(one), names_object(other));
    about(other, expression, &format!("{one} and {other} cannot both be set"))
}

/// Transition rule: this string does not change. Absent and empty are the same.
pub(super) fn immutable(field: &str) -> Rule {
    about(field, is_unchanged(field), &format!("{field} is immutable"))
}

/// Transition rule: the class of an instance, if this field names it, does not change.
pub(super) fn immutable_class(field: &str) -> Rule {
    let message = "the class of an instance is immutable: create another instance for another class";
    about(field, is_unchanged(field), message)
}

/// Transition rule: this object does not change.
pub(super) fn immutable_object(field: &str) -> Rule {
    about(field, format!("self.{field} == oldSelf.{field}"), &format!("{field} is immutable"))
}

/// Transition rule: this string does not change once it is set.
pub(super) fn set_once(field: &str) -> Rule {
    let expression = format!(
        "!has(oldSelf.{field}) || oldSelf.{field} == '' || (has(self.{field}) && self.{field} == oldSelf.{field})"
    );
    about(field, expression, &format!("{field} is immutable"))
}

/// Transition rule: this number does not decrease. A Go client that does not know the field sends 0, so 0 is
/// allowed.
pub(super) fn never_less(field: &str) -> Rule {
    let (old, new) = (format!("oldSelf.{field}"), format!("self.{field}"));
    let expression = format!("!has({old}) || !has({new}) || {new} == 0 || {new} >= {old}");
    about(field, expression, &format!("{field} must not decrease"))
}

/// A broker has no `caBundle` if it accepts any certificate.
pub(super) fn one_way_to_trust() -> Rule {
    about(
        "caBundle",
        "!(has(self.insecureSkipTLSVerify) && self.insecureSkipTLSVerify && has(self.caBundle) && size(self.caBundle) > 0)",
        "caBundle has no effect with insecureSkipTLSVerify: remove one of them",
    )
}

/// A broker with `authInfo` has a method of authentication.
pub(super) fn has_authentication() -> Rule {
    needs(
        "authInfo",
        "!has(self.authInfo) || has(self.authInfo.basic) || has(self.authInfo.bearer)",
        "set authInfo.basic or authInfo.bearer, or remove authInfo",
    )
}

/// A method of authentication names its Secret by these fields.
pub(super) fn has_secret(method: &str, fields: &[&str]) -> Rule {
    let secret = format!("authInfo.{method}.secretRef");
    let named =
        fields.iter().map(|field| is_set(&format!("{secret}.{field}"))).collect::<Vec<_>>().join(" && ");
    let expression =
        format!("!has(self.authInfo) || !has(self.authInfo.{method}) || (has(self.{secret}) && {named})");
    let message = format!("name the Secret with the credentials: set {}", fields.join(" and "));
    needs(&secret, expression, &message)
}

/// No restriction uses this property, which only plans of the other scope have.
pub(super) fn no_restriction_by(property: &str, kind: &str, instead: &str) -> Rule {
    let list = "self.catalogRestrictions.servicePlan";
    let pattern = property.replace('.', "[.]");
    let expression = format!(
        r"!has(self.catalogRestrictions) || !has({list}) || {list}.all(r, !r.matches(r'(^|[\s!,]){pattern}($|[\s=!,])'))"
    );
    let message = format!("plans of a {kind} do not have the property {property}: use {instead}");
    about("catalogRestrictions.servicePlan", expression, &message)
}

/// No key of this map of labels or annotations has a meaning for the operator or for Kubernetes.
pub(super) fn no_reserved_key(field: &str) -> Rule {
    let expression = format!(
        "!has(self.{field}) || self.{field}.all(k, !k.startsWith('servicecatalog.k8s.io/') && !k.startsWith('kubernetes.io/') && \
         !k.startsWith('k8s.io/') && k != 'app.kubernetes.io/managed-by')"
    );
    about(
        field,
        expression,
        "the prefixes servicecatalog.k8s.io/, kubernetes.io/ and k8s.io/ and the key app.kubernetes.io/managed-by are reserved: \
         use a prefix of your own, as in example.com/team",
    )
}

/// Every key of this map is a key of labels or annotations. The API server would refuse the Secret, but only when the
/// broker has made the binding.
pub(super) fn qualified_keys(field: &str) -> Rule {
    about(
        field,
        format!("!has(self.{field}) || self.{field}.all(k, !format.qualifiedName().validate(k).hasValue())"),
        "keys must be such as example.com/team: an optional domain name with '/', then at most 63 letters, digits, '-', '_' \
         and '.', with a letter or digit at the start and at the end",
    )
}

/// CEL: this string is there and not empty.
fn is_set(field: &str) -> String {
    format!("(has(self.{field}) && self.{field} != '')")
}

/// CEL: at least one of these strings is there and not empty.
fn any_set(fields: &[&str]) -> String {
    fields.iter().map(|field| is_set(field)).collect::<Vec<_>>().join(" || ")
}

/// CEL: this reference has a name.
fn names_object(reference: &str) -> String {
    format!("has(self.{reference}) && {}", is_set(&format!("{reference}.name")))
}

/// CEL: this string is the same as before. Absent and empty are the same.
fn is_unchanged(field: &str) -> String {
    format!("(has(self.{field}) ? self.{field} : '') == (has(oldSelf.{field}) ? oldSelf.{field} : '')")
}
