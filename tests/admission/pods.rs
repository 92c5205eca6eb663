//! Pods get the credentials of the bindings that name them, and nothing that they have is overwritten. A dry run of the
//! API server shows the pod as it would be created.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};
use service_catalog::crd::{BINDINGS_ANNOTATION, FINALIZER, OMITTED_ANNOTATION, ServiceBinding};

use super::{binding, client, merge, namespace, newer_fields::eventually, plane, refused, seen_by};

/// A namespace with bindings.
struct Place {
    name: &'static str,
    bindings: Api<ServiceBinding>,
    pods: Api<Pod>,
}

impl Place {
    async fn new(name: &'static str) -> Self {
        let plane = plane().await;
        namespace(name).await;
        let admin = plane.admin_client().unwrap();
        let place =
            Self { name, bindings: Api::namespaced(admin.clone(), name), pods: Api::namespaced(admin, name) };
        // The account of pods comes from a controller.
        eventually(async || place.ask(&pod(json!({}))).await, Result::is_ok).await.unwrap();
        place
    }

    /// Creates a binding for the pods with the label `for: <name>`, and waits until the policy knows it.
    async fn give(&self, name: &str, mut pods: Value) -> ServiceBinding {
        pods["selector"] = json!({ "matchLabels": { "for": label(name) } });
        let made = self.bind(name, pods).await;
        self.known(name).await;
        made
    }

    async fn bind(&self, name: &str, pods: Value) -> ServiceBinding {
        let wanted = binding(name, &json!({ "secretName": "secret", "pods": pods }));
        self.bindings.create(&PostParams::default(), &wanted).await.unwrap()
    }

    /// Waits until the policy knows everything that was done before: its cache of bindings keeps the order.
    async fn settled(&self) {
        let name =
            format!("settled-{}", self.bindings.list(&ListParams::default()).await.unwrap().items.len());
        self.give(&name, json!({})).await;
    }

    async fn known(&self, name: &str) {
        let probe = pod(json!({ "metadata": { "labels": { "for": label(name) } } }));
        eventually(
            async || annotation(&self.ask(&probe).await.unwrap(), BINDINGS_ANNOTATION),
            |bindings| bindings.split(',').any(|it| it == name),
        )
        .await;
    }

    async fn ask(&self, pod: &Value) -> kube::Result<Value> {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let pod = serde_json::from_value(pod.clone()).unwrap();
        self.pods.create(&dry, &pod).await.map(|made| serde_json::to_value(made).unwrap())
    }

    /// The pod as it would be, with this label.
    async fn admitted(&self, name: &str, mut pod: Value) -> Value {
        pod["metadata"]["labels"]["for"] = label(name).into();
        self.ask(&pod).await.unwrap()
    }
}

/// Labels are shorter than names.
fn label(name: &str) -> &str {
    &name[..name.len().min(63)]
}

/// A pod with an init container and a container, changed by this patch. Nothing is mounted that is not ours.
fn pod(patch: Value) -> Value {
    let container = |name: &str| json!({ "name": name, "image": "example.com/image" });
    let mut pod = json!({
        "metadata": { "name": "pod", "labels": {} },
        "spec": {
            "automountServiceAccountToken": false,
            "initContainers": [container("first")],
            "containers": [container("app")],
        },
    });
    json_patch(&mut pod, patch);
    pod
}

fn json_patch(value: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) if value.is_object() => {
            for (name, patch) in fields {
                json_patch(&mut value[name], patch);
            }
        }
        patch => *value = patch,
    }
}

/// A pod whose only container has these fields.
fn container(fields: Value) -> Value {
    let mut container = json!({ "name": "app", "image": "example.com/image" });
    json_patch(&mut container, fields);
    pod(json!({ "spec": { "initContainers": [], "containers": [container] } }))
}

