//! The policy that gives pods the credentials of bindings, when the pods are created. The API server evaluates it once
//! for each binding of the namespace, which is its parameter.
//!
//! What must hold:
//!
//! * It never keeps a pod from being created. It is the only policy that does not fail closed (`failurePolicy: Ignore`),
//!   because it matches the pods of all users, also those of the control plane.
//! * It overwrites nothing. What a pod has already, or what would break it, is left out, and an annotation of the pod
//!   says so ([`OMITTED_ANNOTATION`]).
//! * It has the same result when it runs again on its own result, as the API server does after any other change.
//! * The mount path ends with the name of the binding, so no two bindings have the same, and none is outside of the root.
//! * The name of the volume is made from the uid of the binding: names of bindings can be too long for it.
//! * A pod has the name of the Secret, not its content. So it can be created before the Secret. The kubelet then waits for
//!   the Secret, because a container that starts without its credentials is worse than one that starts late.
//!
//! The patches are JSON patches of plain maps (see `mutating`). Each one puts a whole list, because the number of its
//! new items differs. The order in which the API server takes the bindings is not defined.

use serde_json::json;

use super::{NamedExpression, Policy, cel, document, name, named};
use crate::crd::{
    BINDINGS_ANNOTATION, GROUP, OMITTED_ANNOTATION, VERSION,
    pods::{DEFAULT_ROOT, ROOT_VARIABLE},
};

/// The largest number of bindings that one pod gets. The limit keeps the pod and its annotations small enough for the
/// API server.
const MAX_BINDINGS: usize = 64;

/// The greatest length of the annotation that says what was left out.
const MAX_OMITTED: usize = 16 * 1024;

/// The greatest length of what it says about one binding.
const MAX_REASONS: usize = 512;

/// What can be a root: an absolute path without `..`, without variables and without the colon that mount paths cannot have.
const ROOT_PATTERN: &str = r"^(/[.]{0,2}[A-Za-z0-9_-][A-Za-z0-9._-]*)+/?$";

pub(super) fn policy() -> Policy {
    let topic = "pod-injection";
    let spec = json!({
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "paramKind": {"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "ServiceBinding"},
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "operations": ["CREATE"],
            "scope": "*",
        }]},
        "matchConditions": named(&conditions()),
        "variables": named(&variables()),
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches()}}],
    });
    // An empty selector and no namespace mean: all bindings of the namespace of the pod.
    let binding = json!({
        "policyName": name(topic),
        "paramRef": {"selector": {}, "parameterNotFoundAction": "Allow"},
    });
    Policy {
        topic: topic.to_owned(),
        documents: [
            document("MutatingAdmissionPolicy", topic, &spec),
            document("MutatingAdmissionPolicyBinding", topic, &binding),
        ],
    }
}

fn expression(name: &str, expression: impl Into<String>) -> NamedExpression {
    (name.to_owned(), expression.into())
}

/// Which pods a binding concerns.
fn conditions() -> [NamedExpression; 3] {
    let labels = "(has(object.metadata.labels) ? object.metadata.labels : {})";
    let selector = "params.spec.pods.selector";
    [
        expression(
            "names-pods",
            "!has(params.metadata.deletionTimestamp) && has(params.spec.pods) && has(params.spec.pods.selector)",
        ),
        expression(
            "names-this-pod",
            format!(
                "(!has({selector}.matchLabels) || {selector}.matchLabels.all(key,\n\
                 key in {labels} && {labels}[key] == {selector}.matchLabels[key]))\n\
                 && (!has({selector}.matchExpressions) || {selector}.matchExpressions.all(rule,\n\
                 rule.operator == 'Exists' ? rule.key in {labels}\n\
                 : rule.operator == 'DoesNotExist' ? !(rule.key in {labels})\n\
                 : rule.operator == 'In' ? rule.key in {labels} && {labels}[rule.key] in rule.values\n\
                 : rule.operator == 'NotIn' && !(rule.key in {labels} && {labels}[rule.key] in rule.values)))"
            ),
        ),
        // The API server refuses mirror pods with Secrets. The kubelet has started the pod without them anyway.
        expression(
            "is-no-mirror-of-a-static-pod",
            "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)",
        ),
    ]
}

fn variables() -> Vec<NamedExpression> {
    [wanted(), places(), omissions(), changes()].concat()
}

