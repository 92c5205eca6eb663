//! `docs/reference/conformance.md`: each requirement of the protocol once, none without a test.

use super::{OSB, assert_once, assert_proved, tables};

const PAGE: &str = "docs/reference/conformance.md";

/// The last number; some that came later are between them.
const LAST: u32 = 160;

const NOT_FOLLOWED: &str = "Not followed";

const HEADER: [&str; 4] = ["no.", "kind", "the specification asks", "what we do"];

/// The requirements: number, kind, what is asked, what is done.
fn rows() -> Vec<Vec<String>> {
    tables(PAGE).into_iter().filter(|(header, _)| header == &HEADER).flat_map(|(_, rows)| rows).collect()
}

/// The rows of a kind that say so.
fn numbers(kind: &str, words: &str) -> Vec<String> {
    let rows = rows().into_iter().filter(|row| row[1] == kind && row[3].contains(words));
    rows.map(|row| row[0].clone()).collect()
}

#[test]
fn the_summary_counts_the_rows_and_names_those_that_are_not_followed() {
    let tables = tables(PAGE);
    let summary =
        |header: &str| &tables.iter().find(|(columns, _)| columns.last().unwrap() == header).unwrap().1;
    let not_followed: Vec<_> =
        ["M", "S", "O", "D", "X"].iter().flat_map(|kind| numbers(kind, NOT_FOLLOWED)).collect();
    let named: Vec<_> = summary("because").iter().map(|row| row[0].clone()).collect();
    assert_eq!(named, not_followed, "rows that are not followed");
    for row in summary("does not apply") {
        let all = numbers(&row[0], "").len();
        let counts = [all, numbers(&row[0], NOT_FOLLOWED).len(), numbers(&row[0], "Does not apply").len()];
        assert_eq!(row[2..], counts.map(|count| count.to_string()), "rows of the kind {}", row[0]);
    }
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
fn every_requirement_has_a_test_and_every_number_in_a_test_is_one() {
    assert_proved(PAGE, OSB, rows().into_iter().map(|row| row[0].clone()));
}
