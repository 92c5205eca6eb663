//! Tables of `plan` and `absorb`. An object is brought to where a row begins by the machine itself, through what its
//! status is on the wire.

pub(in crate::reconcilers) mod absorb;
mod bodies;
mod defaults;
pub(in crate::reconcilers) mod messages;
mod plan;
mod polling;
mod rows;
mod takeover;
mod updates;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use super::{Call, Cause, InstanceMachine, Outcome, World};
use crate::{
    brokers::BrokerKey,
    context::{Memory, Tunables},
    crd::{
        FINALIZER, ScopeKind, ServiceBinding, ServiceBindingSpec, ServiceInstance, ServiceInstanceSpec,
        ServiceInstanceStatus,
        common::{ParametersFromSource, ResolvedOffering, SecretKeyReference},
        instance::{ContextAnnotations, PlanReference},
    },
    osb::{
        self, RefusalReason,
        outcome::{Deleted, Doubt, OperationState, Polled, Provisioned, Refusal},
    },
    reconcilers::{
        machine::{Machine as _, Next, Observed, Step, Wait},
        offering::{BrokerState, Offering, Removed, Unresolved},
        parameters::{self, ParametersError},
        reason::Reason,
        tables::{self, assert_table, gather},
    },
};

pub(in crate::reconcilers) const UID: &str = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";

pub(in crate::reconcilers) fn offering() -> Offering {
    Offering {
        broker: BrokerKey { scope: ScopeKind::Cluster, namespace: None, name: "broker".into() },
        class: "class".into(),
        plan: "plan".into(),
        service_id: "service-id".into(),
        plan_id: "small-id".into(),
        plan_name: "small".into(),
        bindable: true,
        plan_updatable: true,
        maximum_polling_duration: None,
        maintenance: None,
        instances_retrievable: false,
        bindings_retrievable: false,
        context_updatable: false,
        default_parameters: [None, None],
        removed: None,
        broker_state: BrokerState::Present,
    }
}

/// An instance and its world.
#[derive(Clone)]
pub(in crate::reconcilers) struct Fixture {
    pub object: ServiceInstance,
    offering: Result<Offering, Unresolved>,
    /// The plan that the broker has, where it matters what becomes of it.
    pub present: Option<Offering>,
    /// What stands in the way of asking the broker.
    pub hindrance: Option<String>,
    /// Another object with the same id.
    pub rival: Option<String>,
    /// The plan of the operation under way, where it matters what the catalog says of it.
    pub requested: Option<Offering>,
    pub annotations: Option<ContextAnnotations>,
    /// What the original ordered, where that is not on record.
    pub inherited: Option<ResolvedOffering>,
    unreadable: bool,
    bindings: Vec<Arc<ServiceBinding>>,
    pub tunables: Tunables,
    namespace_known: bool,
    broker_exists: bool,
    pub memory: Memory,
    pub now: Timestamp,
}

impl Fixture {
    /// Just created, held by our finalizer.
    pub fn new() -> Self {
        let reference = PlanReference {
            cluster_service_class_external_name: Some("db".into()),
            cluster_service_plan_external_name: Some("small".into()),
            ..PlanReference::default()
        };
        let spec = ServiceInstanceSpec {
            plan_reference: reference,
            parameters: json!({"size": 1}).as_object().cloned().map(Into::into),
            ..ServiceInstanceSpec::default()
        };
        let mut object = ServiceInstance::new("name", spec);
        object.metadata = ObjectMeta {
            name: Some("name".into()),
            namespace: Some("ns".into()),
            uid: Some(UID.into()),
            generation: Some(1),
            finalizers: Some(vec![FINALIZER.into()]),
            ..ObjectMeta::default()
        };
        Self {
            object,
            offering: Ok(offering()),
            present: None,
            hindrance: None,
            rival: None,
            requested: None,
            annotations: None,
            inherited: None,
            unreadable: false,
            bindings: vec![],
            tunables: Tunables::default(),
            namespace_known: true,
            broker_exists: true,
            memory: Memory::default(),
            now: Timestamp::from_second(1_000_000).unwrap(),
        }
    }

    pub fn without_finalizer(mut self) -> Self {
        self.object.metadata.finalizers = None;
        self
    }

    pub fn deleted(mut self) -> Self {
        self.object.metadata.deletion_timestamp = Some(Time(self.now));
        self
    }

