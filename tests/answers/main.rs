//! What every answer to every request means, as a table that people can review (`table.txt`), and the proof that the code
//! does just that: each cell is driven through the classification of the answer and through the machine that asked.
//!
//! [`answer`]: the answers of a broker, as they come off the wire. [`drive`]: brings an object to where a request is
//! due, lets it be answered, and reads the verdict off the status.

// What the tests share is no test itself, and may panic as they do.
#![allow(clippy::panic)]

mod answer;
mod bindings;
mod drive;
mod instances;

use std::collections::HashSet;

use answer::{ANSWERS, Answer};
use drive::Verdict;
use service_catalog::osb::Operation;
use testkit::tables::assert_table;

const TABLE: &str = include_str!("table.txt");

/// The operations of the protocol, under the names that they have in the table.
const OPERATIONS: [&str; 10] = [
    "catalog",
    "provision",
    "update",
    "deprovision",
    "get instance",
    "poll instance",
    "bind",
    "unbind",
    "get binding",
    "poll binding",
];

/// One row: what an answer to an operation means.
struct Row<'a> {
    operation: &'a str,
    answer: &'a str,
    /// Fresh, and after an ambiguous attempt.
    verdicts: [Verdict; 2],
    why: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    TABLE.lines().filter(|line| is_row(line)).map(row).collect()
}

fn is_row(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

fn row(line: &str) -> Row<'_> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [operation, answer, fresh, ambiguous, why] = fields[..] else { panic!("not five fields: {line}") };
    assert!(!why.is_empty(), "{operation}: {answer}: why?");
    let verdict = |text| Verdict::parse(text).unwrap_or_else(|| panic!("{text:?} is no verdict: {line}"));
    Row { operation, answer, verdicts: [verdict(fresh), verdict(ambiguous)], why }
}

/// What the code makes of a cell.
fn verdict(operation: &str, answer: &str, ambiguous: bool) -> Verdict {
    let (name, variant) = operation.split_once(" (").unwrap_or((operation, ""));
    let of = |operation| Answer::new(operation, answer);
    match name {
        "catalog" => drive::catalog(&of(Operation::Catalog), ambiguous),
        "get instance" => instances::fetch(&of(Operation::GetInstance), ambiguous),
        "provision" => instances::provision(&of(Operation::Provision), ambiguous),
        "update" => instances::update(&of(Operation::Update), ambiguous),
        "deprovision" => instances::deprovision(variant, &of(Operation::Deprovision), ambiguous),
        "poll instance" => instances::poll(variant, &of(Operation::PollInstance), ambiguous),
        "bind" => bindings::bind(&of(Operation::Bind), ambiguous),
        "unbind" => bindings::unbind(variant, &of(Operation::Unbind), ambiguous),
        "get binding" => bindings::fetch(variant, &of(Operation::GetBinding), ambiguous),
        "poll binding" => bindings::poll(variant, &of(Operation::PollBinding), ambiguous),
        other => panic!("{other:?} is no operation"),
    }
}

#[test]
fn the_table_has_every_answer_to_every_operation_once() {
    let mut seen = HashSet::new();
    for row in rows() {
        assert!(seen.insert((row.operation, row.answer)), "twice: {} | {}", row.operation, row.answer);
    }
    for operation in OPERATIONS {
        for answer in ANSWERS {
            assert!(seen.contains(&(operation, answer)), "missing: {operation} | {answer}");
        }
    }
}

// OSB 2, 13, 18, 21, 27, 28, 32, 34, 59, 60, 61, 67, 68, 69, 70, 74, 76, 79, 81, 90, 91, 92, 98, 99, 108
// OSB 109, 112, 120, 121, 122, 123, 135, 136, 139, 140, 144, 145, 149, 150
// v0.3 P5
#[test]
fn every_answer_means_what_the_table_says() {
    let mut table = String::new();
    for line in TABLE.lines() {
        let line = if is_row(line) { played(line) } else { line.to_owned() };
        table.extend([&line, "\n"]);
    }
    assert_table(&table, TABLE);
}

/// A row with what the code makes of it.
fn played(line: &str) -> String {
    let Row { operation, answer, why, .. } = row(line);
    let [fresh, ambiguous] = [false, true].map(|ambiguous| verdict(operation, answer, ambiguous).name());
    format!("{operation:<26} | {answer:<24} | {fresh:<8} | {ambiguous:<8} | {why}")
}

// OSB 148
// v0.3 Q12
#[test]
fn what_a_create_may_have_left_is_owed_a_delete() {
    for row in rows() {
        let owed: fn(&Answer, bool) -> bool = match row.operation {
            "provision" => instances::is_owed,
            "bind" => bindings::is_owed,
            _ => continue,
        };
        let operation = if row.operation == "bind" { Operation::Bind } else { Operation::Provision };
        let answer = Answer::new(operation, row.answer);
        assert!(owed(&answer, true), "{} | {}: forgets an earlier attempt", row.operation, row.answer);
        // A refusal, or a request that was not sent, leaves nothing; a 200 that cannot be read and no answer are no
        // refusals.
        let is_lost = ["reset", "stalled"].iter().any(|lost| row.answer.starts_with(lost));
        let nothing = match row.verdicts[0] {
            Verdict::Terminal => true,
            Verdict::Retry | Verdict::Wait => !row.answer.starts_with('2') && !is_lost,
            Verdict::Success | Verdict::Mitigate | Verdict::Keep => false,
        };
        assert_eq!(owed(&answer, false), !nothing, "{} | {}", row.operation, row.answer);
    }
}
