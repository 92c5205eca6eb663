//! The commands and manifests of a page, so that a test runs what users run.

use std::fs;

use crate::repository;

/// The shell commands below a heading of a page, one text for each block of code.
pub fn commands(page: &str, heading: &str) -> Vec<String> {
    blocks(page, heading, "sh")
}

/// The blocks of code of this language below a heading of a page. They end at the next heading of a chapter (`## `).
pub fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}");
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
            if is_code && line == begin {
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
