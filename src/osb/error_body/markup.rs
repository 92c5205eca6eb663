//! Error answers as HTML pages and XML documents: of proxies, servlet containers and some clouds. Pure.

use super::Found;

/// Elements of XML with a code.
const CODES: [&str; 3] = ["Code", "code", "faultcode"];
/// Elements of XML with a sentence.
const MESSAGES: [&str; 7] =
    ["Message", "message", "faultstring", "soap:Text", "Description", "description", "Details"];

/// Code and message of a document that begins with `<`.
pub(super) fn read(text: &str) -> Found {
    let first = |names: &[&str]| names.iter().find_map(|name| element(text, name));
    if is_html(text) {
        let said = first(&["title", "h1", "pre"]);
        return (
            None,
            Some(said.map_or("(an HTML page)".to_owned(), |said| format!("(an HTML page: {said})"))),
        );
    }
    match (first(&CODES), first(&MESSAGES)) {
        (code, None) => (code, Some("(an XML document)".to_owned())),
        found => found,
    }
}

fn is_html(text: &str) -> bool {
    let begin = text.trim_start().chars().take(1000).collect::<String>().to_ascii_lowercase();
    ["<!doctype html", "<html", "<head", "<title", "<body", "<h1", "<p>", "<center"]
        .iter()
        .any(|tag| begin.contains(tag))
}

/// The text of the first element of this name that has any, without markup within it.
fn element(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find(&format!("<{name}")) {
        rest = &rest[at + 1 + name.len()..];
        if !rest.starts_with(['>', ' ', '\n']) {
            continue;
        }
        let inner = rest.split_once('>')?.1;
        let inner = inner.split_once(&format!("</{name}>"))?.0;
        let plain = unescaped(&without_tags(inner));
        if !plain.trim().is_empty() {
            return Some(plain.trim().to_owned());
        }
    }
    None
}

fn without_tags(text: &str) -> String {
    let mut is_tag = false;
    let outside = |letter: &char| {
        let was_tag = is_tag;
        is_tag = (is_tag || *letter == '<') && *letter != '>';
        !was_tag && !is_tag
    };
    text.replace("<br>", " ").chars().filter(outside).collect()
}

fn unescaped(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&nbsp;", " "),
        ("&#8211;", "–"),
        ("&amp;", "&"),
    ];
    entities.iter().fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}
