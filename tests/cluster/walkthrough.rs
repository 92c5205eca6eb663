//! The manifests of the original's walkthrough and reference, as its users have them in their repositories, applied with
//! `kubectl` as they are.

use std::path::Path;

use serde_json::json;
use testkit::{
    broker::{Offering, Operation, Plan, catalog},
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE},
    },
};

use super::{unregistered, users_view::kubectl};

fn manifest(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/walkthrough").join(file);
    path.to_str().unwrap().to_owned()
}

async fn try_out(case: &Case, file: &str, objects: usize) {
    let said =
        kubectl(case, &["apply", "--dry-run=server", "--validate=strict", "-f", &manifest(file)]).await;
    let created = said.lines().filter(|line| line.ends_with("created (server dry run)")).count();
    assert_eq!(created, objects, "{file}: {said}");
}

// v0.3 A2
#[tokio::test]
async fn the_manifests_of_the_original_apply_unchanged() {
    let case = unregistered("walkthrough", true).await;
    try_out(&case, "cluster-service-broker.yaml", 3).await;
    try_out(&case, "service-broker.yaml", 1).await;
    try_out(&case, "classes-and-plans.yaml", 4).await;

    let plans = |offering: Offering| {
        offering
            .plan(Plan::new("plan-default-of-the-walkthrough", "default"))
            .plan(Plan::new("plan-premium-of-the-walkthrough", "premium"))
    };
    let offering = Offering::new("offering-of-the-walkthrough", "user-provided-service");
    case.broker.set_catalog(catalog([plans(offering)]));
    case.broker.set_credentials(json!({ "name": "root", "password": "letmein" }));
    case.register(json!({})).await;
    case.hand.secret("ups-parameters", json!({ "more": r#"{"secret": "sesame"}"# })).await.unwrap();

    kubectl(&case, &["apply", "-f", &manifest("service-instance.yaml")]).await;
    for name in ["ups-instance", "ups-instance-by-kubernetes-names", "ups-instance-by-external-ids"] {
        case.ready(INSTANCE, name).await;
    }
    kubectl(&case, &["apply", "-f", &manifest("service-binding.yaml")]).await;
    for name in ["ups-binding", "ups-binding-with-everything"] {
        case.ready(BINDING, name).await;
    }
    assert_eq!(case.content("ups-binding").await, json!({ "name": "root", "password": "letmein" }));
    let transformed = json!({ "PASSWORD": "letmein", "GREETING": "hello", "WHO": "root" });
    assert_eq!(case.content("ups-credentials").await, transformed);

    // Applied again they change nothing and ask for nothing.
    for file in ["service-instance.yaml", "service-binding.yaml"] {
        let said = kubectl(&case, &["apply", "-f", &manifest(file)]).await;
        assert!(said.lines().all(|line| line.ends_with(" unchanged")), "{said}");
    }
    assert!(case.broker.requests_of(Operation::Update).is_empty());
    for file in ["service-binding.yaml", "service-instance.yaml"] {
        kubectl(&case, &["delete", "-f", &manifest(file)]).await;
    }
    case.finish().await;
}
