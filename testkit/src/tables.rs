//! Tables as text beside the tests: what is expected, one row a line.

use std::{
    env, fs,
    panic::Location,
    path::{Path, PathBuf},
};

use crate::repository;

/// Compares a table with the text of a file in the folder of the calling test: row by row, in order. With
/// `UPDATE_TABLES=1` the file is written instead.
///
/// # Panics
/// When they differ: with the rows that do.
#[track_caller]
pub fn assert_table(actual: &str, expected: &str) {
    let Some(difference) = difference(actual, expected) else { return };
    let update = env::var_os("UPDATE_TABLES").is_some_and(|value| value == "1");
    assert!(update, "{difference}\nUPDATE_TABLES=1 writes the table anew; review what that changes.");
    let test = repository().join(Location::caller().file());
    fs::write(file_with(test.parent().unwrap(), expected), actual).unwrap();
}

/// The first line that differs, and the rows that one table has and the other has not, or has less often.
fn difference(actual: &str, expected: &str) -> Option<String> {
    let same = actual.lines().zip(expected.lines()).take_while(|(is, wanted)| is == wanted).count();
    let rows = |table: &str, other: &str| {
        let mut others: Vec<&str> = other.lines().collect();
        let mut left = table.lines().collect::<Vec<_>>();
        left.retain(|row| {
            let at = others.iter().position(|other| other == row);
            at.map(|at| others.swap_remove(at)).is_none()
        });
        left.join("\n")
    };
    (actual != expected).then(|| {
        format!(
            "the table differs from line {} on.\nExpected, but missing:\n{}\nNot expected:\n{}\n",
            same + 1,
            rows(expected, actual),
            rows(actual, expected),
        )
    })
}

/// The file in a folder that holds this text.
fn file_with(folder: &Path, text: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        files.filter(|path| fs::read_to_string(path).is_ok_and(|content| content == text)).collect();
    let [path] = &found[..] else { panic!("{} files in {} hold the table", found.len(), folder.display()) };
    path.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_missing_doubled_or_elsewhere_is_a_difference() {
        let table = "a\nb\nc\n";
        assert_eq!(difference(table, table), None);
        for (actual, said) in [
            ("a\nb\n", "line 3 on.\nExpected, but missing:\nc\nNot expected:\n\n"),
            ("a\nb\nb\nc\n", "line 3 on.\nExpected, but missing:\n\nNot expected:\nb\n"),
            ("a\nc\nb\n", "line 2 on.\nExpected, but missing:\n\nNot expected:\n\n"),
        ] {
            let difference = difference(actual, table).unwrap();
            assert!(difference.ends_with(said), "{difference}");
        }
    }

    #[test]
    fn the_file_that_is_written_anew_is_the_one_that_holds_the_table() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("one.txt", "a\n"), ("two.txt", "b\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(file_with(folder.path(), "b\n"), folder.path().join("two.txt"));
    }
}
