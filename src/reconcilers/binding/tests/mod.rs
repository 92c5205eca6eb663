//! Tables of `plan` and `absorb`, as those of instances.

mod absorb;
mod messages;
mod plan;
mod pods;
mod reading;
mod restarts;
mod rotation;
mod takeover;

use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use super::{
    Binding, BindingDependencies, BindingReconciler, BindingReply, BindingRequest, SecretState, Written,
    credentials::SourceSecrets, pods::PodCount, restarts::RestartState, role,
};
use crate::{
    crd::{
        FINALIZER, ServiceBinding, ServiceBindingSpec, ServiceBindingStatus, ServiceInstance,
        common::{LocalObjectReference, ParametersFromSource, SecretKeyReference},
        scope::Object as _,
    },
    osb::{
        self, RefusalReason,
        outcome::{BindingAnswer, Bound, Credentials, Deleted, OperationState, Polled},
    },
    reconcilers::{
        instance::tests as instances,
        operation::{Answer, Answered, Call, Decoded, DeletePurpose, dependencies::CommonDependencies},
        parameters::{self, ParametersError},
        reason::Reason,
        reconciler::{Next, ObjectPatch, Observed, Reconciler as _, Step, StepOf, Wait},
        references::{BrokerState, Offering, ParameterSchemas, Unresolved, replaced::Replacement},
        tables::{self, assert_table, gather},
        writes::{RejectedWrite, Write},
    },
    reconcilers::{memory::OperationMemory, settings::ReconcileSettings},
};

pub(in crate::reconcilers) const UID: &str = "0b8e6f5a-45f7-4f43-9d6b-8c1a37f2f0aa";

static INSTANCE: LazyLock<ServiceInstance> = LazyLock::new(|| instances::Fixture::new().settled().object);

/// A binding and its dependencies: an instance that is ready, and a class.
#[derive(Clone)]
pub(in crate::reconcilers) struct Fixture {
    pub object: ServiceBinding,
    instance: Option<ServiceInstance>,
    offering: Result<Offering, Unresolved>,
    /// The plan that the broker has for the instance, where it is another one than the spec asks for.
    pub acknowledged_offering: Option<Offering>,
    secrets: instances::Secrets,
    namespace_known: bool,
    broker_exists: bool,
    /// What another broker object offers in the place of the recorded one.
    pub replacement: Replacement,
    pub maximum_polling_duration: Option<i64>,
    pub secret: SecretState,
    pub pods: Option<PodCount>,
    pub restart: Option<RestartState>,
    pub memory: OperationMemory,
    pub now: Timestamp,
}

