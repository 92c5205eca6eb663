//! Who looks again when an object was touched: the object's own controller, and those that wait for it. Too many looks
//! are harmless (a look that finds nothing to do writes nothing), a missing one would be a wait without end.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    StreamExt as _,
    channel::mpsc::{UnboundedSender, unbounded},
    stream::BoxStream,
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Resource, ResourceExt as _, core::PartialObjectMeta, runtime::reflector::ObjectRef};

use crate::{
    brokers::BrokerKey,
    crd::{
        ClusterWide, ConditionType, Namespaced, Scope, ScopeKind, ServiceBinding, ServiceInstance,
        common::ResolvedOffering, condition, scope::EntryObject,
    },
    stores::{Stores, Watched},
};

/// The sending ends of the queues of all controllers.
pub struct Fanout {
    stores: Arc<Stores>,
    instances: Outbox<ServiceInstance>,
    bindings: Outbox<ServiceBinding>,
    cluster: ScopeOutboxes<ClusterWide>,
    namespaced: ScopeOutboxes<Namespaced>,
}

/// The queues of the controllers of one scope.
pub struct ScopeOutboxes<S: Scope> {
    brokers: Outbox<S::Broker>,
    classes: Outbox<S::Class>,
    plans: Outbox<S::Plan>,
}

/// The receiving ends.
pub struct Inboxes {
    pub instances: Inbox<ServiceInstance>,
    pub bindings: Inbox<ServiceBinding>,
    pub cluster: ScopeInboxes<ClusterWide>,
    pub namespaced: ScopeInboxes<Namespaced>,
}

/// The receiving ends of one scope.
pub struct ScopeInboxes<S: Scope> {
    pub brokers: Inbox<S::Broker>,
    pub classes: Inbox<S::Class>,
    pub plans: Inbox<S::Plan>,
}

/// A queue of objects to look at, read by their controller.
pub type Inbox<K> = BoxStream<'static, ObjectRef<K>>;

/// The sending end of a queue. An object that waits in it already is not queued again, so that it never holds more than
/// there are objects, however many events concern them.
struct Outbox<K: Resource<DynamicType = ()>> {
    sender: UnboundedSender<ObjectRef<K>>,
    waiting: Arc<Mutex<HashSet<ObjectRef<K>>>>,
}

impl<K: Resource<DynamicType = ()>> Outbox<K> {
    fn send(&self, key: ObjectRef<K>) {
        if self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            // Nobody listens any more only when the operator stops.
            let _ = self.sender.unbounded_send(key);
        }
    }

    fn send_all<'a>(&self, objects: impl IntoIterator<Item = &'a Arc<K>>)
    where
        K: 'a,
    {
        objects.into_iter().for_each(|object| self.send(ObjectRef::from_obj(&**object)));
    }
}

fn queue<K: Resource<DynamicType = ()> + Send + Sync + 'static>() -> (Outbox<K>, Inbox<K>) {
    let (sender, receiver) = unbounded::<ObjectRef<K>>();
    let waiting = Arc::new(Mutex::new(HashSet::new()));
    let taken = Arc::clone(&waiting);
    let inbox = receiver.inspect(move |key| {
        taken.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    });
    (Outbox { sender, waiting }, inbox.boxed())
}

fn scope_queues<S: Scope>() -> (ScopeOutboxes<S>, ScopeInboxes<S>) {
    let (brokers, brokers_in) = queue();
    let (classes, classes_in) = queue();
    let (plans, plans_in) = queue();
    (
        ScopeOutboxes { brokers, classes, plans },
        ScopeInboxes { brokers: brokers_in, classes: classes_in, plans: plans_in },
    )
}

/// A scope that a [`Fanout`] has queues for.
pub trait Routed: Watched {
    /// Its queues.
    fn outboxes(fanout: &Fanout) -> &ScopeOutboxes<Self>;
}

