//! Classes and plans: an entry that has left the catalog goes once no instance holds on to it, and every entry has the
//! labels that clients look it up by (original, "Classes and plans").
//!
//! What a broker offers is written by the broker's own machine ([`super::broker`]). Here is what remains to be done for
//! single entries, user-made ones included: no finalizer, no request to a broker, no status.

pub mod labels;
pub mod usage;

use std::{convert::Infallible, marker::PhantomData, sync::Arc};

use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, json};

use super::{
    error::Error,
    machine::{Absorbed, Admitted, Machine, Observed, Step, Wait},
    write::{Refused, Target, Write},
};
use crate::{
    brokers::Lane,
    context::Context,
    crd::{
        Condition, EntryStatus, Scope,
        scope::{EntryObject, PlanObject as _},
    },
    stores::Watched,
};

/// The machine of classes.
pub type ClassMachine<S> = EntryMachine<S, Classes>;

/// The machine of plans.
pub type PlanMachine<S> = EntryMachine<S, Plans>;

/// The machine of one of the two kinds of entry.
pub struct EntryMachine<S, E>(PhantomData<(S, E)>);

/// What tells the two kinds of entry apart.
pub trait Entries<S: Scope>: Send + Sync + 'static {
    /// The class or the plan.
    type Object: EntryObject;
    /// Whether an instance holds on to an entry of this kind, which is of its scope.
    fn is_held(entry: &Self::Object, held: &usage::Held<'_>) -> bool;
}

/// `ClusterServiceClass` and `ServiceClass`.
pub struct Classes;

/// `ClusterServicePlan` and `ServicePlan`.
pub struct Plans;

impl<S: Scope> Entries<S> for Classes {
    type Object = S::Class;

    fn is_held(class: &S::Class, held: &usage::Held<'_>) -> bool {
        class.name_any() == held.class
    }
}

impl<S: Scope> Entries<S> for Plans {
    type Object = S::Plan;

    fn is_held(plan: &S::Plan, held: &usage::Held<'_>) -> bool {
        plan.name_any() == held.plan
            || (plan.class_name() == held.class && plan.external_id() == held.present_plan)
    }
}

/// What else there is to know of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Uid of the broker object that the entry names, if that exists.
    pub broker_uid: Option<String>,
    /// Whether an instance holds on to the entry. Not looked at while the entry is in the catalog.
    pub in_use: bool,
}

impl<S: Watched, E: Entries<S>> Machine for EntryMachine<S, E> {
    type Object = E::Object;
    type Status = EntryStatus;
    type World = World;
    type Call = Infallible;
    type Outcome = Infallible;

    async fn observe(object: &Arc<E::Object>, context: &Context) -> Result<World, Error> {
        let namespace = object.namespace();
        let stores = &context.stores;
        let broker = S::stores(stores).broker(namespace.as_deref(), object.broker_name());
        let holds = |instance: &crate::crd::ServiceInstance| {
            (namespace.is_none() || instance.meta().namespace == namespace)
                && usage::held(instance)
                    .is_some_and(|held| held.scope == S::KIND && E::is_held(object, &held))
        };
        let in_use = object.is_removed() && stores.instances.find(holds).is_some();
        Ok(World { broker_uid: broker.and_then(|broker| broker.meta().uid.clone()), in_use })
    }

    fn plan(observed: &Observed<Self>) -> Step<Self> {
        plan(&*observed.object, &observed.world)
            .map_or(Step::Wait(Wait::ForChange), |write| Step::Write(vec![write]))
    }

    fn needs_fence(call: &Infallible) -> bool {
        match *call {}
    }

    fn lane(call: &Infallible) -> Lane {
        match *call {}
    }

    async fn call(call: &Admitted<Infallible>, _: &Context) -> Infallible {
        match *call.get() {}
    }

    fn absorb(_: &Observed<Self>, call: &Infallible, _: Infallible) -> Absorbed<Self> {
        match *call {}
    }

