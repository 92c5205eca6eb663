//! Instances: `provision`, `get`, `describe`, `touch`, `deprovision`, with `--wait` and `--abandon`.

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Hold, Operation},
    stage::objects::{BINDING, INSTANCE, SECRET, condition, name, uid},
};

use super::{
    Case, cluster_wide, namespaced,
    wire::{Scope, Svcat, is, is_done, status},
};

/// Waits until the operator has seen everything that was written before.
async fn caught_up(case: &Case, with: &str) {
    case.provide(with, json!({})).await;
    case.remove(INSTANCE, with).await;
}

async fn an_instance_comes_and_goes(case: Case, wide: bool) {
    let svcat = Svcat(&case);
    let service = case.unique("postgresql");
    let class = svcat.get_class(&service, Scope::All).await.unwrap();
    let plan = svcat.get_plan(&class, "small").await.unwrap();
    case.hand.secret("more", json!({ "json": "{\"pw\": \"x\"}" })).await.unwrap();
    // -p size=1 -p tag=a -p tag=b --secret more[json]
    let more = json!({
        "parameters": { "size": "1", "tag": ["a", "b"] },
        "parametersFrom": [{ "secretKeyRef": { "name": "more", "key": "json" } }],
    });
    let made = svcat.provision("db", &service, "small", more).await.unwrap();
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes-incubator/service-catalog"]));
    let ready = svcat.wait(INSTANCE, "db").await;
    assert_eq!(status(&ready), ("Ready".to_owned(), "The instance was provisioned successfully".to_owned()));
    assert_eq!(ready["status"]["lastConditionState"], "Ready");
    let sent = case.broker.instance(uid(&ready)).unwrap();
    assert_eq!(sent.parameters, json!({ "size": "1", "tag": ["a", "b"], "pw": "x" }));

    // The columns have what the user said; of namespaced classes this `svcat` shows nothing.
    let shown = if wide { [name(&class), name(&plan)] } else { ["", ""] };
    let row = ["db", shown[0], shown[1], "Ready"].map(str::to_owned);
    assert_eq!(svcat.get_instances(None, None).await.unwrap(), std::slice::from_ref(&row));
    assert_eq!(svcat.get_instances(Some(shown[0]), Some(shown[1])).await.unwrap(), [row]);
    assert!(svcat.get_instances(Some("other"), None).await.unwrap().is_empty());
    svcat.bind("db", Some("app"), json!({})).await.unwrap();
    svcat.wait(BINDING, "app").await;
    let (described, bindings) = svcat.describe_instance("db").await.unwrap();
    assert_eq!((name(&described), bindings.iter().map(name).collect::<Vec<_>>()), ("db", vec!["app"]));

    svcat.deprovision("db").await.unwrap();
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["app"]).await;
    assert_eq!(
        status(&svcat.get(INSTANCE, "db").await.unwrap()).0,
        "DeprovisionBlockedByExistingCredentials"
    );
    svcat.unbind_by_name("app").await.unwrap();
    svcat.wait_for_absence(INSTANCE, "db").await;
    assert!(is(&svcat.deprovision("db").await.unwrap_err(), 404));
    case.finish().await;
}

// v0.3 N6
#[tokio::test]
async fn an_instance_of_a_class_of_the_cluster_comes_and_goes() {
    an_instance_comes_and_goes(cluster_wide("svcat-instance-wide").await, true).await;
}

// v0.3 N6
#[tokio::test]
async fn an_instance_of_a_class_of_the_namespace_comes_and_goes() {
    an_instance_comes_and_goes(namespaced("svcat-instance").await, false).await;
}

// v0.3 N7
#[tokio::test]
async fn waiting_does_not_end_while_the_broker_is_at_work() {
    let case = namespaced("svcat-wait").await;
    let svcat = Svcat(&case);
    let hold = Hold::new();
    case.broker.on(Operation::Provision).once().asynchronously(AsyncScript::succeeding(1).held_by(&hold));
    let made = svcat.provision("db", "postgresql", "small", json!({})).await.unwrap();
    assert!(!is_done(&made), "{made}");
    case.says(INSTANCE, "db", "Provisioning", &["The instance is being provisioned asynchronously"]).await;
    let busy = svcat.get(INSTANCE, "db").await.unwrap();
    assert!(!is_done(&busy) && busy["status"]["asyncOpInProgress"] == true, "{busy}");
    hold.release();
    assert_eq!(status(&svcat.wait(INSTANCE, "db").await).0, "Ready");

    let hold = Hold::new();
    case.broker.on(Operation::Deprovision).once().asynchronously(AsyncScript::succeeding(1).held_by(&hold));
    svcat.deprovision("db").await.unwrap();
    case.says(INSTANCE, "db", "Deprovisioning", &["The instance is being deprovisioned asynchronously"])
        .await;
    assert!(!is_done(&svcat.get(INSTANCE, "db").await.unwrap()));
    hold.release();
    svcat.wait_for_absence(INSTANCE, "db").await;
    case.finish().await;
}

