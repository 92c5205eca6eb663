//! Conditions, in the shape and the order of the original.
//!
//! `svcat` and the print columns read the *last* element of the list, and many a script reads the first, so order matters:
//! `Ready` first, then `Failed`, then `OrphanMitigation`. `Stalled`, which the original does not have, stands between
//! `Ready` and the `Failed` that it repeats, and so is neither the first nor the last.

use std::fmt::Display;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{self, is_zero, null_default};

/// What a condition is about. The order of the variants is the order in the list.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ConditionType {
    /// The object is as its spec asks.
    Ready,
    /// The same as `Failed`, under the name by which programs that know no kind (kstatus) look for it.
    Stalled,
    /// Nothing more will be tried until the spec changes.
    Failed,
    /// The broker may hold something that it should not; it is being removed.
    OrphanMitigation,
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

/// One condition of an object.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Stalled`, `Failed` or `OrphanMitigation`.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// The generation of the object that this was found of. What it says of an older one may have changed since.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_transition_time: Option<Time>,
    /// A word for programs.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Sets a condition and keeps `lastTransitionTime` unless the status changes. Pure.
pub fn set(
    conditions: &mut Vec<Condition>,
    (type_, status): (ConditionType, ConditionStatus),
    reason: &str,
    message: &str,
    observed_generation: i64,
    at: &Time,
) {
    let since = conditions
        .iter()
        .find(|c| c.type_ == type_ && c.status == status)
        .and_then(|c| c.last_transition_time.clone());
    conditions.retain(|c| c.type_ != type_);
    conditions.push(Condition {
        type_,
        status,
        observed_generation,
        last_transition_time: Some(since.unwrap_or_else(|| at.clone())),
        reason: reason.to_owned(),
        message: message.to_owned(),
    });
    repeat_failure(conditions);
}

/// Removes a condition.
pub fn clear(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|c| c.type_ != type_);
    repeat_failure(conditions);
}

/// `Stalled` is there while `Failed` is true, and says the same. Puts all in order.
fn repeat_failure(conditions: &mut Vec<Condition>) {
    conditions.retain(|c| c.type_ != ConditionType::Stalled);
    let failed = find(conditions, ConditionType::Failed).filter(|c| c.status == ConditionStatus::True);
    if let Some(failed) = failed.cloned() {
        conditions.push(Condition { type_: ConditionType::Stalled, ..failed });
    }
    conditions.sort_by_key(|c| c.type_);
}

/// The condition of this type, if there is one.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether the condition of this type is there and true.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == ConditionStatus::True)
}

/// `lastConditionState`: the type of the last condition if it is true, else its reason (the original's print column).
#[must_use]
pub fn summary(conditions: &[Condition]) -> String {
    conditions.last().map_or_else(String::new, |last| match last.status {
        ConditionStatus::True => format!("{:?}", last.type_),
        ConditionStatus::False | ConditionStatus::Unknown => last.reason.clone(),
    })
}

/// A status with conditions and the summary that the print column shows.
pub trait Conditioned {
    /// Both of them.
    fn parts(&mut self) -> (&mut Vec<Condition>, &mut String);

    /// The generation of the spec that was last acted on; below 1 when none was.
    fn observed_generation(&self) -> i64;

    /// Sets a condition, and the summary with it: something is found of the spec that was last acted on.
    fn mark(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: impl Display,
        message: &str,
        now: Timestamp,
    ) {
        let generation = self.observed_generation().max(0);
        let (conditions, shown) = self.parts();
        set(conditions, (type_, status), &reason.to_string(), message, generation, &Time(now));
        *shown = summary(conditions);
    }

    /// Says of this generation what the conditions say already.
    fn confirm(&mut self, generation: i64) {
        for condition in self.parts().0 {
            condition.observed_generation = generation;
        }
    }

    /// Removes a condition, and brings the summary up to date.
    fn unmark(&mut self, type_: ConditionType) {
        let (conditions, shown) = self.parts();
        clear(conditions, type_);
        *shown = summary(conditions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let mut conditions = vec![];
        set(&mut conditions, (ConditionType::Ready, ConditionStatus::False), "A", "a", 1, &at(1));
        set(&mut conditions, (ConditionType::Ready, ConditionStatus::False), "B", "b", 2, &at(2));
        assert_eq!(conditions[0].last_transition_time, Some(at(1)));
        assert_eq!(conditions[0].reason, "B");
        assert_eq!(conditions[0].observed_generation, 2);
        set(&mut conditions, (ConditionType::Ready, ConditionStatus::True), "C", "c", 3, &at(3));
        assert_eq!(conditions[0].last_transition_time, Some(at(3)));
    }

    fn types(conditions: &[Condition]) -> Vec<ConditionType> {
        conditions.iter().map(|c| c.type_).collect()
    }

    #[test]
    fn what_has_failed_is_stalled_and_stalled_is_neither_the_first_nor_the_last() {
        use ConditionType::{Failed, OrphanMitigation, Ready, Stalled};
        let mut conditions = vec![];
        for (type_, wanted) in [
            (OrphanMitigation, &[OrphanMitigation][..]),
            (Ready, &[Ready, OrphanMitigation]),
            (Failed, &[Ready, Stalled, Failed, OrphanMitigation]),
        ] {
            set(&mut conditions, (type_, ConditionStatus::True), "Broken", "words", 3, &at(7));
            assert_eq!(types(&conditions), wanted);
        }
        let stalled = find(&conditions, Stalled).unwrap().clone();
        assert_eq!(Condition { type_: Failed, ..stalled }, *find(&conditions, Failed).unwrap());
        clear(&mut conditions, OrphanMitigation);
        assert_eq!(types(&conditions), [Ready, Stalled, Failed]);
        set(&mut conditions, (Failed, ConditionStatus::False), "Mended", "", 4, &at(8));
        assert_eq!(types(&conditions), [Ready, Failed]);
        set(&mut conditions, (Failed, ConditionStatus::True), "Broken", "", 5, &at(9));
        clear(&mut conditions, Failed);
        assert_eq!(types(&conditions), [Ready]);
    }

    #[test]
    fn ready_comes_first_and_the_last_one_is_the_summary() {
        let mut conditions = vec![];
        assert_eq!(summary(&conditions), "");
        set(&mut conditions, (ConditionType::Failed, ConditionStatus::True), "Broken", "", 1, &at(1));
        set(&mut conditions, (ConditionType::Ready, ConditionStatus::False), "Waiting", "", 1, &at(1));
        assert_eq!(types(&conditions), [ConditionType::Ready, ConditionType::Stalled, ConditionType::Failed]);
        assert_eq!(summary(&conditions), "Failed");
        clear(&mut conditions, ConditionType::Failed);
        assert_eq!(summary(&conditions), "Waiting");
    }
}
