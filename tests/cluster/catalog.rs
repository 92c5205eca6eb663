//! Catalogs: from offerings and plans to classes and plans, and what becomes of those when the catalog changes.

use serde_json::{Value, json};
use testkit::{
    broker::{self, Broker, LARGE, Offering, Operation, Plan, Reply, Request, SMALL},
    stage::objects::{BINDING, BROKER, INSTANCE, Kind, PLAN, condition, name, uid},
};

use super::{Case, cluster_wide, namespaced, unregistered};

/// Waits until the broker was asked for its catalog once more, and answered.
async fn asked_again(case: &Case, before: usize) {
    case.broker_shows("another catalog", |broker| {
        let asked = broker.requests_of(Operation::Catalog);
        asked.get(before).and_then(|request| request.answered_at)
    })
    .await;
}

/// What users call the classes or plans of this broker.
async fn external_names(case: &Case, kind: Kind) -> Vec<String> {
    let entries = case.entries(kind).await;
    let mut names: Vec<_> =
        entries.iter().map(|entry| entry["spec"]["externalName"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

// v0.3 C1
#[tokio::test]
async fn a_catalog_becomes_classes_and_plans() {
    let case = unregistered("catalog", true).await;
    let schema = json!({ "type": "object", "properties": { "size": { "type": "integer" } } });
    let plan = Plan::new("p-id", "gold")
        .with("free", false)
        .with("metadata", json!({ "bullets": ["fast"] }))
        .schemas(schema.clone(), Value::Null, Value::Null)
        .not_bindable();
    let offering = Offering::new("c-id", "vault")
        .with("tags", json!(["kv"]))
        .with("metadata", json!({ "displayName": "Vault" }))
        .with("bindings_retrievable", false)
        .plan(plan);
    case.broker.set_catalog(broker::catalog([offering]));
    case.register(json!({})).await;
    let class = case.get(case.class_kind(), "c-id").await;
    let expected = json!({
        "clusterServiceBrokerName": "catalog", "externalName": "vault", "externalID": "c-id",
        "description": "The offering vault", "bindable": true, "planUpdatable": true, "tags": ["kv"],
        "externalMetadata": { "displayName": "Vault" },
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&class["spec"][field], value, "{field}");
    }
    assert_eq!(class["spec"].get("bindingRetrievable").unwrap_or(&json!(false)), false);
    let plan = case.get(case.plan_kind(), "p-id").await;
    let expected = json!({
        "clusterServiceBrokerName": "catalog", "externalName": "gold", "externalID": "p-id", "free": false,
        "description": "The plan gold", "bindable": false, "clusterServiceClassRef": { "name": "c-id" },
        "externalMetadata": { "bullets": ["fast"] }, "instanceCreateParameterSchema": schema,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&plan["spec"][field], value, "{field}");
    }
    for entry in [class, plan] {
        assert_eq!(entry["metadata"]["ownerReferences"][0]["kind"], "ClusterServiceBroker");
    }
    case.finish().await;
}

// v0.3 G8, G9, Q56
#[tokio::test]
async fn what_changes_in_a_catalog_changes_in_the_cluster() {
    let case = namespaced("catalog-changes").await;
    let first = broker::catalog([
        Offering::new("a", "alpha").plan(Plan::new("a1", "one")).plan(Plan::new("a2", "two")),
        Offering::new("b", "beta").plan(Plan::new("b1", "only")),
    ]);
    case.broker.set_catalog(first.clone());
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    assert_eq!(external_names(&case, case.class_kind()).await, ["alpha", "beta"]);
    assert_eq!(external_names(&case, case.plan_kind()).await, ["one", "only", "two"]);

    let order = json!({ "serviceClassExternalName": "beta", "servicePlanExternalName": "only" });
    case.hand.create(INSTANCE, "held", order).await.unwrap();
    case.ready(INSTANCE, "held").await;

    let second = [Offering::new("a", "alpha")
        .with("description", "changed")
        .plan(Plan::new("a1", "uno"))
        .plan(Plan::new("a3", "three"))];
    case.broker.set_catalog(broker::catalog(second));
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 2 })).await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    case.gone(case.plan_kind(), "a2").await;
    assert_eq!(case.get(case.class_kind(), "a").await["spec"]["description"], "changed");
    assert_eq!(case.get(case.plan_kind(), "a1").await["spec"]["externalName"], "uno");
    assert_eq!(case.get(case.plan_kind(), "a3").await["spec"]["externalName"], "three");

    // What an instance needs stays, marked, until the instance goes.
    for (kind, entry) in [(case.class_kind(), "b"), (case.plan_kind(), "b1")] {
        let marked = |object: &Value| object["status"]["removedFromBrokerCatalog"] == true;
        case.until(kind, entry, "to be marked as removed", marked).await;
    }
    // What is there can be changed and bound, but nothing new is ordered. The broker's model holds requests against the
    // catalog of the moment.
    case.broker.set_catalog(first);
    case.edit(INSTANCE, "held", json!({ "parameters": { "size": 2 } })).await;
    let held = case.ready(INSTANCE, "held").await;
    assert_eq!(case.broker.instance(uid(&held)).unwrap().parameters, json!({ "size": 2 }));
    case.bind("app", "held", json!({})).await;
    case.ready(BINDING, "app").await;
    case.remove(BINDING, "app").await;
    let order = json!({ "serviceClassExternalName": "beta", "servicePlanExternalName": "only" });
    case.hand.create(INSTANCE, "late", order).await.unwrap();
    let words = ["has removed the class", "create one of another class"];
    case.says(INSTANCE, "late", "ReferencesDeletedServiceClass", &words).await;
    case.remove(INSTANCE, "late").await;
    case.remove(INSTANCE, "held").await;
    case.gone(case.plan_kind(), "b1").await;
    case.gone(case.class_kind(), "b").await;
    // The broker's model holds requests against the catalog of the moment, which had lost the offering.
    case.finish().await;
}

