//! Caches that are filled by hand, and the index beside a scan of all objects.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource, ResourceExt as _,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use super::{
    cached::{Cached, ObjectName},
    keys::Key,
    *,
};
use crate::crd::{
    ClusterServiceClass, Condition, ConditionStatus, ConditionType, INTENT_ANNOTATION, Readable, ScopeKind,
    ServiceBindingSpec, ServiceBindingStatus, ServiceInstanceSpec, ServiceInstanceStatus, ServicePlan,
    class::CommonServiceClassSpec,
    common::{LocalObjectReference, ResolvedOffering},
    instance::{InstanceProperties, PlanReference},
    plan::CommonServicePlanSpec,
    scope::{ClassObject as _, Object, PlanObject as _},
};

fn fill<K: Object>(kind: &Kind<K>, objects: Vec<K>) {
    for object in objects {
        kind.apply(&Event::Apply(object));
    }
}

/// The classes and plans of a scope, without brokers.
pub fn entries<S: Scope>(classes: Vec<S::Class>, plans: Vec<S::Plan>) -> ScopeCaches<S> {
    let caches = ScopeCaches::new();
    fill(&caches.classes, classes);
    fill(&caches.plans, plans);
    caches
}

/// These, and nothing else.
pub fn filled(cluster: ScopeCaches<ClusterWide>, namespaced: ScopeCaches<Namespaced>) -> Caches {
    Caches { cluster, namespaced, ..Caches::new(false) }
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    /// One of a few short names, so that objects collide.
    fn name(&mut self) -> String {
        ["a", "b", "c"][usize::try_from(self.below(3)).unwrap()].to_owned()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance().then(|| value(self))
    }

    fn conditions(&mut self) -> Vec<Condition> {
        let ready = self.maybe(|_| Condition {
            type_: ConditionType::Ready,
            status: ConditionStatus::True,
            observed_generation: 1,
            last_transition_time: None,
            reason: String::new(),
            message: String::new(),
        });
        ready.into_iter().collect()
    }

    fn record(&mut self) -> ResolvedOffering {
        let scope = if self.chance() { ScopeKind::Cluster } else { ScopeKind::Namespace };
        let (broker, class, plan) = (self.name(), self.name(), self.name());
        let (service_id, plan_id) = (self.name().as_str().into(), self.name().as_str().into());
        let broker_url = self.maybe(Self::name);
        ResolvedOffering { scope, broker, broker_url, class, plan, service_id, plan_id }
    }

    /// Name, namespace, uid and sometimes a deletion for an object.
    fn place<K: Resource>(&mut self, mut object: K, namespaced: bool) -> K {
        let meta = object.meta_mut();
        meta.name = Some(self.name());
        meta.namespace = namespaced.then(|| self.name());
        meta.uid = Some(self.name());
        meta.deletion_timestamp = self.maybe(|_| Time(jiff::Timestamp::UNIX_EPOCH));
        object
    }

    fn class(&mut self) -> ClusterServiceClass {
        let mut common = CommonServiceClassSpec::default();
        (common.external_name, common.external_id) = (self.name(), self.name().as_str().into());
        let class = ClusterServiceClass::build("", &self.name(), common);
        self.place(class, false)
    }

    fn plan(&mut self) -> ServicePlan {
        let mut common = CommonServicePlanSpec::default();
        (common.external_name, common.external_id) = (self.name(), self.name().as_str().into());
        let plan = ServicePlan::build("", &self.name(), &self.name(), common);
        self.place(plan, true)
    }

    fn instance(&mut self) -> ServiceInstance {
        let reference = |random: &mut Self| LocalObjectReference { name: random.name() };
        let plan_reference = PlanReference {
            cluster_service_class_external_name: self.maybe(Self::name),
            service_class_external_id: self.maybe(Self::name),
            service_plan_external_id: self.maybe(Self::name),
            ..PlanReference::default()
        };
        let spec = ServiceInstanceSpec {
            plan_reference,
            cluster_service_class_ref: self.maybe(reference),
            service_class_ref: self.maybe(reference),
            service_plan_ref: self.maybe(reference),
            external_id: self.maybe(Self::name).unwrap_or_default(),
            ..ServiceInstanceSpec::default()
        };
        let mut instance = ServiceInstance::new("", spec);
        instance.status = self.maybe(|random| ServiceInstanceStatus {
            conditions: random.conditions(),
            resolved: random.maybe(Self::record),
            instance_id: random.maybe(Self::name).unwrap_or_default().as_str().into(),
            external_properties: random.maybe(|random| InstanceProperties {
                service_plan_external_id: random.name().as_str().into(),
                ..InstanceProperties::default()
            }),
            ..ServiceInstanceStatus::default()
        });
        self.place(instance, true)
    }

    fn binding(&mut self) -> ServiceBinding {
        let instance_ref = LocalObjectReference { name: self.name() };
        let mut binding =
            ServiceBinding::new("", ServiceBindingSpec { instance_ref, ..ServiceBindingSpec::default() });
        binding.status = self.maybe(|random| ServiceBindingStatus {
            conditions: random.conditions(),
            resolved: random.maybe(Self::record),
            ..ServiceBindingStatus::default()
        });
        self.place(binding, true)
    }
}

