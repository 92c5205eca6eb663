//! From what is known after an answer to a verdict, and the operation that no instance and no binding is behind.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, core::ObjectMeta};
use service_catalog::{
    crd::common::BrokerKey,
    crd::{
        ClusterServiceBroker, ClusterServiceBrokerSpec, ClusterWide, Condition, ConditionType, FINALIZER,
        ScopeKind, condition, progress::Progress,
    },
    osb::{
        Catalog, Operation,
        classify::{self, CatalogAnswer, Response},
    },
    reconcilers::{
        broker::{BrokerDependencies, BrokerReconciler},
        reconciler::{Next, Observed, Reconciler, Step},
        references::{BrokerState, Offering, ParameterSchemas},
    },
    reconcilers::{memory::BrokerMemory, settings::ReconcileSettings},
};

use super::answer::Answer;

/// What is done about an answer; explained at the head of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Success,
    Wait,
    Retry,
    Terminal,
    Mitigate,
    Keep,
}

impl Verdict {
    const ALL: [Self; 6] =
        [Self::Success, Self::Wait, Self::Retry, Self::Terminal, Self::Mitigate, Self::Keep];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == text)
    }

    /// The word of the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Wait => "wait",
            Self::Retry => "retry",
            Self::Terminal => "terminal",
            Self::Mitigate => "mitigate",
            Self::Keep => "keep",
        }
    }
}

/// What a status says, of whichever kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of a status")]
pub struct Facts {
    pub polling: bool,
    pub mitigating: bool,
    pub under_way: bool,
    pub failed: bool,
    pub ready: bool,
    pub again: bool,
    pub attempt: i64,
}

impl Facts {
    /// Those of an instance or a binding.
    pub fn of(progress: &Progress, is_idle: bool, conditions: &[Condition]) -> Self {
        Self {
            polling: progress.async_op_in_progress,
            mitigating: progress.orphan_mitigation_in_progress,
            under_way: !is_idle,
            failed: condition::is_true(conditions, ConditionType::Failed),
            ready: condition::is_true(conditions, ConditionType::Ready),
            again: progress.next_attempt_time.is_some(),
            attempt: progress.attempt,
        }
    }
}

/// What happened after an answer.
pub enum After {
    /// The object is let go of.
    Released,
    /// The next request was sent: the credentials of a finished bind are fetched.
    Asked,
    /// A status was written.
    Recorded(Facts),
}

/// The verdict that the status before an answer and what came after it stand for.
fn verdict(before: Facts, after: &After, answer: &Answer) -> Verdict {
    let after = match after {
        After::Released | After::Asked => return Verdict::Success,
        After::Recorded(facts) => *facts,
    };
    if after.polling {
        return Verdict::Wait;
    }
    match (before.mitigating, after.mitigating) {
        (false, true) => return Verdict::Mitigate,
        (true, false) => {
            assert_eq!(after.attempt, before.attempt + 1, "an id is not used again after a mitigation");
            return Verdict::Success;
        }
        (true, true) | (false, false) => {}
    }
    if after.again {
        return if answer.is_concurrency_error() { Verdict::Wait } else { Verdict::Retry };
    }
    match (after.failed, after.ready, after.under_way) {
        // After a refused update the instance is as ready as it was.
        (true, _, false) => Verdict::Terminal,
        (false, true, false) => Verdict::Success,
        _ => panic!("no verdict: {after:?}"),
    }
}

/// An object that is brought to where a request is due, and answered.
pub trait Drive: Sized {
    /// A request.
    type Call;

    /// Sends what is due. Its intent, if it has one, is on record then.
    fn ask(&mut self) -> Self::Call;

    /// Has a request answered so.
    fn answer(&mut self, call: &Self::Call, answer: &Answer) -> After;

    /// What the status says.
    fn facts(&self) -> Facts;

    /// How far the work is, if there is a status.
    fn progress(&mut self) -> Option<&mut Progress>;

    /// Whatever brought the object here: an earlier request is in doubt.
    fn doubtful(mut self, ambiguous: bool) -> Self {
        if let Some(progress) = self.progress().filter(|_| ambiguous) {
            progress.unanswered = true;
        }
        self
    }

