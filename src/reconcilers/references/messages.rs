//! Which message does a user get if the references of an instance cannot be resolved, or resolve to more than
//! one object?

use std::sync::Arc;

use super::ReferenceField;
use crate::{
    crd::{ScopeKind, scope::CatalogObject},
    reconcilers::reason::Reason,
};

/// Why references cannot be resolved now. A change of classes or plans may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// `ReferencesNonexistentServiceClass` or `ReferencesNonexistentServicePlan`.
    pub reason: Reason,
    /// A sentence for the user: the field, its value, what to do.
    pub message: String,
}

/// The error if the class is not unique or does not exist. The class of an instance cannot be changed, so the
/// message does not propose another class for it.
pub(super) fn no_single_class<C: CatalogObject>(
    class: ReferenceField<'_>,
    found: &[Arc<C>],
    exists_in_other_scope: impl FnOnce() -> bool,
) -> Unresolved {
    let (field, value) = (class.class_field(), class.value());
    let message = if !found.is_empty() {
        format!(
            "spec.{field}: {value:?} fits more than one class ({}); delete this ServiceInstance and create another that names one of them by {}",
            names_of(found, class.as_object_name()),
            class.as_object_name().class_field()
        )
    } else if exists_in_other_scope() {
        let (here, there) = match class.scope() {
            ScopeKind::Cluster => ("the cluster", "this namespace"),
            ScopeKind::Namespace => ("this namespace", "the cluster"),
        };
        format!(
            "spec.{field}: {here} has no class {value:?} (yet), but {there} has; if that is the one, delete this ServiceInstance and create another with {}",
            class.other_scope().class_field()
        )
    } else {
        format!(
            "spec.{field}: there is no class {value:?} (yet), see `kubectl get {}`; if the name is wrong, delete this ServiceInstance and create another",
            match class.scope() {
                ScopeKind::Cluster => "clusterserviceclasses",
                ScopeKind::Namespace => "serviceclasses",
            }
        )
    };
    Unresolved { reason: Reason::ReferencesNonexistentServiceClass, message }
}

/// The names of objects, as this field of the spec would name them. The cache has no order. Without sorting,
/// the status would change without a reason.
fn names_of<E: CatalogObject>(entries: &[Arc<E>], field: ReferenceField<'_>) -> String {
    let mut names: Vec<&str> = entries.iter().filter_map(|entry| field.name_of(&**entry)).collect();
    names.sort_unstable();
    names.join(", ")
}

pub(super) fn no_single_plan<P: CatalogObject>(
    class: ReferenceField<'_>,
    plan: Option<ReferenceField<'_>>,
    found: &[Arc<P>],
) -> Unresolved {
    let plan_field = plan.unwrap_or(class).plan_field();
    let message = match (plan, found.is_empty()) {
        (Some(plan), true) => format!(
            "spec.{plan_field}: the class {:?} has no plan {:?} (yet); see which it has with `kubectl get {}`",
            class.value(),
            plan.value(),
            match class.scope() {
                ScopeKind::Cluster => "clusterserviceplans",
                ScopeKind::Namespace => "serviceplans",
            }
        ),
        (Some(plan), false) => format!(
            "spec.{plan_field}: {:?} fits more than one plan of the class {:?}",
            plan.value(),
            class.value()
        ),
        (None, true) => format!("the class {:?} has no plans (yet)", class.value()),
        (None, false) => {
            format!(
                "the class {:?} has more than one plan ({}): set spec.{plan_field}",
                class.value(),
                // The names are those that the field `plan_field` accepts.
                names_of(found, class)
            )
        }
    };
    Unresolved { reason: Reason::ReferencesNonexistentServicePlan, message }
}
