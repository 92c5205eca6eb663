//! Brokers, classes and plans: `register`, `sync`, `deregister`, `get` and `describe`, `create class`, `marketplace`.

use std::{collections::BTreeMap, pin::pin};

use futures::StreamExt as _;
use kube::core::{WatchEvent, params::WatchParams};
use serde_json::{Value, json};
use testkit::{
    broker::{self, Offering, Operation, POSTGRESQL, Plan},
    stage::{
        case::CREDENTIALS,
        objects::{self, CLUSTER_CLASS, Kind, name},
        wait::PATIENCE,
    },
};

use super::{
    Case,
    command::broker_of,
    unregistered,
    wire::{Scope, Svcat, is, is_done, status},
};

fn scope(case: &Case) -> Scope {
    if case.class_kind() == CLUSTER_CLASS { Scope::Cluster } else { Scope::Namespace }
}

/// `svcat register … --wait`
async fn registered(case: &Case) -> Value {
    let svcat = Svcat(case);
    let url = case.broker.url();
    svcat.register(case.broker_name(), (&url, CREDENTIALS), json!({}), scope(case)).await.unwrap();
    svcat.wait(case.broker_kind(), case.broker_name()).await
}

async fn a_broker_comes_and_goes(namespace: &str, wide: bool) {
    let case = unregistered(namespace, wide).await;
    let (svcat, scope) = (Svcat(&case), scope(&case));
    let ready = registered(&case).await;
    let fetched = "Successfully fetched catalog entries from broker";
    let (short, message) = status(&ready);
    assert!(short == "Ready" && message.starts_with(fetched), "{short} - {message}");
    let within = if wide { "" } else { namespace };
    let row = [namespace, within, &case.broker.url(), "Ready"].map(str::to_owned);
    for shown in [scope, Scope::All] {
        assert!(svcat.get_brokers(shown).await.unwrap().contains(&row), "{shown:?}");
    }
    let described = svcat.get_broker(namespace).await.unwrap();
    assert_eq!(described["status"]["lastConditionState"], "Ready");

    let more =
        Offering::new(&case.unique("m"), &case.unique("more")).plan(Plan::new(&case.unique("m1"), "one"));
    case.broker.set_catalog(broker::catalog([case.offering(), more]));
    for requests in 1..=2 {
        let synced = svcat.sync(namespace, scope).await.unwrap();
        assert_eq!(synced["spec"]["relistRequests"], requests);
        case.ready(case.broker_kind(), namespace).await;
        assert_eq!(case.broker.requests_of(Operation::Catalog).len(), 1 + requests);
    }
    svcat.get_class(&case.unique("more"), scope).await.unwrap();
    // Whoever read before that writes too late.
    assert!(is(&svcat.replace(case.broker_kind(), &described).await.unwrap_err(), 409));

    svcat.deregister(namespace, scope).await.unwrap();
    svcat.wait_for_absence(case.broker_kind(), namespace).await;
    assert!(is(&svcat.deregister(namespace, scope).await.unwrap_err(), 404));
    case.finish().await;
}

// v0.3 B9, N1
#[tokio::test]
async fn a_broker_of_the_cluster_is_registered_synced_and_deregistered() {
    a_broker_comes_and_goes("svcat-broker-wide", true).await;
}

// v0.3 N1
#[tokio::test]
async fn a_broker_of_a_namespace_is_registered_synced_and_deregistered() {
    a_broker_comes_and_goes("svcat-broker", false).await;
}

// v0.3 N1
#[tokio::test]
async fn what_register_can_say_is_taken() {
    let case = unregistered("svcat-options", false).await;
    let svcat = Svcat(&case);
    let url = case.broker.url();
    let zero = json!({ "relistBehavior": "Duration", "relistDuration": "0s" });
    let refused = svcat.register("options", (&url, CREDENTIALS), zero, Scope::Namespace).await.unwrap_err();
    assert!(
        refused.to_string().contains("relistDuration: Invalid value: \"0s\": must be greater than zero"),
        "{refused}"
    );
    let options = json!({
        "relistBehavior": "Manual", "insecureSkipTLSVerify": true, "relistDuration": "10m0s",
        "catalogRestrictions": {
            "serviceClass": ["spec.externalName in (postgresql, mysql)"], "servicePlan": ["spec.externalName==small"],
        },
    });
    svcat.register(case.broker_name(), (&url, CREDENTIALS), options, Scope::Namespace).await.unwrap();
    let ready = svcat.wait(case.broker_kind(), case.broker_name()).await;
    assert_eq!(ready["spec"]["relistDuration"], "10m0s");
    let plans = svcat.get_plans(Scope::Namespace, Some("postgresql")).await.unwrap();
    assert_eq!(plans.len(), 1);
    assert_eq!(plans[0].0["spec"]["externalName"], "small");
    case.finish().await;
}