fn annotation(pod: &Value, key: &str) -> String {
    pod["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned()
}

fn bindings_of(pod: &Value) -> String {
    annotation(pod, BINDINGS_ANNOTATION)
}

fn omitted(pod: &Value) -> String {
    annotation(pod, OMITTED_ANNOTATION)
}

fn from_secret(name: &str, key: &str) -> Value {
    json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": "secret", "key": key } } })
}

fn root(value: &str) -> Value {
    json!({ "name": "SERVICE_BINDING_ROOT", "value": value })
}

#[tokio::test]
async fn every_container_of_a_pod_gets_a_folder_with_the_credentials() {
    let place = Place::new("pods-files").await;
    let made = place.give("db", json!({})).await;
    let found = place.admitted("db", pod(json!({}))).await;
    let volume = format!("binding-{}", made.uid().unwrap());
    assert_eq!(
        found["spec"]["volumes"],
        json!([{ "name": volume, "secret": { "secretName": "secret", "defaultMode": 420 } }])
    );
    for list in ["initContainers", "containers"] {
        let container = &found["spec"][list][0];
        let mount = json!({ "name": volume, "mountPath": "/bindings/db", "readOnly": true });
        assert_eq!(container["volumeMounts"], json!([mount]), "{list}");
        assert_eq!(container["env"], json!([root("/bindings")]), "{list}");
        assert_eq!(container["envFrom"], Value::Null, "{list}");
    }
    assert_eq!((bindings_of(&found).as_str(), omitted(&found).as_str()), ("db", ""));
}

#[tokio::test]
async fn containers_get_variables_if_the_binding_says_so() {
    let place = Place::new("pods-env").await;
    let variables = json!([{ "name": "DB_URL", "key": "uri" }, { "name": "DB_HOST", "key": "host" }]);
    place.give("named", json!({ "env": { "variables": variables }, "containers": ["app"] })).await;
    let found = place.admitted("named", pod(json!({}))).await;
    let env = json!([from_secret("DB_URL", "uri"), from_secret("DB_HOST", "host")]);
    assert_eq!(found["spec"]["containers"][0]["env"], env);
    assert_eq!(found["spec"]["volumes"], Value::Null);
    assert_eq!(found["spec"]["initContainers"][0]["env"], Value::Null, "the binding does not name it");

    // What the pod has comes later in the list, so it has precedence.
    let config = json!({ "configMapRef": { "name": "config" } });
    place.give("all", json!({ "files": true, "env": { "prefix": "DB_" } })).await;
    let found = place.admitted("all", container(json!({ "envFrom": [config] }))).await;
    let container = &found["spec"]["containers"][0];
    assert_eq!(container["envFrom"], json!([{ "prefix": "DB_", "secretRef": { "name": "secret" } }, config]));
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/bindings/all");
}

#[tokio::test]
async fn a_selector_names_pods_as_that_of_a_deployment_does() {
    let place = Place::new("pods-selector").await;
    let selectors = [
        ("labels", json!({ "matchLabels": { "app": "shop", "tier": "web" } })),
        (
            "in",
            json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["shop", "news"] }] }),
        ),
        ("exists", json!({ "matchExpressions": [{ "key": "tier", "operator": "Exists" }] })),
        (
            "but",
            json!({ "matchLabels": { "app": "shop" }, "matchExpressions": [
                { "key": "tier", "operator": "NotIn", "values": ["web"] }, { "key": "old", "operator": "DoesNotExist" },
            ] }),
        ),
    ];
    for (name, selector) in selectors {
        place.bind(name, json!({ "selector": selector })).await;
    }
    place.settled().await;
    for (labels, expected) in [
        (json!({ "app": "shop", "tier": "web" }), "exists,in,labels"),
        (json!({ "app": "shop" }), "but,in"),
        (json!({ "app": "shop", "tier": "batch", "old": "" }), "exists,in"),
        (json!({ "app": "news" }), "in"),
        (json!({ "app": "mail" }), ""),
        (json!({}), ""),
    ] {
        let found = place.ask(&pod(json!({ "metadata": { "labels": labels } }))).await.unwrap();
        let bindings = bindings_of(&found);
        let mut names: Vec<_> = bindings.split(',').collect();
        names.sort_unstable();
        assert_eq!(names.join(","), expected, "{labels}");
    }
    // Without labels at all, as it was sent.
    let mut bare = pod(json!({}));
    bare["metadata"].as_object_mut().unwrap().shift_remove("labels");
    let found = place.ask(&bare).await.unwrap();
    assert_eq!((&found["metadata"]["annotations"], &found["spec"]["volumes"]), (&Value::Null, &Value::Null));
}

