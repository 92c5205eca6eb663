//! Which objects are reconciled when an object changes: the object itself, and those that depend on it. Pure.
//!
//! A reconcile that finds nothing to do writes nothing, so one too many does no harm. If one is missing, an
//! object may wait for ever. Each function uses both versions of the changed object, because an object that
//! referred to the old version may depend on the change too. It reads the caches as they are after the
//! change. The table in `tests` lists every dependency.
//!
//! An object is *settled* when it is Ready, has the record of its class and plan in its status, and is not
//! being deleted. A settled object is reconciled only when something changes that it uses.

mod relevance;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt as _, core::PartialObjectMeta};

use self::relevance::{class_matters, plan_matters};
use crate::{
    caches::{
        Caches, Watched,
        cached::Cached,
        kind::Change,
        named::{Resolved, plan_ids, resolved},
        object_key::{
            ObjectKey,
            ObjectKind::{self, Binding, Broker, Class, Instance, Plan},
        },
        successors::replaced_by_name,
    },
    crd::{
        ClusterWide, ConditionType, Namespaced, ScopeKind, ServiceBinding, ServiceInstance,
        broker::SecretAuth,
        common::BrokerKey,
        condition::is_true,
        scope::{BrokerObject, CatalogObject, PlanObject as _},
    },
    osb::endpoint::bare_url,
    reconcilers::credentials,
};

/// After a change of a broker. Unsettled instances and bindings may wait until it exists or can be used. When
/// it is new, all its instances are reconciled, because a settled one may have a request for it, and so are
/// its classes and plans that have left the catalog: they can be deleted only while their broker exists. If one
/// broker takes the place of another one, both are reconciled, and all instances of the one that leaves.
#[must_use]
pub fn broker<S: Watched>(change: &Change<S::Broker>, caches: &Caches) -> Vec<ObjectKey> {
    let mut dependents = changed_object(Broker, change);
    let Some(broker) = change.latest().filter(|_| concerns_others(change)) else {
        return dependents;
    };
    let (namespace, name) = (broker.namespace(), broker.name_any());
    let (place, scope) = (namespace.as_deref(), S::stores(caches));
    let key = BrokerKey::new(S::KIND, place, &name);
    let classes = scope.classes_of_broker(place, &name);
    let is_new = change.added().is_some();
    if is_new {
        dependents.extend(removed(Class, &classes));
        dependents.extend(removed(Plan, &scope.plans_of_broker(place, &name)));
    }
    let mut instances = caches.instances_of_broker(&key);
    // An instance without a broker in its status refers to one of the broker's classes.
    for value in classes.iter().flat_map(|class| reference_values(&**class)).collect::<BTreeSet<_>>() {
        instances.extend(caches.unsettled_instances_of_class(place, value));
    }
    dependents.extend(instances_and_bindings(&instances, caches, |_| is_new));
    dependents.extend(names(Binding, &caches.unsettled_bindings_of_broker(&key)));
    dependents.extend(successors::<S>(&*broker, &instances, caches));
    for version in change.versions() {
        dependents.extend(replaced::<S>(&*version, caches));
    }
    dependents.extend(secrets::<S>(change));
    dependents
}

/// The Secrets that a namespaced broker names or named. They may be held back without need.
fn secrets<S: Watched>(change: &Change<S::Broker>) -> Vec<ObjectKey> {
    if S::KIND == ScopeKind::Cluster {
        return Vec::new();
    }
    let named = change.versions().filter_map(|broker| broker.auth());
    let key = |auth: SecretAuth| ObjectKey {
        kind: ObjectKind::Secret,
        namespace: Some(auth.namespace),
        name: auth.name,
    };
    named.map(key).collect::<BTreeSet<_>>().into_iter().collect()
}

/// When a broker object is gone or is being deleted: the broker objects that take its place, because they
/// take over its classes and plans, and all its instances, because their records follow.
fn successors<S: Watched>(
    broker: &S::Broker,
    instances: &[Cached<ServiceInstance>],
    caches: &Caches,
) -> Vec<ObjectKey> {
    let (namespace, name) = (broker.namespace(), broker.name_any());
    let url = bare_url(&broker.common().url);
    let successors = S::stores(caches).successors(namespace.as_deref(), &name, url.as_deref());
    let mut dependents = keys(Broker, &successors);
    if !successors.is_empty() {
        dependents.extend(names(Instance, instances));
    }
    dependents
}

