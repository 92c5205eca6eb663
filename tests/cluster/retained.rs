//! What `spec.deletionPolicy` keeps at a broker, and what its users learn of that.

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Hold, Operation},
    stage::objects::{BINDING, CONFIG_MAP, INSTANCE, Kind, NAMESPACE, SECRET, condition, uid},
};

use super::{Case, namespaced};

fn retained(more: Value) -> Value {
    testkit::stage::case::with(json!({ "deletionPolicy": "Retain" }), more)
}

/// Nothing was deleted at the broker.
fn untouched(case: &Case) {
    for operation in [Operation::Unbind, Operation::Deprovision] {
        let requests = case.broker.requests_of(operation);
        assert!(requests.is_empty(), "{requests:#?}");
    }
}

#[tokio::test]
async fn what_is_retained_is_named_and_another_object_takes_it_over() {
    let case = namespaced("retained").await;
    let instance = uid(&case.provide("db", retained(json!({}))).await).to_owned();
    let binding = uid(&case.connect("app", "db", retained(json!({}))).await).to_owned();
    let content = case.content("app").await;
    for (kind, name, id) in [(BINDING, "app", &binding), (INSTANCE, "db", &instance)] {
        case.remove(kind, name).await;
        let note = case.told(name, "Retained").await["note"].to_string();
        for named in [id, &instance, "ServiceBroker retained/retained", "class", "plan"] {
            assert!(note.contains(named), "{note}");
        }
    }
    // The Secret belongs to the binding.
    case.gone(SECRET, "app").await;
    untouched(&case);

    let adopted = case.provide("db", json!({ "externalID": instance })).await;
    assert_eq!(adopted["status"]["instanceID"], *instance);
    case.connect("app", "db", json!({ "externalID": binding })).await;
    assert_eq!(case.content("app").await, content);
    case.finish().await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_leaves_what_is_retained_and_ends() {
    let case = namespaced("retained-namespace").await;
    let instance = uid(&case.provide("db", retained(json!({}))).await).to_owned();
    let binding = uid(&case.connect("app", "db", retained(json!({}))).await).to_owned();
    case.provide("other", json!({})).await;
    case.delete(NAMESPACE, "retained-namespace").await;
    case.gone(NAMESPACE, "retained-namespace").await;
    // No Event outlives its namespace, but the log does.
    let log = case.stage.operator.logs().unwrap();
    for id in [&instance, &binding] {
        let names = |line: &str| line.contains("Retained") && line.contains(&**id) && line.contains("plan");
        assert!(log.lines().any(names), "the log does not name {id}");
    }
    assert_eq!(case.broker.live_instances(), [instance.clone()].into());
    assert_eq!(case.broker.live_bindings(), [binding.clone()].into());
    case.broker.lose_binding(&binding);
    case.broker.lose_instance(&instance);
    case.audit();
}

#[tokio::test]
async fn what_is_being_made_is_retained_if_it_succeeds_and_deleted_if_it_fails() {
    let case = namespaced("retained-early").await;
    case.provide("server", json!({})).await;
    for (name, fails) in [("good", false), ("bad", true)] {
        let hold = Hold::new();
        let script = if fails { AsyncScript::failing(0, "disk on fire") } else { AsyncScript::succeeding(0) };
        case.broker.on(Operation::Provision).once().asynchronously(script.held_by(&hold));
        let id = uid(&case.order(name, "small", retained(json!({}))).await).to_owned();
        case.says(INSTANCE, name, "Provisioning", &[]).await;
        case.delete(INSTANCE, name).await;
        let words = ["waits for the provision", "spec.deletionPolicy is Retain"];
        case.says(INSTANCE, name, "DeprovisionRequestInFlight", &words).await;
        hold.release();
        case.gone(INSTANCE, name).await;
        let deleted = case.broker.requests_of(Operation::Deprovision);
        assert_eq!(deleted.iter().any(|request| request.id() == id), fails, "{deleted:#?}");
        assert_eq!(case.broker.live_instances().contains(&id), !fails);
        if !fails {
            case.broker.lose_instance(&id);
        }
    }
    case.finish().await;
}

async fn refused(case: &Case, kind: Kind, name: &str) {
    let refused = case.hand.delete(kind, name).await.unwrap_err().to_string();
    assert!(refused.contains("spec.deletionPolicy is Prevent: set it to Delete"), "{refused}");
}

#[tokio::test]
async fn a_deletion_that_is_prevented_is_refused_until_the_policy_changes() {
    let case = namespaced("prevented").await;
    case.provide("db", json!({ "deletionPolicy": "Prevent" })).await;
    case.connect("app", "db", json!({ "deletionPolicy": "Prevent" })).await;
    for (kind, name) in [(BINDING, "app"), (INSTANCE, "db")] {
        refused(&case, kind, name).await;
        // A manifest without the field, like a client that does not know it, changes nothing.
        case.edit(kind, name, json!({ "deletionPolicy": null })).await;
        refused(&case, kind, name).await;
        untouched(&case);
    }
    // Of a binding nothing but the policy can change.
    let edited =
        case.edit(BINDING, "app", json!({ "deletionPolicy": "Delete", "parameters": { "a": 1 } })).await;
    assert_eq!(
        (&edited["spec"]["deletionPolicy"], &edited["spec"]["parameters"]),
        (&json!("Delete"), &json!(null))
    );
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    for (kind, name) in [(BINDING, "app"), (INSTANCE, "db")] {
        case.ready(kind, name).await;
    }
    let asked = [Operation::Provision, Operation::Update, Operation::Bind];
    assert_eq!(asked.map(|operation| case.broker.requests_of(operation).len()), [1, 0, 1]);
    case.finish().await;
}

#[tokio::test]
async fn a_namespace_waits_for_what_may_not_be_deleted_and_says_so() {
    let case = namespaced("prevented-namespace").await;
    case.provide("db", json!({ "deletionPolicy": "Prevent" })).await;
    case.delete(NAMESPACE, "prevented-namespace").await;
    let says = |namespace: &Value| {
        namespace["status"]["conditions"]
            .to_string()
            .contains("spec.deletionPolicy is Prevent: set it to Delete")
    };
    case.until(NAMESPACE, "prevented-namespace", "to say what prevents its deletion", says).await;
    untouched(&case);
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    case.gone(NAMESPACE, "prevented-namespace").await;
    case.audit();
}

#[tokio::test]
async fn the_garbage_collector_waits_for_the_policy_to_change() {
    let case = namespaced("prevented-garbage").await;
    let owner = case.hand.make(CONFIG_MAP, "owner", json!({})).await.unwrap();
    let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid(&owner) }]);
    for (name, policy) in [("db", "Prevent"), ("other", "Delete")] {
        case.provide(name, json!({ "deletionPolicy": policy })).await;
        let owned = json!({ "metadata": { "ownerReferences": owner } });
        case.hand.edit(INSTANCE, name, owned).await.unwrap();
    }
    case.remove(CONFIG_MAP, "owner").await;
    case.gone(INSTANCE, "other").await;
    let kept = case.ready(INSTANCE, "db").await;
    assert!(kept["metadata"].get("deletionTimestamp").is_none(), "{kept}");
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}

/// The user has second thoughts while the broker does not delete.
#[tokio::test]
async fn a_deletion_that_the_broker_has_not_confirmed_can_be_stopped() {
    let case = namespaced("prevented-late").await;
    let id = uid(&case.provide("db", json!({})).await).to_owned();
    case.broker.on(Operation::Deprovision).always().respond(500, json!({ "description": "disk on fire" }));
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "DeprovisionCallFailed", &["disk on fire"]).await;
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Prevent" })).await;
    let prevented =
        case.says(INSTANCE, "db", "DeletionPrevented", &["set it to Delete", "or to Retain"]).await;
    assert_eq!(condition(&prevented, "Failed"), None);
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Retain" })).await;
    case.gone(INSTANCE, "db").await;
    case.broker.lose_instance(&id);
    case.finish().await;
}