/// A pod that was copied with everything that the policy wrote.
#[tokio::test]
async fn a_pod_that_has_everything_stays_as_it_is() {
    let place = Place::new("pods-again").await;
    let everything = json!({
        "files": true, "env": { "prefix": "DB_", "variables": [{ "name": "URL", "key": "uri" }] },
    });
    place.give("db", everything).await;
    for asked in [pod(json!({})), container(json!({ "env": [root("/own/")] }))] {
        let once = place.admitted("db", asked).await;
        assert_eq!((bindings_of(&once).as_str(), omitted(&once).as_str()), ("db", ""));
        let copy = json!({ "metadata": { "name": "copy", "labels": once["metadata"]["labels"], "annotations": once["metadata"]["annotations"] }, "spec": once["spec"] });
        let twice = place.ask(&copy).await.unwrap();
        assert_eq!(twice["spec"], once["spec"]);
        assert_eq!(twice["metadata"]["annotations"], once["metadata"]["annotations"]);
    }
}

#[tokio::test]
async fn a_container_decides_about_its_root() {
    let place = Place::new("pods-root").await;
    place.give("db", json!({})).await;
    for (value, expected) in [
        ("/platform/bindings", Some("/platform/bindings/db")),
        ("/own/", Some("/own/db")),
        ("/.hidden", Some("/.hidden/db")),
        ("own", None),
        ("", None),
        ("/", None),
        ("/a/../etc", None),
        ("/a//b", None),
        ("/$(HOME)", None),
        ("/a:b", None),
    ] {
        let found = place.admitted("db", container(json!({ "env": [root(value)] }))).await;
        let container = &found["spec"]["containers"][0];
        assert_eq!(container["volumeMounts"][0]["mountPath"].as_str(), expected, "{value}");
        assert_eq!(container["env"].as_array().unwrap().len(), 1);
        let said =
            "db: container app gets no files, because its SERVICE_BINDING_ROOT is not a plain absolute path";
        assert_eq!(omitted(&found), if expected.is_none() { said } else { "" }, "{value}");
        assert_eq!(bindings_of(&found), if expected.is_none() { "" } else { "db" }, "{value}");
    }
    let unknown = json!({ "name": "SERVICE_BINDING_ROOT", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } });
    let found = place.admitted("db", container(json!({ "env": [unknown] }))).await;
    assert!(omitted(&found).contains("not a plain absolute path"), "{found}");
}

