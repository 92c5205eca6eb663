//! Fields that old clients do not know. Fields of all types play the part, in a namespace of its own, with the policies that
//! such a field would have.

use kube::api::PostParams;
use serde_json::{Value, json};
use service_catalog::{
    admission::keeping,
    crd::{ServiceBinding, ServiceInstance},
};

use super::{PATIENCE, binding, instance, merge, namespace, plane, seen_by};

/// Puts the policy that changes objects, or the one that refuses them, into force for a namespace.
async fn policy(of_the_two: usize, fields: &[&str], within: &str) {
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let mut manifests = String::new();
    for mut document in keeping("serviceinstance", "serviceinstances", &fields)[of_the_two].documents.clone()
    {
        if let Some(constraints) = document["spec"].get_mut("matchConstraints") {
            let label = json!({ "kubernetes.io/metadata.name": within });
            constraints["namespaceSelector"] = json!({ "matchLabels": label });
        }
        let text = document.to_string().replace("serviceinstance-", &format!("{within}-"));
        manifests = format!("{manifests}---\n{text}\n");
    }
    plane().await.apply(&manifests).await.unwrap();
}

/// Asks until the answer is as wanted: policies take effect after a while.
pub(super) async fn eventually<T: std::fmt::Debug>(
    ask: impl AsyncFn() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn from(key: &str) -> Value {
    json!([{ "secretKeyRef": { "name": "s", "key": key } }])
}

// v0.3 F13
#[tokio::test]
async fn what_an_update_does_not_mention_is_kept_and_what_it_changes_is_changed() {
    plane().await;
    namespace("kept").await;
    policy(0, &["parameters", "parametersFrom", "clusterServicePlanExternalName"], "kept").await;
    let alice = seen_by::<ServiceInstance>("alice", "kept").await;
    let more = json!({
        "parameters": { "a": { "b": [1] } }, "parametersFrom": from("k"), "clusterServicePlanExternalName": "small",
    });
    let made = alice.create(&PostParams::default(), &instance("db", &more)).await.unwrap();
    let nothing = json!({ "spec": { "parameters": null, "parametersFrom": null, "clusterServicePlanExternalName": null } });
    // Until the policy is in force, the fields are lost: the object is given them again.
    let kept = eventually(
        async || {
            let lost = merge(&alice, "db", nothing.clone()).await.unwrap();
            merge(&alice, "db", json!({ "spec": more })).await.unwrap();
            lost
        },
        |kept| kept.spec.parameters.is_some(),
    )
    .await;
    assert_eq!(kept.spec, made.spec);
    let change = json!({ "spec": { "parameters": { "a": null, "c": 1 }, "parametersFrom": from("l") } });
    let changed = merge(&alice, "db", change).await.unwrap();
    assert_eq!(changed.spec.parameters, json!({ "c": 1 }).as_object().cloned().map(Into::into));
    assert_eq!(changed.spec.parameters_from[0].secret_key_ref.key, "l");
}

// v0.3 F13
#[tokio::test]
async fn what_cannot_be_kept_is_not_dropped() {
    plane().await;
    namespace("dropped").await;
    policy(1, &["clusterServicePlanExternalName"], "dropped").await;
    let alice = seen_by::<ServiceInstance>("alice", "dropped").await;
    let more = json!({ "clusterServicePlanExternalName": "small" });
    alice.create(&PostParams::default(), &instance("db", &more)).await.unwrap();
    let refused = eventually(
        async || {
            let refused =
                merge(&alice, "db", json!({ "spec": { "clusterServicePlanExternalName": null } })).await;
            merge(&alice, "db", json!({ "spec": more })).await.unwrap();
            refused
        },
        Result::is_err,
    )
    .await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("spec.clusterServicePlanExternalName can be changed, but not removed"), "{said}");
    let changed =
        merge(&alice, "db", json!({ "spec": { "clusterServicePlanExternalName": "large" } })).await.unwrap();
    assert_eq!(changed.spec.plan_reference.cluster_service_plan_external_name.as_deref(), Some("large"));
}

/// What is set to nothing stays as nothing, and what is not there is kept.
#[tokio::test]
async fn the_shape_of_a_secret_can_be_changed_to_the_default_and_not_be_lost() {
    plane().await;
    namespace("shapes").await;
    let alice = seen_by::<ServiceBinding>("alice", "shapes").await;
    let shape = json!({ "legalKeys": true, "keyPrefix": "DB_", "labels": { "a": "b" } });
    let made =
        alice.create(&PostParams::default(), &binding("app", &json!({ "secret": shape }))).await.unwrap();
    let kept = merge(&alice, "app", json!({ "spec": { "secret": null, "secretName": null } })).await.unwrap();
    assert_eq!(kept.spec, made.spec);
    let less = json!({ "spec": { "secret": { "keyPrefix": null, "labels": null } } });
    let changed = merge(&alice, "app", less).await.unwrap();
    assert_eq!(json!(changed.spec.secret), json!({ "legalKeys": true }));
    let none = merge(&alice, "app", json!({ "spec": { "secret": { "legalKeys": null } } })).await.unwrap();
    assert!(none.spec.secret.is_default(), "{:?}", none.spec.secret);
    let again = merge(&alice, "app", json!({ "spec": { "secret": shape } })).await.unwrap();
    assert_eq!(again.spec, made.spec);
}