/// What an object is called in the assertions, unique among the objects of a kind.
fn called<K: Resource>(object: &K) -> String {
    ObjectName::new(object.meta().namespace.as_deref(), &object.name_any()).to_string()
}

/// The groups that a scan of all objects finds.
fn scanned<K: Object>(kind: &Kind<K>, keys: fn(&K) -> Vec<Key>) -> HashMap<Key, BTreeSet<String>> {
    let mut groups: HashMap<Key, BTreeSet<String>> = HashMap::new();
    for object in kind.state() {
        for key in keys(&object) {
            groups.entry(key).or_default().insert(called(&*object));
        }
    }
    groups
}

/// Sends random events of a watch, and compares the index with a scan after each of them.
fn index_is_as_a_scan<K: Object>(keys: fn(&K) -> Vec<Key>, packed: bool, make: fn(&mut Random) -> K) {
    for seed in 1..16 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let kind = if packed { Kind::packed(keys, |_| Standing::default()) } else { Kind::new(keys) };
        let mut known: HashMap<String, String> = HashMap::new();
        for step in 0..80 {
            let event = match random.below(12) {
                0 => Event::Init,
                1 => Event::InitDone,
                2..=4 => Event::InitApply(make(&mut random)),
                5..=6 => Event::Delete(make(&mut random)),
                _ => Event::Apply(make(&mut random)),
            };
            let changes = kind.apply(&event);
            let at = format!("seed {seed}, step {step}: {event:?}");
            let expected = scanned(&kind, keys);
            let objects = expected.values().map(BTreeSet::len).sum();
            assert_eq!(kind.index_size(), (expected.len(), objects), "something is left over; {at}");
            for (key, names) in expected {
                let found = kind.group(&key);
                let stored = |object: &Cached<K>| kind.cached(object.name()).unwrap().address();
                assert!(
                    found.iter().all(|object| object.address() == stored(object)),
                    "an old version; {at}"
                );
                let found: BTreeSet<String> = found.iter().map(|object| called(&*object.read())).collect();
                assert_eq!(found, names, "{key:?}; {at}");
            }
            // The changes lead from what was known to what is there.
            for change in changes {
                if let Some(gone) = change.gone() {
                    let uid = known.remove(gone.name().as_str());
                    assert!(uid.is_none_or(|uid| uid == gone.uid()), "another one is gone; {at}");
                }
                if let Some(new) = change.added() {
                    let before = known.insert(new.name().to_string(), new.uid().to_owned());
                    assert_eq!(before, None, "it is not new; {at}");
                }
            }
            let present = |object: Arc<K>| (called(&*object), object.uid().unwrap_or_default());
            assert_eq!(known, kind.state().into_iter().map(present).collect(), "{at}");
        }
    }
}

