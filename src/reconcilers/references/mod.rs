//! To which class and plan do the references of an instance resolve? There are six fields and two scopes. The
//! result is one [`Offering`], and its users need not know the scope.

mod messages;
pub mod pinned;
mod reference_field;
pub mod replaced;

use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};

pub use messages::Unresolved;
use messages::{no_single_class, no_single_plan};
pub use reference_field::{ReferenceField, class_as_specified, class_reference_field, plan_reference_field};

use super::{parameters::schema, reason::Reason};
use crate::{
    caches::{Caches, ScopeCaches},
    crd::common::BrokerKey,
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind,
        common::ResolvedOffering,
        instance::{CLASS_FIELDS, PlanReference},
        plan::CommonServicePlanSpec,
        scope::{BrokerObject as _, CatalogObject, Object as _},
    },
    json::RawObject,
    osb::{PlanId, ServiceId, endpoint::bare_url, wire::MaintenanceInfo},
};

/// A class and a plan of a broker, as the catalog has them now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of the catalog")]
pub struct Offering {
    /// The broker that offers it.
    pub broker: BrokerKey,
    /// The URL of the broker, without credentials. `None` if its object does not exist, or has no valid URL.
    pub broker_url: Option<String>,
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
    /// Whether instances of this plan can be bound to. The value of the plan counts before that of the class.
    pub bindable: bool,
    /// Whether the broker can rotate bindings of this plan (`binding_rotatable`).
    pub rotatable: bool,
    /// Whether instances of this plan can change to another plan. The value of the plan counts before that of
    /// the class.
    pub plan_updatable: bool,
    /// The longest time of an asynchronous operation, in seconds, if the plan has one.
    pub maximum_polling_duration: Option<i64>,
    /// The maintenance information of the plan, if it has any.
    pub maintenance: Option<MaintenanceInfo>,
    /// Whether instances can be fetched (`instances_retrievable`).
    pub instances_retrievable: bool,
    /// Whether bindings can be fetched (`bindings_retrievable`).
    pub bindings_retrievable: bool,
    /// Whether the broker accepts updates of the context (`allow_context_updates`).
    pub context_updatable: bool,
    /// The default parameters of the class and of the plan. Those of the plan count before those of the
    /// class.
    pub default_parameters: [Option<RawObject>; 2],
    /// The schemas that parameters are checked against.
    pub schemas: ParameterSchemas,
    /// What the broker has removed from its catalog, if anything.
    pub removed: Option<Removed>,
    /// The state of the broker object.
    pub broker_state: BrokerState,
}

/// The schemas of a plan that parameters are checked against. There are none if the broker object says so
/// ([`schema::ANNOTATION`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSchemas {
    /// For a provision.
    pub provision: Option<RawObject>,
    /// For an update.
    pub update: Option<RawObject>,
    /// For a bind.
    pub bind: Option<RawObject>,
}

impl ParameterSchemas {
    fn of(plan: &CommonServicePlanSpec) -> Self {
        Self {
            provision: plan.instance_create_parameter_schema.clone(),
            update: plan.instance_update_parameter_schema.clone(),
            bind: plan.service_binding_create_parameter_schema.clone(),
        }
    }
}

/// What the broker has removed from its catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The class, with or without the plan.
    Class,
    /// Only the plan.
    Plan,
}

/// Whether a broker object exists and can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// The object exists.
    Present,
    /// The object is being deleted. Existing instances can be deleted, but no new one can be provisioned.
    BeingDeleted,
    /// The object does not exist.
    Missing,
}

impl Offering {
    /// The part that later requests need, as the status records it.
    #[must_use]
    pub fn to_record(&self) -> ResolvedOffering {
        ResolvedOffering {
            scope: self.broker.scope,
            broker: self.broker.name.clone(),
            broker_url: self.broker_url.clone(),
            class: self.class.clone(),
            plan: self.plan.clone(),
            service_id: self.service_id.clone(),
            plan_id: self.plan_id.clone(),
        }
    }
}

/// The broker of a recorded offering, for an object of this namespace.
#[must_use]
pub fn recorded_broker(record: &ResolvedOffering, namespace: &str) -> BrokerKey {
    BrokerKey::new(record.scope, Some(namespace), &record.broker)
}

/// Resolves the references of a spec in the caches.
///
/// # Errors
/// The class or plan does not exist (yet), or the name fits more than one.
pub fn resolve(reference: &PlanReference, namespace: &str, caches: &Caches) -> Result<Offering, Unresolved> {
    let Some(class) = class_reference_field(reference) else {
        return Err(Unresolved {
            reason: Reason::ReferencesNonexistentServiceClass,
            message: format!("spec names no class; set one of {}", CLASS_FIELDS.join(", ")),
        });
    };
    let (plan, of_namespace) = (plan_reference_field(reference), Some(namespace));
    match class.scope() {
        ScopeKind::Cluster => resolve_in::<ClusterWide>(class, plan, None, &caches.cluster, || {
            !class.classes(of_namespace, &caches.namespaced).is_empty()
        }),
        ScopeKind::Namespace => {
            resolve_in::<Namespaced>(class, plan, of_namespace, &caches.namespaced, || {
                !class.classes(None, &caches.cluster).is_empty()
            })
        }
    }
}

