//! Credentials that are renewed: on request, by the broker's times, and in spite of the broker.

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Operation, Plan, catalog},
    page::{blocks, commands},
    stage::objects::{BINDING, INSTANCE, SECRET, condition, uid},
};

use super::{Case, namespaced};

/// The page that users follow.
const PAGE: &str = "docs/rotation.md";

/// A namespace with an instance of a plan, which is rotatable, and a binding of it.
async fn bound(namespace: &str, change: impl FnOnce(&Case)) -> Case {
    let case = Case::new(super::stage().await, namespace, false).await;
    let plan = Plan::new("plan-of-rotation", "small").rotatable();
    case.broker.set_catalog(catalog([case.offering().with("plans", json!([plan.json()]))]));
    case.register(json!({})).await;
    change(&case);
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({ "rotation": { "gracePeriod": "0s" } })).await;
    case
}

/// Asks for new credentials, for the nth time.
async fn renew(case: &Case, requests: i64) {
    case.edit(BINDING, "app", json!({ "rotation": { "requests": requests } })).await;
}

fn id(binding: &Value) -> String {
    binding["status"]["bindingID"].as_str().unwrap_or_default().to_owned()
}

/// The binding, once its credentials are other ones than those of `old`, and nothing else is at the broker.
async fn renewed(case: &Case, old: &str) -> Value {
    let is_renewed = |binding: &Value| {
        let rotation = &binding["status"]["rotation"];
        id(binding) != old && rotation["successor"].is_null() && rotation["predecessor"].is_null()
    };
    let binding = case.until(BINDING, "app", "to be renewed", is_renewed).await;
    assert_eq!(case.broker.live_bindings(), [id(&binding)].into(), "{}", case.broker.summary());
    assert_eq!(case.content("app").await["username"], id(&binding));
    assert_eq!(binding["spec"]["externalID"], id(&binding));
    binding
}

/// The states of `Ready` that a watcher of the binding sees until `end`.
async fn states(case: &Case, end: impl Future<Output = Value>) -> (Vec<String>, Value) {
    use futures::StreamExt as _;
    let client = case.hand.client.clone();
    let api = BINDING.api(&client, case.namespace());
    let watch = kube::runtime::watcher(api, kube::runtime::watcher::Config::default());
    let mut seen = vec![];
    let mut watch = std::pin::pin!(kube::runtime::WatchStreamExt::applied_objects(watch));
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            binding = watch.next() => {
                let binding = testkit::stage::objects::plain(binding.unwrap().unwrap());
                if let Some((state, reason, _)) = condition(&binding, "Ready") {
                    seen.push(format!("{state} {reason}"));
                }
            }
            last = &mut end => return (seen, last),
        }
    }
}

// OSB 49, 128, 129, 131, 132
#[tokio::test]
async fn new_credentials_replace_the_old_ones_and_ready_stays_true() {
    let case = bound("rotation", |_| {}).await;
    let old = id(&case.get(BINDING, "app").await);
    let secret = uid(&case.get(SECRET, "app").await).to_owned();
    let (states, binding) = states(&case, async {
        renew(&case, 1).await;
        renewed(&case, &old).await
    })
    .await;
    assert!(states.iter().all(|state| state.starts_with("True ")), "{states:?}");
    assert_eq!(uid(&case.get(SECRET, "app").await), secret, "it is the same Secret");
    case.told("app", "CredentialsRenewed").await;
    let [_, second] = &case.broker.requests_of(Operation::Bind)[..] else { panic!("two binds") };
    assert_eq!(second.body["predecessor_binding_id"], old);
    // The next one.
    renew(&case, 2).await;
    let binding = renewed(&case, &id(&binding)).await;
    assert_eq!(binding["status"]["rotation"], json!({ "observedRequests": 2 }));
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 3);
    case.finish().await;
}

// OSB 49, 128
#[tokio::test]
async fn a_plan_that_is_not_rotatable_gets_another_binding_with_the_same_parameters() {
    let case = namespaced("rotation-plain").await;
    case.provide("db", json!({})).await;
    let spec = json!({ "parameters": { "role": "reader" }, "rotation": { "gracePeriod": "0s" } });
    let old = id(&case.connect("app", "db", spec).await);
    renew(&case, 1).await;
    renewed(&case, &old).await;
    let [first, second] = &case.broker.requests_of(Operation::Bind)[..] else { panic!("two binds") };
    assert_eq!(first.body_bytes, second.body_bytes);
    case.finish().await;
}

