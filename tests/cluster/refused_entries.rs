//! Classes and plans that the API server refuses, as by a policy of the cluster's: the broker says which and why, everything
//! else is there, and what was refused comes by itself once it may.

use serde_json::{Value, json};
use testkit::{
    broker::{LARGE, Offering, Operation, Plan, catalog},
    stage::objects::condition,
};

use super::{Case, unregistered};

/// Nobody may write a class or plan of this namespace with this description.
async fn forbid(case: &Case, description: &str) {
    let rule = "{apiGroups: [servicecatalog.k8s.io], apiVersions: [v1beta1], operations: [CREATE, UPDATE], \
                resources: [serviceclasses, serviceplans]}";
    let spec = json!({
        "serviceBrokerName": "nobody", "externalName": "probe", "externalID": "probe", "description": description,
    });
    let allowed = format!("object.spec.description != '{description}'");
    case.forbid(rule, &allowed, (case.class_kind(), "probe", &json!({ "spec": spec }))).await;
}

/// A catalog of two offerings, in which one plan and the other offering have descriptions of their own.
fn described(case: &Case, plan: &str, other: &str) -> Value {
    let mut catalog =
        catalog([case.offering(), Offering::new("other", "other").plan(Plan::new("other-plan", "only"))]);
    catalog["services"][0]["plans"][1]["description"] = plan.into();
    catalog["services"][1]["description"] = other.into();
    catalog
}

/// The broker says that an object cannot be written, and why.
async fn told(case: &Case, what: &str) -> Value {
    let words = [what, "denied request: not in this house", "the operator tries again"];
    case.says(case.broker_kind(), case.broker_name(), "ErrorSyncingCatalog", &words).await
}

// v0.3 G4
#[tokio::test]
async fn a_plan_that_a_policy_refuses_is_named_and_the_rest_of_the_catalog_is_there() {
    let case = unregistered("refused-plan", false).await;
    forbid(&case, "unspeakable").await;
    case.broker.set_catalog(described(&case, "unspeakable", "plain"));
    case.create_broker(json!({})).await;
    let before = told(&case, &format!("cannot create ServicePlan refused-plan/{LARGE}: ")).await;
    assert_eq!(
        (case.entries(case.class_kind()).await.len(), case.entries(case.plan_kind()).await.len()),
        (2, 2)
    );
    case.provide("db", json!({})).await;

    // It is tried again, and says nothing new.
    let asked = case.broker.requests_of(Operation::Catalog).len();
    case.broker_shows("two more catalogs", |broker| {
        broker.requests_of(Operation::Catalog).get(asked + 1).map(drop)
    })
    .await;
    let after = case.get(case.broker_kind(), case.broker_name()).await;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    case.allow().await;
    let ready = case.ready(case.broker_kind(), case.broker_name()).await;
    assert_eq!(condition(&ready, "Ready").unwrap().1, "FetchedCatalog");
    case.get(case.plan_kind(), LARGE).await;
    case.finish().await;
}

// v0.3 G4
#[tokio::test]
async fn a_change_that_a_policy_refuses_keeps_no_other_from_being_made() {
    let case = unregistered("refused-change", false).await;
    forbid(&case, "unspeakable").await;
    case.broker.set_catalog(described(&case, "plain", "plain"));
    case.register(json!({})).await;

    case.broker.set_catalog(described(&case, "new", "unspeakable"));
    case.edit(case.broker_kind(), case.broker_name(), json!({ "relistRequests": 1 })).await;
    told(&case, "cannot change ServiceClass refused-change/other: ").await;
    let description = async |kind, name: &str| case.get(kind, name).await["spec"]["description"].clone();
    assert_eq!(description(case.class_kind(), "other").await, "plain");
    assert_eq!(description(case.plan_kind(), LARGE).await, "new");

    case.allow().await;
    case.ready(case.broker_kind(), case.broker_name()).await;
    assert_eq!(description(case.class_kind(), "other").await, "unspeakable");
    case.finish().await;
}
