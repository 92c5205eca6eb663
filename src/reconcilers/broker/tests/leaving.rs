//! How a broker gets its finalizer, and how it is deleted.

use super::*;

#[test]
fn the_finalizer_is_added_first_and_only_once() {
    let mut cluster = TestCluster::new();
    cluster.broker.metadata.finalizers = None;
    assert!(matches!(cluster.plan(), Step::Claim(_)));
    cluster.broker.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    assert!(matches!(cluster.plan(), Step::Call { .. }));
    cluster.answer(unsent());
    cluster.broker.metadata.finalizers = None;
    cluster.broker.metadata.generation = Some(2);
    assert!(matches!(cluster.plan(), Step::Wait(Wait::ForChange)), "abandoned");
    cluster.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    assert!(matches!(cluster.plan(), Step::Wait(Wait::ForChange)));
}

// v0.3 Q44
#[test]
fn a_broker_in_use_stays_and_says_why() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    cluster.blocking_instances = (1..=7).map(|n| format!("shop/db-{n}")).collect();
    let Step::Record(status) = cluster.plan() else { panic!("not reported") };
    cluster.broker.status = Some(status);
    let (status, reason, message) = cluster.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "DeletionBlockedByExistingInstances"));
    assert!(
        message.contains("shop/db-1, shop/db-2, shop/db-3, shop/db-4, shop/db-5 and 2 more"),
        "{message}"
    );
    cluster.now = at(99_000);
    assert!(matches!(cluster.plan(), Step::Wait(Wait::ForChange)));
}

#[test]
fn a_broker_in_use_says_which_other_broker_takes_its_place() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    cluster.blocking_instances = vec!["shop/db".into()];
    for (successors, part) in [
        (&["new"][..], "The broker new takes its place"),
        (&["new", "other"], "of the ClusterServiceBroker b: new, other; set the annotation"),
    ] {
        cluster.successors = successors.iter().map(|name| (*name).to_owned()).collect();
        let Step::Record(status) = cluster.plan() else { panic!("not reported") };
        cluster.broker.status = Some(status);
        assert!(cluster.ready().2.contains(part), "{}", cluster.ready().2);
    }
}

// v0.3 G11
#[test]
fn plans_are_deleted_before_classes_and_both_before_the_broker_goes() {
    fn deleted(step: StepOf<Cluster>) -> Vec<String> {
        let Step::Write(writes) = step else { panic!("nothing is deleted") };
        let name = |write| match write {
            Write::Delete(target, _) => target.name,
            _ => panic!("not a deletion"),
        };
        writes.into_iter().map(name).collect()
    }
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(deleted(cluster.plan()), ["small", "large", "free"]);
    cluster.plans.truncate(1);
    cluster.plans[0].meta_mut().deletion_timestamp = Some(Time(at(1)));
    assert!(matches!(cluster.plan(), Step::Wait(Wait::ForChange)));
    cluster.plans.clear();
    assert_eq!(deleted(cluster.plan()), ["one", "z54zwo"]);
    cluster.classes.clear();
    assert!(matches!(cluster.plan(), Step::RemoveFinalizer));
}