    pub fn with_external_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.object.spec.external_id);
        self
    }

    /// The spec is edited.
    pub fn with_parameters(mut self, parameters: &Value) -> Self {
        self.object.spec.parameters = parameters.as_object().cloned().map(Into::into);
        self.edited()
    }

    pub fn with_update_request(mut self) -> Self {
        self.object.spec.update_requests += 1;
        self.edited()
    }

    fn edited(mut self) -> Self {
        *self.object.metadata.generation.get_or_insert(0) += 1;
        self
    }

    /// The spec is edited to name another plan.
    pub fn with_plan(self, id: &str) -> Self {
        self.offered(|offering| offering.plan_id = id.into()).edited()
    }

    pub fn offered(mut self, change: impl FnOnce(&mut Offering)) -> Self {
        change(self.offering.as_mut().unwrap());
        self
    }

    pub fn unresolved(mut self) -> Self {
        self.offering = Err(Unresolved {
            reason: Reason::ReferencesNonexistentServiceClass,
            message: "no such class".into(),
        });
        self
    }

    pub fn resolved(mut self) -> Self {
        self.offering = Ok(offering());
        self
    }

    pub fn with_bad_parameters(mut self) -> Self {
        let reference = SecretKeyReference { name: "s".into(), key: "k".into() };
        self.object.spec.parameters_from = vec![ParametersFromSource { secret_key_ref: reference }];
        self.unreadable = true;
        self
    }

    pub fn without_namespace(mut self) -> Self {
        self.namespace_known = false;
        self
    }

    pub fn without_broker(mut self) -> Self {
        self.broker_exists = false;
        self.offering =
            self.offering.map(|offering| Offering { broker_state: BrokerState::Missing, ..offering });
        self
    }

    pub fn with_binding(mut self, name: &str) -> Self {
        self.bindings.push(Arc::new(ServiceBinding::new(name, ServiceBindingSpec::default())));
        self
    }

    pub fn with_leaving_bindings(mut self) -> Self {
        for binding in &mut self.bindings {
            Arc::make_mut(binding).metadata.deletion_timestamp = Some(Time(self.now));
        }
        self
    }

    pub fn after(mut self, seconds: i64) -> Self {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self
    }

    pub fn with_status(mut self, status: &ServiceInstanceStatus) -> Self {
        self.object.status = Some(serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap());
        self
    }

    pub fn status(&self) -> ServiceInstanceStatus {
        self.object.status.clone().unwrap_or_default()
    }

    pub fn observed(&self) -> Observed<InstanceMachine> {
        let defaults = super::defaults::in_force(&self.status(), self.offering.as_ref().ok(), &self.tunables);
        let parameters = if self.unreadable {
            Err(ParametersError { message: "no such Secret".into() })
        } else {
            let given = parameters::merge(self.object.spec.parameters.as_ref(), &[]);
            given.and_then(|given| given.over(defaults.clone()?.as_ref()))
        };
        Observed {
            object: Arc::new(self.object.clone()),
            world: World {
                offering: self.offering.clone(),
                hindrance: self.hindrance.clone(),
                rival: self.rival.clone(),
                present: self.present.clone(),
                requested: self.requested.clone(),
                context_annotations: self.annotations.clone(),
                parameters: super::phase::needs_parameters(&self.object).then_some(parameters),
                defaults: defaults.unwrap_or_default(),
                bindings: self.bindings.clone(),
                namespace_uid: self.namespace_known.then(|| "namespace-uid".into()),
                cluster_id: "cluster-id".into(),
                recorded_broker_exists: self.broker_exists
                    && self.status().resolved.as_ref().or(self.inherited.as_ref()).is_some(),
                inherited: self.inherited.clone(),
            },
            memory: self.memory,
            tunables: self.tunables,
            now: self.now,
        }
    }

    pub fn plan(&self) -> Step<InstanceMachine> {
        InstanceMachine::plan(&self.observed())
    }

    /// Goes on until a request is to be sent, waiting where that is said.
    pub fn asking(mut self) -> (Self, Call) {
        for _ in 0..8 {
            match self.plan() {
                Step::Attempt { intent, call } => return (self.with_status(&intent), call),
                Step::Call { call, .. } => return (self, call),
                Step::Record(status) => self = self.with_status(&status),
                Step::Wait(Wait::Until(at)) => self.now = at,
                other => panic!("no request but: {}", shown(&other, &self)),
            }
        }
        panic!("no request in sight")
    }

    /// Asks the broker and absorbs this answer.
    pub fn answered(self, outcome: Outcome) -> Self {
        let (asked, call) = self.asking();
        asked.after(1).absorbing(&call, outcome).0
    }

    /// What comes of this answer, and whether the object is let go.
    pub fn absorbing(mut self, call: &Call, outcome: Outcome) -> (Self, bool) {
        let absorbed = InstanceMachine::absorb(&self.observed(), call, outcome);
        self.memory = absorbed.memory;
        match absorbed.next {
            Next::Record(status) => (self.with_status(&status), false),
            Next::Release => (self, true),
            Next::Call(_) => panic!("only where instances can be fetched, and then `following` is for it"),
        }
    }

    /// Asks the broker, absorbs this answer, and says which request follows from it.
    pub fn following(self, outcome: Outcome) -> (Self, Call) {
        let (asked, call) = self.asking();
        let asked = asked.after(1);
        match InstanceMachine::absorb(&asked.observed(), &call, outcome).next {
            Next::Call(call) => (asked, call),
            Next::Record(_) | Next::Release => panic!("nothing follows"),
        }
    }

    pub fn intending(self) -> Self {
        self.asking().0
    }

    pub fn settled(self) -> Self {
        self.answered(done())
    }

    /// An update of the parameters is on its way to be asked for.
    pub fn changing(self) -> Self {
        self.settled().with_parameters(&json!({"size": 2}))
    }
}

