//! A small cluster. The name of an object says what state it is in: `settled` is Ready and has its class and
//! plan in its status, `new` has no status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{
    core::{ObjectMeta, PartialObjectMetaExt as _, object::HasStatus},
    runtime::watcher::Event,
};

use super::super::*;
use crate::{
    caches::kind::Kind,
    crd::{
        CatalogObjectStatus, ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan, Condition,
        ConditionStatus, ConditionType, ServiceBindingSpec, ServiceBindingStatus, ServiceBroker,
        ServiceBrokerStatus, ServiceClass, ServiceInstanceSpec, ServiceInstanceStatus, ServicePlan,
        class::CommonServiceClassSpec,
        common::{LocalObjectReference, ResolvedOffering},
        instance::{InstanceProperties, PlanReference},
        plan::CommonServicePlanSpec,
        scope::{ClassObject as _, Object},
    },
};

type Metadata<K> = PartialObjectMeta<K>;

pub fn deleting<K: Resource>(mut object: K) -> K {
    object.meta_mut().deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    object
}

pub fn edited<K: Resource>(mut object: K) -> K {
    object.meta_mut().generation = Some(2);
    object
}

pub fn annotated<K: Resource>(mut object: K) -> K {
    object.annotations_mut().insert("key".into(), "value".into());
    object
}

pub fn answering(mut broker: ClusterServiceBroker) -> ClusterServiceBroker {
    broker.status = Some(ServiceBrokerStatus { conditions: ready(), ..ServiceBrokerStatus::default() });
    broker
}

pub fn with_uid<K: Resource>(mut object: K, uid: &str) -> K {
    object.meta_mut().uid = Some(uid.to_owned());
    object
}

pub fn within<K: Resource>(mut object: K, namespace: &str) -> K {
    object.meta_mut().namespace = Some(namespace.to_owned());
    object
}

/// The class or plan, marked as no longer in the catalog.
pub fn removed<K: HasStatus<Status = CatalogObjectStatus>>(mut object: K) -> K {
    *object.status_mut() = Some(CatalogObjectStatus { removed_from_broker_catalog: true });
    object
}

fn ready() -> Vec<Condition> {
    vec![Condition {
        type_: ConditionType::Ready,
        status: ConditionStatus::True,
        observed_generation: 1,
        last_transition_time: None,
        reason: String::new(),
        message: String::new(),
    }]
}

pub fn broker(name: &str) -> ClusterServiceBroker {
    with_uid(ClusterServiceBroker::new(name, serde_json::from_str("{}").unwrap()), name)
}

/// The broker with this URL.
pub fn at_url(mut broker: ClusterServiceBroker, url: &str) -> ClusterServiceBroker {
    broker.spec.common.url = url.to_owned();
    broker
}

/// The broker, as one that takes the place of another one.
pub fn replacing(mut broker: ClusterServiceBroker, old: &str) -> ClusterServiceBroker {
    broker.annotations_mut().insert(crate::crd::REPLACES_ANNOTATION.to_owned(), old.to_owned());
    broker
}

pub fn local_broker() -> ServiceBroker {
    within(ServiceBroker::new("local-broker", serde_json::from_str("{}").unwrap()), "shop")
}

pub fn class_spec(id: &str, name: &str) -> CommonServiceClassSpec {
    let mut common = CommonServiceClassSpec::default();
    (common.external_id, common.external_name) = (id.into(), name.to_owned());
    common
}

fn plan_spec(id: &str, name: &str) -> CommonServicePlanSpec {
    let mut common = CommonServicePlanSpec::default();
    (common.external_id, common.external_name) = (id.into(), name.to_owned());
    common
}

/// The class object `db-object`, which the catalog calls `db`.
pub fn db() -> ClusterServiceClass {
    ClusterServiceClass::build("db-object", "broker", class_spec("db-id", "db"))
}

/// The same, with something that instances depend on.
pub fn bindable(mut class: ClusterServiceClass) -> ClusterServiceClass {
    class.spec.common.bindable = true;
    class
}

