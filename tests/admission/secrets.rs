//! No spec names a Secret that the requesting user may not read.

use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use service_catalog::crd::{ClusterServiceBroker, ServiceBinding, ServiceBroker, ServiceInstance};

use super::{binding, client, instance, merge, namespace, object, plane, refused, seen_by};

/// Parameters from the Secrets `s0` and following.
pub(super) fn parameters_from(count: usize) -> Value {
    let sources: Vec<_> = (0..count)
        .map(|index| json!({"secretKeyRef": {"name": format!("s{index}"), "key": "parameters"}}))
        .collect();
    json!({"parametersFrom": sources})
}

// v0.3 F11, Q3, Q4
#[tokio::test]
async fn nobody_has_a_secret_read_that_they_may_not_read() {
    plane().await;
    namespace("secrets").await;
    let post = PostParams::default();
    let alice: Api<ServiceInstance> = seen_by("alice", "secrets").await;
    let bob: Api<ServiceInstance> = seen_by("bob", "secrets").await;
    let carol: Api<ServiceInstance> = seen_by("carol", "secrets").await;
    // One expression of the API server can pay for two checks, and a policy for 28.
    for count in [1, 3, 16] {
        let wanted = instance(&format!("n{count}"), &parameters_from(count));
        refused(bob.create(&post, &wanted).await, r#"user "bob" may not get Secret "secrets/s0""#);
        carol.create(&post, &wanted).await.unwrap();
    }
    let many = instance("many", &parameters_from(17));
    refused(carol.create(&post, &many).await, "names 17 Secrets");
    alice.create(&post, &many).await.unwrap();

    merge(&bob, "n3", json!({"spec": {"clusterServicePlanExternalName": "large"}})).await.unwrap();
    refused(merge(&bob, "n3", json!({"spec": parameters_from(2)})).await, "s0");
    merge(&bob, "n3", json!({"spec": {"parametersFrom": null}})).await.unwrap();

    let bob: Api<ServiceBinding> = seen_by("bob", "secrets").await;
    let carol: Api<ServiceBinding> = seen_by("carol", "secrets").await;
    let from = |secret: Value| {
        binding(
            "from",
            &json!({"secretTransforms": [{"removeKey": {"key": "x"}}, {"addKeysFrom": {"secretRef": secret}}]}),
        )
    };
    refused(bob.create(&post, &from(json!({"name": "s1"}))).await, r#"Secret "secrets/s1""#);
    refused(
        carol.create(&post, &from(json!({"namespace": "kube-system", "name": "s1"}))).await,
        "a Secret of another namespace",
    );
    carol.create(&post, &from(json!({"namespace": "secrets", "name": "s1"}))).await.unwrap();
}

// v0.3 F11, Q5
#[tokio::test]
async fn credentials_of_a_broker_go_nowhere_without_the_right_to_read_them() {
    let plane = plane().await;
    namespace("brokers").await;
    let auth = json!({"authInfo": {"basic": {"secretRef": {"namespace": "brokers", "name": "s1"}}}});
    let broker: ClusterServiceBroker = object("guarded", json!({"url": "https://x"}), &auth);
    let bob: Api<ClusterServiceBroker> = Api::all(client("bob").await);
    refused(
        bob.create(&PostParams::default(), &broker).await,
        r#"user "bob" may not get Secret "brokers/s1", which spec.authInfo.basic names"#,
    );
    let admin: Api<ClusterServiceBroker> = Api::all(plane.admin_client().unwrap());
    admin.create(&PostParams::default(), &broker).await.unwrap();

    let made = merge(&bob, "guarded", json!({"spec": {"relistRequests": 4}})).await.unwrap();
    assert_eq!(made.spec.common.relist_requests, 4);
    let made = merge(&bob, "guarded", json!({"spec": {"relistRequests": 0}})).await.unwrap();
    assert_eq!(made.spec.common.relist_requests, 4);
    for elsewhere in
        [json!({"url": "https://evil"}), json!({"insecureSkipTLSVerify": true}), json!({"caBundle": "eA=="})]
    {
        refused(merge(&bob, "guarded", json!({"spec": elsewhere})).await, "brokers/s1");
    }
    merge(&bob, "guarded", json!({"metadata": {"finalizers": null}})).await.unwrap();

    let bob: Api<ServiceBroker> = seen_by("bob", "brokers").await;
    let auth = json!({"authInfo": {"bearer": {"secretRef": {"name": "s1"}}}});
    let broker: ServiceBroker = object("guarded", json!({"url": "https://x"}), &auth);
    refused(bob.create(&PostParams::default(), &broker).await, "spec.authInfo.bearer names");
}
