//! Schemas of plans: whatever a broker sends as one, each check ends soon, and no value is in what it says.
//!
//! An input is `{"schema": {…}, "value": …}`. Each text in the value gets a mark, which tells wherever it turns up.

use std::time::{Duration, Instant};

use serde_json::Value;
use service_catalog::{
    json::RawObject,
    json_schema::{MAX_ROOM, SHOWN, Schema},
};

use crate::{
    MARK,
    harness::{self, Check},
    is_shown, json, mark, promise,
};

const LONGEST: usize = 1024;

/// Far more than a check takes in the slowest build.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_schema_is_used_or_refused_and_a_check_ends_and_shows_no_value() {
    harness::run(bolero::check!(), "schemas", 1000, json::change, check);
}

fn check(input: &[u8]) -> Check {
    let Ok(document) = serde_json::from_slice::<Value>(input) else { return Ok(()) };
    let Ok(schema) = serde_json::from_value::<RawObject>(document["schema"].clone()) else { return Ok(()) };
    let started = Instant::now();
    let schema = match Schema::compile(&schema, &mut MAX_ROOM.clone()) {
        Ok(schema) => schema,
        Err(why) => {
            let why = why.to_string();
            promise!(is_shown(&why, LONGEST), "not fit to be shown ({} bytes): {why}", why.len());
            return Ok(());
        }
    };
    let mut value = document["value"].clone();
    mark(&mut value);
    let result = schema.check(&value);
    promise!(started.elapsed() < LONG, "the check took {:?}", started.elapsed());
    let Ok(broken) = result else { return Ok(()) };
    promise!(broken.len() <= SHOWN + 1, "{} violations", broken.len());
    for rule in broken.iter().map(|broken| &broken.rule) {
        promise!(!rule.is_empty() && is_shown(rule, LONGEST), "not fit to be shown: {rule:?}");
        promise!(!rule.contains(MARK), "a value is shown: {rule}");
    }
    Ok(())
}