/// What the binding says, and what the pod has of it.
fn wanted() -> Vec<NamedExpression> {
    let of = |list: &str| {
        format!(
            "(has(object.spec.{list}) ? lists.range(size(object.spec.{list})).map(index, {{\n\
             'path': dyn('/spec/{list}/' + string(index)),\n\
             'container': dyn(object.spec.{list}[index]),\n\
             }}) : [])"
        )
    };
    vec![
        expression("pods", "params.spec.pods"),
        expression("binding", "string(params.metadata.name)"),
        // The operator fills in an empty name.
        expression(
            "secret",
            format!(
                "{} && params.spec.secretName != '' ? string(params.spec.secretName) : variables.binding",
                cel::given("params", &["spec", "secretName"], 1)
            ),
        ),
        expression("volume", "'binding-' + string(params.metadata.uid)"),
        expression("files", "has(variables.pods.files) ? variables.pods.files : !has(variables.pods.env)"),
        expression(
            "prefix",
            "has(variables.pods.env) && has(variables.pods.env.prefix) ? string(variables.pods.env.prefix) : ''",
        ),
        expression(
            "names",
            "has(variables.pods.env) && has(variables.pods.env.variables) ? variables.pods.env.variables : dyn([])",
        ),
        expression(
            "present",
            format!("{}.split(',').filter(name, name != '')", annotation(BINDINGS_ANNOTATION)),
        ),
        expression(
            "is_full",
            format!("size(variables.present) >= {MAX_BINDINGS} && !(variables.binding in variables.present)"),
        ),
        expression("volumes", "has(object.spec.volumes) ? object.spec.volumes : dyn([])"),
        expression("all", format!("{}\n+ {}", of("initContainers"), of("containers"))),
        expression(
            "named",
            "variables.all\n\
             .filter(it, !has(variables.pods.containers) || size(variables.pods.containers) == 0\n\
             || it.container.name in variables.pods.containers)\n\
             .map(it, {\n\
             'path': it.path,\n\
             'name': dyn(it.container.name),\n\
             'env': has(it.container.env) ? it.container.env : dyn([]),\n\
             'envFrom': has(it.container.envFrom) ? it.container.envFrom : dyn([]),\n\
             'mounts': has(it.container.volumeMounts) ? it.container.volumeMounts : dyn([]),\n\
             'devices': has(it.container.volumeDevices) ? it.container.volumeDevices : dyn([]),\n\
             })",
        ),
    ]
}

/// Where the files go in each container.
fn places() -> Vec<NamedExpression> {
    let own = "at.roots[size(at.roots) - 1]";
    vec![
        // The values of the variable with the root: none, or the container has a root of its own.
        expression(
            "rooted",
            format!(
                "(variables.files && !variables.is_full ? variables.named : []).map(it, {{\n\
                 'it': dyn(it),\n\
                 'roots': dyn(it.env.filter(e, e.name == '{ROOT_VARIABLE}').map(e, has(e.value) ? e.value : '')),\n\
                 }})"
            ),
        ),
        // No place: the policy cannot use the root.
        expression(
            "placed",
            format!(
                "variables.rooted.map(at, {{\n\
                 'it': at.it,\n\
                 'sets_root': dyn(size(at.roots) == 0),\n\
                 'place': dyn(!at.roots.all(root, root.matches(r'{ROOT_PATTERN}')) ? ''\n\
                 : (size(at.roots) == 0 ? '{DEFAULT_ROOT}'\n\
                 : {own}.endsWith('/') ? {own}.substring(0, size({own}) - 1)\n\
                 : {own}) + '/' + variables.binding),\n\
                 }})"
            ),
        ),
    ]
}

/// What is left out, in words.
fn omissions() -> Vec<NamedExpression> {
    // A mount below another one needs a folder there, and a volume that is read-only does not get one.
    let is_around = |path: &str| {
        format!(
            "(({path} + '/').startsWith(at.place + '/')\n\
             || (at.place + '/').startsWith({path}.endsWith('/') ? {path} : {path} + '/'))"
        )
    };
    let is_own_mount = "(m.name == variables.volume && m.mountPath == at.place)";
    let is_own_variable = "(has(e.valueFrom) && has(e.valueFrom.secretKeyRef)\n\
                           && e.valueFrom.secretKeyRef.name == variables.secret && e.valueFrom.secretKeyRef.key == v.key)";
    vec![
        expression(
            "is_volume_taken",
            "variables.volumes.exists(v, v.name == variables.volume\n\
             && !(has(v.secret) && has(v.secret.secretName) && v.secret.secretName == variables.secret))",
        ),
        expression(
            "filed",
            format!(
                "variables.placed.map(at, {{\n\
                 'it': at.it,\n\
                 'sets_root': at.sets_root,\n\
                 'place': at.place,\n\
                 'is_there': dyn(at.it.mounts.exists(m, {is_own_mount})),\n\
                 'why': dyn(variables.is_volume_taken ? 'the pod has another volume ' + variables.volume\n\
                 : at.place == '' ? 'its {ROOT_VARIABLE} is not a plain absolute path'\n\
                 : at.it.mounts.exists(m, !{is_own_mount} && {mount})\n\
                 || at.it.devices.exists(d, {device})\n\
                 ? 'it has a volume at, above or below ' + at.place\n\
                 : ''),\n\
                 }})",
                mount = is_around("m.mountPath"),
                device = is_around("d.devicePath"),
            ),
        ),
        // The variables that a container has already, from somewhere else.
        expression(
            "taken",
            format!(
                "(variables.is_full ? [] : variables.named).map(it, {{\n\
                 'it': dyn(it),\n\
                 'names': dyn(variables.names\n\
                 .filter(v, it.env.exists(e, e.name == v.name && !{is_own_variable})).map(v, v.name)),\n\
                 }})"
            ),
        ),
        expression(
            "reasons",
            format!(
                "(variables.is_full ? ['the pod has {MAX_BINDINGS} bindings already'] : [])\n\
                 + (size(variables.named) == 0 ? ['the pod has no container of these names'] : [])\n\
                 + variables.filed.filter(at, at.why != '')\n\
                 .map(at, 'container ' + string(at.it.name) + ' gets no files, because ' + string(at.why))\n\
                 + variables.taken.filter(it, size(it.names) > 0)\n\
                 .map(it, 'container ' + string(it.it.name) + ' has already ' + it.names.map(name, string(name)).join(', '))"
            ),
        ),
        expression("omitted", annotation(OMITTED_ANNOTATION)),
        expression("said", "variables.binding + ': ' + variables.reasons.join('; ')"),
        expression(
            "line",
            format!(
                "size(variables.said) > {MAX_REASONS} ? variables.said.substring(0, {MAX_REASONS}) + ' ...' : variables.said"
            ),
        ),
    ]
}

