//! Tables: what comes next for a broker, and what a catalog does to the cluster.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    context::{Memory, Tunables},
    crd::{
        ClusterServiceBroker, ClusterServiceBrokerSpec, ClusterServiceClass, ClusterServicePlan, ClusterWide,
        ConditionStatus, ConditionType, FINALIZER,
        broker::{CatalogRestrictions, RelistBehavior},
        condition,
        plan::CommonServicePlanSpec,
        scope::{ClassObject as _, PlanObject as _},
    },
    osb::{Hindrance, Outcome, Refusal, RefusalReason, Unsent},
    reconcilers::{
        entry::labels,
        machine::{Next, Wait},
        write::Write,
    },
};

type Cluster = BrokerMachine<ClusterWide>;

/// A cluster in miniature: one broker and all entries, changed by what is absorbed.
pub(super) struct Bench {
    broker: ClusterServiceBroker,
    classes: Vec<ClusterServiceClass>,
    plans: Vec<ClusterServicePlan>,
    users: Vec<String>,
    outdated: bool,
    memory: Memory,
    now: Timestamp,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Bench {
    pub(super) fn new() -> Self {
        let mut broker = ClusterServiceBroker::new("b", ClusterServiceBrokerSpec::default());
        broker.metadata.uid = Some("broker-uid".into());
        broker.metadata.generation = Some(1);
        broker.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        Self {
            broker,
            classes: Vec::new(),
            plans: Vec::new(),
            users: Vec::new(),
            outdated: false,
            memory: Memory::default(),
            now: at(999),
        }
    }

    fn observed(&self) -> Observed<Cluster> {
        Observed {
            object: Arc::new(self.broker.clone()),
            world: World {
                classes: self.classes.iter().cloned().map(Arc::new).collect(),
                plans: self.plans.iter().cloned().map(Arc::new).collect(),
                users: self.users.clone(),
                outdated: self.outdated,
            },
            memory: self.memory,
            tunables: Tunables::default(),
            now: self.now,
        }
    }

    fn plan(&self) -> Step<Cluster> {
        Cluster::plan(&self.observed())
    }

    fn due(&self) -> Option<Timestamp> {
        plan::due(&self.observed())
    }

    /// Absorbs an answer as the shell does, all writes succeeding; says what was written, status included.
    fn answer(&mut self, outcome: Outcome<Result<Arc<Catalog>, InvalidCatalog>>) -> Vec<String> {
        let call = FetchCatalog::of::<ClusterWide>(&self.broker);
        let absorbed = Cluster::absorb(&self.observed(), &call, outcome);
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

    /// Absorbs a catalog, a second after whatever was before.
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
            Write::Delete(..) | Write::ApplySecret(_) | Write::MarkSecret(_) | Write::DeleteSecret { .. } => {
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
    Outcome::Unsent(Unsent { message: "cannot connect to the broker".into(), hindrance: Hindrance::Network })
}

#[test]
fn a_catalog_becomes_classes_and_then_plans() {
    let mut bench = Bench::new();
    let written = bench.catalog(&two());
    assert_eq!(
        written,
        ["create one", "create z54zwo", "create small", "create large", "create free", "status"]
    );
    let class = &bench.classes[1];
    assert_eq!((class.broker_name(), class.external_id(), class.external_name()), ("b", "Two", "name-Two"));
    assert!(class.common().bindable && class.common().binding_retrievable && class.common().plan_updatable);
    assert!(labels::wrong(class).is_empty());
    let owner = &class.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.kind.as_str()), ("broker-uid", "ClusterServiceBroker"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(false)));
    let plan = &bench.plans[2];
    assert_eq!((plan.class_name(), plan.common().free, plan.common().bindable), ("z54zwo", true, None));
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::True, "FetchedCatalog"));
    assert_eq!(message, "Successfully fetched catalog entries from broker.");
    let status = bench.broker.status.unwrap();
    assert_eq!((status.reconciled_generation, status.last_catalog_retrieval_time), (1, Some(Time(at(1000)))));
}

