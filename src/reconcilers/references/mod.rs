//! What an instance's references mean: six spellings, two scopes, one value. Behind this nobody knows the scope.

mod messages;
pub mod pinned;
mod reference_field;

use std::sync::Arc;

use kube::Resource as _;

pub use messages::Unresolved;
use messages::{no_single_class, no_single_plan};
pub use reference_field::{ReferenceField, class_spelling, plan_spelling, shown_class};

use super::reason::Reason;
use crate::{
    caches::{Caches, ScopeCaches},
    crd::common::BrokerKey,
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind,
        common::ResolvedOffering,
        instance::{CLASS_FIELDS, PlanReference},
        scope::CatalogObject,
    },
    json::RawObject,
    osb::{PlanId, ServiceId, wire::MaintenanceInfo},
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
    pub service_id: ServiceId,
    /// Id of the plan at the broker.
    pub plan_id: PlanId,
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

/// Resolves what a spec names, in the caches.
///
/// # Errors
/// The class or plan does not exist (yet), or the name fits more than one.
pub fn resolve(reference: &PlanReference, namespace: &str, stores: &Caches) -> Result<Offering, Unresolved> {
    let Some(class) = class_spelling(reference) else {
        return Err(Unresolved {
            reason: Reason::ReferencesNonexistentServiceClass,
            message: format!("spec names no class; set one of {}", CLASS_FIELDS.join(", ")),
        });
    };
    let (plan, of_namespace) = (plan_spelling(reference), Some(namespace));
    match class.scope() {
        ScopeKind::Cluster => resolve_in::<ClusterWide>(class, plan, None, &stores.cluster, || {
            !class.classes(of_namespace, &stores.namespaced).is_empty()
        }),
        ScopeKind::Namespace => {
            resolve_in::<Namespaced>(class, plan, of_namespace, &stores.namespaced, || {
                !class.classes(None, &stores.cluster).is_empty()
            })
        }
    }
}

/// What a plan that was recorded is now: it goes by the id at the broker, as its name in the catalog may have changed.
#[must_use]
pub fn recorded(
    record: &ResolvedOffering,
    plan_id: &PlanId,
    namespace: &str,
    stores: &Caches,
) -> Option<Offering> {
    match record.scope {
        ScopeKind::Cluster => recorded_in(record, plan_id, None, &stores.cluster),
        ScopeKind::Namespace => recorded_in(record, plan_id, Some(namespace), &stores.namespaced),
    }
}

fn recorded_in<S: Scope>(
    record: &ResolvedOffering,
    plan_id: &PlanId,
    namespace: Option<&str>,
    stores: &ScopeCaches<S>,
) -> Option<Offering> {
    let class = stores.class(namespace, &record.class)?;
    // The object that is on record counts first; the plan before or after a change is another one.
    let named = stores.plan(namespace, &record.plan).filter(|plan| plan.common().external_id == *plan_id);
    let plan =
        named.or_else(|| stores.plans_by_external_id(namespace, &record.class, plan_id.as_str()).pop())?;
    Some(offering(&*class, &*plan, namespace, stores))
}

fn resolve_in<S: Scope>(
    class: ReferenceField<'_>,
    plan: Option<ReferenceField<'_>>,
    namespace: Option<&str>,
    stores: &ScopeCaches<S>,
    is_elsewhere: impl FnOnce() -> bool,
) -> Result<Offering, Unresolved> {
    let mut classes = class.classes(namespace, stores);
    prefer_offered(&mut classes);
    let class_object = match &classes[..] {
        [only] => only,
        found => return Err(no_single_class(class, found, is_elsewhere)),
    };
    let class_name = class_object.meta().name.clone().unwrap_or_default();
    let broker_name = class_object.broker_name();
    let mut plans = match plan {
        Some(plan) => plan.plans(namespace, &class_name, stores),
        None => stores.plans_of_class(namespace, &class_name),
    };
    plans.retain(|object| object.broker_name() == broker_name);
    if plan.is_none() {
        plans.retain(|object| !object.is_removed());
    }
    prefer_offered(&mut plans);
    let plan_object = match &plans[..] {
        [only] => only,
        found => return Err(no_single_plan(class, plan, found)),
    };
    Ok(offering(&**class_object, &**plan_object, namespace, stores))
}

/// Of entries that fit alike, those that the catalog still has: what has left it stays for the instances that have it, which
/// go by what they were ordered from.
fn prefer_offered<E: CatalogObject>(found: &mut Vec<Arc<E>>) {
    if found.iter().any(|entry| !entry.is_removed()) {
        found.retain(|entry| !entry.is_removed());
    }
}

fn offering<S: Scope>(
    class: &S::Class,
    plan: &S::Plan,
    namespace: Option<&str>,
    stores: &ScopeCaches<S>,
) -> Offering {
    let (of_class, of_plan) = (class.common(), plan.common());
    Offering {
        broker: BrokerKey::new(S::KIND, namespace, class.broker_name()),
        class: class.meta().name.clone().unwrap_or_default(),
        plan: plan.meta().name.clone().unwrap_or_default(),
        service_id: of_class.external_id.clone(),
        plan_id: of_plan.external_id.clone(),
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
        removed: match (class.is_removed(), plan.is_removed()) {
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
