//! One test: a namespace of its own and, mostly, a scripted broker of its own that is registered there or cluster-wide.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Stage,
    objects::{
        BINDING, BROKER, CLASS, CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, EVENT, Hand, INSTANCE, Kind,
        NAMESPACE, PLAN, ROLE_BINDING, condition, is_ready, name,
    },
    wait,
};
use crate::broker::{self, Broker, LARGE, Offering, PASSWORD, POSTGRESQL, Plan, SMALL, USERNAME};

/// Secret with the credentials of the scripted broker.
pub const CREDENTIALS: &str = "broker-credentials";

/// One test.
pub struct Case {
    pub stage: &'static Stage,
    /// The administrator in the namespace of the test.
    pub hand: Hand,
    pub broker: Broker,
    /// Whether the broker is registered for the whole cluster.
    wide: bool,
}

impl Case {
    /// A namespace, and a broker that is not registered yet. What is cluster-wide of it is named after the namespace.
    pub async fn new(stage: &'static Stage, namespace: &str, wide: bool) -> Self {
        let client = stage.plane.admin_client().unwrap();
        let hand = Hand { client, namespace: namespace.to_owned() };
        hand.make(NAMESPACE, namespace, json!({})).await.unwrap();
        let credentials = json!({ "username": USERNAME, "password": PASSWORD });
        hand.secret(CREDENTIALS, credentials).await.unwrap();
        let case = Self { stage, hand, broker: Broker::start().await, wide };
        case.broker.set_catalog(broker::catalog([case.offering()]));
        case
    }

    /// The same with another broker, one that speaks TLS for example.
    #[must_use]
    pub fn with_broker(mut self, broker: Broker) -> Self {
        broker.set_catalog(broker::catalog([self.offering()]));
        self.broker = broker;
        self
    }

    /// A `ServiceBroker` that is ready.
    pub async fn namespaced(stage: &'static Stage, namespace: &str) -> Self {
        let case = Self::new(stage, namespace, false).await;
        case.register(json!({})).await;
        case
    }

    /// A `ClusterServiceBroker` that is ready.
    pub async fn cluster_wide(stage: &'static Stage, namespace: &str) -> Self {
        let case = Self::new(stage, namespace, true).await;
        case.register(json!({})).await;
        case
    }

    pub fn namespace(&self) -> &str {
        &self.hand.namespace
    }

    /// The kind of its broker object.
    pub fn broker_kind(&self) -> Kind {
        if self.wide { CLUSTER_BROKER } else { BROKER }
    }

    /// The fields of an instance's spec that the operator fills in for its class and its plan.
    pub fn reference_fields(&self) -> [String; 2] {
        let prefix = if self.wide { "clusterService" } else { "service" };
        ["Class", "Plan"].map(|kind| format!("{prefix}{kind}Ref"))
    }

    pub fn class_kind(&self) -> Kind {
        if self.wide { CLUSTER_CLASS } else { CLASS }
    }

    pub fn plan_kind(&self) -> Kind {
        if self.wide { CLUSTER_PLAN } else { PLAN }
    }

    /// The name of its broker object.
    pub fn broker_name(&self) -> &str {
        self.namespace()
    }

    /// An id or a name of a catalog, made unique where the whole cluster sees it.
    pub fn unique(&self, text: &str) -> String {
        if self.wide { format!("{text}-{}", self.namespace()) } else { text.to_owned() }
    }

    /// The offering of [`broker::default_catalog`], unique.
    pub fn offering(&self) -> Offering {
        Offering::new(&self.unique(POSTGRESQL), &self.unique("postgresql"))
            .plan(Plan::new(&self.unique(SMALL), "small"))
            .plan(Plan::new(&self.unique(LARGE), "large"))
    }

    /// The spec of a broker object for the scripted broker.
    pub fn broker_spec(&self, more: Value) -> Value {
        let mut secret = json!({ "name": CREDENTIALS });
        if self.wide {
            secret["namespace"] = self.namespace().into();
        }
        with(json!({ "url": self.broker.url(), "authInfo": { "basic": { "secretRef": secret } } }), more)
    }

