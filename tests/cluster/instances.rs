//! Instances: provision, update, deprovision, at once and asynchronously; parameters; waiting for a class.

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Hold, LARGE, Operation, Plan, Reply, SMALL, catalog},
    stage::objects::{BINDING, INSTANCE, condition, uid},
};

use super::{cluster_wide, namespaced, unregistered};

#[tokio::test]
async fn a_dashboard_that_is_no_page_of_the_web_is_left_out_and_said() {
    let case = namespaced("odd-dashboard").await;
    let odd = |reply: &mut Reply| reply.set("dashboard_url", json!("javascript:alert(document.cookie)"));
    case.broker.on(Operation::Provision).amend(odd);
    let ready = case.provide("db", json!({})).await;
    assert_eq!(ready["status"].get("dashboardURL"), None, "{ready}");
    let message = condition(&ready, "Ready").unwrap().2;
    let said = "; the broker's dashboard_url is left out: it is not an http or https URL";
    assert!(message.ends_with(said), "{message}");
    case.finish().await;
}

// v0.3 H1
#[tokio::test]
async fn an_instance_is_provisioned_updated_and_deprovisioned() {
    let case = cluster_wide("lifecycle").await;
    let ready = case.provide("db", json!({ "parameters": { "size": 1, "nested": { "on": true } } })).await;
    assert_eq!(condition(&ready, "Ready").unwrap().1, "ProvisionedSuccessfully");
    assert_eq!(condition(&ready, "Ready").unwrap().2, "The instance was provisioned successfully");
    assert_eq!(ready["status"]["provisionStatus"], "Provisioned");
    let id = uid(&ready).to_owned();
    assert_eq!(ready["status"]["dashboardURL"], format!("https://dashboard.example.com/{id}"));
    let made = case.broker.instance(&id).unwrap();
    assert_eq!((made.service_id, made.plan_id), (case.unique("offering-postgresql"), case.unique(SMALL)));
    assert_eq!(made.parameters, json!({ "size": 1, "nested": { "on": true } }));

    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    let updated = case.ready(INSTANCE, "db").await;
    assert_eq!(condition(&updated, "Ready").unwrap().1, "InstanceUpdatedSuccessfully");
    assert_eq!(case.broker.instance(&id).unwrap().parameters["size"], 2);

    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    let updated = case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.instance(&id).unwrap().plan_id, case.unique(LARGE));
    assert_eq!(updated["status"]["userSpecifiedPlanName"], "large");
    let update = case.broker.requests_of(Operation::Update).pop().unwrap();
    assert_eq!(update.body["previous_values"]["plan_id"], case.unique(SMALL));

    case.remove(INSTANCE, "db").await;
    assert!(case.broker.live_instances().is_empty());
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1);
    assert_eq!(case.broker.requests_of(Operation::Update).len(), 2);
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1);
    case.finish().await;
}

// OSB 64, 72
// v0.3 H1, H13, J1, L4
#[tokio::test]
async fn an_asynchronous_instance_shows_what_the_broker_says() {
    let case = namespaced("asynchronous").await;
    for (operation, said) in [
        (Operation::Provision, "digging"),
        (Operation::Update, "moving"),
        (Operation::Deprovision, "filling"),
    ] {
        let hold = Hold::new();
        case.broker.set_async_script(operation, AsyncScript::succeeding(1).held_by(&hold).describing(said));
        let (reason, done) = match operation {
            Operation::Provision => {
                case.order("db", "small", json!({})).await;
                ("Provisioning", "provisioned")
            }
            Operation::Update => {
                case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
                ("UpdatingInstance", "updated")
            }
            _ => {
                case.delete(INSTANCE, "db").await;
                ("Deprovisioning", "deprovisioned")
            }
        };
        let words = format!("The instance is being {done} asynchronously ({said})");
        let seen = case.says(INSTANCE, "db", reason, &[&words]).await;
        assert_eq!(seen["status"]["asyncOpInProgress"], true);
        assert_eq!(seen["status"]["lastConditionState"], reason);
        hold.release();
        if operation == Operation::Deprovision {
            case.gone(INSTANCE, "db").await;
        } else {
            let ready = case.ready(INSTANCE, "db").await;
            assert_eq!(ready["status"]["asyncOpInProgress"], false, "{ready}");
            assert!(ready["status"].get("lastOperation").is_none(), "{ready}");
        }
    }
    case.finish().await;
}

// OSB 19, 66, 77
#[tokio::test]
async fn ids_and_operations_reach_the_broker_as_they_are_whatever_they_hold() {
    let case = unregistered("odd-ids", false).await;
    let odd = "../a b/%2F?x=1&y=+#\u{e9}\u{1f600}\u{0}\n\"\\";
    // An id that a user gives is taken only if every server on the way can be asked for it.
    let id = "..a&y=+\u{e9}\u{1f600}";
    let plan = Plan::new(&format!("{odd}plan"), "small").json();
    let offering = case.offering().with("id", format!("{odd}offering")).with("plans", json!([plan]));
    case.broker.set_catalog(catalog([offering]));
    case.register(json!({})).await;
    // The longest that the specification allows, of characters that take the most room in a URL that it can have.
    let long = "\u{e9}".repeat(10_000);
    for (name, operation) in
        [("odd", json!(odd)), ("long", json!(long)), ("empty", json!("")), ("null", json!(null))]
    {
        for kind in [Operation::Provision, Operation::Deprovision, Operation::Bind, Operation::Unbind] {
            case.broker.set_async_script(kind, AsyncScript::succeeding(1).operation(operation.clone()));
        }
        case.provide(name, json!({ "externalID": format!("{id}{name}") })).await;
        case.connect(name, name, json!({ "externalID": format!("{id}{name}~") })).await;
        assert!(case.broker.instance(&format!("{id}{name}")).is_some(), "{name}");
        case.remove(BINDING, name).await;
        case.remove(INSTANCE, name).await;
    }
    // The broker has checked that each poll names the operation that it has given, and no other.
    assert!(case.broker.requests_of(Operation::PollInstance).len() >= 8);
    assert!(case.broker.requests_of(Operation::PollBinding).len() >= 8);
    case.finish().await;
}

