//! The policies that change requests.
//!
//! All patches are JSON patches. The API server refuses an apply configuration for an object with a field
//! that the definition does not declare, because it checks the types before it prunes such fields. A patch
//! whose `value` is a list of typed objects makes the API server panic (seen on 1.36.3), so values are plain
//! CEL maps, lists and scalars.

use serde_json::json;

use super::{NamedExpression, Policy, cel, document, match_constraints, name, named};
use crate::crd::FINALIZER;

pub(super) fn all() -> Vec<Policy> {
    vec![
        finalizer(),
        user("serviceinstance-user", "serviceinstances", &edited_instance()),
        binding_user(),
        secret_name(),
        binding_spec(),
        kept_counter("clusterservicebroker-relist-requests", "clusterservicebrokers", "relistRequests"),
        kept_counter("servicebroker-relist-requests", "servicebrokers", "relistRequests"),
        kept_counter("serviceinstance-update-requests", "serviceinstances", "updateRequests"),
        owner("clusterserviceclass-owner", "clusterserviceclasses", &["clusterServiceBrokerName"]),
        owner("serviceclass-owner", "serviceclasses", &["serviceBrokerName"]),
        owner(
            "clusterserviceplan-owner",
            "clusterserviceplans",
            &["clusterServiceBrokerName", "clusterServiceClassRef"],
        ),
        owner("serviceplan-owner", "serviceplans", &["serviceBrokerName", "serviceClassRef"]),
    ]
}

/// CEL: whether the request makes the operator send a request for an instance to its broker.
///
/// A zero `updateRequests` and other values of the fields that the operator writes are no edit, because other
/// policies restore the values. The order of the policies does not matter.
pub(super) fn edited_instance() -> String {
    let changed =
        cel::spec_fields("serviceinstances").into_iter().filter_map(|field| match field.name.as_str() {
            "userInfo" => None,
            written if cel::is_written_by_the_operator(written) => None,
            "updateRequests" => Some(field.changed_from_zero()),
            _ => Some(field.changed()),
        });
    cel::any(std::iter::once("request.operation == 'CREATE'".to_owned()).chain(changed))
}

/// CEL: whether the request makes the operator send a request for a binding to its broker.
///
/// `secretName` and `externalID` do not count. A CEL rule of the definition allows `secretName` to be set once,
/// and another policy refuses another `externalID`. [`CHANGEABLE`] fields ask for
/// nothing that the creator has not asked for.
pub(super) fn edited_binding() -> String {
    let is_free =
        |name: &str| ["userInfo", "secretName", "externalID"].contains(&name) || CHANGEABLE.contains(&name);
    let changed = cel::spec_fields("servicebindings").into_iter();
    let changed = changed.filter(|field| !is_free(&field.name)).map(|field| field.changed());
    cel::any(std::iter::once("request.operation == 'CREATE'".to_owned()).chain(changed))
}

/// The fields of the spec of a binding that can be changed.
const CHANGEABLE: [&str; 4] = ["deletionPolicy", "pods", "rotation", "secret"];

fn finalizer() -> Policy {
    let topic = "finalizer";
    let ours = cel::text(FINALIZER);
    let resources = ["clusterservicebrokers", "servicebrokers", "serviceinstances", "servicebindings"];
    policy(
        topic,
        &resources,
        &["CREATE"],
        &[],
        &[],
        &format!(
            "!has(object.metadata.finalizers)\n\
             ? [JSONPatch{{op: 'add', path: '/metadata/finalizers', value: [{ours}]}}]\n\
             : object.metadata.finalizers.exists(f, f == {ours})\n\
             ? []\n\
             : [JSONPatch{{op: 'add', path: '/metadata/finalizers/-', value: {ours}}}]"
        ),
    )
}

/// An edit sets `spec.userInfo` to the requesting user. Any other update restores the previous value. The
/// policy ignores the value in the request.
fn user(topic: &str, plural: &str, edited: &str) -> Policy {
    policy(
        topic,
        &[plural],
        &["CREATE", "UPDATE"],
        &[("spec-changed".into(), cel::SPEC_CHANGED.into())],
        &[("edited".into(), edited.into())],
        "variables.edited\n\
         ? [JSONPatch{op: 'add', path: '/spec/userInfo', value: request.userInfo}]\n\
         : has(oldObject.spec.userInfo)\n\
         ? [JSONPatch{op: 'add', path: '/spec/userInfo', value: oldObject.spec.userInfo}]\n\
         : has(object.spec.userInfo)\n\
         ? [JSONPatch{op: 'remove', path: '/spec/userInfo'}]\n\
         : []",
    )
}

