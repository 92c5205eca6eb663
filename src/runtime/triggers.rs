//! Which objects look again when one changes: the object itself, and those that wait for it. Pure.
//!
//! A look that finds nothing to do writes nothing, so one too many is harmless. A missing one would be a wait
//! without end. Each function covers both versions of the changed object, because what named the old one may
//! wait too. It reads the caches as they are after the change. The table in `tests` lists every dependency.
//!
//! An object is *settled* when it is Ready and on record, and is not being deleted. A settled object looks
//! again only when something changes that it holds.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Resource, ResourceExt as _, core::PartialObjectMeta};

use crate::{
    caches::{
        Caches, Watched,
        kind::Change,
        named::{Resolved, is_binding_unsettled, is_instance_unsettled, plan_ids, resolved},
        object_key::{
            ObjectKey,
            ObjectKind::{self, Binding, Broker, Class, Instance, Plan},
        },
    },
    crd::{
        ClusterWide, ConditionType, Namespaced, ScopeKind, ServiceBinding, ServiceInstance,
        common::BrokerKey,
        condition::is_true,
        scope::{BrokerObject, CatalogObject, PlanObject as _},
    },
};

/// A broker has changed. Instances and bindings wait for it to come, to come back, or to become usable. When
/// it is new, all its instances look, because a settled one may have had something to say to it. Its classes
/// and plans that have left the catalog need it to be deleted.
#[must_use]
pub fn broker<S: Watched>(change: &Change<S::Broker>, caches: &Caches) -> Vec<ObjectKey> {
    let mut interested = own(Broker, change);
    let Some(broker) = change.versions().last().filter(|_| concerns_others(change)) else {
        return interested;
    };
    let (namespace, name) = (broker.namespace(), broker.name_any());
    let (place, scope) = (namespace.as_deref(), S::stores(caches));
    let key = BrokerKey::new(S::KIND, place, &name);
    let classes = scope.classes_of_broker(place, &name);
    let is_new = change.came().is_some();
    if is_new {
        interested.extend(removed(Class, &classes));
        interested.extend(removed(Plan, &scope.plans_of_broker(place, &name)));
    }
    let mut instances = caches.instances_of_broker(&key);
    // Those that have no broker on record name one of its classes.
    for word in classes.iter().flat_map(|class| words_for(&**class)).collect::<BTreeSet<_>>() {
        instances.extend(caches.unsettled_instances_of_class(place, word));
    }
    interested.extend(instances_and_bindings(&instances, caches, |_| is_new));
    interested.extend(keys(Binding, &caches.unsettled_bindings_of_broker(&key)));
    interested
}

/// Whether something has changed that other objects read of a broker: whether it exists, how to reach it, and
/// whether it answers. Most changes are the time of the last catalog, or the text of another failure.
fn concerns_others<B: BrokerObject>(change: &Change<B>) -> bool {
    let (Some(before), Some(after), None) = (&change.before, &change.after, change.came()) else {
        return true;
    };
    let read = |broker: &B| {
        let conditions = broker.status().map(|status| &status.conditions[..]).unwrap_or_default();
        let (meta, ready) = (broker.meta(), is_true(conditions, ConditionType::Ready));
        (meta.generation, meta.annotations.clone(), meta.deletion_timestamp.clone(), ready)
    };
    read(before) != read(after)
}

/// A class has changed. Instances wait for it to come, and those that have it hold it. Unsettled bindings
/// wait for the class of their instance. A broker that is being deleted waits for its classes to go.
#[must_use]
pub fn class<S: Watched>(change: &Change<S::Class>, caches: &Caches) -> Vec<ObjectKey> {
    let mut interested = own(Class, change);
    for class in change.versions() {
        interested.extend(leaving_broker::<S, _>(&**class, caches));
        let (namespace, name) = (class.namespace(), class.name_any());
        let place = namespace.as_deref();
        for word in words_for(&**class) {
            let holds = |held: &Resolved<'_>| held.scope == S::KIND && held.class == name;
            let named = caches.instances_of_class(place, word);
            interested.extend(instances_and_bindings(&named, caches, |instance| {
                resolved(instance).is_some_and(|held| holds(&held))
            }));
            interested.extend(keys(Instance, &caches.unsettled_instances_of_class(place, word)));
        }
        interested.extend(keys(Binding, &caches.unsettled_bindings_of_class(place, &name)));
    }
    interested
}

