//! The six spellings of a reference, and what becomes of each.

use serde_json::{Value, json};
use testkit::{
    broker::{Broker, LARGE, Offering, Operation, POSTGRESQL, Plan, SMALL, catalog},
    stage::objects::{BINDING, BROKER, CLASS, INSTANCE, PLAN, name, uid},
};

use super::{Case, cluster_wide, namespaced};

/// Names of the Kubernetes objects for the class and its small plan.
async fn entries(case: &Case) -> (String, String) {
    let named = async |kind, id: String| {
        let all = case.hand.list(kind).await.unwrap();
        let found = all.iter().find(|entry| entry["spec"]["externalID"] == id);
        name(found.unwrap_or_else(|| panic!("no {id} in {all:#?}"))).to_owned()
    };
    (
        named(case.class_kind(), case.unique(POSTGRESQL)).await,
        named(case.plan_kind(), case.unique(SMALL)).await,
    )
}

async fn spelled(case: &Case, spellings: [(&str, Value); 3]) {
    let (class, plan) = entries(case).await;
    let [class_ref, plan_ref] = case.reference_fields();
    for (object, spec) in &spellings {
        case.hand.create(INSTANCE, object, spec.clone()).await.unwrap();
    }
    for (object, spec) in spellings {
        let ready = case.ready(INSTANCE, object).await;
        let made = case.broker.instance(ready["metadata"]["uid"].as_str().unwrap()).unwrap();
        assert_eq!(made.plan_id, case.unique(SMALL), "{object}");
        // The spec is the user's, but for what admission adds and for what the operator fills in, as v0.3 did.
        let mut kept = ready["spec"].clone();
        let mut filled_in = |field: &str| kept.as_object_mut().unwrap().shift_remove(field);
        filled_in("userInfo");
        assert_eq!(filled_in("externalID"), Some(ready["metadata"]["uid"].clone()), "{object}");
        assert_eq!(filled_in(&class_ref), Some(json!({ "name": class })), "{object}");
        assert_eq!(filled_in(&plan_ref), Some(json!({ "name": plan })), "{object}");
        assert_eq!(kept, spec, "{object}");
    }
}

// v0.3 D1, D3
#[tokio::test]
async fn cluster_wide_classes_are_named_in_three_ways() {
    let case = cluster_wide("spellings-wide").await;
    let (class, plan) = entries(&case).await;
    let (service_id, plan_id) = (case.unique(POSTGRESQL), case.unique(SMALL));
    let (by_name, by_id) = ("clusterServiceClassExternalName", "clusterServiceClassExternalID");
    spelled(
        &case,
        [
            (
                "by-external-name",
                json!({ by_name: case.unique("postgresql"), "clusterServicePlanExternalName": "small" }),
            ),
            ("by-external-id", json!({ by_id: service_id, "clusterServicePlanExternalID": plan_id })),
            ("by-name", json!({ "clusterServiceClassName": class, "clusterServicePlanName": plan })),
        ],
    )
    .await;
    case.finish().await;
}

// v0.3 D1
#[tokio::test]
async fn classes_of_a_namespace_are_named_in_three_ways() {
    let case = namespaced("spellings").await;
    let (class, plan) = entries(&case).await;
    spelled(
        &case,
        [
            (
                "by-external-name",
                json!({ "serviceClassExternalName": "postgresql", "servicePlanExternalName": "small" }),
            ),
            (
                "by-external-id",
                json!({ "serviceClassExternalID": POSTGRESQL, "servicePlanExternalID": SMALL }),
            ),
            ("by-name", json!({ "serviceClassName": class, "servicePlanName": plan })),
        ],
    )
    .await;
    case.finish().await;
}