#[tokio::test]
async fn what_a_pod_has_is_not_overwritten_and_the_pod_says_what_was_left_out() {
    let place = Place::new("pods-own").await;
    let made = place.give("db", json!({})).await;
    let volume = format!("binding-{}", made.uid().unwrap());
    let own = |path: &str| {
        let mut pod = container(json!({ "volumeMounts": [{ "name": "own", "mountPath": path }] }));
        pod["spec"]["volumes"] = json!([{ "name": "own", "emptyDir": {} }]);
        pod
    };
    for path in ["/bindings/db", "/bindings/db/", "/bindings", "/bindings/", "/bindings/db/tls"] {
        let found = place.admitted("db", own(path)).await;
        assert_eq!(found["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(found["spec"]["volumes"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(
            omitted(&found),
            "db: container app gets no files, because it has a volume at, above or below /bindings/db",
            "{path}"
        );
        assert_eq!(bindings_of(&found), "", "{path}");
    }
    for path in ["/bindings/db2", "/bindings/d", "/data", "bindings"] {
        let found = place.admitted("db", own(path)).await;
        let mounts = found["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.len(), 2, "{path}: {mounts:?}");
        assert_eq!(omitted(&found), "", "{path}");
    }
    // Only the container with the mount goes without.
    let mut both = own("/bindings");
    both["spec"]["initContainers"] = json!([{ "name": "first", "image": "example.com/image" }]);
    let found = place.admitted("db", both).await;
    assert_eq!(found["spec"]["initContainers"][0]["volumeMounts"][0]["name"], volume.as_str());
    assert_eq!(bindings_of(&found), "db");

    let device = container(json!({ "volumeDevices": [{ "name": "disk", "devicePath": "/bindings/db" }] }));
    let mut with_disk = device;
    with_disk["spec"]["volumes"] =
        json!([{ "name": "disk", "persistentVolumeClaim": { "claimName": "disk" } }]);
    let found = place.admitted("db", with_disk).await;
    assert!(omitted(&found).contains("it has a volume at"), "{found}");

    let mut taken = container(json!({ "volumeMounts": [{ "name": volume, "mountPath": "/data" }] }));
    taken["spec"]["volumes"] = json!([{ "name": volume, "emptyDir": {} }]);
    let found = place.admitted("db", taken).await;
    assert_eq!(found["spec"]["volumes"].as_array().unwrap().len(), 1);
    assert!(omitted(&found).contains(&format!("the pod has another volume {volume}")), "{found}");

    let variables = json!([{ "name": "URL", "key": "uri" }, { "name": "HOST", "key": "host" }]);
    place.give("env", json!({ "env": { "variables": variables } })).await;
    let mine = json!({ "name": "URL", "value": "mine" });
    let found = place.admitted("env", container(json!({ "env": [mine] }))).await;
    assert_eq!(found["spec"]["containers"][0]["env"], json!([mine, from_secret("HOST", "host")]));
    assert_eq!(omitted(&found), "env: container app has already URL");
    assert_eq!(bindings_of(&found), "env");
    // The API server allows a name twice.
    let twice = json!([mine, { "name": "HOST", "value": "a" }, { "name": "HOST", "value": "b" }]);
    let found = place.admitted("env", container(json!({ "env": twice }))).await;
    assert_eq!(found["spec"]["containers"][0]["env"], twice);
    assert_eq!(
        (bindings_of(&found).as_str(), omitted(&found).as_str()),
        ("", "env: container app has already URL, HOST")
    );

    let selector = json!({ "matchLabels": { "for": "other" } });
    place.bind("other", json!({ "selector": selector, "containers": ["sidecar", "proxy"] })).await;
    place.settled().await;
    let found = place.admitted("other", pod(json!({}))).await;
    assert_eq!(omitted(&found), "other: the pod has no container of these names");
}

#[tokio::test]
async fn two_bindings_do_not_get_into_each_others_way() {
    let place = Place::new("pods-two").await;
    let pods = json!({
        "selector": { "matchLabels": { "for": "both" } }, "files": true,
        "env": { "variables": [{ "name": "URL", "key": "uri" }] },
    });
    for name in ["a", "b"] {
        let wanted = binding(name, &json!({ "secretName": name, "pods": pods }));
        place.bindings.create(&PostParams::default(), &wanted).await.unwrap();
    }
    place.settled().await;
    let found = place.admitted("both", container(json!({}))).await;
    let container = &found["spec"]["containers"][0];
    let mut paths: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["mountPath"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/bindings/a", "/bindings/b"]);
    // The variable has one value, and the pod says which binding it is not from.
    let env = container["env"].as_array().unwrap();
    assert_eq!(env.iter().filter(|it| it["name"] == "URL").count(), 1, "{env:?}");
    assert_eq!(env.iter().filter(|it| it["name"] == "SERVICE_BINDING_ROOT").count(), 1, "{env:?}");
    let winner = env.iter().find(|it| it["name"] == "URL").unwrap()["valueFrom"]["secretKeyRef"]["name"]
        .as_str()
        .unwrap();
    let loser = if winner == "a" { "b" } else { "a" };
    assert_eq!(omitted(&found), format!("{loser}: container app has already URL"));
}

#[tokio::test]
async fn a_pod_gets_64_bindings_and_says_that_it_lacks_one_more() {
    let place = Place::new("pods-many").await;
    let pods = json!({ "selector": { "matchLabels": { "for": "many" } }, "files": true, "env": { "prefix": "DB_" } });
    for index in 0..65 {
        // As long as names can be.
        place.bind(&format!("{index:03}.{}", "x.".repeat(124) + "x"), pods.clone()).await;
    }
    place.settled().await;
    let found = place.admitted("many", pod(json!({}))).await;
    let bindings = bindings_of(&found);
    assert_eq!(bindings.split(',').count(), 64);
    assert_eq!(found["spec"]["volumes"].as_array().unwrap().len(), 64);
    assert_eq!(found["spec"]["containers"][0]["volumeMounts"].as_array().unwrap().len(), 64);
    assert!(omitted(&found).ends_with(": the pod has 64 bindings already"), "{}", omitted(&found));
    assert_eq!(omitted(&found).lines().count(), 1);
}

/// An expression must not cost more than the API server allows, in pods that are larger than those of users.
#[tokio::test]
async fn a_large_pod_gets_everything() {
    let place = Place::new("pods-large").await;
    let variables: Vec<_> =
        (0..32).map(|it| json!({ "name": format!("VARIABLE_{it}"), "key": "k" })).collect();
    place.give("db", json!({ "files": true, "env": { "prefix": "DB_", "variables": variables } })).await;
    let env: Vec<_> = (0..64).map(|it| json!({ "name": format!("OWN_{it}"), "value": "x" })).collect();
    let mounts: Vec<_> =
        (0..16).map(|it| json!({ "name": "own", "mountPath": format!("/data/{it}") })).collect();
    let containers: Vec<_> = (0..16)
        .map(|it| json!({ "name": format!("app-{it}"), "image": "x", "env": env, "volumeMounts": mounts }))
        .collect();
    let volumes = json!([{ "name": "own", "emptyDir": {} }]);
    let large =
        pod(json!({ "spec": { "initContainers": [], "containers": containers, "volumes": volumes } }));
    let found = place.admitted("db", large).await;
    for container in found["spec"]["containers"].as_array().unwrap() {
        assert_eq!(container["env"].as_array().unwrap().len(), 64 + 32 + 1);
        assert_eq!(container["volumeMounts"].as_array().unwrap().len(), 17);
    }
}

#[tokio::test]
async fn pods_that_must_not_wait_for_a_secret_get_none() {
    let place = Place::new("pods-not").await;
    place.give("db", json!({})).await;
    // The API server refuses the mirror of a static pod with a Secret.
    let mirror = json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } }, "spec": { "nodeName": "node" } });
    let found = place.admitted("db", pod(mirror)).await;
    assert_eq!((&found["spec"]["volumes"], bindings_of(&found).as_str()), (&Value::Null, ""));

    // The operator removes the finalizer, and there is none here.
    let made = place.give("leaving", json!({})).await;
    assert_eq!(made.finalizers(), [FINALIZER]);
    place.bindings.delete("leaving", &DeleteParams::default()).await.unwrap();
    place.give("off", json!({})).await;
    merge(&place.bindings, "off", json!({ "spec": { "pods": { "selector": null } } })).await.unwrap();
    place.settled().await;
    for gone in ["leaving", "off"] {
        let found = place.admitted(gone, pod(json!({}))).await;
        assert_eq!((&found["spec"]["volumes"], bindings_of(&found).as_str()), (&Value::Null, ""), "{gone}");
    }
}

