//! Instances that ask for what cannot be had (yet): a condition tells, and what is mended goes on by itself. What admission
//! refuses is in the tables of `invalid`.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{
        objects::{BINDING, Hand, INSTANCE, NAMESPACE, SECRET, condition, is_ready, uid},
        wait,
    },
};

use super::{cluster_wide, namespaced};

#[tokio::test]
async fn a_class_that_is_unknown_is_named() {
    let case = namespaced("unknown-class").await;
    let spec = json!({ "serviceClassExternalName": "postgres", "servicePlanExternalName": "small" });
    case.hand.create(INSTANCE, "db", spec).await.unwrap();
    let words = ["spec.serviceClassExternalName", "\"postgres\"", "kubectl get"];
    case.says(INSTANCE, "db", "ReferencesNonexistentServiceClass", &words).await;
    case.finish().await;
}

#[tokio::test]
async fn a_plan_that_is_unknown_is_named_and_can_be_corrected() {
    let case = namespaced("unknown-plan").await;
    case.order("db", "huge", json!({})).await;
    let words = ["spec.servicePlanExternalName", "\"huge\"", "kubectl get"];
    case.says(INSTANCE, "db", "ReferencesNonexistentServicePlan", &words).await;
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "large" })).await;
    case.ready(INSTANCE, "db").await;
    // A plan that is not there does not take away what is.
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "huge" })).await;
    case.says(INSTANCE, "db", "ReferencesNonexistentServicePlan", &words).await;
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "large" })).await;
    case.ready(INSTANCE, "db").await;
    assert!(case.broker.requests_of(Operation::Update).is_empty());
    case.finish().await;
}

// v0.3 D2, Q29
#[tokio::test]
async fn a_plan_is_asked_for_where_there_are_several() {
    let case = namespaced("which-plan").await;
    case.hand.create(INSTANCE, "db", json!({ "serviceClassExternalName": "postgresql" })).await.unwrap();
    let words = ["more than one plan (large, small)", "set spec.servicePlanExternalName"];
    case.says(INSTANCE, "db", "ReferencesNonexistentServicePlan", &words).await;
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "small" })).await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// v0.3 D6
#[tokio::test]
async fn parameter_secrets_are_named_until_they_are_right() {
    let case = namespaced("parameter-secret").await;
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    case.order("db", "small", json!({ "parametersFrom": from })).await;
    let field = "spec.parametersFrom[0].secretKeyRef";
    let says = async |words: &[&str]| case.says(INSTANCE, "db", "ErrorWithParameters", words).await;
    says(&[field, "the Secret \"p\" does not exist", "create it"]).await;
    case.hand.secret("p", json!({ "other": "{}" })).await.unwrap();
    says(&[field, "no key \"json\"", "add it"]).await;
    for wrong in ["size: 1, pw: hunter2", "[1]", ""] {
        case.hand.edit(SECRET, "p", json!({ "stringData": { "json": wrong } })).await.unwrap();
        let said = says(&[field, "is not a JSON object"]).await;
        assert!(!condition(&said, "Ready").unwrap().2.contains("hunter2"), "{said}");
    }
    assert!(case.broker.requests_of(Operation::Provision).is_empty());
    case.hand.edit(SECRET, "p", json!({ "stringData": { "json": "{\"size\": 1}" } })).await.unwrap();
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// v0.3 D5
#[tokio::test]
async fn a_parameter_that_is_given_twice_is_named() {
    let case = namespaced("twice").await;
    case.hand.secret("p", json!({ "json": "{\"size\": 1}" })).await.unwrap();
    let from = json!([{ "secretKeyRef": { "name": "p", "key": "json" } }]);
    case.order("db", "small", json!({ "parameters": { "size": 2 }, "parametersFrom": from })).await;
    let words = ["duplicate entry for parameter \"size\"", "spec.parameters", "spec.parametersFrom"];
    case.says(INSTANCE, "db", "ErrorWithParameters", &words).await;
    case.edit(INSTANCE, "db", json!({ "parameters": null })).await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// OSB 91
// v0.3 F7, H6, H21, Q23
#[tokio::test]
async fn a_refused_provision_fails_for_good_and_a_new_spec_begins_anew() {
    let case = namespaced("refused-provision").await;
    let refusal = json!({ "error": "BadSize", "description": "size must be even" });
    case.broker.on(Operation::Provision).once().respond(400, refusal);
    case.order("db", "small", json!({ "parameters": { "size": 1 } })).await;
    let failed = case.says(INSTANCE, "db", "ProvisionCallFailed", &["400", "size must be even"]).await;
    let (status, reason, _) = condition(&failed, "Failed").unwrap();
    assert_eq!((status, reason), ("True", "ClusterServiceBrokerReturnedFailure"));
    assert_eq!(failed["status"]["lastConditionState"], "Failed");
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert_eq!(condition(&ready, "Failed"), None);
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 2);
    case.finish().await;
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_by_itself() {
    let case = namespaced("passing").await;
    case.broker.on(Operation::Provision).once().respond(429, json!({ "description": "slowly" }));
    case.broker.on(Operation::Provision).once().reset();
    case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "ProvisionCallFailed", &["slowly"]).await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// OSB 148
#[tokio::test]
async fn a_request_whose_connection_is_lost_is_sent_again_as_it_was() {
    let case = namespaced("lost-answers").await;
    for (operation, kind, name) in [(Operation::Provision, INSTANCE, "db"), (Operation::Bind, BINDING, "app")]
    {
        case.broker.on(operation).once().reset();
        case.broker.on(operation).once().after_effect().reset();
        if kind == INSTANCE {
            case.order(name, "small", json!({ "parameters": { "size": 1 } })).await;
        } else {
            case.bind(name, "db", json!({})).await;
        }
        let ready = case.ready(kind, name).await;
        assert_eq!(
            (&ready["status"]["attempt"], &ready["status"]["unanswered"]),
            (&Value::Null, &Value::Null)
        );
        let requests = case.broker.requests_of(operation);
        assert_eq!(requests.len(), 3, "{}", case.broker.summary());
        assert!(requests.iter().all(|it| it.path == requests[0].path && it.body == requests[0].body));
    }
    assert!(case.broker.requests_of(Operation::Deprovision).is_empty(), "{}", case.broker.summary());
    assert!(case.broker.requests_of(Operation::Unbind).is_empty(), "{}", case.broker.summary());
    case.finish().await;
}

// OSB 148
// v0.3 H9
#[tokio::test]
async fn what_stays_in_doubt_after_some_repetitions_is_cleaned_up() {
    let case = namespaced("lost-for-good").await;
    case.broker.on(Operation::Provision).times(4).after_effect().reset();
    case.order("db", "small", json!({})).await;
    let words = ["the connection was lost", "the operator deletes the instance at the broker after"];
    case.says(INSTANCE, "db", "StartingInstanceOrphanMitigation", &words).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert_eq!(ready["status"]["attempt"], 1);
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 5, "{}", case.broker.summary());
    assert_eq!(case.broker.requests_of(Operation::Deprovision).len(), 1, "{}", case.broker.summary());
    case.finish().await;
}

// OSB 102
// v0.3 F8
#[tokio::test]
async fn a_plan_that_cannot_be_left_is_told() {
    let case = super::unregistered("fixed-plan", false).await;
    let fixed = case.offering().with("plan_updateable", false);
    case.broker.set_catalog(testkit::broker::catalog([fixed]));
    case.register(json!({})).await;
    case.provide("db", json!({})).await;
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "large" })).await;
    let words = ["does not allow plan changes", "set the plan back"];
    case.says(INSTANCE, "db", "PlanNotUpdatable", &words).await;
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "small" })).await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