impl Routed for ClusterWide {
    fn outboxes(fanout: &Fanout) -> &ScopeOutboxes<Self> {
        &fanout.cluster
    }
}

impl Routed for Namespaced {
    fn outboxes(fanout: &Fanout) -> &ScopeOutboxes<Self> {
        &fanout.namespaced
    }
}

impl Fanout {
    /// The queues of all controllers.
    pub fn new(stores: Arc<Stores>) -> (Self, Inboxes) {
        let (instances, instances_in) = queue();
        let (bindings, bindings_in) = queue();
        let (cluster, cluster_in) = scope_queues();
        let (namespaced, namespaced_in) = scope_queues();
        let inboxes = Inboxes {
            instances: instances_in,
            bindings: bindings_in,
            cluster: cluster_in,
            namespaced: namespaced_in,
        };
        (Self { stores, instances, bindings, cluster, namespaced }, inboxes)
    }

    /// A broker was touched: whoever waits for it to come, to come back or to answer looks again.
    pub fn broker<S: Routed>(&self, broker: &S::Broker) {
        S::outboxes(self).brokers.send(ObjectRef::from_obj(broker));
        let (namespace, name) = (broker.namespace(), broker.name_any());
        let uses = |resolved: Option<&ResolvedOffering>, here: Option<String>| {
            resolved.is_none_or(|resolved| resolved.scope == S::KIND && resolved.broker == name)
                && (S::KIND == ScopeKind::Cluster || here == namespace)
        };
        self.instances.send_all(&self.stores.instances.state_filter(|instance| {
            is_waiting(instance)
                && uses(instance.status.as_ref().and_then(|s| s.resolved.as_ref()), instance.namespace())
        }));
        self.bindings.send_all(&self.stores.bindings.state_filter(|binding| {
            is_binding_waiting(binding)
                && uses(binding.status.as_ref().and_then(|s| s.resolved.as_ref()), binding.namespace())
        }));
    }

    /// The catalog of a broker is not what it was: it is to be fetched.
    pub fn outdated(&self, broker: &BrokerKey) {
        match &broker.namespace {
            None => self.cluster.brokers.send(ObjectRef::new(&broker.name)),
            Some(namespace) => {
                self.namespaced.brokers.send(ObjectRef::new(&broker.name).within(namespace));
            }
        }
    }

    /// A class was touched: its broker (which may be waiting for it to go), and instances that wait for it to come.
    pub fn class<S: Routed>(&self, class: &S::Class) {
        S::outboxes(self).classes.send(ObjectRef::from_obj(class));
        let name = class.name_any();
        self.entry::<S, _>(class, |resolved| resolved.class == name);
    }

    /// A plan was touched.
    pub fn plan<S: Routed>(&self, plan: &S::Plan) {
        S::outboxes(self).plans.send(ObjectRef::from_obj(plan));
        let name = plan.name_any();
        self.entry::<S, _>(plan, |resolved| resolved.plan == name);
    }

    fn entry<S: Routed, E: EntryObject>(&self, entry: &E, is_of: impl Fn(&ResolvedOffering) -> bool) {
        let namespace = entry.namespace();
        if let Some(broker) = S::stores(&self.stores).broker(namespace.as_deref(), entry.broker_name())
            && broker.meta().deletion_timestamp.is_some()
        {
            S::outboxes(self).brokers.send(ObjectRef::from_obj(&*broker));
        }
        // One at rest has only to be told of what is its own: its plan may have another version, say.
        let concerns = |instance: &ServiceInstance| {
            let resolved = instance.status.as_ref().and_then(|status| status.resolved.as_ref());
            is_waiting(instance)
                || resolved.is_some_and(|resolved| resolved.scope == S::KIND && is_of(resolved))
        };
        self.instances.send_all(&self.stores.instances.state_filter(|instance| {
            concerns(instance) && (S::KIND == ScopeKind::Cluster || instance.namespace() == namespace)
        }));
        self.bindings.send_all(&self.stores.bindings.state_filter(|binding| {
            is_binding_waiting(binding) && (S::KIND == ScopeKind::Cluster || binding.namespace() == namespace)
        }));
    }

