//! The way back to v0.3 (`docs/migration.md`): the objects hold what v0.3 reads, nothing that a broker has is touched by it,
//! and this operator can take over again.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{
    broker::{Operation, POSTGRESQL, SMALL},
    stage::{
        Installation, WITH_POLICIES,
        case::Case,
        install::install,
        objects::{BINDING, INSTANCE, is_ready},
    },
};

use super::OPERATOR;

const ADMISSION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/admission");

fn succeeded(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// As far as v0.3 and `kubectl wait` can tell, the spec is the one that was acted on.
fn is_at_rest(object: &Value, observed: &str) -> bool {
    let generation = &object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array().unwrap();
    object["status"][observed] == *generation
        && conditions.iter().all(|it| it["observedGeneration"] == *generation)
}

// v0.3 O10
#[tokio::test]
async fn v0_3_finds_in_specs_what_it_looks_for_there() {
    static INSTALLATION: Installation = Installation::new(OPERATOR, &[WITH_POLICIES], &[]);
    let stage = INSTALLATION.stage().await;
    let case = Case::namespaced(stage, "back").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    case.broker.on(Operation::Provision).once().respond(400, json!({ "description": "no" }));
    case.order("refused", "small", json!({})).await;
    case.says(INSTANCE, "refused", "ProvisionCallFailed", &["no"]).await;
    // v0.3 asks the broker for these under the ids that the operator has filled in.
    case.order("waiting", "none", json!({})).await;
    case.says(INSTANCE, "waiting", "ReferencesNonexistentServicePlan", &[]).await;
    case.bind("waits", "waiting", json!({})).await;
    case.says(BINDING, "waits", "ErrorInstanceRefsUnresolved", &[]).await;
    stage.operator.stop().await.unwrap();
    let mut without_admission = stage.plane.kubectl_command();
    without_admission.args(["delete", "-k", ADMISSION]);
    succeeded(without_admission);
    let asked = case.broker.journal().len();

    let (db, app) = (case.get(INSTANCE, "db").await, case.get(BINDING, "app").await);
    assert_eq!(db["spec"]["externalID"], db["status"]["instanceID"], "{db:#}");
    assert_eq!(db["spec"]["serviceClassRef"]["name"], POSTGRESQL, "{db:#}");
    assert_eq!(db["spec"]["servicePlanRef"]["name"], SMALL, "{db:#}");
    assert!(is_at_rest(&db, "observedGeneration"), "{db:#}");
    assert_eq!(app["spec"]["externalID"], app["status"]["bindingID"], "{app:#}");
    assert_eq!(app["spec"]["secretName"], "app", "{app:#}");
    assert!(is_at_rest(&app, "reconciledGeneration"), "{app:#}");
    let refused = case.get(INSTANCE, "refused").await;
    assert!(is_at_rest(&refused, "observedGeneration"), "{refused:#}");
    for (kind, name, status) in
        [(INSTANCE, "waiting", "deprovisionStatus"), (BINDING, "waits", "unbindStatus")]
    {
        let waiting = case.get(kind, name).await;
        assert_eq!(waiting["spec"]["externalID"], waiting["metadata"]["uid"], "{waiting:#}");
        assert_eq!(waiting["status"][status], "NotRequired", "{waiting:#}");
    }

    // And forth again.
    install(stage.plane, WITH_POLICIES).await.unwrap();
    stage.operator.restart().await.unwrap();
    let edited = case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    assert!(!is_ready(&edited));
    case.ready(INSTANCE, "db").await;
    let requests = case.broker.journal().len() - asked;
    assert_eq!((requests, case.broker.requests_of(Operation::Update).len()), (1, 1));
    let other = json!({ "spec": { "externalID": "another" } });
    let refusal = case.hand.edit(INSTANCE, "db", other).await.unwrap_err().to_string();
    assert!(refusal.contains("externalID is immutable"), "{refusal}");
    for binding in ["app", "waits"] {
        case.remove(BINDING, binding).await;
    }
    for instance in ["refused", "waiting", "db"] {
        case.remove(INSTANCE, instance).await;
    }
    case.finish().await;
}