/// A plan has changed. The same objects depend on it as on its class, if they name this plan or none.
#[must_use]
pub fn plan<S: Watched>(change: &Change<S::Plan>, caches: &Caches) -> Vec<ObjectKey> {
    let mut interested = own(Plan, change);
    for plan in change.versions() {
        interested.extend(leaving_broker::<S, _>(&**plan, caches));
        let (namespace, name) = (plan.namespace(), plan.name_any());
        let place = namespace.as_deref();
        let class = S::stores(caches).class(place, plan.class_name());
        let mut classes = class.as_deref().map(words_for).unwrap_or_default();
        classes.insert(plan.class_name());
        let mut named = caches.instances_of_plan(place, &name);
        for class in classes {
            named.extend(caches.instances_of_any_plan_in_class(place, class));
            for word in words_for(&**plan) {
                named.extend(caches.instances_of_plan_in_class(place, class, word));
            }
        }
        interested.extend(instances_and_bindings(&named, caches, |instance| {
            resolved(instance).is_some_and(|held| {
                held.scope == S::KIND
                    && (held.plan == name
                        || (held.class == plan.class_name()
                            && plan_ids(instance).any(|id| id == plan.external_id())))
            })
        }));
        interested.extend(keys(Binding, &caches.unsettled_bindings_of_plan(place, &name)));
    }
    interested
}

/// An instance has changed. Its bindings wait for it. A class or plan that has left the catalog, and a broker
/// that is being deleted, wait for it to let go of them. Another instance may wait for its id.
#[must_use]
pub fn instance(change: &Change<ServiceInstance>, caches: &Caches) -> Vec<ObjectKey> {
    let mut interested = own(Instance, change);
    for instance in change.versions() {
        let namespace = instance.namespace().unwrap_or_default();
        interested.extend(keys(Binding, &caches.bindings_of(&namespace, &instance.name_any())));
        match resolved(instance) {
            Some(held) if held.scope == ScopeKind::Cluster => {
                interested.extend(leaving::<ClusterWide>(instance, &held, None, caches));
            }
            Some(held) => {
                interested.extend(leaving::<Namespaced>(instance, &held, Some(&namespace), caches));
            }
            None => {}
        }
        let status = instance.status.as_ref();
        let id = status.map(|status| status.instance_id.as_str()).filter(|id| !id.is_empty());
        let ids = [id, Some(&*instance.spec.external_id), instance.metadata.uid.as_deref()];
        for id in ids.into_iter().flatten().collect::<BTreeSet<_>>() {
            let waits = |other: &&Arc<ServiceInstance>| {
                !id.is_empty() && other.spec.external_id == id && is_instance_unsettled(other)
            };
            interested.extend(keys(Instance, caches.instances_by_external_id(id).iter().filter(waits)));
        }
    }
    interested
}

/// A binding has changed. An instance that is being deleted waits for its bindings to go.
#[must_use]
pub fn binding(change: &Change<ServiceBinding>, caches: &Caches) -> Vec<ObjectKey> {
    let mut interested = own(Binding, change);
    for binding in change.versions() {
        let namespace = binding.namespace().unwrap_or_default();
        let instance = caches.instance(&namespace, &binding.spec.instance_ref.name);
        let leaving = instance.filter(|instance| instance.metadata.deletion_timestamp.is_some());
        interested.extend(keys(Instance, &leaving));
    }
    interested
}

/// A Secret with our label has changed. The binding that owns it finds out whether its credentials are still
/// there.
#[must_use]
pub fn secret(change: &Change<PartialObjectMeta<Secret>>, _: &Caches) -> Vec<ObjectKey> {
    let owners = change.versions().flat_map(|secret| {
        let owners = secret.owner_references().iter().filter(|owner| owner.kind == ServiceBinding::kind(&()));
        owners.map(|owner| ObjectKey {
            kind: Binding,
            namespace: secret.namespace(),
            name: owner.name.clone(),
        })
    });
    owners.collect()
}

