//! The test control plane is what the tests of the operator believe it to be.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        authentication::v1::SelfSubjectReview,
        core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use testkit::control_plane::{ControlPlane, Options, access};
use tokio::process::Command;

/// For what the controllers do in the background.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set for the copy of this test binary that is killed.
const VICTIM: &str = "SERVICE_CATALOG_TEST_VICTIM";

async fn plane() -> &'static ControlPlane {
    ControlPlane::shared().await.unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn namespace(client: &Client, name: &str) -> Namespace {
    let namespace = Namespace { metadata: named(name), ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap()
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Who the API server takes the bearer for.
async fn who_am_i(config: Config) -> (String, Vec<String>) {
    let reviews: Api<SelfSubjectReview> = Api::all(Client::try_from(config).unwrap());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap_or_default())
}

#[tokio::test]
async fn it_is_the_version_that_was_built() {
    let version = plane().await.admin_client().unwrap().apiserver_version().await.unwrap();
    // Given ones may be of any version; ours say which they are.
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        assert_eq!(version.git_version, "v1.36.3");
        assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
    }
}

#[tokio::test]
async fn users_are_who_their_certificates_say() {
    let config = plane().await.user("grace@example.com", &["developers", "on-call", "équipe"]).unwrap();
    let (name, groups) = who_am_i(config).await;
    assert_eq!(name, "grace@example.com");
    assert_eq!(groups, ["developers", "on-call", "équipe", "system:authenticated"]);
}

#[tokio::test]
async fn a_user_without_a_role_is_refused_and_the_audit_log_says_so() {
    let plane = plane().await;
    let client = Client::try_from(plane.user("mallory", &["nobodies"]).unwrap()).unwrap();
    let secrets: Api<Secret> = Api::namespaced(client, "kube-system");
    let error = secrets.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 403), "{error}");

    let events = plane.audit_of(PATIENCE, |event| event.user == "mallory").await.unwrap();
    let event = &events[0];
    assert_eq!((event.verb.as_str(), event.resource.as_str(), event.code), ("list", "secrets", 403));
    assert_eq!((event.namespace.as_str(), event.name.as_str()), ("kube-system", ""));
    assert!(event.groups.contains(&"nobodies".to_owned()), "{event:?}");
    assert!(event.request_uri.starts_with("/api/v1/namespaces/kube-system/secrets"), "{event:?}");
}

#[tokio::test]
async fn a_service_account_has_the_rights_of_its_role_and_no_others() {
    let plane = plane().await;
    let admin = plane.admin_client().unwrap();
    namespace(&admin, "robots").await;
    plane
        .apply(
            "
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: robots}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: robot, namespace: robots}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot, namespace: robots}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: robot}
subjects: [{kind: ServiceAccount, name: robot, namespace: robots}]
",
        )
        .await
        .unwrap();
    let config = plane.service_account("robots", "robot").await.unwrap();
    let (name, _) = who_am_i(config.clone()).await;
    assert_eq!(name, "system:serviceaccount:robots:robot");

    let client = Client::try_from(config.clone()).unwrap();
    // RBAC reads its rules from a cache that follows the objects.
    let allowed: Api<ConfigMap> = Api::default_namespaced(client.clone());
    eventually("the role is in force", || async { allowed.list(&ListParams::default()).await.is_ok() }).await;
    let refused: Api<Secret> = Api::default_namespaced(client);
    assert!(refused.list(&ListParams::default()).await.is_err());

    // The same access as a file, for a child process.
    let file = plane.dir().join("robot.kubeconfig");
    access::write_kubeconfig(&config, &file).unwrap();
    let output = plane.kubectl_command().env("KUBECONFIG", &file).args(["auth", "whoami"]).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains("system:serviceaccount:robots:robot"), "{output:?}");
}

#[tokio::test]
async fn a_service_account_that_does_not_exist_has_no_token() {
    let error = plane().await.service_account("default", "nobody").await.unwrap_err();
    assert!(error.to_string().contains("default/nobody"), "{error:#}");
}

