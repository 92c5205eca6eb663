//! Admission policies that are taken away or changed while the operator runs.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{
        Installation, Stage, WITH_POLICIES,
        case::Case,
        install::install,
        objects::{BINDING, INSTANCE},
        wait::PATIENCE,
    },
};

use super::OPERATOR;

const IDENTITY: &str = "x-broker-api-originating-identity";

fn kind(name: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", name),
        plural,
    )
}

fn topic(name: &str) -> String {
    format!("{name}.servicecatalog.k8s.io")
}

/// Waits until the metrics say how many policies are missing and how many are outdated, and returns whether the operator
/// is ready then.
async fn until(stage: &Stage, missing: usize, outdated: usize) -> bool {
    let deadline = std::time::Instant::now() + PATIENCE;
    let line = |problem: &str, count: usize| {
        format!("servicecatalog_admission_policies_missing{{problem=\"{problem}\"}} {count}\n")
    };
    loop {
        let metrics = stage.operator.metrics().await.unwrap();
        if metrics.contains(&line("missing", missing)) && metrics.contains(&line("outdated", outdated)) {
            // The probe follows the metric.
            let expected = missing + outdated == 0;
            while stage.operator.is_ready_now().await.unwrap() != expected {
                assert!(std::time::Instant::now() < deadline, "the probe does not follow\n{metrics}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            return expected;
        }
        assert!(std::time::Instant::now() < deadline, "{missing} missing, {outdated} outdated:\n{metrics}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The user that the last request of an operation names, or nothing.
fn named(case: &Case, operation: Operation) -> String {
    let requests = case.broker.requests_of(operation);
    let Some(header) = requests.last().unwrap().header(IDENTITY) else { return String::new() };
    let decoded = BASE64_STANDARD.decode(header.strip_prefix("kubernetes ").unwrap()).unwrap();
    let told: Value = serde_json::from_slice(&decoded).unwrap();
    told["username"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn policies_that_are_taken_away_are_noticed_and_nobody_is_named_without_them() {
    static INSTALLATION: Installation = Installation::new(
        OPERATOR,
        &[WITH_POLICIES],
        &["--admission-policy-check-interval=100ms", "--require-admission-policies"],
    );
    let stage = INSTALLATION.stage().await;
    assert!(until(stage, 0, 0).await);
    let case = Case::namespaced(stage, "taken-away").await;
    case.provide("before", json!({})).await;
    assert_eq!(named(&case, Operation::Provision), "admin");

    let admin = stage.plane.admin_client().unwrap();
    let mutating = kind("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings");
    let mutating: Api<DynamicObject> = Api::all_with(admin.clone(), &mutating);
    let validating = kind("ValidatingAdmissionPolicy", "validatingadmissionpolicies");
    let validating: Api<DynamicObject> = Api::all_with(admin.clone(), &validating);
    mutating.delete(&topic("serviceinstance-user"), &DeleteParams::default()).await.unwrap();
    assert!(!until(stage, 1, 0).await);
    // The other policy still refuses forged users.
    let forged = json!({ "userInfo": { "username": "root", "uid": "", "groups": ["system:masters"] } });
    let ignore = json!({ "spec": { "failurePolicy": "Ignore", "validations": [{ "expression": "true" }] } });
    validating
        .patch(&topic("serviceinstance-forged-user"), &PatchParams::default(), &Patch::Merge(ignore))
        .await
        .unwrap();
    assert!(!until(stage, 1, 1).await);
    // The API server takes a while to forget a policy.
    let deadline = std::time::Instant::now() + PATIENCE;
    let spec = case.instance_spec("small", forged);
    let instances = INSTANCE.api(&admin, case.namespace());
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    while !instances
        .create(&dry, &INSTANCE.object("forged", &spec))
        .await
        .is_ok_and(|made| made.data["spec"]["userInfo"]["username"] == "root")
    {
        assert!(std::time::Instant::now() < deadline, "a policy is still in force");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    case.hand.create(INSTANCE, "forged", spec).await.unwrap();
    let made = case.ready(INSTANCE, "forged").await;
    assert_eq!(made["spec"]["userInfo"]["username"], "root", "nobody has vouched for it");
    assert_eq!(named(&case, Operation::Provision), "", "the broker is told of nobody");
    case.connect("app", "forged", json!({})).await;
    assert_eq!(named(&case, Operation::Bind), "admin", "bindings have policies of their own");
    case.remove(BINDING, "app").await;
    case.remove(INSTANCE, "forged").await;
    assert_eq!(named(&case, Operation::Deprovision), "");
    assert!(stage.operator.logs().unwrap().contains("ADMISSION POLICIES ARE NOT IN FORCE"));

    install(stage.plane, WITH_POLICIES).await.unwrap();
    assert!(until(stage, 0, 0).await);
    case.provide("after", json!({})).await;
    assert_eq!(named(&case, Operation::Provision), "admin");
    case.finish().await;
}
