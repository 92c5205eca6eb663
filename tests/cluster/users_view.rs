//! What a person sees: kubectl's columns, waits and Events; conditions in the order that old clients rely on.

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Hold, Operation, SMALL},
    stage::{
        case::with,
        objects::{BINDING, INSTANCE, uid},
        wait,
    },
};

use super::{Case, namespaced, unregistered};

/// What `kubectl` answers in the namespace of the test.
pub async fn kubectl(case: &Case, arguments: &[&str]) -> String {
    let all = [&["-n", case.namespace()], arguments].concat();
    let output = case.stage.plane.kubectl(&all).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {error}\n{}",
        wait::surroundings(case.stage, &case.hand).await
    );
    String::from_utf8(output.stdout).unwrap()
}

// v0.3 J6, M4
#[tokio::test]
async fn kubectl_waits_for_ready_and_for_the_end() {
    let case = namespaced("kubectl-wait").await;
    let hold = Hold::new();
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(1).held_by(&hold));
    case.order("db", "small", json!({})).await;
    case.bind("app", "db", json!({})).await;
    case.says(INSTANCE, "db", "Provisioning", &[]).await;
    hold.release();
    let objects = ["serviceinstance/db", "servicebinding/app"];
    kubectl(&case, &[&["wait", "--for=condition=Ready", "--timeout=45s"], &objects[..]].concat()).await;

    let columns = kubectl(&case, &["get", "serviceinstances", "--no-headers"]).await;
    let columns: Vec<&str> = columns.split_whitespace().collect();
    assert_eq!(columns[..4], ["db", "ServiceClass/postgresql", "small", "Ready"]);
    let columns = kubectl(&case, &["get", "servicebindings", "--no-headers"]).await;
    let columns: Vec<&str> = columns.split_whitespace().collect();
    assert_eq!(columns[..4], ["app", "db", "app", "Ready"]);

    kubectl(&case, &["delete", "--wait=false", "servicebinding/app", "serviceinstance/db"]).await;
    kubectl(&case, &[&["wait", "--for=delete", "--timeout=45s"], &objects[..]].concat()).await;
    case.finish().await;
}

// v0.3 J9
#[tokio::test]
async fn events_tell_of_failures_and_of_ready() {
    let case = namespaced("events").await;
    case.broker.on(Operation::Provision).once().respond(400, json!({ "description": "size must be even" }));
    case.order("db", "small", json!({})).await;
    let failed = case.told("db", "ProvisionCallFailed").await;
    assert_eq!((failed["type"].as_str(), failed["action"].is_string()), (Some("Warning"), true));
    assert!(failed["note"].as_str().unwrap().contains("size must be even"), "{failed}");
    assert_eq!(failed["reportingController"], "service-catalog");
    case.edit(INSTANCE, "db", json!({ "updateRequests": 1 })).await;
    case.ready(INSTANCE, "db").await;
    let ready = case.told("db", "ProvisionedSuccessfully").await;
    assert_eq!(ready["type"], "Normal");
    case.connect("app", "db", json!({})).await;
    case.told("app", "InjectedBindResult").await;
    let described = kubectl(&case, &["describe", "serviceinstance", "db"]).await;
    assert!(
        described.contains("ProvisionCallFailed") && described.contains("ProvisionedSuccessfully"),
        "{described}"
    );
    case.finish().await;
}

#[tokio::test]
async fn events_tell_of_a_catalog_and_of_credentials_that_cannot_be_had() {
    let case = unregistered("failure-events", false).await;
    case.broker.on(Operation::Catalog).once().respond(500, json!({}));
    case.create_broker(json!({})).await;
    let warned = async |about: &str, reason: &str, word: &str| {
        let event = case.told(about, reason).await;
        assert_eq!(event["type"], "Warning");
        assert!(event["note"].as_str().unwrap().contains(word), "{event}");
    };
    warned(case.broker_name(), "ErrorFetchingCatalog", "500").await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    case.provide("db", json!({})).await;
    case.broker.on(Operation::Bind).once().respond(400, json!({ "description": "no such role" }));
    case.bind("app", "db", json!({})).await;
    warned("app", "BindCallFailed", "no such role").await;
    case.finish().await;
}

