//! What an instance's references mean: six spellings, two scopes, one value. Behind this nobody knows the scope.

use std::sync::Arc;

use kube::{Resource as _, core::ObjectMeta};

use super::reason::Reason;
use crate::{
    brokers::BrokerKey,
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind,
        common::ResolvedOffering,
        instance::{CLASS_FIELDS, PLAN_FIELDS, PlanReference},
        plan::MaintenanceInfo,
        scope::{EntryObject, PlanObject as _},
    },
    json::RawObject,
    stores::{ScopeStores, Stores},
};

/// A class and a plan of a broker, as the catalog has them now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of the catalog")]
pub struct Offering {
    /// The broker that offers it.
    pub broker: BrokerKey,
    /// Name of the class object.
    pub class: String,
    /// Name of the plan object.
    pub plan: String,
    /// Id of the offering at the broker.
    pub service_id: String,
    /// Id of the plan at the broker.
    pub plan_id: String,
    /// Name of the plan at the broker.
    pub plan_name: String,
    /// Whether instances of this plan can be bound to: the plan's word, else the class's.
    pub bindable: bool,
    /// Whether instances of this plan can be moved to another: the plan's word, else the class's.
    pub plan_updatable: bool,
    /// How long an asynchronous operation may take, in seconds, if the plan says so.
    pub maximum_polling_duration: Option<i64>,
    /// The version of the software that the broker runs for the plan, if it says so.
    pub maintenance: Option<MaintenanceInfo>,
    /// Whether the broker can be asked for an existing instance.
    pub instances_retrievable: bool,
    /// Whether the broker can be asked for an existing binding.
    pub bindings_retrievable: bool,
    /// Whether the broker wants to be told when the context of an instance changes.
    pub context_updatable: bool,
    /// The parameters that an instance gets where it does not say otherwise: those of the class, and those of the plan, which
    /// count before them.
    pub default_parameters: [Option<RawObject>; 2],
    /// The class or the plan has left the catalog.
    pub removed: Option<Removed>,
    /// The broker object is gone or being deleted.
    pub broker_state: BrokerState,
}

/// What has left the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The class, whatever became of the plan.
    Class,
    /// Only the plan.
    Plan,
}

/// Whether a broker object is there to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// It is.
    Present,
    /// It is being deleted: what exists can be removed, nothing new can be ordered.
    Leaving,
    /// It is not.
    Missing,
}

impl Offering {
    /// What of it a later request will need, for status.
    #[must_use]
    pub fn to_record(&self) -> ResolvedOffering {
        ResolvedOffering {
            scope: self.broker.scope,
            broker: self.broker.name.clone(),
            class: self.class.clone(),
            plan: self.plan.clone(),
            service_id: self.service_id.clone(),
            plan_id: self.plan_id.clone(),
        }
    }
}

/// The broker that a recorded offering belongs to, for an object of this namespace.
#[must_use]
pub fn recorded_broker(record: &ResolvedOffering, namespace: &str) -> BrokerKey {
    BrokerKey::new(record.scope, Some(namespace), &record.broker)
}

/// Why references mean nothing at present. A change of classes or plans may mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// `ReferencesNonexistentServiceClass` or `ReferencesNonexistentServicePlan`.
    pub reason: Reason,
    /// A sentence for the user: the field, its value, what to do.
    pub message: String,
}

/// One way of naming things: a field of the spec and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling<'a> {
    /// Index into [`CLASS_FIELDS`] and [`PLAN_FIELDS`].
    field: usize,
    value: &'a str,
}

impl<'a> Spelling<'a> {
    fn scope(self) -> ScopeKind {
        if self.field < 3 { ScopeKind::Cluster } else { ScopeKind::Namespace }
    }