// v0.3 B4
#[tokio::test]
async fn a_catalog_is_fetched_anew_when_its_time_has_passed() {
    let case = unregistered("interval", false).await;
    case.register(json!({ "relistDuration": "300ms" })).await;
    let more = case.offering().plan(Plan::new("extra", "extra"));
    case.broker.set_catalog(broker::catalog([more]));
    case.until(case.plan_kind(), "extra", "to appear by itself", |_| true).await;
    case.finish().await;
}

// v0.3 Q50
#[tokio::test]
async fn an_unchanged_catalog_writes_nothing() {
    let case = unregistered("unchanged", true).await;
    case.register(json!({ "relistDuration": "200ms" })).await;
    // A first round may still be on its way; whoever watches from now on sees nothing.
    asked_again(&case, 1).await;
    let versions = async || {
        let mut versions = vec![
            case.get(case.broker_kind(), case.broker_name()).await["metadata"]["resourceVersion"].clone(),
        ];
        for kind in [case.class_kind(), case.plan_kind()] {
            let entries = case.entries(kind).await;
            versions.extend(entries.iter().map(|entry| entry["metadata"]["resourceVersion"].clone()));
        }
        versions
    };
    let before = versions().await;
    assert_eq!(before.len(), 4);
    let asked = case.broker.requests_of(Operation::Catalog).len();
    asked_again(&case, asked + 4).await;
    assert_eq!(versions().await, before);
    case.finish().await;
}

#[tokio::test]
async fn a_catalog_that_still_holds_is_not_sent_again_and_mends_what_was_changed_by_hand() {
    let case = unregistered("etag", true).await;
    let tagged = |reply: &mut Reply| reply.headers.push(("etag".to_owned(), "W/\"one\"".to_owned()));
    case.broker.on(Operation::Catalog).once().amend(tagged);
    case.broker.on(Operation::Catalog).reply(Reply::bytes(304, ""));
    case.register(json!({ "relistDuration": "300ms" })).await;
    let class = case.unique(broker::POSTGRESQL);
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let before = uid(&case.get(case.class_kind(), &class).await);
    case.delete(case.class_kind(), &class).await;
    case.until(case.class_kind(), &class, "to come back", |object| uid(object) != before).await;
    let requests = case.broker.requests_of(Operation::Catalog);
    assert_eq!(requests[0].header("if-none-match"), None);
    let asked = |request: &Request| request.header("if-none-match") == Some("W/\"one\"");
    assert!(requests.len() > 1 && requests[1..].iter().all(asked));

    // What a user asks for is fetched in full, although the broker could say that nothing has changed.
    case.broker.clear_scripts();
    case.broker.on(Operation::Catalog).amend(tagged);
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    let full = |broker: &Broker| {
        let requests = broker.requests_of(Operation::Catalog);
        requests[1..].iter().any(|request| request.header("if-none-match").is_none()).then_some(())
    };
    case.broker_shows("a fetch in full", full).await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    case.finish().await;
}

