//! The operator is killed while a broker is at work for it.

use std::time::Duration;

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Hold, Operation, Request},
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE, SECRET},
    },
};

use super::{dies_during, namespaced, turn};

/// The operator dies during this operation ([`dies_during`]), and the end is what was asked for.
async fn killed_during(operation: Operation, late: bool) {
    let (stage, _turn) = turn().await;
    let name = format!("{operation:?}-{}", if late { "before" } else { "after" }).to_lowercase();
    let case = namespaced(stage, &name).await;
    let of_binding = matches!(operation, Operation::Bind | Operation::Unbind);
    let removal = matches!(operation, Operation::Unbind | Operation::Deprovision);
    if operation != Operation::Provision {
        case.provide("db", json!({})).await;
    }
    if operation == Operation::Unbind {
        case.connect("app", "db", json!({})).await;
    }
    dies_during(&case, operation, late, async {
        match operation {
            Operation::Provision => {
                drop(case.order("db", "small", json!({ "parameters": { "size": 1 } })).await);
            }
            Operation::Update => drop(case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await),
            Operation::Bind => drop(case.bind("app", "db", json!({})).await),
            Operation::Unbind => case.delete(BINDING, "app").await,
            _ => case.delete(INSTANCE, "db").await,
        }
    })
    .await;
    match (of_binding, removal) {
        (true, true) => case.gone(BINDING, "app").await,
        (false, true) => case.gone(INSTANCE, "db").await,
        (true, false) => {
            case.ready(BINDING, "app").await;
            let id = case.broker.live_bindings().pop_first().unwrap();
            assert_eq!(case.content("app").await["username"], id, "the credentials are those of what exists");
        }
        (false, false) => drop(case.ready(INSTANCE, "db").await),
    }
    if operation == Operation::Unbind {
        case.gone(SECRET, "app").await;
    }
    let instances = usize::from(operation != Operation::Deprovision);
    let bindings = usize::from(operation == Operation::Bind);
    assert_eq!(case.broker.live_instances().len(), instances, "{}", case.broker.summary());
    assert_eq!(case.broker.live_bindings().len(), bindings, "{}", case.broker.summary());
    // A repeated creation is the same to the byte: else it would be another one.
    let repeated = case.broker.requests_of(operation);
    let same =
        |field: fn(&Request) -> String| repeated.iter().all(|request| field(request) == field(&repeated[0]));
    let proper = match operation {
        Operation::Update => same(|request| request.text("plan_id").to_owned()),
        _ => same(|request| format!("{}{:?}", request.raw_target, request.body_bytes)),
    };
    assert!(proper, "{}", case.broker.summary());
    case.finish().await;
}

#[tokio::test]
async fn a_provision_survives() {
    killed_during(Operation::Provision, true).await;
}

// v0.3 P1
#[tokio::test]
async fn a_provision_that_has_taken_effect_survives() {
    killed_during(Operation::Provision, false).await;
}

#[tokio::test]
async fn an_update_survives() {
    killed_during(Operation::Update, true).await;
}

#[tokio::test]
async fn an_update_that_has_taken_effect_survives() {
    killed_during(Operation::Update, false).await;
}

#[tokio::test]
async fn a_bind_survives() {
    killed_during(Operation::Bind, true).await;
}

// v0.3 P1
#[tokio::test]
async fn a_bind_that_has_taken_effect_survives() {
    killed_during(Operation::Bind, false).await;
}

#[tokio::test]
async fn an_unbind_survives() {
    killed_during(Operation::Unbind, true).await;
}

// v0.3 P1
#[tokio::test]
async fn an_unbind_that_has_taken_effect_survives() {
    killed_during(Operation::Unbind, false).await;
}

#[tokio::test]
async fn a_deprovision_survives() {
    killed_during(Operation::Deprovision, true).await;
}

// v0.3 P1
#[tokio::test]
async fn a_deprovision_that_has_taken_effect_survives() {
    killed_during(Operation::Deprovision, false).await;
}

