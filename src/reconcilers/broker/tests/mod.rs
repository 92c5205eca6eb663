//! Tables: what comes next for a broker, and what a catalog changes in the cluster. This file has the test
//! cluster.

mod conflicts;
mod due;
mod entries;
mod failures;
mod leaving;
mod scale;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    crd::{
        ClusterServiceBroker, ClusterServiceBrokerSpec, ClusterServiceClass, ClusterServicePlan, ClusterWide,
        ConditionStatus, ConditionType, FINALIZER,
        broker::{CatalogRestrictions, RelistBehavior},
        condition,
        plan::CommonServicePlanSpec,
        scope::{ClassObject as _, PlanObject as _},
    },
    osb::{Outcome, Refusal, RefusalReason, Unsent, UnsentReason},
    reconcilers::{
        catalog_object::labels,
        reconciler::{Next, Step, Wait},
        writes::Write,
    },
    reconcilers::{memory::BrokerMemory, settings::ReconcileSettings},
};

type Cluster = BrokerReconciler<ClusterWide>;

/// A small cluster: one broker with its classes and plans. The answers that it absorbs change it.
pub(super) struct TestCluster {
    broker: ClusterServiceBroker,
    classes: Vec<ClusterServiceClass>,
    plans: Vec<ClusterServicePlan>,
    blocking_instances: Vec<String>,
    instances: Vec<ServiceInstance>,
    outdated: bool,
    replaced: BTreeSet<String>,
    unheld: Option<Unheld>,
    successors: Vec<String>,
    memory: BrokerMemory,
    pub(super) settings: ReconcileSettings,
    now: Timestamp,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl TestCluster {
    pub(super) fn new() -> Self {
        let mut broker = ClusterServiceBroker::new("b", ClusterServiceBrokerSpec::default());
        broker.metadata.uid = Some("broker-uid".into());
        broker.metadata.generation = Some(1);
        broker.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        Self {
            broker,
            classes: Vec::new(),
            plans: Vec::new(),
            blocking_instances: Vec::new(),
            instances: Vec::new(),
            outdated: false,
            replaced: BTreeSet::new(),
            unheld: None,
            successors: Vec::new(),
            memory: BrokerMemory::default(),
            settings: ReconcileSettings::default(),
            now: at(999),
        }
    }

    fn observed(&self) -> Observed<Cluster> {
        Observed {
            object: Arc::new(self.broker.clone()),
            dependencies: BrokerDependencies {
                classes: self.classes.iter().cloned().map(Arc::new).collect(),
                plans: self.plans.iter().cloned().map(Arc::new).collect(),
                blocking_instances: self.blocking_instances.clone(),
                instances: self.instances.iter().cloned().map(Arc::new).map(Cached::decoded).collect(),
                outdated: self.outdated,
                replaced: self.replaced.clone(),
                unheld: self.unheld.clone(),
                successors: self.successors.clone(),
            },
            memory: self.memory,
            settings: self.settings,
            now: self.now,
        }
    }

    fn plan(&self) -> StepOf<Cluster> {
        Cluster::plan(&self.observed())
    }

    fn due(&self) -> Option<Timestamp> {
        plan::due(&self.observed())
    }

    /// Absorbs an answer as the runner does, with successful writes. Returns what was written, the status
    /// included.
    fn answer(&mut self, outcome: Outcome<Result<Arc<Catalog>, InvalidCatalog>>) -> Vec<String> {
        let absorbed = Cluster::absorb(&self.observed(), outcome);
        self.memory = absorbed.memory;
        let mut written: Vec<String> = Vec::new();
        for stage in absorbed.writes {
            assert!(!stage.is_empty());
            written.extend(stage.into_iter().map(|write| self.perform(write)));
        }
        let Next::Record(status) = absorbed.next else { panic!("an answer does not end a broker") };
        if self.broker.status.as_ref() != Some(&status) {
            written.push("status".to_owned());
        }
        self.broker.status = Some(status);
        written
    }

    /// Absorbs a catalog, one second after the last step.
    pub(super) fn catalog(&mut self, services: &Value) -> Vec<String> {
        self.now += SignedDuration::from_secs(1);
        self.answer(Outcome::Answered(Ok(Arc::new(parse(services)))))
    }

    fn perform(&mut self, write: Write) -> String {
        match write {
            Write::Create(target, object) if target.resource.kind == "ClusterServiceClass" => {
                self.classes.push(serde_json::from_str(object.text()).unwrap());
                format!("create {}", target.name)
            }
            Write::Create(target, object) => {
                self.plans.push(serde_json::from_str(object.text()).unwrap());
                format!("create {}", target.name)
            }
            Write::Patch(target, patch) => {
                self.patch(&target.name, &serde_json::to_value(patch).unwrap());
                format!("patch {}", target.name)
            }
            Write::PatchStatus(target, patch) => {
                self.patch(&target.name, &patch);
                format!("mark {} {}", target.name, patch["status"]["removedFromBrokerCatalog"])
            }
            Write::Delete(target, _) => {
                self.plans.retain(|plan| plan.metadata.name.as_deref() != Some(&target.name));
                self.classes.retain(|class| class.metadata.name.as_deref() != Some(&target.name));
                format!("delete {}", target.name)
            }
            Write::ApplySecret(_)
            | Write::LabelSecret(_)
            | Write::ReleaseSecret(_)
            | Write::DeleteSecret { .. }
            | Write::Rollout(_)
            | Write::Evict(_) => {
                panic!("no such write is due")
            }
        }
    }

    fn patch(&mut self, name: &str, patch: &Value) {
        for class in self.classes.iter_mut().filter(|class| class.metadata.name.as_deref() == Some(name)) {
            *class = patched(class, patch);
        }
        for plan in self.plans.iter_mut().filter(|plan| plan.metadata.name.as_deref() == Some(name)) {
            *plan = patched(plan, patch);
        }
    }

    fn ready(&self) -> (ConditionStatus, String, String) {
        let status = self.broker.status.clone().unwrap_or_default();
        let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap().clone();
        assert_eq!(status.last_condition_state, condition::summary(&status.conditions));
        (ready.status, ready.reason, ready.message)
    }
}

fn patched<K: crate::crd::scope::Object>(object: &K, patch: &Value) -> K {
    fn merge(value: &mut Value, patch: &Value) {
        let Value::Object(members) = patch else { return *value = patch.clone() };
        if !value.is_object() {
            *value = json!({});
        }
        for (key, member) in members {
            if member.is_null() {
                value.as_object_mut().unwrap().remove(key);
            } else {
                merge(&mut value[key], member);
            }
        }
    }
    let mut value = serde_json::to_value(object).unwrap();
    merge(&mut value, patch);
    serde_json::from_value(value).unwrap()
}

fn parse(services: &Value) -> Catalog {
    Catalog::parse(&serde_json::to_vec(&json!({ "services": services })).unwrap()).unwrap()
}

fn service(id: &str, plans: &[&str]) -> Value {
    let plans: Vec<Value> = plans
        .iter()
        .map(|plan| json!({"id": plan, "name": format!("name-{plan}"), "description": "d", "metadata": {"usd": 649.0}}))
        .collect();
    json!({"id": id, "name": format!("name-{id}"), "description": "d", "bindable": true, "bindings_retrievable": true,
        "plan_updateable": true, "tags": ["a", "b"], "plans": plans})
}

fn two() -> Value {
    json!([service("one", &["small", "large"]), service("Two", &["free"])])
}

fn unsent() -> Outcome<Result<Arc<Catalog>, InvalidCatalog>> {
    Outcome::Unsent(Unsent { message: "cannot connect to the broker".into(), reason: UnsentReason::Network })
}
