//! Who gets a turn behind a broker that does not answer, and what those are told who wait.
//!
//! The operator of these tests waits for an answer as long as it does in a cluster.

use serde_json::json;
use testkit::{
    broker::Operation,
    stage::{
        case::Case,
        objects::{Hand, INSTANCE, NAMESPACE, is_ready, uid},
        wait,
    },
};

use super::turn;

/// How many of the 16 places one namespace takes with orders.
const STALLED: usize = 12;

#[tokio::test]
async fn a_namespace_whose_orders_have_no_answer_keeps_neither_others_nor_its_own_deletions_waiting() {
    let (stage, _turn) = turn().await;
    assert!(stage.operator.stop().await.unwrap(), "{}", stage.operator.log_tail());
    let operator =
        stage.operator.replica("patient", &["--osb-api-request-timeout=60s", "--leader-elect=false"]);
    operator.begin().await.unwrap();
    let case = Case::cluster_wide(stage, "stalled").await;
    case.provide("settled", json!({})).await;
    let other = Hand { client: case.hand.client.clone(), namespace: "stalled-other".to_owned() };
    other.make(NAMESPACE, "stalled-other", json!({})).await.unwrap();

    let hold = case.broker.on(Operation::Provision).times(STALLED).hang();
    for index in 0..2 * STALLED {
        case.order(&format!("db{index}"), "small", json!({})).await;
    }
    case.broker_shows("the stalled orders", |broker| {
        (broker.requests_of(Operation::Provision).len() == 1 + STALLED).then_some(())
    })
    .await;
    // Another namespace, the catalog, and a deletion of the same namespace find free places.
    other.create(INSTANCE, "db", case.instance_spec("small", json!({}))).await.unwrap();
    wait::until(case.stage, &other, (INSTANCE, "db"), "to be ready", |object| object.is_some_and(is_ready))
        .await;
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), STALLED + 2, "{}", case.broker.summary());
    case.remove(INSTANCE, "settled").await;
    let fetched = case.broker.requests_of(Operation::Catalog).len();
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.broker_shows("the catalog", |broker| {
        (broker.requests_of(Operation::Catalog).len() > fetched).then_some(())
    })
    .await;

    // Whoever waits is told.
    let mut told = 0;
    for index in 0..2 * STALLED {
        let name = format!("db{index}");
        let sent = case.broker.requests_of(Operation::Provision);
        let id = uid(&case.get(INSTANCE, &name).await).to_owned();
        if !sent.iter().any(|request| request.concerns(&id)) {
            let words = ["Not sent yet", "waits for its turn", case.broker_name(), "other requests"];
            case.says(INSTANCE, &name, "WaitingForTurn", &words).await;
            told += 1;
        }
    }
    assert_eq!(told, STALLED);
    hold.release();
    for index in 0..2 * STALLED {
        case.ready(INSTANCE, &format!("db{index}")).await;
    }
    other.delete(INSTANCE, "db").await.unwrap();
    wait::until(case.stage, &other, (INSTANCE, "db"), "to be gone", |object| object.is_none()).await;
    case.finish().await;
    assert!(operator.stop().await.unwrap(), "{}", operator.log_tail());
    stage.operator.restart().await.unwrap();
}
