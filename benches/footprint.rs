//! What an object costs at rest: `make bench`.
//!
//! The objects are as the operator leaves them, and take the same way as those of a watch: text, decoded
//! object, cache. The numbers are the growth of the resident memory of this process, for each object, so they
//! have the allocator and all tables in them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench is no product code")]

use std::{fs, hint::black_box, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use serde_json::{Value, json};
use service_catalog::{
    caches::{Caches, kind::Kind},
    crd::{ClusterServiceClass, ClusterServicePlan, ServiceBinding, ServiceInstance, scope::Object},
    reconcilers::{
        expectations::Expectations,
        memory::{Memories, OperationMemory},
    },
};

/// The number of objects of each kind.
const OBJECTS: usize = 20_000;
const INSTANCES_OF_PLAN: usize = 20;
const PLANS_OF_CLASS: usize = 10;
const IN_NAMESPACE: usize = 100;

/// An id that looks random, as those of the API server do.
fn uid(kind: u64, number: usize) -> String {
    let mut bits = (kind << 40 | u64::try_from(number).unwrap()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits ^= bits >> 29;
    let more = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        bits >> 32,
        bits & 0xFFFF,
        more & 0xFFF,
        more >> 52,
        more >> 16
    )
}

fn time(number: usize) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + i64::try_from(number).unwrap() * 1_234_567).unwrap()
}

fn metadata(kind: u64, name: &str, number: usize) -> Value {
    json!({
        "name": format!("{name}-{number}"),
        "namespace": format!("team-{}", number / IN_NAMESPACE),
        "uid": uid(kind, number),
        "resourceVersion": (1_000_000 + number * 7).to_string(),
        "generation": 2,
        "creationTimestamp": time(number).to_string(),
        "finalizers": ["kubernetes-incubator/service-catalog"],
    })
}

fn user(number: usize) -> Value {
    let team = number / IN_NAMESPACE;
    json!({
        "username": format!("system:serviceaccount:team-{team}:deployer"), "uid": uid(9, team),
        "groups": ["system:serviceaccounts", format!("system:serviceaccounts:team-{team}"), "system:authenticated"],
        "extra": { "authentication.kubernetes.io/credential-id": [format!("JTI={}", uid(8, number))] },
    })
}

fn record(number: usize) -> Value {
    let plan = number / INSTANCES_OF_PLAN;
    let class = plan / PLANS_OF_CLASS;
    json!({
        "scope": "Cluster", "broker": format!("broker-{}", class / 10),
        "brokerURL": format!("https://broker-{}.brokers.svc.cluster.local:8443", class / 10),
        "class": uid(1, class), "plan": uid(2, plan), "serviceID": uid(1, class), "planID": uid(2, plan),
    })
}

fn condition(reason: &str, message: &str, number: usize) -> Value {
    json!([{
        "type": "Ready", "status": "True", "observedGeneration": 2,
        "lastTransitionTime": time(number).to_string(), "reason": reason, "message": message,
    }])
}

/// The object with the intent of its last request, whose status was `announced`.
fn with_intent(mut object: Value, announced: &Value, number: usize) -> String {
    let metadata = &object["metadata"];
    let intent = json!({
        "cluster": uid(7, 0), "namespace": metadata["namespace"], "name": metadata["name"],
        "uid": metadata["uid"], "time": object["status"]["observedIntent"], "derivedId": true, "status": announced,
    });
    let applied =
        json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"] });
    object["metadata"]["annotations"] = json!({
        "servicecatalog.k8s.io/intent": intent.to_string(),
        "kubectl.kubernetes.io/last-applied-configuration": applied.to_string(),
        "example.com/cost-centre": format!("{}", number / IN_NAMESPACE),
    });
    object.to_string()
}

