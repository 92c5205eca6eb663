//! Lookups in the caches. Each takes time in proportion to the length of its answer, however many objects
//! there are. The objects come in no order.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{ResourceExt as _, core::PartialObjectMeta, runtime::reflector::ObjectRef};

use super::{Caches, ScopeCaches, cached::Cached, keys::Key, kind::Kind};
use crate::{
    crd::{
        Scope, ScopeKind, ServiceBinding, ServiceInstance,
        common::BrokerKey,
        pods::PodSelector,
        scope::{BrokerObject as _, Object},
    },
    osb::{endpoint::bare_url, ids::normal_form},
};

impl Caches {
    /// The namespace of this name, without its spec.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.get(&ObjectRef::new(name))
    }

    /// The uid of a namespace, if it exists.
    #[must_use]
    pub fn namespace_uid(&self, name: &str) -> Option<String> {
        self.namespace(name).and_then(|namespace| namespace.uid())
    }

    /// Whether a namespace is being deleted: nothing can be created there any more.
    #[must_use]
    pub fn is_namespace_ending(&self, name: &str) -> bool {
        self.namespace(name).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// Whether a broker object exists, being deleted or not.
    #[must_use]
    pub fn has_broker(&self, key: &BrokerKey) -> bool {
        let namespace = key.namespace.as_deref();
        match key.scope {
            ScopeKind::Cluster => self.cluster.broker(namespace, &key.name).is_some(),
            ScopeKind::Namespace => self.namespaced.broker(namespace, &key.name).is_some(),
        }
    }

    /// A broker as it is reached: its URL in normal form. Two objects with one URL reach the same broker. An
    /// object without a valid URL is known by its own name.
    #[must_use]
    pub fn reached_broker(&self, key: &BrokerKey) -> String {
        let namespace = key.namespace.as_deref();
        let url = match key.scope {
            ScopeKind::Cluster => self.cluster.broker_url(namespace, &key.name),
            ScopeKind::Namespace => self.namespaced.broker_url(namespace, &key.name),
        };
        url.unwrap_or_else(|| key.to_string())
    }

    /// The instance of this name.
    #[must_use]
    pub fn instance(&self, namespace: &str, name: &str) -> Option<Arc<ServiceInstance>> {
        self.instances.get(&ObjectRef::new(name).within(namespace))
    }

    /// The instances of a namespace.
    #[must_use]
    pub fn instances_in(&self, namespace: &str) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::Namespace(namespace.to_owned()))
    }

    /// The instances of a namespace that may wait for another object.
    #[must_use]
    pub fn unsettled_instances_in(&self, namespace: &str) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::Namespace(namespace.to_owned()).unsettled())
    }

    /// The instances that have this broker on record.
    #[must_use]
    pub fn instances_of_broker(&self, broker: &BrokerKey) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::of_broker(broker))
    }

    /// The instances that have a broker of this URL on record.
    #[must_use]
    pub fn instances_of_broker_url(
        &self,
        namespace: Option<&str>,
        url: &str,
    ) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::BrokerUrl(namespace.map(str::to_owned), url.to_owned()))
    }

    /// The bindings that have a broker of this URL on record and may wait for it.
    #[must_use]
    pub fn unsettled_bindings_of_broker_url(
        &self,
        namespace: Option<&str>,
        url: &str,
    ) -> Vec<Cached<ServiceBinding>> {
        let key = Key::BrokerUrl(namespace.map(str::to_owned), url.to_owned());
        self.bindings.group(&key.unsettled())
    }

    /// The instances that name a class of a namespace, or (`None`) of the cluster. `class` is the name of the
    /// object, or the name or id in the catalog.
    #[must_use]
    pub fn instances_of_class(&self, namespace: Option<&str>, class: &str) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::NamesClass(namespace.map(str::to_owned), class.to_owned()))
    }

    /// Those of [`Caches::instances_of_class`] that may wait for the class, and those that may wait for such
    /// a class of the other scope.
    #[must_use]
    pub fn unsettled_instances_of_class(
        &self,
        namespace: Option<&str>,
        class: &str,
    ) -> Vec<Cached<ServiceInstance>> {
        let key = Key::NamesClass(namespace.map(str::to_owned), class.to_owned());
        self.instances.group(&key.unsettled())
    }

    /// The instances that have the plan object of this name on record.
    #[must_use]
    pub fn instances_of_plan(&self, namespace: Option<&str>, plan: &str) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::NamesPlan(namespace.map(str::to_owned), plan.to_owned()))
    }

    /// The instances that name this plan of this class. Both are names of objects, or names or ids in the
    /// catalog.
    #[must_use]
    pub fn instances_of_plan_in_class(
        &self,
        namespace: Option<&str>,
        class: &str,
        plan: &str,
    ) -> Vec<Cached<ServiceInstance>> {
        let namespace = namespace.map(str::to_owned);
        self.instances.group(&Key::NamesPlanOf(namespace, class.to_owned(), plan.to_owned()))
    }

    /// The instances that name this class and none of its plans.
    #[must_use]
    pub fn instances_of_any_plan_in_class(
        &self,
        namespace: Option<&str>,
        class: &str,
    ) -> Vec<Cached<ServiceInstance>> {
        self.instances.group(&Key::NamesAnyPlanOf(namespace.map(str::to_owned), class.to_owned()))
    }

    /// The instances that have this id at their broker, or may get it, and the one with this uid. The
    /// spelling of a UUID does not count.
    #[must_use]
    pub fn instances_by_id(&self, id: &str) -> Vec<Cached<ServiceInstance>> {
        by_id(&self.instances, id)
    }

    /// The bindings that have this id at their broker, or may get it, and the one with this uid. The spelling
    /// of a UUID does not count.
    #[must_use]
    pub fn bindings_by_id(&self, id: &str) -> Vec<Cached<ServiceBinding>> {
        by_id(&self.bindings, id)
    }

    /// The bindings that refer to an instance.
    #[must_use]
    pub fn bindings_of(&self, namespace: &str, instance: &str) -> Vec<Cached<ServiceBinding>> {
        self.bindings.group(&Key::Instance(namespace.to_owned(), instance.to_owned()))
    }

    /// The bindings of a namespace that name pods.
    #[must_use]
    pub fn bindings_with_pods(&self, namespace: &str) -> Vec<Cached<ServiceBinding>> {
        self.bindings.group(&Key::NamesPods(namespace.to_owned()))
    }

    /// The pods of a namespace with a selector, if the operator watches pods. It looks only at those with the first label
    /// of the selector, if that has labels.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &PodSelector) -> Option<Vec<Arc<PartialObjectMeta<Pod>>>> {
        let namespace = namespace.to_owned();
        let key = match selector.match_labels.iter().next() {
            Some((key, value)) => Key::Label(namespace, key.clone(), value.clone()),
            None => Key::Namespace(namespace),
        };
        let mut pods = self.pods.as_ref()?.indexed(&key);
        pods.retain(|pod| selector.matches(pod.labels()));
        Some(pods)
    }

    /// The bindings of a namespace that may wait for another object.
    #[must_use]
    pub fn unsettled_bindings_in(&self, namespace: &str) -> Vec<Cached<ServiceBinding>> {
        self.bindings.group(&Key::Namespace(namespace.to_owned()).unsettled())
    }

    /// The bindings that have this broker on record and may wait for it.
    #[must_use]
    pub fn unsettled_bindings_of_broker(&self, broker: &BrokerKey) -> Vec<Cached<ServiceBinding>> {
        self.bindings.group(&Key::of_broker(broker).unsettled())
    }

    /// The bindings that have this class object on record and may wait for it.
    #[must_use]
    pub fn unsettled_bindings_of_class(
        &self,
        namespace: Option<&str>,
        class: &str,
    ) -> Vec<Cached<ServiceBinding>> {
        let key = Key::NamesClass(namespace.map(str::to_owned), class.to_owned());
        self.bindings.group(&key.unsettled())
    }

    /// The bindings that have this plan object on record and may wait for it.
    #[must_use]
    pub fn unsettled_bindings_of_plan(
        &self,
        namespace: Option<&str>,
        plan: &str,
    ) -> Vec<Cached<ServiceBinding>> {
        let key = Key::NamesPlan(namespace.map(str::to_owned), plan.to_owned());
        self.bindings.group(&key.unsettled())
    }
}

