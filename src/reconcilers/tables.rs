//! Tables as text, for the tests: what is expected stands beside the test, one row a line.

pub use testkit::tables::assert_table;

use kube::core::object::HasStatus;
use serde::{Serialize, de::DeserializeOwned};

use super::reconciler::ObjectPatch;
use crate::crd::{Condition, ConditionStatus, ConditionType, condition, scope::Object};

/// Adds a row to those with the same result.
pub fn gather<'a>(rows: &mut Vec<(String, Vec<&'a str>)>, result: String, row: &'a str) {
    match rows.iter_mut().find(|(known, _)| *known == result) {
        Some((_, same)) => same.push(row),
        None => rows.push((result, vec![row])),
    }
}

/// The conditions that a table shows: all but `Stalled`, which says what `Failed` says, and only while it is true.
pub fn shown(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    let failed = condition::find(conditions, ConditionType::Failed);
    let failed = failed.filter(|failed| failed.status == ConditionStatus::True).cloned();
    let repeated = failed.map(|failed| Condition { type_: ConditionType::Stalled, ..failed });
    assert_eq!(condition::find(conditions, ConditionType::Stalled), repeated.as_ref(), "{conditions:?}");
    conditions.iter().filter(|condition| condition.type_ != ConditionType::Stalled)
}

/// What the API server makes of a patch of an object, as the operator reads it. The status comes from the annotation.
pub fn patched<K>(object: &K, ObjectPatch { patch, status }: &ObjectPatch<K::Status>) -> K
where
    K: Object + HasStatus<Status: Serialize + DeserializeOwned>,
{
    let mut persisted = object.clone();
    if let Some(status) = object.persisted_status() {
        *persisted.status_mut() = Some(serde_json::from_value(status.clone()).unwrap());
    }
    let written = testkit::objects::patched(&persisted, patch).complete();
    let shown = |status: Option<&K::Status>| serde_json::to_value(status).unwrap();
    assert_eq!(shown(written.status()), shown(Some(status)), "the annotation does not hold the whole intent");
    written
}
