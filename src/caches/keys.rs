//! The keys by which the objects of each kind are looked up. Pure.

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, core::PartialObjectMeta};

use super::named::{is_binding_unsettled, is_instance_unsettled, named_plan, plan_ids, resolved};
use crate::crd::{
    ScopeKind, ServiceBinding, ServiceInstance,
    common::BrokerKey,
    rotation::RotationStatus,
    scope::{CatalogObject, PlanObject},
};
use crate::osb::ids::normal_form;

/// Where a broker, a class or a plan is: in a namespace, or `None` for the cluster.
pub(super) type Place = Option<String>;

/// What a group of objects of one kind has in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Key {
    /// The namespace that the objects are in.
    Namespace(String),
    /// The broker object that offers a class or a plan, or that an instance or a binding has on record.
    Broker(Place, String),
    /// The URL of the broker that an instance or a binding has on record.
    BrokerUrl(Place, String),
    /// The name of a class in the catalog.
    ExternalName(Place, String),
    /// The id of a class in the catalog.
    ExternalId(Place, String),
    /// The class object of a plan.
    Class(Place, String),
    /// The class object of a plan, and the name of the plan in the catalog.
    PlanExternalName(Place, String, String),
    /// The class object of a plan, and the id of the plan in the catalog.
    PlanExternalId(Place, String, String),
    /// A class that an instance or a binding names: by name or id in the catalog, or by the name of the
    /// object.
    NamesClass(Place, String),
    /// The plan object that an instance or a binding names.
    NamesPlan(Place, String),
    /// A class and a plan of it that an instance names, each by name or id in the catalog, or by the name of
    /// the object.
    NamesPlanOf(Place, String, String),
    /// A class of which an instance names no plan, so that every plan of it counts.
    NamesAnyPlanOf(Place, String),
    /// An id that an instance or a binding has at its broker, or its uid, in normal form.
    Id(String),
    /// Instances or bindings whose next id at the broker follows from their uid and the number of the attempt.
    LaterAttempt,
    /// The instance that a binding is for.
    Instance(String, String),
    /// A label of a pod: namespace, key and value.
    Label(String, String, String),
    /// The namespace of a binding that names pods.
    NamesPods(String),
    /// The same as another key, but only for objects that may wait for another object.
    Unsettled(Box<Key>),
}

impl Key {
    /// The key of objects that may wait for another object.
    pub(super) fn unsettled(self) -> Self {
        Self::Unsettled(Box::new(self))
    }

    /// The key of all that belongs to a broker.
    pub(super) fn of_broker(broker: &BrokerKey) -> Self {
        Self::Broker(broker.namespace.clone(), broker.name.clone())
    }
}

fn place(scope: ScopeKind, namespace: &str) -> Place {
    match scope {
        ScopeKind::Cluster => None,
        ScopeKind::Namespace => Some(namespace.to_owned()),
    }
}

/// For kinds that are looked up by name only.
pub(super) fn none<K>(_: &K) -> Vec<Key> {
    Vec::new()
}

pub(super) fn of_pod(pod: &PartialObjectMeta<Pod>) -> Vec<Key> {
    let namespace = pod.namespace().unwrap_or_default();
    let labels = pod.labels().iter();
    let labels = labels.map(|(key, value)| Key::Label(namespace.clone(), key.clone(), value.clone()));
    labels.chain([Key::Namespace(namespace.clone())]).collect()
}

pub(super) fn of_class<C: CatalogObject>(class: &C) -> Vec<Key> {
    let place = class.namespace();
    let mut keys = vec![
        Key::Broker(place.clone(), class.broker_name().to_owned()),
        Key::ExternalName(place.clone(), class.external_name().to_owned()),
        Key::ExternalId(place.clone(), class.external_id().to_owned()),
    ];
    keys.extend(place.map(Key::Namespace));
    keys
}

pub(super) fn of_plan<P: PlanObject>(plan: &P) -> Vec<Key> {
    let (place, class) = (plan.namespace(), plan.class_name());
    let mut keys = vec![
        Key::Broker(place.clone(), plan.broker_name().to_owned()),
        Key::Class(place.clone(), class.to_owned()),
        Key::PlanExternalName(place.clone(), class.to_owned(), plan.external_name().to_owned()),
        Key::PlanExternalId(place.clone(), class.to_owned(), plan.external_id().to_owned()),
    ];
    keys.extend(place.map(Key::Namespace));
    keys
}