#[test]
fn the_same_catalog_in_any_order_writes_nothing() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.now = at(90_000);
    assert!(bench.catalog(&two()).is_empty());
    let shuffled = json!([service("Two", &["free"]), service("one", &["large", "small"])]);
    assert!(bench.catalog(&shuffled).is_empty());
    let mut retagged = two();
    retagged[0]["tags"] = json!(["b", "a"]);
    assert!(bench.catalog(&retagged).is_empty());
    assert_eq!(bench.broker.status.as_ref().unwrap().last_catalog_retrieval_time, Some(Time(at(1000))));
    assert!(bench.due().unwrap() > at(170_000), "the time is in memory");
}

#[test]
fn only_what_has_changed_is_written_and_what_people_set_is_kept() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let defaults = json!({"size": 1}).as_object().cloned().map(Into::into);
    bench.classes[0].spec.common.default_provision_parameters.clone_from(&defaults);
    bench.classes[0].metadata.labels.get_or_insert_default().insert("mine".into(), "x".into());
    let mut changed = two();
    changed[0]["description"] = json!("new");
    changed[0]["name"] = json!("renamed");
    changed[1]["plans"][0]["free"] = json!(false);
    assert_eq!(bench.catalog(&changed), ["patch one", "patch free", "status"]);
    assert_eq!(bench.classes[0].spec.common.default_provision_parameters, defaults);
    assert!(labels::wrong(&bench.classes[0]).is_empty());
    assert!(bench.classes[0].metadata.labels.as_ref().unwrap().contains_key("mine"));
    assert!(!bench.plans[2].spec.common.free);
}

#[test]
fn what_leaves_the_catalog_is_marked_and_unmarked_on_return() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let without = json!([service("one", &["small"])]);
    assert_eq!(bench.catalog(&without), ["mark z54zwo true", "mark large true", "mark free true", "status"]);
    assert!(bench.catalog(&without).is_empty());
    let mut back = two();
    back[1]["description"] = json!("new");
    let written = bench.catalog(&back);
    assert_eq!(
        written,
        ["patch z54zwo", "mark z54zwo false", "mark large false", "mark free false", "status"]
    );
    assert!(bench.catalog(&back).is_empty());
    assert_eq!(bench.catalog(&json!([])).len(), 6, "an empty catalog is a catalog");
}

#[test]
fn what_users_have_made_is_left_alone() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let mut made = ClusterServiceClass::build("made", "b", bench.classes[0].spec.common.clone());
    made.spec.common.external_name = "mine".into();
    bench.classes.push(made);
    assert!(bench.catalog(&two()).is_empty());
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    bench.classes.retain(|class| class.metadata.name.as_deref() == Some("made"));
    bench.plans.clear();
    assert!(matches!(bench.plan(), Step::RemoveFinalizer));
}

#[test]
fn an_entry_of_nobody_or_of_a_predecessor_is_adopted() {
    for owner in [None, Some("uid-before-the-restore")] {
        let mut bench = Bench::new();
        bench.catalog(&two());
        bench.classes[0].metadata.owner_references = owner.map(|uid| {
            let mut reference = owner::reference(&bench.broker);
            reference.uid = uid.to_owned();
            vec![reference]
        });
        assert_eq!(bench.catalog(&two()), ["patch one", "status"]);
        assert_eq!(owner::of(&bench.classes[0], &bench.broker), owner::Owner::Us);
        assert_eq!(bench.classes[0].metadata.owner_references.as_ref().unwrap().len(), 1);
    }
}

#[test]
fn a_class_named_by_its_bare_id_keeps_its_name() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.classes[1].metadata.name = Some("Two".into());
    bench.plans[2].spec.cluster_service_class_ref.name = "Two".into();
    bench.plans[2] = labels::labelled(bench.plans[2].clone());
    assert!(bench.catalog(&two()).is_empty());
}

