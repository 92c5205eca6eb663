//! The policies that refuse requests which the requesting user has no right to make.

use serde_json::{Value, json};

use super::{
    NamedExpression, Policy, cel, document, match_constraints,
    mutating::{edited_binding, edited_instance},
    name, named,
};

/// The largest number of Secrets that one object can name, unless the user may read all Secrets of the
/// namespace. The API server limits the cost of a policy to 10,000,000, and one authorization check costs
/// 350,000.
const MAX_SECRETS: usize = 16;

const WRITES: [&str; 2] = ["CREATE", "UPDATE"];

/// Fields of the spec of a broker that do not affect which server gets the credentials.
const CATALOG_FIELDS: [&str; 4] =
    ["relistBehavior", "relistDuration", "relistRequests", "catalogRestrictions"];

pub(super) fn all() -> Vec<Policy> {
    vec![
        forged_user("serviceinstance-forged-user", "serviceinstances", &edited_instance()),
        forged_user("servicebinding-forged-user", "servicebindings", &edited_binding()),
        binding_spec(),
        cluster_broker_secrets(),
        broker_secrets(),
        instance_secrets(),
        binding_secrets(),
        binding_secret_creation(),
        binding_pods(),
        prevented_deletion("serviceinstance-prevented-deletion", "serviceinstances", "instance"),
        prevented_deletion("servicebinding-prevented-deletion", "servicebindings", "binding"),
    ]
}

fn forged_user(topic: &str, plural: &str, edited: &str) -> Policy {
    let given = cel::given("object", &["spec", "userInfo"], 1);
    let rule = format!(
        "!({given})\n\
         || (variables.edited\n\
         ? dyn(object.spec.userInfo) == dyn(request.userInfo)\n\
         : has(oldObject.spec.userInfo) && dyn(object.spec.userInfo) == dyn(oldObject.spec.userInfo))"
    );
    policy(
        topic,
        plural,
        &WRITES,
        &[("spec-changed".into(), cel::SPEC_CHANGED.into())],
        &[("edited".into(), edited.into())],
        &[json!({
            "expression": rule,
            "message": "spec.userInfo is not the requesting user: remove it from the request, the API server sets it",
            "reason": "Forbidden",
        })],
    )
}

/// `deletionPolicy: Prevent`. The policy refuses the deletion to every user, also to the controllers of namespaces and of owners.
fn prevented_deletion(topic: &str, plural: &str, noun: &str) -> Policy {
    let given = cel::given("oldObject", &["spec", "deletionPolicy"], 0);
    policy(
        topic,
        plural,
        &["DELETE"],
        &[("is-prevented".into(), format!("{given} && oldObject.spec.deletionPolicy == 'Prevent'"))],
        &[],
        &[json!({
            "expression": "false",
            "message": format!(
                "spec.deletionPolicy is Prevent: set it to Delete to delete the {noun} at the broker too, or to Retain to keep it \
                 there, and then delete the object"
            ),
            "reason": "Forbidden",
        })],
    )
}

/// For clusters without mutating policies, where no policy restores the spec.
fn binding_spec() -> Policy {
    policy(
        "servicebinding-immutable",
        "servicebindings",
        &["UPDATE"],
        &[("spec-changed".into(), cel::SPEC_CHANGED.into())],
        &[("edited".into(), edited_binding())],
        &[json!({
            "expression": "!variables.edited",
            "message": "the spec of a ServiceBinding is immutable: delete the binding and create another",
            "reason": "Forbidden",
        })],
    )
}

fn cluster_broker_secrets() -> Policy {
    let secrets = ["basic", "bearer"].map(|method| {
        let steps = ["spec", "authInfo", method, "secretRef", "namespace"];
        let path = format!("object.spec.authInfo.{method}.secretRef.namespace");
        let namespace = format!("({} ? {path} : '')", cel::given("object", &steps, 4));
        broker_secret(method, &namespace)
    });
    few_secrets("clusterservicebroker-secrets", "clusterservicebrokers", &secrets)
}

fn broker_secrets() -> Policy {
    let secrets = ["basic", "bearer"].map(|method| broker_secret(method, "request.namespace"));
    few_secrets("servicebroker-secrets", "servicebrokers", &secrets)
}

/// CEL: a list with the Secret of one method of authentication, or an empty list.
fn broker_secret(method: &str, namespace: &str) -> String {
    let steps = ["spec", "authInfo", method, "secretRef", "name"];
    let path = format!("object.{}", steps.join("."));
    format!(
        "({} && {path} != ''\n? [{}]\n: [])",
        cel::given("object", &steps, 1),
        secret(&format!("spec.authInfo.{method}"), namespace, &path)
    )
}

