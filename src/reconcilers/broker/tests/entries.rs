//! What a catalog changes in classes and plans: they are created, changed, marked, or left as they are.

use super::*;

#[test]
fn a_catalog_becomes_classes_and_then_plans() {
    let mut cluster = TestCluster::new();
    let written = cluster.catalog(&two());
    assert_eq!(
        written,
        ["create one", "create z54zwo", "create small", "create large", "create free", "status"]
    );
    let class = &cluster.classes[1];
    assert_eq!((class.broker_name(), class.external_id(), class.external_name()), ("b", "Two", "name-Two"));
    assert!(class.common().bindable && class.common().binding_retrievable && class.common().plan_updatable);
    assert!(labels::missing_or_wrong(class).is_empty());
    let owner = &class.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.kind.as_str()), ("broker-uid", "ClusterServiceBroker"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(false)));
    let plan = &cluster.plans[2];
    assert_eq!((plan.class_name(), plan.common().free, plan.common().bindable), ("z54zwo", true, None));
    let (status, reason, message) = cluster.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::True, "FetchedCatalog"));
    assert_eq!(message, "Successfully fetched catalog entries from broker.");
    let status = cluster.broker.status.unwrap();
    assert_eq!((status.reconciled_generation, status.last_catalog_retrieval_time), (1, Some(Time(at(1000)))));
}

// v0.3 P6
#[test]
fn the_same_catalog_in_any_order_writes_nothing() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.now = at(90_000);
    assert!(cluster.catalog(&two()).is_empty());
    let shuffled = json!([service("Two", &["free"]), service("one", &["large", "small"])]);
    assert!(cluster.catalog(&shuffled).is_empty());
    let mut retagged = two();
    retagged[0]["tags"] = json!(["b", "a"]);
    assert!(cluster.catalog(&retagged).is_empty());
    assert_eq!(cluster.broker.status.as_ref().unwrap().last_catalog_retrieval_time, Some(Time(at(1000))));
    assert!(cluster.due().unwrap() > at(170_000), "the time is in memory");
}

// OSB 36
// v0.3 C5
#[test]
fn only_what_has_changed_is_written_and_what_people_set_is_kept() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let defaults = json!({"size": 1}).as_object().cloned().map(Into::into);
    cluster.classes[0].spec.common.default_provision_parameters.clone_from(&defaults);
    cluster.classes[0].metadata.labels.get_or_insert_default().insert("mine".into(), "x".into());
    let mut changed = two();
    changed[0]["description"] = json!("new");
    changed[0]["name"] = json!("renamed");
    changed[1]["plans"][0]["free"] = json!(false);
    assert_eq!(cluster.catalog(&changed), ["patch one", "patch free", "status"]);
    assert_eq!(cluster.classes[0].spec.common.default_provision_parameters, defaults);
    assert!(labels::missing_or_wrong(&cluster.classes[0]).is_empty());
    assert!(cluster.classes[0].metadata.labels.as_ref().unwrap().contains_key("mine"));
    assert!(!cluster.plans[2].spec.common.free);
}

// OSB 56
// v0.3 C10
#[test]
fn an_object_is_marked_when_it_leaves_the_catalog_and_unmarked_when_it_returns() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let without = json!([service("one", &["small"])]);
    assert_eq!(
        cluster.catalog(&without),
        ["mark z54zwo true", "mark large true", "mark free true", "status"]
    );
    assert!(cluster.catalog(&without).is_empty());
    let mut back = two();
    back[1]["description"] = json!("new");
    let written = cluster.catalog(&back);
    assert_eq!(
        written,
        ["patch z54zwo", "mark z54zwo false", "mark large false", "mark free false", "status"]
    );
    assert!(cluster.catalog(&back).is_empty());
    assert_eq!(cluster.catalog(&json!([])).len(), 6, "an empty catalog is a catalog");
}

