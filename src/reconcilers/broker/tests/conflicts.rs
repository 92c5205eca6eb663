//! Objects that prevent writes for a catalog: objects of other owners or of other entries with the same
//! names, and plans that have moved to another offering while instances use them. All other objects are
//! written.

use super::*;
use crate::crd::{ServiceInstanceSpec, ServiceInstanceStatus, common::ResolvedOffering};

// OSB 42
// v0.3 G3
#[test]
fn a_conflict_names_both_brokers_and_everything_else_is_written() {
    let mut cluster = TestCluster::new();
    let mut theirs =
        ClusterServiceClass::build("z54zwo", "other", crate::crd::class::CommonServiceClassSpec::default());
    theirs.spec.common.external_id = "Two".into();
    cluster.classes.push(theirs);
    assert_eq!(cluster.catalog(&two()), ["create one", "create small", "create large", "status"]);
    let (status, reason, message) = cluster.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
    assert_eq!(
        message,
        "Error syncing catalog from ClusterServiceBroker. another broker offers these ids of ClusterServiceBroker b \
         already: \"Two\" (ClusterServiceClass z54zwo of ClusterServiceBroker other); ids are unique among brokers: \
         remove one of the brokers, or leave the ids out with spec.catalogRestrictions; the rest of the catalog is in place; the operator tries again"
    );
    assert!(cluster.catalog(&two()).is_empty());
    assert_eq!(memory::failures(&cluster.observed()), 2, "the broker is asked again as after a failure");
    let restrictions = CatalogRestrictions {
        service_class: vec!["spec.externalID != Two".into()],
        service_plan: Vec::new(),
    };
    cluster.broker.spec.common.catalog_restrictions = Some(restrictions);
    cluster.broker.metadata.generation = Some(2);
    assert_eq!(cluster.catalog(&two()), ["status"]);
    assert_eq!(cluster.ready().0, ConditionStatus::True);
}

#[test]
fn classes_and_plans_of_a_broker_that_this_one_replaces_are_taken_over() {
    let mut cluster = TestCluster::new();
    let mut class =
        ClusterServiceClass::build("one", "old", crate::crd::class::CommonServiceClassSpec::default());
    class.spec.common.external_id = "one".into();
    let mut plan = ClusterServicePlan::build("small", "old", "one", CommonServicePlanSpec::default());
    plan.spec.common.external_id = "small".into();
    let mut other = plan.clone();
    (other.metadata.name, other.spec.common.external_id) = (Some("gone".into()), "gone".into());
    cluster.classes.push(class);
    cluster.plans.extend([plan, other]);
    let services = json!([service("one", &["small"])]);
    assert_eq!(cluster.catalog(&services), ["status"]);
    assert_eq!(cluster.ready().1, "ErrorSyncingCatalog");
    cluster.replaced = BTreeSet::from(["old".to_owned()]);
    assert!(cluster.due() <= Some(cluster.now + SignedDuration::from_secs(1)), "the broker is asked at once");
    let written = cluster.catalog(&services);
    assert_eq!(written, ["delete small", "delete one", "create one", "create small", "status"]);
    assert_eq!(cluster.ready().0, ConditionStatus::True);
    assert_eq!(cluster.plans.iter().map(CatalogObject::broker_name).collect::<Vec<_>>(), ["old", "b"]);
    cluster.replaced.clear();
    assert!(cluster.catalog(&services).is_empty());
}

#[test]
fn a_plan_that_another_broker_offers_is_a_conflict_whatever_its_class() {
    for class in ["one", "elsewhere"] {
        let mut cluster = TestCluster::new();
        let mut theirs = ClusterServicePlan::build("large", "other", class, CommonServicePlanSpec::default());
        theirs.spec.common.external_id = "large".into();
        cluster.plans.push(theirs);
        let rest = ["create one", "create z54zwo", "create small", "create free", "status"];
        assert_eq!(cluster.catalog(&two()), rest);
        let (status, reason, message) = cluster.ready();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
        for part in
            ["\"large\"", "ClusterServiceBroker b ", "ClusterServiceBroker other", "ClusterServicePlan large"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        cluster.plans.retain(|plan| plan.broker_name() != "other");
        assert_eq!(cluster.catalog(&two()), ["create large", "status"], "the other broker has gone");
    }
}

#[test]
fn an_object_that_is_something_else_is_a_conflict_and_stays_as_it_is() {
    let edits: [fn(&mut TestCluster); 2] = [
        |cluster| cluster.classes[0].spec.common.external_id = "changed".into(),
        |cluster| {
            let mut reference = owner::reference(&cluster.broker);
            (reference.uid, reference.name) = ("x".into(), "x".into());
            cluster.plans[0].metadata.owner_references = Some(vec![reference]);
        },
    ];
    for edit in edits {
        let mut cluster = TestCluster::new();
        cluster.catalog(&two());
        edit(&mut cluster);
        let mut changed = two();
        changed[1]["description"] = json!("new");
        assert_eq!(cluster.catalog(&changed), ["patch z54zwo", "status"]);
        assert_eq!(cluster.ready().1, "ErrorSyncingCatalog");
        assert!(cluster.ready().2.contains("; delete them; the rest"), "{}", cluster.ready().2);
    }
}

/// An instance that was ordered with a plan of the class `one`.
fn instance(name: &str, plan: &str) -> ServiceInstance {
    let mut instance = ServiceInstance::new(name, ServiceInstanceSpec::default());
    instance.metadata.namespace = Some("shop".into());
    instance.status = Some(ServiceInstanceStatus {
        resolved: Some(ResolvedOffering {
            scope: crate::crd::ScopeKind::Cluster,
            broker: "b".into(),
            broker_url: None,
            class: "one".into(),
            plan: plan.into(),
            service_id: "one".into(),
            plan_id: plan.into(),
        }),
        ..ServiceInstanceStatus::default()
    });
    instance
}

fn service_of_many(id: &str) -> Value {
    let plans: Vec<String> = (0..30).map(|index| format!("plan-{index}")).collect();
    service(id, &plans.iter().map(String::as_str).collect::<Vec<_>>())
}

// v0.3 G5
#[test]
fn plans_of_an_offering_that_is_back_under_a_new_id_are_taken_over_if_no_instance_uses_them() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&json!([service_of_many("one")]));
    let written = cluster.catalog(&json!([service_of_many("new")]));
    let expected: Vec<String> = (0..30).map(|index| format!("delete plan-{index}")).collect();
    assert_eq!(written[0], "create new");
    assert!(expected.iter().all(|deletion| written[1..31].contains(deletion)), "{written:?}");
    assert!(written[31..61].iter().all(|write| write.starts_with("create plan-")), "{written:?}");
    assert_eq!(written[61..], ["mark one true", "status"]);
    assert_eq!(cluster.ready().0, ConditionStatus::True);
    assert!(cluster.plans.iter().all(|plan| plan.class_name() == "new"));
    assert!(cluster.catalog(&json!([service_of_many("new")])).is_empty());
}

