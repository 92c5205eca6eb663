//! The progress of an operation at the broker: the fields that the statuses of instances and bindings share.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    intent::Intent,
    schema::{self, is_false, is_zero, null_default},
};

// v0.3 has the first four. The others let another process continue the operation after a crash.
/// The progress of an operation at the broker. Its fields are part of the status itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The broker has accepted an asynchronous operation, and the operator polls it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub async_op_in_progress: bool,
    /// The operation string of the broker for polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<String>,
    /// When the current operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub operation_start_time: Option<Time>,
    /// The broker may hold an orphan, which the operator deletes before the next attempt.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub orphan_mitigation_in_progress: bool,
    /// The number of attempts that were cleaned up at the broker. Each attempt has an id of its own.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub attempt: i64,
    /// How often the current operation was tried without success.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub retries: i64,
    /// When the operator last recorded a request that changes something at the broker. It sends the request
    /// after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_attempt_time: Option<MicroTime>,
    /// The operator sends no request to the broker before this time, apart from polls of an operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_attempt_time: Option<MicroTime>,
    /// The outcome of an earlier request of the current operation is unknown. The request may have taken
    /// effect.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub unanswered: bool,
    /// How often the create of this attempt had no answer. After a few times the operator does not repeat it
    /// any more, and starts orphan mitigation.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub unanswered_tries: i64,
    /// Why the broker may hold an orphan, while the operator deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mitigation_cause: Option<String>,
    /// The time of the last intent (the annotation `servicecatalog.k8s.io/intent`) that this status takes into
    /// account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub observed_intent: Option<MicroTime>,
    /// The intent that the object carries, decoded. It is not part of the API.
    #[serde(skip)]
    pub intent: Option<Arc<Intent>>,
}

/// Whether the operator must deprovision or unbind at the broker when an object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionStatus {
    /// The operator has sent no request.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// No: the broker has nothing.
    NotRequired,
    /// Yes: the broker has something, or may have.
    Required,
    /// No: the broker has deleted it.
    Succeeded,
    /// v0.3 gave up. The operator tries again.
    Failed,
}

impl DeletionStatus {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(super) fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }
}

impl Progress {
    /// When the operation began. The Unix epoch if the status does not say it.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.operation_start_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// When the operator recorded the latest request. The begin of the operation if the status does not say
    /// it.
    #[must_use]
    pub fn sent(&self) -> Timestamp {
        self.last_attempt_time.as_ref().map_or_else(|| self.began(), |time| time.0)
    }

