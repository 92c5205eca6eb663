//! Secrets whose owner reference blocks the deletion of an instance or a binding, as the console of OpenShift makes them.
//! OpenShift has the admission plugin `OwnerReferencesPermissionEnforcement`, so this control plane has it as well.

use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use serde_json::json;
use service_catalog::crd::{ServiceBinding, ServiceInstance};
use testkit::control_plane::{ControlPlane, Options};

use super::{PATIENCE, binding, install, instance, is_forbidden};

/// `editor` and `administrator` have the roles `edit` and `admin` of the cluster, `writer` may only create Secrets.
const ROLES: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: secret-writer}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: editor, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: User, name: editor, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: administrator, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: User, name: administrator, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: writer, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: secret-writer}
subjects: [{kind: User, name: writer, apiGroup: rbac.authorization.k8s.io}]
";

/// A Secret of one owner.
fn owned(name: &str, kind: &str, owner: &str, uid: &str) -> Secret {
    let reference = json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": kind, "name": owner, "uid": uid,
        "blockOwnerDeletion": true,
    });
    serde_json::from_value(json!({ "metadata": { "name": name, "ownerReferences": [reference] } })).unwrap()
}

#[tokio::test]
async fn a_user_may_create_a_secret_that_blocks_the_deletion_of_its_owner() {
    let plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";
    let options = Options { api_server_flags: vec![plugin.to_owned()], ..Options::default() };
    let plane = ControlPlane::start(options).await.unwrap();
    install(&plane).await;
    plane.apply(ROLES).await.unwrap();
    let admin = plane.admin_client().unwrap();
    let post = PostParams::default();
    let instances: Api<ServiceInstance> = Api::default_namespaced(admin.clone());
    let orders = instances.create(&post, &instance("orders", &json!({}))).await.unwrap();
    let bindings: Api<ServiceBinding> = Api::default_namespaced(admin);
    let app = bindings.create(&post, &binding("app", &json!({}))).await.unwrap();
    let owners =
        [("ServiceInstance", "orders", orders.uid().unwrap()), ("ServiceBinding", "app", app.uid().unwrap())];
    let secrets = |user: &str| -> Api<Secret> {
        Api::default_namespaced(Client::try_from(plane.user(user, &[]).unwrap()).unwrap())
    };
    for user in ["editor", "administrator"] {
        for (kind, owner, uid) in &owners {
            let secret = owned(&format!("{user}-{owner}"), kind, owner, uid);
            // The plugin looks for new kinds, and the controller aggregates roles, only now and then.
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = secrets(user).create(&post, &secret).await {
                assert!(is_forbidden(&error) && Instant::now() < deadline, "{user}, {kind}: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    for (kind, owner, uid) in &owners {
        let secret = owned(&format!("writer-{owner}"), kind, owner, uid);
        let refused = secrets("writer").create(&post, &secret).await.unwrap_err();
        assert!(is_forbidden(&refused) && refused.to_string().contains("blockOwnerDeletion"), "{refused}");
    }
}