#[tokio::test]
async fn only_who_may_create_pods_may_change_pods() {
    plane().await;
    namespace("pods-rights").await;
    let post = PostParams::default();
    let bob: Api<ServiceBinding> = seen_by("bob", "pods-rights").await;
    let alice: Api<ServiceBinding> = seen_by("alice", "pods-rights").await;
    let pods = json!({ "pods": { "selector": { "matchLabels": { "app": "shop" } } } });
    let because = r#"user "bob" may not create pods in namespace "pods-rights""#;
    refused(bob.create(&post, &binding("a", &pods)).await, because);
    bob.create(&post, &binding("b", &json!({}))).await.unwrap();
    bob.create(&post, &binding("c", &json!({ "pods": {} }))).await.unwrap();
    refused(merge(&bob, "b", json!({ "spec": pods })).await, because);
    let made = merge(&alice, "b", json!({ "spec": pods })).await.unwrap();
    assert!(made.spec.pods.is_some());
    // Bob may leave it as it is, and may stop it.
    merge(&bob, "b", json!({ "metadata": { "labels": { "a": "b" } }, "spec": pods })).await.unwrap();
    refused(merge(&bob, "b", json!({ "spec": { "pods": { "files": true } } })).await, because);
    merge(&bob, "b", json!({ "spec": { "pods": { "selector": null } } })).await.unwrap();
}