#[test]
fn a_plan_is_deleted_only_in_the_version_that_was_read() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&json!([service("one", &["small"])]));
    cluster.plans[0].metadata.uid = Some("u".into());
    cluster.plans[0].metadata.resource_version = Some("7".into());
    let moved = Outcome::Answered(Ok(Arc::new(parse(&json!([service("new", &["small"])])))));
    let writes = Cluster::absorb(&cluster.observed(), moved).writes;
    let Write::Delete(target, only) = &writes[1][0] else { panic!("not deleted") };
    assert_eq!(target.name, "small");
    assert_eq!((only.uid.as_deref(), only.resource_version.as_deref()), (Some("u"), Some("7")));
}

// OSB 42
// v0.3 G5
#[test]
fn all_plans_that_instances_use_are_named_at_once_and_the_others_are_taken_over() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&json!([service_of_many("one")]));
    for name in ["a", "b", "c", "d", "e"] {
        cluster.instances.push(instance(name, "plan-3"));
    }
    let mut moving = instance("moving", "elsewhere");
    let status = moving.status.as_mut().unwrap();
    status.external_properties = Some(crate::crd::instance::InstanceProperties {
        cluster_service_plan_external_id: "plan-7".into(),
        ..crate::crd::instance::InstanceProperties::default()
    });
    cluster.instances.push(moving);
    let catalog = json!([service_of_many("new"), service("Two", &["free"])]);
    let written = cluster.catalog(&catalog);
    assert_eq!(written.iter().filter(|write| write.starts_with("delete")).count(), 28);
    assert!(written.contains(&"create free".to_owned()), "{written:?}");
    let (status, reason, message) = cluster.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
    assert_eq!(
        message,
        "Error syncing catalog from ClusterServiceBroker. these plans have moved to another offering while instances \
         use them: ClusterServicePlan plan-3 of the class one, used by shop/a, shop/b, shop/c and 2 more; \
         ClusterServicePlan plan-7 of the class one, used by shop/moving; delete the instances, or ask the broker's operator to offer the plans under new ids; the rest of the catalog is in place; the operator tries again"
    );
    let used = cluster.plans.iter().filter(|plan| plan.class_name() == "one");
    assert!(used.clone().count() == 2 && used.into_iter().all(|plan| !plan.is_removed()));
    cluster.instances.clear();
    assert_eq!(
        cluster.catalog(&catalog),
        ["delete plan-3", "delete plan-7", "create plan-3", "create plan-7", "status"]
    );
    assert_eq!(cluster.ready().0, ConditionStatus::True);
}

#[test]
fn plans_of_an_offering_that_is_itself_in_conflict_stay_where_they_are() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let mut theirs = ClusterServiceClass::build("new", "other", cluster.classes[0].spec.common.clone());
    theirs.spec.common.external_id = "new".into();
    cluster.classes.push(theirs);
    let written = cluster.catalog(&json!([service("new", &["small"]), service("Two", &["free"])]));
    assert_eq!(written, ["mark one true", "mark large true", "status"]);
    assert!(cluster.ready().2.contains("\"new\""), "{}", cluster.ready().2);
}

// OSB 37
#[test]
fn two_ids_never_share_an_object() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&json!([service("z54zwo", &["p"])]));
    // An object of an old version, named by its bare id, whose name is the escaped form of another id.
    cluster.classes[0].metadata.name = Some("z54zwo".into());
    let both = json!([service("z54zwo", &["p"]), service("Two", &["q"])]);
    assert_eq!(cluster.catalog(&both), ["status"]);
    assert_eq!(cluster.ready().1, "ErrorSyncingCatalog");
    for part in [
        "\"z54zwo\" and \"Two\" (ClusterServiceClass z54zwo)",
        "ask the broker's operator to change one of them",
    ] {
        assert!(cluster.ready().2.contains(part), "{}", cluster.ready().2);
    }
    assert!(!cluster.classes[0].is_removed() && !cluster.plans[0].is_removed(), "what exists stays");
}
