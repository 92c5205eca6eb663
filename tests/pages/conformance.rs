//! `docs/conformance.md`: each requirement of the protocol once, none without a test.

use super::{assert_exist, assert_once, tables, tests};

const PAGE: &str = "docs/conformance.md";

/// The last number; some that came later are between them.
const LAST: u32 = 160;

const HEADER: [&str; 5] = ["no.", "kind", "the specification asks", "what we do", "test"];

/// The requirements: number, kind, what is asked, what is done, tests.
fn rows() -> Vec<Vec<String>> {
    let numbered = tables(PAGE).into_iter().filter(|(header, _)| header[0] == HEADER[0]);
    numbered
        .flat_map(|(header, rows)| {
            assert_eq!(header, HEADER);
            rows
        })
        .collect()
}

#[test]
fn every_requirement_has_one_row() {
    let between = ["25a", "25b", "40a"].map(str::to_owned);
    let numbers = (1..=LAST).map(|number| number.to_string()).chain(between);
    assert_once(PAGE, numbers, rows().into_iter().map(|row| row[0].clone()));
}

#[test]
fn every_row_is_whole() {
    for row in rows() {
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        assert!(matches!(&*row[1], "M" | "S" | "O" | "D" | "X"), "{:?} is no kind: {row:?}", row[1]);
    }
}

#[test]
fn every_test_that_is_named_exists() {
    assert_exist(PAGE, rows().iter().flat_map(|row| tests(&row[4])));
}