// v0.3 D10, Q6
#[tokio::test]
async fn secret_parameters_reach_the_broker_and_nobody_else() {
    let case = namespaced("secret-parameters").await;
    let secret = json!({ "p.json": r#"{"password": "hunter2-Xy", "deep": {"token": "t0ken-Zq"}}"# });
    case.hand.secret("parameters", secret).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "parameters", "key": "p.json" } }]);
    let ready = case.provide("db", json!({ "parameters": { "size": 1 }, "parametersFrom": from })).await;
    let sent = case.broker.instance(uid(&ready)).unwrap().parameters;
    assert_eq!(sent, json!({ "size": 1, "password": "hunter2-Xy", "deep": { "token": "t0ken-Zq" } }));
    let shown = &ready["status"]["externalProperties"]["parameters"];
    assert_eq!(shown, &json!({ "size": 1, "password": "<redacted>", "deep": "<redacted>" }));

    // An update by a changed Secret, on request.
    let changed = json!({ "stringData": { "p.json": r#"{"password": "correct-horse"}"# } });
    case.hand.edit(testkit::stage::objects::SECRET, "parameters", changed).await.unwrap();
    case.edit(INSTANCE, "db", json!({ "updateRequests": 1 })).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.instance(uid(&ready)).unwrap().parameters["password"], "correct-horse");

    // Neither a status, nor an Event, nor a refusal that echoes it, nor the log shows a secret.
    case.broker.on(Operation::Update).once().respond(400, json!({ "description": "no correct-horse here" }));
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 3 } })).await;
    let refused = case.failed(INSTANCE, "db", &["no <redacted> here"]).await;
    let events = case.hand.list(testkit::stage::objects::EVENT).await.unwrap();
    let shown = format!("{refused}{events:?}{}", case.stage.operator.logs().unwrap());
    for secret in ["hunter2-Xy", "t0ken-Zq", "correct-horse"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    case.finish().await;
}

// v0.3 Q56
#[tokio::test]
async fn an_instance_waits_for_a_class_that_appears_later() {
    let case = unregistered("early-instance", false).await;
    case.order("db", "small", json!({})).await;
    let words = ["spec.serviceClassExternalName", "\"postgresql\"", "kubectl get"];
    case.says(INSTANCE, "db", "ReferencesNonexistentServiceClass", &words).await;
    assert!(case.broker.journal().is_empty());
    case.register(json!({})).await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// OSB 29, 118, 154, 158
// v0.3 H2, I3, K11
#[tokio::test]
async fn the_broker_is_told_where_an_instance_is() {
    let case = cluster_wide("context").await;
    case.provide("db", json!({})).await;
    case.bind("app", "db", json!({})).await;
    case.ready(testkit::stage::objects::BINDING, "app").await;
    let namespace = case.get(testkit::stage::objects::NAMESPACE, "context").await;
    let account = testkit::stage::objects::Hand { namespace: "service-catalog".into(), ..case.hand.clone() };
    let cluster: k8s_openapi::api::core::v1::ConfigMap =
        kube::Api::namespaced(account.client, &account.namespace).get("cluster-info").await.unwrap();
    let cluster = cluster.data.unwrap()["id"].clone();

    let provision = case.broker.requests_of(Operation::Provision).remove(0);
    assert_eq!(provision.text("organization_guid"), cluster);
    assert_eq!(provision.text("space_guid"), uid(&namespace));
    let mut context = json!({
        "platform": "kubernetes", "namespace": "context", "clusterid": cluster, "instance_name": "db",
        "namespace_annotations": {}, "instance_annotations": {},
    });
    assert_eq!(provision.body["context"], context);
    for profile_has_none in ["namespace_annotations", "instance_annotations"] {
        context.as_object_mut().unwrap().remove(profile_has_none);
    }
    let bind = case.broker.requests_of(Operation::Bind).remove(0);
    assert_eq!(bind.body["context"], context);
    assert_eq!(bind.body["bind_resource"]["app_guid"], uid(&namespace));
    case.finish().await;
}

// v0.3 Q18
#[tokio::test]
async fn a_broker_that_fails_to_say_how_it_stands_is_asked_until_it_does() {
    let case = namespaced("silent-polls").await;
    case.broker.set_async(Operation::Provision, 0);
    let failing = case.broker.on(Operation::PollInstance).times(5).respond(503, json!({}));
    case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "ErrorPollingLastOperation", &["503"]).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(failing.hits(), 5);
    case.finish().await;
}

// v0.3 P9, Q54
#[tokio::test]
async fn forty_orders_at_once_are_served_together() {
    let case = namespaced("forty").await;
    let names: Vec<String> = (0..40).map(|number| format!("db-{number}")).collect();
    let started = std::time::Instant::now();
    futures::future::join_all(names.iter().map(|name| case.order(name, "small", json!({})))).await;
    for name in &names {
        case.ready(INSTANCE, name).await;
    }
    // With five requests a second, to which clients hold themselves unless told otherwise, it would be a minute.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 40, "no one was ordered twice");
    case.finish().await;
}