    /// Creates the broker object.
    pub async fn create_broker(&self, more: Value) {
        self.hand.create(self.broker_kind(), self.broker_name(), self.broker_spec(more)).await.unwrap();
    }

    /// Creates the broker object and waits until its classes and plans are there.
    pub async fn register(&self, more: Value) {
        self.create_broker(more).await;
        self.ready(self.broker_kind(), self.broker_name()).await;
    }

    /// The spec of an instance of a plan.
    pub fn instance_spec(&self, plan: &str, more: Value) -> Value {
        let service = self.unique("postgresql");
        let spec = if self.wide {
            json!({ "clusterServiceClassExternalName": service, "clusterServicePlanExternalName": plan })
        } else {
            json!({ "serviceClassExternalName": service, "servicePlanExternalName": plan })
        };
        with(spec, more)
    }

    /// The field of an instance's spec that names the plan.
    pub fn plan_field(&self) -> &'static str {
        if self.wide { "clusterServicePlanExternalName" } else { "servicePlanExternalName" }
    }

    /// Creates an instance.
    pub async fn order(&self, name: &str, plan: &str, more: Value) -> Value {
        self.hand.create(INSTANCE, name, self.instance_spec(plan, more)).await.unwrap()
    }

    /// Creates an instance and waits until it is ready.
    pub async fn provide(&self, name: &str, more: Value) -> Value {
        self.order(name, "small", more).await;
        self.ready(INSTANCE, name).await
    }

    /// Creates a binding.
    pub async fn bind(&self, name: &str, instance: &str, more: Value) -> Value {
        let spec = with(json!({ "instanceRef": { "name": instance } }), more);
        self.hand.create(BINDING, name, spec).await.unwrap()
    }

    /// Creates a binding and waits until it is ready.
    pub async fn connect(&self, name: &str, instance: &str, more: Value) -> Value {
        self.bind(name, instance, more).await;
        self.ready(BINDING, name).await
    }

    /// Changes the spec of an object.
    pub async fn edit(&self, kind: Kind, name: &str, spec: Value) -> Value {
        self.hand.edit(kind, name, json!({ "spec": spec })).await.unwrap()
    }

    /// Asks for a deletion.
    pub async fn delete(&self, kind: Kind, name: &str) {
        self.hand.delete(kind, name).await.unwrap();
    }

    /// Asks for a deletion and waits for it.
    pub async fn remove(&self, kind: Kind, name: &str) {
        self.delete(kind, name).await;
        self.gone(kind, name).await;
    }

    /// An object that must exist.
    pub async fn get(&self, kind: Kind, name: &str) -> Value {
        self.hand.get(kind, name).await.unwrap().unwrap_or_else(|| panic!("there is no {} {name}", kind.name))
    }

    /// The content of a Secret that must exist.
    pub async fn content(&self, name: &str) -> Value {
        self.hand.content(name).await.unwrap().unwrap_or_else(|| panic!("there is no Secret {name}"))
    }

    /// Waits until an object is as wanted.
    pub async fn until(&self, kind: Kind, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found =
            wait::until(self.stage, &self.hand, (kind, name), what, |object| object.is_some_and(&wanted));
        found.await.unwrap_or_default()
    }

    /// Waits until an object is ready as its present spec says.
    pub async fn ready(&self, kind: Kind, name: &str) -> Value {
        self.until(kind, name, "to be ready", is_ready).await
    }

    /// Waits until an object says why it is not ready, in words that hold all of these.
    pub async fn says(&self, kind: Kind, name: &str, reason: &str, words: &[&str]) -> Value {
        let what = format!("to be not ready because of {reason}, with the words {words:?}");
        self.until(kind, name, &what, |object| {
            condition(object, "Ready").is_some_and(|(status, said, message)| {
                status != "True" && said == reason && words.iter().all(|word| message.contains(word))
            })
        })
        .await
    }

    /// Waits until an object says that it is not tried any more, in words that hold all of these.
    pub async fn failed(&self, kind: Kind, name: &str, words: &[&str]) -> Value {
        let what = format!("to have failed, with the words {words:?}");
        self.until(kind, name, &what, |object| {
            condition(object, "Failed").is_some_and(|(status, _, message)| {
                status == "True" && words.iter().all(|word| message.contains(word))
            })
        })
        .await
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: Kind, name: &str) {
        wait::until(self.stage, &self.hand, (kind, name), "to be gone", |object| object.is_none()).await;
    }

    /// Waits for an Event about an object, with a reason.
    pub async fn told(&self, about: &str, reason: &str) -> Value {
        let deadline = Instant::now() + wait::PATIENCE;
        loop {
            // Events have names that nobody knows, so there is nothing to watch by name.
            let events = self.hand.list(EVENT).await.unwrap();
            let wanted = |event: &&Value| event["regarding"]["name"] == about && event["reason"] == reason;
            if let Some(event) = events.iter().find(wanted) {
                return event.clone();
            }
            assert!(Instant::now() < deadline, "no Event {reason} about {about} in {events:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The classes or plans of its broker.
    pub async fn entries(&self, kind: Kind) -> Vec<Value> {
        let mut entries = self.hand.list(kind).await.unwrap();
        let field = if self.wide { "clusterServiceBrokerName" } else { "serviceBrokerName" };
        entries.retain(|entry| entry["spec"][field] == self.broker_name());
        entries
    }

    /// Waits until the broker shows something.
    pub async fn broker_shows<T>(&self, what: &str, probe: impl FnMut(&Broker) -> Option<T>) -> T {
        self.broker.wait_until(probe, wait::PATIENCE, what).await
    }

    /// The users that may do in the namespace what its administrator may.
    pub async fn admit(&self, users: &[&str]) {
        let subject =
            |user: &&str| json!({ "kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io" });
        let body = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" },
            "subjects": users.iter().map(subject).collect::<Vec<_>>(),
        });
        self.hand.make(ROLE_BINDING, "users", body).await.unwrap();
    }

    /// A user at work in the namespace.
    pub fn user(&self, name: &str) -> Hand {
        let client = kube::Client::try_from(self.stage.plane.user(name, &[]).unwrap()).unwrap();
        Hand { client, namespace: self.namespace().to_owned() }
    }

    /// Deletes what is there, in the order of a careful user, and holds the broker's books against what happened.
    pub async fn finish(self) {
        for kind in [BINDING, INSTANCE] {
            let present = self.hand.list(kind).await.unwrap();
            for object in &present {
                // It may be on its way already.
                let asked = self.hand.delete(kind, name(object)).await;
                assert!(asked.is_ok() || asked.as_ref().is_err_and(is_missing), "{asked:?}");
            }
            for object in &present {
                self.gone(kind, name(object)).await;
            }
        }
        if self.hand.get(self.broker_kind(), self.broker_name()).await.unwrap().is_some() {
            self.remove(self.broker_kind(), self.broker_name()).await;
        }
        // The operator deletes what its caches show; what it has not seen yet goes by its owner reference.
        for kind in [self.class_kind(), self.plan_kind()] {
            for entry in self.entries(kind).await {
                self.gone(kind, name(&entry)).await;
            }
        }
        self.audit();
    }

    /// The broker's books: nothing is left, nothing was made twice, nothing improper was asked.
    pub fn audit(&self) {
        let broker = &self.broker;
        assert_eq!(broker.violations(), Vec::<String>::new(), "{}", broker.summary());
        assert!(
            broker.live_instances().is_empty() && broker.live_bindings().is_empty(),
            "{}",
            broker.summary()
        );
        for id in broker.ever_created() {
            assert_eq!(broker.creations(&id), 1, "{id} was created more than once; {}", broker.summary());
        }
        assert!(broker.overlapping_changes().is_empty(), "{:#?}", broker.overlapping_changes());
    }
}

/// A spec with more fields.
pub fn with(mut spec: Value, more: Value) -> Value {
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
