//! What the operator writes into instances and bindings: it can, nobody else can, and nobody loses it by accident.

use std::path::Path;

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};
use service_catalog::crd::{
    ADOPT_ANNOTATION, ClusterServiceBroker, FINALIZER, INTENT_ANNOTATION, ServiceBinding, ServiceBroker,
    ServiceInstance,
};
use testkit::control_plane::{ControlPlane, Options};

use super::{
    binding, client, instance, is_forbidden, merge, namespace, newer_fields::eventually, object, plane,
    refused, seen_by,
};

const TIME: &str = "2026-01-02T03:04:05.000006Z";
const WAITS: &str = "waits for the current operation";
const NOT_THE_OPERATOR: &str = "is not the operator";

/// What an object is when it is written: a user's, or one that is shown by a server.
trait Written:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + serde::Serialize
{
}

impl<K> Written for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize
{
}

fn intent(namespace: &str, name: &str, time: &str) -> String {
    format!(
        r#"{{"cluster":"c-1","namespace":"{namespace}","name":"{name}","uid":"u-1","time":"{time}","operation":"provision","parameters":{{"a":"é\n"}}}}"#
    )
}

fn with_intent(text: &str) -> Value {
    json!({ "metadata": { "annotations": { INTENT_ANNOTATION: text } } })
}

/// What the operator writes before it asks for an instance.
fn provision(namespace: &str, name: &str) -> Value {
    json!({
        "metadata": { "annotations": { INTENT_ANNOTATION: intent(namespace, name, TIME) }, "finalizers": [FINALIZER] },
        "spec": {
            "externalID": "i-1", "clusterServiceClassRef": { "name": "class" },
            "clusterServicePlanRef": { "name": "plan" },
        },
    })
}

/// What the operator writes before it asks for a binding.
fn bind(namespace: &str, name: &str) -> Value {
    json!({
        "metadata": { "annotations": { INTENT_ANNOTATION: intent(namespace, name, TIME) } },
        "spec": { "externalID": "b-1", "secretName": "made" },
    })
}

async fn operator<K: Written>(namespace: &str) -> Api<K> {
    let account = plane().await.service_account("service-catalog", "service-catalog").await.unwrap();
    Api::namespaced(Client::try_from(account).unwrap(), namespace)
}

fn value<K: serde::Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap()
}

/// A manifest as it is sent by a client that replaces objects: with the version that it has read, and nothing else.
fn manifest<K: Written>(mut wanted: K, present: &K) -> K {
    wanted.meta_mut().resource_version = present.resource_version();
    wanted
}

async fn changed<K: Written>(api: &Api<K>, name: &str, patch: &Value) -> kube::Result<K> {
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    api.patch(name, &dry, &Patch::Merge(patch)).await
}

/// Waits until the policies for an object that the operator has written are in force.
async fn in_force<K: Written>(api: &Api<K>, name: &str, plain: &K) {
    let written = |made: &kube::Result<K>| {
        made.as_ref().is_ok_and(|made| made.annotations().contains_key(INTENT_ANNOTATION))
    };
    let nothing = json!({ "metadata": { "annotations": { INTENT_ANNOTATION: null } } });
    eventually(async || changed(api, name, &nothing).await, written).await.unwrap();
    eventually(
        async || changed(api, name, &with_intent("x")).await,
        |made| made.as_ref().is_err_and(is_forbidden),
    )
    .await
    .unwrap_err();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually(
        async || {
            let present = api.get(name).await.unwrap();
            api.replace(name, &dry, &manifest(plain.clone(), &present)).await
        },
        |made| made.as_ref().is_ok_and(|made| !made.finalizers().is_empty()),
    )
    .await
    .unwrap();
}

/// An instance and a binding that alice has made and the operator has written, called `db` and `app`.
async fn ordered(within: &str) -> (ServiceInstance, ServiceBinding) {
    // The future is large.
    Box::pin(order(within)).await
}

async fn order(within: &str) -> (ServiceInstance, ServiceBinding) {
    plane().await;
    namespace(within).await;
    let instances: Api<ServiceInstance> = seen_by("alice", within).await;
    let bindings: Api<ServiceBinding> = seen_by("alice", within).await;
    let post = PostParams::default();
    instances.create(&post, &instance("db", &json!({}))).await.unwrap();
    let mut app = binding("app", &json!({}));
    app.spec.secret_name = "made".into();
    bindings.create(&post, &app).await.unwrap();
    let db = merge(&operator(within).await, "db", provision(within, "db")).await.unwrap();
    let app = merge(&operator(within).await, "app", bind(within, "app")).await.unwrap();
    in_force(&instances, "db", &instance("db", &json!({}))).await;
    in_force(&bindings, "app", &binding("app", &json!({}))).await;
    (db, app)
}

