//! The way back to the original (`docs/migration.md`): what it reads in specs is written there, nothing that a broker has
//! is touched by it, and this operator can take over again.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{
    stage::{
        Installation, WITH_POLICIES,
        case::{CREDENTIALS, Case},
        install::install,
        objects::{BINDING, INSTANCE, SECRET, is_ready},
    },
    {
        broker::{Operation, POSTGRESQL, SMALL},
        control_plane::ControlPlane,
    },
};

use super::OPERATOR;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/migration/back");
const ADMISSION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/admission");

fn succeeded(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the script as an administrator does, with the kubectl of the control plane.
fn write_back(plane: &ControlPlane) {
    let kubectl = plane.kubectl_command();
    let programs = std::path::Path::new(kubectl.get_program()).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut script = Command::new(SCRIPT);
    script.env("PATH", path);
    for (name, value) in kubectl.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    succeeded(script);
}

/// As far as the original and `kubectl wait` can tell, the spec is the one that was acted on.
fn is_at_rest(object: &Value, seen: &str) -> bool {
    let generation = &object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array().unwrap();
    object["status"][seen] == *generation
        && conditions.iter().all(|it| it["observedGeneration"] == *generation)
}

// v0.3 O10
#[tokio::test]
async fn the_original_finds_in_specs_what_it_looks_for_there() {
    static INSTALLATION: Installation = Installation::new(OPERATOR, &[WITH_POLICIES], &[]);
    let stage = INSTALLATION.stage().await;
    let case = Case::namespaced(stage, "back").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    case.broker.on(Operation::Provision).once().respond(400, json!({ "description": "no" }));
    case.order("refused", "small", json!({})).await;
    case.says(INSTANCE, "refused", "ProvisionCallFailed", &["no"]).await;
    // Nobody has asked a broker for this one, so nobody needs to know its id.
    case.order("waiting", "none", json!({})).await;
    case.says(INSTANCE, "waiting", "ReferencesNonexistentServicePlan", &[]).await;
    let is_held =
        |secret: &Value| secret["metadata"]["finalizers"].as_array().is_some_and(|names| !names.is_empty());
    case.until(SECRET, CREDENTIALS, "to be held back", is_held).await;
    stage.operator.stop().await.unwrap();
    let mut without_admission = stage.plane.kubectl_command();
    without_admission.args(["delete", "-k", ADMISSION]);
    succeeded(without_admission);
    let asked = case.broker.journal().len();

    write_back(stage.plane);
    let (db, app) = (case.get(INSTANCE, "db").await, case.get(BINDING, "app").await);
    assert_eq!(db["spec"]["externalID"], db["status"]["instanceID"], "{db:#}");
    assert_eq!(db["spec"]["serviceClassRef"]["name"], POSTGRESQL, "{db:#}");
    assert_eq!(db["spec"]["servicePlanRef"]["name"], SMALL, "{db:#}");
    assert!(is_at_rest(&db, "observedGeneration"), "{db:#}");
    assert_eq!(app["spec"]["externalID"], app["status"]["bindingID"], "{app:#}");
    assert!(is_at_rest(&app, "reconciledGeneration"), "{app:#}");
    let secret = case.get(SECRET, CREDENTIALS).await;
    assert!(!is_held(&secret) && secret["metadata"].get("labels").is_none(), "{secret:#}");
    let refused = case.get(INSTANCE, "refused").await;
    let types: Vec<_> =
        refused["status"]["conditions"].as_array().unwrap().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["Ready", "Failed"], "the original would never take Stalled away");
    assert!(is_at_rest(&refused, "observedGeneration"), "{refused:#}");
    assert!(case.get(INSTANCE, "waiting").await["spec"].get("externalID").is_none());
    write_back(stage.plane);
    assert_eq!(case.get(INSTANCE, "db").await, db, "it can be repeated");

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
    for instance in ["refused", "waiting"] {
        case.remove(INSTANCE, instance).await;
    }
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "db").await;
    case.finish().await;
}
