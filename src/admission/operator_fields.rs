//! The policies about what the operator writes into the main resource of an instance or a binding before it
//! asks a broker: ids, references, the name of the Secret, the finalizer, and the annotation
//! [`INTENT_ANNOTATION`].
//!
//! Only the operator writes them. But a client that writes a whole manifest (`kubectl replace`, Argo CD with
//! `Replace=true`, a Go client of v0.3) sends an object without them and means no change. So the mutating
//! policies put them back, and the validating policy refuses what a user cannot have meant.
//!
//! A new object may have the annotation too: a copy, or an object that is restored from a backup. The
//! operator ignores the annotation of a copy, because it names another object. With the annotation of a
//! restored object it goes on as if it had ordered itself what the annotation says. That needs the verb
//! `restore`.
//!
//! A new object may also have an id that a user gave. Then the operator asks the broker for a resource with
//! this id, and takes over the one that is there. An id is all that a broker asks for, so that needs the verb
//! `adopt`. A policy cannot know whether the annotation of a copy makes the operator ignore the id, because it
//! cannot read JSON as the operator does, so an id in a copy needs the verb too.

use serde_json::{Value, json};

use super::{Policy, cel, mutating, validating};
use crate::crd::{ADOPT_ANNOTATION, FINALIZER, GROUP, INTENT_ANNOTATION};

/// The longest annotation that a new object can have. The API server limits the cost of an expression, and
/// the cost grows with the length of the text.
const MAX_INTENT: usize = 64 * 1024;

/// The beginning of every annotation that the operator writes (RE2). The operator compares text, so another
/// spelling of the same JSON must not come through: it would hide the names from the other rules.
const INTENT_PATTERN: &str = r#"^[{]"cluster":"([^"\\]|\\.)*","namespace":"[^"\\]*","name":"[^"\\]*","uid":"[^"\\]*","time":"[^"\\]*"[,}]"#;

pub(super) fn all() -> Vec<Policy> {
    vec![
        instance_fields(),
        binding_fields(),
        kept_finalizer(),
        operator_only("serviceinstance-operator-only", "serviceinstances", &cel::REFERENCES),
        operator_only("servicebinding-operator-only", "servicebindings", &[]),
    ]
}

/// A field that the operator writes: when the policy puts it back, and by which patches.
struct KeptField {
    is_lost: String,
    patches: String,
}

/// Puts back what the operator has written. References are put back even if the request has others.
fn instance_fields() -> Policy {
    let mut kept = vec![external_id()];
    kept.extend(cel::REFERENCES.map(reference));
    kept.push(intent());
    put_back("serviceinstance-operator-fields", "serviceinstances", &kept)
}

/// Another policy restores the whole spec of a binding.
fn binding_fields() -> Policy {
    put_back("servicebinding-operator-fields", "servicebindings", &[intent()])
}

fn put_back(topic: &str, plural: &str, kept: &[KeptField]) -> Policy {
    let is_lost = cel::any(kept.iter().map(|field| format!("({})", field.is_lost)));
    let patches = kept.iter().map(|KeptField { is_lost, patches }| format!("({is_lost}\n? {patches}\n: [])"));
    let patches = patches.collect::<Vec<_>>().join("\n+ ");
    mutating::policy(topic, &[plural], &["UPDATE"], &[("has-lost-fields".into(), is_lost)], &[], &patches)
}

/// Another id is left to the validating policy, which refuses it.
fn external_id() -> KeptField {
    let field = cel::spec_field("serviceinstances", "externalID");
    KeptField {
        is_lost: format!(
            "has(object.spec) && {} == '' && {} != ''",
            field.of("object"),
            field.of("oldObject")
        ),
        patches: "[JSONPatch{op: 'add', path: '/spec/externalID', value: oldObject.spec.externalID}]".into(),
    }
}

fn reference(name: &str) -> KeptField {
    let field = cel::spec_field("serviceinstances", name);
    KeptField {
        is_lost: format!("has(object.spec) && {}", field.changed()),
        patches: format!(
            "({}\n? [JSONPatch{{op: 'add', path: '/spec/{name}', value: oldObject.spec.{name}}}]\n\
             : [JSONPatch{{op: 'remove', path: '/spec/{name}'}}])",
            cel::given("oldObject", &["spec", name], 1),
        ),
    }
}

