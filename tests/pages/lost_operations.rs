//! `docs/reference/lost-operations.md`: each row is whole, and names a test that exists.

use super::{sources, tables};

const PAGE: &str = "docs/reference/lost-operations.md";

#[test]
fn every_row_names_a_test() {
    let rows: Vec<_> = tables(PAGE).into_iter().flat_map(|(_, rows)| rows).collect();
    assert!(rows.len() > 10, "the table has been read");
    let sources = sources();
    let is_test = |name: &str| {
        let head = format!("fn {name}()");
        let is_marked = |before: &str| before.trim_end().trim_end_matches("async").trim_end().ends_with(']');
        sources
            .iter()
            .any(|(_, source)| source.split_once(&head).is_some_and(|(before, _)| is_marked(before)))
    };
    for row in rows {
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        let name = row.last().and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
        assert!(name.is_some_and(is_test), "no such test: {row:?}");
    }
}