/// The spec says which server gets the credentials, so a change of the URL is checked like a change of the
/// Secret. Without this check, a user who may edit the broker but not read the Secret could send the
/// credentials to another server.
fn few_secrets(topic: &str, plural: &str, secrets: &[String; 2]) -> Policy {
    let fields =
        cel::spec_fields(plural).into_iter().filter(|field| !CATALOG_FIELDS.contains(&field.name.as_str()));
    let condition = created_or_changed(fields.map(|field| field.changed()));
    policy(
        topic,
        plural,
        &WRITES,
        &[("names-secrets".into(), condition)],
        &[("wanted".into(), secrets.join("\n+ ")), ("all".into(), "false".into())],
        &(0..secrets.len()).map(may_get).collect::<Vec<_>>(),
    )
}

fn instance_secrets() -> Policy {
    let plural = "serviceinstances";
    let changed = cel::spec_field(plural, "parametersFrom").changed();
    many_secrets(
        "serviceinstance-secrets",
        plural,
        created_or_changed([changed]),
        &parameter_secrets(),
        Vec::new(),
    )
}

fn binding_secrets() -> Policy {
    let plural = "servicebindings";
    let changed = ["parametersFrom", "secretTransforms"].map(|name| cel::spec_field(plural, name).changed());
    let transforms = cel::given("object", &["spec", "secretTransforms"], 1);
    let named = cel::given("t", &["addKeysFrom", "secretRef", "name"], 0);
    let elsewhere = cel::given("t", &["addKeysFrom", "secretRef", "namespace"], 0);
    let namespace = "t.addKeysFrom.secretRef.namespace";
    let wanted = format!(
        "{}\n+ ({transforms}\n? object.spec.secretTransforms\n\
         .filter(t, {named} && t.addKeysFrom.secretRef.name != '')\n.map(t, {})\n: [])",
        parameter_secrets(),
        secret("spec.secretTransforms.addKeysFrom", "request.namespace", "t.addKeysFrom.secretRef.name")
    );
    let own_namespace = json!({
        "expression": format!(
            "!({transforms})\n|| object.spec.secretTransforms.all(t,\n\
             !({elsewhere}) || {namespace} == '' || {namespace} == request.namespace)"
        ),
        "messageExpression":
            "'spec.secretTransforms.addKeysFrom names a Secret of another namespace: \
             copy that Secret to namespace \"' + request.namespace + '\", where the binding is'",
        "message": "spec.secretTransforms.addKeysFrom names a Secret of another namespace",
        "reason": "Forbidden",
    });
    many_secrets("servicebinding-secrets", plural, created_or_changed(changed), &wanted, vec![own_namespace])
}

/// The operator creates a Secret for each binding. Without this check, a user who may not create Secrets could
/// create one with a name of their choice, and what it has comes from the parameters, the transforms and the
/// broker. A change of `spec.secret` is checked too: it can add labels and annotations that mean something to others.
fn binding_secret_creation() -> Policy {
    let changed = cel::spec_field("servicebindings", "secret").changed();
    policy(
        "servicebinding-secret-creation",
        "servicebindings",
        &WRITES,
        &[("makes-a-secret".into(), created_or_changed([changed]))],
        &[],
        &[
            json!({
                "expression": "authorizer.group('').resource('secrets').namespace(request.namespace).check('create').allowed()",
                "messageExpression":
                    "'user \"' + request.userInfo.username + '\" may not create Secrets in namespace \"' + \
                     request.namespace + '\", and the operator creates a Secret for a ServiceBinding: ask for the right to \
                     create Secrets, which the role edit has'",
                "message": "the requesting user may not create Secrets, and the operator creates one for a ServiceBinding",
                "reason": "Forbidden",
            }),
            json!({
                // The operator replaces a Secret that others may use.
                "expression": "request.operation == 'CREATE'\n\
                               || authorizer.group('').resource('secrets').namespace(request.namespace).check('update').allowed()",
                "messageExpression":
                    "'user \"' + request.userInfo.username + '\" may not update Secrets in namespace \"' + \
                     request.namespace + '\", and spec.secret changes the Secret of the binding: ask for the right to update \
                     Secrets, which the role edit has'",
                "message": "the requesting user may not update Secrets, and spec.secret changes one",
                "reason": "Forbidden",
            }),
        ],
    )
}

/// What a binding names gets its variables and files, as if its creator had written them there. Whoever may create pods in
/// the namespace can read its Secrets and run code there anyway.
fn binding_pods() -> Policy {
    let field = cel::spec_field("servicebindings", "pods");
    let changed = format!(
        "has(object.spec) && {} && (request.operation == 'CREATE' || {})",
        field.is_given(),
        field.changed()
    );
    policy(
        "servicebinding-pods",
        "servicebindings",
        &WRITES,
        &[("names-pods".into(), changed)],
        &[],
        &[
            json!({
                "expression": "authorizer.group('').resource('pods').namespace(request.namespace).check('create').allowed()",
                "messageExpression":
                    "'user \"' + request.userInfo.username + '\" may not create pods in namespace \"' + request.namespace + \
                     '\", so this user may not give pods credentials either: remove spec.pods, or ask for the right to create \
                     pods, which the role edit has'",
                "message": "the requesting user may not create pods, and spec.pods changes pods",
                "reason": "Forbidden",
            }),
            // One rule for each, because the API server limits the cost of a rule.
            may_restart("Rollout", "group('apps').resource('deployments')", "patch", "change Deployments"),
            may_restart("Rollout", "group('apps').resource('statefulsets')", "patch", "change StatefulSets"),
            may_restart("Rollout", "group('apps').resource('daemonsets')", "patch", "change DaemonSets"),
            may_restart(
                "Evict",
                "group('').resource('pods').subresource('eviction')",
                "create",
                "evict pods",
            ),
        ],
    )
}