/// The broker objects whose place a broker may take, and all their instances, with the bindings that may wait.
/// Those objects are gone, or are being deleted and say what they wait for.
fn replaced<S: Watched>(broker: &S::Broker, caches: &Caches) -> Vec<ObjectKey> {
    let (namespace, name) = (broker.namespace(), broker.name_any());
    let (place, scope) = (namespace.as_deref(), S::stores(caches));
    let url = bare_url(&broker.common().url);
    let named = replaced_by_name(broker);
    let mut dependents = Vec::new();
    let mut left: BTreeSet<String> = named.map(str::to_owned).into_iter().collect();
    if let Some(url) = &url {
        let of_url = caches.instances_of_broker_url(place, url);
        let broker_of =
            |instance: &Cached<_>| resolved(&instance.read()).and_then(|held| held.broker.map(str::to_owned));
        left.extend(of_url.iter().filter_map(broker_of));
        dependents.extend(names(Binding, &caches.unsettled_bindings_of_broker_url(place, url)));
    }
    for leaving in scope.brokers_in(place) {
        let is_named = named == Some(&*leaving.name_any());
        if leaving.meta().deletion_timestamp.is_some()
            && (is_named || (url.is_some() && bare_url(&leaving.common().url) == url))
        {
            dependents.push(ObjectKey::of(Broker, &*leaving));
            left.insert(leaving.name_any());
        }
    }
    for left in left.iter().filter(|left| **left != name && scope.is_broker_leaving(place, left)) {
        let key = BrokerKey::new(S::KIND, place, left);
        dependents.extend(instances_and_bindings(&caches.instances_of_broker(&key), caches, |_| true));
        dependents.extend(names(Binding, &caches.unsettled_bindings_of_broker(&key)));
    }
    dependents
}

/// Whether other objects depend on what has changed in a broker: its existence, its address and credentials,
/// and whether it is Ready. Most changes concern only the time of the last catalog or the text of a failure.
fn concerns_others<B: BrokerObject>(change: &Change<B>) -> bool {
    let (Some(before), Some(after), None) = (change.before(), change.after(), change.added()) else {
        return true;
    };
    let read = |broker: &B| {
        let conditions = broker.status().map(|status| &status.conditions[..]).unwrap_or_default();
        let (meta, ready) = (broker.meta(), is_true(conditions, ConditionType::Ready));
        (meta.generation, meta.annotations.clone(), meta.deletion_timestamp.clone(), ready)
    };
    read(&before) != read(&after)
}

/// After a change of a class. Instances may wait for it or use it. Unsettled bindings may wait for the class
/// of their instance. A broker that is being deleted waits until its classes are gone. Nobody waits for a change that
/// is only for people (`relevance`).
#[must_use]
pub fn class<S: Watched>(change: &Change<S::Class>, caches: &Caches) -> Vec<ObjectKey> {
    let mut dependents = changed_object(Class, change);
    if !class_matters(change) {
        return dependents;
    }
    for class in change.versions() {
        dependents.extend(broker_being_deleted::<S, _>(&*class, caches));
        let (namespace, name) = (class.namespace(), class.name_any());
        let place = namespace.as_deref();
        for value in reference_values(&*class) {
            let uses = |held: &Resolved<'_>| held.scope == S::KIND && held.class == name;
            let named = caches.instances_of_class(place, value);
            dependents.extend(instances_and_bindings(&named, caches, |instance| {
                resolved(instance).is_some_and(|held| uses(&held))
            }));
            dependents.extend(names(Instance, &caches.unsettled_instances_of_class(place, value)));
        }
        dependents.extend(names(Binding, &caches.unsettled_bindings_of_class(place, &name)));
    }
    dependents
}

/// After a change of a plan: the same objects as for its class, if they refer to this plan or to no plan.
#[must_use]
pub fn plan<S: Watched>(change: &Change<S::Plan>, caches: &Caches) -> Vec<ObjectKey> {
    let mut dependents = changed_object(Plan, change);
    if !plan_matters(change) {
        return dependents;
    }
    for plan in change.versions() {
        dependents.extend(broker_being_deleted::<S, _>(&*plan, caches));
        let (namespace, name) = (plan.namespace(), plan.name_any());
        let place = namespace.as_deref();
        let class = S::stores(caches).class(place, plan.class_name());
        let mut classes = class.as_deref().map(reference_values).unwrap_or_default();
        classes.insert(plan.class_name());
        let mut named = caches.instances_of_plan(place, &name);
        for class in classes {
            named.extend(caches.instances_of_any_plan_in_class(place, class));
            for value in reference_values(&*plan) {
                named.extend(caches.instances_of_plan_in_class(place, class, value));
            }
        }
        dependents.extend(instances_and_bindings(&named, caches, |instance| {
            resolved(instance).is_some_and(|held| {
                held.scope == S::KIND
                    && (held.plan == name
                        || (held.class == plan.class_name()
                            && plan_ids(instance).any(|id| id == plan.external_id())))
            })
        }));
        dependents.extend(names(Binding, &caches.unsettled_bindings_of_plan(place, &name)));
    }
    dependents
}

