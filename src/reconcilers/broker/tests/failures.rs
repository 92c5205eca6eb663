//! The status of a broker whose catalog cannot be fetched or written.

use super::*;

#[test]
fn an_invalid_restriction_is_reported_without_a_request_to_the_broker() {
    let mut cluster = TestCluster::new();
    let classes = vec!["nonsense".to_owned()];
    cluster.broker.spec.common.catalog_restrictions =
        Some(CatalogRestrictions { service_class: classes, service_plan: Vec::new() });
    let Step::Record(status) = cluster.plan() else { panic!("not reported") };
    cluster.broker.status = Some(status);
    assert!(cluster.ready().2.contains("spec.catalogRestrictions.serviceClass[0]"));
    assert!(matches!(cluster.plan(), Step::Wait(Wait::ForChange)));
}

// OSB 34
// v0.3 B9, G3, Q44
#[test]
fn a_failure_is_written_once_and_keeps_the_last_good_catalog() {
    let mut cluster = TestCluster::new();
    cluster.catalog(&two());
    let entries = serde_json::to_value((&cluster.classes, &cluster.plans)).unwrap();
    cluster.now = at(90_000);
    let invalid = Catalog::parse(b"{}").unwrap_err();
    assert_eq!(cluster.answer(Outcome::Answered(Err(invalid))), ["status"]);
    let (_, reason, message) = cluster.ready();
    assert_eq!(reason, "ErrorFetchingCatalog");
    assert!(
        message.starts_with("Error fetching catalog. the broker's catalog is invalid: services"),
        "{message}"
    );
    assert_eq!(cluster.answer(unsent()), ["status"]);
    cluster.now = at(90_010);
    assert!(cluster.answer(unsent()).is_empty());
    assert_eq!(
        cluster.ready().2,
        "Error fetching catalog. cannot connect to the broker; the operator tries again"
    );
    let status = cluster.broker.status.clone().unwrap();
    assert_eq!(status.operation_start_time, Some(Time(at(90_000))));
    assert_eq!(serde_json::to_value((&cluster.classes, &cluster.plans)).unwrap(), entries);
    assert_eq!(cluster.catalog(&two()), ["status"]);
    assert_eq!(cluster.broker.status.unwrap().operation_start_time, None);
}

// v0.3 G4
#[test]
fn entries_that_the_api_server_refuses_are_named_and_tried_again_with_growing_delays() {
    let mut cluster = TestCluster::new();
    let refused = RejectedWrite { message: "cannot create ClusterServicePlan large: forbidden".into() };
    let mut pauses = Vec::new();
    for failures in 1..=4 {
        cluster.catalog(&two());
        let status = Cluster::absorb_rejected_write(&cluster.observed(), &refused);
        cluster.broker.status = Some(status.clone());
        assert_eq!(Cluster::absorb_rejected_write(&cluster.observed(), &refused), status, "told once");
        let (status, reason, message) = cluster.ready();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
        for part in
            [refused.message.as_str(), "the rest of the catalog is in place", "the operator tries again"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(memory::failures(&cluster.observed()), failures);
        pauses.push(cluster.due().unwrap().duration_since(cluster.now));
        cluster.now = cluster.due().unwrap();
    }
    assert!(pauses.is_sorted_by(|one, next| one < next), "{pauses:?}");
    cluster.catalog(&two());
    assert_eq!(cluster.ready().1, "FetchedCatalog");
    assert_eq!(memory::failures(&cluster.observed()), 0);
}

#[test]
fn the_status_of_a_broker_is_about_its_present_spec() {
    let mut cluster = TestCluster::new();
    let seen = |cluster: &TestCluster| {
        let status = cluster.broker.status.clone().unwrap();
        (status.observed_generation, status.conditions[0].observed_generation, status.reconciled_generation)
    };
    cluster.answer(unsent());
    assert_eq!(
        cluster.ready().2,
        "Error fetching catalog. cannot connect to the broker; the operator tries again"
    );
    assert_eq!(seen(&cluster), (1, 1, 0));
    cluster.catalog(&two());
    assert_eq!(seen(&cluster), (1, 1, 1));
    cluster.broker.metadata.generation = Some(2);
    cluster.answer(unsent());
    assert_eq!(seen(&cluster), (2, 2, 1));
    // The same failure is not written again.
    assert!(cluster.answer(unsent()).is_empty());
}
