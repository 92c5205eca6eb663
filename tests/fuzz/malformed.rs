//! Every malformed body, header and duration that brokers are known to send has one outcome: `malformed.txt`.

use service_catalog::osb::{Catalog, classify::Response, retry_after::retry_after};
use testkit::tables::assert_table;

use crate::answers::{Meaning, OPERATIONS, understood};

const TABLE: &str = include_str!("malformed.txt");

/// What comes after an escape, as bytes.
fn came(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '@']) {
        bytes.extend(rest[..at].bytes());
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
        } else if let Some((repeated, after)) = rest.strip_prefix("@(").and_then(|rest| rest.split_once(")*"))
        {
            let end = after.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(after.len());
            bytes.extend(repeated.repeat(after[..end].parse().unwrap()).bytes());
            rest = &after[end..];
        } else {
            bytes.push(rest.as_bytes()[0]);
            rest = &rest[1..];
        }
    }
    bytes.extend(rest.bytes());
    bytes
}

fn outcome(asked: &str, came: &[u8]) -> String {
    let seconds = |found: Option<u64>| found.map_or("nothing".to_owned(), |seconds| format!("{seconds} s"));
    let text = || String::from_utf8(came.to_vec()).unwrap();
    match asked.split_once(' ') {
        None if asked == "Retry-After" => {
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            seconds(retry_after(&text(), now).map(|pause| pause.as_secs()))
        }
        None => seconds(polled_for(&text())),
        Some(("catalog", _)) => catalog(came),
        Some((name, status)) => {
            let (_, operation) = OPERATIONS.iter().find(|(known, _)| *known == name).unwrap();
            said(&understood(*operation, &Response::new(status.parse().unwrap(), came)))
        }
    }
}

fn polled_for(value: &str) -> Option<u64> {
    let body = format!(
        r#"{{"services":[{{"id":"s","name":"n","description":"d","bindable":true,"plans":[{{"id":"p","name":"a",
            "description":"d","maximum_polling_duration":{value}}}]}}]}}"#
    );
    Catalog::parse(body.as_bytes()).unwrap().offerings[0].plans[0].maximum_polling_duration
}

fn catalog(body: &[u8]) -> String {
    match Catalog::parse(body) {
        Ok(catalog) => {
            let mut said = format!("valid: {} offerings", catalog.offerings.len());
            said.extend(catalog.skipped.iter().map(|problem| format!(", left out: {problem}")));
            said.extend(catalog.tolerated.iter().map(|problem| format!(", tolerated: {problem}")));
            said
        }
        Err(invalid) => invalid.to_string().replace("the broker's catalog is invalid", "invalid"),
    }
}

fn said(meaning: &Meaning) -> String {
    match meaning {
        Meaning::Refused(refusal) => format!("refused {:?}", refusal.reason),
        Meaning::Unknown(doubt) if doubt.mitigate => "mitigated".to_owned(),
        Meaning::Unknown(_) => "failed".to_owned(),
        Meaning::Answered(taken) => {
            let mut said = "answered".to_owned();
            for (name, text) in [("operation", &taken.operation), ("dashboard_url", &taken.dashboard_url)] {
                said.extend(text.iter().map(|text| format!(" {name} {text:?}")));
            }
            said.extend(taken.credentials.iter().map(|credentials| format!(" credentials {credentials}")));
            if let Some(polled) = &taken.polled {
                said.extend([format!(" state {:?}", polled.state)]);
                said.extend(
                    polled.description.iter().map(|text| format!(", {} bytes of description", text.len())),
                );
            }
            said
        }
    }
}

// OSB 25, 25b, 46
#[test]
fn every_malformed_answer_has_the_outcome_that_the_table_says() {
    let mut table = String::new();
    for line in TABLE.lines() {
        let row = line.rsplit_once(" | ").filter(|_| !line.starts_with('#'));
        let line = row.map_or(line.to_owned(), |(given, _)| {
            let fields: Vec<&str> = given.split('|').map(str::trim).collect();
            let [_, asked, text] = fields[..] else { panic!("not four fields: {line}") };
            format!("{given} | {}", outcome(asked, &came(text)))
        });
        table.extend([&line, "\n"]);
    }
    assert_table(&table, TABLE);
}