/// After a change of an instance. Its bindings wait for it. A class or plan that has left the catalog, and a
/// broker that is being deleted, wait until the instance no longer uses them. Another instance may wait for
/// its id.
#[must_use]
pub fn instance(change: &Change<ServiceInstance>, caches: &Caches) -> Vec<ObjectKey> {
    let mut dependents = changed_object(Instance, change);
    for instance in change.versions() {
        let namespace = instance.namespace().unwrap_or_default();
        dependents.extend(names(Binding, &caches.bindings_of(&namespace, &instance.name_any())));
        match resolved(&instance) {
            Some(held) if held.scope == ScopeKind::Cluster => {
                dependents.extend(waiting_for_release::<ClusterWide>(&instance, &held, None, caches));
            }
            Some(held) => {
                dependents.extend(waiting_for_release::<Namespaced>(
                    &instance,
                    &held,
                    Some(&namespace),
                    caches,
                ));
            }
            None => {}
        }
        let status = instance.status.as_ref();
        let id = status.map(|status| status.instance_id.as_str()).filter(|id| !id.is_empty());
        let ids = [id, Some(&*instance.spec.external_id), instance.metadata.uid.as_deref()];
        for id in ids.into_iter().flatten().filter(|id| !id.is_empty()).collect::<BTreeSet<_>>() {
            let waits = |other: &&Cached<ServiceInstance>| {
                other.standing().unsettled && !other.read().spec.external_id.is_empty()
            };
            dependents.extend(names(Instance, caches.instances_by_id(id).iter().filter(waits)));
        }
    }
    dependents
}

/// After a change of a binding. An instance that is being deleted waits until its bindings are gone. Another
/// binding may wait for its id.
#[must_use]
pub fn binding(change: &Change<ServiceBinding>, caches: &Caches) -> Vec<ObjectKey> {
    let mut dependents = changed_object(Binding, change);
    for binding in change.versions() {
        let namespace = binding.namespace().unwrap_or_default();
        let instance = caches.instance(&namespace, &binding.spec.instance_ref.name);
        let leaving = instance.filter(|instance| instance.metadata.deletion_timestamp.is_some());
        dependents.extend(keys(Instance, &leaving));
        let id = binding.status.as_ref().map(|status| status.binding_id.as_str());
        let ids = [id, Some(&*binding.spec.external_id), binding.metadata.uid.as_deref()];
        for id in ids.into_iter().flatten().filter(|id| !id.is_empty()).collect::<BTreeSet<_>>() {
            let waits = |other: &&Cached<ServiceBinding>| {
                other.standing().unsettled && !other.read().spec.external_id.is_empty()
            };
            dependents.extend(names(Binding, caches.bindings_by_id(id).iter().filter(waits)));
        }
    }
    dependents
}

/// After a change of a Secret with our label. The binding that owns it checks whether its credentials are
/// still there.
#[must_use]
pub fn secret(change: &Change<PartialObjectMeta<Secret>>, _: &Caches) -> Vec<ObjectKey> {
    let owners = change.versions().flat_map(|secret| {
        let owners = secret.owner_references().iter().filter(|owner| owner.kind == ServiceBinding::kind(&()));
        let key = |owner: &OwnerReference| ObjectKey {
            kind: Binding,
            namespace: secret.namespace(),
            name: owner.name.clone(),
        };
        owners.map(key).collect::<Vec<_>>()
    });
    owners.collect()
}

/// After a change of a pod: the bindings that name it or named it, if what they count has changed.
#[must_use]
pub fn pod(change: &Change<PartialObjectMeta<Pod>>, caches: &Caches) -> Vec<ObjectKey> {
    let counted = |pod: Arc<PartialObjectMeta<Pod>>| {
        (pod.labels().clone(), pod.annotations().clone(), pod.metadata.deletion_timestamp.is_some())
    };
    let is_same_pod = change.added().is_none() && change.gone().is_none();
    if is_same_pod && change.before().map(counted) == change.after().map(counted) {
        return Vec::new();
    }
    let Some(namespace) = change.name().and_then(|name| name.namespace()) else { return Vec::new() };
    let names_it = |binding: &&Cached<ServiceBinding>| {
        let binding = binding.read();
        let selector = binding.spec.pods.as_ref().and_then(|pods| pods.selector.as_ref());
        selector.is_some_and(|selector| change.versions().any(|pod| selector.matches(pod.labels())))
    };
    names(Binding, caches.bindings_with_pods(namespace).iter().filter(names_it))
}

