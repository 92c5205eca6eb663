//! What a catalog does to classes and plans: made, changed, marked, left alone.

use super::*;

#[test]
fn a_catalog_becomes_classes_and_then_plans() {
    let mut bench = Bench::new();
    let written = bench.catalog(&two());
    assert_eq!(
        written,
        ["create one", "create z54zwo", "create small", "create large", "create free", "status"]
    );
    let class = &bench.classes[1];
    assert_eq!((class.broker_name(), class.external_id(), class.external_name()), ("b", "Two", "name-Two"));
    assert!(class.common().bindable && class.common().binding_retrievable && class.common().plan_updatable);
    assert!(labels::wrong(class).is_empty());
    let owner = &class.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.kind.as_str()), ("broker-uid", "ClusterServiceBroker"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(false)));
    let plan = &bench.plans[2];
    assert_eq!((plan.class_name(), plan.common().free, plan.common().bindable), ("z54zwo", true, None));
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::True, "FetchedCatalog"));
    assert_eq!(message, "Successfully fetched catalog entries from broker.");
    let status = bench.broker.status.unwrap();
    assert_eq!((status.reconciled_generation, status.last_catalog_retrieval_time), (1, Some(Time(at(1000)))));
}

// v0.3 P6
#[test]
fn the_same_catalog_in_any_order_writes_nothing() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.now = at(90_000);
    assert!(bench.catalog(&two()).is_empty());
    let shuffled = json!([service("Two", &["free"]), service("one", &["large", "small"])]);
    assert!(bench.catalog(&shuffled).is_empty());
    let mut retagged = two();
    retagged[0]["tags"] = json!(["b", "a"]);
    assert!(bench.catalog(&retagged).is_empty());
    assert_eq!(bench.broker.status.as_ref().unwrap().last_catalog_retrieval_time, Some(Time(at(1000))));
    assert!(bench.due().unwrap() > at(170_000), "the time is in memory");
}

// OSB 36
// v0.3 C5
#[test]
fn only_what_has_changed_is_written_and_what_people_set_is_kept() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let defaults = json!({"size": 1}).as_object().cloned().map(Into::into);
    bench.classes[0].spec.common.default_provision_parameters.clone_from(&defaults);
    bench.classes[0].metadata.labels.get_or_insert_default().insert("mine".into(), "x".into());
    let mut changed = two();
    changed[0]["description"] = json!("new");
    changed[0]["name"] = json!("renamed");
    changed[1]["plans"][0]["free"] = json!(false);
    assert_eq!(bench.catalog(&changed), ["patch one", "patch free", "status"]);
    assert_eq!(bench.classes[0].spec.common.default_provision_parameters, defaults);
    assert!(labels::wrong(&bench.classes[0]).is_empty());
    assert!(bench.classes[0].metadata.labels.as_ref().unwrap().contains_key("mine"));
    assert!(!bench.plans[2].spec.common.free);
}

// OSB 56
// v0.3 C10
#[test]
fn what_leaves_the_catalog_is_marked_and_unmarked_on_return() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let without = json!([service("one", &["small"])]);
    assert_eq!(bench.catalog(&without), ["mark z54zwo true", "mark large true", "mark free true", "status"]);
    assert!(bench.catalog(&without).is_empty());
    let mut back = two();
    back[1]["description"] = json!("new");
    let written = bench.catalog(&back);
    assert_eq!(
        written,
        ["patch z54zwo", "mark z54zwo false", "mark large false", "mark free false", "status"]
    );
    assert!(bench.catalog(&back).is_empty());
    assert_eq!(bench.catalog(&json!([])).len(), 6, "an empty catalog is a catalog");
}

#[test]
fn a_mark_is_for_the_entry_that_was_seen_and_is_taken_from_whatever_has_returned() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.plans[1].metadata.resource_version = Some("7".into());
    let small = json!([service("one", &["small"]), service("Two", &["free"])]);
    let patches = |bench: &Bench, services: &Value| {
        let outcome = Outcome::Answered(Ok(Arc::new(parse(services))));
        let writes = Cluster::absorb(&bench.observed(), outcome).writes;
        let patch = |write| match write {
            Write::PatchStatus(_, patch) => patch,
            _ => panic!("not a mark"),
        };
        writes.into_iter().flatten().map(patch).collect::<Vec<_>>()
    };
    let marked = json!({ "metadata": { "uid": null, "resourceVersion": "7" }, "status": { "removedFromBrokerCatalog": true } });
    assert_eq!(patches(&bench, &small), [marked]);
    bench.catalog(&small);
    bench.plans[1].metadata.resource_version = Some("8".into());
    assert_eq!(patches(&bench, &two()), [json!({ "status": { "removedFromBrokerCatalog": false } })]);
}