fn intent() -> KeptField {
    let key = cel::text(INTENT_ANNOTATION);
    // RFC 6901: "/" is "~1" in a path.
    let path = format!("/metadata/annotations/{}", INTENT_ANNOTATION.replace('/', "~1"));
    let value = format!("oldObject.metadata.annotations[{key}]");
    KeptField {
        is_lost: format!(
            "{} == '' && {} != ''",
            annotation("object", INTENT_ANNOTATION),
            annotation("oldObject", INTENT_ANNOTATION)
        ),
        patches: format!(
            "(has(object.metadata.annotations)\n? [JSONPatch{{op: 'add', path: '{path}', value: {value}}}]\n\
             : [JSONPatch{{op: 'add', path: '/metadata/annotations', value: {{{key}: {value}}}}}])"
        ),
    }
}

/// Without the finalizer, the operator forgets what the broker has when the object is deleted. A manifest has
/// neither a uid nor this finalizer, and means no change. An object that was read and is written back has its
/// uid, also in a patch: who removes the finalizer there means it (`svcat deprovision --abandon`).
fn kept_finalizer() -> Policy {
    let ours = cel::text(FINALIZER);
    let among = |root: &str| {
        format!("(has({root}.metadata.finalizers) && {root}.metadata.finalizers.exists(f, f == {ours}))")
    };
    mutating::policy(
        "kept-finalizer",
        &["clusterservicebrokers", "servicebrokers", "serviceinstances", "servicebindings"],
        &["UPDATE"],
        &[(
            "is-lost".into(),
            format!(
                "!has(object.metadata.uid) && !has(object.metadata.deletionTimestamp)\n&& {} && !{}",
                among("oldObject"),
                among("object")
            ),
        )],
        &[],
        &format!(
            "has(object.metadata.finalizers)\n\
             ? [JSONPatch{{op: 'add', path: '/metadata/finalizers/-', value: {ours}}}]\n\
             : [JSONPatch{{op: 'add', path: '/metadata/finalizers', value: [{ours}]}}]"
        ),
    )
}