/// Objects whose next id follows from their uid and the number of the attempt, and is not in their status
/// yet, may get any id.
fn by_id<K: Object>(kind: &Kind<K>, id: &str) -> Vec<Cached<K>> {
    let mut found = kind.group(&Key::Id(normal_form(id).into_owned()));
    found.extend(kind.group(&Key::LaterAttempt));
    found
}

/// `namespace` is `None` for cluster-wide kinds.
impl<S: Scope> ScopeCaches<S> {
    fn key<K: kube::Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> ObjectRef<K> {
        match namespace {
            Some(namespace) => ObjectRef::new(name).within(namespace),
            None => ObjectRef::new(name),
        }
    }

    /// The broker of this name.
    #[must_use]
    pub fn broker(&self, namespace: Option<&str>, name: &str) -> Option<Arc<S::Broker>> {
        self.brokers.get(&Self::key(namespace, name))
    }

    /// The URL of the broker of this name in normal form, if it has a valid one.
    fn broker_url(&self, namespace: Option<&str>, name: &str) -> Option<String> {
        bare_url(&self.broker(namespace, name)?.common().url)
    }

    /// The class object of this name.
    #[must_use]
    pub fn class(&self, namespace: Option<&str>, name: &str) -> Option<Arc<S::Class>> {
        self.classes.get(&Self::key(namespace, name))
    }

