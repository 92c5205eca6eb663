//! The commands of `docs/backup.md`: what is lost with a cluster comes back, and the operator goes on with what the broker
//! has.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    page::commands,
    stage::{
        Installation, WITH_POLICIES,
        case::Case,
        objects::{BINDING, CONFIG_MAP, Hand, INSTANCE, Kind, SECRET, condition, uid},
        operator::ACCOUNT,
    },
};

use super::OPERATOR;

const PAGE: &str = "docs/backup.md";

/// The name of the instance, the binding and the Secret on the page.
const NAME: &str = "db";

/// Takes an object away as the loss of a cluster would: no broker hears of it.
async fn lose(hand: &Hand, kind: Kind, name: &str) {
    hand.edit(kind, name, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    hand.delete(kind, name).await.unwrap();
}

async fn lose_orders(case: &Case) {
    case.stage.operator.stop().await.unwrap();
    for kind in [BINDING, INSTANCE] {
        lose(&case.hand, kind, NAME).await;
        case.gone(kind, NAME).await;
    }
    // The garbage collector takes it, but not at once.
    case.hand.delete(SECRET, NAME).await.ok();
    case.gone(SECRET, NAME).await;
}

async fn lose_cluster_id(case: &Case) {
    let hand = Hand { client: case.hand.client.clone(), namespace: ACCOUNT.to_owned() };
    hand.delete(CONFIG_MAP, "cluster-info").await.unwrap();
}

async fn shell(case: &Case, script: &str) {
    case.stage.plane.shell(case.stage.plane.dir(), script).await.unwrap();
}

/// What goes on after a restore is what there was: nothing is made twice, and the Secret belongs to the binding.
async fn goes_on(case: &Case, before: &[Value; 2], content: &Value) {
    let restored = case.ready(INSTANCE, NAME).await;
    assert_eq!(restored["status"]["instanceID"], before[0]["status"]["instanceID"]);
    let restored = case.ready(BINDING, NAME).await;
    assert_eq!(restored["status"]["bindingID"], before[1]["status"]["bindingID"]);
    let adopted = |secret: &Value| secret["metadata"]["ownerReferences"][0]["uid"] == uid(&restored);
    case.until(SECRET, NAME, "to belong to the binding", adopted).await;
    assert_eq!(case.content(NAME).await, *content);
    for operation in [Operation::Provision, Operation::Bind] {
        assert_eq!(case.broker.requests_of(operation).len(), 1);
    }
}

#[tokio::test]
async fn what_is_lost_comes_back_by_the_commands_of_the_page() {
    static INSTALLATION: Installation = Installation::new(OPERATOR, &[WITH_POLICIES], &[]);
    let stage = INSTALLATION.stage().await;
    let case = Case::namespaced(stage, "shop").await;
    case.provide(NAME, json!({})).await;
    case.connect(NAME, NAME, json!({})).await;
    let before = [case.get(INSTANCE, NAME).await, case.get(BINDING, NAME).await];
    let content = case.content(NAME).await;
    for block in commands(PAGE, "## What to back up") {
        shell(&case, &block).await;
    }
    let restoring = commands(PAGE, "## Restore with kubectl");
    let (first, all) = (&restoring[0], &restoring[1]);
    let function = first.replace("restore cluster-info\n", "");
    assert_ne!(function, *first, "the page restores the id of the cluster first");
    let only_orders = format!("{function}restore secrets\nrestore instances\nrestore bindings\n");

    // Everything, also the brokers.
    lose_orders(&case).await;
    lose_cluster_id(&case).await;
    lose(&case.hand, case.broker_kind(), case.broker_name()).await;
    for kind in [case.class_kind(), case.plan_kind()] {
        for entry in case.entries(kind).await {
            case.gone(kind, entry["metadata"]["name"].as_str().unwrap()).await;
        }
    }
    shell(&case, first).await;
    stage.operator.restart().await.unwrap();
    shell(&case, &format!("{function}{all}")).await;
    goes_on(&case, &before, &content).await;

    // With the status, as Velero restores it.
    lose_orders(&case).await;
    shell(&case, &only_orders).await;
    for (kind, before) in [INSTANCE, BINDING].into_iter().zip(&before) {
        let status = Patch::Merge(json!({ "status": before["status"] }));
        let api = kind.api(&case.hand.client, case.namespace());
        api.patch_status(NAME, &PatchParams::default(), &status).await.unwrap();
    }
    stage.operator.restart().await.unwrap();
    goes_on(&case, &before, &content).await;
    let message = |object: &Value| condition(object, "Ready").unwrap().2.to_owned();
    assert_eq!(message(&case.get(INSTANCE, NAME).await), message(&before[0]));

    // Into a cluster with another id.
    lose_orders(&case).await;
    lose_cluster_id(&case).await;
    stage.operator.restart().await.unwrap();
    shell(&case, &only_orders).await;
    for kind in [INSTANCE, BINDING] {
        case.says(kind, NAME, "RestoredFromAnotherCluster", &[]).await;
    }
    let elsewhere = commands(PAGE, "## Another cluster");
    shell(&case, &elsewhere[0]).await;
    goes_on(&case, &before, &content).await;

    // A new order from the backup of an old one.
    case.remove(BINDING, NAME).await;
    case.remove(INSTANCE, NAME).await;
    shell(&case, &elsewhere[1]).await;
    let ordered = case.ready(INSTANCE, NAME).await;
    assert_eq!(ordered["spec"]["externalID"], ordered["metadata"]["uid"]);
    case.ready(BINDING, NAME).await;
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 2);
    case.finish().await;
}
