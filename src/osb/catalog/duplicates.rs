//! Entries with the same id or name. It is unknown which of them is meant, so all of them are left out. Pure.

use std::collections::BTreeMap;

use super::problems::Findings;

/// An entry that was read. Whether it can be offered also depends on the others.
pub(super) struct CheckedEntry<T> {
    /// Where the entry is: `services[2] "redis": plans[0]`.
    pub place: String,
    pub id: Option<String>,
    pub name: Option<String>,
    /// None if the entry has a fault.
    pub value: Option<T>,
}

/// Leaves out all entries whose id another entry has too.
pub(super) fn leave_out_same_ids<T>(entries: Vec<&mut CheckedEntry<T>>, findings: &mut Findings<'_>) {
    leave_out(entries, "id", |entry| entry.id.as_deref(), findings);
}

/// Leaves out all entries whose name another entry has too. The comparison is case-sensitive.
pub(super) fn leave_out_same_names<T>(entries: Vec<&mut CheckedEntry<T>>, findings: &mut Findings<'_>) {
    leave_out(entries, "name", |entry| entry.name.as_deref(), findings);
}

/// Entries with other faults count too: they also have an id and a name.
fn leave_out<T>(
    mut entries: Vec<&mut CheckedEntry<T>>,
    field: &str,
    claim: fn(&CheckedEntry<T>) -> Option<&str>,
    findings: &mut Findings<'_>,
) {
    let mut claims: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(value) = claim(entry) {
            claims.entry(value).or_default().push(index);
        }
    }
    let mut duplicates = Vec::new();
    for (value, claimants) in claims {
        if let [first, second, ..] = claimants[..] {
            let value = findings.quoted(value);
            for index in claimants {
                let other = &entries[if index == first { second } else { first }].place;
                duplicates.push((index, format!("{field} {value} is also that of {other}")));
            }
        }
    }
    duplicates.sort_unstable();
    for (index, message) in duplicates {
        findings.skipped.push(&entries[index].place, message);
        entries[index].value = None;
    }
}
