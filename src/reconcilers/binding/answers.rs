//! What does an answer to PUT or GET mean for a binding? The answers to DELETE and to polls are in
//! `operation::answers`. All functions are pure.

use std::time::Duration;

use super::{
    Binding, BindingReply, BindingRequest, BindingView,
    phase::BindingAction,
    plan::is_retrievable,
    rotation::Role,
    secret::{self, SecretState, no_credentials},
    status::{
        BINDING, PUT_RIGHT, bind_had_no_effect, bound, credentials_lost, injected, not_injected, not_shaped,
        ready,
    },
};
use crate::{
    crd::{
        ConditionStatus::False, ConditionType::Ready, ServiceBindingStatus, condition::Conditioned as _,
        progress::DeletionStatus,
    },
    osb::{
        self, RefusalReason,
        extras::Extras,
        outcome::{BindingAnswer, Bound, Explanation},
    },
    reconcilers::{
        memory::OperationMemory,
        messages::{self, RETRY_TIMEOUT},
        operation::{
            AfterAnswer, Call, Phase,
            answers::{AnswerHooks, should_record},
            call::RequestHooks as _,
            deletion_policy::awaits_end,
            plan::polling_deadline,
            status::{
                back_off, failed, failed_with_orphan, has_taken_too_long, is_repeated, start_mitigation,
                switch_to_deletion, try_again,
            },
        },
        reason::Reason,
        reconciler::Next,
        writes::Write,
    },
};

type Writes = Vec<Vec<Write>>;

impl AnswerHooks for Binding {
    fn continues_operation(reply: &BindingReply) -> bool {
        matches!(reply, BindingReply::Fetch(_))
    }

    fn absorb_reply(
        view: &BindingView<'_>,
        reply: BindingReply,
        memory: &mut OperationMemory,
    ) -> (Writes, AfterAnswer<Self>) {
        match reply {
            BindingReply::Bind(outcome) => after_bind(view, outcome, memory),
            BindingReply::Fetch(outcome) => after_fetch(view, outcome, memory),
        }
    }

    /// A GET returns the credentials (OSB 2.17, "Fetching a Service Binding"). They are not needed if the
    /// object is being deleted.
    fn operation_succeeded(view: &BindingView<'_>, BindingAction::Bind: BindingAction) -> AfterAnswer<Self> {
        if view.is_being_deleted() {
            return Next::Record(if awaits_end(view) {
                bound(view)
            } else {
                switch_to_deletion(view, "The binding has been created")
            });
        }
        match Self::recorded_target(view) {
            Some((address, target)) => Next::Call(Call::Request(address, BindingRequest::Fetch(target))),
            None => Next::Record(view.status_copy()),
        }
    }

    /// The broker answered, so the operation takes no effect later.
    fn operation_failed(
        view: &BindingView<'_>,
        BindingAction::Bind: BindingAction,
        reason: Option<Reason>,
        why: &str,
        _: Option<bool>,
    ) -> ServiceBindingStatus {
        let call_failed = Reason::BindCallFailed;
        let message = format!("Bind call failed: {why}");
        let reasons = (call_failed, reason.unwrap_or(call_failed));
        failed_with_orphan(view, view.status_copy(), reasons, &message, false)
    }

    fn absorb_rejected_write(view: &BindingView<'_>, message: &str) -> ServiceBindingStatus {
        not_injected(view, view.memory.without_credentials, message)
    }
}

fn after_bind(
    view: &BindingView<'_>,
    outcome: osb::Outcome<Bound>,
    memory: &mut OperationMemory,
) -> (Writes, AfterAnswer<Binding>) {
    let mut status = view.status_copy();
    let message = |why: &Explanation| view.redactor().message("Bind call failed", why);
    let recorded = match outcome {
        osb::Outcome::Answered(Bound::Done(answer)) => {
            return inject_bound(view, answer, memory);
        }
        osb::Outcome::Answered(Bound::Accepted { operation }) => {
            status.progress.operation_accepted(operation);
            let (reason, message) = BINDING;
            status.set_condition(Ready, False, reason, message, view.now);
            status
        }
        osb::Outcome::Refused(refusal) if refusal.reason.is_passing() => retry_or_give_up(
            view,
            bind_had_no_effect(status),
            &message(&refusal.message),
            refusal.retry_after,
        ),
        osb::Outcome::Refused(refusal) => {
            bind_refused(view, status, refusal.reason, &message(&refusal.message))
        }
        osb::Outcome::Unsent(unsent) => {
            retry_or_give_up(view, bind_had_no_effect(status), &message(&unsent.message), None)
        }
        osb::Outcome::Unknown(unknown) if is_repeated(&status, &unknown) => {
            status.progress.record_no_answer();
            retry_or_give_up(view, status, &message(&unknown.message), unknown.retry_after)
        }
        osb::Outcome::Unknown(unknown) if unknown.mitigate => {
            status.progress.retries += 1;
            let (reason, why) = (Reason::BindCallFailed, message(&unknown.message));
            start_mitigation(view, status, reason, &why, !unknown.answered)
        }
        osb::Outcome::Unknown(unknown) => {
            status.progress.unanswered = true;
            retry_or_give_up(view, status, &message(&unknown.message), unknown.retry_after)
        }
    };
    (vec![], Next::Record(recorded))
}

