//! The policy that lets one user at a time edit an instance. Without it, the edits of two users could reach a
//! broker as one request with the identity of the second user (OSB 2.17, "Originating Identity").
//!
//! v0.3 locks an instance while an operation is under way or is retried, so no user can correct the spec of a
//! failing operation. Here only another user has to wait, and only while the broker is busy and the operator
//! has not acted on the previous edit. A user who edits the spec of a failed operation takes over that spec.
//!
//! The broker is also busy while it has not answered the request that the intent of the object announces. The
//! patch with the intent increases `metadata.generation` without an edit. `status.observedGeneration` counts
//! that as soon as the status takes the answer into account, and only then the next user may edit.

use serde_json::json;

use super::{Policy, cel, mutating::edited_instance, operator_fields::annotation, validating::policy};
use crate::crd::INTENT_ANNOTATION;

pub(super) fn all() -> Vec<Policy> {
    let given = |steps: &[&str]| cel::given("oldObject", steps, 0);
    let editor = "oldObject.spec.userInfo.username";
    let another = format!(
        "{} && {editor} != '' && {editor} != request.userInfo.username",
        given(&["spec", "userInfo", "username"])
    );
    // `dyn`, because the type checker of the API server takes a date-time for a timestamp.
    let observed = "dyn(oldObject.status).observedIntent";
    let pending = format!(
        "(variables.intent.contains('\"namespace\":\"' + request.namespace + '\",\"name\":\"' + request.name + '\"')\n\
         && !({status} && has({observed}) && {observed} != null\n\
         && variables.intent.contains('\"time\":\"' + {observed} + '\"')))",
        status = given(&["status"]),
    );
    let busy = format!(
        "{pending}\n|| ({async_op} && oldObject.status.asyncOpInProgress)\n\
         || ({operation} && oldObject.status.currentOperation in ['Provision', 'Update']\n\
         && !({postponed}) && !({mitigating} && oldObject.status.orphanMitigationInProgress))",
        async_op = given(&["status", "asyncOpInProgress"]),
        operation = given(&["status", "currentOperation"]),
        postponed = given(&["status", "nextAttemptTime"]),
        mitigating = given(&["status", "orphanMitigationInProgress"]),
    );
    let acted_on = format!(
        "{} && int(oldObject.status.observedGeneration) >= int(oldObject.metadata.generation)",
        given(&["status", "observedGeneration"])
    );
    let named = |name: &str, expression: String| (name.to_owned(), expression);
    vec![policy(
        "serviceinstance-one-editor-at-a-time",
        "serviceinstances",
        &["UPDATE"],
        &[
            named("spec-changed", cel::SPEC_CHANGED.into()),
            named("by-another-user", another),
            named("not-deleted", "!has(object.metadata.deletionTimestamp)".into()),
        ],
        &[
            named("edited", edited_instance()),
            named("intent", annotation("oldObject", INTENT_ANNOTATION)),
            named("busy", busy),
            named("acted_on", acted_on),
        ],
        &[json!({
            "expression": "!variables.edited || !variables.busy || variables.acted_on",
            "messageExpression": format!(
                "'an edit by user \"' + {editor} + '\" waits for the current operation at the broker, and a request to the \
                 broker is for one user only: try again when status.observedGeneration is ' + \
                 string(oldObject.metadata.generation)"
            ),
            "message": "an edit by another user waits for the current operation at the broker: try again later",
            "reason": "Forbidden",
        })],
    )]
}
