//! `config/restricted-plans`: a user orders only what this user has the verb `use` for.

use std::path::Path;

use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use service_catalog::crd::ServiceInstance;
use testkit::control_plane::{ControlPlane, Options};

use super::{merge, newer_fields::eventually, object, refused};

/// `all` may use every plan, `class` the plans of the class object `db`, `plan` the plan object `small`, and `nobody`
/// none. The roles are bound in the namespace, also for plans of the cluster.
const ROLES: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: use-all}
rules:
- {apiGroups: [servicecatalog.k8s.io], resources: [clusterserviceplans, serviceplans], verbs: [use]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: use-class}
rules:
- {apiGroups: [servicecatalog.k8s.io], resources: [clusterserviceclasses], resourceNames: [db], verbs: [use]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: use-plan}
rules:
- {apiGroups: [servicecatalog.k8s.io], resources: [clusterserviceplans], resourceNames: [small], verbs: [use]}
";

async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    // As docs/concepts.md says it. kustomize takes no absolute path.
    let folder = tempfile::tempdir().unwrap();
    let up = "../".repeat(folder.path().canonicalize().unwrap().components().count() - 1);
    let config = format!(
        "{up}{}/config",
        Path::new(env!("CARGO_MANIFEST_DIR")).to_str().unwrap().trim_start_matches('/')
    );
    let overlay = format!(
        "resources: [{config}/default]\ncomponents: [{config}/restricted-plans, {config}/operator-account]\n"
    );
    std::fs::write(folder.path().join("kustomization.yaml"), overlay).unwrap();
    let said = plane.kubectl(&["apply", "-k", folder.path().to_str().unwrap()]).await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let wait = ["wait", "--for=condition=Established", "crd", "-l", "svcat=true", "--timeout=60s"];
    assert!(plane.kubectl(&wait).await.unwrap().status.success());
    let users = ["all", "class", "plan", "nobody"];
    let bindings = users.map(|user| {
        ["service-catalog-edit".to_owned(), format!("use-{user}")].map(|role| {
            format!(
                "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
                 metadata: {{name: {user}-{role}, namespace: default}}\n\
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
                 subjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]\n"
            )
        })
    });
    let roles = ROLES.to_owned() + &bindings.concat().concat();
    plane.apply(&roles).await.unwrap();
    plane
}

fn named(name: &str, spec: &Value) -> ServiceInstance {
    object(name, spec.clone(), &json!({}))
}

#[tokio::test]
async fn a_user_orders_only_what_this_user_may_use() {
    let plane = plane().await;
    let seen = |user: &str| -> Api<ServiceInstance> {
        Api::default_namespaced(Client::try_from(plane.user(user, &[]).unwrap()).unwrap())
    };
    let (all, class, plan, nobody) = (seen("all"), seen("class"), seen("plan"), seen("nobody"));
    let (post, dry) = (PostParams::default(), PostParams { dry_run: true, ..PostParams::default() });
    let small = json!({ "clusterServiceClassName": "db", "clusterServicePlanName": "small" });
    let because = "may not use this plan in namespace \"default\"";
    eventually(
        async || nobody.create(&dry, &named("probe", &small)).await,
        |made| made.as_ref().is_err_and(|error| error.to_string().contains(because)),
    )
    .await
    .unwrap_err();
    for (spec, allowed) in [
        (small.clone(), vec!["all", "class", "plan"]),
        (json!({ "clusterServiceClassName": "db", "clusterServicePlanName": "large" }), vec!["all", "class"]),
        (json!({ "clusterServiceClassName": "db" }), vec!["all", "class"]),
        (json!({ "clusterServiceClassName": "mq", "clusterServicePlanName": "small" }), vec!["all", "plan"]),
        // A name of the catalog can mean any object.
        (
            json!({ "clusterServiceClassExternalName": "db", "clusterServicePlanExternalName": "small" }),
            vec!["all"],
        ),
        (
            json!({ "clusterServiceClassExternalID": "db", "clusterServicePlanExternalID": "small" }),
            vec!["all"],
        ),
        // Objects of the same names in the namespace are other objects.
        (json!({ "serviceClassName": "db", "servicePlanName": "small" }), vec!["all"]),
        (json!({ "serviceClassExternalName": "db" }), vec!["all"]),
    ] {
        for (user, api) in [("all", &all), ("class", &class), ("plan", &plan), ("nobody", &nobody)] {
            let made = api.create(&dry, &named("new", &spec)).await;
            if allowed.contains(&user) {
                made.unwrap();
            } else {
                refused(made, because);
            }
        }
    }
    // Two names for one plan do not get past it.
    for spec in [
        json!({ "clusterServiceClassName": "db", "clusterServicePlanName": "small", "clusterServicePlanExternalName": "large" }),
        json!({ "clusterServiceClassName": "db", "clusterServiceClassExternalName": "mq" }),
        json!({ "clusterServiceClassExternalName": "mq", "clusterServicePlanName": "small" }),
        json!({ "clusterServiceClassName": "mq", "servicePlanName": "small" }),
    ] {
        plan.create(&dry, &named("new", &spec)).await.unwrap_err();
        all.create(&dry, &named("new", &spec)).await.unwrap_err();
    }

    // An edit of the plan is checked, and nothing else is.
    plan.create(&post, &named("db", &small)).await.unwrap();
    refused(merge(&plan, "db", json!({ "spec": { "clusterServicePlanName": "large" } })).await, because);
    merge(&nobody, "db", json!({ "spec": { "updateRequests": 1 } })).await.unwrap();
    merge(&class, "db", json!({ "spec": { "clusterServicePlanName": "large" } })).await.unwrap();
    // Back to what this user may use.
    merge(&plan, "db", json!({ "spec": { "clusterServicePlanName": "small" } })).await.unwrap();
}