// v0.3 D2
#[tokio::test]
async fn the_plan_may_be_left_out_where_there_is_but_one() {
    let case = super::unregistered("only-plan", false).await;
    let offering = testkit::broker::Offering::new(POSTGRESQL, "postgresql")
        .plan(testkit::broker::Plan::new(SMALL, "small"));
    case.broker.set_catalog(testkit::broker::catalog([offering]));
    case.register(json!({})).await;
    case.hand.create(INSTANCE, "db", json!({ "serviceClassExternalName": "postgresql" })).await.unwrap();
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

#[tokio::test]
async fn a_class_of_the_other_scope_and_a_plan_that_is_left_out_are_told_by_the_field_to_set() {
    let case = namespaced("other-scope").await;
    let class = |field: &str| {
        let name = if field.ends_with("ExternalName") { "postgresql" } else { POSTGRESQL };
        json!({ field: name })
    };
    // The class cannot be changed, so that is not what is asked for.
    case.hand.create(INSTANCE, "scope", class("clusterServiceClassExternalID")).await.unwrap();
    let words =
        ["the cluster has no class", "this namespace has", "create another with serviceClassExternalID"];
    case.says(INSTANCE, "scope", "ReferencesNonexistentServiceClass", &words).await;
    case.hand.create(INSTANCE, "misspelt", json!({ "serviceClassName": "postgres" })).await.unwrap();
    let words = ["there is no class \"postgres\"", "`kubectl get serviceclasses`", "create another"];
    case.says(INSTANCE, "misspelt", "ReferencesNonexistentServiceClass", &words).await;
    for (name, field, words) in [
        ("by-name", "serviceClassExternalName", "(large, small): set spec.servicePlanExternalName"),
        ("by-id", "serviceClassExternalID", "(plan-large, plan-small): set spec.servicePlanExternalID"),
        ("by-object", "serviceClassName", "(plan-large, plan-small): set spec.servicePlanName"),
    ] {
        case.hand.create(INSTANCE, name, class(field)).await.unwrap();
        case.says(INSTANCE, name, "ReferencesNonexistentServicePlan", &[words]).await;
    }
    case.finish().await;
}

// v0.3 H15, Q49
#[tokio::test]
async fn a_name_that_two_brokers_offer_is_told_and_the_name_of_the_object_decides() {
    let case = namespaced("one-name").await;
    let second = Broker::start().await;
    let other = Offering::new("other-offering", "postgresql").plan(Plan::new("other-small", "small"));
    second.set_catalog(catalog([other]));
    case.hand.create(BROKER, "second", case.broker_spec(json!({ "url": second.url() }))).await.unwrap();
    case.ready(BROKER, "second").await;
    case.order("db", "small", json!({})).await;
    let words =
        ["spec.serviceClassExternalName", "fits more than one class", "other-offering", "serviceClassName"];
    case.says(INSTANCE, "db", "ReferencesNonexistentServiceClass", &words).await;
    let spec = json!({ "serviceClassName": "other-offering", "servicePlanName": "other-small" });
    case.hand.create(INSTANCE, "named", spec).await.unwrap();
    let named = case.ready(INSTANCE, "named").await;
    assert!(second.instance(uid(&named)).is_some());
    // A plan is looked for in its class only, also by the name of its object.
    let strange = json!({ "serviceClassName": POSTGRESQL, "servicePlanName": "other-small" });
    case.hand.create(INSTANCE, "strange", strange).await.unwrap();
    let words = ["spec.servicePlanName", "has no plan \"other-small\""];
    case.says(INSTANCE, "strange", "ReferencesNonexistentServicePlan", &words).await;
    // One of the two goes, and what was ambiguous is not.
    case.remove(INSTANCE, "named").await;
    case.remove(BROKER, "second").await;
    case.ready(INSTANCE, "db").await;
    case.finish().await;
}

// v0.3 D3
#[tokio::test]
async fn what_was_ordered_goes_on_when_the_catalog_gives_its_names_to_others() {
    let case = namespaced("renamed").await;
    let id = uid(&case.provide("db", json!({})).await).to_owned();
    let swapped = [(SMALL, "large"), (LARGE, "small")];
    let old = swapped
        .into_iter()
        .fold(Offering::new(POSTGRESQL, "postgresql-old"), |of, (id, name)| of.plan(Plan::new(id, name)));
    let new = Offering::new("new-offering", "postgresql").plan(Plan::new("new-small", "small"));
    case.broker.set_catalog(catalog([old, new]));
    case.edit(BROKER, case.broker_name(), json!({ "relistRequests": 1 })).await;
    for (kind, id, renamed) in
        [(CLASS, POSTGRESQL, "postgresql-old"), (PLAN, SMALL, "large"), (PLAN, LARGE, "small")]
    {
        case.until(kind, id, "another name", |entry| entry["spec"]["externalName"] == renamed).await;
    }
    case.bind("app", "db", json!({})).await;
    case.ready(BINDING, "app").await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    case.ready(INSTANCE, "db").await;
    let updated = case.broker.instance(&id).unwrap();
    assert_eq!((&*updated.plan_id, &updated.parameters["size"]), (SMALL, &json!(2)));
    // What the user writes anew is meant as the catalog has it now, within the class that was ordered from.
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "large" })).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Update).len(), 1, "it has this plan already");
    case.edit(INSTANCE, "db", json!({ "servicePlanExternalName": "small" })).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.instance(&id).unwrap().plan_id, LARGE);
    case.finish().await;
}