/// The status after a refusal that is not temporary. An earlier bind without an answer may still have created
/// the binding.
fn bind_refused(
    view: &BindingView<'_>,
    mut status: ServiceBindingStatus,
    reason: RefusalReason,
    message: &str,
) -> ServiceBindingStatus {
    if status.external_properties.is_some() {
        // The binding existed before. Orphan mitigation deletes it, and the next attempt creates another one.
        return start_mitigation(view, status, Reason::BindCallFailed, message, false);
    }
    let conflict = reason == RefusalReason::Conflict;
    if conflict && !view.is_id_derived() {
        // The user gave an id that something else has at the broker. The operator must not delete it.
        status.progress.unanswered = false;
    } else if conflict && status.progress.unanswered {
        // No other binding has an id that the operator derived. So the request without an answer created the
        // binding, and its credentials are lost.
        status.progress.retries += 1;
        let message = format!("{message}; this was the repetition of a request without an answer");
        return start_mitigation(view, status, Reason::BindCallFailed, &message, true);
    }
    give_up(view, status, (Reason::BindCallFailed, Reason::ServiceBindingReturnedFailure), message)
}

/// Sends the same request again later, or gives up if the operation has taken too long.
fn retry_or_give_up(
    view: &BindingView<'_>,
    status: ServiceBindingStatus,
    message: &str,
    retry_after: Option<Duration>,
) -> ServiceBindingStatus {
    let reason = Reason::BindCallFailed;
    if has_taken_too_long(view, &status) {
        let message = format!("{RETRY_TIMEOUT}: {message}");
        return give_up(view, status, (reason, Reason::ErrorReconciliationRetryTimeout), &message);
    }
    try_again(view, status, reason, message, retry_after)
}

/// Gives up. If the binding exists or an unanswered bind may have created it, orphan mitigation deletes it.
fn give_up(
    view: &BindingView<'_>,
    status: ServiceBindingStatus,
    reasons: (Reason, Reason),
    message: &str,
) -> ServiceBindingStatus {
    if status.progress.unanswered || status.external_properties.is_some() {
        let may_take_effect_late = status.progress.unanswered;
        return failed_with_orphan(view, status, reasons, message, may_take_effect_late);
    }
    let failed = failed(view, status, reasons, message);
    ServiceBindingStatus { unbind_status: DeletionStatus::NotRequired, ..failed }
}

/// Writes the credentials of a bind. A binding need not have any (OSB 2.17, "Binding", "Response"). But if a
/// repeated request is answered without credentials, a broker that returns them only once has sent them with
/// an earlier answer.
fn inject_bound(
    view: &BindingView<'_>,
    answer: BindingAnswer,
    memory: &mut OperationMemory,
) -> (Writes, AfterAnswer<Binding>) {
    let status = &view.status;
    let is_repetition = status.progress.unanswered || status.external_properties.is_some();
    if answer.credentials.is_some() || !is_repetition || status.without_credentials {
        return inject(view, answer, memory);
    }
    // A GET says it for sure.
    let target = is_retrievable(view).then(|| Binding::recorded_target(view)).flatten();
    match target {
        Some((address, target)) => {
            (vec![], Next::Call(Call::Request(address, BindingRequest::Fetch(target))))
        }
        None => (vec![], Next::Record(credentials_lost(view, CREDENTIALS_MISSING))),
    }
}