#[tokio::test]
async fn what_the_operator_writes_is_stored_as_it_is() {
    let (db, app) = ordered("intents").await;
    let instances: Api<ServiceInstance> = operator("intents").await;
    let spec = value(&db.spec);
    assert_eq!(spec["userInfo"]["username"], "alice");
    assert_eq!(
        (&spec["externalID"], &spec["clusterServicePlanRef"]["name"]),
        (&json!("i-1"), &json!("plan"))
    );
    assert_eq!(db.annotations()[INTENT_ANNOTATION], intent("intents", "db", TIME));
    let spec = value(&app.spec);
    assert_eq!(spec["userInfo"]["username"], "alice");
    assert_eq!((&spec["externalID"], &spec["secretName"]), (&json!("b-1"), &json!("made")));
    assert_eq!(app.annotations()[INTENT_ANNOTATION], intent("intents", "app", TIME));
    // A later attempt has another id, and another plan another reference.
    let later = json!({
        "metadata": { "annotations": { INTENT_ANNOTATION: intent("intents", "db", "later") } },
        "spec": { "externalID": "i-2", "clusterServicePlanRef": { "name": "other" } },
    });
    let db = merge(&instances, "db", later).await.unwrap();
    let spec = value(&db.spec);
    assert_eq!(
        (&spec["externalID"], &spec["clusterServicePlanRef"]["name"]),
        (&json!("i-2"), &json!("other"))
    );
    assert_eq!(spec["userInfo"]["username"], "alice");
    let bindings: Api<ServiceBinding> = operator("intents").await;
    let app = merge(&bindings, "app", json!({ "spec": { "externalID": "b-2" } })).await.unwrap();
    assert_eq!((&*app.spec.external_id, &*app.spec.secret_name), ("b-2", "made"));
    // A binding with a generated name has no Secret name before.
    let alice: Api<ServiceBinding> = seen_by("alice", "intents").await;
    let mut generated = binding("", &json!({}));
    (generated.metadata.name, generated.metadata.generate_name) = (None, Some("app-".into()));
    let made = alice.create(&PostParams::default(), &generated).await.unwrap().name_any();
    let written = merge(&bindings, &made, bind("intents", &made)).await.unwrap();
    assert_eq!((&*written.spec.external_id, &*written.spec.secret_name), ("b-1", "made"));
    let finalizers = merge(&bindings, &made, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    assert!(finalizers.finalizers().is_empty());
}

#[tokio::test]
async fn nobody_else_writes_as_the_operator() {
    let (db, app) = ordered("others").await;
    let plane = plane().await;
    let all_rights: &[&str] = &["system:masters"];
    let mut others: Vec<(&str, Client)> =
        vec![("the administrator of the cluster", plane.admin_client().unwrap())];
    for name in [
        "alice",
        "service-catalog",
        "system:serviceaccount:service-catalog",
        "system:serviceaccount:service-catalog:service-catalog2",
        "system:serviceaccount:service-catalog:Service-Catalog",
        " system:serviceaccount:service-catalog:service-catalog",
        "system:serviceaccount:others:service-catalog",
    ] {
        others.push((name, Client::try_from(plane.user(name, all_rights).unwrap()).unwrap()));
    }
    let impersonates = plane.user("root", all_rights).unwrap();
    let mut impersonated = impersonates;
    impersonated.auth_info.impersonate = Some("system:serviceaccount:service-catalog:default".into());
    impersonated.auth_info.impersonate_groups = Some(vec!["system:masters".into()]);
    others.push(("another account of the namespace", Client::try_from(impersonated).unwrap()));
    for (who, client) in others {
        let instances: Api<ServiceInstance> = Api::namespaced(client.clone(), "others");
        let bindings: Api<ServiceBinding> = Api::namespaced(client, "others");
        refused(merge(&instances, "db", with_intent(&intent("others", "db", "x"))).await, NOT_THE_OPERATOR);
        refused(merge(&bindings, "app", with_intent(&intent("others", "app", "x"))).await, NOT_THE_OPERATOR);
        let other = json!({ "spec": { "externalID": "i-9" } });
        let error = merge(&instances, "db", other.clone()).await.unwrap_err().to_string();
        assert!(error.contains("spec.externalID: Invalid value: externalID is immutable"), "{who}: {error}");
        let references = json!({ "spec": {
            "clusterServiceClassRef": { "name": "x" }, "clusterServicePlanRef": null, "servicePlanRef": { "name": "y" },
        } });
        let kept = merge(&instances, "db", references).await.unwrap();
        assert_eq!((kept.spec, kept.metadata.generation), (db.spec.clone(), db.metadata.generation), "{who}");
        let kept = merge(&bindings, "app", json!({ "spec": { "externalID": "b-9", "secretName": null } }))
            .await
            .unwrap();
        assert_eq!(kept.spec, app.spec, "{who}");
    }
    // Where there was none.
    let alice: Api<ServiceInstance> = seen_by("alice", "others").await;
    alice.create(&PostParams::default(), &instance("plain", &json!({}))).await.unwrap();
    refused(merge(&alice, "plain", with_intent(&intent("others", "plain", "x"))).await, NOT_THE_OPERATOR);
    let error =
        merge(&alice, "plain", json!({ "spec": { "externalID": "x" } })).await.unwrap_err().to_string();
    assert!(error.contains("externalID is immutable"), "{error}");
    let kept =
        merge(&alice, "plain", json!({ "spec": { "serviceClassRef": { "name": "x" } } })).await.unwrap();
    assert_eq!(kept.spec.service_class_ref, None);
}

/// `kubectl replace`, Argo CD with `Replace=true`, clients that do not know the fields.
#[tokio::test]
async fn a_manifest_that_replaces_an_object_takes_nothing_from_the_operator() {
    let (db, app) = ordered("replaced").await;
    let alice: Api<ServiceInstance> = seen_by("alice", "replaced").await;
    let post = PostParams::default();
    let same = |kept: &ServiceInstance| {
        let fields = ["externalID", "clusterServiceClassRef", "clusterServicePlanRef", "userInfo"];
        let (spec, before) = (value(&kept.spec), value(&db.spec));
        assert!(fields.iter().all(|field| spec[*field] == before[*field]), "{spec}");
        assert_eq!(kept.annotations()[INTENT_ANNOTATION], intent("replaced", "db", TIME));
        assert_eq!(kept.finalizers(), [FINALIZER]);
    };
    // Nothing else changes: neither the user nor the generation.
    let bob: Api<ServiceInstance> = seen_by("bob", "replaced").await;
    let kept = bob.replace("db", &post, &manifest(instance("db", &json!({})), &db)).await.unwrap();
    same(&kept);
    assert_eq!(kept.metadata.generation, db.metadata.generation);
    // With annotations and finalizers of its own, and another plan.
    let mut wanted = manifest(instance("db", &json!({ "clusterServicePlanExternalName": "large" })), &kept);
    wanted.annotations_mut().insert("a".into(), "b".into());
    wanted.finalizers_mut().push("example.com/mine".into());
    let kept = alice.replace("db", &post, &wanted).await.unwrap();
    assert_eq!(kept.spec.plan_reference.cluster_service_plan_external_name.as_deref(), Some("large"));
    assert_eq!((&*kept.annotations()["a"], kept.finalizers().len()), ("b", 2));
    assert!(kept.finalizers().contains(&FINALIZER.to_owned()));
    // What kubectl sends.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db.yaml");
    let plain = value(&instance("db", &json!({ "clusterServicePlanExternalName": "small" })));
    std::fs::write(&file, plain.to_string()).unwrap();
    let said = plane()
        .await
        .kubectl(&["replace", "--as=alice", "-n", "replaced", "-f", file.to_str().unwrap()])
        .await
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let kept = alice.get("db").await.unwrap();
    assert_eq!(kept.spec.plan_reference.cluster_service_plan_external_name.as_deref(), Some("small"));
    assert_eq!(kept.finalizers(), [FINALIZER]);
    assert_eq!((&*kept.spec.external_id, kept.annotations().len()), ("i-1", 1));
    assert_eq!(kept.spec.cluster_service_plan_ref, db.spec.cluster_service_plan_ref);
    // However long the annotation is.
    let long = intent("replaced", "db", TIME).replace("é", &"é".repeat(100_000));
    let db = merge(&operator("replaced").await, "db", with_intent(&long)).await.unwrap();
    let plain = instance("db", &json!({ "clusterServicePlanExternalName": "small" }));
    let kept = alice.replace("db", &post, &manifest(plain, &db)).await.unwrap();
    assert_eq!((kept.annotations(), &kept.spec), (db.annotations(), &db.spec));
    refused(merge(&alice, "db", with_intent(&long.replace("é", "e"))).await, NOT_THE_OPERATOR);
    refused(merge(&bob, "db", json!({ "spec": { "updateRequests": 1 } })).await, WAITS);

    let bindings: Api<ServiceBinding> = seen_by("alice", "replaced").await;
    let kept = bindings.replace("app", &post, &manifest(binding("app", &json!({})), &app)).await.unwrap();
    assert_eq!((kept.spec, kept.metadata.finalizers), (app.spec.clone(), app.metadata.finalizers.clone()));
    assert_eq!(kept.metadata.annotations, app.metadata.annotations);

    // A manifest does not end an object that is being deleted.
    alice.delete("db", &DeleteParams::default()).await.unwrap();
    let present = alice.get("db").await.unwrap();
    let kept = alice.replace("db", &post, &manifest(instance("db", &json!({})), &present)).await.unwrap();
    assert_eq!(kept.finalizers(), [FINALIZER]);
}

#[tokio::test]
async fn a_manifest_that_replaces_a_broker_keeps_the_finalizer() {
    ordered("replaced-brokers").await;
    let plane = plane().await;
    let post = PostParams::default();
    let plain = || -> ServiceBroker { object("b", json!({ "url": "http://x" }), &json!({})) };
    let brokers: Api<ServiceBroker> = Api::namespaced(plane.admin_client().unwrap(), "replaced-brokers");
    let made = brokers.create(&post, &plain()).await.unwrap();
    let kept = brokers.replace("b", &post, &manifest(plain(), &made)).await.unwrap();
    assert_eq!(kept.finalizers(), [FINALIZER]);
    let mut wanted: ClusterServiceBroker = object("replaced", json!({ "url": "http://x" }), &json!({}));
    let brokers: Api<ClusterServiceBroker> = Api::all(plane.admin_client().unwrap());
    let made = brokers.create(&post, &wanted).await.unwrap();
    wanted.metadata.resource_version = made.resource_version();
    let mut kept = brokers.replace("replaced", &post, &wanted).await.unwrap();
    assert_eq!(kept.finalizers(), [FINALIZER]);
    kept.metadata.finalizers = None;
    let free = brokers.replace("replaced", &post, &kept).await.unwrap();
    assert!(free.finalizers().is_empty());
}

// v0.3 I8, N10
#[tokio::test]
async fn who_means_it_removes_the_finalizer() {
    let (mut db, mut app) = ordered("abandoned").await;
    let post = PostParams::default();
    let alice: Api<ServiceInstance> = seen_by("alice", "abandoned").await;
    db.metadata.finalizers = None;
    let free = alice.replace("db", &post, &db).await.unwrap();
    assert!(free.finalizers().is_empty());
    assert_eq!(free.spec, db.spec);
    merge(&alice, "db", json!({ "metadata": { "finalizers": [FINALIZER] } })).await.unwrap();
    let free = merge(&alice, "db", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    assert!(free.finalizers().is_empty());
    let alice: Api<ServiceBinding> = seen_by("alice", "abandoned").await;
    app.metadata.finalizers = None;
    assert!(alice.replace("app", &post, &app).await.unwrap().finalizers().is_empty());
}

fn annotated<K: Written>(mut object: K, key: &str, text: &str) -> K {
    object.annotations_mut().insert(key.into(), text.into());
    object
}

#[tokio::test]
async fn a_restored_object_needs_the_right_to_restore_and_a_copy_does_not() {
    ordered("restored").await;
    let plane = plane().await;
    plane
        .apply(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {name: restore, namespace: restored}\n\
             roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: service-catalog-restore}\n\
             subjects: [{kind: User, name: carol, apiGroup: rbac.authorization.k8s.io}]\n",
        )
        .await
        .unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let (bob, carol) = (client("bob").await, client("carol").await);
    let alice = client("alice").await;
    let instances = |client: &Client| -> Api<ServiceInstance> { Api::namespaced(client.clone(), "restored") };
    let bindings = |client: &Client| -> Api<ServiceBinding> { Api::namespaced(client.clone(), "restored") };
    let own = intent("restored", "new", TIME);
    let db = annotated(instance("new", &json!({ "externalID": "i-1" })), INTENT_ANNOTATION, &own);
    let app = annotated(binding("new", &json!({ "externalID": "b-1" })), INTENT_ANNOTATION, &own);
    let because = "may not restore serviceinstances in namespace \"restored\"";
    let permitted = async || instances(&carol).create(&dry, &db).await;
    let made = eventually(permitted, Result::is_ok).await.unwrap();
    assert_eq!((&*made.spec.external_id, &*made.annotations()[INTENT_ANNOTATION]), ("i-1", &*own));
    bindings(&carol).create(&dry, &app).await.unwrap();
    for editor in [&alice, &bob] {
        let answer = instances(editor).create(&dry, &db).await;
        assert!(
            answer.as_ref().unwrap_err().to_string().contains("remove the annotation and spec.externalID")
        );
        refused(answer, because);
        refused(bindings(editor).create(&dry, &app).await, "ask for the role service-catalog-restore");
    }
    // As it is first created by a server-side apply.
    let apply = PatchParams { dry_run: true, ..PatchParams::apply("alice") };
    refused(instances(&alice).patch("new", &apply, &Patch::Apply(&db)).await, because);
    // Copies.
    for (namespace, name) in [("elsewhere", "new"), ("restored", "old"), ("restored", "new2")] {
        let text = intent(namespace, name, TIME);
        instances(&bob)
            .create(&dry, &annotated(instance("new", &json!({})), INTENT_ANNOTATION, &text))
            .await
            .unwrap();
        bindings(&bob)
            .create(&dry, &annotated(binding("new", &json!({})), INTENT_ANNOTATION, &text))
            .await
            .unwrap();
    }
    // The same JSON in other words.
    for text in [
        own.replace("\":\"", "\": \""),
        own.replace("\"new\"", "\"ne\\u0077\""),
        own.replace("\"namespace\"", "\"n\\u0061mespace\""),
        own.replace("{\"cluster\":\"c-1\",", "{"),
        own.replace("{\"cluster\":\"c-1\",", "{\"uid\":\"u-1\",\"cluster\":\"c-1\","),
        format!(" {own}"),
        "x".to_owned(),
        "[]".to_owned(),
    ] {
        for user in [&bob, &carol] {
            let forged = annotated(instance("new", &json!({})), INTENT_ANNOTATION, &text);
            let said = instances(user).create(&dry, &forged).await.unwrap_err().to_string();
            assert!(said.contains("the operator did not write this annotation"), "{text}: {said}");
        }
    }
    // Names at which an expression could stumble, and long texts.
    let own = intent("restored", "a.b", TIME).replace("\"c-1\"", r#""c\"\\1""#);
    refused(
        instances(&bob).create(&dry, &annotated(instance("a.b", &json!({})), INTENT_ANNOTATION, &own)).await,
        because,
    );
    for (length, answer) in [(60_000, because), (100_000, "is longer than 65536 characters")] {
        let long = own.replace("é", &"x".repeat(length));
        let long = annotated(instance("a.b", &json!({})), INTENT_ANNOTATION, &long);
        let said = instances(&bob).create(&dry, &long).await.unwrap_err().to_string();
        assert!(said.contains(answer), "{length}: {}", &said[..said.len().min(500)]);
    }
    let most = 65_536 - own.chars().count() + 1;
    let longest =
        annotated(instance("a.b", &json!({})), INTENT_ANNOTATION, &own.replace("é", &"x".repeat(most)));
    instances(&carol).create(&dry, &longest).await.unwrap();

    // From another cluster.
    let adopted = annotated(instance("new", &json!({})), ADOPT_ANNOTATION, "c-2");
    refused(instances(&bob).create(&dry, &adopted).await, "what another cluster has ordered");
    let adopt = |id: Value| json!({ "metadata": { "annotations": { ADOPT_ANNOTATION: id } } });
    refused(merge(&instances(&bob), "db", adopt("c-2".into())).await, "may not adopt serviceinstances");
    refused(merge(&bindings(&bob), "app", adopt("c-2".into())).await, "may not adopt servicebindings");
    instances(&alice).create(&dry, &adopted).await.unwrap();
    instances(&carol).create(&dry, &adopted).await.unwrap();
    merge(&bindings(&carol), "app", adopt("c-2".into())).await.unwrap();
    merge(&instances(&carol), "db", adopt("c-2".into())).await.unwrap();
    refused(merge(&instances(&bob), "db", adopt("c-3".into())).await, "may not adopt");
    merge(&instances(&bob), "db", json!({ "spec": { "updateRequests": 1 } })).await.unwrap_err();
    merge(&instances(&alice), "db", json!({ "spec": { "updateRequests": 1 } })).await.unwrap();
    let gone = merge(&instances(&bob), "db", adopt(Value::Null)).await.unwrap();
    assert!(!gone.annotations().contains_key(ADOPT_ANNOTATION));
}

/// An id is all that a broker asks for. `edit` may order, and `admin` may also take over what is there.
#[tokio::test]
async fn an_id_that_a_user_gives_needs_the_right_to_adopt() {
    ordered("adopted").await;
    let (post, dry) = (PostParams::default(), PostParams { dry_run: true, ..PostParams::default() });
    let instances = async |user: &str| -> Api<ServiceInstance> { seen_by(user, "adopted").await };
    let bindings = async |user: &str| -> Api<ServiceBinding> { seen_by(user, "adopted").await };
    let (bob, alice) = (instances("bob").await, instances("alice").await);
    let because = "may not adopt serviceinstances in namespace \"adopted\"";
    for taken in [
        json!({ "externalID": "i-1" }),
        json!({ "clusterServiceClassRef": { "name": "class" } }),
        json!({ "clusterServicePlanRef": { "name": "plan" } }),
        json!({ "serviceClassRef": { "name": "class" } }),
        json!({ "servicePlanRef": { "name": "plan" } }),
    ] {
        let wanted = instance("new", &taken);
        refused(bob.create(&dry, &wanted).await, because);
        let apply = PatchParams { dry_run: true, ..PatchParams::apply("bob") };
        refused(bob.patch("new", &apply, &Patch::Apply(&wanted)).await, because);
        let mut generated = wanted.clone();
        (generated.metadata.name, generated.metadata.generate_name) = (None, Some("new-".into()));
        refused(bob.create(&dry, &generated).await, because);
        alice.create(&dry, &wanted).await.unwrap();
    }
    // An annotation that the operator does not read, or that is of another object, changes nothing.
    let copied = intent("adopted", "db", TIME);
    for text in [copied.clone(), copied.replace("\"uid\":", "\"derivedId\":true,\"uid\":")] {
        let copy = annotated(instance("copy", &json!({ "externalID": "i-1" })), INTENT_ANNOTATION, &text);
        bob.create(&dry, &copy).await.unwrap_err();
    }
    // What a Go client makes of nothing.
    bob.create(&dry, &instance("zero", &json!({ "externalID": "", "clusterServiceClassRef": null })))
        .await
        .unwrap();
    let said = bindings("bob").await.create(&dry, &binding("new", &json!({ "externalID": "b-1" }))).await;
    refused(said, "may not adopt servicebindings in namespace \"adopted\"");
    bindings("alice").await.create(&dry, &binding("new", &json!({ "externalID": "b-1" }))).await.unwrap();

    // Exported manifests have the ids. An update repeats them, of whoever it is.
    let present = bob.get("db").await.unwrap();
    let exported = manifest(instance("db", &value(&present.spec)), &present);
    let kept = alice.replace("db", &post, &exported).await.unwrap();
    assert_eq!(kept.spec, present.spec);
    bob.replace("db", &post, &manifest(exported, &kept)).await.unwrap();
    let apply = PatchParams { dry_run: true, ..PatchParams::apply("bob").force() };
    let mut applied = instance("db", &value(&present.spec));
    applied.spec.user_info = None;
    bob.patch("db", &apply, &Patch::Apply(&applied)).await.unwrap();
    // The right of a single object.
    plane()
        .await
        .apply(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: adopt-one, namespace: adopted}\n\
             rules:\n- {apiGroups: [servicecatalog.k8s.io], resources: [serviceinstances], verbs: [adopt],\n   \
             resourceNames: [moved]}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {name: adopt-one, namespace: adopted}\n\
             roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: adopt-one}\n\
             subjects: [{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}]\n",
        )
        .await
        .unwrap();
    let moved = instance("moved", &json!({ "externalID": "i-1" }));
    eventually(async || bob.create(&dry, &moved).await, Result::is_ok).await.unwrap();
    refused(bob.create(&dry, &instance("new", &json!({ "externalID": "i-1" }))).await, because);
}