/// The same with other words for people.
pub fn described<E: CatalogObject>(mut object: E, describe: impl FnOnce(&mut E::Common)) -> E {
    describe(object.common_mut());
    object.meta_mut().labels = Some([("key".to_owned(), "value".to_owned())].into());
    object
}

/// The plan, with something that instances depend on.
pub fn updatable(mut plan: ClusterServicePlan) -> ClusterServicePlan {
    plan.spec.common.plan_updatable = Some(true);
    plan
}

/// A plan object `…-object` of it.
pub fn db_plan(name: &str) -> ClusterServicePlan {
    let spec = plan_spec(&format!("{name}-id"), name);
    ClusterServicePlan::build(&format!("{name}-object"), "broker", "db-object", spec)
}

pub fn cache() -> ServiceClass {
    within(ServiceClass::build("cache-object", "local-broker", class_spec("cache-id", "cache")), "shop")
}

pub fn cache_plan() -> ServicePlan {
    let spec = plan_spec("tiny-id", "tiny");
    within(ServicePlan::build("tiny-object", "local-broker", "cache-object", spec), "shop")
}

fn record(scope: ScopeKind, broker: &str, class: &str, plan: &str) -> ResolvedOffering {
    ResolvedOffering {
        scope,
        broker: broker.into(),
        broker_url: None,
        class: class.into(),
        plan: plan.into(),
        service_id: "".into(),
        plan_id: "".into(),
    }
}

pub fn on_record(plan: &str) -> ResolvedOffering {
    record(ScopeKind::Cluster, "broker", "db-object", plan)
}

fn local_record() -> ResolvedOffering {
    record(ScopeKind::Namespace, "local-broker", "cache-object", "tiny-object")
}

/// An instance in the namespace `shop` that was never reconciled.
pub fn instance(name: &str, class: &str, plan: Option<&str>) -> ServiceInstance {
    let plan_reference = PlanReference {
        cluster_service_class_external_name: Some(class.to_owned()),
        cluster_service_plan_external_name: plan.map(str::to_owned),
        ..PlanReference::default()
    };
    let spec = ServiceInstanceSpec { plan_reference, ..ServiceInstanceSpec::default() };
    with_uid(within(ServiceInstance::new(name, spec), "shop"), name)
}

fn local_instance(name: &str, class: &str) -> ServiceInstance {
    let mut local = instance(name, class, None);
    local.spec.plan_reference =
        PlanReference { service_class_external_name: Some(class.to_owned()), ..PlanReference::default() };
    local
}

fn with_status(mut instance: ServiceInstance, status: ServiceInstanceStatus) -> ServiceInstance {
    instance.status = Some(status);
    instance
}

/// Ready, with this record, and with the plan of this id.
pub fn settled(instance: ServiceInstance, record: ResolvedOffering, plan_id: &str) -> ServiceInstance {
    let properties = InstanceProperties {
        cluster_service_plan_external_id: plan_id.into(),
        ..InstanceProperties::default()
    };
    let status = ServiceInstanceStatus {
        conditions: ready(),
        resolved: Some(record),
        external_properties: Some(properties),
        ..ServiceInstanceStatus::default()
    };
    with_status(instance, status)
}

fn named(name: &str) -> LocalObjectReference {
    LocalObjectReference { name: name.to_owned() }
}

fn binding(name: &str, instance: &str, status: Option<ServiceBindingStatus>) -> ServiceBinding {
    let spec = ServiceBindingSpec { instance_ref: named(instance), ..ServiceBindingSpec::default() };
    let mut binding = ServiceBinding::new(name, spec);
    binding.status = status;
    within(binding, "shop")
}

pub fn bound(name: &str, instance: &str) -> ServiceBinding {
    let status = ServiceBindingStatus {
        conditions: ready(),
        resolved: Some(on_record("small-object")),
        ..ServiceBindingStatus::default()
    };
    binding(name, instance, Some(status))
}

