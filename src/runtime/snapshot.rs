//! The numbers for the metrics that are counted when the metrics are read.

use std::collections::BTreeMap;

use kube::{Resource as _, core::object::HasStatus};

use crate::{
    caches::{
        Caches, ScopeCaches,
        cached::{Health, Standing},
        kind::Kind,
        named::health,
    },
    crd::{
        Condition, Scope,
        scope::{CatalogObject, Object},
    },
    metrics::{Offered, Snapshot},
};

/// Counts what is in the caches.
pub fn snapshot(caches: &Caches) -> Snapshot {
    let mut snapshot = Snapshot::default();
    count_scope(&caches.cluster, &mut snapshot);
    count_scope(&caches.namespaced, &mut snapshot);
    count_queue(&caches.instances, &mut snapshot);
    count_queue(&caches.bindings, &mut snapshot);
    count_many(&caches.instances, &mut snapshot);
    count_many(&caches.bindings, &mut snapshot);
    snapshot
}

fn count_scope<S: Scope>(caches: &ScopeCaches<S>, snapshot: &mut Snapshot) {
    // A broker without classes and plans has zeros, as in v0.3.
    for broker in caches.brokers.state() {
        let name = broker.meta().name.clone().unwrap_or_default();
        let namespace = broker.meta().namespace.clone().unwrap_or_default();
        snapshot.offered.entry((name, namespace)).or_default();
    }
    count_catalog_objects(&caches.classes, &mut snapshot.offered, |offered| &mut offered.classes);
    count_catalog_objects(&caches.plans, &mut snapshot.offered, |offered| &mut offered.plans);
    count_objects(&caches.brokers, snapshot, |status| &status.conditions);
    count_queue(&caches.brokers, snapshot);
    count_queue(&caches.classes, snapshot);
    count_queue(&caches.plans, snapshot);
}

fn count_queue<K: Object>(kind: &Kind<K>, snapshot: &mut Snapshot) {
    snapshot.queued.insert(K::kind(&()), kind.queue_depth());
}

fn count_catalog_objects<K: CatalogObject>(
    kind: &Kind<K>,
    offered: &mut BTreeMap<(String, String), Offered>,
    counter: impl Fn(&mut Offered) -> &mut usize,
) {
    for object in kind.state().iter().filter(|object| !object.is_removed()) {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        *counter(offered.entry((object.broker_name().to_owned(), namespace)).or_default()) += 1;
    }
}

fn count_objects<K: Object + HasStatus>(
    kind: &Kind<K>,
    snapshot: &mut Snapshot,
    conditions: impl Fn(&K::Status) -> &[Condition],
) {
    for object in kind.state() {
        let conditions = object.status().map(&conditions).unwrap_or_default();
        count::<K>(health(object.meta(), conditions), snapshot);
    }
}

/// The same for a kind with very many objects: decodes none of them.
fn count_many<K: Object>(kind: &Kind<K>, snapshot: &mut Snapshot) {
    for object in kind.all() {
        let Standing { health, expires_at, is_renewing, .. } = object.standing();
        count::<K>(health, snapshot);
        snapshot.first_expiry = [snapshot.first_expiry, expires_at].into_iter().flatten().min();
        snapshot.renewing += usize::from(is_renewing);
    }
}

fn count<K: Object>(health: Health, snapshot: &mut Snapshot) {
    let state = match health {
        Health::Deleting => "deleting",
        Health::Failed => "failed",
        Health::Ready => "ready",
        Health::NotReady => "not-ready",
    };
    *snapshot.objects.entry((K::kind(&()), state)).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector::ObjectRef, watcher::Event};
    use serde_json::{Value, json};

    use super::*;
    use crate::crd::{ServiceBinding, ServiceInstance, ServiceInstanceSpec};

    #[test]
    fn the_first_of_all_credentials_to_expire_and_the_renewals_are_counted() {
        let caches = Caches::new(true);
        let of = |status: Value| {
            let binding = json!({
                "metadata": { "namespace": "ns", "name": status.to_string().len().to_string() },
                "spec": { "instanceRef": { "name": "db" } },
                "status": status,
            });
            let binding: ServiceBinding = serde_json::from_value(binding).unwrap();
            caches.bindings.apply(&Event::Apply(binding));
            let Snapshot { first_expiry, renewing, .. } = snapshot(&caches);
            (first_expiry, renewing)
        };
        assert_eq!(of(json!({ "conditions": [] })), (None, 0));
        let late = "2026-12-01T00:00:20Z";
        assert_eq!(of(json!({ "conditions": [], "expiresAt": late })), (Some(1_796_083_220), 0));
        let early =
            json!({ "conditions": [], "expiresAt": "2026-12-01T00:00:10Z", "rotation": { "successor": {} } });
        assert_eq!(of(early), (Some(1_796_083_210), 1));
    }

    #[test]
    fn the_queue_of_every_kind_with_a_controller_is_counted() {
        let caches = Caches::new(true);
        for name in ["a", "b"] {
            let mut instance = ServiceInstance::new(name, ServiceInstanceSpec::default());
            instance.metadata.namespace = Some("ns".into());
            caches.instances.enqueue(&ObjectRef::from_obj(&instance));
            caches.instances.apply(&Event::Apply(instance));
        }
        let Snapshot { queued, objects, .. } = snapshot(&caches);
        let queued: Vec<_> = queued.iter().map(|(kind, depth)| (&**kind, *depth)).collect();
        assert_eq!(
            queued,
            [
                ("ClusterServiceBroker", 0),
                ("ClusterServiceClass", 0),
                ("ClusterServicePlan", 0),
                ("ServiceBinding", 0),
                ("ServiceBroker", 0),
                ("ServiceClass", 0),
                ("ServiceInstance", 2),
                ("ServicePlan", 0),
            ]
        );
        assert_eq!(objects.into_iter().collect::<Vec<_>>(), [(("ServiceInstance".into(), "not-ready"), 2)]);
    }
}