// v0.3 G9
#[tokio::test]
async fn a_name_means_what_the_catalog_has_and_not_what_has_left_it() {
    let case = namespaced("replaced").await;
    let old = uid(&case.provide("old", json!({})).await).to_owned();
    let of = |plan: &str| Offering::new(POSTGRESQL, "postgresql").plan(Plan::new(plan, "small"));
    case.broker.set_catalog(catalog([of("new-small")]));
    case.edit(BROKER, case.broker_name(), json!({ "relistRequests": 1 })).await;
    case.until(PLAN, SMALL, "removed", |plan| plan["status"]["removedFromBrokerCatalog"] == true).await;
    let new = uid(&case.provide("new", json!({})).await).to_owned();
    assert_eq!(case.broker.instance(&new).unwrap().plan_id, "new-small");
    assert_eq!(case.broker.instance(&old).unwrap().plan_id, SMALL);
    // A class likewise.
    case.broker
        .set_catalog(catalog([Offering::new("another", "postgresql").plan(Plan::new("its-small", "small"))]));
    case.edit(BROKER, case.broker_name(), json!({ "relistRequests": 2 })).await;
    case.until(CLASS, POSTGRESQL, "removed", |class| class["status"]["removedFromBrokerCatalog"] == true)
        .await;
    let newest = uid(&case.provide("newest", json!({})).await).to_owned();
    assert_eq!(case.broker.instance(&newest).unwrap().plan_id, "its-small");
    case.finish().await;
}

/// A backup holds what was resolved when it was made. What the references in it mean now counts.
// v0.3 D4
#[tokio::test]
async fn references_of_a_backup_are_corrected() {
    for case in [namespaced("backup").await, cluster_wide("backup-wide").await] {
        let [class, plan] = case.reference_fields();
        let (of_class, of_plan) = entries(&case).await;
        let plans = case.entries(case.plan_kind()).await;
        let large = plans.iter().find(|plan| plan["spec"]["externalName"] == "large").unwrap();
        for (object, refs) in [
            ("of-another-plan", json!({ &plan: { "name": name(large) } })),
            ("of-what-is-gone", json!({ &class: { "name": "gone" }, &plan: { "name": "gone" } })),
        ] {
            let ready = case.provide(object, refs.clone()).await;
            assert_eq!(case.broker.instance(uid(&ready)).unwrap().plan_id, case.unique(SMALL), "{object}");
            assert_eq!(ready["spec"][&class]["name"], of_class, "{object}");
            assert_eq!(ready["spec"][&plan]["name"], of_plan, "{object}");
        }
        case.finish().await;
    }
}
