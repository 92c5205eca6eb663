//! What becomes of objects that are restored from a backup, copied, or replaced as a whole.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::objects::{BINDING, INSTANCE, Kind, SECRET, condition, uid},
};

use super::{Case, namespaced};

const INTENT: &str = "servicecatalog.k8s.io/intent";

/// What a backup has of an object: neither status nor what the API server gives it.
fn backed_up(object: &Value) -> Value {
    let mut copy = object.clone();
    let fields = copy.as_object_mut().unwrap();
    fields.shift_remove("status");
    let metadata = fields["metadata"].as_object_mut().unwrap();
    for field in
        ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"]
    {
        metadata.shift_remove(field);
    }
    copy
}

/// Takes an object away as the loss of a cluster would: no broker hears of it.
async fn lose(case: &Case, kind: Kind, name: &str) {
    case.hand.edit(kind, name, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.remove(kind, name).await;
}

async fn restore(case: &Case, kind: Kind, backup: &Value) {
    case.hand.restore(kind, backup).await.unwrap();
}

/// The objects of a namespace with an instance and a binding: instance, binding, Secret.
async fn served(case: &Case) -> [Value; 3] {
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    [
        backed_up(&case.get(INSTANCE, "db").await),
        backed_up(&case.get(BINDING, "app").await),
        backed_up(&case.get(SECRET, "app").await),
    ]
}

#[tokio::test]
async fn a_backup_without_status_goes_on_with_what_exists() {
    let case = namespaced("restore").await;
    let [instance, binding, secret] = served(&case).await;
    let content = case.content("app").await;
    lose(&case, BINDING, "app").await;
    lose(&case, INSTANCE, "db").await;
    // The garbage collector takes it, but not at once.
    case.hand.delete(SECRET, "app").await.ok();
    case.gone(SECRET, "app").await;

    restore(&case, SECRET, &secret).await;
    restore(&case, INSTANCE, &instance).await;
    restore(&case, BINDING, &binding).await;
    let restored = case.ready(INSTANCE, "db").await;
    assert_eq!(restored["status"]["instanceID"], instance["spec"]["externalID"]);
    case.ready(BINDING, "app").await;
    let id = uid(&case.get(BINDING, "app").await).to_owned();
    let adopted = |secret: &Value| secret["metadata"]["ownerReferences"][0]["uid"] == id.as_str();
    case.until(SECRET, "app", "to belong to the binding", adopted).await;
    assert_eq!(case.content("app").await, content);
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1);

    // Edits and deletions reach what was there before.
    case.delete(BINDING, "app").await;
    case.gone(BINDING, "app").await;
    case.gone(SECRET, "app").await;
    case.delete(INSTANCE, "db").await;
    case.gone(INSTANCE, "db").await;
    case.finish().await;
}

/// What was never made is made when it comes back.
#[tokio::test]
async fn a_backup_of_a_refused_instance_claims_nothing() {
    let case = namespaced("restore-refused").await;
    case.broker.on(Operation::Provision).once().respond(400, json!({ "description": "no" }));
    case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "ProvisionCallFailed", &["no"]).await;
    let claims = |object: &Value| {
        let intent = object["metadata"]["annotations"][INTENT].as_str().unwrap_or_default();
        !intent.contains(r#""currentOperation":"Provision""#)
    };
    let backup = backed_up(&case.until(INSTANCE, "db", "to claim nothing", claims).await);
    lose(&case, INSTANCE, "db").await;
    restore(&case, INSTANCE, &backup).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 2);
    case.finish().await;
}

#[tokio::test]
async fn a_copy_under_another_name_takes_nothing() {
    let case = namespaced("copy").await;
    let [mut copy, ..] = served(&case).await;
    copy["metadata"]["name"] = json!("copy");
    restore(&case, INSTANCE, &copy).await;
    let copied = case.ready(INSTANCE, "copy").await;
    assert_eq!(copied["status"]["instanceID"], copied["metadata"]["uid"]);
    assert_eq!(copied["spec"]["externalID"], copied["metadata"]["uid"]);
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 2);
    case.finish().await;
}

#[tokio::test]
async fn an_object_of_another_cluster_touches_nothing_until_somebody_says_so() {
    let case = namespaced("another-cluster").await;
    let instance = backed_up(&case.provide("db", json!({})).await);
    lose(&case, INSTANCE, "db").await;
    let mut foreign = instance.clone();
    let record: Value =
        serde_json::from_str(instance["metadata"]["annotations"][INTENT].as_str().unwrap()).unwrap();
    let here = record["cluster"].as_str().unwrap();
    let text = instance["metadata"]["annotations"][INTENT].as_str().unwrap().replace(here, "another-cluster");
    foreign["metadata"]["annotations"][INTENT] = json!(text);

    restore(&case, INSTANCE, &foreign).await;
    case.says(INSTANCE, "db", "RestoredFromAnotherCluster", &["servicecatalog.k8s.io/adopt", here]).await;
    // It goes as it came.
    case.delete(INSTANCE, "db").await;
    case.gone(INSTANCE, "db").await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());

    restore(&case, INSTANCE, &foreign).await;
    case.says(INSTANCE, "db", "RestoredFromAnotherCluster", &[]).await;
    let adopt = json!({ "metadata": { "annotations": { "servicecatalog.k8s.io/adopt": here } } });
    case.hand.edit(INSTANCE, "db", adopt).await.unwrap();
    let adopted = case.ready(INSTANCE, "db").await;
    assert_eq!(adopted["status"]["instanceID"], instance["spec"]["externalID"]);
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    case.delete(INSTANCE, "db").await;
    case.gone(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1);
    case.finish().await;
}

/// `kubectl replace -f`, Argo CD with `Replace=true`: the manifest takes the place of the whole object.
#[tokio::test]
async fn a_replaced_object_goes_on_working() {
    let case = namespaced("replaced-object").await;
    let before = case.provide("db", json!({})).await;
    let body = json!({ "spec": case.instance_spec("small", json!({ "parameters": { "size": 2 } })) });
    case.hand.replace(INSTANCE, "db", body).await.unwrap();
    let after = case
        .until(INSTANCE, "db", "to be updated", |object| {
            object["status"]["externalProperties"]["parameters"]["size"] == 2
        })
        .await;
    for kept in ["externalID", "serviceClassRef", "servicePlanRef"] {
        assert_eq!(after["spec"][kept], before["spec"][kept], "{kept}");
    }
    assert_eq!(after["metadata"]["finalizers"], before["metadata"]["finalizers"]);
    case.delete(INSTANCE, "db").await;
    case.gone(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1);
    case.finish().await;
}

#[tokio::test]
async fn an_abandoned_object_says_so() {
    let case = namespaced("abandoned-says").await;
    case.provide("db", json!({})).await;
    case.hand.edit(INSTANCE, "db", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    let abandoned = case.says(INSTANCE, "db", "Abandoned", &["stays at the broker"]).await;
    assert_eq!(condition(&abandoned, "Ready").unwrap().0, "False");
    case.told("db", "Abandoned").await;
    // Whoever adds the finalizer again has the operator go on.
    let ours = json!({ "metadata": { "finalizers": ["kubernetes-incubator/service-catalog"] } });
    case.hand.edit(INSTANCE, "db", ours).await.unwrap();
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}
