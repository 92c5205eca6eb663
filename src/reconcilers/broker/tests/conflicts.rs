//! What stands in the way of a catalog as a whole: objects of others, or of another meaning, under its names.

use super::*;

#[test]
fn a_conflict_names_both_brokers_and_writes_no_entry() {
    let mut bench = Bench::new();
    let mut theirs =
        ClusterServiceClass::build("z54zwo", "other", crate::crd::class::CommonServiceClassSpec::default());
    theirs.spec.common.external_id = "Two".into();
    bench.classes.push(theirs);
    assert_eq!(bench.catalog(&two()), ["status"]);
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
    for part in
        ["\"Two\"", "ClusterServiceBroker b ", "ClusterServiceBroker other ", "ClusterServiceClass z54zwo"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let restrictions = CatalogRestrictions {
        service_class: vec!["spec.externalID != Two".into()],
        service_plan: Vec::new(),
    };
    bench.broker.spec.common.catalog_restrictions = Some(restrictions);
    bench.broker.metadata.generation = Some(2);
    assert_eq!(bench.catalog(&two()), ["create one", "create small", "create large", "status"]);
}

#[test]
fn a_plan_that_another_broker_offers_is_a_conflict_whatever_its_class() {
    for class in ["one", "elsewhere"] {
        let mut bench = Bench::new();
        let mut theirs = ClusterServicePlan::build("large", "other", class, CommonServicePlanSpec::default());
        theirs.spec.common.external_id = "large".into();
        bench.plans.push(theirs);
        assert_eq!(bench.catalog(&two()), ["status"]);
        let (status, reason, message) = bench.ready();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
        for part in [
            "\"large\"",
            "ClusterServiceBroker b ",
            "ClusterServiceBroker other ",
            "ClusterServicePlan large",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        bench.plans.clear();
        let all = ["create one", "create z54zwo", "create small", "create large", "create free", "status"];
        assert_eq!(bench.catalog(&two()), all, "the other broker has gone");
    }
}

#[test]
fn an_object_that_is_something_else_is_a_conflict() {
    let spoil: [fn(&mut Bench); 3] = [
        |bench| bench.classes[0].spec.common.external_id = "changed".into(),
        |bench| bench.plans[0].spec.cluster_service_class_ref.name = "z54zwo".into(),
        |bench| {
            let mut reference = owner::reference(&bench.broker);
            (reference.uid, reference.name) = ("x".into(), "x".into());
            bench.plans[0].metadata.owner_references = Some(vec![reference]);
        },
    ];
    for spoil in spoil {
        let mut bench = Bench::new();
        bench.catalog(&two());
        spoil(&mut bench);
        assert_eq!(bench.catalog(&two()), ["status"]);
        assert_eq!(bench.ready().1, "ErrorSyncingCatalog");
        assert!(bench.ready().2.ends_with("delete it"), "{}", bench.ready().2);
    }
}

#[test]
fn two_ids_never_share_an_object() {
    let mut bench = Bench::new();
    bench.catalog(&json!([service("z54zwo", &["p"])]));
    // A legacy object, named by its bare id, that has the very name that another id is escaped to.
    bench.classes[0].metadata.name = Some("z54zwo".into());
    let both = json!([service("z54zwo", &["p"]), service("Two", &["q"])]);
    assert_eq!(bench.catalog(&both).last().map(String::as_str), Some("status"));
    assert_eq!(bench.ready().1, "ErrorSyncingCatalog");
}
