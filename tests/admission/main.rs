//! `config/default` on a real API server: what the admission policies do for several users, and what the operator's
//! own rights let it do.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy, core::v1::Secret, policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use secrets::parameters_from;
use serde_json::{Value, json};
use service_catalog::crd::{ClusterServiceBroker, FINALIZER, ServiceBinding, ServiceBroker, ServiceInstance};
use testkit::control_plane::ControlPlane;

mod left_behind;
mod newer_fields;
mod operator_fields;
mod owner_references;
mod plan_use;
mod pods;
mod restrictions;
mod secrets;

/// For policies to take effect, and for controllers of the control plane.
const PATIENCE: Duration = Duration::from_secs(60);

/// Roles for the users of these tests. `bob` may use the catalog and create Secrets but read none, `carol` may read those called
/// `s0` to `s16`, `alice` is the namespace's administrator, `erin` may use the catalog and no Secret,
/// `frank` may create pods beside what `bob` may, `dave` keeps cluster-wide brokers.
const ROLES: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: some-secrets}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [get], resourceNames:
   [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: make-secrets}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: make-pods}
rules:
- {apiGroups: [''], resources: [pods], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: brokers}
rules:
- {apiGroups: [servicecatalog.k8s.io], resources: [clusterservicebrokers, servicebrokers], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: brokers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: brokers}
subjects:
- {kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}
- {kind: User, name: dave, apiGroup: rbac.authorization.k8s.io}
";

/// Installs `config/default`, and waits until the policies are in force.
async fn plane() -> &'static ControlPlane {
    static READY: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let plane = ControlPlane::shared().await.unwrap();
    READY
        .get_or_init(|| async {
            install(plane).await;
            plane.apply(ROLES).await.unwrap();
            namespace("probe").await;
            let bob: Api<ServiceInstance> = seen_by("bob", "probe").await;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let dry = PostParams { dry_run: true, ..PostParams::default() };
                let plain = bob.create(&dry, &instance("probe", &json!({}))).await;
                let named = bob.create(&dry, &instance("probe", &parameters_from(1))).await;
                let mutated = plain
                    .as_ref()
                    .is_ok_and(|made| made.spec.user_info.is_some() && !made.finalizers().is_empty());
                if mutated && named.as_ref().is_err_and(is_forbidden) {
                    break;
                }
                assert!(Instant::now() < deadline, "no policies in force: {plain:?}, {named:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    plane
}

/// `kubectl apply -k config/default`, until the definitions are served as well.
async fn install(plane: &ControlPlane) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default");
    let output = plane.kubectl(&["apply", "-k", folder.to_str().unwrap()]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let wait = ["wait", "--for=condition=Established", "crd", "-l", "svcat=true", "--timeout=60s"];
    assert!(plane.kubectl(&wait).await.unwrap().status.success());
    String::from_utf8(output.stdout).unwrap()
}

async fn client(user: &str) -> Client {
    let plane = ControlPlane::shared().await.unwrap();
    Client::try_from(plane.user(user, &[]).unwrap()).unwrap()
}

/// The objects of a kind in a namespace, as a user sees them.
async fn seen_by<K>(user: &str, namespace: &str) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client(user).await, namespace)
}

/// A namespace in which alice, bob and carol have their roles.
async fn namespace(name: &str) {
    let plane = ControlPlane::shared().await.unwrap();
    let roles = [
        ("alice", "admin"),
        ("bob", "service-catalog-edit"),
        ("bob", "service-catalog-view"),
        ("bob", "make-secrets"),
        ("carol", "service-catalog-edit"),
        ("carol", "service-catalog-view"),
        ("carol", "some-secrets"),
        ("carol", "make-secrets"),
        ("erin", "service-catalog-edit"),
        ("erin", "service-catalog-view"),
        ("frank", "service-catalog-edit"),
        ("frank", "service-catalog-view"),
        ("frank", "make-secrets"),
        ("frank", "make-pods"),
    ]
    .map(|(user, role)| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: {user}-{role}, namespace: {name}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
             subjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]\n"
        )
    });
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let manifests = namespace + &roles.concat();
    plane.apply(&manifests).await.unwrap();
}