// OSB 127
#[tokio::test]
async fn credentials_are_renewed_before_the_broker_says_that_they_must_be() {
    let case = bound("rotation-due", |case| {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(62);
        let late = soon + jiff::SignedDuration::from_secs(600);
        // With an offset, as RFC 3339 allows.
        let soon = format!("{}+00:00", soon.to_string().trim_end_matches('Z'));
        let metadata = json!({ "expires_at": late.to_string(), "renew_before": soon });
        case.broker.on(Operation::Bind).once().amend(move |reply| reply.set("metadata", metadata.clone()));
    })
    .await;
    let first = case.get(BINDING, "app").await;
    assert!(
        first["status"]["renewBefore"].is_string() && first["status"]["expiresAt"].is_string(),
        "{first}"
    );
    let second = renewed(&case, &id(&first)).await;
    assert!(second["status"]["expiresAt"].is_null(), "{second}");
    let annotations = &case.get(SECRET, "app").await["metadata"]["annotations"];
    assert!(annotations["servicecatalog.k8s.io/expires-at"].is_null(), "{annotations}");
    case.finish().await;
}

#[tokio::test]
async fn a_broker_that_refuses_to_rotate_is_asked_for_another_binding() {
    let case = bound("rotation-refused", |_| {}).await;
    let old = id(&case.get(BINDING, "app").await);
    let refusal = json!({ "description": "rotation is broken" });
    case.broker.on(Operation::Bind).once().respond(400, refusal);
    renew(&case, 1).await;
    let note = case.told("app", "CredentialsRenewalFailed").await["note"].to_string();
    assert!(note.contains("rotation is broken") && note.contains("tries again at"), "{note}");
    renewed(&case, &old).await;
    let binds = case.broker.requests_of(Operation::Bind);
    assert!(binds.last().unwrap().body.get("predecessor_binding_id").is_none(), "{}", case.broker.summary());
    case.finish().await;
}

// OSB 133
#[tokio::test]
async fn a_renewal_that_fails_asynchronously_leaves_nothing_and_is_tried_again() {
    let case = bound("rotation-failing", |_| {}).await;
    let old = id(&case.get(BINDING, "app").await);
    case.broker.on(Operation::Bind).once().asynchronously(AsyncScript::failing(1, "no more users"));
    renew(&case, 1).await;
    renewed(&case, &old).await;
    case.finish().await;
}

// OSB 130
#[tokio::test]
async fn a_binding_that_is_deleted_in_its_grace_period_leaves_nothing() {
    let case = namespaced("rotation-grace").await;
    case.provide("db", json!({})).await;
    let old = id(&case.connect("app", "db", json!({})).await);
    renew(&case, 1).await;
    let grace = |binding: &Value| binding["status"]["rotation"]["predecessor"]["bindingID"] == old;
    let binding = case.until(BINDING, "app", "to have a predecessor", grace).await;
    assert_eq!(case.broker.live_bindings(), [old.clone(), id(&binding)].into());
    case.remove(BINDING, "app").await;
    case.gone(SECRET, "app").await;
    assert!(case.broker.live_bindings().is_empty(), "{}", case.broker.summary());
    case.remove(INSTANCE, "db").await;
    case.finish().await;
}

#[tokio::test]
async fn nobody_takes_the_id_of_a_predecessor() {
    let case = namespaced("rotation-ids").await;
    case.provide("db", json!({})).await;
    let old = id(&case.connect("app", "db", json!({})).await);
    renew(&case, 1).await;
    let grace = |binding: &Value| binding["status"]["rotation"]["predecessor"]["bindingID"] == old;
    case.until(BINDING, "app", "to have a predecessor", grace).await;
    case.bind("thief", "db", json!({ "externalID": old })).await;
    case.says(BINDING, "thief", "ExternalIDInUse", &["\"app\""]).await;
    case.finish().await;
}

#[tokio::test]
async fn the_commands_of_the_page_renew_credentials() {
    let case = namespaced("rotation-page").await;
    case.provide("orders-db", json!({})).await;
    let [manifest] = &blocks(PAGE, "## When credentials are renewed", "yaml")[..] else {
        panic!("one manifest")
    };
    let apply = format!("kubectl apply -f - <<'END'\n{manifest}END\n");
    let scripts = [vec![apply], commands(PAGE, "## Renew now")].concat();
    let plane = &case.stage.plane;
    let mut said = String::new();
    for script in scripts {
        let script = format!("kubectl() {{ command kubectl -n {} \"$@\"; }}\n{script}", case.namespace());
        said = plane.shell(plane.dir(), &script).await.unwrap();
        case.ready(BINDING, "orders").await;
    }
    let [new, old] = said.lines().rev().take(2).collect::<Vec<_>>()[..] else { panic!("two ids in {said}") };
    assert_eq!(case.broker.live_bindings(), [new.to_owned(), old.to_owned()].into(), "{said}");
    case.finish().await;
}