#[tokio::test]
async fn a_namespace_is_deleted_to_the_end_with_what_is_in_it() {
    let client = plane().await.admin_client().unwrap();
    namespace(&client, "short-lived").await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "short-lived");
    eventually("it has a default service account", || async {
        accounts.get_opt("default").await.unwrap().is_some()
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete("short-lived", &DeleteParams::default()).await.unwrap();
    eventually("it is gone", || async { namespaces.get_opt("short-lived").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner() {
    let client = plane().await.admin_client().unwrap();
    namespace(&client, "families").await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "families");
    let owner = ConfigMap { metadata: named("owner"), ..ConfigMap::default() };
    let owner = maps.create(&PostParams::default(), &owner).await.unwrap();
    let mut child = Secret { metadata: named("owned"), ..Secret::default() };
    child.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap(),
        ..OwnerReference::default()
    }]);
    let secrets: Api<Secret> = Api::namespaced(client, "families");
    secrets.create(&PostParams::default(), &child).await.unwrap();
    maps.delete("owner", &DeleteParams::default()).await.unwrap();
    eventually("it is gone", || async { secrets.get_opt("owned").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn mutating_admission_policies_are_served() {
    let client = plane().await.admin_client().unwrap();
    let resources = client.list_api_group_resources("admissionregistration.k8s.io/v1").await.unwrap();
    let names: Vec<_> = resources.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert!(names.contains(&"mutatingadmissionpolicies"), "{names:?}");
    assert!(names.contains(&"mutatingadmissionpolicybindings"), "{names:?}");
}

#[tokio::test]
async fn kubectl_works_and_its_mistakes_are_told() {
    let plane = plane().await;
    let output = plane.kubectl(&["get", "namespace", "default", "-o", "name"]).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "namespace/default\n");
    let error = plane.apply("kind: Nonsense").await.unwrap_err().to_string();
    assert!(error.contains("kubectl apply failed"), "{error}");
}

#[tokio::test]
async fn a_kept_folder_keeps_objects_tokens_and_users() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(folder.path().join("state")), ..Options::default() };
    let first = ControlPlane::start(options.clone()).await.unwrap();
    namespace(&first.admin_client().unwrap(), "kept").await;
    let user = first.user("ada", &[]).unwrap();
    let error = ControlPlane::start(options.clone()).await.unwrap_err();
    assert!(error.to_string().contains("another control plane runs"), "{error:#}");
    first.stop().await.unwrap();

    let second = ControlPlane::start(options).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(second.admin_client().unwrap());
    namespaces.get("kept").await.unwrap();
    let mut user = user;
    user.cluster_url = second.url().parse().unwrap();
    assert_eq!(who_am_i(user).await.0, "ada");
    let dir = second.dir().to_owned();
    drop(second);
    #[cfg(target_os = "linux")]
    assert_eq!(running_in(&dir), Vec::<String>::new());
    assert!(dir.join("etcd").is_dir());
}

#[tokio::test]
async fn a_server_that_cannot_start_is_reported_with_its_log() {
    let options = Options { api_server_flags: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = ControlPlane::start(options).await.unwrap_err().to_string();
    assert!(error.contains("kube-apiserver ended with"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_port_that_is_always_taken_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        // The last of two wins, so every attempt wants this one.
        api_server_flags: vec![format!("--secure-port={}", taken.local_addr().unwrap().port())],
        ..Options::default()
    };
    let error = ControlPlane::start(options).await.unwrap_err().to_string();
    assert!(error.contains("kube-apiserver found its port in use, 5 times in a row"), "{error}");
}

/// Run by the next test in a process of its own, which is killed.
#[tokio::test]
#[ignore = "is the victim of nothing_outlives_a_killed_launcher"]
async fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    fs::write(std::env::var_os(VICTIM).unwrap(), plane.dir().to_str().unwrap()).unwrap();
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_outlives_a_killed_launcher() {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("dir");
    let mut launcher = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(VICTIM, &answer)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Should this test fail before it does so itself.
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("the victim has started its control plane", || {
        let ended = launcher.try_wait().unwrap();
        assert!(ended.is_none(), "the victim ended by itself: {ended:?}");
        let started = fs::read_to_string(&answer).is_ok_and(|dir| !dir.is_empty());
        std::future::ready(started)
    })
    .await;
    let dir = fs::read_to_string(&answer).unwrap();
    let dir = Path::new(&dir);
    let running = running_in(dir).join("\n");
    for server in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        assert!(running.contains(server), "{server} is not among:\n{running}");
    }

    launcher.kill().await.unwrap();
    eventually("all its processes are gone", || async { running_in(dir).is_empty() }).await;
    eventually("its folder is gone", || async { !dir.exists() }).await;
}

/// The command lines of all processes that mention the folder, servers and guards alike.
#[cfg(target_os = "linux")]
fn running_in(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        // A process that ends meanwhile cannot be read, and one that has ended has no command line.
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(dir))
        .collect()
}
