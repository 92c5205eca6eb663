//! The policies that complete what the user sends.
//!
//! All patches are JSON patches: an apply configuration is refused for objects that hold a field the definition does not
//! declare, because it is typed before such fields are pruned. A patch whose `value` is a list of typed objects panics
//! the API server (seen on 1.36.3), so values are plain CEL maps, lists and scalars.

use serde_json::json;

use super::{Named, Policy, cel, document, match_constraints, name, named};
use crate::crd::FINALIZER;

pub(super) fn all() -> Vec<Policy> {
    vec![
        finalizer(),
        user("serviceinstance-user", "serviceinstances", &edited_instance()),
        binding_user(),
        secret_name(),
        binding_spec(),
        kept("clusterservicebroker-relist-requests", "clusterservicebrokers", "relistRequests"),
        kept("servicebroker-relist-requests", "servicebrokers", "relistRequests"),
        kept("serviceinstance-update-requests", "serviceinstances", "updateRequests"),
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

/// CEL: whether the request asks something of the broker of an instance.
///
/// A zero `updateRequests` is put back by a policy of its own, so it is no edit here, in whichever order the two run.
pub(super) fn edited_instance() -> String {
    let changed =
        cel::spec_fields("serviceinstances").into_iter().filter_map(|field| match field.name.as_str() {
            "userInfo" => None,
            "updateRequests" => Some(field.changed_from_zero()),
            _ => Some(field.changed()),
        });
    cel::any(std::iter::once("request.operation == 'CREATE'".to_owned()).chain(changed))
}

/// CEL: whether the request asks something of the broker of a binding.
///
/// `secretName` is a matter of the definition's rules: it may be given once.
pub(super) fn edited_binding() -> String {
    let changed = cel::spec_fields("servicebindings").into_iter();
    let changed = changed
        .filter(|field| !["userInfo", "secretName"].contains(&field.name.as_str()))
        .map(|field| field.changed());
    cel::any(std::iter::once("request.operation == 'CREATE'".to_owned()).chain(changed))
}

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

/// What stands in `spec.userInfo` is who asked for the present spec, however the request looks: an edit records the
/// requesting user, anything else puts back what was there.
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

/// A binding is never edited, so whoever creates it is who asked.
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

/// The name of a binding with `generateName` is not known yet: its Secret is named by the operator.
fn secret_name() -> Policy {
    let field = cel::spec_field("servicebindings", "secretName");
    policy(
        "servicebinding-secret-name",
        &["servicebindings"],
        &["CREATE"],
        &[(
            "not-said".into(),
            format!(
                "has(object.spec) && {} == '' && has(object.metadata.name) && object.metadata.name != ''",
                field.of("object")
            ),
        )],
        &[],
        "[JSONPatch{op: 'add', path: '/spec/secretName', value: object.metadata.name}]",
    )
}

/// The spec of a binding is for good; as in the original, an UPDATE that has another is none of the spec's, and no
/// error. So a client that replaces objects as a whole loses nothing that it does not know.
fn binding_spec() -> Policy {
    policy(
        "servicebinding-spec",
        &["servicebindings"],
        &["UPDATE"],
        &[("spec-changed".into(), "!has(object.spec) || object.spec != oldObject.spec".into())],
        &[],
        "[JSONPatch{op: 'add', path: '/spec', value: oldObject.spec}]",
    )
}

/// To whom a class or plan belongs is for good; as in the original, what an UPDATE says of it is not heard.
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

/// A counter that only grows; zero in an UPDATE comes from a client that does not know of it.
fn kept(topic: &str, plural: &str, counter: &str) -> Policy {
    let field = cel::spec_field(plural, counter);
    policy(
        topic,
        &[plural],
        &["UPDATE"],
        &[(
            "not-said".into(),
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
    conditions: &[Named],
    variables: &[Named],
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
