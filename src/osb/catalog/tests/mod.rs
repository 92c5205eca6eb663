//! "Catalog Management" of the spec, rule by rule.

mod rules;

use serde_json::{Value, json};

use super::*;
use crate::json::RawObject;

fn plan(id: &str, name: &str) -> Value {
    json!({ "id": id, "name": name, "description": "d" })
}

fn offering(id: &str, name: &str, plans: impl Into<Value>) -> Value {
    json!({ "id": id, "name": name, "description": "d", "bindable": true, "plans": plans.into() })
}

fn parse(services: &[Value]) -> Result<Catalog, InvalidCatalog> {
    Catalog::parse(json!({ "services": services }).to_string().as_bytes())
}

/// A catalog of one offering with one plan, either changed.
fn with(path: &str, value: Value) -> Value {
    let mut service = offering("s", "redis", [plan("p", "small")]);
    let (object, key) = match path.strip_prefix("plan.") {
        Some(key) => (&mut service["plans"][0], key),
        None => (&mut service, path),
    };
    object[key] = value;
    service
}

#[track_caller]
fn refused(body: impl AsRef<[u8]>) -> String {
    let message = Catalog::parse(body.as_ref()).unwrap_err().to_string();
    message.strip_prefix("the broker's catalog is invalid: ").unwrap().to_owned()
}

fn skipped(catalog: &Catalog) -> Vec<String> {
    catalog.skipped.iter().map(ToString::to_string).collect()
}

// OSB 40
#[test]
fn an_empty_catalog_is_valid() {
    assert_eq!(parse(&[]).unwrap(), Catalog::default());
}

// OSB 22, 46, 54, 55, 159
// v0.3 C1
#[test]
fn everything_the_spec_has_is_kept_and_the_rest_is_dropped() {
    let catalog = parse(&[json!({
        "id": "s", "name": "redis", "description": "d", "bindable": false, "plan_updateable": true,
        "instances_retrievable": true, "bindings_retrievable": true, "allow_context_updates": true,
        "tags": ["a"], "requires": ["route_forwarding"], "metadata": { "displayName": "R", "x": [1, null] },
        "dashboard_client": { "id": "c", "secret": "hunter2" }, "binding_rotatable": true, "unknown": {},
        "plans": [{
            "id": "p", "name": "small", "description": "d", "free": false, "bindable": true,
            "plan_updateable": false, "binding_rotatable": true, "maximum_polling_duration": 120,
            "maintenance_info": { "version": "2.1.1+abcdef", "description": "u", "public": true },
            "metadata": { "bullets": [] },
            "schemas": {
                "service_instance": {
                    "create": { "parameters": { "type": "object" } },
                    "update": { "parameters": {} }
                },
                "service_binding": { "create": { "parameters": { "$ref": "http://elsewhere/" } } }
            }
        }]
    })])
    .unwrap();
    assert!(catalog.skipped.is_empty());
    let remote =
        "schemas.service_binding.create.parameters is not enforced: $ref \"http://elsewhere/\" is outside";
    assert!(
        catalog.tolerated.len() == 1 && catalog.tolerated.to_string().contains(remote),
        "{}",
        catalog.tolerated
    );
    let offering = &catalog.offerings[0];
    assert!(
        offering.instances_retrievable && offering.bindings_retrievable && offering.allow_context_updates
    );
    assert_eq!(
        (offering.tags.as_slice(), offering.requires.as_slice()),
        (&["a".into()][..], &["route_forwarding".into()][..])
    );
    assert_eq!(
        serde_json::to_value(&offering.metadata).unwrap(),
        json!({ "displayName": "R", "x": [1, null] })
    );
    let plan = &offering.plans[0];
    assert!(
        !plan.free && plan.binding_rotatable && plan.is_bindable(offering) && !plan.is_updateable(offering)
    );
    assert_eq!(plan.maximum_polling_duration, Some(120));
    let maintenance = plan.maintenance_info.as_ref().unwrap();
    assert_eq!((&*maintenance.version, &*maintenance.description), ("2.1.1+abcdef", "u"));
    assert_eq!(serde_json::to_value(&plan.schemas.instance_create).unwrap(), json!({ "type": "object" }));
    assert_eq!(plan.schemas.instance_update, Some(RawObject::default()));
    assert!(plan.schemas.binding_create.is_some());
    assert!(!format!("{catalog:?}").contains("hunter2"));
}

