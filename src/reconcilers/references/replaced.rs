//! Which broker, class and plan does an instance or a binding have after its broker object was replaced by
//! another one? All functions are pure.

use kube::{Resource as _, ResourceExt as _};

use super::recorded_broker;
use crate::{
    caches::{Caches, ScopeCaches},
    crd::{
        REPLACES_ANNOTATION, Scope, ScopeKind,
        common::ResolvedOffering,
        scope::{BrokerObject as _, CatalogObject as _},
    },
    osb::endpoint::bare_url,
};

/// The new record of an object whose broker object was replaced, or why nothing can replace it. `None`: the
/// broker object is not leaving, or no other one offers the recorded plan in its place.
pub type Replacement = Option<Result<ResolvedOffering, String>>;

/// Finds the class and plan with the recorded ids at the broker object that takes the place of the recorded
/// one ([`ScopeCaches::successors`]).
#[must_use]
pub fn resolve(record: &ResolvedOffering, namespace: &str, caches: &Caches) -> Replacement {
    match record.scope {
        ScopeKind::Cluster => resolve_in(record, namespace, None, &caches.cluster),
        ScopeKind::Namespace => resolve_in(record, namespace, Some(namespace), &caches.namespaced),
    }
}

fn resolve_in<S: Scope>(
    record: &ResolvedOffering,
    namespace: &str,
    place: Option<&str>,
    caches: &ScopeCaches<S>,
) -> Replacement {
    let candidates = caches.successors(place, &record.broker, record.broker_url.as_deref());
    let broker = match &candidates[..] {
        [] => return None,
        [only] => only,
        several => {
            let names: Vec<String> = several.iter().map(|broker| broker.name_any()).collect();
            let left = recorded_broker(record, namespace).to_string();
            return Some(Err(ambiguous(&left, &names)));
        }
    };
    let name = broker.name_any();
    let classes = caches.classes_by_external_id(place, record.service_id.as_str());
    let class = classes.into_iter().find(|class| class.broker_name() == name && !class.is_removed())?;
    let class_name = class.meta().name.clone().unwrap_or_default();
    let plans = caches.plans_by_external_id(place, &class_name, record.plan_id.as_str());
    let plan = plans.into_iter().find(|plan| plan.broker_name() == name && !plan.is_removed())?;
    Some(Ok(ResolvedOffering {
        broker_url: bare_url(&broker.common().url),
        broker: name,
        class: class_name,
        plan: plan.meta().name.clone().unwrap_or_default(),
        ..record.clone()
    }))
}

/// The sentence for a broker object with several successors.
#[must_use]
pub fn ambiguous(left: &str, successors: &[String]) -> String {
    format!(
        "more than one broker could take the place of the {left}: {}; set the annotation {REPLACES_ANNOTATION} to the name of the \
         old broker on exactly one of them",
        successors.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::{
        caches::tests::{entries, filled},
        crd::{
            CatalogObjectStatus, ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan,
            class::CommonServiceClassSpec,
            plan::CommonServicePlanSpec,
            scope::{ClassObject as _, PlanObject as _},
        },
    };

    fn record() -> ResolvedOffering {
        ResolvedOffering {
            scope: ScopeKind::Cluster,
            broker: "old".into(),
            broker_url: Some("https://a.example".into()),
            class: "old-class".into(),
            plan: "old-plan".into(),
            service_id: "service".into(),
            plan_id: "plan".into(),
        }
    }

    /// The plan with this id, offered by this broker. The brokers have the recorded URL.
    fn caches(brokers: &[&str], offered_by: &str, plan_id: &str, removed: bool) -> Caches {
        let class =
            CommonServiceClassSpec { external_id: "service".into(), ..CommonServiceClassSpec::default() };
        let plan = CommonServicePlanSpec { external_id: plan_id.into(), ..CommonServicePlanSpec::default() };
        let mut plan = ClusterServicePlan::build("new-plan", offered_by, "new-class", plan);
        plan.status = Some(CatalogObjectStatus { removed_from_broker_catalog: removed });
        let class = ClusterServiceClass::build("new-class", offered_by, class);
        let caches = filled(entries(vec![class], vec![plan]), entries(vec![], vec![]));
        for name in brokers {
            let spec = serde_json::json!({ "url": "https://a.example/" });
            let broker = ClusterServiceBroker::new(name, serde_json::from_value(spec).unwrap());
            caches.cluster.brokers.apply(&Event::Apply(broker));
        }
        caches
    }

    #[test]
    fn the_record_follows_by_the_ids_at_the_broker() {
        let found = resolve(&record(), "ns", &caches(&["new"], "new", "plan", false));
        let expected = ResolvedOffering {
            broker: "new".into(),
            class: "new-class".into(),
            plan: "new-plan".into(),
            ..record()
        };
        assert_eq!(found, Some(Ok(expected)));
    }

    #[test]
    fn a_broker_that_does_not_offer_the_plan_replaces_nothing() {
        for (what, caches) in [
            ("another plan", caches(&["new"], "new", "other", false)),
            ("the plan has left the catalog", caches(&["new"], "new", "plan", true)),
            ("the class is of a third broker", caches(&["new"], "third", "plan", false)),
            ("no broker", caches(&[], "new", "plan", false)),
        ] {
            assert_eq!(resolve(&record(), "ns", &caches), None, "{what}");
        }
    }

    #[test]
    fn of_two_candidates_none_is_taken_and_both_are_named() {
        let found = resolve(&record(), "ns", &caches(&["two", "one"], "one", "plan", false));
        let message = found.unwrap().unwrap_err();
        assert!(message.contains("ClusterServiceBroker old: one, two;"), "{message}");
    }

    #[test]
    fn a_cluster_wide_broker_does_not_replace_one_of_a_namespace() {
        let record = ResolvedOffering { scope: ScopeKind::Namespace, ..record() };
        assert_eq!(resolve(&record, "ns", &caches(&["new"], "new", "plan", false)), None);
    }
}
