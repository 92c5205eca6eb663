//! Tables of `plan` and `absorb`. An object is brought to where a row begins by the machine itself, through what its
//! status is on the wire.

pub(in crate::reconcilers) mod absorb;
mod bodies;
mod defaults;
pub(in crate::reconcilers) mod messages;
mod plan;
mod polling;
mod reading;
mod replaced;
mod rows;
mod schemas;
mod takeover;
mod updates;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use super::{Instance, InstanceDependencies, InstanceReconciler, InstanceReply, InstanceRequest};
use crate::{
    crd::common::BrokerKey,
    crd::{
        FINALIZER, ScopeKind, ServiceBinding, ServiceBindingSpec, ServiceInstance, ServiceInstanceSpec,
        ServiceInstanceStatus,
        common::{ParametersFromSource, ResolvedOffering, SecretKeyReference},
        instance::{ContextAnnotations, PlanReference},
        scope::Object as _,
    },
    osb::{
        self, RefusalReason,
        outcome::{Deleted, InstanceAnswer, OperationState, Polled, Provisioned, Refusal, UnknownOutcome},
        wire::Target,
    },
    reconcilers::{memory::OperationMemory, settings::ReconcileSettings},
    reconcilers::{
        operation::{
            Answer, Answered, Call, Decoded, DeletePurpose,
            dependencies::{CommonDependencies, TakenId},
        },
        parameters::{self, ParametersError},
        reason::Reason,
        reconciler::{Next, ObjectPatch, Observed, Reconciler as _, Step, StepOf, Wait},
        references::{
            BrokerState, Offering, OfferingLabels, ParameterSchemas, Removed, Unresolved,
            replaced::Replacement,
        },
        tables::{self, assert_table, gather},
    },
};

pub(in crate::reconcilers) const UID: &str = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";

pub(in crate::reconcilers) fn offering() -> Offering {
    Offering {
        broker: BrokerKey { scope: ScopeKind::Cluster, namespace: None, name: "broker".into() },
        broker_url: None,
        class: "class".into(),
        plan: "plan".into(),
        service_id: "service-id".into(),
        plan_id: "small-id".into(),
        plan_name: "small".into(),
        bindable: true,
        rotatable: false,
        plan_updatable: true,
        maximum_polling_duration: None,
        maintenance: None,
        instances_retrievable: false,
        bindings_retrievable: false,
        context_updatable: false,
        default_parameters: [None, None],
        labels: OfferingLabels::default(),
        schemas: ParameterSchemas::default(),
        removed: None,
        broker_state: BrokerState::Present,
    }
}

/// What is known of the Secrets that a spec names.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::reconcilers) enum Secrets {
    Read,
    Wrong,
    Unread,
}

/// An instance and its dependencies.
#[derive(Clone)]
pub(in crate::reconcilers) struct Fixture {
    pub object: ServiceInstance,
    offering: Result<Offering, Unresolved>,
    /// The plan that the broker has, where it matters what becomes of it.
    pub acknowledged_offering: Option<Offering>,
    /// What stands in the way of asking the broker.
    pub precondition_error: Option<String>,
    /// Another object with the same id.
    pub taken_id: Option<TakenId>,
    /// The plan of the operation under way, where it matters what the catalog says of it.
    pub requested_offering: Option<Offering>,
    pub annotations: Option<ContextAnnotations>,
    /// What the original ordered, where that is not on record.
    pub legacy: Option<ResolvedOffering>,
    secrets: Secrets,
    bindings: Vec<Arc<ServiceBinding>>,
    pub settings: ReconcileSettings,
    namespace_known: bool,
    broker_exists: bool,
    /// What another broker object offers in the place of the recorded one.
    pub replacement: Replacement,
    pub memory: OperationMemory,
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
            acknowledged_offering: None,
            precondition_error: None,
            taken_id: None,
            requested_offering: None,
            annotations: None,
            legacy: None,
            secrets: Secrets::Read,
            bindings: vec![],
            settings: ReconcileSettings::default(),
            namespace_known: true,
            broker_exists: true,
            replacement: None,
            memory: OperationMemory::default(),
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

    /// Nothing is read yet, and parameters come from a Secret.
    pub fn unread(mut self) -> Self {
        let reference = SecretKeyReference { name: "s".into(), key: "k".into() };
        self.object.spec.parameters_from = vec![ParametersFromSource { secret_key_ref: reference }];
        self.secrets = Secrets::Unread;
        self
    }