// OSB 49, 50, 51
// v0.3 C3, Q46
#[test]
fn defaults_are_those_of_the_spec_and_null_is_absent() {
    let mut null = offering("s2", "b", [plan("p2", "x")]);
    for key in [
        "plan_updateable",
        "instances_retrievable",
        "bindings_retrievable",
        "allow_context_updates",
        "tags",
        "requires",
        "metadata",
    ] {
        null[key] = Value::Null;
    }
    for key in [
        "free",
        "bindable",
        "plan_updateable",
        "binding_rotatable",
        "maximum_polling_duration",
        "maintenance_info",
        "schemas",
        "metadata",
    ] {
        null["plans"][0][key] = Value::Null;
    }
    let catalog = parse(&[offering("s1", "a", [plan("p1", "x")]), null]).unwrap();
    for offering in &catalog.offerings {
        assert!(offering.bindable && !offering.plan_updateable);
        assert!(
            !offering.instances_retrievable
                && !offering.bindings_retrievable
                && !offering.allow_context_updates
        );
        let plan = &offering.plans[0];
        assert!(
            plan.free && !plan.binding_rotatable && plan.bindable.is_none() && plan.plan_updateable.is_none()
        );
        assert!(plan.is_bindable(offering) && !plan.is_updateable(offering));
        assert_eq!(
            (&plan.maintenance_info, &plan.metadata, plan.maximum_polling_duration),
            (&None, &None, None)
        );
    }
}

// OSB 47
// v0.3 C4
#[test]
fn a_plan_overrides_its_offering_both_ways() {
    for (of_offering, of_plan, effective) in [
        (true, json!(false), false),
        (false, json!(true), true),
        (true, json!(null), true),
        (false, json!(null), false),
    ] {
        let mut service = offering("s", "a", [plan("p", "x")]);
        for key in ["bindable", "plan_updateable"] {
            service[key] = json!(of_offering);
            service["plans"][0][key] = of_plan.clone();
        }
        let catalog = parse(&[service]).unwrap();
        let offering = &catalog.offerings[0];
        assert_eq!(offering.plans[0].is_bindable(offering), effective);
        assert_eq!(offering.plans[0].is_updateable(offering), effective);
    }
}

// OSB 53
#[test]
fn a_maintenance_version_is_a_semantic_version() {
    let kept = |version: &str| {
        let catalog = parse(&[with("plan.maintenance_info", json!({ "version": version }))]).unwrap();
        catalog.offerings[0].plans[0].maintenance_info.is_some()
    };
    for good in
        ["0.0.0", "2.1.1+abcdef", "1.0.0-alpha.1", "1.0.0-0A.is.legal", "1.0.0--", "1.0.0-x-y-z+00.1-2"]
    {
        assert!(kept(good), "{good}");
    }
    for bad in [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "01.2.3",
        "1.2.3-",
        "1.2.3+",
        "1.2.3-01",
        "v1.2.3",
        "1.2.x",
        "1.2.3+a+b",
        "1..3",
    ] {
        assert!(!kept(bad), "{bad}");
    }
}