#[test]
fn a_mark_is_written_to_the_object_that_was_read_and_removed_from_any_that_has_returned() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.plans[1].metadata.resource_version = Some("7".into());
    let small = json!([service("one", &["small"]), service("Two", &["free"])]);
    let patches = |cluster: &TestCluster, services: &Value| {
        let outcome = Outcome::Answered(Ok(Arc::new(parse(services))));
        let writes = Cluster::absorb(&cluster.observed(), outcome).writes;
        let patch = |write| match write {
            Write::PatchStatus(_, patch) => patch,
            _ => panic!("not a mark"),
        };
        writes.into_iter().flatten().map(patch).collect::<Vec<_>>()
    };
    let marked = json!({ "metadata": { "uid": null, "resourceVersion": "7" }, "status": { "removedFromBrokerCatalog": true } });
    assert_eq!(patches(&cluster, &small), [marked]);
    cluster.catalog(&small);
    cluster.plans[1].metadata.resource_version = Some("8".into());
    assert_eq!(patches(&cluster, &two()), [json!({ "status": { "removedFromBrokerCatalog": false } })]);
}

#[test]
fn objects_that_users_have_created_are_not_changed() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let mut made = ClusterServiceClass::build("made", "b", cluster.classes[0].spec.common.clone());
    made.spec.common.external_name = "mine".into();
    cluster.classes.push(made);
    assert!(cluster.catalog(&two()).is_empty());
    cluster.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    cluster.classes.retain(|class| class.metadata.name.as_deref() == Some("made"));
    cluster.plans.clear();
    assert!(matches!(cluster.plan(), Step::RemoveFinalizer));
}

// v0.3 A9
#[test]
fn an_object_without_owner_or_of_a_former_broker_is_adopted() {
    for owner in [None, Some("uid-before-the-restore")] {
        let mut cluster = TestCluster::new();
        cluster.catalog(&two());
        cluster.classes[0].metadata.owner_references = owner.map(|uid| {
            let mut reference = owner::reference(&cluster.broker);
            reference.uid = uid.to_owned();
            vec![reference]
        });
        assert_eq!(cluster.catalog(&two()), ["patch one", "status"]);
        assert_eq!(owner::of(&cluster.classes[0], &cluster.broker), owner::Ownership::Ours);
        assert_eq!(cluster.classes[0].metadata.owner_references.as_ref().unwrap().len(), 1);
    }
}

#[test]
fn a_class_named_by_its_bare_id_keeps_its_name() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.classes[1].metadata.name = Some("Two".into());
    cluster.plans[2].spec.cluster_service_class_ref.name = "Two".into();
    cluster.plans[2] = labels::labelled(cluster.plans[2].clone());
    assert!(cluster.catalog(&two()).is_empty());
}

#[test]
fn restrictions_leave_out_plans_and_classes_without_any() {
    let mut cluster = TestCluster::new();
    let plans = vec!["spec.externalName notin (name-free, name-large)".to_owned()];
    cluster.broker.spec.common.catalog_restrictions =
        Some(CatalogRestrictions { service_class: Vec::new(), service_plan: plans });
    assert_eq!(cluster.catalog(&two()), ["create one", "create small", "status"]);
}

#[test]
fn entries_that_the_cluster_cannot_hold_are_named() {
    let mut cluster = TestCluster::new();
    let mut services = two();
    services[1]["name"] = json!("n".repeat(64));
    services[0]["plans"][1]["metadata"] = json!({"text": "x".repeat(1 << 20)});
    assert_eq!(cluster.catalog(&services), ["create one", "create small", "status"]);
    let (status, _, message) = cluster.ready();
    assert_eq!(status, ConditionStatus::True);
    assert!(
        message.starts_with("Successfully fetched catalog entries from broker. Left out: services[1] "),
        "{message}"
    );
    assert!(
        message.contains("plan \"name-large\" of offering \"name-one\": it is larger than 1 MiB"),
        "{message}"
    );
    assert!(cluster.catalog(&services).is_empty());
}

