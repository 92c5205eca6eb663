//! To which class and plan do the references of an existing instance resolve? They resolve to
//! `status.resolved` until the spec is edited, even if the catalog reuses the names. v0.3 stored this in the
//! spec (`clusterServiceClassRef` and other fields). All functions are pure.

use super::{Offering, Unresolved, plan_reference_field, resolve as resolve_by_name, resolve_recorded};
use crate::{
    caches::Caches,
    crd::{ScopeKind, ServiceInstanceStatus, common::ResolvedOffering, instance::PlanReference},
    reconcilers::reason::Reason,
};

/// Resolves the references of an instance that may exist at the broker.
///
/// # Errors
/// Those of [`super::resolve`].
pub fn resolve(
    reference: &PlanReference,
    status: &ServiceInstanceStatus,
    namespace: &str,
    caches: &Caches,
) -> Result<Offering, Unresolved> {
    let by_name = || resolve_by_name(reference, namespace, caches);
    let Some(record) = &status.resolved else {
        return by_name();
    };
    let (in_progress, acknowledged) = (&status.in_progress_properties, &status.external_properties);
    let unchanged = match plan_selector(reference) {
        // A spec without a plan keeps the current plan.
        PlanSelector::Unnamed => acknowledged.as_ref().or(in_progress.as_ref()),
        PlanSelector::Name(name) => [in_progress, acknowledged]
            .into_iter()
            .flatten()
            .find(|properties| properties.plan_name() == name),
        // Ids and object names do not change, so they are resolved again.
        PlanSelector::Id => None,
    };
    let as_requested = unchanged.and_then(|properties| {
        let offering = resolve_recorded(record, properties.plan_id(), namespace, caches)?;
        // The name is the requested one, so that the next decision finds it unchanged.
        Some(Offering { plan_name: properties.plan_name().to_owned(), ..offering })
    });
    match as_requested {
        Some(offering) => Ok(offering),
        None if has_class(record, namespace, caches) => {
            resolve_by_name(&restricted_to_class(record, reference), namespace, caches).map_err(|in_class| {
                // If the spec still names the class, the message about a missing plan uses the names of the
                // spec.
                by_name()
                    .err()
                    .filter(|unresolved| unresolved.reason == Reason::ReferencesNonexistentServicePlan)
                    .unwrap_or(in_class)
            })
        }
        None => by_name(),
    }
}

/// How a spec names its plan: not at all, by its external name, or by another field.
enum PlanSelector<'a> {
    Unnamed,
    Name(&'a str),
    Id,
}

fn plan_selector(reference: &PlanReference) -> PlanSelector<'_> {
    let names = [&reference.cluster_service_plan_external_name, &reference.service_plan_external_name];
    let name = names.into_iter().flatten().find(|name| !name.is_empty());
    match (name, plan_reference_field(reference)) {
        (Some(name), _) => PlanSelector::Name(name),
        (None, Some(_)) => PlanSelector::Id,
        (None, None) => PlanSelector::Unnamed,
    }
}

fn has_class(record: &ResolvedOffering, namespace: &str, caches: &Caches) -> bool {
    match record.scope {
        ScopeKind::Cluster => caches.cluster.class(None, &record.class).is_some(),
        ScopeKind::Namespace => caches.namespaced.class(Some(namespace), &record.class).is_some(),
    }
}