fn object<K: serde::de::DeserializeOwned + kube::Resource<DynamicType = ()>>(
    name: &str,
    mut spec: Value,
    more: &Value,
) -> K {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

fn instance(name: &str, more: &Value) -> ServiceInstance {
    object(name, json!({"clusterServiceClassExternalName": "db"}), more)
}

fn binding(name: &str, more: &Value) -> ServiceBinding {
    object(name, json!({"instanceRef": {"name": "orders"}}), more)
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

#[track_caller]
fn refused<K: std::fmt::Debug>(result: Result<K, kube::Error>, because: &str) {
    let error = result.unwrap_err();
    assert!(is_forbidden(&error) && error.to_string().contains(because), "{error}");
}

async fn merge<K>(api: &Api<K>, name: &str, patch: Value) -> Result<K, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

// v0.3 K12, Q55, Q59
#[tokio::test]
async fn a_second_installation_changes_nothing() {
    let plane = plane().await;
    let said = install(plane).await;
    // A selector is replaced as a whole, so kubectl sends that of a disruption budget whether or not it is another.
    let budget = "poddisruptionbudget.policy/service-catalog configured";
    let changed: Vec<_> =
        said.lines().filter(|line| !line.ends_with(" unchanged") && *line != budget).collect();
    assert!(changed.is_empty(), "{changed:?}");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(plane.admin_client().unwrap(), "service-catalog");
    assert_eq!(budgets.get("service-catalog").await.unwrap().metadata.generation, Some(1));
}

// v0.3 F15, K10
#[tokio::test]
async fn the_api_server_finds_nothing_to_object_to_in_the_expressions() {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(plane().await.admin_client().unwrap());
    let deadline = Instant::now() + PATIENCE;
    for name in policies.list(&ListParams::default()).await.unwrap().iter().map(kube::ResourceExt::name_any) {
        let checked = loop {
            let status = policies.get(&name).await.unwrap().status.unwrap_or_default();
            if let Some(checked) = status.type_checking {
                break checked;
            }
            assert!(Instant::now() < deadline, "{name} is not checked");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(checked.expression_warnings, None, "{name}");
    }
}

// v0.3 D8, K14
#[tokio::test]
async fn the_user_of_an_instance_is_whoever_edited_it_last() {
    plane().await;
    namespace("user").await;
    let bob: Api<ServiceInstance> = seen_by("bob", "user").await;
    let carol: Api<ServiceInstance> = seen_by("carol", "user").await;
    let user = |made: &ServiceInstance| made.spec.user_info.clone().unwrap_or_default().username;

    let forged = json!({"userInfo": {"username": "root", "uid": "", "groups": ["system:masters"]}});
    let made = bob.create(&PostParams::default(), &instance("orders", &forged)).await.unwrap();
    assert_eq!(user(&made), "bob");
    assert_eq!(made.spec.user_info.unwrap().groups, ["system:authenticated"]);

    for (what, patch) in [
        ("metadata", json!({"metadata": {"labels": {"a": "b"}}})),
        ("a forged user", json!({"spec": {"userInfo": {"username": "root"}}})),
        ("no user", json!({"spec": {"userInfo": null}})),
        (
            "zero values",
            json!({"spec": {"externalID": "", "updateRequests": 0, "parameters": {}, "parametersFrom": []}}),
        ),
    ] {
        let made = merge(&carol, "orders", patch).await.unwrap();
        assert_eq!(user(&made), "bob", "{what}");
    }

    let edit = json!({"spec": {"updateRequests": 3, "userInfo": {"username": "root"}}});
    let made = merge(&carol, "orders", edit).await.unwrap();
    assert_eq!((user(&made).as_str(), made.spec.update_requests), ("carol", 3));
    for kept in [json!(0), Value::Null] {
        let made = merge(&bob, "orders", json!({"spec": {"updateRequests": kept}})).await.unwrap();
        assert_eq!((user(&made).as_str(), made.spec.update_requests), ("carol", 3));
    }
}

// v0.3 E2, Q40
#[tokio::test]
async fn a_binding_stays_as_it_was_made_and_knows_by_whom() {
    plane().await;
    namespace("bindings").await;
    let bob: Api<ServiceBinding> = seen_by("bob", "bindings").await;
    let carol: Api<ServiceBinding> = seen_by("carol", "bindings").await;
    for (name, said, secret) in
        [("a", json!({}), "a"), ("b", json!({"secretName": ""}), "b"), ("c", json!({"secretName": "x"}), "x")]
    {
        let made = bob.create(&PostParams::default(), &binding(name, &said)).await.unwrap();
        assert_eq!(made.spec.secret_name, secret);
    }
    // The API server makes the name after admission: the operator falls back to the binding's name.
    let mut generated = binding("", &json!({}));
    generated.metadata.name = None;
    generated.metadata.generate_name = Some("made-".into());
    let made = bob.create(&PostParams::default(), &generated).await.unwrap();
    assert_eq!(made.spec.secret_name, "");

    let edit =
        json!({"spec": {"secretName": null, "parameters": {"a": 1}, "userInfo": {"username": "root"}}});
    let made = merge(&carol, "c", edit).await.unwrap();
    assert_eq!((made.spec.secret_name.as_str(), &made.spec.parameters), ("x", &None));
    assert_eq!(made.spec.user_info.unwrap().username, "bob");
    let nothing = json!({"spec": {"secretName": null, "userInfo": {"username": "root"}}});
    let made = merge(&carol, "a", nothing).await.unwrap();
    assert_eq!((made.spec.secret_name.as_str(), made.metadata.generation), ("a", Some(1)));
    assert_eq!(made.spec.user_info.unwrap().username, "bob");
}

// v0.3 A7, Q41
#[tokio::test]
async fn the_finalizer_joins_those_of_the_user() {
    plane().await;
    namespace("finalizers").await;
    let alice: Api<ServiceInstance> = seen_by("alice", "finalizers").await;
    for (name, given, expected) in [
        ("none", vec![], vec![FINALIZER]),
        ("ours", vec![FINALIZER], vec![FINALIZER]),
        ("theirs", vec!["example.com/mine"], vec!["example.com/mine", FINALIZER]),
    ] {
        let mut wanted = instance(name, &json!({}));
        wanted.metadata.finalizers = Some(given.into_iter().map(str::to_owned).collect());
        let made = alice.create(&PostParams::default(), &wanted).await.unwrap();
        assert_eq!(made.finalizers(), expected);
    }
    let dave: Api<ClusterServiceBroker> = Api::all(client("dave").await);
    let made = dave
        .create(&PostParams::default(), &object("finalizers", json!({"url": "http://x"}), &json!({})))
        .await
        .unwrap();
    assert_eq!(made.finalizers(), [FINALIZER]);
    let alice: Api<ServiceBroker> = seen_by("alice", "finalizers").await;
    let made = alice
        .create(&PostParams::default(), &object("x", json!({"url": "http://x"}), &json!({})))
        .await
        .unwrap();
    assert_eq!(made.finalizers(), [FINALIZER]);
}

/// The operator's writes, with the rights that it has in a cluster.
// v0.3 Q1
#[tokio::test]
async fn the_operator_can_do_its_work_and_leaves_the_user_alone() {
    let plane = plane().await;
    namespace("operator").await;
    let alice: Api<ServiceInstance> = seen_by("alice", "operator").await;
    alice.create(&PostParams::default(), &instance("orders", &parameters_from(1))).await.unwrap();
    let bindings: Api<ServiceBinding> = seen_by("alice", "operator").await;
    let bound = bindings.create(&PostParams::default(), &binding("app", &json!({}))).await.unwrap();

    let operator =
        Client::try_from(plane.service_account("service-catalog", "service-catalog").await.unwrap()).unwrap();
    let instances: Api<ServiceInstance> = Api::namespaced(operator.clone(), "operator");
    let status = json!({"status": {"conditions": []}});
    instances.patch_status("orders", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let finalizers = json!({"metadata": {"finalizers": [FINALIZER, "example.com/mine"]}});
    let made = merge(&instances, "orders", finalizers).await.unwrap();
    assert_eq!(made.spec.user_info.unwrap().username, "alice");
    assert!(is_forbidden(&instances.delete("orders", &DeleteParams::default()).await.unwrap_err()));

    let owned: Secret = serde_json::from_value(json!({"metadata": {"name": "app", "ownerReferences": [{
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": "ServiceBinding", "name": "app",
        "uid": bound.uid().unwrap(), "controller": true, "blockOwnerDeletion": true,
    }]}}))
    .unwrap();
    let secrets: Api<Secret> = Api::namespaced(operator, "operator");
    let written = secrets.create(&PostParams::default(), &owned).await.unwrap();
    secrets.replace("app", &PostParams::default(), &written).await.unwrap();

    alice.delete("orders", &DeleteParams::default()).await.unwrap();
    merge(&instances, "orders", json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert!(alice.get_opt("orders").await.unwrap().is_none());
}