// v0.3 A11
#[tokio::test]
async fn conditions_come_in_the_order_that_old_clients_read_them_in() {
    let case = namespaced("condition-order").await;
    case.broker.on(Operation::Provision).once().respond(400, json!({ "description": "no" }));
    case.order("db", "small", json!({})).await;
    let failed = case.says(INSTANCE, "db", "ProvisionCallFailed", &["no"]).await;
    let types: Vec<_> =
        failed["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["Ready", "Stalled", "Failed"]);
    assert_eq!(failed["status"]["lastConditionState"], "Failed");
    for condition in failed["status"]["conditions"].as_array().unwrap() {
        assert!(condition["lastTransitionTime"].is_string(), "{condition}");
    }
    case.finish().await;
}

// OSB 147
#[tokio::test]
async fn an_abandoned_instance_is_let_go_of() {
    let case = namespaced("abandoned").await;
    case.provide("db", json!({})).await;
    let id = case.broker.live_instances().pop_first().unwrap();
    // As `svcat deprovision --abandon` does it.
    case.hand.edit(INSTANCE, "db", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.remove(INSTANCE, "db").await;
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty());
    case.broker.lose_instance(&id);
    case.finish().await;
}

/// Holds a status to some fields, and these to theirs, as a script reads them: what is not there is null.
fn assert_says(object: &Value, expected: &Value) {
    fn wrong(found: &Value, expected: &Value, path: &str) -> Vec<String> {
        match expected.as_object() {
            Some(fields) => {
                let below = |(field, value)| wrong(&found[field], value, &format!("{path}.{field}"));
                fields.iter().flat_map(below).collect()
            }
            _ if found == expected => vec![],
            _ => vec![format!("{path} is {found}, not {expected}")],
        }
    }
    let wrong = wrong(&object["status"], expected, "status");
    assert!(wrong.is_empty(), "{}\n{object:#}", wrong.join("\n"));
}

/// As Go writes `{"password":"hunter2","size":1}`.
const CHECKSUM: &str = "7e2401bfdad15c518f121a71d4c8ba3a545fdcf3ebc426458317aa0add5f06b1";

/// Parameters of which one is secret, and how they are shown.
async fn secretive(case: &Case) -> (Value, Value) {
    case.hand.secret("p", json!({ "json": r#"{"password": "hunter2"}"# })).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    (
        json!({ "parameters": { "size": 1 }, "parametersFrom": from }),
        json!({ "parameters": { "size": 1, "password": "<redacted>" }, "parameterChecksum": CHECKSUM }),
    )
}

// v0.3 D10
#[tokio::test]
async fn the_status_of_an_instance_says_what_that_of_the_original_said() {
    let case = namespaced("instance-fields").await;
    let (wanted, shown) = secretive(&case).await;
    let hold = Hold::new();
    let script = AsyncScript::succeeding(0).held_by(&hold).operation(json!("task-17")).describing("at it");
    case.broker.set_async_script(Operation::Provision, script);
    case.order("db", "small", wanted).await;
    let busy = case.says(INSTANCE, "db", "Provisioning", &["(at it)"]).await;
    let properties =
        with(shown, json!({ "servicePlanExternalName": "small", "servicePlanExternalID": SMALL }));
    let expected = json!({
        "asyncOpInProgress": true, "orphanMitigationInProgress": false, "lastOperation": "task-17",
        "currentOperation": "Provision", "observedGeneration": 2, "reconciledGeneration": 0,
        "provisionStatus": null, "deprovisionStatus": "Required", "lastConditionState": "Provisioning",
        "userSpecifiedClassName": "ServiceClass/postgresql", "userSpecifiedPlanName": "small",
        "dashboardURL": format!("https://dashboard.example.com/{}", uid(&busy)), "externalProperties": null,
        "inProgressProperties": with(properties.clone(), json!({ "userInfo": { "username": "admin" } })),
    });
    assert_says(&busy, &expected);
    assert!(busy["status"]["operationStartTime"].is_string(), "{busy}");

    hold.release();
    let ready = case.ready(INSTANCE, "db").await;
    let settled = json!({
        "asyncOpInProgress": false, "lastOperation": null, "currentOperation": null, "reconciledGeneration": 2,
        "provisionStatus": "Provisioned", "lastConditionState": "Ready", "externalProperties": properties,
        "inProgressProperties": null, "operationStartTime": null,
    });
    assert_says(&ready, &with(expected, settled));
    case.finish().await;
}

// v0.3 E9
#[tokio::test]
async fn the_status_of_a_binding_says_what_that_of_the_original_said() {
    let case = namespaced("binding-fields").await;
    let (wanted, shown) = secretive(&case).await;
    case.provide("db", json!({})).await;
    let hold = Hold::new();
    let script = AsyncScript::succeeding(0).held_by(&hold).operation(json!("task-17")).describing("at it");
    case.broker.set_async_script(Operation::Bind, script);
    case.bind("app", "db", wanted).await;
    let busy = case.says(BINDING, "app", "Binding", &["(at it)"]).await;
    let expected = json!({
        "asyncOpInProgress": true, "orphanMitigationInProgress": false, "lastOperation": "task-17",
        "currentOperation": "Bind", "reconciledGeneration": 0, "unbindStatus": "Required",
        "lastConditionState": "Binding", "externalProperties": null,
        "inProgressProperties": shown,
    });
    assert_says(&busy, &expected);
    assert!(busy["status"]["operationStartTime"].is_string(), "{busy}");

    hold.release();
    let ready = case.ready(BINDING, "app").await;
    let settled = json!({
        "asyncOpInProgress": false, "lastOperation": null, "currentOperation": null, "reconciledGeneration": 2,
        "lastConditionState": "Ready", "externalProperties": expected["inProgressProperties"],
        "inProgressProperties": null, "operationStartTime": null,
    });
    assert_says(&ready, &with(expected, settled));
    case.finish().await;
}
