//! `GET /v2/catalog`: what is offered keeps the promises of [`Catalog`]; every fault is named, in words that can be shown.

use std::collections::HashSet;

use serde_json::{Value, json};
use service_catalog::{
    json::{RawObject, member, pieces},
    osb::{
        Catalog, InvalidCatalog,
        catalog::{CatalogOffering, CatalogPlan, MAX_DEPTH, MAX_ID, MAX_NAME, MAX_SCHEMA, Problems},
    },
};
use zeroize::Zeroizing;

use crate::{
    harness::{self, Check},
    is_shown, json as changes, promise,
    random::Random,
};

/// Stands in the corpus as what the broker was sent.
const SECRET: &str = "hunter2-hunter2";
/// Ten problems of two names of 64 bytes each, and what is wrong.
const LONGEST: usize = 10 * 400;

fn parse(body: &[u8]) -> Result<Catalog, InvalidCatalog> {
    Catalog::parse_redacting(body, &[Zeroizing::new(SECRET.to_owned())])
}

#[test]
fn a_catalog_is_what_the_reader_promises_or_every_fault_is_named() {
    harness::run(bolero::check!(), "catalog", 400, changes::change, check);
}

fn check(body: &[u8]) -> Check {
    let result = parse(body);
    promise!(result == parse(body), "the same catalog was read differently");
    match result {
        // As text: what is nested too deep, or holds a number beyond all bounds, costs no more than its entry.
        Ok(catalog) => {
            valid(&catalog, member(body, "services").map_or(0, |services| pieces(services).count()))
        }
        Err(invalid) => {
            let shown = invalid.to_string();
            promise!(is_shown(&shown, LONGEST / 10), "not fit to be shown: {shown:?}");
            Ok(())
        }
    }
}

fn valid(catalog: &Catalog, services: usize) -> Check {
    promise!(
        catalog.offerings.len() == services || !catalog.skipped.is_empty(),
        "an offering was left out and nobody said so"
    );
    named(&catalog.skipped, services)?;
    named(&catalog.tolerated, services)?;
    let (mut ids, mut names, mut plan_ids) = (HashSet::new(), HashSet::new(), HashSet::new());
    for offering in &catalog.offerings {
        identified(&offering.id, &offering.name, &offering.description)?;
        promise!(ids.insert(&offering.id) && names.insert(&offering.name), "an offering twice");
        promise!(!offering.plans.is_empty(), "an offering without plans");
        shallow(offering.metadata.as_ref())?;
        let mut names = HashSet::new();
        for plan in &offering.plans {
            identified(&plan.id, &plan.name, &plan.description)?;
            promise!(plan_ids.insert(&plan.id) && names.insert(&plan.name), "a plan twice");
            self::plan(plan)?;
        }
    }
    let again = json!({ "services": catalog.offerings.iter().map(written).collect::<Vec<_>>() });
    let again =
        Catalog::parse(again.to_string().as_bytes()).map_err(|invalid| format!("unreadable: {invalid}"))?;
    promise!(
        again.offerings == catalog.offerings,
        "what was read is read differently when it is written again"
    );
    Ok(())
}

fn identified(id: &str, name: &str, description: &str) -> Check {
    promise!(!id.is_empty() && id.chars().count() <= MAX_ID, "id: {id:?}");
    promise!(!name.is_empty() && name.chars().count() <= MAX_NAME, "name: {name:?}");
    promise!(!description.is_empty(), "no description: {id:?}");
    Ok(())
}

fn plan(plan: &CatalogPlan) -> Check {
    promise!(plan.maximum_polling_duration != Some(0), "polls that end before they begin");
    if let Some(info) = &plan.maintenance_info {
        promise!(info.version.split('.').count() >= 3, "no semantic version: {}", info.version);
    }
    shallow(plan.metadata.as_ref())?;
    let schemas = &plan.schemas;
    for schema in [&schemas.instance_create, &schemas.instance_update, &schemas.binding_create] {
        shallow(schema.as_ref())?;
        let size = serde_json::to_vec(schema).unwrap().len();
        promise!(size <= MAX_SCHEMA, "a schema of {size} bytes");
    }
    Ok(())
}

fn shallow(opaque: Option<&RawObject>) -> Check {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
            _ => 0,
        }
    }
    let found = opaque.map_or(0, |members| depth(&serde_json::to_value(members).unwrap_or_default()));
    promise!(found <= MAX_DEPTH, "{found} levels, which no list of classes can be read with");
    Ok(())
}