// v0.3 N2
#[tokio::test]
async fn a_broker_that_does_not_answer_is_shown_with_its_reason_and_waited_for() {
    let case = unregistered("svcat-down", false).await;
    let svcat = Svcat(&case);
    case.broker.on(Operation::Catalog).times(2).respond(500, json!({}));
    let url = case.broker.url();
    svcat.register(case.broker_name(), (&url, CREDENTIALS), json!({}), Scope::Namespace).await.unwrap();
    case.says(case.broker_kind(), case.broker_name(), "ErrorFetchingCatalog", &["500"]).await;
    // As with the original, a broker is never given up, so `--wait` goes on until it answers.
    let ready = svcat.wait(case.broker_kind(), case.broker_name()).await;
    assert_eq!(status(&ready).0, "Ready");
    case.finish().await;
}

/// What a watch shows first of every object of a kind, until there are so many.
async fn first_seen(case: &Case, kind: Kind, count: usize, since: &str) -> BTreeMap<String, Value> {
    let api = kind.api(&case.hand.client, case.namespace());
    let mut seen = BTreeMap::new();
    let mut events = pin!(api.watch(&WatchParams::default(), since).await.unwrap());
    let search = async {
        while let Some(event) = events.next().await {
            let WatchEvent::Added(object) = event.unwrap() else { continue };
            let object = objects::plain(object);
            if broker_of(&object) == case.broker_name() {
                seen.insert(name(&object).to_owned(), object);
            }
            if seen.len() == count {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, search).await.is_ok(), "{} were seen: {seen:#?}", kind.plural);
    seen
}

// v0.3 A5
#[tokio::test]
async fn classes_and_plans_have_their_labels_from_the_first_moment() {
    for (namespace, wide) in [("svcat-labels", false), ("svcat-labels-wide", true)] {
        let case = unregistered(namespace, wide).await;
        let before = case.hand.make(objects::SECRET, "before", json!({})).await.unwrap();
        let since = before["metadata"]["resourceVersion"].as_str().unwrap();
        registered(&case).await;
        for (kind, count, labels) in [(case.class_kind(), 1, 3), (case.plan_kind(), 2, 4)] {
            for (entry, object) in first_seen(&case, kind, count, since).await {
                let given = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
                let lookups = given.iter().filter(|(key, _)| key.starts_with("servicecatalog.k8s.io/spec."));
                assert_eq!(lookups.count(), labels, "{entry}: {given:?}");
            }
        }
        case.finish().await;
    }
}

async fn everything_is_found(namespace: &str, wide: bool) {
    let case = unregistered(namespace, wide).await;
    let (svcat, scope) = (Svcat(&case), scope(&case));
    let service = case.unique("postgresql");
    // An id of its own: `describe class` takes the plans of all namespaces, and chooses by the name of the class.
    let described = Offering::new(&format!("p-{namespace}"), &service)
        .plan(Plan::new("p-small", "small"))
        .plan(Plan::new("p-large", "large"))
        .with("description", "a database");
    let other = Offering::new(&case.unique("o"), &case.unique("other")).plan(
        Plan::new(&case.unique("o1"), &case.unique("only")).schemas(
            json!({ "type": "object" }),
            json!({}),
            json!({}),
        ),
    );
    case.broker.set_catalog(broker::catalog([described, other]));
    registered(&case).await;

    for scope in [scope, Scope::All] {
        let class = svcat.get_class(&service, scope).await.unwrap();
        assert_eq!(
            (&class["spec"]["externalName"], &class["spec"]["description"]),
            (&json!(service), &json!("a database"))
        );
        assert_eq!(class["status"]["removedFromBrokerCatalog"], false, "Active");
        // By its Kubernetes name, as with `--kube-name`.
        assert_eq!(svcat.get(case.class_kind(), name(&class)).await.unwrap(), class);
        let of_broker = svcat.get_classes(scope, Some(case.broker_name())).await.unwrap();
        assert_eq!(of_broker.len(), 2);
        let (_, plans) = svcat.describe_class(&service, scope).await.unwrap();
        let mut names: Vec<_> =
            plans.iter().map(|plan| plan["spec"]["externalName"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["large", "small"]);
        let small = svcat.get_plan(&class, "small").await.unwrap();
        assert!(plans.contains(&small));
        let missing = svcat.get_plan(&class, "huge").await.unwrap_err();
        assert!(missing.to_string().contains("plan not found 'huge'"), "{missing}");
        assert_eq!(svcat.get_plans(scope, Some(&service)).await.unwrap().len(), 2);
    }
    let (plan, class, instances) =
        svcat.describe_plan(&case.unique("other"), &case.unique("only"), scope).await.unwrap();
    assert_eq!(class["spec"]["externalName"], case.unique("other"));
    assert_eq!(plan["spec"]["instanceCreateParameterSchema"], json!({ "type": "object" }));
    // It asks for a label that the original did not write either.
    assert_eq!(instances, 0);
    let offered = svcat.marketplace().await.unwrap();
    let plans = ["large", "small"].map(str::to_owned).to_vec();
    assert!(offered.contains(&(service, plans, "a database".to_owned())), "{offered:?}");
    let nothing = svcat.get_class("no-such-class", Scope::All).await.unwrap_err();
    assert!(nothing.to_string().contains("class 'no-such-class' not found"), "{nothing}");
    case.finish().await;
}

// v0.3 N3
#[tokio::test]
async fn classes_and_plans_of_the_cluster_are_found_and_described() {
    everything_is_found("svcat-find-wide", true).await;
}

// v0.3 N3
#[tokio::test]
async fn classes_and_plans_of_a_namespace_are_found_and_described() {
    everything_is_found("svcat-find", false).await;
}

// v0.3 N4
#[tokio::test]
async fn an_entry_that_has_left_the_catalog_is_deprecated() {
    let case = unregistered("svcat-deprecated", false).await;
    let svcat = Svcat(&case);
    registered(&case).await;
    case.provide("db", json!({})).await;
    let other = Offering::new("o", "other").plan(Plan::new("o1", "one"));
    case.broker.set_catalog(broker::catalog([other]));
    svcat.sync(case.broker_name(), Scope::Namespace).await.unwrap();
    let deprecated = |class: &Value| class["status"]["removedFromBrokerCatalog"] == true;
    case.until(case.class_kind(), POSTGRESQL, "to be deprecated", deprecated).await;
    assert!(deprecated(&svcat.get_class("postgresql", Scope::All).await.unwrap()));
    case.finish().await;
}

async fn a_class_is_copied(namespace: &str, wide: bool) {
    let case = unregistered(namespace, wide).await;
    let (svcat, scope) = (Svcat(&case), scope(&case));
    registered(&case).await;
    let (copy, service) = (case.unique("copy"), case.unique("postgresql"));
    svcat.create_class(&copy, &service, scope).await.unwrap();
    case.until(case.class_kind(), &copy, "to be labelled", |class| class["metadata"]["labels"].is_object())
        .await;
    let copied = svcat.get_class(&copy, scope).await.unwrap();
    let original = svcat.get_class(&service, scope).await.unwrap();
    assert_eq!(copied["spec"]["externalID"], original["spec"]["externalID"]);
    assert!(copied["metadata"].get("ownerReferences").is_none(), "{copied}");
    // It is nobody's but the user's, whatever the catalog says.
    svcat.sync(case.broker_name(), scope).await.unwrap();
    case.ready(case.broker_kind(), case.broker_name()).await;
    let kept = svcat.get_class(&copy, scope).await.unwrap();
    assert_eq!((&kept["spec"], &kept["status"]), (&copied["spec"], &copied["status"]));
    svcat.provision("db", &service, "small", json!({})).await.unwrap();
    svcat.wait(objects::INSTANCE, "db").await;
    case.remove(case.class_kind(), &copy).await;
    case.finish().await;
}

// v0.3 N5
#[tokio::test]
async fn a_class_of_the_cluster_is_copied_under_another_name() {
    a_class_is_copied("svcat-copy-wide", true).await;
}

// v0.3 N5
#[tokio::test]
async fn a_class_of_a_namespace_is_copied_under_another_name() {
    a_class_is_copied("svcat-copy", false).await;
}

// v0.3 N7
#[test]
fn waiting_ends_with_ready_or_failed_and_nothing_under_way() {
    let object = |conditions: Value, busy: Value| json!({ "status": { "conditions": conditions, "asyncOpInProgress": busy } });
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let failed = json!([{ "type": "Ready", "status": "False" }, { "type": "Failed", "status": "True" }]);
    let not_ready = json!([{ "type": "Ready", "status": "False" }]);
    for (conditions, busy, done) in [
        (json!(null), json!(false), false),
        (json!([]), json!(false), false),
        (not_ready, json!(false), false),
        (ready.clone(), json!(true), false),
        (ready, json!(false), true),
        (failed, json!(null), true),
    ] {
        assert_eq!(is_done(&object(conditions.clone(), busy)), done, "{conditions}");
    }
}
