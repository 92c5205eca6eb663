//! A catalog of ten thousand plans: it is read, turned into objects and compared with the present objects,
//! and only differences are written. The time of every step must grow only with the size of the catalog. If a
//! step searched all objects for each object, this test would take too long.

use serde_json::{Value, json};

use super::TestCluster;

const OFFERINGS: usize = 100;
const PLANS: usize = 100;

fn services() -> Value {
    let plan = |offering: usize, index: usize| {
        json!({
            "id": format!("plan-{offering}-{index}"), "name": format!("plan-{index}"), "description": "A plan",
            "metadata": { "bullets": ["fast", "cheap"], "costs": [{ "amount": { "usd": 649.0 }, "unit": "MONTHLY" }] },
            "maintenance_info": { "version": "1.0.0" },
        })
    };
    let offering = |offering: usize| {
        let plans: Vec<Value> = (0..PLANS).map(|index| plan(offering, index)).collect();
        json!({
            "id": format!("Offering-{offering}"), "name": format!("offering-{offering}"), "bindable": true,
            "description": "An offering", "tags": ["a", "b"], "plans": plans,
        })
    };
    (0..OFFERINGS).map(offering).collect()
}

fn shuffled(mut services: Value) -> Value {
    let offerings = services.as_array_mut().unwrap();
    offerings.reverse();
    offerings.rotate_left(OFFERINGS / 3);
    for offering in offerings {
        let plans = offering["plans"].as_array_mut().unwrap();
        plans.reverse();
        plans.rotate_left(PLANS / 7);
        offering["tags"].as_array_mut().unwrap().reverse();
    }
    services
}

// v0.3 Q50, Q51
#[test]
fn of_ten_thousand_plans_only_what_differs_is_written() {
    let mut services = services();
    let mut cluster = TestCluster::new();
    cluster.settings.max_catalog_entries = 2 * OFFERINGS * PLANS;
    assert_eq!(cluster.catalog(&services).len(), OFFERINGS * (PLANS + 1) + 1, "all of them, and the status");
    assert!(cluster.catalog(&shuffled(services.clone())).is_empty());
    services[42]["plans"][17]["description"] = json!("new");
    assert_eq!(cluster.catalog(&services), ["patch plan-42-17", "status"]);
}