/// As the broker could have written it.
fn written(offering: &CatalogOffering) -> Value {
    let mut service = serde_json::to_value(offering).unwrap();
    for (plan, read) in service["plans"].as_array_mut().unwrap().iter_mut().zip(&offering.plans) {
        plan["schemas"] = json!({
            "service_instance": {
                "create": { "parameters": read.schemas.instance_create },
                "update": { "parameters": read.schemas.instance_update },
            },
            "service_binding": { "create": { "parameters": read.schemas.binding_create } },
        });
    }
    service
}

fn named(problems: &Problems, services: usize) -> Check {
    promise!(problems.iter().len() <= Problems::KEPT, "{} problems are kept", problems.iter().len());
    let shown = problems.to_string();
    promise!(is_shown(&shown, LONGEST), "not fit to be shown ({} bytes): {shown:?}", shown.len());
    promise!(!shown.contains(SECRET), "shows what the broker was sent: {shown}");
    for problem in problems {
        promise!(is_shown(&problem.to_string(), LONGEST / 10), "not fit to be shown: {problem:?}");
        promise!(is_place(&problem.place, services), "{:?} is not in the document", problem.place);
    }
    Ok(())
}

/// Whether a place, such as `services[2] "redis": plans[0]`, is in an offering that is there. Names may hold anything.
fn is_place(place: &str, services: usize) -> bool {
    let index =
        place.strip_prefix("services[").and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
    index.is_some_and(|index| index < services)
}

/// A key, what is done to its value, and what is said of it.
type Fault = (&'static str, fn(&mut Value), &'static str);

/// What can be wrong with an entry.
const FAULTS: [Fault; 6] = [
    ("id", |value| *value = Value::Null, "id is missing"),
    ("id", |value| *value = json!([]), "id is not a string"),
    ("name", |value| *value = json!(""), "name is empty"),
    ("description", |value| *value = json!(7), "description is not a string; the name is used"),
    ("metadata", |value| *value = json!("x"), "metadata is not an object"),
    ("plan_updateable", |value| *value = json!("no"), "plan_updateable is not a boolean"),
];

#[test]
fn every_fault_of_a_catalog_is_named_where_it_is() {
    harness::run(bolero::check!(), "catalog", 200, changes::change, |body| {
        let sum: usize = body.iter().map(|byte| usize::from(*byte)).sum();
        let mut random = Random::seeded(u64::try_from(sum).unwrap());
        let Ok(catalog) = Catalog::parse(body) else { return Ok(()) };
        let services: Vec<Value> = catalog.offerings.iter().map(written).collect();
        let mut document = json!({ "services": services });
        let mut expected = Vec::new();
        for (index, service) in document["services"].as_array_mut().unwrap().iter_mut().enumerate() {
            let place = spoil(service, "services", index, &mut random, &mut expected);
            for (index, plan) in service["plans"].as_array_mut().unwrap().iter_mut().enumerate() {
                spoil(plan, &format!("{place}: plans"), index, &mut random, &mut expected);
            }
        }
        let catalog = Catalog::parse(document.to_string().as_bytes()).unwrap();
        if catalog.skipped.len().max(catalog.tolerated.len()) > Problems::KEPT {
            return Ok(());
        }
        let mut found = faults(&catalog);
        found.retain(|problem| {
            !problem.ends_with(": none of its plans can be used") && !problem.contains(" is not enforced: ")
        });
        found.sort_unstable();
        expected.sort_unstable();
        promise!(found == expected, "{found:?} instead of {expected:?}");
        Ok(())
    });
}

fn faults(catalog: &Catalog) -> Vec<String> {
    catalog.skipped.iter().chain(&catalog.tolerated).map(ToString::to_string).collect()
}

/// Gives an entry a name that can be told, and breaks it half of the time. Returns its place.
fn spoil(
    entry: &mut Value,
    list: &str,
    index: usize,
    random: &mut Random<'_>,
    expected: &mut Vec<String>,
) -> String {
    entry["name"] = json!(format!("n{index}"));
    let fault = random.once_in(2).then(|| FAULTS[random.below(FAULTS.len())]);
    if let Some((key, fault, _)) = fault {
        fault(&mut entry[key]);
    }
    let name = entry["name"].as_str().filter(|name| !name.is_empty());
    let place = format!("{list}[{index}]{}", name.map(|name| format!(" \"{name}\"")).unwrap_or_default());
    expected.extend(fault.map(|(_, _, message)| format!("{place}: {message}")));
    place
}
