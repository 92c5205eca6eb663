//! Conditions, in the shape and the order of v0.3.
//!
//! The order matters, because `svcat` and the columns of kubectl read the last condition of the list, and
//! scripts read the first: `Ready`, then `Failed`, then `OrphanMitigation`. `Stalled`, which v0.3 does not
//! have, repeats `Failed` and stands before it, so it is neither the first nor the last.

use std::fmt::Display;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{self, is_zero, null_default};

/// The type of a condition. The order of the variants is the order in the list.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ConditionType {
    /// The object is in the state that its spec asks for.
    Ready,
    /// The same as `Failed`, under the name that programs like kstatus know.
    Stalled,
    /// The operator tries nothing more until the spec changes.
    Failed,
    /// The broker may hold an orphan, which the operator deletes (OSB 2.17, "Orphan Mitigation").
    OrphanMitigation,
}

impl ConditionType {
    /// The type as it stands in a condition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Stalled => "Stalled",
            Self::Failed => "Failed",
            Self::OrphanMitigation => "OrphanMitigation",
        }
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// The condition is true.
    True,
    /// The condition is false.
    False,
    /// The operator does not know.
    Unknown,
}

impl ConditionStatus {
    /// The status as it stands in a condition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
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
    /// The generation of the object that the condition is about.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// When the status of the condition last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_transition_time: Option<Time>,
    /// The reason as one word, for programs.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The reason as a text, for people.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Sets a condition. `lastTransitionTime` changes only with the status.
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

/// Removes the condition of this type.
pub fn remove(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|c| c.type_ != type_);
    repeat_failure(conditions);
}

/// Repeats a true `Failed` as `Stalled`, and sorts the conditions.
fn repeat_failure(conditions: &mut Vec<Condition>) {
    conditions.retain(|c| c.type_ != ConditionType::Stalled);
    let failed = find(conditions, ConditionType::Failed).filter(|c| c.status == ConditionStatus::True);
    if let Some(failed) = failed.cloned() {
        conditions.push(Condition { type_: ConditionType::Stalled, ..failed });
    }
    conditions.sort_by_key(|c| c.type_);
}

/// The condition of this type.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether there is a condition of this type and its status is true.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == ConditionStatus::True)
}

/// The value of `lastConditionState`: the type of the last condition if it is true, else its reason. v0.3
/// shows the same.
#[must_use]
pub fn summary(conditions: &[Condition]) -> String {
    conditions.last().map_or_else(String::new, |last| match last.status {
        ConditionStatus::True => last.type_.name().to_owned(),
        ConditionStatus::False | ConditionStatus::Unknown => last.reason.clone(),
    })
}

/// A status with conditions and `lastConditionState`.
pub trait Conditioned {
    /// The conditions and `lastConditionState`.
    fn conditions_mut(&mut self) -> (&mut Vec<Condition>, &mut String);

    /// The generation of the spec that the operator last acted on. Below 1 before the first time.
    fn observed_generation(&self) -> i64;

    /// Sets a condition about the generation that the operator last acted on, and updates
    /// `lastConditionState`.
    fn set_condition(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: impl Display,
        message: &str,
        now: Timestamp,
    ) {
        let generation = self.observed_generation().max(0);
        let (conditions, shown) = self.conditions_mut();
        set(conditions, (type_, status), &reason.to_string(), message, generation, &Time(now));
        *shown = summary(conditions);
    }

    /// Sets `observedGeneration` of all conditions: what they say is true for this generation too.
    fn set_conditions_generation(&mut self, generation: i64) {
        for condition in self.conditions_mut().0 {
            condition.observed_generation = generation;
        }
    }

    /// Adds the `Stalled` that v0.3 does not write beside a true `Failed`.
    fn complete_conditions(&mut self) {
        let (conditions, shown) = self.conditions_mut();
        if is_true(conditions, ConditionType::Failed) && find(conditions, ConditionType::Stalled).is_none() {
            repeat_failure(conditions);
            *shown = summary(conditions);
        }
    }

    /// Removes a condition and updates `lastConditionState`.
    fn remove_condition(&mut self, type_: ConditionType) {
        let (conditions, shown) = self.conditions_mut();
        remove(conditions, type_);
        *shown = summary(conditions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    // v0.3 A13
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

    // v0.3 A12
    #[test]
    fn a_failed_object_is_stalled_and_stalled_is_neither_the_first_nor_the_last() {
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
        remove(&mut conditions, OrphanMitigation);
        assert_eq!(types(&conditions), [Ready, Stalled, Failed]);
        set(&mut conditions, (Failed, ConditionStatus::False), "Mended", "", 4, &at(8));
        assert_eq!(types(&conditions), [Ready, Failed]);
        set(&mut conditions, (Failed, ConditionStatus::True), "Broken", "", 5, &at(9));
        remove(&mut conditions, Failed);
        assert_eq!(types(&conditions), [Ready]);
    }

    // v0.3 A11
    #[test]
    fn ready_comes_first_and_the_last_one_is_the_summary() {
        let mut conditions = vec![];
        assert_eq!(summary(&conditions), "");
        set(&mut conditions, (ConditionType::Failed, ConditionStatus::True), "Broken", "", 1, &at(1));
        set(&mut conditions, (ConditionType::Ready, ConditionStatus::False), "Waiting", "", 1, &at(1));
        assert_eq!(types(&conditions), [ConditionType::Ready, ConditionType::Stalled, ConditionType::Failed]);
        assert_eq!(summary(&conditions), "Failed");
        remove(&mut conditions, ConditionType::Failed);
        assert_eq!(summary(&conditions), "Waiting");
    }
}