// OSB 57
#[test]
fn the_object_of_an_entry_with_faults_stays_as_it_was() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let mut broken = two();
    broken[0]["plans"][0]["free"] = json!("no");
    broken[0]["plans"][1]["description"] = json!("new");
    broken[1]["bindable"] = json!("yes");
    assert_eq!(cluster.catalog(&broken), ["patch large", "status"], "nothing is marked as removed");
    let (status, reason, message) = cluster.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::True, "FetchedCatalog"));
    assert_eq!(
        message,
        "Successfully fetched catalog entries from broker. Left out: services[0] \"name-one\": plans[0] \
         \"name-small\": free is not a boolean; services[1] \"name-Two\": bindable is not a boolean."
    );
    // The offering without an id could be any class, so all of them stay.
    broken[1]["id"] = json!(null);
    assert_eq!(cluster.catalog(&broken), ["status"]);
    let gone = json!([service("one", &["small"])]);
    assert_eq!(cluster.catalog(&gone).len(), 4, "what has left the catalog is marked");
}

#[test]
fn the_object_of_an_excluded_entry_with_faults_is_marked() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let mut broken = two();
    broken[1]["bindable"] = json!("yes");
    cluster.broker.spec.common.catalog_restrictions = Some(CatalogRestrictions {
        service_class: vec!["spec.externalID != Two".into()],
        service_plan: Vec::new(),
    });
    assert_eq!(cluster.catalog(&broken), ["mark z54zwo true", "mark free true", "status"]);
}

#[test]
fn a_tolerated_fault_is_named_too() {
    let mut cluster = TestCluster::new();
    let mut services = two();
    services[1]["bindable"] = json!(null);
    let all = ["create one", "create z54zwo", "create small", "create large", "create free", "status"];
    assert_eq!(cluster.catalog(&services), all);
    let expected = "Successfully fetched catalog entries from broker. Accepted despite faults: services[1] \"name-Two\": \
                    bindable is missing; false is used.";
    assert_eq!(cluster.ready().2, expected);
    assert!(cluster.catalog(&services).is_empty());
}

/// What exists stays and follows the catalog. Entries that are new each time do not add up.
#[test]
fn a_broker_gets_only_so_many_classes_and_plans_and_the_condition_names_the_others() {
    let mut cluster = TestCluster::new();
    cluster.settings.max_catalog_entries = 4;
    cluster.catalog(&json!([service("one", &["a", "b", "c", "d"]), service("two", &["e"])]));
    let names = |cluster: &TestCluster| -> Vec<String> {
        cluster.plans.iter().filter_map(|plan| plan.metadata.name.clone()).collect()
    };
    assert_eq!((cluster.classes.len(), names(&cluster)), (1, ["a", "b", "c"].map(str::to_owned).to_vec()));
    let (_, reason, message) = cluster.ready();
    assert_eq!(reason, "FetchedCatalog");
    for words in [
        "plan \"name-d\" of offering \"name-one\"",
        "offering \"name-two\"",
        "limit of 4",
        "--broker-max-catalog-entries",
    ] {
        assert!(message.contains(words), "{message}");
    }
    // The present ones come last, and are kept and changed all the same.
    let mut services = json!([service("two", &["e"]), service("one", &["d", "c", "b", "a"])]);
    services[1]["plans"][3]["description"] = json!("new");
    assert_eq!(cluster.catalog(&services)[0], "patch a");
    assert_eq!((cluster.classes.len(), cluster.plans.len()), (1, 3));
    // With a lower limit nothing goes.
    cluster.settings.max_catalog_entries = 1;
    assert!(
        !cluster.catalog(&services).iter().any(|write| write.contains("delete") || write.contains("mark"))
    );
    assert_eq!((cluster.classes.len(), cluster.plans.len()), (1, 3));
    for round in 0..3 {
        let new = format!("new{round}");
        cluster.catalog(&json!([service(&format!("class{round}"), &[&new])]));
        assert!(cluster.classes.len() + cluster.plans.len() <= 4, "{:?}", names(&cluster));
    }
}