    /// Whether an object is the one that is meant.
    fn fits<E: EntryObject>(self, entry: &E) -> bool {
        match self.field % 3 {
            0 => entry.external_name() == self.value,
            1 => entry.external_id() == self.value,
            _ => entry.meta().name.as_deref() == Some(self.value),
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
pub fn class_spelling(reference: &PlanReference) -> Option<Spelling<'_>> {
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
pub fn plan_spelling(reference: &PlanReference) -> Option<Spelling<'_>> {
    spelling([
        &reference.cluster_service_plan_external_name,
        &reference.cluster_service_plan_external_id,
        &reference.cluster_service_plan_name,
        &reference.service_plan_external_name,
        &reference.service_plan_external_id,
        &reference.service_plan_name,
    ])
}

fn spelling(fields: [&Option<String>; 6]) -> Option<Spelling<'_>> {
    fields.into_iter().enumerate().find_map(|(field, value)| {
        value.as_deref().filter(|value| !value.is_empty()).map(|value| Spelling { field, value })
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

/// Resolves what a spec names, in the caches.
///
/// # Errors
/// The class or plan does not exist (yet), or the name fits more than one.
pub fn resolve(reference: &PlanReference, namespace: &str, stores: &Stores) -> Result<Offering, Unresolved> {
    let Some(class) = class_spelling(reference) else {
        return Err(Unresolved {
            reason: Reason::ReferencesNonexistentServiceClass,
            message: format!("spec names no class; set one of {}", CLASS_FIELDS.join(", ")),
        });
    };
    let (plan, of_namespace) = (plan_spelling(reference), Some(namespace));
    match class.scope() {
        ScopeKind::Cluster => resolve_in::<ClusterWide>(class, plan, None, &stores.cluster, || {
            is_there::<Namespaced>(class, of_namespace, &stores.namespaced)
        }),
        ScopeKind::Namespace => {
            resolve_in::<Namespaced>(class, plan, of_namespace, &stores.namespaced, || {
                is_there::<ClusterWide>(class, None, &stores.cluster)
            })
        }
    }
}

fn is_in(namespace: Option<&str>, object: &ObjectMeta) -> bool {
    namespace.is_none() || object.namespace.as_deref() == namespace
}

/// Whether a scope has a class of that name, whichever scope the name was meant for.
fn is_there<S: Scope>(class: Spelling<'_>, namespace: Option<&str>, stores: &ScopeStores<S>) -> bool {
    stores.classes.find(|object| is_in(namespace, object.meta()) && class.fits(object)).is_some()
}

/// What a plan that was recorded is now: it goes by the id at the broker, as its name in the catalog may have changed.
#[must_use]
pub fn recorded(
    record: &ResolvedOffering,
    plan_id: &str,
    namespace: &str,
    stores: &Stores,
) -> Option<Offering> {
    match record.scope {
        ScopeKind::Cluster => recorded_in(record, plan_id, None, &stores.cluster),
        ScopeKind::Namespace => recorded_in(record, plan_id, Some(namespace), &stores.namespaced),
    }
}

fn recorded_in<S: Scope>(
    record: &ResolvedOffering,
    plan_id: &str,
    namespace: Option<&str>,
    stores: &ScopeStores<S>,
) -> Option<Offering> {
    let class = stores.class(namespace, &record.class)?;
    // By its name it is found at once; the plan before or after a change is looked for.
    let named = stores.plan(namespace, &record.plan).filter(|plan| plan.external_id() == plan_id);
    let plan = named.or_else(|| {
        stores.plans.find(|plan| {
            plan.external_id() == plan_id
                && plan.class_name() == record.class
                && namespace.is_none_or(|namespace| plan.meta().namespace.as_deref() == Some(namespace))
        })
    })?;
    Some(offering(&*class, &*plan, namespace, stores))
}

fn resolve_in<S: Scope>(
    class: Spelling<'_>,
    plan: Option<Spelling<'_>>,
    namespace: Option<&str>,
    stores: &ScopeStores<S>,
    is_elsewhere: impl FnOnce() -> bool,
) -> Result<Offering, Unresolved> {
    let here = |object: &ObjectMeta| is_in(namespace, object);
    let classes = stores.classes.state_filter(|object| here(object.meta()) && class.fits(object));
    let class_object = match &classes[..] {
        [only] => only,
        found => return Err(no_single_class(class, found, is_elsewhere)),
    };
    let class_name = class_object.meta().name.clone().unwrap_or_default();
    let broker_name = class_object.broker_name();
    let mut plans = stores.plans.state_filter(|object| {
        here(object.meta())
            && object.class_name() == class_name
            && object.broker_name() == broker_name
            && plan.is_none_or(|plan| plan.fits(object))
    });
    if plan.is_none() {
        plans.retain(|object| !is_removed(&**object));
    }
    let plan_object = match &plans[..] {
        [only] => only,
        found => return Err(no_single_plan(class, plan, found)),
    };
    Ok(offering(&**class_object, &**plan_object, namespace, stores))
}

fn offering<S: Scope>(
    class: &S::Class,
    plan: &S::Plan,
    namespace: Option<&str>,
    stores: &ScopeStores<S>,
) -> Offering {
    let (of_class, of_plan) = (class.common(), plan.common());
    Offering {
        broker: BrokerKey::new(S::KIND, namespace, class.broker_name()),
        class: class.meta().name.clone().unwrap_or_default(),
        plan: plan.meta().name.clone().unwrap_or_default(),
        service_id: class.external_id().to_owned(),
        plan_id: plan.external_id().to_owned(),
        plan_name: plan.external_name().to_owned(),
        bindable: of_plan.bindable.unwrap_or(of_class.bindable),
        plan_updatable: of_plan.plan_updatable.unwrap_or(of_class.plan_updatable),
        maximum_polling_duration: of_plan.maximum_polling_duration,
        maintenance: of_plan.maintenance_info.clone(),
        instances_retrievable: of_class.instance_retrievable,
        bindings_retrievable: of_class.binding_retrievable,
        context_updatable: of_class.allow_context_updates,
        default_parameters: [
            of_class.default_provision_parameters.clone(),
            of_plan.default_provision_parameters.clone(),
        ],
        removed: match (is_removed(class), is_removed(plan)) {
            (true, _) => Some(Removed::Class),
            (false, true) => Some(Removed::Plan),
            (false, false) => None,
        },
        broker_state: match stores.broker(namespace, class.broker_name()) {
            None => BrokerState::Missing,
            Some(broker) if broker.meta().deletion_timestamp.is_some() => BrokerState::Leaving,
            Some(_) => BrokerState::Present,
        },
    }
}

fn is_removed<E: EntryObject>(entry: &E) -> bool {
    entry.status().is_some_and(|status| status.removed_from_broker_catalog)
}

/// The class of an instance cannot be changed, so it is no help to say which other one to take.
fn no_single_class<C: EntryObject>(
    class: Spelling<'_>,
    found: &[Arc<C>],
    is_elsewhere: impl FnOnce() -> bool,
) -> Unresolved {
    let (field, value) = (CLASS_FIELDS[class.field], class.value);
    let message = if !found.is_empty() {
        format!(
            "spec.{field}: {value:?} fits more than one class ({}); delete this ServiceInstance and create another that names one of them by {}",
            named(found, |object| object.meta().name.as_deref()),
            CLASS_FIELDS[class.field / 3 * 3 + 2]
        )
    } else if is_elsewhere() {
        let (here, there) = match class.scope() {
            ScopeKind::Cluster => ("the cluster", "this namespace"),
            ScopeKind::Namespace => ("this namespace", "the cluster"),
        };
        format!(
            "spec.{field}: {here} has no class {value:?} (yet), but {there} has; if that is the one, delete this ServiceInstance and create another with {}",
            CLASS_FIELDS[(class.field + 3) % 6]
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

/// What these objects are called. The cache has no order, and a status must not change with it.
fn named<E: EntryObject>(entries: &[Arc<E>], name: impl Fn(&E) -> Option<&str>) -> String {
    let mut names: Vec<&str> = entries.iter().filter_map(|entry| name(entry)).collect();
    names.sort_unstable();
    names.join(", ")
}

fn no_single_plan<P: EntryObject>(
    class: Spelling<'_>,
    plan: Option<Spelling<'_>>,
    found: &[Arc<P>],
) -> Unresolved {
    let plan_field = PLAN_FIELDS[plan.map_or(class.field, |plan| plan.field)];
    // As the field that is to be set would name them.
    let names = || {
        named(found, |object| match class.field % 3 {
            0 => Some(object.external_name()),
            1 => Some(object.external_id()),
            _ => object.meta().name.as_deref(),
        })
    };
    let message = match (plan, found.is_empty()) {
        (Some(plan), true) => format!(
            "spec.{plan_field}: the class {:?} has no plan {:?} (yet); see which it has with `kubectl get {}`",
            class.value,
            plan.value,
            match class.scope() {
                ScopeKind::Cluster => "clusterserviceplans",
                ScopeKind::Namespace => "serviceplans",
            }
        ),
        (Some(plan), false) => format!(
            "spec.{plan_field}: {:?} fits more than one plan of the class {:?}",
            plan.value, class.value
        ),
        (None, true) => format!("the class {:?} has no plans (yet)", class.value),
        (None, false) => {
            format!("the class {:?} has more than one plan ({}): set spec.{plan_field}", class.value, names())
        }
    };
    Unresolved { reason: Reason::ReferencesNonexistentServicePlan, message }
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
            (CLASS_FIELDS[spelling.field], spelling.scope(), spelling.value()),
            ("serviceClassExternalID", ScopeKind::Namespace, "x")
        );
        assert_eq!(shown_class(&reference), "ServiceClass/x");
        let reference = PlanReference {
            cluster_service_class_external_name: Some(String::new()),
            ..PlanReference::default()
        };
        assert_eq!(class_spelling(&reference), None);
    }
}