    /// The time before which the operator sends no request.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.next_attempt_time.as_ref().map(|time| time.0)
    }

    /// Records the time of a request. It differs from all earlier times, so the write changes the object and
    /// the API server rejects it if another process has written since.
    pub fn record_attempt(&mut self, now: Timestamp) {
        self.last_attempt_time = Some(self.intent_time(now));
        self.next_attempt_time = None;
    }

    /// The time of an intent that is recorded now. It is later than all earlier ones, even if the clock of another
    /// replica was ahead.
    #[must_use]
    pub fn intent_time(&self, now: Timestamp) -> MicroTime {
        let next =
            |time: &MicroTime| time.0.checked_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX);
        let known = [&self.last_attempt_time, &self.observed_intent];
        let latest = known.into_iter().flatten().map(next).max();
        MicroTime(latest.map_or(now, |latest| latest.max(now)))
    }

    /// Records that the same request is sent again, because its outcome is unknown.
    pub fn record_repetition(&mut self) {
        self.unanswered = true;
        self.retries += 1;
    }

    /// Records that a request has no answer.
    pub fn record_no_answer(&mut self) {
        self.unanswered = true;
        self.unanswered_tries += 1;
    }

    /// Records that no request is sent before `next`.
    pub fn back_off_until(&mut self, next: Timestamp) {
        self.next_attempt_time = Some(MicroTime(next));
    }

    /// Records that the request failed and is sent again at `next`.
    pub fn back_off(&mut self, next: Timestamp) {
        self.back_off_until(next);
        self.retries += 1;
    }

    /// Records that the broker has accepted the operation, with its operation string if it sent one. Polls
    /// begin.
    pub fn start_polling(&mut self, operation: Option<String>) {
        self.async_op_in_progress = true;
        self.last_operation = operation;
        self.next_attempt_time = None;
    }

    /// The same as [`Self::start_polling`] for the request of an attempt. The outcome of the requests before is known
    /// with it.
    pub fn operation_accepted(&mut self, operation: Option<String>) {
        self.start_polling(operation);
        self.retries = 0;
        self.unanswered = false;
        self.unanswered_tries = 0;
    }

    /// Ends the polls.
    pub fn stop_polling(&mut self) {
        self.async_op_in_progress = false;
        self.last_operation = None;
    }

    /// Begins another operation, with its own start time and number of retries.
    pub fn start_operation(&mut self, now: Timestamp) {
        self.operation_start_time = Some(Time(now));
        self.retries = 0;
    }

    /// Ends the operation. The number of attempts and the mitigation stay.
    pub fn finish_operation(&mut self) {
        let Self { orphan_mitigation_in_progress, attempt, .. } = *self;
        let mitigation_cause = self.mitigation_cause.take().filter(|_| orphan_mitigation_in_progress);
        *self = Self { orphan_mitigation_in_progress, attempt, mitigation_cause, ..self.with_intent_only() };
    }

    /// Begins the mitigation of an orphan, for this `cause`. If the outcome of a request is unknown, it may still take
    /// effect (`may_still_come`), so the operator waits until `not_before`.
    pub fn start_mitigation(&mut self, cause: &str, may_still_come: bool, not_before: Timestamp) {
        self.unanswered |= may_still_come;
        self.stop_polling();
        self.orphan_mitigation_in_progress = true;
        self.mitigation_cause = Some(cause.to_owned());
        self.next_attempt_time = self.unanswered.then_some(MicroTime(not_before));
    }

    /// Ends the mitigation: the broker has nothing of this attempt. The next attempt has another id. All
    /// attempts share the start time and the number of retries.
    pub fn finish_mitigation(&mut self) {
        *self = Self {
            attempt: self.attempt + 1,
            retries: self.retries,
            operation_start_time: self.operation_start_time.take(),
            ..self.with_intent_only()
        };
    }

    /// The intent belongs to the object, not to one operation.
    fn with_intent_only(&mut self) -> Self {
        Self { observed_intent: self.observed_intent.take(), intent: self.intent.take(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tried() -> Progress {
        let mut tried = Progress { attempt: 2, ..Progress::default() };
        tried.start_operation(at(1));
        tried.record_attempt(at(2));
        tried.start_polling(Some("op".into()));
        tried
    }

    #[test]
    fn an_operation_leaves_its_number_behind_and_nothing_else() {
        let mut ended = tried();
        ended.finish_operation();
        assert_eq!(ended, Progress { attempt: 2, ..Progress::default() });
        assert_eq!((ended.began(), ended.sent()), (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn only_what_was_never_answered_is_waited_for_before_it_is_undone() {
        let mut answered = tried();
        answered.start_mitigation("x", false, at(9));
        assert_eq!((answered.not_before(), answered.async_op_in_progress), (None, false));
        let mut unanswered = tried();
        unanswered.record_repetition();
        unanswered.start_mitigation("x", false, at(9));
        assert_eq!((unanswered.not_before(), unanswered.sent()), (Some(at(9)), at(2)));
    }

    #[test]
    fn all_attempts_share_their_time_and_pace() {
        let mut undone = tried();
        undone.back_off(at(3));
        undone.start_mitigation("x", false, at(9));
        undone.finish_mitigation();
        assert_eq!((undone.attempt, undone.retries, undone.began()), (3, 1, at(1)));
        assert_eq!(
            undone,
            Progress {
                attempt: 3,
                retries: 1,
                operation_start_time: Some(Time(at(1))),
                ..Progress::default()
            }
        );
    }
}
