//! What people and programs are used to do with kubectl, on these kinds: columns, short names, field selectors, repeated
//! apply, dry runs, generated names; and what those conclude that know nothing of a kind but its conditions.

use std::{collections::BTreeSet, fs};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    api::{DynamicObject, WatchParams},
    core::WatchEvent,
};
use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::objects::{
        BINDING, BROKER, CLASS, CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, INSTANCE, Kind, PLAN, condition,
        is_ready, name, plain,
    },
};

use super::{Case, cluster_wide, namespaced, unregistered, users_view::kubectl};

const KINDS: [Kind; 8] =
    [CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, BROKER, CLASS, PLAN, INSTANCE, BINDING];

/// The lines of a table, a word a column where no column is empty or has blanks.
async fn table(case: &Case, arguments: &[&str]) -> Vec<Vec<String>> {
    let text = kubectl(case, arguments).await;
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// What kubectl lists, by name.
async fn listed(case: &Case, arguments: &[&str]) -> BTreeSet<String> {
    let text = kubectl(case, &[&["get", "-o", "name"], arguments].concat()).await;
    text.lines().map(|line| line.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

fn names(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|name| (*name).to_owned()).collect()
}

// v0.3 A3
#[tokio::test]
async fn short_names_and_wide_columns_and_categories_work() {
    let case = namespaced("kubectl-columns").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let headers = [
        ("csvcbr", "NAME URL STATUS AGE LAST-FETCHED MESSAGE"),
        ("csvccl", "NAME EXTERNAL-NAME BROKER AGE BINDABLE PLAN-UPDATABLE REMOVED DESCRIPTION"),
        ("csvcpl", "NAME EXTERNAL-NAME BROKER CLASS AGE FREE BINDABLE VERSION REMOVED DESCRIPTION"),
        ("svcbr", "NAME URL STATUS AGE LAST-FETCHED MESSAGE"),
        ("svccl", "NAME EXTERNAL-NAME BROKER AGE BINDABLE PLAN-UPDATABLE REMOVED DESCRIPTION"),
        ("svcpl", "NAME EXTERNAL-NAME BROKER CLASS AGE FREE BINDABLE VERSION REMOVED DESCRIPTION"),
        ("svci", "NAME CLASS PLAN STATUS AGE INSTANCE-ID BROKER DASHBOARD NEW-VERSION MESSAGE"),
        ("svcb", "NAME SERVICE-INSTANCE SECRET-NAME STATUS AGE EXPIRES BINDING-ID MESSAGE"),
    ];
    for ((short, expected), kind) in headers.into_iter().zip(KINDS) {
        let explained = kubectl(&case, &["explain", short]).await;
        assert!(explained.contains(&format!("KIND:       {}\n", kind.name)), "{short}: {explained}");
        assert!(!explained.contains("<empty>"), "{short}: {explained}");
        let wide = kubectl(&case, &["get", short, "-o", "wide"]).await;
        // Of cluster-wide kinds, other tests may have none at the moment.
        if let Some(header) = wide.lines().next() {
            assert_eq!(header.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{short}");
        }
    }
    let wide = kubectl(&case, &["get", "svci,svcb", "-o", "wide"]).await;
    let instance = case.get(INSTANCE, "db").await;
    for shown in
        [instance["status"]["instanceID"].as_str().unwrap(), "https://dashboard", "Injected bind result"]
    {
        assert!(wide.contains(shown), "{shown}: {wide}");
    }
    let key = kubectl(&case, &["explain", "svci.spec.parametersFrom.secretKeyRef.key"]).await;
    assert!(key.contains("JSON object"), "{key}");
    for category in ["all", "svcat"] {
        let all = kubectl(&case, &["get", category, "-o", "name"]).await;
        for one in ["serviceinstance", "servicebinding", "servicebroker", "serviceclass", "serviceplan"] {
            assert!(all.contains(&format!("{one}.servicecatalog.k8s.io/")), "{category}, {one}: {all}");
        }
    }
    case.finish().await;
}

// v0.3 A6, Q43
#[tokio::test]
async fn objects_are_found_by_what_the_broker_calls_them() {
    let case = cluster_wide("kubectl-selectors").await;
    case.provide("db", json!({ "externalID": "kubectl-selectors-id" })).await;
    case.order("stranger", "nowhere", json!({})).await;
    case.says(INSTANCE, "stranger", "ReferencesNonexistentServicePlan", &[]).await;
    case.connect("app", "db", json!({})).await;
    let class = &case.entries(CLUSTER_CLASS).await[0];
    let plans = case.entries(CLUSTER_PLAN).await;
    let small = plans.iter().find(|plan| plan["spec"]["externalName"] == "small").unwrap();
    let of_broker = format!("spec.clusterServiceBrokerName={}", case.broker_name());
    let of_class = format!("spec.clusterServiceClassRef.name={},spec.externalName=small", name(class));
    let by_id = format!("spec.externalID={}", small["spec"]["externalID"].as_str().unwrap());
    let in_use = format!("status.resolved.plan={}", name(small));
    let rows: [(&str, &str, &[&str]); 9] = [
        ("csvccl", &of_broker, &[name(class)]),
        ("csvcpl", &of_class, &[name(small)]),
        ("csvcpl", &by_id, &[name(small)]),
        ("svci", "spec.clusterServicePlanExternalName=small", &["db"]),
        ("svci", "spec.externalID=kubectl-selectors-id", &["db"]),
        ("svci", &in_use, &["db"]),
        ("svci", "status.lastConditionState!=Ready", &["stranger"]),
        ("svcb", "spec.instanceRef.name=db,status.lastConditionState=Ready", &["app"]),
        ("svcb", "spec.secretName=other", &[]),
    ];
    for (kind, selector, expected) in rows {
        assert_eq!(
            listed(&case, &[kind, "--field-selector", selector]).await,
            names(expected),
            "{kind} {selector}"
        );
    }
    case.finish().await;
}

/// A manifest in a file, as kubectl takes it.
struct Manifest(tempfile::TempDir);

impl Manifest {
    fn of(kind: Kind, metadata: &Value, spec: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = json!({
            "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": kind.name, "metadata": metadata, "spec": spec,
        });
        fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

// v0.3 Q42
#[tokio::test]
async fn applying_the_same_again_changes_nothing() {
    let case = unregistered("kubectl-apply", false).await;
    case.admit(&["alice"]).await;
    let instance = case.instance_spec("small", json!({ "parameters": { "size": 1 } }));
    let objects = [
        (BROKER, "kubectl-apply", case.broker_spec(json!({}))),
        (INSTANCE, "db", instance),
        (BINDING, "app", json!({ "instanceRef": { "name": "db" } })),
    ];
    for (kind, name, spec) in objects {
        let manifest = Manifest::of(kind, &json!({ "name": name }), &spec);
        // Whoever registers a broker must be able to read its Secret, which the administrator is here.
        let user: &[&str] = if kind == BROKER { &[] } else { &["--as=alice"] };
        let apply = ["apply", "--server-side", "--field-manager=alice", "-f", manifest.path()];
        let apply = [user, &apply[..]].concat();
        let dry = kubectl(&case, &[&apply[..], &["--dry-run=server"]].concat()).await;
        assert!(dry.contains("serverside-applied (server dry run)"), "{dry}");
        assert!(case.hand.get(kind, name).await.unwrap().is_none(), "{dry}");
        kubectl(&case, &apply).await;
        let settled = case.ready(kind, name).await;
        let asked = case.broker.journal().len();
        for more in [&[][..], &["--dry-run=server"], &[]] {
            kubectl(&case, &[&apply[..], more].concat()).await;
            let after = case.get(kind, name).await;
            assert_eq!(
                after["metadata"]["resourceVersion"], settled["metadata"]["resourceVersion"],
                "{after:#}\n{settled:#}"
            );
        }
        let diff =
            kubectl(&case, &[&["apply", "--dry-run=server", "-f", manifest.path()], user].concat()).await;
        assert!(diff.contains("(server dry run)"), "{diff}");
        assert_eq!(case.get(kind, name).await, settled);
        assert_eq!(case.broker.journal().len(), asked, "{}", case.broker.summary());
    }
    case.finish().await;
}

// v0.3 Q40
#[tokio::test]
async fn a_name_can_be_left_to_the_api_server() {
    let case = namespaced("kubectl-generate").await;
    let spec = case.instance_spec("small", json!({}));
    let manifest = Manifest::of(INSTANCE, &json!({ "generateName": "db-" }), &spec);
    let mut made = BTreeSet::new();
    for _ in 0..2 {
        let created = kubectl(&case, &["create", "-o", "name", "-f", manifest.path()]).await;
        let instance = created.trim().rsplit('/').next().unwrap().to_owned();
        case.ready(INSTANCE, &instance).await;
        case.told(&instance, "ProvisionedSuccessfully").await;
        made.insert(instance);
    }
    let shown = table(&case, &["get", "svci", "--no-headers"]).await;
    assert_eq!(shown.iter().map(|line| line[0].clone()).collect::<BTreeSet<_>>(), made);
    assert_eq!(case.broker.live_instances().len(), 2);
    for instance in &made {
        let described = kubectl(&case, &["describe", "svci", instance]).await;
        let (_, events) = described.split_once("Events:").unwrap();
        assert!(events.contains("Normal") && events.contains("ProvisionedSuccessfully"), "{described}");
    }
    // The Secret of a binding has its name.
    let spec = json!({ "instanceRef": { "name": made.first().unwrap() } });
    let manifest = Manifest::of(BINDING, &json!({ "generateName": "app-" }), &spec);
    let created = kubectl(&case, &["create", "-o", "name", "-f", manifest.path()]).await;
    let binding = created.trim().rsplit('/').next().unwrap();
    case.ready(BINDING, binding).await;
    assert_eq!(case.content(binding).await["password"], "s3cret");
    case.finish().await;
}

/// What a program concludes that knows nothing of a kind: the rules of kstatus (`sigs.k8s.io/cli-utils`), as Flux and Helm
/// have them, in their order.
fn kstatus(object: &Value) -> &'static str {
    let status = &object["status"];
    let holds = |type_: &str| condition(object, type_).is_some_and(|(status, ..)| status == "True");
    let unseen =
        status.get("observedGeneration").is_some_and(|seen| *seen != object["metadata"]["generation"]);
    if object["metadata"].get("deletionTimestamp").is_some() {
        "Terminating"
    } else if unseen || holds("Reconciling") {
        "InProgress"
    } else if holds("Stalled") {
        "Failed"
    } else if condition(object, "Ready").is_none_or(|(status, ..)| status == "True") {
        "Current"
    } else {
        "InProgress"
    }
}

/// What `kubectl wait --for=condition=Ready` waits for.
fn is_waited_for(object: &Value) -> bool {
    let found =
        object["status"]["conditions"].as_array().and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
    found.is_some_and(|ready| {
        let seen = ready.get("observedGeneration").or_else(|| object["status"].get("observedGeneration"));
        let old = seen.is_some_and(|seen| seen.as_i64() < object["metadata"]["generation"].as_i64());
        ready["status"] == "True" && !old
    })
}

/// All versions that an object has, from when `change` is made, until one is ready as its spec asks.
async fn versions(case: &Case, kind: Kind, name: &str, change: impl AsyncFnOnce()) -> Vec<Value> {
    let api = kind.api(&case.hand.client, case.namespace());
    let list = api.list_metadata(&kube::api::ListParams::default()).await.unwrap();
    let from = list.metadata.resource_version.unwrap();
    let only = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(60);
    let watch = api.watch(&only, &from).await.unwrap();
    change().await;
    let objects = watch.try_filter_map(async |event: WatchEvent<DynamicObject>| {
        Ok(match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Some(plain(object)),
            _ => None,
        })
    });
    let mut objects = std::pin::pin!(objects);
    let mut seen = vec![];
    while let Some(object) = objects.next().await {
        let object = object.unwrap();
        let ready = is_ready(&object);
        seen.push(object);
        if ready {
            return seen;
        }
    }
    panic!("{} {name} was never ready: {seen:#?}", kind.name)
}

/// Nobody takes any but the last version for a finished one.
fn only_the_last_is_finished(versions: &[Value]) {
    let (last, earlier) = versions.split_last().unwrap();
    assert!(kstatus(last) == "Current" && is_waited_for(last), "{last:#}");
    assert!(!earlier.is_empty());
    for version in earlier {
        assert_eq!(kstatus(version), "InProgress", "{version:#}");
        assert!(!is_waited_for(version), "kubectl would not wait: {version:#}");
    }
}

// v0.3 J2
#[tokio::test]
async fn neither_a_new_object_nor_an_edited_one_is_taken_for_finished() {
    let case = unregistered("kubectl-kstatus", false).await;
    let broker = case.broker_name();
    let made = versions(&case, BROKER, broker, async || case.create_broker(json!({})).await).await;
    assert_eq!(made[0]["status"], json!({ "observedGeneration": -1, "reconciledGeneration": 0 }));
    only_the_last_is_finished(&made);
    let relist = json!({ "relistRequests": 1 });
    only_the_last_is_finished(
        &versions(&case, BROKER, broker, async || drop(case.edit(BROKER, broker, relist).await)).await,
    );

    let unseen = json!({
        "observedGeneration": -1, "reconciledGeneration": 0, "asyncOpInProgress": false,
        "orphanMitigationInProgress": false,
    });
    let made =
        versions(&case, INSTANCE, "db", async || drop(case.order("db", "small", json!({})).await)).await;
    assert_eq!(made[0]["status"], unseen);
    only_the_last_is_finished(&made);
    // One edit that the broker is told of, one that is nothing to it.
    for plan in [json!({ case.plan_field(): "large" }), json!({ "updateRequests": 0 })] {
        let edit = async || drop(case.edit(INSTANCE, "db", plan).await);
        only_the_last_is_finished(&versions(&case, INSTANCE, "db", edit).await);
    }

    let bind = async || drop(case.bind("app", "db", json!({})).await);
    let made = versions(&case, BINDING, "app", bind).await;
    assert_eq!(made[0]["status"], unseen);
    only_the_last_is_finished(&made);
    case.finish().await;
}

// v0.3 A12
#[tokio::test]
async fn what_is_not_tried_again_has_failed_to_programs_and_to_svcat_alike() {
    let case = namespaced("kubectl-stalled").await;
    let refuse = |operation| {
        case.broker.on(operation).once().respond(400, json!({ "description": "no such size" }));
    };
    let failed = async |kind: Kind, name: &str| {
        let object = case.until(kind, name, "to have failed", |it| kstatus(it) == "Failed").await;
        // As scripts and svcat see it: the first condition is `Ready`, the last one the state.
        let conditions = object["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.first().unwrap()["type"], "Ready", "{object:#}");
        assert_eq!(conditions.last().unwrap()["type"], "Failed", "{object:#}");
        assert_eq!(object["status"]["lastConditionState"], "Failed", "{object:#}");
        assert_eq!(condition(&object, "Stalled"), condition(&object, "Failed"), "{object:#}");
    };
    refuse(Operation::Provision);
    case.order("db", "small", json!({})).await;
    failed(INSTANCE, "db").await;
    case.edit(INSTANCE, "db", json!({ "updateRequests": 1 })).await;
    case.until(INSTANCE, "db", "to be current", |it| kstatus(it) == "Current").await;

    // It goes on serving, but not as its spec asks.
    refuse(Operation::Update);
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    failed(INSTANCE, "db").await;
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "small" })).await;
    case.until(INSTANCE, "db", "to be current", |it| kstatus(it) == "Current").await;

    refuse(Operation::Bind);
    case.bind("app", "db", json!({})).await;
    failed(BINDING, "app").await;
    case.finish().await;
}

// v0.3 J3
#[tokio::test]
async fn a_message_says_when_the_next_try_is() {
    let case = namespaced("kubectl-next-try").await;
    case.broker.on(Operation::Provision).times(5).respond(429, json!({ "description": "maintenance" }));
    case.order("db", "small", json!({})).await;
    let seen = case
        .says(INSTANCE, "db", "ProvisionCallFailed", &["maintenance", "; the operator tries again at "])
        .await;
    let (_, _, message) = condition(&seen, "Ready").unwrap();
    let promised: jiff::Timestamp = message.rsplit(' ').next().unwrap().parse().unwrap();
    let recorded: jiff::Timestamp = seen["status"]["nextAttemptTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(promised.as_second(), recorded.as_second(), "{message}");
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}