/// The keys of the classes and plans that an instance refers to. Before it is ordered, only its spec refers
/// to them. Afterwards the record in its status has precedence, and the spec can name another plan of the
/// same class.
pub(super) fn of_instance(instance: &ServiceInstance) -> Vec<Key> {
    let namespace = instance.namespace().unwrap_or_default();
    let mut keys = vec![Key::Namespace(namespace.clone())];
    let status = instance.status.as_ref();
    keys.extend(ids(
        status.map(|status| status.instance_id.as_str()).unwrap_or_default(),
        &instance.spec.external_id,
        instance.metadata.uid.as_deref(),
        status.map_or(0, |status| status.progress.attempt),
    ));
    let resolved = resolved(instance);
    let named = named_plan(&instance.spec.plan_reference);
    let plan_of = |place: Place, class: &str, plan: Option<&str>| match plan {
        Some(plan) => Key::NamesPlanOf(place, class.to_owned(), plan.to_owned()),
        None => Key::NamesAnyPlanOf(place, class.to_owned()),
    };
    let mut unsettled = vec![Key::Namespace(namespace.clone())];
    if let Some(resolved) = resolved {
        let place = place(resolved.scope, &namespace);
        let class = Key::NamesClass(place.clone(), resolved.class.to_owned());
        unsettled.push(class.clone());
        keys.extend([class, Key::NamesPlan(place.clone(), resolved.plan.to_owned())]);
        keys.extend(plan_ids(instance).map(|id| plan_of(place.clone(), resolved.class, Some(id))));
        keys.extend(named.map(|named| plan_of(place.clone(), resolved.class, named.plan)));
        if let Some(broker) = resolved.broker {
            keys.push(Key::Broker(place.clone(), broker.to_owned()));
        }
        keys.extend(resolved.broker_url.map(|url| Key::BrokerUrl(place, url.to_owned())));
    }
    if let Some(named) = named {
        let place = place(named.scope, &namespace);
        let class = Key::NamesClass(place.clone(), named.class.to_owned());
        // The message about a missing class says whether the other scope has it.
        let elsewhere = match named.scope {
            ScopeKind::Cluster => Some(namespace),
            ScopeKind::Namespace => None,
        };
        unsettled.extend([class.clone(), Key::NamesClass(elsewhere, named.class.to_owned())]);
        keys.extend([class, plan_of(place, named.class, named.plan)]);
    }
    if is_instance_unsettled(instance) {
        keys.extend(unsettled.into_iter().map(Key::unsettled));
    }
    keys
}

/// The id that an instance or a binding has at its broker, or gets with its first request, and its uid. No
/// other object may take an id that follows from the uid. The id of a later attempt follows from the uid and
/// the number of the attempt, and only the controller computes it.
fn ids(recorded: &str, external_id: &str, uid: Option<&str>, attempt: i64) -> Vec<Key> {
    let key = |id: &str| Key::Id(normal_form(id).into_owned());
    let first = [recorded, external_id].into_iter().find(|id| !id.is_empty());
    let mut keys: Vec<Key> = uid.map(key).into_iter().collect();
    match first.map(key) {
        Some(first) if !keys.contains(&first) => keys.push(first),
        None if attempt != 0 => keys.push(Key::LaterAttempt),
        _ => {}
    }
    keys
}

pub(super) fn of_binding(binding: &ServiceBinding) -> Vec<Key> {
    let namespace = binding.namespace().unwrap_or_default();
    let mut keys = vec![Key::Instance(namespace.clone(), binding.spec.instance_ref.name.clone())];
    let status = binding.status.as_ref();
    keys.extend(ids(
        status.map(|status| status.binding_id.as_str()).unwrap_or_default(),
        &binding.spec.external_id,
        binding.metadata.uid.as_deref(),
        status.map_or(0, |status| status.progress.attempt),
    ));
    if binding.spec.pods.as_ref().is_some_and(|pods| pods.selector.is_some()) {
        keys.push(Key::NamesPods(namespace.clone()));
    }
    let other = status.and_then(|status| status.rotation.as_ref()).and_then(RotationStatus::other);
    let other = other.map(|other| Key::Id(normal_form(other.binding_id.as_str()).into_owned()));
    keys.extend(other.filter(|other| !keys.contains(other)));
    if !is_binding_unsettled(binding) {
        return keys;
    }
    keys.push(Key::Namespace(namespace.clone()).unsettled());
    if let Some(record) = status.and_then(|status| status.resolved.as_ref()) {
        let place = place(record.scope, &namespace);
        keys.extend([
            Key::Broker(place.clone(), record.broker.clone()).unsettled(),
            Key::NamesClass(place.clone(), record.class.clone()).unsettled(),
            Key::NamesPlan(place.clone(), record.plan.clone()).unsettled(),
        ]);
        keys.extend(record.broker_url.clone().map(|url| Key::BrokerUrl(place, url).unsettled()));
    }
    keys
}
