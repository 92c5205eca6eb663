//! For each rule of the spec about the catalog, a document that breaks it: what is left out, what the message
//! says, and what is kept.

use super::*;

/// What a fault leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cost {
    /// The entry is offered, and a message names the fault.
    Nothing,
    /// The field is left out, and a message names the fault.
    Field,
    /// The plan is left out, and a message names the fault. Its offering keeps the other plan.
    CatalogPlan,
    /// The offering is left out, and a message names the fault.
    CatalogOffering,
    /// The entry is offered, and there is no message.
    NoFault,
}
use Cost::{CatalogOffering, CatalogPlan, Field, NoFault, Nothing};

/// A field (of the offering, or with the prefix `plan.` of its first plan), a value that breaks a rule, what
/// the fault leads to, and the end of the message.
const RULES: &[(&str, &str, Cost, &str)] = &[
    ("id", "null", CatalogOffering, "id is missing"),
    ("id", r#""""#, CatalogOffering, "id is empty"),
    ("id", "7", CatalogOffering, "id is not a string"),
    ("name", "null", CatalogOffering, "name is missing"),
    ("name", r#""""#, CatalogOffering, "name is empty"),
    ("name", "[]", CatalogOffering, "name is not a string"),
    ("description", "null", Nothing, "description is missing; the name is used"),
    ("description", r#""""#, Nothing, "description is empty; the name is used"),
    ("description", "{}", Nothing, "description is not a string; the name is used"),
    ("bindable", "null", Nothing, "bindable is missing; false is used"),
    ("bindable", r#""yes""#, CatalogOffering, "bindable is not a boolean"),
    ("plan_updateable", "1", CatalogOffering, "plan_updateable is not a boolean"),
    ("instances_retrievable", r#""true""#, CatalogOffering, "instances_retrievable is not a boolean"),
    ("bindings_retrievable", "[]", CatalogOffering, "bindings_retrievable is not a boolean"),
    ("allow_context_updates", "{}", CatalogOffering, "allow_context_updates is not a boolean"),
    ("tags", r#""a""#, Field, "tags is not an array of strings"),
    ("tags", r#"["a", null]"#, Field, "tags holds values that are not strings"),
    ("tags", r#"["a", 1]"#, Field, "tags holds values that are not strings"),
    ("requires", r#"{"a": 1}"#, Field, "requires is not an array of strings"),
    ("requires", "[null]", Field, "requires holds values that are not strings"),
    ("requires", r#"["sudo"]"#, Nothing, "requires holds \"sudo\", which is no permission of the protocol"),
    ("metadata", "[]", Field, "metadata is not an object"),
    ("metadata", r#"{"n": 1e400}"#, Field, "metadata cannot be read: number out of range"),
    ("dashboard_client", "7", NoFault, ""),
    ("binding_rotatable", "7", NoFault, ""),
    ("unknown", "[[]]", NoFault, ""),
    ("plans", "null", CatalogOffering, "plans is missing"),
    ("plans", "[]", CatalogOffering, "plans is empty"),
    ("plans", "{}", CatalogOffering, "plans is not an array"),
    ("plan.id", "null", CatalogPlan, "id is missing"),
    ("plan.id", r#""""#, CatalogPlan, "id is empty"),
    ("plan.id", "{}", CatalogPlan, "id is not a string"),
    ("plan.name", "null", CatalogPlan, "name is missing"),
    ("plan.name", r#""""#, CatalogPlan, "name is empty"),
    ("plan.name", "true", CatalogPlan, "name is not a string"),
    ("plan.description", "null", Nothing, "description is missing; the name is used"),
    ("plan.free", r#""no""#, CatalogPlan, "free is not a boolean"),
    ("plan.bindable", "0", CatalogPlan, "bindable is not a boolean"),
    ("plan.plan_updateable", "0", CatalogPlan, "plan_updateable is not a boolean"),
    ("plan.binding_rotatable", "0", CatalogPlan, "binding_rotatable is not a boolean"),
    ("plan.metadata", "true", Field, "metadata is not an object"),
    ("plan.maximum_polling_duration", "0", NoFault, ""),
    ("plan.maximum_polling_duration", "1.5", Field, "maximum_polling_duration is not a positive integer"),
    ("plan.maximum_polling_duration", "-1", Field, "maximum_polling_duration is not a positive integer"),
    ("plan.maintenance_info", "null", NoFault, ""),
    ("plan.maintenance_info", r#"["1.0.0"]"#, Field, "maintenance_info is not an object"),
    ("plan.maintenance_info", "{}", Field, "maintenance_info.version is missing"),
    ("plan.maintenance_info", r#"{"version": 1}"#, Field, "maintenance_info.version is not a string"),
    (
        "plan.maintenance_info",
        r#"{"version": ""}"#,
        Field,
        "maintenance_info.version \"\" is not a semantic version",
    ),
    (
        "plan.maintenance_info",
        r#"{"version": "1.0"}"#,
        Field,
        "maintenance_info.version \"1.0\" is not a semantic version",
    ),
    ("plan.maintenance_info", r#"{"version": "1.0.0", "description": 7}"#, NoFault, ""),
    ("plan.schemas", "null", NoFault, ""),
    ("plan.schemas", "[]", Field, "schemas is not an object"),
    (
        "plan.schemas",
        r#"{"service_binding": {"create": {"parameters": true}}}"#,
        Field,
        "schemas.service_binding.create.parameters is not an object",
    ),
];

// OSB 41, 45, 53, 57
#[test]
fn a_broken_rule_leads_to_what_the_table_says() {
    for (path, value, cost, message) in RULES {
        let mut broken = offering("s", "redis", [plan("p", "small"), plan("p2", "large")]);
        let (object, key, place) = match path.strip_prefix("plan.") {
            Some(key) => (&mut broken["plans"][0], key, "services[0] \"redis\": plans[0]"),
            None => (&mut broken, *path, "services[0]"),
        };
        object[key] = "<here>".into();
        let named = if object["name"] == "<here>" || place == "services[0]" && key == "name" {
            place.to_owned()
        } else {
            format!("{place} {}", object["name"])
        };
        // As text, because a number such as 1e400 has no other form.
        let services = json!([broken, offering("good", "mysql", [plan("good-p", "only")])]).to_string();
        let body = format!("{{\"services\":{services}}}").replace("\"<here>\"", value);
        let catalog = Catalog::parse(body.as_bytes()).unwrap();
        let faults: Vec<String> =
            catalog.skipped.iter().chain(&catalog.tolerated).map(ToString::to_string).collect();
        let expected = if *cost == NoFault { vec![] } else { vec![format!("{named}: {message}")] };
        assert_eq!(faults, expected, "{path} {value}");
        assert_eq!(catalog.tolerated.len(), usize::from(*cost == Nothing), "{path} {value}");
        let plans: Vec<usize> = catalog.offerings.iter().map(|offering| offering.plans.len()).collect();
        let offered: &[usize] = match cost {
            NoFault | Nothing | Field => &[2, 1],
            CatalogPlan => &[1, 1],
            CatalogOffering => &[1],
        };
        assert_eq!(plans, offered, "{path} {value}");
    }
}

/// The operator accepts what v0.3 accepted, with the meaning that it had in v0.3 unless the spec gives it
/// another.
// OSB 41
#[test]
fn what_is_tolerated_has_the_value_that_it_had_in_v0_3() {
    let body = r#"{"services":[{"id":"s","name":"redis","tags":["a",null],"requires":["sudo"],"plans":[
        {"id":"p","name":"small","maintenance_info":{}}]}]}"#;
    let catalog = Catalog::parse(body.as_bytes()).unwrap();
    let offering = &catalog.offerings[0];
    assert_eq!((offering.bindable, offering.description.as_str()), (false, "redis"));
    assert_eq!(
        (offering.tags.as_slice(), offering.requires.as_slice()),
        (&["a".into()][..], &["sudo".into()][..])
    );
    let plan = &offering.plans[0];
    assert_eq!((plan.description.as_str(), &plan.maintenance_info), ("small", &None));
}

/// Entries with the same id or name, the messages, and what is offered.
type Clash = (Vec<Value>, &'static [&'static str], &'static [&'static str]);

// OSB 39, 43
#[test]
fn entries_that_claim_the_same_id_or_name_are_all_left_out() {
    let one = || offering("one", "one", [plan("p1", "only")]);
    let rows: Vec<Clash> = vec![
        (
            vec![offering("x", "a", [plan("a", "p")]), one(), offering("x", "b", [plan("b", "p")])],
            &[
                "services[0] \"a\": id \"x\" is also that of services[2] \"b\"",
                "services[2] \"b\": id \"x\" is also that of services[0] \"a\"",
            ],
            &["one/only"],
        ),
        (
            vec![offering("a", "x", [plan("a", "p")]), one(), offering("b", "x", [plan("b", "p")])],
            &[
                "services[0] \"x\": name \"x\" is also that of services[2] \"x\"",
                "services[2] \"x\": name \"x\" is also that of services[0] \"x\"",
            ],
            &["one/only"],
        ),
        (
            vec![
                offering("a", "a", [plan("x", "p"), plan("y", "q")]),
                one(),
                offering("b", "b", [plan("x", "p")]),
            ],
            &[
                "services[0] \"a\": plans[0] \"p\": id \"x\" is also that of services[2] \"b\": plans[0] \"p\"",
                "services[2] \"b\": plans[0] \"p\": id \"x\" is also that of services[0] \"a\": plans[0] \"p\"",
                "services[2] \"b\": none of its plans can be used",
            ],
            &["a/q", "one/only"],
        ),
        (
            vec![offering("a", "a", [plan("x", "p"), plan("y", "p"), plan("z", "q")])],
            &[
                "services[0] \"a\": plans[0] \"p\": name \"p\" is also that of services[0] \"a\": plans[1] \"p\"",
                "services[0] \"a\": plans[1] \"p\": name \"p\" is also that of services[0] \"a\": plans[0] \"p\"",
            ],
            &["a/q"],
        ),
        // Entries with other faults count too.
        (
            vec![offering("x", "a", json!([])), offering("x", "b", [plan("b", "p")])],
            &[
                "services[0] \"a\": plans is empty",
                "services[0] \"a\": id \"x\" is also that of services[1] \"b\"",
                "services[1] \"b\": id \"x\" is also that of services[0] \"a\"",
            ],
            &[],
        ),
        // Names are case-sensitive, may occur again in another offering, and an offering may have the same id
        // as a plan.
        (
            vec![
                offering("a", "redis", [plan("A", "small"), plan("a", "Small")]),
                offering("A", "Redis", [plan("b", "small")]),
            ],
            &[],
            &["redis/small", "redis/Small", "Redis/small"],
        ),
    ];
    for (services, named, offered) in rows {
        let catalog = parse(&services).unwrap();
        assert_eq!(skipped(&catalog), named);
        let plans = catalog.offerings.iter().flat_map(|offering| {
            offering.plans.iter().map(move |plan| format!("{}/{}", offering.name, plan.name))
        });
        assert_eq!(plans.collect::<Vec<_>>(), offered);
    }
}

#[test]
fn only_an_entry_that_cannot_be_read_is_left_out() {
    for (entry, message) in [
        ("null", "it is not an object"),
        ("[\"s\",\"redis\"]", "it is not an object"),
        (r#"{"id":"a","id":"b"}"#, "it cannot be read: duplicate field `id`"),
        ("{\"id\":\"\\ud800\"}", "it cannot be read: unexpected end of hex escape"),
    ] {
        let good = offering("good", "mysql", [plan("p", "only")]);
        let body = format!(r#"{{"services":[{entry},{good}]}}"#);
        let catalog = Catalog::parse(body.as_bytes()).unwrap();
        assert_eq!(skipped(&catalog), [format!("services[0]: {message}")]);
        assert_eq!(catalog.offerings.len(), 1);
        let good = good.to_string().replace('[', &format!("[{entry},"));
        let catalog = Catalog::parse(format!(r#"{{"services":[{good}]}}"#).as_bytes()).unwrap();
        assert_eq!(skipped(&catalog), [format!("services[0] \"mysql\": plans[0]: {message}")]);
        assert_eq!(catalog.offerings[0].plans.len(), 1);
    }
}

// OSB 57
#[test]
fn it_is_known_which_offerings_and_plans_were_left_out() {
    let mut broken = offering("broken", "a", [plan("a", "p")]);
    broken["bindable"] = json!("yes");
    let mut half = offering("half", "b", [plan("b", "p"), plan("c", "q")]);
    half["plans"][0]["free"] = json!("no");
    let catalog = parse(&[broken.clone(), half.clone()]).unwrap();
    let LeftOut { offerings, plans, .. } = &catalog.left_out;
    assert_eq!((offerings.len(), plans.len()), (1, 1));
    let left_out = &catalog.left_out;
    assert!(left_out.has_offering("broken") && !left_out.has_offering("half"));
    assert!(left_out.has_plan("any", "broken") && left_out.has_plan("b", "half"));
    assert!(!left_out.has_plan("c", "half") && !left_out.has_offering("gone"));

    half["plans"][0]["id"] = json!(null);
    let catalog = parse(&[half]).unwrap();
    assert!(catalog.left_out.has_plan("any", "half") && !catalog.left_out.has_plan("any", "gone"));

    broken["id"] = json!(7);
    let catalog = parse(&[broken]).unwrap();
    assert!(catalog.left_out.has_offering("any") && catalog.left_out.has_plan("any", "any"));
}