// v0.3 J1
#[tokio::test]
async fn a_refusal_for_good_ends_the_waiting_and_a_touch_begins_anew() {
    let case = namespaced("svcat-refused").await;
    let svcat = Svcat(&case);
    for name in ["at-once", "later"] {
        let script = case.broker.on(Operation::Provision).once();
        let wanted = if name == "later" {
            script.asynchronously(AsyncScript::failing(1, "size must be even"))
        } else {
            script.respond(400, json!({ "description": "size must be even" }))
        };
        svcat.provision(name, "postgresql", "small", json!({})).await.unwrap();
        let failed = svcat.wait(INSTANCE, name).await;
        assert_eq!(wanted.hits(), 1);
        // What the failed operation may have left is being deleted, and the condition for that comes last, while it lasts.
        let (short, message) = status(&failed);
        assert!(["Failed", "OrphanMitigation"].contains(&short.as_str()), "{short}");
        assert!(message.contains("size must be even"), "{message}");
        let types: Vec<_> =
            failed["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
        assert_eq!(types[..3], ["Ready", "Stalled", "Failed"], "{failed}");
        assert_eq!(failed["status"]["asyncOpInProgress"], false);
        case.until(INSTANCE, name, "to be cleaned up", |object| status(object).0 == "Failed").await;
        let row =
            svcat.get_instances(None, None).await.unwrap().into_iter().find(|row| row[0] == name).unwrap();
        assert_eq!(row[3], "Failed");

        svcat.touch(name).await.unwrap();
        let ready = case.ready(INSTANCE, name).await;
        assert_eq!(condition(&ready, "Failed"), None);
        assert_eq!(status(&ready).0, "Ready");
    }
    case.finish().await;
}

/// `touch` writes back what Go has read. Nothing that matters is lost by it, and the broker is asked once.
async fn touched(case: Case) {
    let svcat = Svcat(&case);
    let id = case.unique("taken-over");
    let spec = json!({
        "externalID": id, "parameters": { "deep": { "a": [1, null] } }, "deletionPolicy": "Prevent",
    });
    case.provide("db", spec).await;
    case.hand
        .edit(INSTANCE, "db", json!({ "metadata": { "annotations": { "kept": "yes" } } }))
        .await
        .unwrap();
    let before = case.get(INSTANCE, "db").await;
    let made = svcat.touch("db").await.unwrap();
    assert_eq!(made["spec"]["updateRequests"], 1);
    let after = case.ready(INSTANCE, "db").await;
    // What the Go types add is nothing but zero values. Whoever adds a field to the spec sets it above.
    let is_zero = |value: &Value| [json!(""), json!([]), json!({}), json!(0), json!(null)].contains(value);
    for (field, value) in after["spec"].as_object().unwrap() {
        let kept = before["spec"].get(field).map_or_else(|| is_zero(value), |before| before == value);
        assert!(kept || field == "updateRequests", "{field}: {value}");
    }
    let lost = before["spec"].as_object().unwrap().keys().find(|field| after["spec"].get(field).is_none());
    assert_eq!(lost, None);
    for kept in ["resolved", "instanceID", "externalProperties", "provisionStatus", "userSpecifiedPlanName"] {
        assert_eq!(after["status"][kept], before["status"][kept], "{kept}");
    }
    for kept in ["finalizers", "uid"] {
        assert_eq!(after["metadata"][kept], before["metadata"][kept], "{kept}");
    }
    assert_eq!(after["metadata"]["annotations"]["kept"], "yes");
    let updates = case.broker.requests_of(Operation::Update);
    assert_eq!(updates.len(), 1);
    assert!(is(&svcat.replace(INSTANCE, &before).await.unwrap_err(), 409));
    case.edit(INSTANCE, "db", json!({ "deletionPolicy": "Delete" })).await;
    case.finish().await;
}

// v0.3 N8
#[tokio::test]
async fn a_touch_of_an_instance_of_the_namespace_loses_nothing() {
    touched(namespaced("svcat-touch").await).await;
}

// v0.3 N8
#[tokio::test]
async fn a_touch_of_an_instance_of_the_cluster_loses_nothing() {
    touched(cluster_wide("svcat-touch-wide").await).await;
}

// v0.3 N10
#[tokio::test]
async fn an_abandoned_instance_is_not_taken_up_again() {
    let case = namespaced("svcat-abandon").await;
    let svcat = Svcat(&case);
    let ready = case.provide("db", json!({})).await;
    let let_go = svcat.let_go(INSTANCE, "db").await.unwrap();
    assert!(let_go["metadata"].get("finalizers").is_none(), "{let_go}");
    // Whatever happens until the second half of the command comes.
    svcat.touch("db").await.unwrap();
    caught_up(&case, "fence").await;
    let after = svcat.get(INSTANCE, "db").await.unwrap();
    assert!(after["metadata"].get("finalizers").is_none(), "{after}");
    svcat.deprovision("db").await.unwrap();
    svcat.wait_for_absence(INSTANCE, "db").await;
    let asked = case.broker.journal().into_iter().filter(|request| request.concerns(uid(&ready))).count();
    assert_eq!(asked, 1, "{}", case.broker.summary());
    case.broker.lose_instance(uid(&ready));
    case.finish().await;
}

// v0.3 N10
#[tokio::test]
async fn an_instance_is_abandoned_while_the_broker_is_at_work() {
    let case = namespaced("svcat-abandon-early").await;
    let svcat = Svcat(&case);
    let hold = Hold::new();
    case.broker.on(Operation::Provision).once().asynchronously(AsyncScript::succeeding(0).held_by(&hold));
    let made = case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "Provisioning", &[]).await;
    svcat.let_go_at_last(INSTANCE, "db").await;
    caught_up(&case, "fence").await;
    assert!(svcat.get(INSTANCE, "db").await.unwrap()["metadata"].get("finalizers").is_none());
    svcat.deprovision("db").await.unwrap();
    svcat.wait_for_absence(INSTANCE, "db").await;
    hold.release();
    let deletions = case.broker.requests_of(Operation::Deprovision);
    assert!(deletions.iter().all(|request| !request.concerns(uid(&made))), "{deletions:#?}");
    case.broker.lose_instance(uid(&made));
    case.finish().await;
}