pub fn secret(owner: &str) -> Metadata<Secret> {
    let owner =
        OwnerReference { kind: "ServiceBinding".into(), name: owner.into(), ..OwnerReference::default() };
    let metadata = ObjectMeta {
        name: Some("credentials".into()),
        namespace: Some("shop".into()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    metadata.into_response_partial()
}

pub fn namespace(annotation: &str) -> Metadata<Namespace> {
    let metadata = ObjectMeta {
        name: Some("shop".into()),
        uid: Some("shop-uid".into()),
        annotations: Some([("team".to_owned(), annotation.to_owned())].into()),
        ..ObjectMeta::default()
    };
    metadata.into_response_partial()
}

fn fill<K: Object>(kind: &Kind<K>, objects: impl IntoIterator<Item = K>) {
    for object in objects {
        kind.apply(&Event::Apply(object));
    }
}

fn instances() -> Vec<ServiceInstance> {
    let small = Some("small");
    let mut inherited = with_status(
        instance("inherited", "db", small),
        ServiceInstanceStatus { conditions: ready(), ..ServiceInstanceStatus::default() },
    );
    inherited.spec.cluster_service_class_ref = Some(named("db-object"));
    inherited.spec.cluster_service_plan_ref = Some(named("small-object"));
    let mut twin = instance("twin", "mq", None);
    twin.spec.external_id = "settled".into();
    let of_other_broker = ServiceInstanceStatus {
        resolved: Some(record(ScopeKind::Cluster, "other-broker", "mq-object", "mq-plan")),
        ..ServiceInstanceStatus::default()
    };
    let local = settled(local_instance("local", "cache"), local_record(), "");
    vec![
        settled(instance("settled", "db", small), on_record("small-object"), "small-id"),
        // Its class was renamed after it was ordered.
        settled(instance("renamed", "old-name", small), on_record("small-object"), "small-id"),
        // Its spec names another plan than it has.
        settled(instance("moving", "db", Some("large")), on_record("large-object"), "small-id"),
        instance("new", "db", small),
        instance("new-large", "db", Some("large")),
        instance("new-any", "db", None),
        inherited,
        deleting(settled(instance("deleting", "db", small), on_record("small-object"), "small-id")),
        with_status(instance("of-other-broker", "mq", None), of_other_broker),
        // It names a class of its namespace; there is only one of that name in the cluster.
        local_instance("wrong-scope", "db"),
        // It waits for an id that the instance `settled` has.
        twin,
        local,
        local_instance("local-new", "cache"),
        within(local_instance("elsewhere", "cache"), "other-namespace"),
    ]
}

fn bindings() -> Vec<ServiceBinding> {
    let owed =
        ServiceBindingStatus { resolved: Some(on_record("small-object")), ..ServiceBindingStatus::default() };
    vec![
        bound("bound", "settled"),
        binding("of-settled", "settled", None),
        binding("of-new", "new", None),
        bound("of-deleting", "deleting"),
        binding("of-local", "local", None),
        // Its instance was deleted by force.
        deleting(binding("orphan", "gone", Some(owed))),
    ]
}

pub fn cluster() -> Caches {
    let caches = Caches::new(true).with_pods(true);
    fill(&caches.cluster.brokers, [broker("broker"), broker("other-broker")]);
    fill(
        &caches.cluster.classes,
        [db(), ClusterServiceClass::build("mq-object", "other-broker", class_spec("mq-id", "mq"))],
    );
    fill(&caches.cluster.plans, ["small", "large"].map(db_plan));
    fill(&caches.namespaced.brokers, [local_broker()]);
    fill(&caches.namespaced.classes, [cache()]);
    fill(&caches.namespaced.plans, [cache_plan()]);
    fill(&caches.instances, instances());
    fill(&caches.bindings, bindings());
    fill(&caches.namespaces, [namespace("payments")]);
    caches
}