// OSB 35
// v0.3 B5
#[tokio::test]
async fn a_manual_broker_is_asked_only_when_it_is_requested() {
    let case = unregistered("manual", false).await;
    case.register(json!({ "relistBehavior": "Manual", "relistDuration": "100ms" })).await;
    let more = case.offering().plan(Plan::new("extra", "extra"));
    case.broker.set_catalog(broker::catalog([more]));
    // Long enough for a hundred milliseconds to have passed several times.
    case.provide("db", json!({})).await;
    case.remove(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Catalog).len(), 1);
    assert!(case.hand.get(case.plan_kind(), "extra").await.unwrap().is_none());
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.until(case.plan_kind(), "extra", "to appear on request", |_| true).await;
    assert_eq!(case.broker.requests_of(Operation::Catalog).len(), 2);
    case.finish().await;
}

// v0.3 B7
#[tokio::test]
async fn restrictions_choose_what_is_offered() {
    let case = unregistered("restricted", false).await;
    let restrictions = json!({ "serviceClass": ["spec.externalName in (postgresql)"], "servicePlan": ["spec.externalName!=large"] });
    let other = Offering::new("o", "other").plan(Plan::new("o1", "one"));
    case.broker.set_catalog(broker::catalog([case.offering(), other]));
    case.register(json!({ "catalogRestrictions": restrictions })).await;
    assert_eq!(external_names(&case, case.class_kind()).await, ["postgresql"]);
    assert_eq!(external_names(&case, case.plan_kind()).await, ["small"]);
    // A class goes with its last plan.
    let restrictions = json!({ "serviceClass": null, "servicePlan": ["spec.externalName=large"] });
    case.edit(case.broker_kind(), case.broker_name(), json!({ "catalogRestrictions": restrictions })).await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    case.gone(case.plan_kind(), SMALL).await;
    assert_eq!(external_names(&case, case.class_kind()).await, ["postgresql"]);
    assert_eq!(external_names(&case, case.plan_kind()).await, ["large"]);
    case.edit(case.broker_kind(), case.broker_name(), json!({ "catalogRestrictions": null })).await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    assert_eq!(external_names(&case, case.class_kind()).await, ["other", "postgresql"]);
    case.finish().await;
}

// v0.3 Q45
#[tokio::test]
async fn classes_that_a_user_made_are_left_alone() {
    let case = namespaced("own-class").await;
    let spec = json!({
        "serviceBrokerName": case.broker_name(), "externalName": "mine", "externalID": "mine-id", "bindable": true,
        "description": "made by hand", "planUpdatable": false, "bindingRetrievable": false,
    });
    case.hand.create(case.class_kind(), "mine", spec).await.unwrap();
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    let ready = case.ready(case.broker_kind(), case.broker_name()).await;
    assert_eq!(condition(&ready, "Ready").unwrap().1, "FetchedCatalog");
    let mine = case.get(case.class_kind(), "mine").await;
    assert_ne!(mine["status"]["removedFromBrokerCatalog"], true, "{}", name(&mine));
    case.remove(case.class_kind(), "mine").await;
    case.finish().await;
}

#[tokio::test]
async fn a_cluster_wide_catalog_serves_every_namespace() {
    let case = cluster_wide("shared-catalog").await;
    let elsewhere =
        testkit::stage::objects::Hand { namespace: "shared-elsewhere".to_owned(), ..case.hand.clone() };
    elsewhere.make(testkit::stage::objects::NAMESPACE, "shared-elsewhere", json!({})).await.unwrap();
    elsewhere.create(INSTANCE, "db", case.instance_spec("small", json!({}))).await.unwrap();
    testkit::stage::wait::until(case.stage, &elsewhere, (INSTANCE, "db"), "to be ready", |object| {
        object.is_some_and(testkit::stage::objects::is_ready)
    })
    .await;
    elsewhere.delete(INSTANCE, "db").await.unwrap();
    testkit::stage::wait::until(case.stage, &elsewhere, (INSTANCE, "db"), "to be gone", |object| {
        object.is_none()
    })
    .await;
    case.finish().await;
}

/// The plans keep their ids, and no instance uses them.
#[tokio::test]
async fn an_offering_that_comes_back_under_another_id_takes_over_its_plans() {
    let case = namespaced("another-id").await;
    let offering = Offering::new("another-id", "postgresql");
    let plans = [Plan::new(SMALL, "small"), Plan::new(LARGE, "large")];
    case.broker.set_catalog(broker::catalog([plans.into_iter().fold(offering, Offering::plan)]));
    case.edit(BROKER, case.broker_name(), json!({ "relistRequests": 1 })).await;
    for plan in [SMALL, LARGE] {
        let taken_over = |plan: &Value| plan["spec"]["serviceClassRef"]["name"] == "another-id";
        case.until(PLAN, plan, "to be of the other class", taken_over).await;
    }
    case.provide("db", json!({})).await;
    case.finish().await;
}