/// What is done.
fn changes() -> Vec<NamedExpression> {
    vec![
        expression("mounted", "variables.filed.filter(at, at.why == '')"),
        expression("roots_missing", "variables.mounted.filter(at, at.sets_root).map(at, at.it.path)"),
        expression(
            "is_new",
            "!(variables.binding in variables.present) && (size(variables.mounted) > 0\n\
             || variables.taken.exists(it, variables.prefix != '' || size(it.names) < size(variables.names)))",
        ),
        expression(
            "says_more",
            format!(
                "size(variables.reasons) > 0 && size(variables.omitted) < {MAX_OMITTED} && !variables.omitted.contains(variables.line)"
            ),
        ),
        expression(
            "environments",
            format!(
                "variables.taken.map(it, {{\n\
                 'path': it.it.path,\n\
                 'env': it.it.env,\n\
                 'new': dyn((it.it.path in variables.roots_missing\n\
                 ? [{{'name': dyn('{ROOT_VARIABLE}'), 'value': dyn('{DEFAULT_ROOT}')}}] : [])\n\
                 + variables.names.filter(v, !it.it.env.exists(e, e.name == v.name)).map(v, {{\n\
                 'name': dyn(v.name),\n\
                 'valueFrom': dyn({{'secretKeyRef': {{'name': string(variables.secret), 'key': string(v.key)}}}}),\n\
                 }})),\n\
                 }})"
            ),
        ),
    ]
}

fn patches() -> String {
    let put = |path: &str, value: &str| format!("JSONPatch{{op: 'add', path: {path}, value: {value}}}");
    let annotate =
        |key: &str, value: &str| put(&format!("'/metadata/annotations/{}'", key.replace('/', "~1")), value);
    [
        format!(
            "((variables.is_new || variables.says_more) && !has(object.metadata.annotations)\n? [{}] : [])",
            put("'/metadata/annotations'", "{}")
        ),
        format!(
            "(variables.is_new ? [{}] : [])",
            annotate(BINDINGS_ANNOTATION, "(variables.present + [variables.binding]).join(',')")
        ),
        format!(
            "(variables.says_more ? [{}] : [])",
            annotate(
                OMITTED_ANNOTATION,
                r"(variables.omitted == '' ? '' : variables.omitted + '\n') + variables.line"
            )
        ),
        format!(
            "(size(variables.mounted) > 0 && !variables.volumes.exists(v, v.name == variables.volume)\n? [{}] : [])",
            put(
                "'/spec/volumes'",
                "variables.volumes + [{'name': dyn(variables.volume), 'secret': dyn({'secretName': variables.secret})}]"
            )
        ),
        format!(
            "variables.mounted.filter(at, !at.is_there)\n.map(at, {})",
            put(
                "string(at.it.path) + '/volumeMounts'",
                "at.it.mounts + [{'name': dyn(variables.volume), 'mountPath': dyn(at.place), 'readOnly': dyn(true)}]"
            )
        ),
        // The first of all sources, so that those of the pod have precedence, as `env` has.
        format!(
            "variables.taken.filter(it, variables.prefix != '' && !it.it.envFrom.exists(e, has(e.secretRef)\n\
             && e.secretRef.name == variables.secret && has(e.prefix) && e.prefix == variables.prefix))\n.map(it, {})",
            put(
                "string(it.it.path) + '/envFrom'",
                "[{'prefix': dyn(variables.prefix), 'secretRef': dyn({'name': variables.secret})}] + it.it.envFrom"
            )
        ),
        format!(
            "variables.environments.filter(it, size(it.new) > 0)\n.map(it, {})",
            put("string(it.path) + '/env'", "it.env + it.new")
        ),
    ]
    .join("\n+ ")
}

/// CEL: an annotation of the pod; the empty string if there is none.
fn annotation(key: &str) -> String {
    let all = "object.metadata.annotations";
    format!("(has({all}) && '{key}' in {all} ? string({all}['{key}']) : '')")
}