/// What only the operator may write, and what needs the verb `restore` or `adopt`. After the mutating policies an UPDATE
/// never lacks a field. Without them, the messages say what to keep.
fn operator_only(topic: &str, plural: &str, references: &[&str]) -> Policy {
    let value = |root: &str, key: &str| annotation(root, key);
    let id = cel::spec_field(plural, "externalID");
    let references: Vec<_> = references.iter().map(|name| cel::spec_field(plural, name)).collect();
    let changed = cel::any(
        [INTENT_ANNOTATION, ADOPT_ANNOTATION]
            .map(|key| format!("{} != {}", value("object", key), value("oldObject", key)))
            .into_iter()
            .chain(
                std::iter::once(&id)
                    .chain(&references)
                    .map(|field| format!("(has(object.spec) && {})", field.changed())),
            ),
    );
    let annotated = format!(
        "{} != '' || {} != ''",
        value("object", INTENT_ANNOTATION),
        value("object", ADOPT_ANNOTATION)
    );
    let given = cel::any(
        std::iter::once(&id)
            .chain(&references)
            .map(|field| format!("(has(object.spec) && {})", field.is_given())),
    );
    let name = "(has(object.metadata.name) ? object.metadata.name : '')";
    let may = |verb: &str| {
        format!(
            "authorizer.group({}).resource({}).namespace(request.namespace).name({name}).check('{verb}').allowed()",
            cel::text(GROUP),
            cel::text(plural)
        )
    };
    let is_own = format!(
        "(size(variables.intent) <= {MAX_INTENT}\n\
         && variables.intent.contains('\"namespace\":\"' + request.namespace + '\",\"name\":\"' + {name} + '\"'))"
    );
    let is_update = "request.operation == 'UPDATE'";
    let mut rules = vec![
        forbidden(
            &format!("!variables.is_update || variables.intent == {}", value("oldObject", INTENT_ANNOTATION)),
            &format!("only the operator writes the annotation {INTENT_ANNOTATION}: keep it with its value"),
        ),
        invalid(
            &format!("variables.is_update || size(variables.intent) <= {MAX_INTENT}"),
            &format!("the annotation {INTENT_ANNOTATION} is longer than {MAX_INTENT} characters: remove it"),
        ),
        invalid(
            &format!(
                "variables.is_update || variables.intent == '' || size(variables.intent) > {MAX_INTENT}\n\
                 || variables.intent.matches({})",
                cel::text(INTENT_PATTERN)
            ),
            &format!("the operator did not write this annotation {INTENT_ANNOTATION}: remove it"),
        ),
        needs_verb(
            "restore",
            "variables.is_update || !variables.is_own || variables.may_restore",
            plural,
            &format!(
                "with the annotation {INTENT_ANNOTATION} the operator takes over what the broker already has: \
                 to order a new one, remove the annotation and spec.externalID; to restore this one, ask for \
                 the role service-catalog-restore"
            ),
        ),
        needs_verb(
            "adopt",
            "variables.adopt == '' || variables.adopt == variables.old_adopt || variables.may_adopt",
            plural,
            &format!(
                "with the annotation {ADOPT_ANNOTATION} the operator takes over what another cluster has \
                 ordered: remove the annotation, or ask for the role admin of the namespace"
            ),
        ),
        needs_verb(
            "adopt",
            &format!(
                "variables.is_update || !(\n{given})\n\
                 || variables.may_adopt || (variables.is_own && variables.may_restore)"
            ),
            plural,
            &format!(
                "with {} the operator takes over what the broker already has: to order a new one, remove {} \
                 from the manifest; to take it over, ask for the role admin of the namespace",
                if references.is_empty() {
                    "spec.externalID"
                } else {
                    "spec.externalID or a reference to a class or plan"
                },
                if references.is_empty() {
                    "it"
                } else {
                    "spec.externalID and the fields of spec whose names end in ClassRef or PlanRef"
                },
            ),
        ),
        invalid(
            &format!("!variables.is_update || !has(object.spec) || !({})", id.changed()),
            "spec.externalID: Invalid value: externalID is immutable",
        ),
    ];
    rules.extend(references.iter().map(|field| {
        forbidden(
            &format!("!variables.is_update || !has(object.spec) || !({})", field.changed()),
            &format!("only the operator writes spec.{}: keep it with its value", field.name),
        )
    }));
    let named = |name: &str, expression: String| (name.to_owned(), expression);
    validating::policy(
        topic,
        plural,
        &["CREATE", "UPDATE"],
        &[named(
            "concerns-the-operator",
            format!("{is_update}\n? (\n{changed})\n: ({annotated}\n|| {given})"),
        )],
        &[
            named("is_update", is_update.into()),
            named("intent", value("object", INTENT_ANNOTATION)),
            named("adopt", value("object", ADOPT_ANNOTATION)),
            named("old_adopt", format!("({is_update} ? {} : '')", value("oldObject", ADOPT_ANNOTATION))),
            named("is_own", is_own),
            named("may_restore", may("restore")),
            named("may_adopt", may("adopt")),
        ],
        &rules,
    )
}

/// CEL: the value of an annotation of `object` or `oldObject`; the empty string if there is none.
pub(super) fn annotation(root: &str, key: &str) -> String {
    let (all, key) = (format!("{root}.metadata.annotations"), cel::text(key));
    format!("(has({all}) && {key} in {all} ? {all}[{key}] : '')")
}

/// A rule about what only the operator may do. Its message names the user, so that an operator which runs
/// under an account that the policies do not know is found at once.
fn forbidden(expression: &str, message: &str) -> Value {
    json!({
        "expression": expression,
        "messageExpression": format!(
            "'user \"' + request.userInfo.username + '\" is not the operator: ' + {}", cel::text(message)
        ),
        "message": message,
        "reason": "Forbidden",
    })
}

fn invalid(expression: &str, message: &str) -> Value {
    json!({ "expression": expression, "message": message, "reason": "Invalid" })
}

/// A rule about what needs a verb of RBAC.
fn needs_verb(verb: &str, expression: &str, plural: &str, message: &str) -> Value {
    json!({
        "expression": expression,
        "messageExpression": format!(
            "'user \"' + request.userInfo.username + '\" may not {verb} {plural} in namespace \"' + \
             request.namespace + '\": ' + {}",
            cel::text(message)
        ),
        "message": message,
        "reason": "Forbidden",
    })
}