/// The reference to the same plan in the recorded class, which a spec cannot change.
fn restricted_to_class(record: &ResolvedOffering, reference: &PlanReference) -> PlanReference {
    let class = Some(record.class.clone());
    let plan = PlanReference {
        cluster_service_class_external_name: None,
        cluster_service_class_external_id: None,
        cluster_service_class_name: None,
        service_class_external_name: None,
        service_class_external_id: None,
        service_class_name: None,
        ..reference.clone()
    };
    match record.scope {
        ScopeKind::Cluster => PlanReference { cluster_service_class_name: class, ..plan },
        ScopeKind::Namespace => PlanReference { service_class_name: class, ..plan },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcilers::{instance::Instance, operation::Decoded};
    use crate::{
        caches::tests::{entries, filled},
        crd::{
            ClusterServiceClass, ClusterServicePlan, ServiceInstance, ServiceInstanceSpec,
            ServiceInstanceStatus,
            class::CommonServiceClassSpec,
            instance::InstanceProperties,
            plan::CommonServicePlanSpec,
            progress::DeletionStatus,
            scope::{ClassObject as _, PlanObject as _},
        },
    };

    /// Id and name.
    type Named = (&'static str, &'static str);

    /// A catalog of classes, each with its plans.
    fn catalog(classes: &[(Named, &[Named])]) -> Caches {
        let mut found = (vec![], vec![]);
        for ((class, name), plans) in classes {
            let mut common = CommonServiceClassSpec::default();
            (common.external_id, common.external_name) = ((*class).into(), (*name).to_owned());
            found.0.push(ClusterServiceClass::build(class, "broker", common));
            for (plan, name) in *plans {
                let mut common = CommonServicePlanSpec::default();
                (common.external_id, common.external_name) = ((*plan).into(), (*name).to_owned());
                found.1.push(ClusterServicePlan::build(plan, "broker", class, common));
            }
        }
        filled(entries(found.0, found.1), entries(vec![], vec![]))
    }

    /// An instance whose spec names this plan, of the class `db`.
    fn naming(plan: Option<&str>) -> ServiceInstance {
        let plan_reference = PlanReference {
            cluster_service_class_external_name: Some("db".into()),
            cluster_service_plan_external_name: plan.map(str::to_owned),
            ..PlanReference::default()
        };
        ServiceInstance::new("i", ServiceInstanceSpec { plan_reference, ..ServiceInstanceSpec::default() })
    }

    /// The same, ordered when the catalog had the plan of id `p1` under this name in the class of id `c1`.
    fn ordered(plan: Option<&str>, name: &str) -> ServiceInstance {
        let mut instance = naming(plan);
        instance.status = Some(ServiceInstanceStatus {
            deprovision_status: DeletionStatus::Required,
            resolved: Some(ResolvedOffering {
                scope: ScopeKind::Cluster,
                broker: "broker".into(),
                broker_url: None,
                class: "c1".into(),
                plan: "p1".into(),
                service_id: "c1".into(),
                plan_id: "p1".into(),
            }),
            external_properties: Some(InstanceProperties {
                cluster_service_plan_external_id: "p1".into(),
                cluster_service_plan_external_name: name.into(),
                ..InstanceProperties::default()
            }),
            ..ServiceInstanceStatus::default()
        });
        instance
    }

    /// Class and plan, or why there are none.
    fn found(instance: &ServiceInstance, caches: &Caches) -> String {
        Decoded::<Instance>::of(instance).offering(caches).map_or_else(
            |unresolved| unresolved.message,
            |Offering { class, plan_id, .. }| format!("{class} {plan_id}"),
        )
    }

    // v0.3 D3
    #[test]
    fn what_was_ordered_stays_whatever_names_the_catalog_gives() {
        for renamed in [
            catalog(&[(("c1", "db"), &[("p1", "large"), ("p2", "small")])]),
            catalog(&[(("c1", "database"), &[("p1", "small"), ("p2", "large")])]),
            catalog(&[(("c1", "db"), &[("p1", "small"), ("p2", "small")])]),
            catalog(&[(("c1", "old"), &[("p1", "small")]), (("c2", "db"), &[("p3", "small")])]),
            catalog(&[(("c1", "db"), &[("p1", "small")]), (("c2", "db"), &[("p3", "small")])]),
        ] {
            assert_eq!(found(&ordered(Some("small"), "small"), &renamed), "c1 p1");
            assert_eq!(found(&ordered(None, "small"), &renamed), "c1 p1");
        }
    }

    #[test]
    fn another_plan_is_one_of_the_class_that_was_ordered_from() {
        let renamed = catalog(&[
            (("c1", "old"), &[("p1", "small"), ("p2", "large")]),
            (("c2", "db"), &[("p3", "large")]),
        ]);
        assert_eq!(found(&ordered(Some("large"), "small"), &renamed), "c1 p2");
        // What the user writes anew is meant as the catalog has it now.
        let swapped = catalog(&[(("c1", "db"), &[("p1", "large"), ("p2", "small")])]);
        assert_eq!(found(&ordered(Some("small"), "large"), &swapped), "c1 p2");
        let unknown = found(&ordered(Some("huge"), "small"), &renamed);
        assert!(unknown.contains("no plan \"huge\""), "{unknown}");
        assert!(!unknown.contains("delete this ServiceInstance"), "{unknown}");
    }

    #[test]
    fn what_was_never_ordered_means_what_the_catalog_says() {
        let mut instance = ordered(Some("small"), "small");
        instance.status.get_or_insert_default().deprovision_status = DeletionStatus::NotRequired;
        let swapped = catalog(&[(("c1", "db"), &[("p1", "large"), ("p2", "small")])]);
        assert_eq!(found(&instance, &swapped), "c1 p2");
        assert_eq!(found(&naming(Some("small")), &swapped), "c1 p2");
        let gone = found(&ordered(Some("small"), "small"), &catalog(&[]));
        assert!(gone.contains("there is no class \"db\""), "{gone}");
    }
}
