//! How far the work on an instance or a binding is at its broker: the part of the two statuses that is the same.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{self, is_false, is_zero, null_default};

// The first four are the original's; the others are what recovery needs beside them.
/// How far the work at the broker is. Its members stand in the status itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The broker accepted an operation and is being polled.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub async_op_in_progress: bool,
    /// What the broker calls the operation that is being polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<String>,
    /// When the current operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub operation_start_time: Option<Time>,
    /// The broker may hold something that must be removed before another attempt.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub orphan_mitigation_in_progress: bool,
    /// How many ids were used up by attempts that had to be cleaned up.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub attempt: i64,
    /// How often the current operation has been tried without success.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub retries: i64,
    /// When the latest request that changes something at the broker was recorded, just before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_attempt_time: Option<MicroTime>,
    /// The broker is not asked again before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_attempt_time: Option<MicroTime>,
    /// An earlier request of the current operation was never conclusively answered: it may have taken effect.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub unanswered: bool,
}

impl Progress {
    /// When the operation began; long ago if nobody has said.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.operation_start_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// When the latest request was recorded.
    #[must_use]
    pub fn sent(&self) -> Timestamp {
        self.last_attempt_time.as_ref().map_or_else(|| self.began(), |time| time.0)
    }

    /// Before when the broker is not asked again.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.next_attempt_time.as_ref().map(|time| time.0)
    }

    /// Records the moment of a request. It differs from every earlier one, so the write is never empty and always a fence.
    pub fn stamp(&mut self, now: Timestamp) {
        self.last_attempt_time = Some(MicroTime(now));
        self.next_attempt_time = None;
    }

    /// The request on record is sent once more, since nobody knows whether it was carried out.
    pub fn repeat(&mut self) {
        self.unanswered = true;
        self.retries += 1;
    }

    /// The broker is not asked again before `next`.
    pub fn wait(&mut self, next: Timestamp) {
        self.next_attempt_time = Some(MicroTime(next));
    }

    /// The request came to nothing and is sent again `next`.
    pub fn postpone(&mut self, next: Timestamp) {
        self.wait(next);
        self.retries += 1;
    }

    /// The broker has accepted the operation, under a name of its own perhaps: it is polled from now on.
    pub fn poll(&mut self, operation: Option<String>) {
        self.async_op_in_progress = true;
        self.last_operation = operation;
        self.next_attempt_time = None;
    }

    /// As [`Self::poll`], for what an attempt has asked for: with that, no doubt is left of the requests before.
    pub fn accept(&mut self, operation: Option<String>) {
        self.poll(operation);
        self.retries = 0;
        self.unanswered = false;
    }

    /// It is polled no more.
    pub fn stop_polling(&mut self) {
        self.async_op_in_progress = false;
        self.last_operation = None;
    }

    /// Another operation begins, with its own time and tries.
    pub fn begin(&mut self, now: Timestamp) {
        self.operation_start_time = Some(Time(now));
        self.retries = 0;
    }

    /// The operation has come to its end.
    pub fn end(&mut self) {
        let Self { orphan_mitigation_in_progress, attempt, .. } = *self;
        *self = Self { orphan_mitigation_in_progress, attempt, ..Self::default() };
    }

    /// What the attempt may have left must be deleted before anything else is tried: `not_before` this time if its request, or
    /// one before it, was never answered, as it `may_still_come` to take effect.
    pub fn undo(&mut self, may_still_come: bool, not_before: Timestamp) {
        self.unanswered |= may_still_come;
        self.stop_polling();
        self.orphan_mitigation_in_progress = true;
        self.next_attempt_time = self.unanswered.then_some(MicroTime(not_before));
    }

    /// What the attempt may have left is gone: the next one has another id, and begins afresh but for the time that all of
    /// them may take together and the pace at which they follow each other.
    pub fn undone(&mut self) {
        *self = Self {
            attempt: self.attempt + 1,
            retries: self.retries,
            operation_start_time: self.operation_start_time.take(),
            ..Self::default()
        };
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
        tried.begin(at(1));
        tried.stamp(at(2));
        tried.poll(Some("op".into()));
        tried
    }

    #[test]
    fn an_operation_leaves_its_number_behind_and_nothing_else() {
        let mut ended = tried();
        ended.end();
        assert_eq!(ended, Progress { attempt: 2, ..Progress::default() });
        assert_eq!((ended.began(), ended.sent()), (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn only_what_was_never_answered_is_waited_for_before_it_is_undone() {
        let mut answered = tried();
        answered.undo(false, at(9));
        assert_eq!((answered.not_before(), answered.async_op_in_progress), (None, false));
        let mut unanswered = tried();
        unanswered.repeat();
        unanswered.undo(false, at(9));
        assert_eq!((unanswered.not_before(), unanswered.sent()), (Some(at(9)), at(2)));
    }

    #[test]
    fn all_attempts_share_their_time_and_pace() {
        let mut undone = tried();
        undone.postpone(at(3));
        undone.undo(false, at(9));
        undone.undone();
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
