//! Tables as text, for the tests: what is expected stands beside the test, one row a line.

pub use testkit::tables::assert_table;

use crate::crd::{Condition, ConditionStatus, ConditionType, condition};

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
