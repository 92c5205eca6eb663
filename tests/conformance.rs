//! `docs/conformance.md` is held to its word: each requirement of the protocol once, none without a test, and each test
//! that it names in the tree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are test code too")]

use std::{collections::BTreeMap, fs, path::Path};

const PAGE: &str = "docs/conformance.md";

/// The last number; `25a` is beside them.
const LAST: u32 = 160;

/// One requirement.
struct Row {
    number: String,
    /// `path::name`, at least one.
    tests: Vec<String>,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let numbered = |line: &&str| {
        line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    page.lines().filter(numbered).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [number, kind, asked, done, tests] = cells[..] else { panic!("not five cells: {line}") };
    assert!(!asked.is_empty() && !done.is_empty(), "an empty cell: {line}");
    assert!(matches!(kind, "M" | "S" | "O" | "D" | "X"), "{kind:?} is no kind: {line}");
    let named = |test: &str| {
        let name = test.trim().strip_prefix('`').and_then(|test| test.strip_suffix('`'));
        name.unwrap_or_else(|| panic!("not in backquotes: {test}: {line}")).to_owned()
    };
    Row { number: number.to_owned(), tests: tests.split(',').map(named).collect() }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a file has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let is_test = |at: usize| {
        let mut above =
            lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    lines.iter().enumerate().any(|(at, line)| {
        (line.starts_with(&head) || line.starts_with(&format!("async {head}"))) && is_test(at)
    })
}

#[test]
fn every_requirement_has_one_row() {
    let mut seen = BTreeMap::<String, u32>::new();
    for row in rows() {
        *seen.entry(row.number).or_default() += 1;
    }
    let numbers = (1..=LAST).map(|number| number.to_string()).chain(["25a", "25b", "40a"].map(str::to_owned));
    for number in numbers {
        let count = seen.remove(&number).unwrap_or_default();
        assert_eq!(count, 1, "{PAGE}: rows of requirement {number}");
    }
    assert!(seen.is_empty(), "{PAGE}: no such requirements: {:?}", seen.keys());
}

#[test]
fn every_test_that_is_named_exists() {
    let mut missing = Vec::new();
    for row in rows() {
        for test in &row.tests {
            let (path, name) = test.split_once("::").unwrap_or((test, ""));
            let source = fs::read_to_string(root().join(path)).unwrap_or_default();
            if !has_test(&source, name) {
                missing.push(format!("{}: {test}", row.number));
            }
        }
    }
    assert!(missing.is_empty(), "{PAGE} names tests that do not exist:\n{}", missing.join("\n"));
}
