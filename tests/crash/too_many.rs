//! Parameters of half a million values, as the API server takes them from anybody: as trees of values, a handful of such
//! objects is more than the Deployment allows.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::objects::{BINDING, CLASS, INSTANCE},
};

use super::{is_served, namespaced, turn};

/// The most memory that the operator may ever have had, in MiB. The objects are 5 MiB of text.
const MEMORY: usize = 200;

/// What there is half a million of, in turn, in the parameters of instances.
const VALUES: [&str; 3] = ["0", "[]", "{\"\":0}"];

/// An object of nearly 1 MiB, which is the limit, that consists of little else than values.
fn values(of: &str) -> Value {
    let many = format!("{of},").repeat(((1 << 20) - 100) / (of.len() + 1));
    serde_json::from_str(&format!("{{\"a\":[{many}{of}]}}")).unwrap()
}

// OSB 88
#[tokio::test]
async fn objects_of_too_many_values_take_little_memory_and_stop_nobody_but_themselves() {
    let (stage, _turn) = turn().await;
    let other = namespaced(stage, "beside-the-many").await;
    let case = namespaced(stage, "too-many").await;
    stage.operator.restart().await.unwrap();
    case.provide("db", json!({})).await;
    for (index, of) in VALUES.iter().enumerate() {
        case.order(&format!("many-{index}"), "small", json!({ "parameters": values(of) })).await;
    }
    case.bind("many-0", "db", json!({ "parameters": values("0") })).await;
    let spec = json!({
        "serviceBrokerName": "nobody", "externalName": "class", "externalID": "class", "description": "by hand",
        "bindable": true, "externalMetadata": values("0"),
    });
    case.hand.create(CLASS, "class", spec).await.unwrap();
    let refused = ["spec.parameters: the value has", "values: 100000 are the most"];
    for index in 0..VALUES.len() {
        case.says(INSTANCE, &format!("many-{index}"), "ErrorWithParameters", &refused).await;
    }
    case.says(BINDING, "many-0", "ErrorWithParameters", &refused).await;
    for again in [false, true] {
        if again {
            stage.operator.restart().await.unwrap();
        }
        is_served(&other, &format!("served-{again}")).await;
        let peak = stage.operator.peak_memory().unwrap();
        assert!(peak < MEMORY, "the operator has had {peak} MiB");
    }
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1, "the one that was not too much");
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    // It can be mended, and the rest can be deleted.
    case.edit(INSTANCE, "many-0", json!({ "parameters": null })).await;
    case.ready(INSTANCE, "many-0").await;
    case.remove(CLASS, "class").await;
    case.finish().await;
    other.finish().await;
}
