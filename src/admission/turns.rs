//! One user after the other: what two users have edited must not reach a broker as one request in the name of the second
//! (OSB 2.17, "Originating Identity").
//!
//! The original locked an instance for as long as an operation was under way or being tried again, so that nobody could mend
//! the spec that made it fail. Here only another user has to wait, and only while an edit is not acted on because the
//! broker is busy: whoever edits what was refused has seen it, and takes it over.

use serde_json::json;

use super::{Policy, cel, mutating::edited_instance, validating::policy};

pub(super) fn all() -> Vec<Policy> {
    let given = |steps: &[&str]| cel::given("oldObject", steps, 0);
    let editor = "oldObject.spec.userInfo.username";
    let another = format!(
        "{} && {editor} != '' && {editor} != request.userInfo.username",
        given(&["spec", "userInfo", "username"])
    );
    let busy = format!(
        "({async_op} && oldObject.status.asyncOpInProgress)\n\
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
        "serviceinstance-turns",
        "serviceinstances",
        &["UPDATE"],
        &[
            named("spec-changed", cel::SPEC_CHANGED.into()),
            named("by-another-user", another),
            named("in-time", "!has(object.metadata.deletionTimestamp)".into()),
        ],
        &[named("edited", edited_instance()), named("busy", busy), named("acted_on", acted_on)],
        &[json!({
            "expression": "!variables.edited || !variables.busy || variables.acted_on",
            "messageExpression": format!(
                "'an edit by \"' + {editor} + '\" waits for the operation that is under way, and the broker is asked in the \
                 name of one user at a time: try again when status.observedGeneration is ' + \
                 string(oldObject.metadata.generation)"
            ),
            "message": "an edit by another user waits for the operation that is under way: try again when it has been acted on",
            "reason": "Forbidden",
        })],
    )]
}
