//! Classes and plans ("catalog objects"). An object that has left the catalog is deleted when no instance
//! uses it any more. Every object gets the labels by which clients look it up.
//!
//! The reconciler of brokers ([`super::broker`]) writes these objects from the catalog. This module does the
//! rest for a single object, also for one that a user has created. It needs no finalizer, no request to a
//! broker and no status.
//!
//! * [`labels`]: the labels. [`usage`]: which objects an instance uses.

pub mod labels;
pub mod usage;

use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, json};

use super::{
    action::Action,
    context::Context,
    error::ReconcileError,
    runner::{Fresh, SAFETY_INTERVAL, fresh, traced},
    writes::{RejectedWrite, Write, WriteTarget},
};
use crate::{
    caches::{Caches, Watched, cached::Cached, queue::Slot},
    crd::{
        Scope, ServiceInstance,
        scope::{CatalogObject, PlanObject as _},
    },
    kube_api::owner::is_owned,
};

/// The difference between classes and plans.
pub trait CatalogKind<S: Scope>: Send + Sync + 'static {
    /// The class or the plan.
    type Object: CatalogObject;
    /// The instances that may use an object of this kind.
    fn users(object: &Self::Object, caches: &Caches) -> Vec<Cached<ServiceInstance>>;
    /// Whether an instance of the same scope uses an object of this kind.
    fn is_held(object: &Self::Object, held: &usage::Held<'_>) -> bool;
}

/// `ClusterServiceClass` and `ServiceClass`.
pub struct Classes;

/// `ClusterServicePlan` and `ServicePlan`.
pub struct Plans;

impl<S: Scope> CatalogKind<S> for Classes {
    type Object = S::Class;

    fn users(class: &S::Class, caches: &Caches) -> Vec<Cached<ServiceInstance>> {
        caches.instances_of_class(class.namespace().as_deref(), &class.name_any())
    }

    fn is_held(class: &S::Class, held: &usage::Held<'_>) -> bool {
        class.name_any() == held.class
    }
}

impl<S: Scope> CatalogKind<S> for Plans {
    type Object = S::Plan;

    fn users(plan: &S::Plan, caches: &Caches) -> Vec<Cached<ServiceInstance>> {
        let (namespace, name) = (plan.namespace(), plan.name_any());
        let (place, class, id) = (namespace.as_deref(), plan.class_name(), plan.external_id());
        let mut users = caches.instances_of_plan(place, &name);
        users.extend(caches.instances_of_plan_in_class(place, class, id));
        users
    }

    fn is_held(plan: &S::Plan, held: &usage::Held<'_>) -> bool {
        plan.name_any() == held.plan
            || (plan.class_name() == held.class && plan.external_id() == held.present_plan)
    }
}

/// State outside a class or plan that decides what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// Uid of the broker object that it names, if that exists.
    pub broker_uid: Option<String>,
    /// Whether an instance uses it. This is always false while the object is in the catalog.
    pub in_use: bool,
}

/// Reconciles a class or a plan.
///
/// # Errors
/// The API server did not answer, or rejects the write.
pub async fn reconcile<S: Watched, E: CatalogKind<S>>(
    object: Cached<E::Object>,
    context: Arc<Context>,
    _slot: Slot,
) -> Result<Action, ReconcileError> {
    traced(&object, &context, async {
        let object = match fresh(object.read(), &context).await? {
            Fresh::Object(object) => object,
            Fresh::Wait(action) => return Ok(action),
        };
        if let Some(write) = plan(&*object, &observe::<S, E>(&object, &context))
            && let Some(RejectedWrite { message }) = write.perform(&context).await?
        {
            return Err(ReconcileError::Rejected { message });
        }
        Ok(Action::requeue(SAFETY_INTERVAL))
    })
    .await
}

fn observe<S: Watched, E: CatalogKind<S>>(object: &E::Object, context: &Context) -> Dependencies {
    let namespace = object.namespace();
    let caches = &context.caches;
    let broker = S::stores(caches).broker(namespace.as_deref(), object.broker_name());
    let in_use = object.is_removed() && is_in_use::<S, E>(object, caches);
    Dependencies { broker_uid: broker.and_then(|broker| broker.meta().uid.clone()), in_use }
}

/// Whether an instance uses a class or plan.
fn is_in_use<S: Scope, E: CatalogKind<S>>(object: &E::Object, caches: &Caches) -> bool {
    let holds = |instance: &Cached<ServiceInstance>| {
        usage::held(&instance.read()).is_some_and(|held| held.scope == S::KIND && E::is_held(object, &held))
    };
    E::users(object, caches).iter().any(holds)
}