fn instance(number: usize) -> String {
    let (id, plan) = (uid(3, number), number / INSTANCES_OF_PLAN);
    let class = plan / PLANS_OF_CLASS;
    let parameters = json!({
        "name": format!("database-{number}"), "size": number % 64, "region": "eu-central",
        "backup": { "enabled": true, "window": "02:00-03:00", "retention": 14 },
    });
    let properties = json!({
        "clusterServicePlanExternalName": format!("plan-{}", plan % PLANS_OF_CLASS),
        "clusterServicePlanExternalID": uid(2, plan), "parameters": parameters,
        "parameterChecksum": format!("{}{}", uid(4, number), uid(5, number)).replace('-', ""),
    });
    let announced = json!({
        "conditions": condition("Provisioning", "The instance is being provisioned asynchronously", number),
        "operationStartTime": time(number).to_string(), "lastAttemptTime": time(number).to_string(),
        "currentOperation": "Provision", "observedGeneration": 2, "inProgressProperties": properties,
        "deprovisionStatus": "Required", "userSpecifiedPlanName": format!("plan-{}", plan % PLANS_OF_CLASS),
        "userSpecifiedClassName": format!("ClusterServiceClass/offering-{class}"),
        "instanceID": id, "resolved": record(number),
    });
    let status = json!({
        "conditions": condition("ProvisionedSuccessfully", "The instance was provisioned successfully", number),
        "observedIntent": time(number).to_string(), "dashboardURL": format!("https://dashboard.example.com/{id}"),
        "reconciledGeneration": 2, "observedGeneration": 2, "externalProperties": properties,
        "provisionStatus": "Provisioned", "deprovisionStatus": "Required", "lastConditionState": "Ready",
        "userSpecifiedPlanName": format!("plan-{}", plan % PLANS_OF_CLASS),
        "userSpecifiedClassName": format!("ClusterServiceClass/offering-{class}"),
        "instanceID": id, "resolved": record(number),
    });
    let object = json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": "ServiceInstance",
        "metadata": metadata(3, "database", number),
        "spec": {
            "clusterServiceClassExternalName": format!("offering-{class}"),
            "clusterServicePlanExternalName": format!("plan-{}", plan % PLANS_OF_CLASS),
            "clusterServiceClassRef": { "name": uid(1, class) }, "clusterServicePlanRef": { "name": uid(2, plan) },
            "parameters": parameters, "externalID": id, "userInfo": user(number),
        },
        "status": status,
    });
    with_intent(object, &announced, number)
}

fn binding(number: usize) -> String {
    let id = uid(6, number);
    let announced = json!({
        "conditions": condition("Binding", "Binding in progress", number),
        "operationStartTime": time(number).to_string(), "lastAttemptTime": time(number).to_string(),
        "currentOperation": "Bind", "observedGeneration": 2, "inProgressProperties": {},
        "unbindStatus": "Required", "bindingID": id, "instanceID": uid(3, number), "resolved": record(number),
    });
    let status = json!({
        "conditions": condition("InjectedBindResult", "Injected bind result", number),
        "observedIntent": time(number).to_string(), "reconciledGeneration": 2, "observedGeneration": 2,
        "externalProperties": {}, "unbindStatus": "Required", "lastConditionState": "Ready",
        "bindingID": id, "instanceID": uid(3, number), "resolved": record(number),
    });
    let object = json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": "ServiceBinding",
        "metadata": metadata(6, "binding", number),
        "spec": {
            "instanceRef": { "name": format!("database-{number}") }, "secretName": format!("binding-{number}"),
            "externalID": id, "userInfo": user(number),
        },
        "status": status,
    });
    with_intent(object, &announced, number)
}

fn secret(number: usize) -> String {
    let mut metadata = metadata(10, "binding", number);
    metadata["labels"] = json!({ "servicecatalog.k8s.io/binding-uid": uid(6, number) });
    metadata["annotations"] = json!({ "servicecatalog.k8s.io/binding-id": uid(6, number) });
    metadata["ownerReferences"] = json!([{
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": "ServiceBinding", "name": format!("binding-{number}"),
        "uid": uid(6, number), "controller": true, "blockOwnerDeletion": true,
    }]);
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata }).to_string()
}

fn schema(what: &str) -> Value {
    let text = |title: &str| json!({ "type": "string", "title": title, "maxLength": 253, "description": format!("The {title} of the {what}. It cannot be changed later.") });
    json!({
        "$schema": "http://json-schema.org/draft-06/schema#", "type": "object", "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": text("name"), "region": text("region"), "version": text("version"), "owner": text("owner"),
            "size": { "type": "integer", "minimum": 1, "maximum": 64, "default": 1 },
            "backup": { "type": "object", "properties": { "window": text("window"), "target": text("target") } },
        },
    })
}

fn catalog_object(kind: &str, id: &str, number: usize, spec: &Value) -> String {
    let mut metadata = metadata(2, "x", number);
    let labels = [
        "spec.externalID",
        "spec.externalName",
        "spec.clusterServiceBrokerName",
        "spec.clusterServiceClassRef.name",
    ];
    let label = |field: &&str| (format!("servicecatalog.k8s.io/{field}"), json!(uid(11, number)));
    metadata["name"] = json!(id);
    metadata["labels"] = labels.iter().map(label).collect::<serde_json::Map<_, _>>().into();
    metadata["ownerReferences"] = json!([{
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": "ClusterServiceBroker", "name": "broker-1",
        "uid": uid(12, number / 100), "controller": true, "blockOwnerDeletion": false,
    }]);
    let metadata = metadata.as_object().unwrap().iter().filter(|(key, _)| *key != "namespace");
    let metadata: serde_json::Map<_, _> = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    json!({
        "apiVersion": "servicecatalog.k8s.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec,
        "status": { "removedFromBrokerCatalog": false },
    })
    .to_string()
}

