//! The rows of the table, and those of them that are played.

use std::collections::BTreeMap;

const TABLE: &str = include_str!("../../answers/table.txt");

/// A broker that others are talking to cannot refuse the connection of one; `tests/cluster/deletion.rs` and
/// `tests/crash` have brokers that are down.
pub const UNPLAYED: [&str; 1] = ["refused"];

/// What an answer to an operation means.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub operation: &'static str,
    pub answer: &'static str,
    /// Fresh, and after an ambiguous attempt.
    pub verdicts: [&'static str; 2],
}

/// All rows.
pub fn rows() -> Vec<Row> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(row).collect()
}

fn row(line: &'static str) -> Row {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [operation, answer, fresh, ambiguous, _] = fields[..] else { panic!("not five fields: {line}") };
    Row { operation, answer, verdicts: [fresh, ambiguous] }
}

/// One row for each outcome of each operation. Of those that are the same in this, the one whose answer was chosen least
/// often so far; and one for each answer that had no turn then.
pub fn representatives() -> Vec<Row> {
    let playable = || rows().into_iter().filter(|row| !UNPLAYED.contains(&row.answer));
    let mut outcomes: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for row in playable() {
        outcomes.entry((row.operation, row.verdicts)).or_default().push(row);
    }
    // Those that have no choice are first.
    let mut outcomes: Vec<Vec<Row>> = outcomes.into_values().collect();
    outcomes.sort_by_key(Vec::len);
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    for rows in outcomes {
        let turns_of = |row: &Row| turns.get(row.answer).copied().unwrap_or_default();
        if let Some(row) = rows.into_iter().min_by_key(turns_of) {
            *turns.entry(row.answer).or_default() += 1;
            chosen.push(row);
        }
    }
    for row in playable() {
        if turns.insert(row.answer, 1).is_none() {
            chosen.push(row);
        }
    }
    chosen
}