/// Applies a manifest before and after the operator has written.
async fn drifts_not<K: Written>(plain: &K, asks: Value) {
    let name = plain.name_any();
    let alice: Api<K> = seen_by("alice", "applied").await;
    let apply = PatchParams::apply("gitops");
    alice.patch(&name, &apply, &Patch::Apply(plain)).await.unwrap();
    let operator: Api<K> = operator("applied").await;
    let manager = PatchParams { field_manager: Some("service-catalog".into()), ..PatchParams::default() };
    let written = operator.patch(&name, &manager, &Patch::Merge(asks)).await.unwrap();
    for force in [false, true] {
        let apply = if force { PatchParams::apply("gitops").force() } else { PatchParams::apply("gitops") };
        let again = alice.patch(&name, &apply, &Patch::Apply(plain)).await.unwrap();
        assert_eq!(again.resource_version(), written.resource_version(), "{:#}", value(&again));
        let fields =
            again.managed_fields().iter().find(|it| it.manager.as_deref() == Some("gitops")).unwrap();
        let owned = value(&fields.fields_v1).to_string();
        for field in ["externalID", "ServiceClassRef", "intent", "finalizers"] {
            assert!(!owned.contains(field), "{owned}");
        }
    }
}

/// Flux, Argo CD and `kubectl apply --server-side` apply a manifest again and again.
#[tokio::test]
async fn a_manifest_that_is_applied_again_changes_nothing() {
    ordered("applied").await;
    drifts_not(&instance("applied", &json!({})), provision("applied", "applied")).await;
    drifts_not(&binding("applied", &json!({ "secretName": "made" })), bind("applied", "applied")).await;
    // A policy has set the name of the Secret.
    let id = json!({ "spec": { "externalID": "b-1" } });
    drifts_not(&binding("defaulted", &json!({})), id).await;

    // The other `kubectl apply`.
    let plain = value(&instance("client-side", &json!({}))).to_string();
    let manifests =
        format!("{plain}\n").replace("\"metadata\":{", "\"metadata\":{\"namespace\":\"applied\",");
    let plane = plane().await;
    plane.apply(&manifests).await.unwrap();
    let operator: Api<ServiceInstance> = operator("applied").await;
    let written = merge(&operator, "client-side", provision("applied", "client-side")).await.unwrap();
    plane.apply(&manifests).await.unwrap();
    assert_eq!(operator.get("client-side").await.unwrap().resource_version(), written.resource_version());
}