/// What to change, if anything. Only an object that the broker owns is deleted, and only the version that was
/// read: if a new catalog has the entry again, it has changed the object, and the deletion fails.
fn plan<E: CatalogObject>(entry: &E, dependencies: &Dependencies) -> Option<Write> {
    if entry.meta().deletion_timestamp.is_some() {
        return None;
    }
    let is_ours = dependencies.broker_uid.as_deref().is_some_and(|uid| is_owned(entry.meta(), uid));
    if entry.is_removed() && is_ours && !dependencies.in_use {
        return Some(Write::delete_if_unchanged(entry));
    }
    if entry.defects().is_some() {
        // The labels would say something wrong. The next fetch of the catalog writes the object anew.
        return None;
    }
    let wrong = labels::missing_or_wrong(entry);
    let meta = entry.meta();
    (!wrong.is_empty()).then(|| {
        let metadata = json!({ "labels": wrong, "uid": meta.uid, "resourceVersion": meta.resource_version });
        Write::Patch(WriteTarget::of(entry), Map::from_iter([("metadata".to_owned(), metadata)]).into())
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::crd::CatalogObjectStatus;
    use crate::crd::{
        Namespaced, ScopeKind, ServiceClass, ServiceInstanceSpec, ServiceInstanceStatus, ServicePlan,
        class::CommonServiceClassSpec, common::ResolvedOffering, instance::InstanceProperties,
        plan::CommonServicePlanSpec, progress::DeletionStatus, scope::ClassObject as _,
    };

    fn class(removed: bool, owner: Option<&str>) -> ServiceClass {
        let common = CommonServiceClassSpec { external_id: "i".into(), ..CommonServiceClassSpec::default() };
        let mut class = labels::labelled(ServiceClass::build("c", "b", common));
        class.metadata.uid = Some("class-uid".into());
        class.metadata.resource_version = Some("7".into());
        class.metadata.owner_references = owner.map(|uid| {
            vec![OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() }]
        });
        class.status = Some(CatalogObjectStatus { removed_from_broker_catalog: removed });
        class
    }

    fn dependencies(in_use: bool) -> Dependencies {
        Dependencies { broker_uid: Some("broker-uid".into()), in_use }
    }

    // v0.3 G8
    #[test]
    fn an_object_that_has_left_the_catalog_is_deleted_when_no_instance_uses_it() {
        let removed = class(true, Some("broker-uid"));
        assert!(plan(&removed, &dependencies(true)).is_none());
        let Some(Write::Delete(_, preconditions)) = plan(&removed, &dependencies(false)) else {
            panic!("no deletion")
        };
        assert_eq!(preconditions.uid.as_deref(), Some("class-uid"));
        assert_eq!(preconditions.resource_version.as_deref(), Some("7"));
        assert!(plan(&class(false, Some("broker-uid")), &dependencies(false)).is_none());
    }

    #[test]
    fn an_instance_uses_a_plan_by_its_name_or_by_its_id_within_its_class() {
        let common = CommonServicePlanSpec { external_id: "small-id".into(), ..Default::default() };
        let plan = ServicePlan::build("small", "b", "c", common);
        let held = |plan, present_plan, class| usage::Held {
            scope: ScopeKind::Namespace,
            broker: Some("b"),
            class,
            plan,
            present_plan,
            at_broker: true,
        };
        let is_held = |held| <Plans as CatalogKind<Namespaced>>::is_held(&plan, &held);
        assert!(is_held(held("small", "large-id", "c")) && is_held(held("large", "small-id", "c")));
        assert!(!is_held(held("large", "large-id", "c")) && !is_held(held("large", "small-id", "other")));
    }

    #[test]
    fn a_class_and_a_plan_are_in_use_while_an_instance_of_their_namespace_uses_them() {
        let plan = |name: &str, id: &str| {
            let common = CommonServicePlanSpec { external_id: id.into(), ..Default::default() };
            let mut plan = ServicePlan::build(name, "b", "c", common);
            plan.metadata.namespace = Some("ns".into());
            plan
        };
        let mut class = class(true, None);
        class.metadata.namespace = Some("ns".into());
        let in_use = |status: ServiceInstanceStatus, namespace: &str| {
            let mut instance = ServiceInstance::new("i", ServiceInstanceSpec::default());
            instance.metadata.namespace = Some(namespace.into());
            instance.status = Some(status);
            let caches = Caches::new(false);
            caches.instances.apply(&Event::Apply(instance));
            let plans = [plan("small", "small-id"), plan("large", "large-id"), plan("other", "other-id")];
            let of_plans = plans.map(|plan| is_in_use::<Namespaced, Plans>(&plan, &caches));
            (is_in_use::<Namespaced, Classes>(&class, &caches), of_plans)
        };
        // It has the plan `small`, and the broker was last asked for `large`.
        let moving = ServiceInstanceStatus {
            resolved: Some(ResolvedOffering {
                scope: ScopeKind::Namespace,
                broker: "b".into(),
                broker_url: None,
                class: "c".into(),
                plan: "large".into(),
                service_id: "".into(),
                plan_id: "large-id".into(),
            }),
            external_properties: Some(InstanceProperties {
                service_plan_external_id: "small-id".into(),
                ..InstanceProperties::default()
            }),
            ..ServiceInstanceStatus::default()
        };
        assert_eq!(in_use(moving.clone(), "ns"), (true, [true, true, false]));
        assert_eq!(in_use(moving.clone(), "other"), (false, [false; 3]));
        let gone = ServiceInstanceStatus { deprovision_status: DeletionStatus::Succeeded, ..moving };
        assert_eq!(in_use(gone, "ns"), (false, [false; 3]));
    }

    #[test]
    fn an_object_that_the_broker_does_not_own_is_never_deleted() {
        assert!(plan(&class(true, None), &dependencies(false)).is_none());
        assert!(plan(&class(true, Some("another-uid")), &dependencies(false)).is_none());
        let nobody = Dependencies { broker_uid: None, in_use: false };
        assert!(plan(&class(true, Some("broker-uid")), &nobody).is_none());
    }

    #[test]
    fn missing_labels_are_added_and_only_those() {
        let mut unlabelled = class(false, None);
        if let Some(labels) = unlabelled.metadata.labels.as_mut() {
            labels.remove("servicecatalog.k8s.io/spec.externalID");
        }
        let Some(Write::Patch(_, patch)) = plan(&unlabelled, &dependencies(false)) else {
            panic!("no patch")
        };
        let patch = patch.parse().unwrap();
        let labels = patch["metadata"]["labels"].as_object().unwrap();
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["servicecatalog.k8s.io/spec.externalID"]);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        unlabelled.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(plan(&unlabelled, &dependencies(false)).is_none());
    }
}
