//! With which field does a spec name a class or a plan? There are six fields for each, and one of them is
//! set.

use std::sync::Arc;

use crate::{
    caches::ScopeCaches,
    crd::{
        Scope, ScopeKind,
        instance::{CLASS_FIELDS, PLAN_FIELDS, PlanReference},
        scope::{CatalogObject, PlanObject as _},
    },
};

/// A field of the spec that names a class or a plan, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceField<'a> {
    /// Index into [`CLASS_FIELDS`] and [`PLAN_FIELDS`].
    field: usize,
    value: &'a str,
}

impl<'a> ReferenceField<'a> {
    /// The scope of the named object.
    pub(super) fn scope(self) -> ScopeKind {
        if self.field < 3 { ScopeKind::Cluster } else { ScopeKind::Namespace }
    }

    /// The name of the field for a class.
    pub(super) fn class_field(self) -> &'static str {
        CLASS_FIELDS[self.field]
    }

    /// The name of the field for a plan.
    pub(super) fn plan_field(self) -> &'static str {
        PLAN_FIELDS[self.field]
    }

    /// The same value in the field for object names of the same scope.
    pub(super) fn as_object_name(self) -> Self {
        Self { field: self.field / 3 * 3 + 2, ..self }
    }

    /// The same value in the field of the other scope.
    pub(super) fn other_scope(self) -> Self {
        Self { field: (self.field + 3) % 6, ..self }
    }

    /// The name of an entry, as this field would name it.
    pub(super) fn name_of<E: CatalogObject>(self, entry: &E) -> Option<&str> {
        match self.field % 3 {
            0 => Some(entry.external_name()),
            1 => Some(entry.external_id()),
            _ => entry.meta().name.as_deref(),
        }
    }

    /// The classes that the field names. `namespace` is `None` for cluster-wide ones.
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

    /// The plans of a class object that the field names.
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

/// The field with which a spec names its class.
#[must_use]
pub fn class_reference_field(reference: &PlanReference) -> Option<ReferenceField<'_>> {
    first_set_field([
        &reference.cluster_service_class_external_name,
        &reference.cluster_service_class_external_id,
        &reference.cluster_service_class_name,
        &reference.service_class_external_name,
        &reference.service_class_external_id,
        &reference.service_class_name,
    ])
}

/// The field with which a spec names its plan.
#[must_use]
pub fn plan_reference_field(reference: &PlanReference) -> Option<ReferenceField<'_>> {
    first_set_field([
        &reference.cluster_service_plan_external_name,
        &reference.cluster_service_plan_external_id,
        &reference.cluster_service_plan_name,
        &reference.service_plan_external_name,
        &reference.service_plan_external_id,
        &reference.service_plan_name,
    ])
}

fn first_set_field(fields: [&Option<String>; 6]) -> Option<ReferenceField<'_>> {
    fields.into_iter().enumerate().find_map(|(field, value)| {
        value.as_deref().filter(|value| !value.is_empty()).map(|value| ReferenceField { field, value })
    })
}

/// The class as the status shows it: the kind and the value in the spec (`userSpecifiedClassName` of v0.3).
#[must_use]
pub fn class_as_specified(reference: &PlanReference) -> String {
    class_reference_field(reference).map_or_else(String::new, |field| match field.scope() {
        ScopeKind::Cluster => format!("ClusterServiceClass/{}", field.value),
        ScopeKind::Namespace => format!("ServiceClass/{}", field.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_a_spelling_of_its_scope() {
        let reference =
            PlanReference { service_class_external_id: Some("x".into()), ..PlanReference::default() };
        let field = class_reference_field(&reference).unwrap();
        assert_eq!(
            (field.class_field(), field.scope(), field.value()),
            ("serviceClassExternalID", ScopeKind::Namespace, "x")
        );
        assert_eq!(field.as_object_name().class_field(), "serviceClassName");
        assert_eq!(field.other_scope().plan_field(), "clusterServicePlanExternalID");
        assert_eq!(field.other_scope().other_scope(), field);
        assert_eq!(class_as_specified(&reference), "ServiceClass/x");
        let reference = PlanReference {
            cluster_service_class_external_name: Some(String::new()),
            ..PlanReference::default()
        };
        assert_eq!(class_reference_field(&reference), None);
    }
}