#[tokio::test]
async fn an_asynchronous_operation_is_followed_by_the_next_process() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "followed").await;
    for operation in [Operation::Provision, Operation::Bind, Operation::Unbind, Operation::Deprovision] {
        let hold = Hold::new();
        case.broker.set_async_script(operation, AsyncScript::succeeding(1).held_by(&hold));
        let (kind, name, reason) = match operation {
            Operation::Provision => {
                case.order("db", "small", json!({})).await;
                (INSTANCE, "db", "Provisioning")
            }
            Operation::Bind => {
                case.bind("app", "db", json!({})).await;
                (BINDING, "app", "Binding")
            }
            Operation::Unbind => {
                case.delete(BINDING, "app").await;
                (BINDING, "app", "Unbinding")
            }
            _ => {
                case.delete(INSTANCE, "db").await;
                (INSTANCE, "db", "Deprovisioning")
            }
        };
        case.says(kind, name, reason, &[]).await;
        stage.operator.kill();
        hold.release();
        stage.operator.restart().await.unwrap();
        if matches!(operation, Operation::Provision | Operation::Bind) {
            case.ready(kind, name).await;
        } else {
            case.gone(kind, name).await;
        }
        assert_eq!(case.broker.requests_of(operation).len(), 1, "{}", case.broker.summary());
    }
    case.finish().await;
}

// OSB 156
#[tokio::test]
async fn what_was_asked_for_while_nobody_was_there_is_done_later() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "meanwhile").await;
    case.provide("old", json!({})).await;
    case.connect("old-app", "old", json!({})).await;
    stage.operator.kill();
    case.order("new", "small", json!({})).await;
    case.bind("new-app", "new", json!({})).await;
    for (kind, name) in [(BINDING, "old-app"), (INSTANCE, "old"), (SECRET, "old-app")] {
        case.delete(kind, name).await;
    }
    stage.operator.restart().await.unwrap();
    case.ready(BINDING, "new-app").await;
    case.gone(BINDING, "old-app").await;
    case.gone(INSTANCE, "old").await;
    let clusters: Vec<String> = case
        .broker
        .requests_of(Operation::Provision)
        .iter()
        .map(|request| request.body["context"]["clusterid"].as_str().unwrap().to_owned())
        .collect();
    assert!(clusters.len() == 2 && clusters[0] == clusters[1], "one cluster has one id: {clusters:?}");
    case.finish().await;
}

/// How many instances, each with a binding.
const MANY: usize = 5;

/// Kills the operator over and over, each time a little later in its work, until `done`.
async fn harass(case: &Case, kills: u64) {
    for kill in 1..=kills {
        // Not to let things settle: this is how far it gets.
        tokio::time::sleep(Duration::from_millis(kill * 13)).await;
        case.stage.operator.kill();
        case.stage.operator.restart().await.unwrap();
    }
}

// v0.3 P1
#[tokio::test]
async fn an_operator_that_keeps_dying_loses_nothing_and_makes_nothing_twice() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "harassed").await;
    case.broker.set_async(Operation::Unbind, 1);
    for index in 0..MANY {
        case.order(&format!("db{index}"), "small", json!({})).await;
        case.bind(&format!("app{index}"), &format!("db{index}"), json!({})).await;
    }
    harass(&case, 10).await;
    for index in 0..MANY {
        case.ready(BINDING, &format!("app{index}")).await;
    }
    assert_eq!(case.broker.ever_created().len(), 2 * MANY, "{}", case.broker.summary());
    for index in 0..MANY {
        case.delete(BINDING, &format!("app{index}")).await;
        case.delete(INSTANCE, &format!("db{index}")).await;
    }
    harass(&case, 10).await;
    for index in 0..MANY {
        case.gone(INSTANCE, &format!("db{index}")).await;
    }
    case.finish().await;
}