/// A namespace has changed. What was created in it before the cache had it waits for its uid. When it is new
/// or its annotations have changed, every instance in it looks, because its broker may have to know of the
/// annotations.
#[must_use]
pub fn namespace(change: &Change<PartialObjectMeta<Namespace>>, caches: &Caches) -> Vec<ObjectKey> {
    let annotations = |version: &Option<Arc<PartialObjectMeta<Namespace>>>| {
        version.as_ref().map(|namespace| namespace.annotations().clone())
    };
    let is_same = annotations(&change.before) == annotations(&change.after) && change.came().is_none();
    let Some(namespace) = change.versions().last() else { return Vec::new() };
    let name = namespace.name_any();
    let instances = if is_same { caches.unsettled_instances_in(&name) } else { caches.instances_in(&name) };
    let mut interested = keys(Instance, &instances);
    interested.extend(keys(Binding, &caches.unsettled_bindings_in(&name)));
    interested
}

fn own<K: Resource<DynamicType = ()>>(kind: ObjectKind, change: &Change<K>) -> Vec<ObjectKey> {
    change.versions().last().map(|object| ObjectKey::of(kind, &**object)).into_iter().collect()
}

fn keys<'a, K: Resource + 'a>(
    kind: ObjectKind,
    objects: impl IntoIterator<Item = &'a Arc<K>>,
) -> Vec<ObjectKey> {
    objects.into_iter().map(|object| ObjectKey::of(kind, &**object)).collect()
}

/// The words by which an instance can name a class or a plan.
fn words_for<E: CatalogObject>(object: &E) -> BTreeSet<&str> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    BTreeSet::from([name, object.external_name(), object.external_id()])
}

/// Of the instances that name a class or plan: those that are unsettled or hold it. Of all of them: the
/// unsettled bindings.
fn instances_and_bindings(
    named: &[Arc<ServiceInstance>],
    caches: &Caches,
    holds: impl Fn(&ServiceInstance) -> bool,
) -> Vec<ObjectKey> {
    let mut interested = Vec::new();
    for instance in named {
        if is_instance_unsettled(instance) || holds(instance) {
            interested.push(ObjectKey::of(Instance, &**instance));
        }
        let bindings = caches.bindings_of(&instance.namespace().unwrap_or_default(), &instance.name_any());
        interested.extend(keys(Binding, bindings.iter().filter(|binding| is_binding_unsettled(binding))));
    }
    interested
}

/// The broker of a class or plan, if it is being deleted.
fn leaving_broker<S: Watched, E: CatalogObject>(object: &E, caches: &Caches) -> Option<ObjectKey> {
    let broker = S::stores(caches).broker(object.namespace().as_deref(), object.broker_name())?;
    broker.meta().deletion_timestamp.as_ref()?;
    Some(ObjectKey::of(Broker, &*broker))
}

/// Those of these that have left the catalog.
fn removed<'a, E: CatalogObject>(
    kind: ObjectKind,
    objects: impl IntoIterator<Item = &'a Arc<E>>,
) -> Vec<ObjectKey> {
    keys(kind, objects.into_iter().filter(|object| object.is_removed()))
}

/// Class, plans and broker that an instance holds, as far as they wait for it to let go.
fn leaving<S: Watched>(
    instance: &ServiceInstance,
    held: &Resolved<'_>,
    place: Option<&str>,
    caches: &Caches,
) -> Vec<ObjectKey> {
    let scope = S::stores(caches);
    let class = scope.class(place, held.class);
    let mut plans: Vec<_> = scope.plan(place, held.plan).into_iter().collect();
    for id in plan_ids(instance) {
        plans.extend(scope.plans_by_external_id(place, held.class, id));
    }
    let broker = held.broker.or(class.as_ref().map(|class| class.broker_name()));
    let broker = broker.and_then(|broker| scope.broker(place, broker));
    let mut leaving = removed(Class, &class);
    leaving.extend(removed(Plan, &plans));
    leaving.extend(keys(Broker, broker.iter().filter(|broker| broker.meta().deletion_timestamp.is_some())));
    leaving
}
