//! Which broker, class and plan an instance or a binding names, and whether it may wait for one of them.
//! Pure.

use kube::core::ObjectMeta;

use super::cached::{Health, Standing};
use crate::crd::{
    Condition, ConditionType, ScopeKind, ServiceBinding, ServiceInstance,
    common::{LocalObjectReference, ResolvedOffering},
    condition::is_true,
    instance::PlanReference,
};

/// The objects that the references of an instance were resolved to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resolved<'a> {
    /// Whether they are cluster-wide.
    pub scope: ScopeKind,
    /// Name of the broker object. v0.3 did not record it.
    pub broker: Option<&'a str>,
    /// URL of the broker, if it is on record.
    pub broker_url: Option<&'a str>,
    /// Name of the class object.
    pub class: &'a str,
    /// Name of the plan object; empty where v0.3 recorded none.
    pub plan: &'a str,
}

impl<'a> From<&'a ResolvedOffering> for Resolved<'a> {
    fn from(record: &'a ResolvedOffering) -> Self {
        Self {
            scope: record.scope,
            broker: Some(&record.broker),
            broker_url: record.broker_url.as_deref(),
            class: &record.class,
            plan: &record.plan,
        }
    }
}

/// What an instance was resolved to: `status.resolved`, or the references in spec that v0.3 wrote, as long as
/// there is no record in status.
#[must_use]
pub fn resolved<'a>(instance: &'a ServiceInstance) -> Option<Resolved<'a>> {
    if let Some(record) = instance.status.as_ref().and_then(|status| status.resolved.as_ref()) {
        return Some(record.into());
    }
    let name = |reference: &'a Option<LocalObjectReference>| {
        reference.as_ref().map(|reference| &*reference.name).filter(|name| !name.is_empty())
    };
    let spec = &instance.spec;
    let of_cluster = (ScopeKind::Cluster, &spec.cluster_service_class_ref, &spec.cluster_service_plan_ref);
    let of_namespace = (ScopeKind::Namespace, &spec.service_class_ref, &spec.service_plan_ref);
    [of_cluster, of_namespace].into_iter().find_map(|(scope, class, plan)| {
        let (class, plan) = (name(class)?, name(plan).unwrap_or_default());
        Some(Resolved { scope, broker: None, broker_url: None, class, plan })
    })
}

/// The ids of the plans that the broker was last asked for and has last acknowledged.
pub fn plan_ids(instance: &ServiceInstance) -> impl Iterator<Item = &str> {
    let properties = instance
        .status
        .iter()
        .flat_map(|status| [&status.in_progress_properties, &status.external_properties])
        .flatten();
    properties.map(|properties| properties.plan_id().as_str()).filter(|id| !id.is_empty())
}

/// The class and the plan as a spec names them: by name or id in the catalog, or by the name of the object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NamedPlan<'a> {
    pub scope: ScopeKind,
    pub class: &'a str,
    /// `None`: the only plan of the class.
    pub plan: Option<&'a str>,
}

/// How a spec names its class and plan. `None` when it names no class.
pub(super) fn named_plan(reference: &PlanReference) -> Option<NamedPlan<'_>> {
    fn first<const N: usize>(fields: [&Option<String>; N]) -> Option<&str> {
        fields.into_iter().flatten().map(String::as_str).find(|value| !value.is_empty())
    }
    let of_cluster = first([
        &reference.cluster_service_class_external_name,
        &reference.cluster_service_class_external_id,
        &reference.cluster_service_class_name,
    ]);
    let of_namespace = first([
        &reference.service_class_external_name,
        &reference.service_class_external_id,
        &reference.service_class_name,
    ]);
    let plan = first([
        &reference.cluster_service_plan_external_name,
        &reference.cluster_service_plan_external_id,
        &reference.cluster_service_plan_name,
        &reference.service_plan_external_name,
        &reference.service_plan_external_id,
        &reference.service_plan_name,
    ]);
    let of_cluster = of_cluster.map(|class| NamedPlan { scope: ScopeKind::Cluster, class, plan });
    of_cluster.or(of_namespace.map(|class| NamedPlan { scope: ScopeKind::Namespace, class, plan }))
}

/// Whether an instance is *unsettled*, so that it may wait for another object: it is not Ready, is being
/// deleted, or has no record of its class and plan in its status. An instance of v0.3 is unsettled until this
/// operator has written that record.
#[must_use]
pub fn is_instance_unsettled(instance: &ServiceInstance) -> bool {
    let status = instance.status.as_ref();
    let conditions = status.map(|status| &status.conditions[..]).unwrap_or_default();
    is_unsettled(&instance.metadata, conditions, status.and_then(|status| status.resolved.as_ref()))
}

/// Whether a binding is *unsettled*: see [`is_instance_unsettled`].
#[must_use]
pub fn is_binding_unsettled(binding: &ServiceBinding) -> bool {
    let status = binding.status.as_ref();
    let conditions = status.map(|status| &status.conditions[..]).unwrap_or_default();
    let is_rotating = || {
        let rotation = status.and_then(|status| status.rotation.as_ref());
        rotation.is_some_and(|rotation| rotation.other().is_some())
    };
    is_unsettled(&binding.metadata, conditions, status.and_then(|status| status.resolved.as_ref()))
        || is_rotating()
}

/// How an instance stands.
pub(super) fn standing_of_instance(instance: &ServiceInstance) -> Standing {
    let conditions = instance.status.as_ref().map(|status| &status.conditions[..]).unwrap_or_default();
    Standing {
        unsettled: is_instance_unsettled(instance),
        health: health(&instance.metadata, conditions),
        ..Standing::default()
    }
}

/// How a binding stands.
pub(super) fn standing_of_binding(binding: &ServiceBinding) -> Standing {
    let status = binding.status.as_ref();
    let conditions = status.map(|status| &status.conditions[..]).unwrap_or_default();
    let expires_at = status.and_then(|status| status.expires_at.as_ref()).map(|time| time.0.as_second());
    let rotation = status.and_then(|status| status.rotation.as_ref());
    Standing {
        unsettled: is_binding_unsettled(binding),
        health: health(&binding.metadata, conditions),
        expires_at,
        is_renewing: rotation.is_some_and(|rotation| rotation.successor.is_some()),
    }
}

/// How an object with this metadata and these conditions stands.
#[must_use]
pub fn health(meta: &ObjectMeta, conditions: &[Condition]) -> Health {
    if meta.deletion_timestamp.is_some() {
        Health::Deleting
    } else if is_true(conditions, ConditionType::Failed) {
        Health::Failed
    } else if is_true(conditions, ConditionType::Ready) {
        Health::Ready
    } else {
        Health::NotReady
    }
}

fn is_unsettled(meta: &ObjectMeta, conditions: &[Condition], record: Option<&ResolvedOffering>) -> bool {
    meta.deletion_timestamp.is_some() || !is_true(conditions, ConditionType::Ready) || record.is_none()
}