/// After a change of a Secret that is held back for brokers: its controller checks whether they still need it.
/// They hold back a Secret that was created again.
#[must_use]
pub fn broker_secret(change: &Change<PartialObjectMeta<Secret>>, caches: &Caches) -> Vec<ObjectKey> {
    let mut dependents = changed_object(ObjectKind::Secret, change);
    if let Some(secret) = change.latest() {
        dependents.extend(keys(Broker, &credentials::brokers_of(&secret, caches)));
    }
    dependents
}

/// After a change of a namespace. Objects that were created before the namespace was in the cache wait for
/// its uid. When it is new or its annotations have changed, all its instances are reconciled, because their
/// brokers may have to get the annotations.
#[must_use]
pub fn namespace(change: &Change<PartialObjectMeta<Namespace>>, caches: &Caches) -> Vec<ObjectKey> {
    let annotations = |version: Option<Arc<PartialObjectMeta<Namespace>>>| {
        version.map(|namespace| namespace.annotations().clone())
    };
    let is_same = annotations(change.before()) == annotations(change.after()) && change.added().is_none();
    let Some(namespace) = change.latest() else { return Vec::new() };
    let name = namespace.name_any();
    let instances = if is_same { caches.unsettled_instances_in(&name) } else { caches.instances_in(&name) };
    let mut dependents = names(Instance, &instances);
    dependents.extend(names(Binding, &caches.unsettled_bindings_in(&name)));
    dependents
}

fn changed_object<K>(kind: ObjectKind, change: &Change<K>) -> Vec<ObjectKey> {
    change.name().map(|name| ObjectKey::named(kind, name)).into_iter().collect()
}

fn names<'a, K: 'a>(kind: ObjectKind, objects: impl IntoIterator<Item = &'a Cached<K>>) -> Vec<ObjectKey> {
    objects.into_iter().map(|object| ObjectKey::named(kind, object.name())).collect()
}

fn keys<'a, K: Resource + 'a>(
    kind: ObjectKind,
    objects: impl IntoIterator<Item = &'a Arc<K>>,
) -> Vec<ObjectKey> {
    objects.into_iter().map(|object| ObjectKey::of(kind, &**object)).collect()
}

/// The values by which an instance can refer to a class or a plan: the name of the object, and name and id in
/// the catalog.
fn reference_values<E: CatalogObject>(object: &E) -> BTreeSet<&str> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    BTreeSet::from([name, object.external_name(), object.external_id()])
}

/// Of these instances, those that are unsettled or use the changed class or plan. Of all of them, the
/// unsettled bindings.
fn instances_and_bindings(
    named: &[Cached<ServiceInstance>],
    caches: &Caches,
    uses: impl Fn(&ServiceInstance) -> bool,
) -> Vec<ObjectKey> {
    let mut dependents = Vec::new();
    for instance in named {
        if instance.standing().unsettled || uses(&instance.read()) {
            dependents.push(ObjectKey::named(Instance, instance.name()));
        }
        let name = instance.name();
        let bindings = caches.bindings_of(name.namespace().unwrap_or_default(), name.name());
        dependents.extend(names(Binding, bindings.iter().filter(|binding| binding.standing().unsettled)));
    }
    dependents
}

/// The broker of a class or plan, if it is being deleted.
fn broker_being_deleted<S: Watched, E: CatalogObject>(object: &E, caches: &Caches) -> Option<ObjectKey> {
    let broker = S::stores(caches).broker(object.namespace().as_deref(), object.broker_name())?;
    broker.meta().deletion_timestamp.as_ref()?;
    Some(ObjectKey::of(Broker, &*broker))
}

/// The objects that have left the catalog.
fn removed<'a, E: CatalogObject>(
    kind: ObjectKind,
    objects: impl IntoIterator<Item = &'a Arc<E>>,
) -> Vec<ObjectKey> {
    keys(kind, objects.into_iter().filter(|object| object.is_removed()))
}

/// The class, plans and broker that an instance uses, if they can be deleted as soon as it no longer does.
fn waiting_for_release<S: Watched>(
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
