//! When the catalog is fetched: at once, after its interval, or later and later.

use super::*;

// v0.3 G1, G2
#[test]
fn failures_are_repeated_later_and_later_and_a_new_spec_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.due(), Some(bench.now));
    let mut delays = Vec::new();
    for _ in 0..4 {
        bench.answer(unsent());
        delays.push(bench.due().unwrap().duration_since(bench.now).as_secs_f64());
        bench.now = bench.due().unwrap();
    }
    assert!((0.9..=1.1).contains(&delays[0]), "{delays:?}");
    assert!((delays[3] / delays[0] - 8.0).abs() < 0.1, "{delays:?}");
    bench.answer(unsent());
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))));
    bench.broker.metadata.generation = Some(2);
    assert!(matches!(bench.plan(), Step::Call { .. }));
    bench.answer(unsent());
    assert_eq!(bench.memory.failures, 1);
}

#[test]
fn another_api_version_is_tried_at_once() {
    let mut bench = Bench::new();
    let set = |bench: &mut Bench, version: &str| {
        let annotations = bench.broker.metadata.annotations.get_or_insert_default();
        annotations.insert(crate::osb::version::ANNOTATION.to_owned(), version.to_owned());
    };
    bench.catalog(&two());
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))));
    for version in ["2.14", "nonsense", "2.13"] {
        set(&mut bench, version);
        assert!(matches!(bench.plan(), Step::Call { .. }), "{version}");
        bench.answer(unsent());
        bench.answer(unsent());
        assert_eq!(bench.memory.failures, 2);
        assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))), "{version}");
    }
    bench.memory = BrokerMemory::default();
    bench.catalog(&two());
    bench.memory = BrokerMemory::default();
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))), "a restart asks for nothing that is not due");
}

// v0.3 G1
#[test]
fn a_broker_that_asks_for_patience_gets_it() {
    let mut bench = Bench::new();
    bench.answer(Outcome::Refused(Refusal {
        status: 429,
        reason: RefusalReason::Throttled,
        message: "429".into(),
        retry_after: Some(std::time::Duration::from_secs(77)),
        instance_usable: None,
        update_repeatable: None,
    }));
    assert_eq!(bench.due(), Some(at(1076)));
    bench.answer(unsent());
    assert!(bench.due() < Some(at(1076)));
}

// v0.3 J5
#[test]
fn writes_that_fail_are_made_good_by_another_fetch() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let (broker, mut changed) = (bench.broker.clone(), two());
    changed[0]["description"] = json!("new");
    bench.now = at(90_000);
    bench.catalog(&changed);
    assert!(bench.due().unwrap() > at(170_000), "all is on record");
    bench.broker = broker;
    assert!(bench.due().unwrap() < at(90_002), "the status was not written");
}

// OSB 35
// v0.3 G1
#[test]
fn a_good_catalog_is_fetched_again_after_its_interval() {
    let day = 24 * 3600;
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.memory = BrokerMemory::default();
    for (behavior, duration, expected) in [
        (RelistBehavior::Unset, None, Some(1000 + day)),
        (RelistBehavior::Duration, Some(60), Some(1060)),
        (RelistBehavior::Unset, Some(0), Some(1000 + day)),
        (RelistBehavior::Manual, Some(60), None),
    ] {
        bench.broker.spec.common.relist_behavior = behavior;
        let duration = duration.map(|seconds| std::time::Duration::from_secs(seconds).into());
        bench.broker.spec.common.relist_duration = duration;
        assert_eq!(bench.due(), expected.map(at), "{behavior:?} {duration:?}");
    }
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
    bench.broker.metadata.generation = Some(2);
    assert!(matches!(bench.plan(), Step::Call { .. }), "a manual relist is a new generation");
    bench.broker.metadata.generation = Some(1);
    bench.broker.spec.common.relist_behavior = RelistBehavior::Duration;
    bench.broker.status.as_mut().unwrap().last_catalog_retrieval_time = None;
    assert!(matches!(bench.plan(), Step::Call { .. }), "nobody knows how old it is");
    let restarted = SignedDuration::from_secs(59);
    bench.broker.status.as_mut().unwrap().last_catalog_retrieval_time = Some(Time(bench.now - restarted));
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))));
}

// OSB 30
#[test]
fn a_catalog_that_the_broker_calls_outdated_is_fetched_at_once_but_not_all_the_time() {
    let mut bench = Bench::new();
    bench.answer(Outcome::Answered(Ok(Arc::new(parse(&two())))));
    bench.now += SignedDuration::from_mins(5);
    assert!(bench.due() > Some(bench.now));
    bench.outdated = true;
    assert!(bench.due() <= Some(bench.now));
    bench.answer(Outcome::Answered(Ok(Arc::new(parse(&two())))));
    assert!(bench.due() > Some(bench.now));
}

#[test]
fn a_catalog_that_was_read_by_an_operator_that_reads_less_is_fetched_once_more() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.memory = BrokerMemory::default();
    assert!(bench.due().is_some_and(|at| at > bench.now), "not before its time");
    if let Some(status) = bench.broker.status.as_mut() {
        status.catalog_reader = 0;
    }
    assert_eq!(bench.due(), Some(bench.now));
    bench.catalog(&two());
    assert!(bench.due().is_some_and(|at| at > bench.now));
}
