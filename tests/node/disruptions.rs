//! What a cluster does to Pods: nothing that was ordered is lost, and nothing is made twice.

use super::{
    site::{OPERATOR, Turn},
    work::Work,
};

/// A Pod that is asked to stop waits for the answer.
const ANSWERED: usize = 1;

#[tokio::test]
async fn rollout_restart_loses_nothing() {
    let site = Turn::shared().await;
    let before = site.leader().await;
    let work = Work::begin(&site, "restarted").await;
    site.kubectl(&["rollout", "restart", "-n", OPERATOR, "deployment/service-catalog"]).await;
    work.release_late(&site, &before).await;
    site.rolled_out().await;
    site.succeeded(&before).await;
    work.finish(ANSWERED).await;
    assert_eq!(site.restarts().await, 0, "{}", site.node.report().await);
}

#[tokio::test]
async fn leader_that_is_killed_is_replaced_and_nothing_is_made_twice() {
    let site = Turn::shared().await;
    let before = site.leader().await;
    let restarts = site.restarts().await;
    let work = Work::begin(&site, "killed").await;
    site.node.kill(OPERATOR, &before).await.unwrap();
    work.release();
    // Nobody hears the answer, so the order is repeated.
    work.finish(2).await;
    site.rolled_out().await;
    assert_eq!(site.restarts().await, restarts + 1, "{}", site.node.report().await);
}

#[tokio::test]
async fn drain_takes_one_replica_at_a_time_and_loses_nothing() {
    let site = Turn::shared().await;
    let (before, other) = (site.leader().await, site.standby().await);
    let work = Work::begin(&site, "drained").await;
    // Of the two, the one that leads is to be the first.
    site.kubectl(&["label", "pod", "-n", OPERATOR, &before, "drain=first"]).await;
    let first = ["drain", "node", "--pod-selector=drain=first", "--timeout=100s"];
    tokio::join!(site.kubectl(&first), work.release_late(&site, &before));
    assert_eq!(site.succeeded(&before).await, other);
    // There is no other node for the new Pod, so the budget protects the last one, which works.
    let selector = "--pod-selector=app.kubernetes.io/name=service-catalog";
    let rest = site.node.kubectl(&["drain", "node", selector, "--timeout=1s"]).await.unwrap_err().to_string();
    assert!(rest.contains("disruption budget"), "{rest}");
    work.finish(ANSWERED).await;
    assert_eq!(site.leader().await, other);
    site.kubectl(&["uncordon", "node"]).await;
    site.rolled_out().await;
}