// v0.3 N10
#[tokio::test]
async fn an_instance_that_the_broker_does_not_delete_is_abandoned() {
    let case = namespaced("svcat-abandon-stuck").await;
    let svcat = Svcat(&case);
    let ready = case.provide("db", json!({})).await;
    let stuck = case.broker.on(Operation::Deprovision).for_id(uid(&ready)).always().respond(500, json!({}));
    svcat.deprovision("db").await.unwrap();
    case.says(INSTANCE, "db", "DeprovisionCallFailed", &[]).await;
    assert_eq!(svcat.get(INSTANCE, "db").await.unwrap()["status"]["deprovisionStatus"], "Required");
    svcat.let_go_at_last(INSTANCE, "db").await;
    // It is gone with that, and the second half of the command says so.
    assert!(is(&svcat.deprovision("db").await.unwrap_err(), 404));
    assert!(stuck.hits() > 0);
    case.broker.lose_instance(uid(&ready));
    case.finish().await;
}

#[tokio::test]
async fn an_instance_that_was_never_ordered_is_abandoned_without_a_word_to_the_broker() {
    let case = namespaced("svcat-abandon-unknown").await;
    let svcat = Svcat(&case);
    let spec = json!({ "serviceClassName": "no-such-class", "servicePlanName": "no-such-plan" });
    svcat.create(INSTANCE, "db", spec).await.unwrap();
    case.says(INSTANCE, "db", "ReferencesNonexistentServiceClass", &["no-such-class"]).await;
    svcat.let_go_at_last(INSTANCE, "db").await;
    caught_up(&case, "fence").await;
    assert!(svcat.get(INSTANCE, "db").await.unwrap()["metadata"].get("finalizers").is_none());
    svcat.deprovision("db").await.unwrap();
    svcat.wait_for_absence(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1, "that of the other one");
    case.finish().await;
}

// v0.3 N6
#[tokio::test]
async fn an_instance_is_ordered_by_an_id_and_a_secret_that_svcat_names() {
    let case = namespaced("svcat-external-id").await;
    let svcat = Svcat(&case);
    let from = json!([{ "secretKeyRef": { "name": "late", "key": "json" } }]);
    let more = json!({ "externalID": "5f2b", "parametersFrom": from });
    svcat.provision("db", "postgresql", "small", more).await.unwrap();
    case.says(INSTANCE, "db", "ErrorWithParameters", &["\"late\" does not exist"]).await;
    assert_eq!(status(&svcat.get(INSTANCE, "db").await.unwrap()).0, "ErrorWithParameters");
    case.hand.make(SECRET, "late", json!({ "stringData": { "json": "{}" } })).await.unwrap();
    assert_eq!(svcat.wait(INSTANCE, "db").await["spec"]["externalID"], "5f2b");
    assert!(case.broker.instance("5f2b").is_some());
    case.finish().await;
}