#[test]
fn a_conflict_names_both_brokers_and_writes_no_entry() {
    let mut bench = Bench::new();
    let mut theirs =
        ClusterServiceClass::build("z54zwo", "other", crate::crd::class::CommonServiceClassSpec::default());
    theirs.spec.common.external_id = "Two".into();
    bench.classes.push(theirs);
    assert_eq!(bench.catalog(&two()), ["status"]);
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
    for part in
        ["\"Two\"", "ClusterServiceBroker b ", "ClusterServiceBroker other ", "ClusterServiceClass z54zwo"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let restrictions = CatalogRestrictions {
        service_class: vec!["spec.externalID != Two".into()],
        service_plan: Vec::new(),
    };
    bench.broker.spec.common.catalog_restrictions = Some(restrictions);
    bench.broker.metadata.generation = Some(2);
    assert_eq!(bench.catalog(&two()), ["create one", "create small", "create large", "status"]);
}

#[test]
fn a_plan_that_another_broker_offers_is_a_conflict_whatever_its_class() {
    for class in ["one", "elsewhere"] {
        let mut bench = Bench::new();
        let mut theirs = ClusterServicePlan::build("large", "other", class, CommonServicePlanSpec::default());
        theirs.spec.common.external_id = "large".into();
        bench.plans.push(theirs);
        assert_eq!(bench.catalog(&two()), ["status"]);
        let (status, reason, message) = bench.ready();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
        for part in [
            "\"large\"",
            "ClusterServiceBroker b ",
            "ClusterServiceBroker other ",
            "ClusterServicePlan large",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        bench.plans.clear();
        let all = ["create one", "create z54zwo", "create small", "create large", "create free", "status"];
        assert_eq!(bench.catalog(&two()), all, "the other broker has gone");
    }
}

#[test]
fn an_object_that_is_something_else_is_a_conflict() {
    let spoil: [fn(&mut Bench); 3] = [
        |bench| bench.classes[0].spec.common.external_id = "changed".into(),
        |bench| bench.plans[0].spec.cluster_service_class_ref.name = "z54zwo".into(),
        |bench| {
            let mut reference = owner::reference(&bench.broker);
            (reference.uid, reference.name) = ("x".into(), "x".into());
            bench.plans[0].metadata.owner_references = Some(vec![reference]);
        },
    ];
    for spoil in spoil {
        let mut bench = Bench::new();
        bench.catalog(&two());
        spoil(&mut bench);
        assert_eq!(bench.catalog(&two()), ["status"]);
        assert_eq!(bench.ready().1, "ErrorSyncingCatalog");
        assert!(bench.ready().2.ends_with("delete it"), "{}", bench.ready().2);
    }
}

#[test]
fn restrictions_leave_out_plans_and_classes_without_any() {
    let mut bench = Bench::new();
    let plans = vec!["spec.externalName notin (name-free, name-large)".to_owned()];
    bench.broker.spec.common.catalog_restrictions =
        Some(CatalogRestrictions { service_class: Vec::new(), service_plan: plans });
    assert_eq!(bench.catalog(&two()), ["create one", "create small", "status"]);
}

#[test]
fn a_restriction_that_is_none_is_reported_without_asking_the_broker() {
    let mut bench = Bench::new();
    let classes = vec!["nonsense".to_owned()];
    bench.broker.spec.common.catalog_restrictions =
        Some(CatalogRestrictions { service_class: classes, service_plan: Vec::new() });
    let Step::Record(status) = bench.plan() else { panic!("not reported") };
    bench.broker.status = Some(status);
    assert!(bench.ready().2.contains("spec.catalogRestrictions.serviceClass[0]"));
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
}

#[test]
fn what_does_not_fit_the_cluster_is_named() {
    let mut bench = Bench::new();
    let mut services = two();
    services[1]["name"] = json!("n".repeat(64));
    services[0]["plans"][1]["metadata"] = json!({"text": "x".repeat(1 << 20)});
    assert_eq!(bench.catalog(&services), ["create one", "create small", "status"]);
    let (status, _, message) = bench.ready();
    assert_eq!(status, ConditionStatus::True);
    assert!(
        message.starts_with("Successfully fetched catalog entries from broker. Left out: services[1] "),
        "{message}"
    );
    assert!(
        message.contains("plan \"name-large\" of offering \"name-one\": it is larger than 1 MiB"),
        "{message}"
    );
    assert!(bench.catalog(&services).is_empty());
}

#[test]
fn a_failure_is_told_once_and_leaves_the_last_good_catalog() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let entries = serde_json::to_value((&bench.classes, &bench.plans)).unwrap();
    bench.now = at(90_000);
    let invalid = Catalog::parse(b"{}").unwrap_err();
    assert_eq!(bench.answer(Outcome::Answered(Err(invalid))), ["status"]);
    let (_, reason, message) = bench.ready();
    assert_eq!(reason, "ErrorFetchingCatalog");
    assert!(
        message.starts_with("Error fetching catalog. the broker's catalog is invalid: services"),
        "{message}"
    );
    assert_eq!(bench.answer(unsent()), ["status"]);
    bench.now = at(90_010);
    assert!(bench.answer(unsent()).is_empty());
    assert_eq!(
        bench.ready().2,
        "Error fetching catalog. cannot connect to the broker; tried again by itself"
    );
    let status = bench.broker.status.clone().unwrap();
    assert_eq!(status.operation_start_time, Some(Time(at(90_000))));
    assert_eq!(serde_json::to_value((&bench.classes, &bench.plans)).unwrap(), entries);
    assert_eq!(bench.catalog(&two()), ["status"]);
    assert_eq!(bench.broker.status.unwrap().operation_start_time, None);
}

#[test]
fn failures_are_repeated_later_and_later_and_a_new_spec_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.due(), Some(bench.now));
    let mut delays = Vec::new();
    for _ in 0..4 {
        bench.answer(unsent());
        delays.push(bench.due().unwrap().duration_since(bench.now).as_secs_f64());
        bench.now = bench.due().unwrap();
    }
    assert!((0.9..=1.1).contains(&delays[0]), "{delays:?}");
    assert!((delays[3] / delays[0] - 8.0).abs() < 0.1, "{delays:?}");
    bench.answer(unsent());
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))));
    bench.broker.metadata.generation = Some(2);
    assert!(matches!(bench.plan(), Step::Call { .. }));
    bench.answer(unsent());
    assert_eq!(bench.memory.failures, 1);
}