/// The current state of a recorded plan. It is found by its id at the broker, as its name in the catalog may
/// have changed.
#[must_use]
pub fn resolve_recorded(
    record: &ResolvedOffering,
    plan_id: &PlanId,
    namespace: &str,
    caches: &Caches,
) -> Option<Offering> {
    match record.scope {
        ScopeKind::Cluster => resolve_recorded_in(record, plan_id, None, &caches.cluster),
        ScopeKind::Namespace => resolve_recorded_in(record, plan_id, Some(namespace), &caches.namespaced),
    }
}

fn resolve_recorded_in<S: Scope>(
    record: &ResolvedOffering,
    plan_id: &PlanId,
    namespace: Option<&str>,
    caches: &ScopeCaches<S>,
) -> Option<Offering> {
    let class = caches.class(namespace, &record.class).filter(|class| class.defects().is_none())?;
    // The recorded object counts first. Before or after a change of the plan, the plan is another object.
    let named = caches.plan(namespace, &record.plan).filter(|plan| plan.common().external_id == *plan_id);
    let plan =
        named.or_else(|| caches.plans_by_external_id(namespace, &record.class, plan_id.as_str()).pop());
    let plan = plan.filter(|plan| plan.defects().is_none())?;
    Some(offering(&*class, &*plan, namespace, caches))
}

fn resolve_in<S: Scope>(
    class: ReferenceField<'_>,
    plan: Option<ReferenceField<'_>>,
    namespace: Option<&str>,
    caches: &ScopeCaches<S>,
    exists_in_other_scope: impl FnOnce() -> bool,
) -> Result<Offering, Unresolved> {
    let mut classes = class.classes(namespace, caches);
    prefer_offered(&mut classes);
    let class_object = match &classes[..] {
        [only] => only,
        found => return Err(no_single_class(class, found, exists_in_other_scope)),
    };
    let class_name = class_object.meta().name.clone().unwrap_or_default();
    let broker_name = class_object.broker_name();
    let mut plans = match plan {
        Some(plan) => plan.plans(namespace, &class_name, caches),
        None => caches.plans_of_class(namespace, &class_name),
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
    check_readable(&**class_object, Reason::ReferencesNonexistentServiceClass)?;
    check_readable(&**plan_object, Reason::ReferencesNonexistentServicePlan)?;
    Ok(offering(&**class_object, &**plan_object, namespace, caches))
}

/// Nothing is ordered by a class or plan that can be read only in part.
fn check_readable<E: CatalogObject>(entry: &E, reason: Reason) -> Result<(), Unresolved> {
    let Some(defects) = entry.defects() else { return Ok(()) };
    let (kind, name) = (E::kind(&()), entry.name_any());
    let message = format!(
        "the operator cannot read the {kind} {name}: {defects}; correct it, or delete it, and the next fetch of the catalog creates it anew"
    );
    Err(Unresolved { reason, message })
}

/// Keeps only the entries that the catalog still has, if there are any. Removed entries stay in the cluster
/// for the instances that use them, and those instances resolve by the recorded offering.
fn prefer_offered<E: CatalogObject>(found: &mut Vec<Arc<E>>) {
    if found.iter().any(|entry| !entry.is_removed()) {
        found.retain(|entry| !entry.is_removed());
    }
}

fn offering<S: Scope>(
    class: &S::Class,
    plan: &S::Plan,
    namespace: Option<&str>,
    caches: &ScopeCaches<S>,
) -> Offering {
    let (of_class, of_plan) = (class.common(), plan.common());
    let broker = caches.broker(namespace, class.broker_name());
    Offering {
        broker: BrokerKey::new(S::KIND, namespace, class.broker_name()),
        broker_url: broker.as_ref().and_then(|broker| bare_url(&broker.common().url)),
        class: class.meta().name.clone().unwrap_or_default(),
        plan: plan.meta().name.clone().unwrap_or_default(),
        service_id: of_class.external_id.clone(),
        plan_id: of_plan.external_id.clone(),
        plan_name: plan.external_name().to_owned(),
        bindable: of_plan.bindable.unwrap_or(of_class.bindable),
        rotatable: of_plan.binding_rotatable,
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
        schemas: match &broker {
            Some(broker) if schema::is_checked(broker.annotations()) => ParameterSchemas::of(of_plan),
            _ => ParameterSchemas::default(),
        },
        removed: match (class.is_removed(), plan.is_removed()) {
            (true, _) => Some(Removed::Class),
            (false, true) => Some(Removed::Plan),
            (false, false) => None,
        },
        broker_state: match broker {
            None => BrokerState::Missing,
            Some(broker) if broker.meta().deletion_timestamp.is_some() => BrokerState::BeingDeleted,
            Some(_) => BrokerState::Present,
        },
    }
}
