//! When the catalog is fetched: at once, after the interval, or after growing delays.

use super::*;

// v0.3 G1, G2
#[test]
fn failures_are_retried_with_growing_delays_and_a_new_spec_at_once() {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.due(), Some(cluster.now));
    let mut delays = Vec::new();
    for _ in 0..4 {
        cluster.answer(unsent());
        delays.push(cluster.due().unwrap().duration_since(cluster.now).as_secs_f64());
        cluster.now = cluster.due().unwrap();
    }
    assert!((0.9..=1.1).contains(&delays[0]), "{delays:?}");
    assert!((delays[3] / delays[0] - 8.0).abs() < 0.1, "{delays:?}");
    cluster.answer(unsent());
    assert!(matches!(cluster.plan(), Step::Wait(Wait::Until(_))));
    cluster.broker.metadata.generation = Some(2);
    assert_eq!(
        cluster.due(),
        Some(cluster.now + SignedDuration::from_secs(1)),
        "not more often than every second"
    );
    cluster.now += SignedDuration::from_secs(1);
    assert!(matches!(cluster.plan(), Step::Call { .. }));
    cluster.answer(unsent());
    assert_eq!(cluster.memory.failures, 1);
}

#[test]
fn another_api_version_is_tried_at_once() {
    let mut cluster = TestCluster::new();
    let set = |cluster: &mut TestCluster, version: &str| {
        let annotations = cluster.broker.metadata.annotations.get_or_insert_default();
        annotations.insert(crate::osb::version::ANNOTATION.to_owned(), version.to_owned());
    };
    cluster.catalog(&two());
    assert!(matches!(cluster.plan(), Step::Wait(Wait::Until(_))));
    for version in ["2.14", "nonsense", "2.13"] {
        set(&mut cluster, version);
        cluster.now += SignedDuration::from_secs(1);
        assert!(matches!(cluster.plan(), Step::Call { .. }), "{version}");
        cluster.answer(unsent());
        cluster.answer(unsent());
        assert_eq!(cluster.memory.failures, 2);
        assert!(matches!(cluster.plan(), Step::Wait(Wait::Until(_))), "{version}");
    }
    cluster.memory = BrokerMemory::default();
    cluster.catalog(&two());
    cluster.memory = BrokerMemory::default();
    assert!(
        matches!(cluster.plan(), Step::Wait(Wait::Until(_))),
        "a restart asks for nothing that is not due"
    );
}

// v0.3 G1
#[test]
fn a_broker_is_not_asked_before_its_retry_after() {
    let mut cluster = TestCluster::new();
    cluster.answer(Outcome::Refused(Refusal {
        status: 429,
        reason: RefusalReason::Throttled,
        message: "429".into(),
        retry_after: Some(std::time::Duration::from_secs(77)),
        instance_usable: None,
        update_repeatable: None,
    }));
    assert_eq!(cluster.due(), Some(at(1076)));
    cluster.answer(unsent());
    assert!(cluster.due() < Some(at(1076)));
}

// v0.3 J5
#[test]
fn after_failed_writes_the_catalog_is_fetched_again() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let (broker, mut changed) = (cluster.broker.clone(), two());
    changed[0]["description"] = json!("new");
    cluster.now = at(90_000);
    cluster.catalog(&changed);
    assert!(cluster.due().unwrap() > at(170_000), "all is on record");
    cluster.broker = broker;
    assert!(cluster.due().unwrap() < at(90_002), "the status was not written");
}

