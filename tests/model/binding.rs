//! Bindings, as a walk sees them.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use service_catalog::{
    crd::{
        ConditionType, ServiceBinding, ServiceBindingSpec, ServiceBindingStatus, ServiceInstance,
        common::LocalObjectReference,
        condition,
        rotation::{Rotation, RotationStatus},
    },
    osb::{
        BindingId,
        outcome::{BindingAnswer, Bound, Credentials},
        wire::Target,
    },
    reconcilers::{
        binding::{
            Binding, BindingAction, BindingDependencies, BindingReconciler, BindingReply, BindingRequest,
            SecretState, Written, credentials::SourceSecrets, role,
        },
        instance::InstanceReconciler,
        operation::{
            Answer as BrokerAnswer, Answered, Awaited, Call, Decoded, DeletePurpose, Phase,
            dependencies::CommonDependencies, resource::may_exist,
        },
        reconciler::{Next, Observed, Reconciler as _, Step},
    },
    reconcilers::{memory::OperationMemory, settings::ReconcileSettings},
};

use crate::{
    broker::{Answer, Content, Kind, Request, Wish},
    instance::{checksum, deleted, external_id, merged, metadata, offering, specified},
    rules::CREDENTIAL,
    state::{State, near, near_time, patience, wordless},
    subject::{Other, Standing, Subject},
    surprises::{Instance, Surroundings},
    wire::{outcome, polled},
};

const UID: &str = "0b8e6f5a-45f7-4f43-9d6b-8c1a37f2f0aa";

/// The instance of every binding: provisioned at once.
static INSTANCE: LazyLock<Arc<ServiceInstance>> = LazyLock::new(|| {
    let State { status, mut around, memory, now, .. } = State::new(Surroundings::default());
    let observed = InstanceReconciler::observed(&status, &around, memory, now);
    let Step::Attempt { intent, call } = InstanceReconciler::plan(&observed) else { panic!("no attempt") };
    around.carried.apply(&intent.patch);
    let look = |status: &_| InstanceReconciler::observed(status, &around, memory, now);
    let status = intent.status;
    let answer = InstanceReconciler::answer(&call, Answer::Done);
    let Next::Record(settled) = InstanceReconciler::absorb(&look(&status), answer).next else {
        panic!("no status")
    };
    InstanceReconciler::observed(&settled, &around, memory, now).object
});

/// The same, while an update of it is polled.
static BUSY: LazyLock<Arc<ServiceInstance>> = LazyLock::new(|| {
    let mut busy = ServiceInstance::clone(&INSTANCE);
    let status = busy.status.get_or_insert_default();
    status.progress.async_op_in_progress = true;
    condition::remove(&mut status.conditions, ConditionType::Ready);
    Arc::new(busy)
});

fn phase(status: &ServiceBindingStatus) -> Phase<BindingAction> {
    let mut object = ServiceBinding::new("creds", ServiceBindingSpec::default());
    object.status = Some(status.clone());
    Decoded::<Binding>::of(&object).phase
}

/// The status of the binding with this id, if it is not the one whose credentials are in the Secret.
fn other(status: &ServiceBindingStatus, id: Option<&BindingId>) -> Option<ServiceBindingStatus> {
    let other = status.rotation.as_ref()?.other()?;
    (Some(&other.binding_id) == id).then(|| ServiceBindingStatus {
        conditions: other.conditions.clone(),
        progress: other.progress.clone(),
        current_operation: other.current_operation,
        unbind_status: other.unbind_status,
        external_properties: other.external_properties.clone(),
        in_progress_properties: other.in_progress_properties.clone(),
        ..ServiceBindingStatus::default()
    })
}

fn instance(around: &Surroundings) -> Option<Arc<ServiceInstance>> {
    match around.instance {
        Instance::Ready => Some(Arc::clone(&INSTANCE)),
        Instance::Busy => Some(Arc::clone(&BUSY)),
        Instance::Gone => None,
    }
}

impl Subject for BindingReconciler {
    const HAS_SECRET: bool = true;

    fn observed(
        status: &ServiceBindingStatus,
        around: &Surroundings,
        memory: OperationMemory,
        now: Timestamp,
    ) -> Observed<Self> {
        let spec = ServiceBindingSpec {
            instance_ref: LocalObjectReference { name: "name".into() },
            parameters: specified(around),
            external_id: external_id(around),
            deletion_policy: around.policy,
            secret_name: around.carried.field("secretName", String::new()),
            rotation: (around.renewals > 0).then(|| Rotation {
                requests: around.renewals.into(),
                grace_period: Some(std::time::Duration::from_secs(30).into()),
                interval: None,
            }),
            ..ServiceBindingSpec::default()
        };
        let mut object = ServiceBinding::new("creds", spec);
        object.metadata = metadata("creds", UID, around, now);
        object.status = Some(status.clone());
        let secret = match &around.secret {
            None => SecretState::Missing,
            Some(None) => SecretState::NotOwned,
            Some(Some(id)) => {
                SecretState::Owned { binding_id: id.clone().into(), uid: None, written: Written::default() }
            }
        };
        let parameters = merged(object.spec.parameters.as_ref(), around);
        let instance = instance(around);
        let dependencies = BindingDependencies {
            common: CommonDependencies {
                precondition_error: None,
                taken_id: None,
                parameters: Some(parameters),
                namespace_uid: Some("namespace-uid".into()),
                cluster_id: "cluster-id".into(),
                replacement: None,
                recorded_broker_exists: !around.broker_gone && status.resolved.is_some(),
            },
            source_secrets: SourceSecrets::default(),
            offering: instance.as_ref().map(|_| offering(around)),
            instance,
            acknowledged_offering: None,
            maximum_polling_duration: None,
            role: role(&Decoded::of(&object), &secret, now),
            secret,
            pods: None,
            restart: None,
            predecessor: None,
        };
        Observed {
            object: Arc::new(object),
            dependencies,
            memory,
            settings: ReconcileSettings::default(),
            now,
        }
    }