/// A binding is never edited, so only its creator counts.
fn binding_user() -> Policy {
    policy(
        "servicebinding-user",
        &["servicebindings"],
        &["CREATE"],
        &[("has-spec".into(), "has(object.spec)".into())],
        &[],
        "[JSONPatch{op: 'add', path: '/spec/userInfo', value: request.userInfo}]",
    )
}

/// A binding with `generateName` has no name at admission. The operator then names its Secret after the
/// binding.
fn secret_name() -> Policy {
    let field = cel::spec_field("servicebindings", "secretName");
    policy(
        "servicebinding-secret-name",
        &["servicebindings"],
        &["CREATE"],
        &[(
            "is-unset".into(),
            format!(
                "has(object.spec) && {} == '' && has(object.metadata.name) && object.metadata.name != ''",
                field.of("object")
            ),
        )],
        &[],
        "[JSONPatch{op: 'add', path: '/spec/secretName', value: object.metadata.name}]",
    )
}

/// The spec of a binding is immutable, except for the [`CHANGEABLE`] fields. As in v0.3, an UPDATE with another spec is
/// no error and does not change the spec. So a client that replaces whole objects removes no field that it does not
/// know.
fn binding_spec() -> Policy {
    let kept = "[JSONPatch{op: 'add', path: '/spec', value: oldObject.spec}]".to_owned();
    let changed = CHANGEABLE.map(|field| {
        let given = cel::given("object", &["spec", field], 0);
        let patch = format!("JSONPatch{{op: 'add', path: '/spec/{field}', value: object.spec.{field}}}");
        format!("({given}\n? [{patch}]\n: [])")
    });
    let patches: Vec<_> = std::iter::once(kept).chain(changed).collect();
    policy(
        "servicebinding-spec",
        &["servicebindings"],
        &["UPDATE"],
        &[("spec-changed".into(), "!has(object.spec) || object.spec != oldObject.spec".into())],
        &[],
        &patches.join("\n+ "),
    )
}

/// The broker and the class of a class or plan are immutable. As in v0.3, an UPDATE with other names is no
/// error and does not change them.
fn owner(topic: &str, plural: &str, fields: &[&str]) -> Policy {
    let fields: Vec<_> = fields.iter().map(|name| cel::spec_field(plural, name)).collect();
    let patches = fields.iter().map(|field| {
        let (path, changed) = (format!("oldObject.spec.{}", field.name), field.changed());
        let given = cel::given("oldObject", &["spec", &field.name], 1);
        let patch = format!("JSONPatch{{op: 'add', path: '/spec/{}', value: {path}}}", field.name);
        format!("({given} && {changed}\n? [{patch}]\n: [])")
    });
    policy(
        topic,
        &[plural],
        &["UPDATE"],
        &[("spec-changed".into(), "has(object.spec) && object.spec != oldObject.spec".into())],
        &[],
        &patches.collect::<Vec<_>>().join("\n+ "),
    )
}

/// A counter never decreases. Zero in an UPDATE comes from a client that does not know the field, so the
/// policy restores the value.
fn kept_counter(topic: &str, plural: &str, counter: &str) -> Policy {
    let field = cel::spec_field(plural, counter);
    policy(
        topic,
        &[plural],
        &["UPDATE"],
        &[(
            "is-zero".into(),
            format!("has(object.spec) && {} == 0 && {} != 0", field.of("object"), field.of("oldObject")),
        )],
        &[],
        &format!("[JSONPatch{{op: 'add', path: '/spec/{counter}', value: oldObject.spec.{counter}}}]"),
    )
}

pub(super) fn policy(
    topic: &str,
    resources: &[&str],
    operations: &[&str],
    conditions: &[NamedExpression],
    variables: &[NamedExpression],
    patch: &str,
) -> Policy {
    let mut spec = json!({
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": match_constraints(resources, operations),
    });
    if !conditions.is_empty() {
        spec["matchConditions"] = named(conditions);
    }
    if !variables.is_empty() {
        spec["variables"] = named(variables);
    }
    spec["mutations"] = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}]);
    Policy {
        topic: topic.to_owned(),
        documents: [
            document("MutatingAdmissionPolicy", topic, &spec),
            document("MutatingAdmissionPolicyBinding", topic, &json!({"policyName": name(topic)})),
        ],
    }
}
