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
        user("servicebinding-user", "servicebindings", &edited_binding()),
        secret_name(),
        kept("clusterservicebroker-relist-requests", "clusterservicebrokers", "relistRequests"),
        kept("servicebroker-relist-requests", "servicebrokers", "relistRequests"),
        kept("serviceinstance-update-requests", "serviceinstances", "updateRequests"),
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
/// An absent `secretName` is put back by a policy of its own, so it is no edit here, in whichever order the two run; and
/// it cannot be changed otherwise.
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
fn user(topic: &'static str, plural: &str, edited: &str) -> Policy {
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

/// The name of a binding with `generateName` is not known yet: its Secret is named by the operator.
fn secret_name() -> Policy {
    let field = cel::spec_field("servicebindings", "secretName");
    policy(
        "servicebinding-secret-name",
        &["servicebindings"],
        &["CREATE", "UPDATE"],
        &[(
            "not-said".into(),
            format!(
                "has(object.spec) && {} == ''\n\
                 && (request.operation == 'CREATE'\n\
                 ? has(object.metadata.name) && object.metadata.name != ''\n\
                 : {} != '')",
                field.of("object"),
                field.of("oldObject")
            ),
        )],
        &[],
        "[JSONPatch{op: 'add', path: '/spec/secretName',\n\
         value: request.operation == 'CREATE' ? object.metadata.name : oldObject.spec.secretName}]",
    )
}

/// A counter that only grows; zero in an UPDATE comes from a client that does not know of it.
fn kept(topic: &'static str, plural: &str, counter: &str) -> Policy {
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

fn policy(
    topic: &'static str,
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
        topic,
        documents: [
            document("MutatingAdmissionPolicy", topic, &spec),
            document("MutatingAdmissionPolicyBinding", topic, &json!({"policyName": name(topic)})),
        ],
    }
}