fn plan(number: usize) -> String {
    let spec = json!({
        "externalName": format!("plan-{}", number % PLANS_OF_CLASS), "externalID": uid(2, number), "free": false,
        "description": "A database with backups every night, on one machine with a fast disk and 16 GiB of memory.",
        "clusterServiceBrokerName": "broker-1", "clusterServiceClassRef": { "name": uid(1, number / PLANS_OF_CLASS) },
        "externalMetadata": {
            "displayName": format!("Plan {number}"), "bullets": ["16 GiB of memory", "100 GiB of disk", "99.9 % available"],
            "costs": [{ "amount": { "eur": 99.0 }, "unit": "MONTHLY" }],
        },
        "instanceCreateParameterSchema": schema("new instance"), "instanceUpdateParameterSchema": schema("instance"),
        "serviceBindingCreateParameterSchema": schema("binding"),
    });
    catalog_object("ClusterServicePlan", &uid(2, number), number, &spec)
}

fn class(number: usize) -> String {
    let spec = json!({
        "externalName": format!("offering-{number}"), "externalID": uid(1, number), "bindable": true,
        "description": "A relational database as a service, with backups, metrics and updates.",
        "bindingRetrievable": true, "planUpdatable": true, "clusterServiceBrokerName": "broker-1",
        "tags": ["sql", "database"],
        "externalMetadata": {
            "displayName": format!("Database {number}"), "documentationUrl": "https://docs.example.com/database",
            "longDescription": "A relational database for applications of all sizes. ".repeat(5),
        },
    });
    catalog_object("ClusterServiceClass", &uid(1, number), number, &spec)
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Prints what the memory has grown by, for each object.
fn report<T>(what: &str, fill: impl FnOnce() -> T) -> T {
    let before = resident();
    let filled = fill();
    println!("{what:40} {:>8}", resident().saturating_sub(before) / OBJECTS);
    filled
}

fn read<K: Object>(text: &str) -> K {
    let mut object: K = serde_json::from_str(text).unwrap();
    object.managed_fields_mut().clear();
    object.complete()
}

fn fill<K: Object>(what: &str, kind: &Kind<K>, text: fn(usize) -> String) {
    println!("{:40} {:>8}", format!("{what}, the text"), text(77).len());
    report(&format!("{what}, in the cache"), || {
        for number in 0..OBJECTS {
            kind.apply(&Event::Apply(read(&text(number))));
        }
    });
    report(&format!("{what}, in the queue of the controller"), || {
        for object in kind.all() {
            let mut key = ObjectRef::new(object.name().name());
            key.namespace = object.name().namespace().map(str::to_owned);
            kind.enqueue(&key);
        }
        let mut queue = pin!(kind.queue());
        while let Some((name, _slot)) = queue.next().now_or_never().flatten() {
            kind.ended(&name, Some(Duration::from_secs(600)));
        }
    });
}

fn main() {
    let threads = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = threads.enter();
    let caches = Caches::new(true);
    println!("{:40} {:>8}", "", "bytes");
    fill("an instance", &caches.instances, instance);
    fill("a binding", &caches.bindings, binding);
    fill::<PartialObjectMeta<Secret>>("a Secret of a binding", caches.secrets.as_ref().unwrap(), secret);
    fill::<ClusterServicePlan>("a plan", &caches.cluster.plans, plan);
    fill::<ClusterServiceClass>("a class", &caches.cluster.classes, class);
    let (expectations, memories) = (Expectations::default(), Memories::default());
    report("what is remembered of an instance", || {
        for number in 0..OBJECTS {
            let instance: ServiceInstance = read(&instance(number));
            expectations.observe_write(&instance);
            let memory = OperationMemory { answered: Some(time(number)), ..OperationMemory::default() };
            memories.set(instance.uid().as_deref().unwrap(), memory);
        }
    });
    report("an instance that is decoded", || {
        black_box(
            (0..OBJECTS)
                .map(|number| Arc::new(read(&instance(number))))
                .collect::<Vec<Arc<ServiceInstance>>>(),
        )
    });
    report("a binding that is decoded", || {
        black_box(
            (0..OBJECTS).map(|number| Arc::new(read(&binding(number)))).collect::<Vec<Arc<ServiceBinding>>>(),
        )
    });
    black_box((&caches, &expectations, &memories));
}