// OSB 8
#[tokio::test]
async fn an_edit_waits_while_the_broker_has_not_answered_an_intent_of_another_user() {
    let (db, _) = ordered("pending").await;
    let alice: Api<ServiceInstance> = seen_by("alice", "pending").await;
    let bob: Api<ServiceInstance> = seen_by("bob", "pending").await;
    let operator: Api<ServiceInstance> = operator("pending").await;
    let kind = ApiResource::erase::<ServiceInstance>(&());
    let statuses: Api<DynamicObject> = Api::namespaced_with(operator.clone().into_client(), "pending", &kind);
    let plan = |name: &str| json!({ "spec": { "clusterServicePlanExternalName": name } });
    refused(merge(&bob, "db", plan("large")).await, WAITS);
    merge(&alice, "db", plan("medium")).await.unwrap();
    let status = |time: &str, generation: i64| json!({ "status": { "observedIntent": time, "observedGeneration": generation } });
    let observe = async |time: &str, generation: i64| {
        let patch = Patch::Merge(status(time, generation));
        statuses.patch_status("db", &PatchParams::default(), &patch).await.unwrap()
    };
    // Answered: what alice has edited since waits for nothing.
    eventually(async || observe(TIME, 0).await, |made| made.data["status"]["observedIntent"] == TIME).await;
    let made = merge(&bob, "db", plan("large")).await.unwrap();
    assert_eq!(made.spec.user_info.unwrap().username, "bob");
    // The next intent. As long as its patch is not counted, it is an edit that waits.
    let next = json!({
        "metadata": { "annotations": { INTENT_ANNOTATION: intent("pending", "db", "next") } },
        "spec": { "clusterServicePlanRef": { "name": "large" } },
    });
    let made = merge(&operator, "db", next).await.unwrap();
    refused(merge(&alice, "db", plan("small")).await, WAITS);
    observe(TIME, made.metadata.generation.unwrap()).await;
    let made = merge(&alice, "db", plan("small")).await.unwrap();
    assert!(made.metadata.generation > db.metadata.generation);
    // The intent of another object says nothing about this one.
    let copied = with_intent(&intent("elsewhere", "db", "copied"));
    merge(&operator, "db", copied).await.unwrap();
    merge(&bob, "db", plan("large")).await.unwrap();
}

