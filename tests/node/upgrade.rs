//! From the version before to this one.

use testkit::{node::Node, repository};

use super::{site::Turn, work::Work};

#[tokio::test]
async fn upgrade_from_the_previous_commit_loses_nothing() {
    let site = Turn::alone().await;
    site.install(&Node::images().unwrap().join("previous"), "previous.tar").await;
    let before = site.leader().await;
    let work = Work::begin(&site, "upgraded").await;
    tokio::join!(site.install(repository(), "operator.tar"), work.release_late(&site, &before));
    site.succeeded(&before).await;
    work.finish(1).await;
}