    /// Sends what is due and has it answered so.
    fn with(mut self, operation: Operation, answer: &str) -> Self {
        let call = self.ask();
        self.answer(&call, &Answer::new(operation, answer));
        self
    }

    /// Sends what is due, and is never told what became of it: the process dies.
    fn with_no_answer(mut self) -> Self {
        self.ask();
        self
    }

    /// Sends what is due, and has the verdict on this answer.
    fn verdict(mut self, answer: &Answer) -> Verdict {
        let call = self.ask();
        self.verdict_on(&call, answer)
    }

    /// The verdict on this answer to a request.
    fn verdict_on(mut self, call: &Self::Call, answer: &Answer) -> Verdict {
        let before = self.facts();
        let after = self.answer(call, answer);
        verdict(before, &after, answer)
    }
}

/// The moment that everything begins.
pub fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24)
}

/// Longer than every delay and every quiet period, shorter than the time after which operations are given up.
pub const AN_HOUR: SignedDuration = SignedDuration::from_hours(1);

pub fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("ns".to_owned()),
        uid: Some(format!("{name}-uid")),
        generation: Some(1),
        finalizers: Some(vec![FINALIZER.to_owned()]),
        ..ObjectMeta::default()
    }
}

pub fn delete(object: &mut impl Resource, now: Timestamp) {
    object.meta_mut().deletion_timestamp = Some(Time(now));
}

pub fn offering() -> Offering {
    Offering {
        broker: BrokerKey::new(ScopeKind::Cluster, None, "b"),
        broker_url: None,
        class: "class".into(),
        plan: "plan".into(),
        service_id: "s".into(),
        plan_id: "p".into(),
        plan_name: "small".into(),
        bindable: true,
        rotatable: false,
        plan_updatable: true,
        maximum_polling_duration: None,
        maintenance: None,
        instances_retrievable: true,
        bindings_retrievable: true,
        context_updatable: false,
        default_parameters: [None, None],
        schemas: ParameterSchemas::default(),
        removed: None,
        broker_state: BrokerState::Present,
    }
}

/// A broker's catalog; the ambiguous attempt is an earlier fetch that was lost.
pub fn catalog(answer: &Answer, ambiguous: bool) -> Verdict {
    let mut broker = ClusterServiceBroker::new("b", ClusterServiceBrokerSpec::default());
    broker.metadata = ObjectMeta { namespace: None, ..metadata("b") };
    let (mut memory, mut now) = (BrokerMemory::default(), start());
    if ambiguous {
        fetch(&mut broker, &mut memory, now, &Answer::new(answer.operation, "reset after effect"));
        now += AN_HOUR;
    }
    fetch(&mut broker, &mut memory, now, answer);
    let status = broker.status.unwrap_or_default();
    if condition::is_true(&status.conditions, ConditionType::Ready) {
        return Verdict::Success;
    }
    assert!(memory.failures > 0, "a failure is counted, so that the next try comes later");
    Verdict::Retry
}

fn fetch(broker: &mut ClusterServiceBroker, memory: &mut BrokerMemory, now: Timestamp, answer: &Answer) {
    let observed = Observed::<BrokerReconciler<ClusterWide>> {
        object: Arc::new(broker.clone()),
        dependencies: BrokerDependencies {
            classes: vec![],
            plans: vec![],
            blocking_instances: vec![],
            instances: vec![],
            outdated: false,
            replaced: BTreeSet::new(),
            unheld: None,
            successors: vec![],
        },
        memory: *memory,
        settings: ReconcileSettings::default(),
        now,
    };
    let Step::Call { .. } = BrokerReconciler::plan(&observed) else { panic!("no catalog is due") };
    let read = |response: &Response<'_>| {
        classify::catalog(response, None::<Arc<Catalog>>).map(|answer| match answer {
            CatalogAnswer::Body(body) => Catalog::parse(body).map(Arc::new),
            CatalogAnswer::Unchanged(kept) => Ok(kept),
        })
    };
    let outcome = answer.classified(read);
    let absorbed = BrokerReconciler::absorb(&observed, outcome);
    *memory = absorbed.memory;
    let Next::Record(status) = absorbed.next else { panic!("an answer does not end a broker") };
    broker.status = Some(status);
}