    /// Never asked for: there are no answers.
    fn absorb_refused_write(observed: &Observed<Self>, _: &Refused) -> EntryStatus {
        observed.status()
    }

    fn conditions(_: &EntryStatus) -> &[Condition] {
        &[]
    }
}

/// What to change, if anything. Only what belongs to the broker is deleted, and only as it was seen: a catalog that
/// brings the entry back changes it, and then it stays.
fn plan<E: EntryObject>(entry: &E, world: &World) -> Option<Write> {
    if entry.meta().deletion_timestamp.is_some() {
        return None;
    }
    let is_ours = world.broker_uid.as_deref().is_some_and(|uid| super::write::is_owned(entry.meta(), uid));
    if entry.is_removed() && is_ours && !world.in_use {
        return Some(Write::delete_as_seen(entry));
    }
    let wrong = labels::wrong(entry);
    let meta = entry.meta();
    (!wrong.is_empty()).then(|| {
        let metadata = json!({ "labels": wrong, "uid": meta.uid, "resourceVersion": meta.resource_version });
        Write::Patch(Target::of(entry), Map::from_iter([("metadata".to_owned(), metadata)]).into())
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

    use super::*;
    use crate::crd::{
        Namespaced, ScopeKind, ServiceClass, ServicePlan, class::CommonServiceClassSpec,
        plan::CommonServicePlanSpec, scope::ClassObject as _,
    };

    fn class(removed: bool, owner: Option<&str>) -> ServiceClass {
        let common = CommonServiceClassSpec { external_id: "i".into(), ..CommonServiceClassSpec::default() };
        let mut class = labels::labelled(ServiceClass::build("c", "b", common));
        class.metadata.uid = Some("class-uid".into());
        class.metadata.resource_version = Some("7".into());
        class.metadata.owner_references = owner.map(|uid| {
            vec![OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() }]
        });
        class.status = Some(EntryStatus { removed_from_broker_catalog: removed });
        class
    }

    fn world(in_use: bool) -> World {
        World { broker_uid: Some("broker-uid".into()), in_use }
    }

    #[test]
    fn an_entry_that_has_left_the_catalog_goes_with_its_last_instance() {
        let removed = class(true, Some("broker-uid"));
        assert!(plan(&removed, &world(true)).is_none());
        let Some(Write::Delete(_, preconditions)) = plan(&removed, &world(false)) else {
            panic!("no deletion")
        };
        assert_eq!(preconditions.uid.as_deref(), Some("class-uid"));
        assert_eq!(preconditions.resource_version.as_deref(), Some("7"));
        assert!(plan(&class(false, Some("broker-uid")), &world(false)).is_none());
    }

    #[test]
    fn a_plan_is_held_by_its_name_and_by_its_id_within_its_class() {
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
        let is_held = |held| <Plans as Entries<Namespaced>>::is_held(&plan, &held);
        assert!(is_held(held("small", "large-id", "c")) && is_held(held("large", "small-id", "c")));
        assert!(!is_held(held("large", "large-id", "c")) && !is_held(held("large", "small-id", "other")));
    }

    #[test]
    fn what_is_not_the_brokers_is_never_deleted() {
        assert!(plan(&class(true, None), &world(false)).is_none());
        assert!(plan(&class(true, Some("another-uid")), &world(false)).is_none());
        let nobody = World { broker_uid: None, in_use: false };
        assert!(plan(&class(true, Some("broker-uid")), &nobody).is_none());
    }

    #[test]
    fn missing_labels_are_added_and_only_those() {
        let mut unlabelled = class(false, None);
        if let Some(labels) = unlabelled.metadata.labels.as_mut() {
            labels.remove("servicecatalog.k8s.io/spec.externalID");
        }
        let Some(Write::Patch(_, patch)) = plan(&unlabelled, &world(false)) else { panic!("no patch") };
        let patch = patch.parse().unwrap();
        let labels = patch["metadata"]["labels"].as_object().unwrap();
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["servicecatalog.k8s.io/spec.externalID"]);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        unlabelled.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(plan(&unlabelled, &world(false)).is_none());
    }
}
