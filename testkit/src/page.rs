//! The commands of a page, so that a test runs what users run.

use std::fs;

use crate::repository;

/// The shell commands below a heading of a page, one text for each block of code. They end at the next heading of a
/// chapter (`## `). Code without a language, or of another one, is not among them.
pub fn commands(page: &str, heading: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "{page} has no heading {heading:?}");
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    let mut is_code = false;
    for line in lines {
        if line.starts_with("```") {
            is_code = !is_code;
            blocks.extend(block.take());
            if is_code && line == "```sh" {
                block = Some(String::new());
            }
        } else if let Some(block) = &mut block {
            block.push_str(line);
            block.push('\n');
        } else if !is_code && line.starts_with("## ") {
            break;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_one_chapter() {
        let blocks = commands("README.md", "## See it");
        assert_eq!(blocks, ["make demo\n"]);
    }
}
