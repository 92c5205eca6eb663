//! How the costs of single steps grow with the cluster: `make bench`.
//!
//! Each step is measured in a small cluster (1,000 instances, 100 plans) and in a large one (50,000
//! instances, 20,000 plans). What one step concerns is of the same size in both: a plan has ten instances, a
//! class ten plans, a broker ten classes, a namespace a hundred instances. So the ratio of the two times
//! should be near 1. A step that looks at every object has a ratio of 50 or more. A ratio of up to 3 is the
//! cache of the processor, which holds the small cluster and not the large one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench is no product code")]

use std::{fs, hint::black_box, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    core::{ObjectMeta, PartialObjectMeta, PartialObjectMetaExt as _},
    runtime::watcher::Event,
};
use service_catalog::{
    caches::{
        Caches,
        kind::{Change, Kind},
        object_key::ObjectKey,
    },
    crd::{
        ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan, ClusterWide, Condition,
        ConditionStatus, ConditionType, ScopeKind, ServiceBinding, ServiceBindingSpec, ServiceBindingStatus,
        ServiceInstance, ServiceInstanceSpec, ServiceInstanceStatus,
        class::CommonServiceClassSpec,
        common::{LocalObjectReference, ResolvedOffering},
        instance::{InstanceProperties, PlanReference},
        plan::CommonServicePlanSpec,
        scope::{ClassObject as _, Object, PlanObject as _},
    },
    reconcilers::references,
    runtime::triggers,
};

/// One in so many instances and bindings is not Ready.
const UNSETTLED: usize = 10;
const INSTANCES_OF_PLAN: usize = 10;
const PLANS_OF_CLASS: usize = 10;
const CLASSES_OF_BROKER: usize = 10;
const INSTANCES_IN_NAMESPACE: usize = 100;

/// How long each step is repeated for.
const REPEATED_FOR: Duration = Duration::from_millis(200);

/// A cluster of this many instances and plans.
struct Cluster {
    caches: Caches,
    instances: usize,
    /// Those that have instances.
    plans: usize,
}

impl Cluster {
    fn new(instances: usize, plans: usize) -> Self {
        let caches = Caches::new(false);
        for number in 0..plans.div_ceil(PLANS_OF_CLASS * CLASSES_OF_BROKER) {
            caches.cluster.brokers.apply(&Event::Apply(broker(number)));
        }
        for number in 0..plans.div_ceil(PLANS_OF_CLASS) {
            caches.cluster.classes.apply(&Event::Apply(class(number)));
        }
        for number in 0..plans {
            caches.cluster.plans.apply(&Event::Apply(plan(number)));
        }
        for number in 0..instances {
            caches.instances.apply(&Event::Apply(instance(number)));
            caches.bindings.apply(&Event::Apply(binding(number)));
        }
        for number in 0..instances.div_ceil(INSTANCES_IN_NAMESPACE) {
            caches.namespaces.apply(&Event::Apply(namespace(number)));
        }
        Self { caches, instances, plans: instances / INSTANCES_OF_PLAN }
    }
}

fn broker(number: usize) -> ClusterServiceBroker {
    ClusterServiceBroker::new(&format!("broker-{number}"), serde_json::from_str("{}").unwrap())
}

fn class(number: usize) -> ClusterServiceClass {
    let common = CommonServiceClassSpec {
        external_name: format!("class-name-{number}"),
        external_id: format!("class-id-{number}").as_str().into(),
        ..CommonServiceClassSpec::default()
    };
    let broker = format!("broker-{}", number / CLASSES_OF_BROKER);
    ClusterServiceClass::build(&format!("class-{number}"), &broker, common)
}

fn plan(number: usize) -> ClusterServicePlan {
    let common = CommonServicePlanSpec {
        external_name: format!("plan-name-{}", number % PLANS_OF_CLASS),
        external_id: format!("plan-id-{number}").as_str().into(),
        ..CommonServicePlanSpec::default()
    };
    let class = number / PLANS_OF_CLASS;
    let broker = format!("broker-{}", class / CLASSES_OF_BROKER);
    ClusterServicePlan::build(&format!("plan-{number}"), &broker, &format!("class-{class}"), common)
}

fn reference(number: usize) -> PlanReference {
    let plan = number / INSTANCES_OF_PLAN;
    PlanReference {
        cluster_service_class_external_name: Some(format!("class-name-{}", plan / PLANS_OF_CLASS)),
        cluster_service_plan_external_name: Some(format!("plan-name-{}", plan % PLANS_OF_CLASS)),
        ..PlanReference::default()
    }
}

fn record(number: usize) -> ResolvedOffering {
    let plan = number / INSTANCES_OF_PLAN;
    let class = plan / PLANS_OF_CLASS;
    ResolvedOffering {
        scope: ScopeKind::Cluster,
        broker: format!("broker-{}", class / CLASSES_OF_BROKER),
        broker_url: None,
        class: format!("class-{class}"),
        plan: format!("plan-{plan}"),
        service_id: format!("class-id-{class}").as_str().into(),
        plan_id: format!("plan-id-{plan}").as_str().into(),
    }
}

fn conditions(number: usize) -> Vec<Condition> {
    let status =
        if number.is_multiple_of(UNSETTLED) { ConditionStatus::False } else { ConditionStatus::True };
    vec![Condition {
        type_: ConditionType::Ready,
        status,
        observed_generation: 1,
        last_transition_time: None,
        reason: "Reason".into(),
        message: "A sentence that says how the object stands.".into(),
    }]
}

fn metadata(name: String, number: usize) -> ObjectMeta {
    ObjectMeta {
        uid: Some(format!("00000000-0000-4000-8000-{number:012}")),
        namespace: Some(format!("namespace-{}", number / INSTANCES_IN_NAMESPACE)),
        name: Some(name),
        ..ObjectMeta::default()
    }
}

