//! What a broker says when its catalog cannot be had or cannot be written.

use super::*;

#[test]
fn a_restriction_that_is_none_is_reported_without_asking_the_broker() {
    let mut bench = Bench::new();
    let classes = vec!["nonsense".to_owned()];
    bench.broker.spec.common.catalog_restrictions =
        Some(CatalogRestrictions { service_class: classes, service_plan: Vec::new() });
    let Step::Record(status) = bench.plan() else { panic!("not reported") };
    bench.broker.status = Some(status);
    assert!(bench.ready().2.contains("spec.catalogRestrictions.serviceClass[0]"));
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
}

// OSB 34
// v0.3 B9, G3, Q44
#[test]
fn a_failure_is_told_once_and_leaves_the_last_good_catalog() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let entries = serde_json::to_value((&bench.classes, &bench.plans)).unwrap();
    bench.now = at(90_000);
    let invalid = Catalog::parse(b"{}").unwrap_err();
    assert_eq!(bench.answer(Outcome::Answered(Err(invalid))), ["status"]);
    let (_, reason, message) = bench.ready();
    assert_eq!(reason, "ErrorFetchingCatalog");
    assert!(
        message.starts_with("Error fetching catalog. the broker's catalog is invalid: services"),
        "{message}"
    );
    assert_eq!(bench.answer(unsent()), ["status"]);
    bench.now = at(90_010);
    assert!(bench.answer(unsent()).is_empty());
    assert_eq!(
        bench.ready().2,
        "Error fetching catalog. cannot connect to the broker; the operator tries again"
    );
    let status = bench.broker.status.clone().unwrap();
    assert_eq!(status.operation_start_time, Some(Time(at(90_000))));
    assert_eq!(serde_json::to_value((&bench.classes, &bench.plans)).unwrap(), entries);
    assert_eq!(bench.catalog(&two()), ["status"]);
    assert_eq!(bench.broker.status.unwrap().operation_start_time, None);
}

// v0.3 G4
#[test]
fn entries_that_the_api_server_refuses_are_named_and_tried_again_later_and_later() {
    let mut bench = Bench::new();
    let refused = RejectedWrite { message: "cannot create ClusterServicePlan large: forbidden".into() };
    let mut pauses = Vec::new();
    for failures in 1..=4 {
        bench.catalog(&two());
        let status = Cluster::absorb_rejected_write(&bench.observed(), &refused);
        bench.broker.status = Some(status.clone());
        assert_eq!(Cluster::absorb_rejected_write(&bench.observed(), &refused), status, "told once");
        let (status, reason, message) = bench.ready();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
        for part in
            [refused.message.as_str(), "the rest of the catalog is in place", "the operator tries again"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(memory::failures(&bench.observed()), failures);
        pauses.push(bench.due().unwrap().duration_since(bench.now));
        bench.now = bench.due().unwrap();
    }
    assert!(pauses.is_sorted_by(|one, next| one < next), "{pauses:?}");
    bench.catalog(&two());
    assert_eq!(bench.ready().1, "FetchedCatalog");
    assert_eq!(memory::failures(&bench.observed()), 0);
}

#[test]
fn what_a_broker_says_of_itself_is_of_its_present_spec() {
    let mut bench = Bench::new();
    let seen = |bench: &Bench| {
        let status = bench.broker.status.clone().unwrap();
        (status.observed_generation, status.conditions[0].observed_generation, status.reconciled_generation)
    };
    bench.answer(unsent());
    assert_eq!(
        bench.ready().2,
        "Error fetching catalog. cannot connect to the broker; the operator tries again"
    );
    assert_eq!(seen(&bench), (1, 1, 0));
    bench.catalog(&two());
    assert_eq!(seen(&bench), (1, 1, 1));
    bench.broker.metadata.generation = Some(2);
    bench.answer(unsent());
    assert_eq!(seen(&bench), (2, 2, 1));
    // The same again is not written again.
    assert!(bench.answer(unsent()).is_empty());
}