#[test]
fn another_api_version_is_tried_at_once() {
    let mut bench = Bench::new();
    let set = |bench: &mut Bench, version: &str| {
        let annotations = bench.broker.metadata.annotations.get_or_insert_default();
        annotations.insert(crate::osb::version::ANNOTATION.to_owned(), version.to_owned());
    };
    bench.catalog(&two());
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))));
    for version in ["2.14", "nonsense", "2.13"] {
        set(&mut bench, version);
        assert!(matches!(bench.plan(), Step::Call { .. }), "{version}");
        bench.answer(unsent());
        bench.answer(unsent());
        assert_eq!(bench.memory.failures, 2);
        assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))), "{version}");
    }
    bench.memory = Memory::default();
    bench.catalog(&two());
    bench.memory = Memory::default();
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))), "a restart asks for nothing that is not due");
}

#[test]
fn a_broker_that_asks_for_patience_gets_it() {
    let mut bench = Bench::new();
    bench.answer(Outcome::Refused(Refusal {
        status: 429,
        reason: RefusalReason::Throttled,
        message: "429".into(),
        retry_after: Some(std::time::Duration::from_secs(77)),
        instance_usable: None,
        update_repeatable: None,
    }));
    assert_eq!(bench.due(), Some(at(1076)));
    bench.answer(unsent());
    assert!(bench.due() < Some(at(1076)));
}

