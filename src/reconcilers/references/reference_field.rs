//! How a spec names a class or a plan: six fields, of which one is set.

use std::sync::Arc;

use crate::{
    caches::ScopeCaches,
    crd::{
        Scope, ScopeKind,
        instance::{CLASS_FIELDS, PLAN_FIELDS, PlanReference},
        scope::{CatalogObject, PlanObject as _},
    },
};

/// One way of naming things: a field of the spec and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceField<'a> {
    /// Index into [`CLASS_FIELDS`] and [`PLAN_FIELDS`].
    field: usize,
    value: &'a str,
}

impl<'a> ReferenceField<'a> {
    /// The scope of what is named.
    pub(super) fn scope(self) -> ScopeKind {
        if self.field < 3 { ScopeKind::Cluster } else { ScopeKind::Namespace }
    }

    /// The field that names a class in this way.
    pub(super) fn class_field(self) -> &'static str {
        CLASS_FIELDS[self.field]
    }

    /// The field that names a plan in this way.
    pub(super) fn plan_field(self) -> &'static str {
        PLAN_FIELDS[self.field]
    }

    /// The same value as the name of an object of the same scope.
    pub(super) fn as_object_name(self) -> Self {
        Self { field: self.field / 3 * 3 + 2, ..self }
    }

    /// The same value in the other scope.
    pub(super) fn elsewhere(self) -> Self {
        Self { field: (self.field + 3) % 6, ..self }
    }

    /// What this way of naming calls an entry.
    pub(super) fn calls<E: CatalogObject>(self, entry: &E) -> Option<&str> {
        match self.field % 3 {
            0 => Some(entry.external_name()),
            1 => Some(entry.external_id()),
            _ => entry.meta().name.as_deref(),
        }
    }

    /// The classes that are meant. `namespace` is `None` for those of the cluster.
    pub(super) fn classes<S: Scope>(
        self,
        namespace: Option<&str>,
        caches: &ScopeCaches<S>,
    ) -> Vec<Arc<S::Class>> {
        match self.field % 3 {
            0 => caches.classes_by_external_name(namespace, self.value),
            1 => caches.classes_by_external_id(namespace, self.value),
            _ => caches.class(namespace, self.value).into_iter().collect(),
        }
    }

    /// The plans of a class object that are meant.
    pub(super) fn plans<S: Scope>(
        self,
        namespace: Option<&str>,
        class: &str,
        caches: &ScopeCaches<S>,
    ) -> Vec<Arc<S::Plan>> {
        match self.field % 3 {
            0 => caches.plans_by_external_name(namespace, class, self.value),
            1 => caches.plans_by_external_id(namespace, class, self.value),
            _ => {
                let plan = caches.plan(namespace, self.value);
                plan.into_iter().filter(|plan| plan.class_name() == class).collect()
            }
        }
    }

    /// The value as the user wrote it.
    #[must_use]
    pub fn value(self) -> &'a str {
        self.value
    }
}

/// How a spec names its class.
#[must_use]
pub fn class_spelling(reference: &PlanReference) -> Option<ReferenceField<'_>> {
    spelling([
        &reference.cluster_service_class_external_name,
        &reference.cluster_service_class_external_id,
        &reference.cluster_service_class_name,
        &reference.service_class_external_name,
        &reference.service_class_external_id,
        &reference.service_class_name,
    ])
}

/// How a spec names its plan.
#[must_use]
pub fn plan_spelling(reference: &PlanReference) -> Option<ReferenceField<'_>> {
    spelling([
        &reference.cluster_service_plan_external_name,
        &reference.cluster_service_plan_external_id,
        &reference.cluster_service_plan_name,
        &reference.service_plan_external_name,
        &reference.service_plan_external_id,
        &reference.service_plan_name,
    ])
}

fn spelling(fields: [&Option<String>; 6]) -> Option<ReferenceField<'_>> {
    fields.into_iter().enumerate().find_map(|(field, value)| {
        value.as_deref().filter(|value| !value.is_empty()).map(|value| ReferenceField { field, value })
    })
}

/// The class as a status shows it: kind and what the user wrote (the original's `userSpecifiedClassName`).
#[must_use]
pub fn shown_class(reference: &PlanReference) -> String {
    class_spelling(reference).map_or_else(String::new, |spelling| match spelling.scope() {
        ScopeKind::Cluster => format!("ClusterServiceClass/{}", spelling.value),
        ScopeKind::Namespace => format!("ServiceClass/{}", spelling.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_a_spelling_of_its_scope() {
        let reference =
            PlanReference { service_class_external_id: Some("x".into()), ..PlanReference::default() };
        let spelling = class_spelling(&reference).unwrap();
        assert_eq!(
            (spelling.class_field(), spelling.scope(), spelling.value()),
            ("serviceClassExternalID", ScopeKind::Namespace, "x")
        );
        assert_eq!(spelling.as_object_name().class_field(), "serviceClassName");
        assert_eq!(spelling.elsewhere().plan_field(), "clusterServicePlanExternalID");
        assert_eq!(spelling.elsewhere().elsewhere(), spelling);
        assert_eq!(shown_class(&reference), "ServiceClass/x");
        let reference = PlanReference {
            cluster_service_class_external_name: Some(String::new()),
            ..PlanReference::default()
        };
        assert_eq!(class_spelling(&reference), None);
    }
}