#[test]
fn an_index_finds_the_same_as_a_scan_after_every_event() {
    index_is_as_a_scan(keys::of_class, false, Random::class);
    index_is_as_a_scan(keys::of_plan, false, Random::plan);
    index_is_as_a_scan(keys::of_instance, true, Random::instance);
    index_is_as_a_scan(keys::of_binding, true, Random::binding);
}

/// A kind of instances, and an instance as the API server has it while an intent is pending.
fn pending() -> (Kind<ServiceInstance>, ServiceInstance) {
    let record = serde_json::json!({
        "cluster": "c", "namespace": "ns", "name": "db", "uid": "u", "time": "2026-01-01T00:00:00.000000Z",
        "derivedId": true,
        "status": { "conditions": [], "instanceID": "id", "currentOperation": "Provision" },
    });
    let object = serde_json::json!({
        "metadata": {
            "namespace": "ns", "name": "db", "uid": "u", "resourceVersion": "7",
            "annotations": { INTENT_ANNOTATION: record.to_string() },
        },
        "spec": { "parameters": { "b": [1.50, null], "a": 1 } },
        "status": { "conditions": [], "userSpecifiedPlanName": "small" },
    });
    let kind = Kind::packed(keys::of_instance, named::standing_of_instance);
    (kind, serde_json::from_value::<ServiceInstance>(object).unwrap().complete())
}

#[test]
fn an_object_is_kept_whole() {
    let (kind, instance) = pending();
    assert!(instance.persisted_status().is_some());
    let name = ObjectName::new(Some("ns"), "db");
    kind.apply(&Event::Apply(instance.clone()));
    let kept = kind.cached(&name).unwrap();
    // So many others that the object is not among those that are still decoded.
    for number in 0..1000 {
        let mut other = instance.clone();
        other.metadata.name = Some(number.to_string());
        kind.apply(&Event::Apply(other));
    }
    for object in [&kept, &kind.cached(&name).unwrap()] {
        let read = object.read();
        assert_eq!((&read.metadata, &read.spec), (&instance.metadata, &instance.spec));
        assert_eq!((&read.status, read.persisted_status()), (&instance.status, instance.persisted_status()));
    }
    assert_eq!((kept.uid(), kept.standing().unsettled), ("u", true));
}

#[test]
fn a_list_keeps_known_versions_once() {
    let (kind, instance) = pending();
    let name = ObjectName::new(Some("ns"), "db");
    kind.apply(&Event::Apply(instance.clone()));
    let known = kind.cached(&name).unwrap().address();
    let list = |version: &str| {
        let mut instance = instance.clone();
        instance.metadata.resource_version = Some(version.into());
        for event in [Event::Init, Event::InitApply(instance), Event::InitDone] {
            kind.apply(&event);
        }
        kind.cached(&name).unwrap().address() == known
    };
    assert_eq!((list("7"), list("8")), (true, false));
}

#[test]
fn a_packed_object_keeps_what_cannot_be_read_of_it() {
    let kind = Kind::packed(keys::of_instance, named::standing_of_instance);
    let text = r#"{"metadata":{"name":"a","namespace":"ns"},"spec":{"parameters":[0]}}"#;
    let Readable(unreadable) = serde_json::from_str::<Readable<ServiceInstance>>(text).unwrap();
    let defects = unreadable.defects().cloned();
    assert!(defects.is_some());
    kind.apply(&Event::Apply(unreadable));
    // So many others that a decoded object is not kept beside its text.
    fill(&kind, (0..200).map(|number| instance_named(&format!("other-{number}"))).collect());
    let kept = kind.get(&ObjectRef::new("a").within("ns")).unwrap();
    assert_eq!(kept.defects().cloned(), defects);
}

fn instance_named(name: &str) -> ServiceInstance {
    let mut instance = ServiceInstance::new(name, ServiceInstanceSpec::default());
    instance.metadata.namespace = Some("ns".to_owned());
    instance
}