// OSB 57
#[test]
fn a_document_that_is_no_catalog() {
    for (body, problem) in [
        ("", "it is not JSON: EOF while parsing a value at line 1 column 0"),
        ("<html>", "it is not JSON: expected value at line 1 column 1"),
        ("null", "it is not a JSON object"),
        ("[]", "it is not a JSON object"),
        ("{}", "services is missing"),
        (r#"{"services":null}"#, "services is missing"),
        (r#"{"services":{}}"#, "services is not an array"),
    ] {
        assert_eq!(refused(body), problem);
    }
}

// OSB 57
// v0.3 Q47
#[test]
fn all_problems_are_found_and_the_text_stays_short() {
    let services = vec![json!({ "plans": [{}] }); 300];
    let catalog = parse(&services).unwrap();
    assert!(catalog.offerings.is_empty());
    assert_eq!((catalog.skipped.len(), catalog.skipped.iter().len()), (300 * 4, Problems::KEPT));
    assert_eq!(catalog.tolerated.len(), 300 * 3);
    let text = catalog.skipped.to_string();
    let first =
        "services[0]: id is missing; services[0]: name is missing; services[0]: plans[0]: id is missing; ";
    assert!(text.starts_with(first), "{text}");
    assert!(text.ends_with("; and 1190 more") && text.len() < 1024, "{text}");
}

// OSB 44
#[test]
fn a_value_over_a_limit_is_left_out_alone() {
    let (fits, long) = ("ü".repeat(MAX_NAME), "ü".repeat(MAX_NAME + 1));
    let catalog = parse(&[
        offering("s1", &fits, [plan("p1", &fits), plan("p2", &long), plan(&"i".repeat(MAX_ID + 1), "x")]),
        offering("s2", &long, [plan("p3", "x")]),
        offering("s3", "only", [plan("p4", &long)]),
        offering(&"i".repeat(MAX_ID), "ok", [plan("p5", "x")]),
    ])
    .unwrap();
    let names: Vec<_> =
        catalog.offerings.iter().map(|offering| (offering.name.as_str(), offering.plans.len())).collect();
    assert_eq!(names, [(fits.as_str(), 1), ("ok", 1)]);
    let skipped = skipped(&catalog);
    assert_eq!(skipped.len(), 5, "{skipped:?}");
    assert!(skipped[0].contains("plans[1]") && skipped[0].ends_with("name is longer than 63 characters"));
    assert!(skipped[1].contains("plans[2] \"x\": id is longer than 256 characters"));
    assert!(
        skipped[2].starts_with("services[1]") && skipped[2].ends_with("name is longer than 63 characters")
    );
    assert_eq!(skipped[4], "services[2] \"only\": none of its plans can be used");
}

#[test]
fn the_ids_in_an_offering_that_is_left_out_still_count() {
    let long = "n".repeat(MAX_NAME + 1);
    let services = vec![offering("s", &long, [plan("p", "x")]), offering("s", "b", [plan("p", "x")])];
    let catalog = parse(&services).unwrap();
    assert!(catalog.offerings.is_empty());
    assert_eq!(catalog.skipped.len(), 5, "the long name, and two ids that both claim");
}

// OSB 54
// v0.3 C9
#[test]
fn only_the_bad_schema_is_left_out() {
    let schemas = json!({
        "service_instance": { "create": { "parameters": { "x": "y".repeat(MAX_SCHEMA) } }, "update": { "parameters": true } },
        "service_binding": { "create": { "parameters": { "$schema": "draft" } } }
    });
    let catalog = parse(&[with("plan.schemas", schemas)]).unwrap();
    let plan = &catalog.offerings[0].plans[0];
    assert!(plan.schemas.instance_create.is_none() && plan.schemas.instance_update.is_none());
    assert!(plan.schemas.binding_create.is_some());
    assert_eq!(
        skipped(&catalog),
        [
            "services[0] \"redis\": plans[0] \"small\": schemas.service_instance.create.parameters is larger than 65536 bytes",
            "services[0] \"redis\": plans[0] \"small\": schemas.service_instance.update.parameters is not an object",
        ]
    );
}

// OSB 54
// v0.3 C9
#[test]
fn a_schema_that_cannot_be_used_is_kept_and_named() {
    let schemas = json!({
        "service_instance": { "create": { "parameters": { "required": true } }, "update": { "parameters": { "type": "object" } } },
        "service_binding": { "create": { "parameters": { "pattern": "(?=hunter2)" } } }
    });
    let catalog = json!({ "services": [with("plan.schemas", schemas)] }).to_string();
    let secrets = [zeroize::Zeroizing::new("hunter2".to_owned())];
    let catalog = Catalog::parse_redacting(catalog.as_bytes(), &secrets).unwrap();
    let schemas = &catalog.offerings[0].plans[0].schemas;
    assert!(schemas.instance_create.is_some() && schemas.binding_create.is_some());
    let tolerated: Vec<_> = catalog.tolerated.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(
        tolerated,
        [
            "schemas.service_instance.create.parameters is not enforced: required is not an array of strings",
            "schemas.service_binding.create.parameters is not enforced: the pattern \"(?=<redacted>)\" is wrong, or needs backtracking",
        ]
    );
}

#[test]
fn a_catalog_full_of_costly_expressions_is_read_soon() {
    let plans = (0..3000).map(|index| {
        let schema = json!({ "pattern": format!("^(\\p{{L}}{{1,20}}|{index}){{1,9}}$") });
        let mut plan = plan(&format!("p{index}"), &format!("p{index}"));
        plan["schemas"] = json!({ "service_instance": { "create": { "parameters": schema } } });
        plan
    });
    let plans: Value = plans.collect();
    let started = std::time::Instant::now();
    let catalog = parse(&[offering("s", "redis", plans)]).unwrap();
    assert_eq!(catalog.offerings[0].plans.len(), 3000);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

// OSB 54
#[test]
fn a_wrong_value_in_place_of_schemas_is_reported_once() {
    for (schemas, place) in [
        (json!("none"), "schemas"),
        (json!({ "service_instance": [], "service_binding": null }), "schemas.service_instance"),
        (json!({ "service_binding": { "create": 7 } }), "schemas.service_binding.create"),
    ] {
        let catalog = parse(&[with("plan.schemas", schemas)]).unwrap();
        let named = format!("services[0] \"redis\": plans[0] \"small\": {place} is not an object");
        assert_eq!(skipped(&catalog), [named]);
    }
    assert!(skipped(&parse(&[with("plan.schemas", json!({ "service_instance": {} }))]).unwrap()).is_empty());
}

#[test]
fn only_the_too_deep_value_is_left_out() {
    for levels in [MAX_DEPTH + 1, 200, 100_000] {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let service = with("metadata", json!("<deep>")).to_string().replace("\"<deep>\"", &deep);
        let catalog = Catalog::parse(format!("{{\"services\":[{service}]}}").as_bytes()).unwrap();
        assert_eq!(catalog.offerings[0].metadata, None);
        assert_eq!(skipped(&catalog), ["services[0] \"redis\": metadata is nested more than 64 levels deep"]);
    }
}

#[test]
fn only_metadata_with_too_many_values_are_left_out() {
    let zeros = |values: usize| json!({ "x": vec![0; values - 2] });
    let fits = parse(&[with("metadata", zeros(crate::json::MAX_VALUES))]).unwrap();
    assert!(fits.offerings[0].metadata.is_some());
    let catalog = parse(&[with("metadata", zeros(crate::json::MAX_VALUES + 1))]).unwrap();
    assert!(catalog.offerings[0].metadata.is_none());
    assert_eq!(skipped(&catalog), ["services[0] \"redis\": metadata has more than 100000 values"]);
}

#[test]
fn only_a_positive_integer_limits_polling() {
    for value in [json!(0), json!(-1), json!(1.5), json!("60"), json!({}), json!(1e30)] {
        let catalog = parse(&[with("plan.maximum_polling_duration", value.clone())]).unwrap();
        assert_eq!(catalog.offerings[0].plans[0].maximum_polling_duration, None, "{value}");
    }
}

#[test]
fn problems_do_not_repeat_our_secrets() {
    let secrets = [Zeroizing::new("hunter22".to_owned())];
    for padding in [0, 58, 60, 64] {
        let mut service = offering("s", &format!("{}hunter22", "x".repeat(padding)), [plan("p", "x")]);
        service["requires"] = json!(["hunter22"]);
        service["metadata"] = json!(1);
        let body = json!({ "services": [service] }).to_string();
        let catalog = Catalog::parse_redacting(body.as_bytes(), &secrets).unwrap();
        let text = format!("{} {}", catalog.skipped, catalog.tolerated);
        assert!(!text.contains("hunt") && text.contains("requires holds \"<redacted>\""), "{text}");
    }
}

/// One of ten thousand plans, as large brokers have them. It is text, because building a tree of so many
/// would take long.
fn plan_with_everything(index: usize) -> String {
    let schema = r#"{ "parameters": {
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["size"],
        "properties": { "size": { "type": "integer", "minimum": 1 }, "name": { "type": "string" }, "backup": { "type": "boolean" } }
    } }"#;
    format!(
        r#"{{ "id": "p-{index}", "name": "plan-{index}", "description": "A plan", "free": false,
        "metadata": {{ "bullets": ["fast", "cheap"], "costs": [{{ "amount": {{ "usd": 649.0 }}, "unit": "MONTHLY" }}] }},
        "maintenance_info": {{ "version": "1.0.0" }},
        "schemas": {{
            "service_instance": {{ "create": {schema}, "update": {schema} }}, "service_binding": {{ "create": {schema} }}
        }} }}"#
    )
}