// OSB 35
// v0.3 G1
#[test]
fn a_good_catalog_is_fetched_again_after_its_interval() {
    let day = 24 * 3600;
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.memory = BrokerMemory::default();
    for (behavior, duration, expected) in [
        (RelistBehavior::Unset, None, Some(1000 + day)),
        (RelistBehavior::Duration, Some(60), Some(1060)),
        (RelistBehavior::Unset, Some(0), Some(1000 + day)),
        (RelistBehavior::Manual, Some(60), None),
    ] {
        cluster.broker.spec.common.relist_behavior = behavior;
        let duration = duration.map(|seconds| std::time::Duration::from_secs(seconds).into());
        cluster.broker.spec.common.relist_duration = duration;
        assert_eq!(cluster.due(), expected.map(at), "{behavior:?} {duration:?}");
    }
    assert!(matches!(cluster.plan(), Step::Wait(Wait::ForChange)));
    cluster.broker.metadata.generation = Some(2);
    assert!(matches!(cluster.plan(), Step::Call { .. }), "a manual relist is a new generation");
    cluster.memory.answered = Some(cluster.now);
    assert!(matches!(cluster.plan(), Step::Wait(_)), "a flood of them waits");
    cluster.memory = BrokerMemory::default();
    cluster.broker.metadata.generation = Some(1);
    cluster.broker.spec.common.relist_behavior = RelistBehavior::Duration;
    cluster.broker.status.as_mut().unwrap().last_catalog_retrieval_time = None;
    assert!(matches!(cluster.plan(), Step::Call { .. }), "nobody knows how old it is");
    let restarted = SignedDuration::from_secs(59);
    cluster.broker.status.as_mut().unwrap().last_catalog_retrieval_time = Some(Time(cluster.now - restarted));
    assert!(matches!(cluster.plan(), Step::Wait(Wait::Until(_))));
}

// OSB 30
#[test]
fn a_catalog_that_the_broker_calls_outdated_is_fetched_at_once_but_not_all_the_time() {
    let mut cluster = TestCluster::new();
    cluster.answer(Outcome::Answered(Ok(Arc::new(parse(&two())))));
    cluster.now += SignedDuration::from_mins(5);
    assert!(cluster.due() > Some(cluster.now));
    cluster.outdated = true;
    assert!(cluster.due() <= Some(cluster.now));
    cluster.answer(Outcome::Answered(Ok(Arc::new(parse(&two())))));
    assert!(cluster.due() > Some(cluster.now));
}

#[test]
fn a_catalog_that_an_older_operator_has_read_is_fetched_again() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.memory = BrokerMemory::default();
    assert!(cluster.due().is_some_and(|at| at > cluster.now), "not before its time");
    if let Some(status) = cluster.broker.status.as_mut() {
        status.catalog_reader = 0;
    }
    assert_eq!(cluster.due(), Some(cluster.now));
    cluster.catalog(&two());
    assert!(cluster.due().is_some_and(|at| at > cluster.now));
}

#[test]
fn a_catalog_is_not_read_all_the_time_whatever_the_broker_object_says() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    cluster.broker.spec.common.relist_behavior = RelistBehavior::Duration;
    cluster.broker.spec.common.relist_duration = Some(std::time::Duration::from_nanos(1).into());
    assert_eq!(cluster.due(), Some(cluster.now + SignedDuration::from_secs(10)));
}

/// Each fetch finds other entries: after a burst the writes come to ten in a second.
#[test]
fn a_catalog_that_changes_every_time_is_read_more_and_more_rarely() {
    let mut cluster = TestCluster::new();
    cluster.settings.max_catalog_entries = 100;
    cluster.broker.spec.common.relist_behavior = RelistBehavior::Duration;
    cluster.broker.spec.common.relist_duration = Some(std::time::Duration::from_secs(1).into());
    let (begun, mut written) = (cluster.now, 0);
    let names: Vec<String> = (0..90).map(|index| format!("p{index}")).collect();
    let plans: Vec<&str> = names.iter().map(String::as_str).collect();
    for round in 0..100 {
        let mut services = json!([service("one", &plans)]);
        for plan in services[0]["plans"].as_array_mut().unwrap() {
            plan["description"] = json!(format!("round {round}"));
        }
        let due = cluster.due().unwrap();
        cluster.now = due.max(cluster.now);
        // As a spec that is edited meanwhile.
        if round % 3 == 0 {
            *cluster.broker.metadata.generation.get_or_insert(1) += 1;
            cluster.now = cluster.due().unwrap().max(cluster.now);
        }
        written += cluster.catalog(&services).len();
    }
    let seconds = cluster.now.duration_since(begun).as_secs();
    assert!(written > 9000, "{written}");
    let allowed = 200 + 91 + usize::try_from(seconds).unwrap() * 10 + 100;
    assert!(written <= allowed, "{written} writes in {seconds} s");
}