#[test]
fn writes_that_fail_are_made_good_by_another_fetch() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    let (broker, mut changed) = (bench.broker.clone(), two());
    changed[0]["description"] = json!("new");
    bench.now = at(90_000);
    bench.catalog(&changed);
    assert!(bench.due().unwrap() > at(170_000), "all is on record");
    bench.broker = broker;
    assert!(bench.due().unwrap() < at(90_002), "the status was not written");
}

#[test]
fn entries_that_the_api_server_refuses_are_named_and_tried_again_later_and_later() {
    let mut bench = Bench::new();
    let refused = Refused { message: "cannot create ClusterServicePlan large: forbidden".into() };
    let mut pauses = Vec::new();
    for failures in 1..=4 {
        bench.catalog(&two());
        let status = Cluster::absorb_refused_write(&bench.observed(), &refused);
        bench.broker.status = Some(status.clone());
        assert_eq!(Cluster::absorb_refused_write(&bench.observed(), &refused), status, "told once");
        let (status, reason, message) = bench.ready();
        assert_eq!((status, reason.as_str()), (ConditionStatus::False, "ErrorSyncingCatalog"));
        for part in
            [refused.message.as_str(), "everything else of the catalog is in place", "tried again by itself"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(plan::failures(&bench.observed()), failures);
        pauses.push(bench.due().unwrap().duration_since(bench.now));
        bench.now = bench.due().unwrap();
    }
    assert!(pauses.is_sorted_by(|one, next| one < next), "{pauses:?}");
    bench.catalog(&two());
    assert_eq!(bench.ready().1, "FetchedCatalog");
    assert_eq!(plan::failures(&bench.observed()), 0);
}

#[test]
fn a_good_catalog_is_fetched_again_after_its_interval() {
    let day = 24 * 3600;
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.memory = Memory::default();
    for (behavior, duration, expected) in [
        (RelistBehavior::Unset, None, Some(1000 + day)),
        (RelistBehavior::Duration, Some(60), Some(1060)),
        (RelistBehavior::Unset, Some(0), Some(1000 + day)),
        (RelistBehavior::Manual, Some(60), None),
    ] {
        bench.broker.spec.common.relist_behavior = behavior;
        let duration = duration.map(|seconds| std::time::Duration::from_secs(seconds).into());
        bench.broker.spec.common.relist_duration = duration;
        assert_eq!(bench.due(), expected.map(at), "{behavior:?} {duration:?}");
    }
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
    bench.broker.metadata.generation = Some(2);
    assert!(matches!(bench.plan(), Step::Call { .. }), "a manual relist is a new generation");
    bench.broker.metadata.generation = Some(1);
    bench.broker.spec.common.relist_behavior = RelistBehavior::Duration;
    bench.broker.status.as_mut().unwrap().last_catalog_retrieval_time = None;
    assert!(matches!(bench.plan(), Step::Call { .. }), "nobody knows how old it is");
    let restarted = SignedDuration::from_secs(59);
    bench.broker.status.as_mut().unwrap().last_catalog_retrieval_time = Some(Time(bench.now - restarted));
    assert!(matches!(bench.plan(), Step::Wait(Wait::Until(_))));
}

#[test]
fn a_catalog_that_the_broker_calls_outdated_is_fetched_at_once_but_not_all_the_time() {
    let mut bench = Bench::new();
    bench.answer(Outcome::Answered(Ok(Arc::new(parse(&two())))));
    bench.now += SignedDuration::from_mins(5);
    assert!(bench.due() > Some(bench.now));
    bench.outdated = true;
    assert!(bench.due() <= Some(bench.now));
    bench.answer(Outcome::Answered(Ok(Arc::new(parse(&two())))));
    assert!(bench.due() > Some(bench.now));
}

#[test]
fn the_finalizer_comes_first_and_only_once() {
    let mut bench = Bench::new();
    bench.broker.metadata.finalizers = None;
    assert!(matches!(bench.plan(), Step::AddFinalizer));
    bench.broker.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    assert!(matches!(bench.plan(), Step::Call { .. }));
    bench.answer(unsent());
    bench.broker.metadata.finalizers = None;
    bench.broker.metadata.generation = Some(2);
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)), "abandoned");
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
}