#[test]
fn what_users_have_made_is_left_alone() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let mut made = ClusterServiceClass::build("made", "b", bench.classes[0].spec.common.clone());
    made.spec.common.external_name = "mine".into();
    bench.classes.push(made);
    assert!(bench.catalog(&two()).is_empty());
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    bench.classes.retain(|class| class.metadata.name.as_deref() == Some("made"));
    bench.plans.clear();
    assert!(matches!(bench.plan(), Step::RemoveFinalizer));
}

// v0.3 A9
#[test]
fn an_entry_of_nobody_or_of_a_predecessor_is_adopted() {
    for owner in [None, Some("uid-before-the-restore")] {
        let mut bench = Bench::new();
        bench.catalog(&two());
        bench.classes[0].metadata.owner_references = owner.map(|uid| {
            let mut reference = owner::reference(&bench.broker);
            reference.uid = uid.to_owned();
            vec![reference]
        });
        assert_eq!(bench.catalog(&two()), ["patch one", "status"]);
        assert_eq!(owner::of(&bench.classes[0], &bench.broker), owner::Ownership::Ours);
        assert_eq!(bench.classes[0].metadata.owner_references.as_ref().unwrap().len(), 1);
    }
}

#[test]
fn a_class_named_by_its_bare_id_keeps_its_name() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.classes[1].metadata.name = Some("Two".into());
    bench.plans[2].spec.cluster_service_class_ref.name = "Two".into();
    bench.plans[2] = labels::labelled(bench.plans[2].clone());
    assert!(bench.catalog(&two()).is_empty());
}

#[test]
fn restrictions_leave_out_plans_and_classes_without_any() {
    let mut bench = Bench::new();
    let plans = vec!["spec.externalName notin (name-free, name-large)".to_owned()];
    bench.broker.spec.common.catalog_restrictions =
        Some(CatalogRestrictions { service_class: Vec::new(), service_plan: plans });
    assert_eq!(bench.catalog(&two()), ["create one", "create small", "status"]);
}

#[test]
fn what_does_not_fit_the_cluster_is_named() {
    let mut bench = Bench::new();
    let mut services = two();
    services[1]["name"] = json!("n".repeat(64));
    services[0]["plans"][1]["metadata"] = json!({"text": "x".repeat(1 << 20)});
    assert_eq!(bench.catalog(&services), ["create one", "create small", "status"]);
    let (status, _, message) = bench.ready();
    assert_eq!(status, ConditionStatus::True);
    assert!(
        message.starts_with("Successfully fetched catalog entries from broker. Left out: services[1] "),
        "{message}"
    );
    assert!(
        message.contains("plan \"name-large\" of offering \"name-one\": it is larger than 1 MiB"),
        "{message}"
    );
    assert!(bench.catalog(&services).is_empty());
}

// OSB 57
#[test]
fn what_has_faults_now_stays_as_it_was() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let mut broken = two();
    broken[0]["plans"][0]["free"] = json!("no");
    broken[0]["plans"][1]["description"] = json!("new");
    broken[1]["bindable"] = json!("yes");
    assert_eq!(bench.catalog(&broken), ["patch large", "status"], "nothing is marked as removed");
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::True, "FetchedCatalog"));
    assert_eq!(
        message,
        "Successfully fetched catalog entries from broker. Left out: services[0] \"name-one\": plans[0] \
         \"name-small\": free is not a boolean; services[1] \"name-Two\": bindable is not a boolean."
    );
    // The offering without an id could be any class, so all of them stay.
    broken[1]["id"] = json!(null);
    assert_eq!(bench.catalog(&broken), ["status"]);
    let gone = json!([service("one", &["small"])]);
    assert_eq!(bench.catalog(&gone).len(), 4, "what has left the catalog is marked");
}

#[test]
fn what_has_faults_and_is_excluded_is_marked() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let mut broken = two();
    broken[1]["bindable"] = json!("yes");
    bench.broker.spec.common.catalog_restrictions = Some(CatalogRestrictions {
        service_class: vec!["spec.externalID != Two".into()],
        service_plan: Vec::new(),
    });
    assert_eq!(bench.catalog(&broken), ["mark z54zwo true", "mark free true", "status"]);
}

#[test]
fn a_fault_that_costs_nothing_is_named_too() {
    let mut bench = Bench::new();
    let mut services = two();
    services[1]["bindable"] = json!(null);
    let all = ["create one", "create z54zwo", "create small", "create large", "create free", "status"];
    assert_eq!(bench.catalog(&services), all);
    let expected = "Successfully fetched catalog entries from broker. Accepted despite faults: services[1] \"name-Two\": \
                    bindable is missing; false is used.";
    assert_eq!(bench.ready().2, expected);
    assert!(bench.catalog(&services).is_empty());
}