/// The operator restarts pods with its own rights.
#[tokio::test]
async fn only_who_may_restart_pods_may_have_them_restarted() {
    plane().await;
    namespace("pods-restarts").await;
    let post = PostParams::default();
    let frank: Api<ServiceBinding> = seen_by("frank", "pods-restarts").await;
    let alice: Api<ServiceBinding> = seen_by("alice", "pods-restarts").await;
    let pods = |restart: &str| json!({ "pods": { "selector": { "matchLabels": { "app": "shop" } }, "restart": restart } });
    frank.create(&post, &binding("none", &pods("None"))).await.unwrap();
    let because = [("Rollout", "may not change Deployments"), ("Evict", "may not evict pods")];
    for (restart, because) in because {
        refused(frank.create(&post, &binding("a", &pods(restart))).await, because);
        refused(merge(&frank, "none", json!({ "spec": pods(restart) })).await, because);
        alice.create(&post, &binding(&restart.to_lowercase(), &pods(restart))).await.unwrap();
    }
}

/// As `svcat` does: it writes back whole objects as its types know them.
#[tokio::test]
async fn a_client_that_does_not_know_the_field_keeps_it() {
    let place = Place::new("pods-kept").await;
    let made = place.give("db", json!({ "files": true })).await;
    let mut known = made.clone();
    known.spec.pods = None;
    let put = place.bindings.replace("db", &PostParams::default(), &known).await.unwrap();
    assert_eq!(put.spec, made.spec);
    assert_eq!(put.metadata.generation, made.metadata.generation);
    let changed =
        merge(&place.bindings, "db", json!({ "spec": { "pods": { "containers": ["app"] } } })).await.unwrap();
    assert_eq!(changed.spec.pods.unwrap().containers, ["app"]);
}

#[tokio::test]
async fn a_user_without_rights_on_bindings_has_pods_created_as_well() {
    let place = Place::new("pods-users").await;
    place.give("db", json!({})).await;
    let alice: Api<Pod> = Api::namespaced(client("alice").await, place.name);
    let mut wanted = pod(json!({ "metadata": { "labels": { "for": "db" } } }));
    wanted["metadata"]["name"] = "real".into();
    let made = alice.create(&PostParams::default(), &serde_json::from_value(wanted).unwrap()).await.unwrap();
    assert_eq!(made.annotations()[BINDINGS_ANNOTATION], "db");
    // What is changed later is not the policy's.
    let labels = json!({ "metadata": { "labels": { "for": null } } });
    let changed = merge(&alice, "real", labels).await.unwrap();
    assert_eq!(changed.annotations()[BINDINGS_ANNOTATION], "db");
    alice.delete("real", &DeleteParams::default()).await.unwrap();
}
