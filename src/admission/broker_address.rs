//! The policies about who may say where a broker is. The operator sends a broker its credentials and the
//! parameters of instances and bindings, some of which come from Secrets. So whoever moves a broker to another
//! address could read them there.
//!
//! The policies `…-secrets` check the Secret with the credentials. The policies here check the parameters: no
//! policy can know which instances have parameters from Secrets, so they ask for the right to read all Secrets
//! that could be sent.

use serde_json::{Value, json};

use super::{Policy, cel, operator_fields::annotation, validating::policy};
use crate::crd::REPLACES_ANNOTATION;

/// The fields of the spec of a broker that say which server gets the requests.
const ADDRESS: [&str; 3] = ["url", "caBundle", "insecureSkipTLSVerify"];

pub(super) fn all() -> Vec<Policy> {
    vec![
        address(
            "clusterservicebroker-address",
            "clusterservicebrokers",
            // A new broker has no instances, unless it takes them over from another one.
            "request.operation == 'CREATE'\n? replaces != ''\n: ",
            "authorizer.group('').resource('secrets')",
            "'of all namespaces'",
        ),
        address(
            "servicebroker-address",
            "servicebrokers",
            // Whoever may create a broker could delete one and create it again.
            "request.operation == 'CREATE'\n|| ",
            "authorizer.group('').resource('secrets').namespace(request.namespace)",
            "'of namespace \"' + request.namespace + '\"'",
        ),
    ]
}

fn address(topic: &str, plural: &str, creates: &str, secrets: &str, place: &str) -> Policy {
    let replaces = |root: &str| annotation(root, REPLACES_ANNOTATION);
    let moves = ADDRESS.iter().map(|name| cel::spec_field(plural, name).changed());
    let moves = moves.chain([format!(
        "({now} != '' && {now} != {before})",
        now = replaces("object"),
        before = replaces("oldObject")
    )]);
    let condition = format!(
        "has(object.spec) && (\n{}(\n{}))",
        creates.replace("replaces", &replaces("object")),
        cel::any(moves)
    );
    policy(topic, plural, &["CREATE", "UPDATE"], &[("moves".into(), condition)], &[], &[rule(secrets, place)])
}

fn rule(secrets: &str, place: &str) -> Value {
    json!({
        "expression": format!("{secrets}.check('get').allowed()"),
        "messageExpression": format!(
            "'user \"' + request.userInfo.username + '\" may not get the Secrets ' + {place} + \
             ': the operator sends a broker parameters from Secrets, so only a user with this right may say at which \
             address a broker is, or which broker replaces another one'"
        ),
        "message": "only a user who may get the Secrets may say at which address a broker is",
        "reason": "Forbidden",
    })
}