impl Fixture {
    pub fn new() -> Self {
        let spec = ServiceBindingSpec {
            instance_ref: LocalObjectReference { name: "name".into() },
            parameters: json!({"role": "reader"}).as_object().cloned().map(Into::into),
            ..ServiceBindingSpec::default()
        };
        let mut object = ServiceBinding::new("creds", spec);
        object.metadata = ObjectMeta {
            name: Some("creds".into()),
            namespace: Some("ns".into()),
            uid: Some(UID.into()),
            generation: Some(1),
            finalizers: Some(vec![FINALIZER.into()]),
            ..ObjectMeta::default()
        };
        Self {
            object,
            instance: Some(INSTANCE.clone()),
            offering: Ok(instances::offering()),
            acknowledged_offering: None,
            secrets: instances::Secrets::Read,
            namespace_known: true,
            broker_exists: true,
            replacement: None,
            maximum_polling_duration: None,
            secret: SecretState::Missing,
            pods: None,
            restart: None,
            memory: OperationMemory::default(),
            now: Timestamp::from_second(2_000_000).unwrap(),
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

    pub fn with_parameters(mut self, parameters: &Value) -> Self {
        self.object.spec.parameters = parameters.as_object().cloned().map(Into::into);
        *self.object.metadata.generation.get_or_insert(0) += 1;
        self
    }

    /// Nothing is read yet, and parameters come from a Secret.
    pub fn unread(mut self) -> Self {
        let reference = SecretKeyReference { name: "s".into(), key: "k".into() };
        self.object.spec.parameters_from = vec![ParametersFromSource { secret_key_ref: reference }];
        self.secrets = instances::Secrets::Unread;
        self
    }

    pub fn with_bad_parameters(mut self) -> Self {
        self.secrets = instances::Secrets::Wrong;
        self
    }

    pub fn with_secret(mut self, secret: SecretState) -> Self {
        self.secret = secret;
        self
    }

    /// The Secret has another shape than the spec asks for.
    pub fn misshapen(self) -> Self {
        let binding_id = self.status().binding_id;
        let written = Written { is_misshapen: true, ..Written::default() };
        self.with_secret(SecretState::Owned { binding_id, uid: None, written })
    }

    pub fn with_instance(mut self, instance: Option<ServiceInstance>) -> Self {
        self.instance = instance;
        self
    }

    pub fn offered(mut self, change: impl FnOnce(&mut Offering)) -> Self {
        change(self.offering.as_mut().unwrap());
        self
    }

    pub fn retrievable(self) -> Self {
        self.offered(|offering| offering.bindings_retrievable = true)
    }

    pub fn unresolved(mut self) -> Self {
        self.offering = Err(Unresolved {
            reason: Reason::ReferencesNonexistentServiceClass,
            message: "no such class".into(),
        });
        self
    }

    pub fn without_namespace(mut self) -> Self {
        self.namespace_known = false;
        self
    }

    pub fn without_broker(mut self) -> Self {
        self.broker_exists = false;
        self.offered(|offering| offering.broker_state = BrokerState::Missing)
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

    fn patched(mut self, patch: &ObjectPatch<ServiceBindingStatus>) -> Self {
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

    pub fn with_status(mut self, status: &ServiceBindingStatus) -> Self {
        self.object.status = Some(serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap());
        self.object = self.object.complete();
        self
    }

    pub fn status(&self) -> ServiceBindingStatus {
        self.object.status.clone().unwrap_or_default()
    }

    pub fn observed(&self) -> Observed<BindingReconciler> {
        let parameters = if self.secrets == instances::Secrets::Wrong {
            Err(ParametersError { message: "no such Secret".into() })
        } else {
            parameters::merge(self.object.spec.parameters.as_ref(), &[])
        };
        Observed {
            object: Arc::new(self.object.clone()),
            dependencies: BindingDependencies {
                common: CommonDependencies {
                    precondition_error: None,
                    taken_id: None,
                    parameters: (self.secrets != instances::Secrets::Unread).then_some(parameters),
                    namespace_uid: self.namespace_known.then(|| "namespace-uid".into()),
                    cluster_id: "cluster-id".into(),
                    replacement: self.replacement.clone(),
                    recorded_broker_exists: self.broker_exists && self.status().resolved.is_some(),
                },
                instance: self.instance.clone().map(Arc::new),
                offering: self.instance.as_ref().map(|_| self.offering.clone()),
                acknowledged_offering: self.acknowledged_offering.clone(),
                maximum_polling_duration: self.maximum_polling_duration,
                source_secrets: SourceSecrets::default(),
                secret: self.secret.clone(),
                pods: self.pods.clone(),
                restart: self.restart.clone(),
                role: role(&Decoded::of(&self.object), &self.secret, self.now),
                predecessor: None,
            },
            memory: self.memory,
            settings: ReconcileSettings::default(),
            now: self.now,
        }
    }

    pub fn plan(&self) -> StepOf<BindingReconciler> {
        BindingReconciler::plan(&self.observed())
    }

    /// Goes on until a request is to be sent, waiting where that is said.
    pub fn asking(mut self) -> (Self, Call<BindingRequest>) {
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

    pub fn answered(self, outcome: Outcome) -> Self {
        let (asked, call) = self.asking();
        asked.after(1).absorbing(&call, outcome).0
    }

    /// What comes of this answer, and what else: a Secret, another request, the end.
    pub fn absorbing(mut self, call: &Call<BindingRequest>, outcome: Outcome) -> (Self, &'static str) {
        let id = call.address().binding_id.clone().unwrap();
        let absorbed = BindingReconciler::absorb(&self.observed(), outcome.to(call));
        self.memory = absorbed.memory;
        let wrote = !absorbed.writes.is_empty();
        if wrote {
            self.secret = SecretState::Owned { binding_id: id, uid: None, written: Written::default() };
        }
        match absorbed.next {
            Next::Record(status) => (self.with_status(&status), if wrote { "Secret, " } else { "" }),
            Next::RemoveFinalizer => (self, "let go"),
            Next::Call(_) => (self, "GET the binding, "),
        }
    }

    /// The bind has no answer, and its repetition has no credentials: the broker sends them only once.
    pub fn credentials_lost(self) -> Self {
        let unanswered = Outcome::Bound(instances::doubt(Some(200), true, false));
        self.answered(unanswered).answered(bound(&json!(null)))
    }

    /// The API server rejects the Secret with the credentials.
    pub fn rejected(self) -> Self {
        let (mut asked, call) = self.asking();
        asked = asked.after(1);
        let got = || answer(&json!({"password": "hunter2"}));
        let outcome = match call {
            Call::Request(_, BindingRequest::Fetch(_)) => Outcome::Fetched(osb::Outcome::Answered(got())),
            _ => Outcome::Bound(osb::Outcome::Answered(Bound::Done(got()))),
        };
        let absorbed = BindingReconciler::absorb(&asked.observed(), outcome.to(&call));
        assert!(!absorbed.writes.is_empty());
        asked.memory = absorbed.memory;
        let refused = RejectedWrite { message: "exceeded quota".into() };
        let status = BindingReconciler::absorb_rejected_write(&asked.observed(), &refused);
        asked.with_status(&status)
    }

    /// The create has no answer, nor have its repetitions.
    pub fn unanswered(self) -> Self {
        let no_answer = |fixture: Self| fixture.answered(Outcome::Bound(instances::doubt(None, false, true)));
        (0..4).fold(self, |fixture, _| no_answer(fixture))
    }

    pub fn intending(self) -> Self {
        self.asking().0
    }

    pub fn settled(self) -> Self {
        self.answered(bound(&json!({"password": "hunter2"})))
    }
}

/// What a request came to, by what was asked.
pub(in crate::reconcilers) enum Outcome {
    Bound(osb::Outcome<Bound>),
    Deleted(osb::Outcome<Deleted>),
    Polled(osb::Outcome<Polled>),
    Fetched(osb::Outcome<BindingAnswer>),
}

impl Outcome {
    /// As the answer to a request.
    fn to(self, call: &Call<BindingRequest>) -> Answered<BindingReply> {
        call.answered(match (call, self) {
            (Call::Request(_, BindingRequest::Bind(..)), Self::Bound(outcome)) => {
                Answer::Request(BindingReply::Bind(outcome))
            }
            (Call::Request(_, BindingRequest::Fetch(_)), Self::Fetched(outcome)) => {
                Answer::Request(BindingReply::Fetch(outcome))
            }
            (Call::Delete(_, _, cause), Self::Deleted(outcome)) => Answer::Delete(*cause, outcome),
            (Call::Poll(..), Self::Polled(outcome)) => Answer::Poll(outcome),
            (call, _) => panic!("no answer to {}", name(call)),
        })
    }
}

pub(in crate::reconcilers) fn answer(credentials: &Value) -> BindingAnswer {
    let credentials = credentials.as_object().cloned().map(Credentials::new);
    BindingAnswer { credentials, ..BindingAnswer::default() }
}

pub(in crate::reconcilers) fn bound(credentials: &Value) -> Outcome {
    Outcome::Bound(osb::Outcome::Answered(Bound::Done(answer(credentials))))
}

pub(in crate::reconcilers) fn accepted() -> Outcome {
    Outcome::Bound(osb::Outcome::Answered(Bound::Accepted { operation: Some("op".into()) }))
}

pub(in crate::reconcilers) fn conditions(status: &ServiceBindingStatus) -> String {
    let short = |c: &crate::crd::Condition| format!("{:?}={:?}:{}", c.type_, c.status, c.reason);
    tables::shown(&status.conditions).map(short).collect::<Vec<_>>().join(" ")
}

fn name(call: &Call<BindingRequest>) -> &'static str {
    match call {
        Call::Request(_, BindingRequest::Bind(..)) => "PUT",
        Call::Delete(.., DeletePurpose::Deletion) => "DELETE",
        Call::Delete(.., DeletePurpose::Mitigation) => "DELETE to mitigate",
        Call::Poll(..) => "GET last_operation",
        Call::Request(_, BindingRequest::Fetch(_)) => "GET the binding",
    }
}

/// What comes next, in short.
pub(in crate::reconcilers) fn shown(step: &StepOf<BindingReconciler>, fixture: &Fixture) -> String {
    match step {
        Step::Claim(patch) => format!("claim, say {}", conditions(&patch.status)),
        Step::RemoveFinalizer => "let go".into(),
        Step::Record(status) => format!("say {}", conditions(status)),
        Step::Attempt { call, .. } => format!("intent, {}", name(call)),
        Step::Call { before, call } => {
            let removes = before.iter().any(|write| matches!(write, Write::DeleteSecret { .. }));
            format!("{}{}", if removes { "remove the Secret, " } else { "" }, name(call))
        }
        Step::Read => "read Secrets".into(),
        Step::Write(_) => "write".into(),
        Step::WriteAndRecord(_, status) => format!("write, say {}", conditions(status)),
        Step::Wait(Wait::ForChange) => "wait for a change".into(),
        Step::Wait(Wait::Until(at)) => format!("wait {} s", at.duration_since(fixture.now).as_secs()),
    }
}