/// Whoever has an id keeps it, be it given or derived: another one could delete what is behind it.
// v0.3 H22, Q17
#[tokio::test]
async fn an_id_that_is_taken_is_told_and_nothing_is_asked_until_it_is_free() {
    let case = cluster_wide("taken-ids").await;
    let elsewhere = Hand { namespace: "taken-ids-elsewhere".to_owned(), ..case.hand.clone() };
    elsewhere.make(NAMESPACE, "taken-ids-elsewhere", json!({})).await.unwrap();
    let given = case.unique("mine");
    // Nobody knows whether the broker has it.
    case.broker.on(Operation::Provision).for_id(&given).always().reset();
    case.order("given", "small", json!({ "externalID": given })).await;
    case.says(INSTANCE, "given", "ErrorCallingProvision", &[]).await;
    let derived = uid(&case.provide("derived", json!({})).await).to_owned();
    for (name, id) in [("one", &given), ("two", &derived)] {
        let spec = case.instance_spec("small", json!({ "externalID": id }));
        elsewhere.create(INSTANCE, name, spec).await.unwrap();
        let told = |object: Option<&Value>| {
            object.and_then(|it| condition(it, "Ready")).is_some_and(|(_, reason, message)| {
                reason == "ExternalIDInUse" && message.contains("another object in this cluster has")
            })
        };
        wait::until(case.stage, &elsewhere, (INSTANCE, name), "to be told that the id is taken", told).await;
    }
    // Without having asked for it, it has nothing to delete.
    elsewhere.delete(INSTANCE, "two").await.unwrap();
    let gone = |object: Option<&Value>| object.is_none();
    wait::until(case.stage, &elsewhere, (INSTANCE, "two"), "to be gone", gone).await;
    assert!(case.broker.instance(&derived).is_some());
    // It is abandoned, as a broker takes no id again that it has deleted.
    case.hand.edit(INSTANCE, "given", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    case.remove(INSTANCE, "given").await;
    case.broker.clear_scripts();
    let ready = |object: Option<&Value>| object.is_some_and(is_ready);
    wait::until(case.stage, &elsewhere, (INSTANCE, "one"), "to be ready", ready).await;
    elsewhere.delete(INSTANCE, "one").await.unwrap();
    wait::until(case.stage, &elsewhere, (INSTANCE, "one"), "to be gone", gone).await;
    case.finish().await;
}

/// Frameworks, gateways and clouds write errors in forms of their own.
#[tokio::test]
async fn the_sentence_of_an_error_is_shown_in_whatever_form_it_comes() {
    let case = namespaced("error-forms").await;
    for (name, body) in [
        ("message", json!({ "message": "the quota is used up" })),
        (
            "nested",
            json!({ "error": { "code": 400, "message": "the quota is used up", "status": "FAILED" } }),
        ),
        ("problem", json!({ "type": "about:blank", "title": "Bad", "detail": "the quota is used up" })),
        ("list", json!({ "errors": [{ "code": "Q1", "message": "the quota is used up" }] })),
        ("empty", json!({ "error": "", "description": "", "message": "the quota is used up" })),
    ] {
        case.broker.on(Operation::Provision).once().respond(400, body);
        case.order(name, "small", json!({})).await;
        case.says(INSTANCE, name, "ProvisionCallFailed", &["the quota is used up"]).await;
    }
    case.finish().await;
}