    pub fn with_bad_parameters(mut self) -> Self {
        let reference = SecretKeyReference { name: "s".into(), key: "k".into() };
        self.object.spec.parameters_from = vec![ParametersFromSource { secret_key_ref: reference }];
        self.secrets = Secrets::Wrong;
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

    /// With a finalizer of another controller.
    pub fn held(mut self) -> Self {
        self.object.metadata.finalizers.get_or_insert_default().push("example.com/keep".into());
        self
    }

    pub fn after(mut self, seconds: i64) -> Self {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self
    }

    fn patched(mut self, patch: &ObjectPatch<ServiceInstanceStatus>) -> Self {
        self.object = tables::patched(&self.object, patch);
        self
    }

    /// Goes on until the object carries its ids and the API server has its status.
    pub fn claimed(mut self) -> Self {
        while let Step::Claim(patch) = self.plan() {
            self = self.patched(&patch);
        }
        let status = self.status();
        self.with_status(&status)
    }

    /// Without the intent, as v0.3 leaves an object.
    pub fn without_intent(mut self) -> Self {
        self.object.metadata.annotations = None;
        self
    }

    pub fn with_status(mut self, status: &ServiceInstanceStatus) -> Self {
        self.object.status = Some(serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap());
        self.object = self.object.complete();
        self
    }

    /// Whether credentials could be asked for.
    pub fn is_bindable(&self) -> bool {
        Decoded::<Instance>::of(&self.object).is_bindable()
    }

    /// Whether the broker would be told, were the object deleted.
    pub fn may_exist(&self) -> bool {
        Decoded::<Instance>::of(&self.object).may_exist()
    }

    pub fn status(&self) -> ServiceInstanceStatus {
        self.object.status.clone().unwrap_or_default()
    }

    pub fn observed(&self) -> Observed<InstanceReconciler> {
        let decoded = Decoded::<Instance>::of(&self.object);
        let defaults = super::defaults::effective(&decoded, self.offering.as_ref().ok(), &self.settings);
        let parameters = if self.secrets == Secrets::Wrong {
            Err(ParametersError { message: "no such Secret".into() })
        } else {
            let given = parameters::merge(self.object.spec.parameters.as_ref(), &[]);
            given.and_then(|given| given.with_defaults(defaults.clone()?.as_ref()))
        };
        Observed {
            object: Arc::new(self.object.clone()),
            dependencies: InstanceDependencies {
                common: CommonDependencies {
                    precondition_error: self.precondition_error.clone(),
                    taken_id: self.taken_id.clone(),
                    parameters: (self.secrets != Secrets::Unread).then_some(parameters),
                    namespace_uid: self.namespace_known.then(|| "namespace-uid".into()),
                    cluster_id: "cluster-id".into(),
                    replacement: self.replacement.clone(),
                    recorded_broker_exists: self.broker_exists
                        && self.status().resolved.as_ref().or(self.legacy.as_ref()).is_some(),
                },
                offering: self.offering.clone(),
                acknowledged_offering: self.acknowledged_offering.clone(),
                requested_offering: self.requested_offering.clone(),
                context_annotations: self.annotations.clone(),
                defaults: defaults.unwrap_or_default(),
                bindings: self.bindings.clone(),
                legacy: self.legacy.clone(),
            },
            memory: self.memory,
            settings: self.settings,
            now: self.now,
        }
    }

    pub fn plan(&self) -> StepOf<InstanceReconciler> {
        InstanceReconciler::plan(&self.observed())
    }

    /// Goes on until a request is to be sent, waiting where that is said.
    pub fn asking(mut self) -> (Self, Call<InstanceRequest>) {
        for _ in 0..8 {
            match self.plan() {
                Step::Attempt { intent, call } => return (self.patched(&intent), call),
                Step::Claim(patch) => self = self.patched(&patch),
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
    pub fn absorbing(mut self, call: &Call<InstanceRequest>, outcome: Outcome) -> (Self, bool) {
        let absorbed = InstanceReconciler::absorb(&self.observed(), outcome.to(call));
        self.memory = absorbed.memory;
        match absorbed.next {
            Next::Record(status) => (self.with_status(&status), false),
            Next::RemoveFinalizer => (self, true),
            Next::Call(_) => panic!("only where instances can be fetched, and then `following` is for it"),
        }
    }

    /// Asks the broker, absorbs this answer, and says which request follows from it.
    pub fn following(self, outcome: Outcome) -> (Self, Call<InstanceRequest>) {
        let (asked, call) = self.asking();
        let asked = asked.after(1);
        match InstanceReconciler::absorb(&asked.observed(), outcome.to(&call)).next {
            Next::Call(call) => (asked, call),
            Next::Record(_) | Next::RemoveFinalizer => panic!("nothing follows"),
        }
    }

    /// The create has no answer, nor have its repetitions.
    pub fn unanswered(self) -> Self {
        let no_answer = |fixture: Self| fixture.answered(Outcome::Provisioned(doubt(None, false, true)));
        (0..4).fold(self, |fixture, _| no_answer(fixture))
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

/// What a request came to, by what was asked.
pub(in crate::reconcilers) enum Outcome {
    Provisioned(osb::Outcome<Provisioned>),
    Deleted(osb::Outcome<Deleted>),
    Polled(osb::Outcome<Polled>),
    Fetched(osb::Outcome<InstanceAnswer>),
}

impl Outcome {
    /// As the answer to a request.
    fn to(self, call: &Call<InstanceRequest>) -> Answered<InstanceReply> {
        call.answered(match (call, self) {
            (Call::Request(address, InstanceRequest::Provision(body)), Self::Provisioned(outcome)) => {
                let target = Target { service_id: body.service_id.clone(), plan_id: body.plan_id.clone() };
                Answer::Request(InstanceReply::Provision(address.clone(), target, outcome))
            }
            (Call::Request(_, InstanceRequest::Update(_)), Self::Provisioned(outcome)) => {
                Answer::Request(InstanceReply::Update(outcome))
            }
            (Call::Request(_, InstanceRequest::Fetch(target, purpose)), Self::Fetched(outcome)) => {
                Answer::Request(InstanceReply::Fetch(target.clone(), purpose.clone(), outcome))
            }
            (Call::Delete(_, _, cause), Self::Deleted(outcome)) => Answer::Delete(*cause, outcome),
            (Call::Poll(..), Self::Polled(outcome)) => Answer::Poll(outcome),
            (call, _) => panic!("no answer to {}", name(call)),
        })
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
        message: format!("the broker answered {status}").into(),
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
    osb::Outcome::Unknown(UnknownOutcome { status, message, answered, mitigate, ..UnknownOutcome::default() })
}

pub(in crate::reconcilers) fn unsent<T>() -> osb::Outcome<T> {
    osb::Outcome::Unsent(osb::Unsent {
        message: "connection refused".into(),
        reason: osb::UnsentReason::Network,
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

fn name(call: &Call<InstanceRequest>) -> &'static str {
    match call {
        Call::Request(_, InstanceRequest::Provision(_)) => "PUT",
        Call::Request(_, InstanceRequest::Update(_)) => "PATCH",
        Call::Delete(_, _, DeletePurpose::Deletion) => "DELETE",
        Call::Delete(_, _, DeletePurpose::Mitigation) => "DELETE to mitigate",
        Call::Poll(..) => "GET last_operation",
        Call::Request(_, InstanceRequest::Fetch(..)) => "GET",
    }
}

/// What comes next, in short.
pub(in crate::reconcilers) fn shown(step: &StepOf<InstanceReconciler>, fixture: &Fixture) -> String {
    match step {
        Step::Claim(patch) => format!("claim, say {}", conditions(&patch.status)),
        Step::RemoveFinalizer => "let go".into(),
        Step::Record(status) => format!("say {}", conditions(status)),
        Step::Attempt { call, .. } => format!("intent, {}", name(call)),
        Step::Call { call, .. } => name(call).into(),
        Step::Read => "read Secrets".into(),
        Step::Write(_) => "write".into(),
        Step::WriteAndRecord(_, status) => format!("write, say {}", conditions(status)),
        Step::Wait(Wait::ForChange) => "wait for a change".into(),
        Step::Wait(Wait::Until(at)) => format!("wait {} s", at.duration_since(fixture.now).as_secs()),
    }
}
