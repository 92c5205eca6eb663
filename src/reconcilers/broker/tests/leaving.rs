//! How a broker comes under our guard, and how it goes.

use super::*;

#[test]
fn the_finalizer_comes_first_and_only_once() {
    let mut bench = Bench::new();
    bench.broker.metadata.finalizers = None;
    assert!(matches!(bench.plan(), Step::AddFinalizer));
    bench.broker.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    assert!(matches!(bench.plan(), Step::Call { .. }));
    bench.answer(unsent());
    bench.broker.metadata.finalizers = None;
    bench.broker.metadata.generation = Some(2);
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)), "abandoned");
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
}

// v0.3 Q44
#[test]
fn a_broker_in_use_stays_and_says_why() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    bench.users = (1..=7).map(|n| format!("shop/db-{n}")).collect();
    let Step::Record(status) = bench.plan() else { panic!("not reported") };
    bench.broker.status = Some(status);
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "DeletionBlockedByExistingInstances"));
    assert!(
        message.contains("shop/db-1, shop/db-2, shop/db-3, shop/db-4, shop/db-5 and 2 more"),
        "{message}"
    );
    bench.now = at(99_000);
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
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
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(deleted(bench.plan()), ["small", "large", "free"]);
    bench.plans.truncate(1);
    bench.plans[0].meta_mut().deletion_timestamp = Some(Time(at(1)));
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
    bench.plans.clear();
    assert_eq!(deleted(bench.plan()), ["one", "z54zwo"]);
    bench.classes.clear();
    assert!(matches!(bench.plan(), Step::RemoveFinalizer));
}