    /// All classes of the cluster or of a namespace.
    #[must_use]
    pub fn classes_in(&self, namespace: Option<&str>) -> Vec<Arc<S::Class>> {
        match namespace {
            Some(namespace) => self.classes.indexed(&Key::Namespace(namespace.to_owned())),
            None => self.classes.state(),
        }
    }

    /// The classes of a broker.
    #[must_use]
    pub fn classes_of_broker(&self, namespace: Option<&str>, broker: &str) -> Vec<Arc<S::Class>> {
        self.classes.indexed(&Key::Broker(namespace.map(str::to_owned), broker.to_owned()))
    }

    /// The classes that have this name in their catalogs.
    #[must_use]
    pub fn classes_by_external_name(&self, namespace: Option<&str>, name: &str) -> Vec<Arc<S::Class>> {
        self.classes.indexed(&Key::ExternalName(namespace.map(str::to_owned), name.to_owned()))
    }

    /// The classes that have this id in their catalogs.
    #[must_use]
    pub fn classes_by_external_id(&self, namespace: Option<&str>, id: &str) -> Vec<Arc<S::Class>> {
        self.classes.indexed(&Key::ExternalId(namespace.map(str::to_owned), id.to_owned()))
    }

    /// The plan object of this name.
    #[must_use]
    pub fn plan(&self, namespace: Option<&str>, name: &str) -> Option<Arc<S::Plan>> {
        self.plans.get(&Self::key(namespace, name))
    }

    /// All plans of the cluster or of a namespace.
    #[must_use]
    pub fn plans_in(&self, namespace: Option<&str>) -> Vec<Arc<S::Plan>> {
        match namespace {
            Some(namespace) => self.plans.indexed(&Key::Namespace(namespace.to_owned())),
            None => self.plans.state(),
        }
    }

    /// The plans of a broker.
    #[must_use]
    pub fn plans_of_broker(&self, namespace: Option<&str>, broker: &str) -> Vec<Arc<S::Plan>> {
        self.plans.indexed(&Key::Broker(namespace.map(str::to_owned), broker.to_owned()))
    }

    /// The plans of the class object of this name.
    #[must_use]
    pub fn plans_of_class(&self, namespace: Option<&str>, class: &str) -> Vec<Arc<S::Plan>> {
        self.plans.indexed(&Key::Class(namespace.map(str::to_owned), class.to_owned()))
    }

    /// The plans of the class object of this name that have this name in their catalogs.
    #[must_use]
    pub fn plans_by_external_name(
        &self,
        namespace: Option<&str>,
        class: &str,
        name: &str,
    ) -> Vec<Arc<S::Plan>> {
        let namespace = namespace.map(str::to_owned);
        self.plans.indexed(&Key::PlanExternalName(namespace, class.to_owned(), name.to_owned()))
    }

    /// The plans of the class object of this name that have this id in their catalogs.
    #[must_use]
    pub fn plans_by_external_id(&self, namespace: Option<&str>, class: &str, id: &str) -> Vec<Arc<S::Plan>> {
        let namespace = namespace.map(str::to_owned);
        self.plans.indexed(&Key::PlanExternalId(namespace, class.to_owned(), id.to_owned()))
    }
}
