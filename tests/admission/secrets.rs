//! No spec names a Secret that the requesting user may not read.

use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use service_catalog::crd::{ClusterServiceBroker, ServiceBinding, ServiceBroker, ServiceInstance};

use super::{
    binding, client, instance, merge, namespace, newer_fields::eventually, object, plane, refused, seen_by,
};

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
        refused(merge(&bob, "guarded", json!({"spec": elsewhere})).await, "may not get");
    }
    merge(&bob, "guarded", json!({"metadata": {"finalizers": null}})).await.unwrap();

    let bob: Api<ServiceBroker> = seen_by("bob", "brokers").await;
    let auth = json!({"authInfo": {"bearer": {"secretRef": {"name": "s1"}}}});
    let broker: ServiceBroker = object("guarded", json!({"url": "https://x"}), &auth);
    refused(bob.create(&PostParams::default(), &broker).await, "may not get");
    // Whoever may read this Secret alone.
    let erin: Api<ServiceBroker> = seen_by("erin", "brokers").await;
    grant("brokers", "erin-brokers", "erin", "brokers").await;
    grant("brokers", "erin-s1", "erin", "some-secrets").await;
    let because = r#"may not get the Secrets of namespace "brokers""#;
    eventually(
        async || erin.create(&PostParams::default(), &broker).await,
        |made| made.as_ref().is_err_and(|error| error.to_string().contains(because)),
    )
    .await
    .unwrap_err();
}

async fn grant(namespace: &str, name: &str, user: &str, role: &str) {
    let manifest = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
         subjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]\n"
    );
    plane().await.apply(&manifest).await.unwrap();
}

/// Instances send parameters from Secrets to the broker. Whoever says where a broker is could read them there.
#[tokio::test]
async fn a_broker_moves_only_with_the_right_to_read_what_is_sent_to_it() {
    let plane = plane().await;
    namespace("moves").await;
    let (post, dry) = (PostParams::default(), PostParams { dry_run: true, ..PostParams::default() });
    let because = r#"user "dave" may not get the Secrets of all namespaces"#;
    let dave: Api<ClusterServiceBroker> = Api::all(client("dave").await);
    let plain =
        |name: &str| -> ClusterServiceBroker { object(name, json!({"url": "https://x"}), &json!({})) };
    dave.create(&post, &plain("moves")).await.unwrap();
    let replaces = json!({"metadata": {"annotations": {"servicecatalog.k8s.io/replaces": "other"}}});
    for moved in [
        json!({"spec": {"url": "https://evil"}}),
        json!({"spec": {"insecureSkipTLSVerify": true}}),
        json!({"spec": {"caBundle": "eA=="}}),
        replaces.clone(),
    ] {
        refused(merge(&dave, "moves", moved).await, because);
    }
    let mut successor = plain("moves-2");
    successor.annotations_mut().insert("servicecatalog.k8s.io/replaces".into(), "moves".into());
    refused(dave.create(&dry, &successor).await, because);
    for kept in [
        json!({"spec": {"relistRequests": 1, "relistBehavior": "Manual"}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"finalizers": null}}),
    ] {
        merge(&dave, "moves", kept).await.unwrap();
    }
    let admin: Api<ClusterServiceBroker> = Api::all(plane.admin_client().unwrap());
    merge(&admin, "moves", replaces).await.unwrap();
    merge(&admin, "moves", json!({"spec": {"url": "https://y"}})).await.unwrap();
    // What it has already is no move.
    merge(&dave, "moves", json!({"metadata": {"labels": {"a": "c"}}})).await.unwrap();
    dave.delete("moves", &DeleteParams::default()).await.unwrap();

    let plain = || -> ServiceBroker { object("moves", json!({"url": "https://x"}), &json!({})) };
    let because = r#"may not get the Secrets of namespace "moves""#;
    let (alice, bob): (Api<ServiceBroker>, Api<ServiceBroker>) =
        (seen_by("alice", "moves").await, seen_by("bob", "moves").await);
    refused(bob.create(&dry, &plain()).await, because);
    alice.create(&post, &plain()).await.unwrap();
    refused(merge(&bob, "moves", json!({"spec": {"url": "https://evil"}})).await, because);
    merge(&bob, "moves", json!({"spec": {"relistRequests": 1}})).await.unwrap();
    merge(&alice, "moves", json!({"spec": {"url": "https://y"}})).await.unwrap();
    bob.delete("moves", &DeleteParams::default()).await.unwrap();
    merge(&bob, "moves", json!({"metadata": {"finalizers": null}})).await.unwrap();
}

#[tokio::test]
async fn a_binding_needs_the_right_to_create_its_secret() {
    plane().await;
    namespace("creates").await;
    let post = PostParams::default();
    let erin: Api<ServiceBinding> = seen_by("erin", "creates").await;
    let because = r#"user "erin" may not create Secrets in namespace "creates""#;
    refused(erin.create(&post, &binding("app", &json!({}))).await, because);
    refused(erin.create(&post, &binding("app", &json!({"secretName": "other"}))).await, because);
    let bob: Api<ServiceBinding> = seen_by("bob", "creates").await;
    bob.create(&post, &binding("app", &json!({}))).await.unwrap();
    // Nothing else needs it.
    merge(&erin, "app", json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    merge(&erin, "app", json!({"spec": {"deletionPolicy": "Retain"}})).await.unwrap();
    // Labels and annotations of a Secret can mean something to others.
    let labels = json!({"spec": {"secret": {"labels": {"example.com/copy-to": "everywhere"}}}});
    refused(merge(&erin, "app", labels.clone()).await, because);
    // The Secret is there, and others may use it.
    refused(
        merge(&bob, "app", labels.clone()).await,
        r#"user "bob" may not update Secrets in namespace "creates""#,
    );
    let alice: Api<ServiceBinding> = seen_by("alice", "creates").await;
    merge(&alice, "app", labels).await.unwrap();
    merge(&erin, "app", json!({"spec": {"secret": null}})).await.unwrap();
    erin.delete("app", &DeleteParams::default()).await.unwrap();
    merge(&erin, "app", json!({"metadata": {"finalizers": null}})).await.unwrap();
    let erin: Api<ServiceInstance> = seen_by("erin", "creates").await;
    erin.create(&post, &instance("db", &json!({}))).await.unwrap();
}