/// Writes the credentials into their Secret first, and then the status that says so. A binding without
/// credentials has an empty Secret.
fn inject(
    view: &BindingView<'_>,
    answer: BindingAnswer,
    memory: &mut OperationMemory,
) -> (Writes, AfterAnswer<Binding>) {
    let mut message = beside(&answer);
    let BindingAnswer { credentials, lifetime, mut extras, .. } = answer;
    let text = serde_json::to_string(&*extras).unwrap_or_default();
    if !extras.is_empty() && view.redactor().quote(Some(&text)).is_none_or(|redacted| redacted != text) {
        // It may repeat a secret parameter.
        *extras = Extras::default();
        message.push_str("; the status does not show what the broker gave beside, because it may repeat a secret parameter");
    }
    let is_renewal = view.dependencies.role == Role::Successor;
    if is_renewal && let Some(end) = lifetime.expires_at.filter(|end| *end <= view.now) {
        // Those in the Secret may be better.
        let why = format!("the broker gave credentials that expired at {end:.0}");
        return (vec![], Next::Record(credentials_lost(view, &why)));
    }
    let credentials = credentials.unwrap_or_else(no_credentials);
    let without_credentials = credentials.expose().is_empty();
    let is_misshapen = secret::is_misshapen(view);
    if is_misshapen && without_credentials && !view.status.without_credentials {
        return (vec![], Next::Record(not_shaped(view, CREDENTIALS_MISSING, None)));
    }
    // The API server may reject the Secret.
    memory.without_credentials = without_credentials;
    message.insert_str(0, injected(without_credentials));
    if matches!(view.dependencies.secret, SecretState::Edited { .. }) {
        memory.put_right = Some(view.now);
        message = format!("{message}; {PUT_RIGHT}");
    }
    match secret::with_credentials(view, (lifetime, &extras), &credentials) {
        Ok((secret, about_keys)) => {
            if is_misshapen {
                memory.put_right = Some(view.now);
            }
            let message = about_keys.map_or(message.clone(), |keys| format!("{message}; {keys}"));
            let status = ready(view, lifetime, &message);
            let status = ServiceBindingStatus { without_credentials, extras: *extras, ..status };
            (vec![vec![secret]], Next::Record(status))
        }
        Err(message) => {
            let as_it_was =
                if is_misshapen { "; the Secret is as it was, and its credentials are valid" } else { "" };
            let message = format!("{message}{as_it_was}");
            (vec![], Next::Record(not_injected(view, without_credentials, &message)))
        }
    }
}

/// The end of the message of `Ready`: what an answer has beside credentials that needs words.
fn beside(answer: &BindingAnswer) -> String {
    let unserved = match answer.unserved.join(", ").as_str() {
        "" => String::new(),
        what => format!("; the broker also gave {what}, which means nothing to a Kubernetes cluster"),
    };
    let incomplete = match answer.incomplete.join(", ").as_str() {
        "" => String::new(),
        what => format!(
            "; the status does not show all of {what}: some of it is too much, or not as the protocol says"
        ),
    };
    unserved + &incomplete
}

const CREDENTIALS_MISSING: &str =
    "the broker's answer has no credentials; ask the broker's operator what this binding is for";

fn after_fetch(
    view: &BindingView<'_>,
    outcome: osb::Outcome<BindingAnswer>,
    memory: &mut OperationMemory,
) -> (Writes, AfterAnswer<Binding>) {
    let (why, retry_after) = (outcome.failure().cloned().unwrap_or_default(), outcome.retry_after());
    let gone = match outcome {
        osb::Outcome::Answered(answer) => return inject(view, answer, memory),
        osb::Outcome::Refused(refusal) => refusal.status == 404,
        osb::Outcome::Unsent(_) | osb::Outcome::Unknown(_) => false,
    };
    let mut status = view.status_copy();
    let reason = Reason::FetchingBindingFailed;
    let message = view.redactor().message("Fetching the binding failed", &why);
    if let Phase::Polling(awaited, since) = view.phase {
        if view.now >= polling_deadline(view, awaited, since) {
            let reasons = (reason, Reason::ErrorReconciliationRetryTimeout);
            return (vec![], Next::Record(failed_with_orphan(view, status, reasons, &message, false)));
        }
        // The next poll says again that the bind has succeeded, and another GET follows.
        memory.not_before = retry_after.and_then(|delay| view.now.checked_add(delay).ok());
        if should_record(view, reason, &message, memory) {
            status.set_condition(Ready, False, reason, &message, view.now);
        }
        return (vec![], Next::Record(status));
    }
    if secret::is_misshapen(view) {
        return (vec![], Next::Record(not_shaped(view, &message, retry_after)));
    }
    if gone {
        status.set_condition(Ready, False, reason, &message, view.now);
        return (vec![], Next::Record(start_mitigation(view, status, reason, &message, false)));
    }
    status.observed_generation = view.generation();
    let message = messages::with_next_try(&message, back_off(view, &mut status, retry_after));
    status.set_condition(Ready, False, reason, &message, view.now);
    (vec![], Next::Record(status))
}