#[test]
fn a_broker_in_use_stays_and_says_why() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    bench.users = (1..=7).map(|n| format!("shop/db-{n}")).collect();
    let Step::Record(status) = bench.plan() else { panic!("not reported") };
    bench.broker.status = Some(status);
    let (status, reason, message) = bench.ready();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "DeletionBlockedByExistingInstances"));
    assert!(
        message.contains("shop/db-1, shop/db-2, shop/db-3, shop/db-4, shop/db-5 and 2 more"),
        "{message}"
    );
    bench.now = at(99_000);
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
}

#[test]
fn plans_are_deleted_before_classes_and_both_before_the_broker_goes() {
    fn deleted(step: Step<Cluster>) -> Vec<String> {
        let Step::Write(writes) = step else { panic!("nothing is deleted") };
        let name = |write| match write {
            Write::Delete(target, _) => target.name,
            _ => panic!("not a deletion"),
        };
        writes.into_iter().map(name).collect()
    }
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.broker.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(deleted(bench.plan()), ["small", "large", "free"]);
    bench.plans.truncate(1);
    bench.plans[0].meta_mut().deletion_timestamp = Some(Time(at(1)));
    assert!(matches!(bench.plan(), Step::Wait(Wait::ForChange)));
    bench.plans.clear();
    assert_eq!(deleted(bench.plan()), ["one", "z54zwo"]);
    bench.classes.clear();
    assert!(matches!(bench.plan(), Step::RemoveFinalizer));
}

#[test]
fn two_ids_never_share_an_object() {
    let mut bench = Bench::new();
    bench.catalog(&json!([service("z54zwo", &["p"])]));
    // A legacy object, named by its bare id, that has the very name that another id is escaped to.
    bench.classes[0].metadata.name = Some("z54zwo".into());
    let both = json!([service("z54zwo", &["p"]), service("Two", &["q"])]);
    assert_eq!(bench.catalog(&both).last().map(String::as_str), Some("status"));
    assert_eq!(bench.ready().1, "ErrorSyncingCatalog");
}

#[test]
fn a_catalog_that_was_read_by_an_operator_that_reads_less_is_fetched_once_more() {
    let mut bench = Bench::new();
    bench.catalog(&two());
    bench.memory = Memory::default();
    assert!(bench.due().is_some_and(|at| at > bench.now), "not before its time");
    if let Some(status) = bench.broker.status.as_mut() {
        status.catalog_reader = 0;
    }
    assert_eq!(bench.due(), Some(bench.now));
    bench.catalog(&two());
    assert!(bench.due().is_some_and(|at| at > bench.now));
}

#[test]
fn what_a_broker_says_of_itself_is_of_its_present_spec() {
    let mut bench = Bench::new();
    let seen = |bench: &Bench| {
        let status = bench.broker.status.clone().unwrap();
        (status.observed_generation, status.conditions[0].observed_generation, status.reconciled_generation)
    };
    bench.answer(unsent());
    assert_eq!(
        bench.ready().2,
        "Error fetching catalog. cannot connect to the broker; tried again by itself"
    );
    assert_eq!(seen(&bench), (1, 1, 0));
    bench.catalog(&two());
    assert_eq!(seen(&bench), (1, 1, 1));
    bench.broker.metadata.generation = Some(2);
    bench.answer(unsent());
    assert_eq!(seen(&bench), (2, 2, 1));
    // The same again is not written again.
    assert!(bench.answer(unsent()).is_empty());
}
