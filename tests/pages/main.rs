//! The pages are held to their word: every row is whole and has a test, and every link leads somewhere.
//!
//! A test names the rows that it proves in a comment above it: `// OSB 27, 58` for `docs/reference/conformance.md`,
//! `// v0.3 A3, Q12` for `docs/reference/compatibility.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are test code too")]

mod compatibility;
mod conformance;
mod links;
mod lost_operations;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Before the numbers of requirements, in the comments above tests.
const OSB: &str = "// OSB ";
/// Before the numbers of behaviours of v0.3, likewise.
const V0_3: &str = "// v0.3 ";

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

/// Whether a text is the number of a row: `27`, `25a`, `Q12`.
fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(|first: char| first.is_ascii_uppercase());
    let rest = digits.trim_start_matches(|digit: char| digit.is_ascii_digit());
    text.len() - digits.len() <= 1
        && digits.len() > rest.len()
        && rest.chars().all(|letter| letter.is_ascii_lowercase())
}

/// The numbers of rows that the comments of a source name after a prefix: `// OSB 27, 58`. Each stands above a test.
fn numbers(source: &str, prefix: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(text) = line.strip_prefix(prefix) else { continue };
        if !text.split([',', ' ']).next().is_some_and(is_number) {
            continue;
        }
        let numbers: Vec<&str> = text.split(',').map(str::trim).collect();
        assert!(numbers.iter().all(|number| is_number(number)), "more than numbers: {line}");
        let mut below = lines[at..].iter().skip_while(|line| line.starts_with("//"));
        let is_test =
            below.next().is_some_and(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        assert!(is_test, "there is no test below: {line}");
        found.extend(numbers.into_iter().map(str::to_owned));
    }
    found
}

/// The sources of the product and of all tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = ["src", "tests", "testkit"].map(|folder| root().join(folder)).to_vec();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Each of these rows has a test that names it after the prefix, and each row that a test names is there.
fn assert_proved(page: &str, prefix: &str, rows: impl Iterator<Item = String>) {
    let mut unproved: BTreeSet<String> = rows.collect();
    let all = unproved.clone();
    for (path, source) in sources() {
        for number in numbers(&source, prefix) {
            assert!(all.contains(&number), "{}: {page} has no row {number}", path.display());
            unproved.remove(&number);
        }
    }
    assert!(unproved.is_empty(), "{page}: rows that no test names: {unproved:?}");
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

#[test]
fn numbers_count_above_tests() {
    let source = "// OSB 1, 25a\n// v0.3 Q12\n#[test]\nfn one() {}\n// OSB 2.17 says so\n/// two\n// OSB 3\n#[tokio::test]\n";
    assert_eq!(numbers(source, OSB), ["1", "25a", "3"]);
    assert_eq!(numbers(source, V0_3), ["Q12"]);
}

#[test]
#[should_panic = "there is no test below: // OSB 1"]
fn a_number_above_a_helper_is_a_mistake() {
    numbers("// OSB 1\nfn helper() {}\n", OSB);
}
