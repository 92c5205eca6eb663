//! The pages that make promises are held to their word: every row is whole, and every test that one names is in the tree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are test code too")]

#[path = "pages/compatibility.rs"]
mod compatibility;
#[path = "pages/conformance.rs"]
mod conformance;

use std::{collections::BTreeMap, fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tables of a page: of each the header and the rows, as cells.
fn tables(page: &str) -> Vec<(Vec<String>, Vec<Vec<String>>)> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let cells = |line: &str| {
        let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let inner = inner.unwrap_or_else(|| panic!("{page}: not a row: {line}"));
        inner.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    let mut tables = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with('|') {
            continue;
        }
        let header = cells(line);
        let rule = lines.next().unwrap_or_default();
        assert!(rule.starts_with("| ---"), "{page}: no rule below {line}");
        let mut rows = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
            let row = cells(line);
            assert_eq!(row.len(), header.len(), "{page}: as many cells as the header has: {line}");
            rows.push(row);
        }
        tables.push((header, rows));
    }
    tables
}

/// The tests that a cell names, each in backquotes.
fn tests(cell: &str) -> Vec<String> {
    let named = |test: &str| {
        let name = test.trim().strip_prefix('`').and_then(|test| test.strip_suffix('`'));
        name.unwrap_or_else(|| panic!("not in backquotes: {test}")).to_owned()
    };
    cell.split(',').map(named).collect()
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

/// Every one of these tests, `path::name`, is in the tree.
fn assert_exist(page: &str, tests: impl Iterator<Item = String>) {
    let mut sources = BTreeMap::new();
    let mut missing = Vec::new();
    for test in tests {
        let (path, name) = test.split_once("::").unwrap_or((&test, ""));
        let read = || fs::read_to_string(root().join(path)).unwrap_or_default();
        let source: &String = sources.entry(path.to_owned()).or_insert_with(read);
        if !has_test(source, name) {
            missing.push(test);
        }
    }
    assert!(missing.is_empty(), "{page} names tests that do not exist:\n{}", missing.join("\n"));
}

/// Every one of these numbers is there, and once.
fn assert_once(page: &str, expected: impl Iterator<Item = String>, found: impl Iterator<Item = String>) {
    let mut seen = BTreeMap::<String, u32>::new();
    for number in found {
        *seen.entry(number).or_default() += 1;
    }
    for number in expected {
        let count = seen.remove(&number).unwrap_or_default();
        assert_eq!(count, 1, "{page}: rows with the number {number}");
    }
    assert!(seen.is_empty(), "{page}: no such numbers: {:?}", seen.keys());
}

/// The links of a page to other files, as they are written.
fn links(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target.to_owned());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

#[test]
fn a_name_in_a_comment_or_a_helper_is_no_test() {
    let source = "#[test]\nfn one() {}\nfn two() {}\n// fn three() {}\n#[tokio::test]\nasync fn four() {}\n";
    let found = ["one", "two", "three", "four", "fo"].map(|name| has_test(source, name));
    assert_eq!(found, [true, false, false, true, false]);
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    for page in [
        "README.md",
        "docs/architecture.md",
        "docs/compatibility.md",
        "docs/conformance.md",
        "docs/testing.md",
    ] {
        let folder = root().join(page).parent().unwrap().to_owned();
        for target in links(page) {
            let path = target.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{page}: {target}");
        }
    }
}