pub(in crate::reconcilers) fn done() -> Outcome {
    Outcome::Provisioned(osb::Outcome::Answered(Provisioned::Done { dashboard_url: None }))
}

pub(in crate::reconcilers) fn accepted() -> Outcome {
    let operation = Some("op".into());
    Outcome::Provisioned(osb::Outcome::Answered(Provisioned::Accepted { operation, dashboard_url: None }))
}

pub(in crate::reconcilers) fn refused<T>(status: u16, reason: RefusalReason) -> osb::Outcome<T> {
    osb::Outcome::Refused(Refusal {
        status,
        reason,
        message: format!("the broker answered {status}"),
        retry_after: None,
        instance_usable: None,
        update_repeatable: None,
    })
}

pub(in crate::reconcilers) fn doubt<T>(
    status: Option<u16>,
    answered: bool,
    mitigate: bool,
) -> osb::Outcome<T> {
    let message = "nobody knows".into();
    osb::Outcome::Unknown(Doubt { status, message, answered, mitigate, ..Doubt::default() })
}

pub(in crate::reconcilers) fn unsent<T>() -> osb::Outcome<T> {
    osb::Outcome::Unsent(osb::Unsent {
        message: "connection refused".into(),
        hindrance: osb::Hindrance::Network,
    })
}

pub(in crate::reconcilers) fn polled(state: OperationState) -> osb::Outcome<Polled> {
    osb::Outcome::Answered(Polled {
        state,
        description: Some("words".into()),
        retry_after: None,
        instance_usable: None,
        update_repeatable: None,
    })
}

/// The conditions in short: `Ready=False:Provisioning`.
pub(in crate::reconcilers) fn conditions(status: &ServiceInstanceStatus) -> String {
    let short = |c: &crate::crd::Condition| format!("{:?}={:?}:{}", c.type_, c.status, c.reason);
    tables::shown(&status.conditions).map(short).collect::<Vec<_>>().join(" ")
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Provision(..) => "PUT",
        Call::Update(..) => "PATCH",
        Call::Deprovision(_, _, Cause::Deletion) => "DELETE",
        Call::Deprovision(_, _, Cause::Mitigation) => "DELETE to mitigate",
        Call::Poll(..) => "GET last_operation",
        Call::Fetch(..) => "GET",
    }
}

/// What comes next, in short.
pub(in crate::reconcilers) fn shown(step: &Step<InstanceMachine>, fixture: &Fixture) -> String {
    match step {
        Step::AddFinalizer => "add the finalizer".into(),
        Step::RemoveFinalizer => "let go".into(),
        Step::Record(status) => format!("say {}", conditions(status)),
        Step::Attempt { call, .. } => format!("intent, {}", name(call)),
        Step::Call { call, .. } => name(call).into(),
        Step::Write(_) => "write".into(),
        Step::Wait(Wait::ForChange) => "wait for a change".into(),
        Step::Wait(Wait::Until(at)) => format!("wait {} s", at.duration_since(fixture.now).as_secs()),
    }
}