/// The operator restarts the pods with its own rights.
fn may_restart(how: &str, resource: &str, verb: &str, deed: &str) -> Value {
    let given = cel::given("object", &["spec", "pods", "restart"], 2);
    json!({
        "expression": format!(
            "!({given}) || object.spec.pods.restart != '{how}'\n\
             || authorizer.{resource}.namespace(request.namespace).check('{verb}').allowed()"
        ),
        "messageExpression": format!(
            "'user \"' + request.userInfo.username + '\" may not {deed} in namespace \"' + request.namespace + \
             '\", so spec.pods.restart cannot be {how}: remove it, or ask for this right, which the role edit has'"
        ),
        "message": format!("the requesting user may not {deed}, and spec.pods.restart is {how}"),
        "reason": "Forbidden",
    })
}

fn parameter_secrets() -> String {
    format!(
        "({}\n? object.spec.parametersFrom.map(p, {})\n: [])",
        cel::given("object", &["spec", "parametersFrom"], 1),
        secret("spec.parametersFrom", "request.namespace", "p.secretKeyRef.name")
    )
}

/// A policy for a list of Secrets in the namespace of the object. The list has no fixed length. The policy
/// first checks the right to read all Secrets of the namespace, then the right to read each Secret.
fn many_secrets(topic: &str, plural: &str, condition: String, wanted: &str, rules: Vec<Value>) -> Policy {
    let all = "authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()";
    let few_enough = json!({
        "expression": format!("size(variables.wanted) <= {MAX_SECRETS} || variables.all"),
        "messageExpression": format!(
            "'the spec names ' + string(size(variables.wanted)) + ' Secrets: more than {MAX_SECRETS} are possible \
             only for a user who may get all Secrets of namespace \"' + request.namespace + '\"'"
        ),
        "message": format!("the spec names more than {MAX_SECRETS} Secrets"),
        "reason": "Forbidden",
    });
    let mut validations = rules;
    validations.push(few_enough);
    validations.extend((0..MAX_SECRETS).map(may_get));
    policy(
        topic,
        plural,
        &WRITES,
        &[("names-secrets".into(), condition)],
        &[("wanted".into(), wanted.into()), ("all".into(), all.into())],
        &validations,
    )
}

/// CEL: a map with a Secret and the field that names it. `string` gives all maps the same type, which lists
/// need.
fn secret(field: &str, namespace: &str, name: &str) -> String {
    format!("{{'field': {}, 'namespace': string({namespace}), 'name': string({name})}}", cel::text(field))
}

/// One rule for each index of the list. One rule for the whole list is not possible: the cost of an
/// expression allows only two checks, and the expression of a message cannot use the authorizer to find the
/// Secret.
fn may_get(index: usize) -> Value {
    let secret = format!("variables.wanted[{index}]");
    json!({
        "expression": format!(
            "size(variables.wanted) <= {index} || variables.all\n\
             || authorizer.group('').resource('secrets').namespace({secret}.namespace).name({secret}.name)\
             .check('get').allowed()"
        ),
        "messageExpression": format!(
            "'user \"' + request.userInfo.username + '\" may not get Secret \"' + {secret}.namespace + '/' + \
             {secret}.name + '\", which ' + {secret}.field + ' names: name a Secret that this user may get, \
             or grant the right to get it'"
        ),
        "message": "the spec names a Secret that the requesting user may not get",
        "reason": "Forbidden",
    })
}

fn created_or_changed(changed: impl IntoIterator<Item = String>) -> String {
    let changed = cel::any(std::iter::once("request.operation == 'CREATE'".to_owned()).chain(changed));
    format!("has(object.spec) && (\n{changed})")
}

pub(super) fn policy(
    topic: &str,
    plural: &str,
    operations: &[&str],
    conditions: &[NamedExpression],
    variables: &[NamedExpression],
    validations: &[Value],
) -> Policy {
    let mut spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": match_constraints(&[plural], operations),
        "validations": validations,
    });
    if !conditions.is_empty() {
        spec["matchConditions"] = named(conditions);
    }
    if !variables.is_empty() {
        spec["variables"] = named(variables);
    }
    Policy {
        topic: topic.to_owned(),
        documents: [
            document("ValidatingAdmissionPolicy", topic, &spec),
            document(
                "ValidatingAdmissionPolicyBinding",
                topic,
                &json!({"policyName": name(topic), "validationActions": ["Deny"]}),
            ),
        ],
    }
}