/// What nothing puts back is refused, with words that say what to do.
#[tokio::test]
async fn without_mutating_policies_a_user_keeps_what_the_operator_has_written() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubernetes-1.35");
    let said = plane.kubectl(&["apply", "-k", folder.to_str().unwrap()]).await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let wait = ["wait", "--for=condition=Established", "crd", "-l", "svcat=true", "--timeout=60s"];
    assert!(plane.kubectl(&wait).await.unwrap().status.success());
    let account = plane.service_account("service-catalog", "service-catalog").await.unwrap();
    let operator = Client::try_from(account).unwrap();
    let (by_operator, by_admin): (Api<ServiceInstance>, Api<ServiceInstance>) = (
        Api::namespaced(operator.clone(), "default"),
        Api::default_namespaced(plane.admin_client().unwrap()),
    );
    let post = PostParams::default();
    by_admin.create(&post, &instance("db", &json!({}))).await.unwrap();
    let db = merge(&by_operator, "db", provision("default", "db")).await.unwrap();
    assert_eq!((&*db.spec.external_id, db.finalizers()), ("i-1", &[FINALIZER.to_owned()][..]));
    let dropped = json!({ "metadata": { "annotations": { INTENT_ANNOTATION: null } } });
    eventually(async || changed(&by_admin, "db", &dropped).await, Result::is_err).await.unwrap_err();
    for (patch, because) in [
        (
            dropped,
            "only the operator writes the annotation servicecatalog.k8s.io/intent: keep it with its value",
        ),
        (json!({ "spec": { "externalID": null } }), "externalID is immutable"),
        (json!({ "spec": { "externalID": "" } }), "externalID is immutable"),
        (
            json!({ "spec": { "clusterServicePlanRef": null } }),
            "only the operator writes spec.clusterServicePlanRef: keep it with its value",
        ),
        (
            json!({ "spec": { "clusterServiceClassRef": { "name": "x" } } }),
            "only the operator writes spec.clusterServiceClassRef",
        ),
    ] {
        let said = merge(&by_admin, "db", patch.clone()).await.unwrap_err().to_string();
        assert!(said.contains(because), "{patch}: {said}");
    }
    let plan = json!({ "spec": { "clusterServicePlanExternalName": "large" } });
    merge(&by_admin, "db", plan).await.unwrap();

    let (by_operator, by_admin): (Api<ServiceBinding>, Api<ServiceBinding>) =
        (Api::namespaced(operator, "default"), Api::default_namespaced(plane.admin_client().unwrap()));
    by_admin.create(&post, &binding("app", &json!({}))).await.unwrap();
    let app = merge(&by_operator, "app", bind("default", "app")).await.unwrap();
    assert_eq!((&*app.spec.external_id, &*app.spec.secret_name), ("b-1", "made"));
    merge(&by_operator, "app", json!({ "spec": { "externalID": "b-2" } })).await.unwrap();
    for (patch, because) in [
        (with_intent("x"), "only the operator writes the annotation"),
        (
            json!({ "spec": { "externalID": "b-3" } }),
            "spec.externalID: Invalid value: externalID is immutable",
        ),
        (
            json!({ "spec": { "secretName": null } }),
            "spec.secretName: Invalid value: secretName is immutable",
        ),
    ] {
        let said = merge(&by_admin, "app", patch.clone()).await.unwrap_err().to_string();
        assert!(said.contains(because), "{patch}: {said}");
    }
}

#[tokio::test]
async fn an_operator_that_moves_takes_its_policies_along() {
    let plane = plane().await;
    let repository = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("kustomization.yaml"), text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // kustomize takes no absolute path.
    let up = "../".repeat(folder.path().canonicalize().unwrap().components().count());
    let up = format!("{up}{}/", repository.trim_start_matches('/'));
    write("moved", &format!("resources: [{up}config/default]\nnamespace: platform\nnamePrefix: a-\n"));
    let path =
        write("around", &format!("resources: [../moved]\ncomponents: [{up}config/operator-account]\n"));
    let output = plane.kubectl(&["kustomize", &path]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let conditions: Vec<_> =
        text.lines().filter(|line| line.contains("request.userInfo.username != 'system:")).collect();
    assert!(conditions.len() > 10, "{}", conditions.len());
    let account = "'system:serviceaccount:platform:a-service-catalog'";
    assert!(conditions.iter().all(|line| line.contains(account)), "{conditions:#?}");
    let schema = text.split("\n---\n").find(|object| object.contains("kind: FlowSchema")).unwrap();
    assert!(schema.contains(account.trim_matches('\'')), "{schema}");
}