    /// An instance was touched: its bindings wait for it to be ready; a class, plan or broker may wait for it to go.
    pub fn instance(&self, instance: &ServiceInstance) {
        self.instances.send(ObjectRef::from_obj(instance));
        let namespace = instance.namespace().unwrap_or_default();
        self.bindings.send_all(&self.stores.bindings_of(&namespace, &instance.name_any()));
        if let Some(resolved) = instance.status.as_ref().and_then(|status| status.resolved.as_ref()) {
            match resolved.scope {
                ScopeKind::Cluster => self.offering::<ClusterWide>(None, resolved),
                ScopeKind::Namespace => self.offering::<Namespaced>(Some(&namespace), resolved),
            }
        }
    }

    /// Class, plan and broker of an instance, if they are on their way out.
    fn offering<S: Routed>(&self, namespace: Option<&str>, resolved: &ResolvedOffering) {
        let (stores, outboxes) = (S::stores(&self.stores), S::outboxes(self));
        outboxes
            .classes
            .send_all(stores.class(namespace, &resolved.class).iter().filter(|class| class.is_removed()));
        outboxes
            .plans
            .send_all(stores.plan(namespace, &resolved.plan).iter().filter(|plan| plan.is_removed()));
        let leaving = |broker: &&Arc<S::Broker>| broker.meta().deletion_timestamp.is_some();
        outboxes.brokers.send_all(stores.broker(namespace, &resolved.broker).iter().filter(leaving));
    }

    /// A binding was touched: its instance may wait for it to go.
    pub fn binding(&self, binding: &ServiceBinding) {
        self.bindings.send(ObjectRef::from_obj(binding));
        let namespace = binding.namespace().unwrap_or_default();
        if let Some(instance) = self.stores.instance(&namespace, &binding.spec.instance_ref.name)
            && instance.metadata.deletion_timestamp.is_some()
        {
            self.instances.send(ObjectRef::from_obj(&*instance));
        }
    }

    /// A Secret with our label was touched: the binding that it belongs to looks whether it is still there.
    pub fn secret(&self, secret: &PartialObjectMeta<Secret>) {
        let namespace = secret.namespace().unwrap_or_default();
        for owner in secret.owner_references().iter().filter(|owner| owner.kind == ServiceBinding::kind(&()))
        {
            self.bindings.send(ObjectRef::new(&owner.name).within(&namespace));
        }
    }

    /// A namespace was touched: what was created in it before the watch told of it looks again, and so does every instance,
    /// as its broker may want to be told of the annotations.
    pub fn namespace(&self, namespace: &PartialObjectMeta<Namespace>) {
        let name = namespace.name_any();
        let here = |object: Option<String>| object.as_deref() == Some(&name);
        self.instances.send_all(&self.stores.instances.state_filter(|instance| here(instance.namespace())));
        self.bindings.send_all(
            &self
                .stores
                .bindings
                .state_filter(|binding| is_binding_waiting(binding) && here(binding.namespace())),
        );
    }
}

/// Whether an instance may be waiting for something else.
fn is_waiting(instance: &ServiceInstance) -> bool {
    let conditions = instance.status.as_ref().map(|status| &status.conditions[..]).unwrap_or_default();
    instance.metadata.deletion_timestamp.is_some() || !condition::is_true(conditions, ConditionType::Ready)
}

/// Whether a binding may be waiting for something else.
fn is_binding_waiting(binding: &ServiceBinding) -> bool {
    let conditions = binding.status.as_ref().map(|status| &status.conditions[..]).unwrap_or_default();
    binding.metadata.deletion_timestamp.is_some() || !condition::is_true(conditions, ConditionType::Ready)
}