    fn request(status: &ServiceBindingStatus, call: &Call<BindingRequest>) -> Request {
        let address = call.address();
        let (kind, wish, target) = match call {
            Call::Request(_, BindingRequest::Bind(body, _)) => {
                let parameters = Some(checksum(body.parameters.as_ref()));
                let target = Target { service_id: body.service_id.clone(), plan_id: body.plan_id.clone() };
                (Kind::Create, Wish { plan: Some(body.plan_id.to_string()), parameters }, Some(target))
            }
            Call::Delete(_, target, cause) => {
                let kind = Kind::Delete { mitigation: *cause == DeletePurpose::Mitigation };
                (kind, Wish::default(), Some(target.clone()))
            }
            Call::Poll(_, target, _) => {
                let polled = other(status, address.binding_id.as_ref()).unwrap_or_else(|| status.clone());
                let deletion = matches!(phase(&polled), Phase::Polling(Awaited::Deletion(_), _));
                (Kind::Poll { deletion }, Wish::default(), Some(target.clone()))
            }
            Call::Request(_, BindingRequest::Fetch(target)) => {
                (Kind::Fetch, Wish::default(), Some(target.clone()))
            }
        };
        Request {
            kind,
            broker: address.broker.clone(),
            id: address.binding_id.clone().unwrap_or_default().to_string(),
            wish,
            target,
        }
    }

    fn answer(call: &Call<BindingRequest>, answer: Answer) -> Answered<BindingReply> {
        call.answered(match call {
            Call::Request(_, BindingRequest::Bind(..)) => {
                BrokerAnswer::Request(BindingReply::Bind(outcome(answer, true).map(bound)))
            }
            Call::Request(_, BindingRequest::Fetch(_)) => {
                BrokerAnswer::Request(BindingReply::Fetch(outcome(answer, false).map(|_| credentials())))
            }
            Call::Delete(_, _, cause) => BrokerAnswer::Delete(*cause, outcome(answer, false).map(deleted)),
            Call::Poll(..) => BrokerAnswer::Poll(polled(answer)),
        })
    }

    fn shape(status: &ServiceBindingStatus, now: Timestamp) -> ServiceBindingStatus {
        let mut shape = status.clone();
        near_time(&mut shape.progress.last_attempt_time, now);
        near_time(&mut shape.progress.next_attempt_time, now);
        patience(&mut shape.progress.operation_start_time, now);
        wordless(&mut shape.conditions);
        (shape.progress.retries, shape.progress.attempt) =
            (shape.progress.retries.min(2), shape.progress.attempt.min(1));
        shape.progress.observed_intent = None;
        if let Some(rotation) = &mut shape.rotation {
            for other in [&mut rotation.successor, &mut rotation.predecessor].into_iter().flatten() {
                near_time(&mut other.progress.last_attempt_time, now);
                near_time(&mut other.progress.next_attempt_time, now);
                patience(&mut other.progress.operation_start_time, now);
                wordless(&mut other.conditions);
                other.progress.retries = other.progress.retries.min(2);
                other.progress.attempt = other.progress.attempt.min(3);
                let unbind_after = other.unbind_after.take();
                other.unbind_after =
                    unbind_after.map(|at| Time(Timestamp::from_second(near(at.0, now)).unwrap()));
            }
        }
        shape.bound_at = None;
        (shape.observed_generation, shape.reconciled_generation) = (0, 0);
        shape
    }

    fn standing(status: &ServiceBindingStatus) -> Standing {
        let plan = || status.resolved.as_ref().map(|resolved| resolved.plan_id.clone()).unwrap_or_default();
        let rotation = status.rotation.as_ref();
        let other = rotation.and_then(RotationStatus::other).map(|other| Other {
            id: other.binding_id.to_string(),
            is_replaced: rotation.is_some_and(|rotation| rotation.successor.is_none()),
        });
        let successor = rotation.and_then(|rotation| rotation.successor.as_ref());
        let successor = successor.and_then(|successor| self::other(status, Some(&successor.binding_id)));
        let is_polling = |status: &_| matches!(phase(status), Phase::Polling(..));
        Standing {
            id: status.binding_id.to_string(),
            other,
            is_ready: condition::is_true(&status.conditions, ConditionType::Ready),
            has_failed: condition::is_true(&status.conditions, ConditionType::Failed),
            says_why: condition::find(&status.conditions, ConditionType::Ready)
                .is_some_and(|ready| !ready.reason.is_empty() && !ready.message.is_empty()),
            is_polling: is_polling(status) || successor.as_ref().is_some_and(is_polling),
            may_exist: may_exist::<Binding>(status),
            acknowledged: status.external_properties.as_ref().map(|properties| Content {
                plan: plan().to_string(),
                parameters: properties.parameter_checksum.clone(),
            }),
        }
    }

    /// Nothing of a binding can be changed once it is there: whatever it was made with is right.
    fn wanted(_: &Surroundings, acknowledged: Option<&Content>) -> Option<Content> {
        acknowledged.cloned()
    }
}

/// A bind was answered: at once, or to be polled.
fn bound(at_once: bool) -> Bound {
    if at_once { Bound::Done(credentials()) } else { Bound::Accepted { operation: None } }
}

fn credentials() -> BindingAnswer {
    let credentials = json!({ "password": CREDENTIAL });
    let credentials = credentials.as_object().cloned().map(Credentials::new);
    BindingAnswer { credentials, ..BindingAnswer::default() }
}
