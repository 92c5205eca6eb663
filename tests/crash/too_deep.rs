//! Parameters that are nested so deep that readers of JSON give up, as the API server takes them from anybody.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::objects::{BINDING, CLASS, INSTANCE, PLAN},
};

use super::{is_served, namespaced, turn};

/// Deeper than the reader of the operator goes in a list, in an object, and at all.
const LEVELS: [usize; 3] = [120, 126, 500];

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
}

// OSB 88
#[tokio::test]
async fn an_object_that_is_too_deep_stops_nobody_but_itself() {
    let (stage, _turn) = turn().await;
    let other = namespaced(stage, "beside-the-deep").await;
    let mut case = namespaced(stage, "too-deep").await;
    // As the operator reads, because a test would give up as well.
    let admin = stage.plane.user("deep", &["system:masters"]).unwrap();
    case.hand.client = service_catalog::kube_api::client::with(admin).unwrap();
    case.provide("db", json!({})).await;
    case.provide("edited", json!({})).await;
    let refused = ["spec.parameters", "nested too deep", "64 levels"];
    for levels in LEVELS {
        let deep = || json!({ "parameters": nested(levels) });
        case.order(&format!("deep-{levels}"), "small", deep()).await;
        case.bind(&format!("deep-{levels}"), "db", deep()).await;
    }
    for (kind, name) in [(CLASS, "class"), (PLAN, "plan")] {
        let spec = json!({
            "serviceBrokerName": "nobody", "externalName": name, "externalID": name, "description": "by hand",
            "bindable": true, "free": true, "serviceClassRef": { "name": "class" }, "externalMetadata": nested(LEVELS[2]),
        });
        case.hand.create(kind, name, spec).await.unwrap();
    }
    case.edit(INSTANCE, "edited", json!({ "parameters": nested(LEVELS[0]) })).await;
    for again in [false, true] {
        if again {
            stage.operator.restart().await.unwrap();
        }
        is_served(&other, &format!("served-{again}")).await;
        for levels in LEVELS {
            for kind in [INSTANCE, BINDING] {
                case.says(kind, &format!("deep-{levels}"), "ErrorWithParameters", &refused).await;
            }
        }
        case.says(INSTANCE, "edited", "ErrorWithParameters", &refused).await;
    }
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 2, "those that were not too deep");
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    assert!(case.broker.requests_of(Operation::Update).is_empty());
    // It can be mended, and the rest can be deleted.
    case.edit(INSTANCE, "edited", json!({ "parameters": null })).await;
    case.ready(INSTANCE, "edited").await;
    case.remove(BINDING, "deep-120").await;
    case.connect("deep-120", "db", json!({})).await;
    for (kind, name) in [(CLASS, "class"), (PLAN, "plan")] {
        case.remove(kind, name).await;
    }
    case.finish().await;
    other.finish().await;
}