fn instance(number: usize) -> ServiceInstance {
    let spec = ServiceInstanceSpec { plan_reference: reference(number), ..ServiceInstanceSpec::default() };
    let mut instance = ServiceInstance::new("", spec);
    instance.metadata = metadata(format!("instance-{number}"), number);
    let record = record(number);
    instance.status = Some(ServiceInstanceStatus {
        conditions: conditions(number),
        external_properties: Some(InstanceProperties {
            cluster_service_plan_external_id: record.plan_id.clone(),
            ..InstanceProperties::default()
        }),
        instance_id: instance.metadata.uid.as_deref().unwrap().into(),
        resolved: Some(record),
        ..ServiceInstanceStatus::default()
    });
    instance
}

fn binding(number: usize) -> ServiceBinding {
    let instance_ref = LocalObjectReference { name: format!("instance-{number}") };
    let spec = ServiceBindingSpec { instance_ref, ..ServiceBindingSpec::default() };
    let mut binding = ServiceBinding::new("", spec);
    binding.metadata = metadata(format!("binding-{number}"), number);
    binding.status = Some(ServiceBindingStatus {
        conditions: conditions(number),
        resolved: (!number.is_multiple_of(UNSETTLED)).then(|| record(number)),
        ..ServiceBindingStatus::default()
    });
    binding
}

fn namespace(number: usize) -> PartialObjectMeta<Namespace> {
    let metadata = ObjectMeta { name: Some(format!("namespace-{number}")), ..ObjectMeta::default() };
    metadata.into_response_partial()
}

/// A change of an object that is in the cache: somebody has edited it.
fn edited<K: Object>(object: K) -> Change<K> {
    let mut after = object.clone();
    after.meta_mut().generation = Some(2);
    Change::new(Some(object), Some(after))
}

/// The time that this thread has had a processor for.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The time of one step on average. It gets another number each time, from all over the cluster.
fn measure(below: usize, mut step: impl FnMut(usize)) -> f64 {
    let (begun, mut steps) = (cpu_time(), 0_u32);
    loop {
        for _ in 0..64 {
            // The factor is prime, so that the numbers come in no order.
            step(black_box(usize::try_from(steps).unwrap().wrapping_mul(7_919) % below));
            steps += 1;
        }
        let taken = cpu_time().saturating_sub(begun);
        if taken > REPEATED_FOR {
            return taken.as_secs_f64() / f64::from(steps);
        }
    }
}

type Interested<K> = fn(&Change<K>, &Caches) -> Vec<ObjectKey>;

/// What one change costs: the objects that look again after it.
fn interested<K: Object>(cluster: &Cluster, below: usize, make: fn(usize) -> K, of: Interested<K>) -> f64 {
    let changes: Vec<_> = (0..below).map(|number| edited(make(number))).collect();
    measure(below, |number| drop(black_box(of(&changes[number], &cluster.caches))))
}

/// What one event of the watch costs: store and index.
fn applied<K: Object>(kind: &Kind<K>, below: usize, make: fn(usize) -> K) -> f64 {
    let events: Vec<_> = (0..below).map(|number| Event::Apply(make(number))).collect();
    measure(below, |number| drop(black_box(kind.apply(&events[number]))))
}

fn resolved(cluster: &Cluster, change: fn(&mut PlanReference)) -> f64 {
    let mut references: Vec<_> = (0..cluster.instances).map(reference).collect();
    references.iter_mut().for_each(change);
    measure(cluster.instances, |number| {
        let _ = black_box(references::resolve(&references[number], "namespace-0", &cluster.caches));
    })
}

/// The steps, and how long each takes.
fn steps(cluster: &Cluster) -> Vec<(&'static str, f64)> {
    let Cluster { caches, instances, plans } = cluster;
    let (instances, plans) = (*instances, *plans);
    let classes = plans / PLANS_OF_CLASS;
    let brokers = classes.div_ceil(CLASSES_OF_BROKER);
    let namespaces = instances.div_ceil(INSTANCES_IN_NAMESPACE);
    vec![
        ("interested: instance", interested(cluster, instances, instance, triggers::instance)),
        ("interested: binding", interested(cluster, instances, binding, triggers::binding)),
        ("interested: plan", interested(cluster, plans, plan, triggers::plan::<ClusterWide>)),
        ("interested: class", interested(cluster, classes, class, triggers::class::<ClusterWide>)),
        ("interested: broker", interested(cluster, brokers, broker, triggers::broker::<ClusterWide>)),
        ("interested: namespace", interested(cluster, namespaces, namespace, triggers::namespace)),
        ("resolve: names of the catalog", resolved(cluster, |_| {})),
        (
            "resolve: no such plan",
            resolved(cluster, |reference| {
                reference.cluster_service_plan_external_name = Some("none".into());
            }),
        ),
        (
            "resolve: no such class",
            resolved(cluster, |reference| {
                reference.cluster_service_class_external_name = Some("none".into());
            }),
        ),
        ("apply: instance", applied(&caches.instances, instances, instance)),
        ("apply: binding", applied(&caches.bindings, instances, binding)),
        ("apply: plan", applied(&caches.cluster.plans, plans, plan)),
        ("apply: class", applied(&caches.cluster.classes, classes, class)),
    ]
}

fn main() {
    let small = steps(&Cluster::new(1_000, 100));
    let large = steps(&Cluster::new(50_000, 20_000));
    println!("{:32} {:>12} {:>12} {:>8}", "step", "small (µs)", "large (µs)", "ratio");
    for ((step, small), (_, large)) in small.into_iter().zip(large) {
        println!("{step:32} {:>12.2} {:>12.2} {:>8.1}", small * 1e6, large * 1e6, large / small);
    }
}