// OSB 40a
#[test]
fn ten_thousand_plans_are_read_and_what_takes_too_much_memory_is_not() {
    let plans: Vec<String> = (0..10_000).map(plan_with_everything).collect();
    let catalog = json!({ "services": [offering("s", "redis", json!([]))] }).to_string();
    let catalog = catalog.replace("[]", &format!("[{}]", plans.join(",")));
    let catalog = Catalog::parse(catalog.as_bytes()).unwrap();
    assert_eq!(catalog.offerings[0].plans.len(), 10_000);
    assert!(catalog.skipped.is_empty());
    let zeros = |values: usize| format!(r#"{{"services":[],"x":[{}0]}}"#, "0,".repeat(values - 5));
    assert!(Catalog::parse(zeros(MAX_VALUES).as_bytes()).is_ok());
    assert_eq!(refused(zeros(MAX_VALUES + 1)), "it has more than 700000 values, counting arrays and objects");
}

#[test]
fn a_catalog_of_more_entries_than_may_be_is_refused() {
    let plans = |count: usize| vec!["{}"; count].join(",");
    let text =
        |count: usize| format!(r#"{{"services":[{{"id":"s","name":"s","plans":[{}]}}]}}"#, plans(count));
    assert!(Catalog::parse(text(MAX_ENTRIES - 1).as_bytes()).is_ok());
    assert_eq!(refused(text(MAX_ENTRIES)), "it has 20001 offerings and plans: 20000 are the most");
}
