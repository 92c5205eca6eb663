//! `docs/reference/compatibility.md`: each behaviour of v0.3 is matched, fixed or dropped, and a test stands for it.

use super::{V0_3, assert_once, assert_proved, tables};

const PAGE: &str = "docs/reference/compatibility.md";

/// The rows: number, what v0.3 did, what became of it, what is here.
fn rows() -> Vec<Vec<String>> {
    let header = ["no.", "in v0.3", "", "here"];
    tables(PAGE).into_iter().filter(|(columns, _)| columns == &header).flat_map(|(_, rows)| rows).collect()
}

#[test]
fn every_row_says_what_became_of_it() {
    for row in rows() {
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        assert!(matches!(&*row[2], "matched" | "fixed" | "dropped"), "{:?} says nothing: {row:?}", row[2]);
    }
}

#[test]
fn the_summary_counts_the_rows() {
    let (_, summary) = tables(PAGE).into_iter().find(|(header, _)| header[0] == "word").unwrap();
    for row in summary {
        let count = rows().iter().filter(|found| found[2] == row[0]).count();
        assert_eq!(row[2], count.to_string(), "rows that say {:?}", row[0]);
    }
}

#[test]
fn every_section_numbers_its_rows_without_a_gap() {
    let rows = rows();
    let sections = 'A'..='Q';
    let numbers = sections.flat_map(|section| {
        let count = rows.iter().filter(|row| row[0].starts_with(section)).count();
        (1..=count).map(move |number| format!("{section}{number}"))
    });
    assert_once(PAGE, numbers, rows.iter().map(|row| row[0].clone()));
}

#[test]
fn every_behaviour_has_a_test_and_every_number_in_a_test_is_one() {
    assert_proved(PAGE, V0_3, rows().into_iter().map(|row| row[0].clone()));
}
