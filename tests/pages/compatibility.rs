//! `docs/compatibility.md`: each behaviour of the original is matched, fixed, dropped or to come, and a test stands for it.

use super::{assert_exist, assert_once, tables, tests};

const PAGE: &str = "docs/compatibility.md";

/// How many defects of the original there are.
const DEFECTS: u32 = 60;

/// One behaviour.
struct Row {
    /// Of a defect.
    number: Option<String>,
    verdict: String,
    tests: String,
}

fn rows() -> Vec<Row> {
    let mut found = Vec::new();
    for (header, rows) in tables(PAGE) {
        let numbered = header[0] == "no.";
        let columns: Vec<&str> = header.iter().skip(usize::from(numbered)).map(|cell| &**cell).collect();
        if columns[0] != "in the original" {
            continue;
        }
        assert_eq!(columns, ["in the original", "", "here", "test"]);
        for row in rows {
            assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
            let (number, rest) = row.split_at(usize::from(numbered));
            let [_, verdict, _, tests] = rest else { panic!("not four cells: {row:?}") };
            let number = number.first().cloned();
            found.push(Row { number, verdict: verdict.clone(), tests: tests.clone() });
        }
    }
    found
}

#[test]
fn every_row_says_what_became_of_it() {
    let words = ["matched", "fixed", "dropped", "not yet"];
    for Row { verdict, tests, .. } in rows() {
        assert!(words.contains(&&*verdict), "{verdict:?} is none of {words:?}");
        assert!(tests != "-" || verdict == "not yet", "only what is to come may have no test: {verdict}");
    }
    assert!(rows().len() > 150, "rows are missing: {}", rows().len());
}

#[test]
fn every_defect_has_one_row() {
    let numbers = (1..=DEFECTS).map(|number| number.to_string());
    assert_once(PAGE, numbers, rows().into_iter().filter_map(|row| row.number));
}

#[test]
fn every_test_that_is_named_exists() {
    let named = rows().into_iter().filter(|row| row.tests != "-");
    assert_exist(PAGE, named.flat_map(|row| tests(&row.tests)));
}
