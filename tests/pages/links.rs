//! Every link of a page leads somewhere, every path that it names exists, and every page can be found.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::root;

/// The folders of this repository, without hidden ones and what is built.
const FOLDERS: [&str; 10] =
    ["benches", "config", "crds", "demo", "docs", "examples", "src", "testkit", "tests", "tools"];

/// All pages, as paths from the root.
fn pages() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    folders.retain(|folder| folder.is_dir());
    let mut add = |path: PathBuf| {
        if path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path.strip_prefix(root()).unwrap().to_owned());
        }
    };
    for entry in fs::read_dir(root()).unwrap() {
        add(entry.unwrap().path());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { add(path) }
        }
    }
    found
}

fn text(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// The links of a page within this repository, as they are written.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target).filter(|target| !target.contains("://")).collect()
}

/// The file that a link of a page leads to, and the heading there if it names one.
fn target<'a>(page: &Path, link: &'a str) -> (PathBuf, Option<&'a str>) {
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let file = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    (root().join(file), heading)
}

/// Whether a page has a heading that is linked to in this way.
fn has_heading(page: &Path, heading: &str) -> bool {
    let slug = |line: &str| {
        let kept = |character: &char| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_');
        line.trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    text(page).lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == heading)
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = text(&page);
        for link in links(&text) {
            let (file, heading) = target(&page, link);
            if !file.exists() || heading.is_some_and(|heading| !has_heading(&file, heading)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_path_that_a_page_names_exists() {
    let is_path = |text: &&str| {
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-./".contains(character);
        text.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder)) && text.chars().all(plain)
    };
    let mut missing = Vec::new();
    // What has changed may have gone since.
    for page in pages().into_iter().filter(|page| page != Path::new("CHANGELOG.md")) {
        let text = text(&page);
        let quoted = text.split('`').skip(1).step_by(2).filter(is_path);
        missing.extend(
            quoted
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{}: {path}", page.display())),
        );
    }
    assert!(missing.is_empty(), "paths that do not exist:\n{}", missing.join("\n"));
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() {
    let index = Path::new("docs/README.md");
    let text = text(index);
    let linked: BTreeSet<PathBuf> =
        links(&text).into_iter().map(|link| target(index, link).0.canonicalize().unwrap()).collect();
    for page in pages().into_iter().filter(|page| page.starts_with("docs") && page != index) {
        let is_linked = linked.contains(&root().join(&page).canonicalize().unwrap());
        assert!(is_linked, "docs/README.md does not name {}", page.display());
    }
}
