//! Instances, as a walk sees them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde_json::json;
use service_catalog::{
    crd::common::BrokerKey,
    crd::{
        ConditionType, FINALIZER, INTENT_ANNOTATION, ScopeKind, ServiceBinding, ServiceBindingSpec,
        ServiceInstance, ServiceInstanceSpec, ServiceInstanceStatus, condition,
        instance::{ContextAnnotations, InstanceProperties, PlanReference},
    },
    json::RawObject,
    osb::{
        outcome::{Deleted, InstanceAnswer, Provisioned},
        wire::Target,
    },
    reconcilers::{
        Reason,
        instance::{
            Instance, InstanceAction, InstanceDependencies, InstanceReconciler, InstanceReply,
            InstanceRequest,
        },
        operation::{
            Answer as BrokerAnswer, Answered, Awaited, Call, Decoded, DeletePurpose, Phase,
            dependencies::CommonDependencies, resource::may_exist,
        },
        parameters::{self, Parameters, ParametersError},
        reconciler::Observed,
        references::{BrokerState, Offering, ParameterSchemas, Unresolved},
    },
    reconcilers::{memory::OperationMemory, settings::ReconcileSettings},
};

use crate::{
    broker::{Answer, Content, Kind, Request, Wish},
    state::{near_time, patience, wordless},
    subject::{Standing, Subject},
    surprises::Surroundings,
    wire::{outcome, polled},
};

const UID: &str = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";

/// What the class means now.
pub fn offering(around: &Surroundings) -> Result<Offering, Unresolved> {
    if around.unresolved {
        let message = "no such class".into();
        return Err(Unresolved { reason: Reason::ReferencesNonexistentServiceClass, message });
    }
    let size = if around.other_plan { "large" } else { "small" };
    Ok(Offering {
        broker: BrokerKey { scope: ScopeKind::Cluster, namespace: None, name: "broker".into() },
        broker_url: None,
        class: "class".into(),
        plan: size.into(),
        service_id: "service-id".into(),
        plan_id: format!("{size}-id").into(),
        plan_name: size.into(),
        bindable: true,
        rotatable: false,
        plan_updatable: true,
        maximum_polling_duration: None,
        maintenance: None,
        instances_retrievable: around.retrievable,
        bindings_retrievable: around.retrievable,
        context_updatable: true,
        default_parameters: [None, None],
        schemas: schemas(around),
        removed: None,
        broker_state: if around.broker_gone { BrokerState::Missing } else { BrokerState::Present },
    })
}

/// The schemas of the plan now.
fn schemas(around: &Surroundings) -> ParameterSchemas {
    let nothing = || json!({ "maxProperties": 0 }).as_object().cloned().map(Into::into);
    if around.strict {
        ParameterSchemas { provision: nothing(), update: nothing(), bind: nothing() }
    } else {
        ParameterSchemas::default()
    }
}

/// The parameters in the spec, as they are merged.
pub fn merged(spec: Option<&RawObject>, around: &Surroundings) -> Result<Parameters, ParametersError> {
    if around.bad_parameters {
        return Err(ParametersError { message: "no such Secret".into() });
    }
    parameters::merge(spec, &[])
}

/// The parameters of the spec.
pub fn specified(around: &Surroundings) -> Option<RawObject> {
    json!({ "size": if around.other_parameters { 2 } else { 1 } }).as_object().cloned().map(Into::into)
}

/// The annotations that brokers are told of.
fn annotations(around: &Surroundings) -> ContextAnnotations {
    let team = if around.other_annotations { "blue" } else { "red" };
    let instance = [("team".to_owned(), team.to_owned())].into();
    ContextAnnotations { instance, ..ContextAnnotations::default() }
}

/// What every object of the model has.
pub fn metadata(name: &str, uid: &str, around: &Surroundings, now: Timestamp) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("ns".into()),
        uid: Some(uid.into()),
        generation: Some(generation(around)),
        annotations: around.carried.intent.clone().map(|text| [(INTENT_ANNOTATION.to_owned(), text)].into()),
        finalizers: Some(vec![FINALIZER.into()]),
        // So long ago that no operation is waited for.
        deletion_timestamp: around.deleted.then(|| Time(now - SignedDuration::from_hours(1))),
        ..ObjectMeta::default()
    }
}

/// How often the spec was changed, by the user or by the operator.
pub fn generation(around: &Surroundings) -> i64 {
    let edits = [around.edits, around.policy_changes, around.renewals];
    1 + edits.into_iter().map(i64::from).sum::<i64>() + around.carried.changes
}

/// The id that the user gives, if any.
pub const GIVEN_ID: &str = "mine";

/// The id in the spec.
pub fn external_id(around: &Surroundings) -> String {
    let given = if around.external_id { GIVEN_ID.into() } else { String::new() };
    around.carried.field("externalID", given)
}

/// The checksum under which parameters are recorded.
pub fn checksum(parameters: Option<&RawObject>) -> String {
    parameters::merge(parameters, &[]).map(|merged| merged.checksum().to_owned()).unwrap()
}

/// Where an instance with this status stands.
pub fn phase(status: &ServiceInstanceStatus) -> Phase<InstanceAction> {
    let mut object = ServiceInstance::new("name", ServiceInstanceSpec::default());
    object.status = Some(status.clone());
    Decoded::<Instance>::of(&object).phase
}

fn object(status: &ServiceInstanceStatus, around: &Surroundings, now: Timestamp) -> ServiceInstance {
    let plan_reference = PlanReference {
        cluster_service_class_external_name: Some("db".into()),
        cluster_service_plan_external_name: Some("small".into()),
        ..PlanReference::default()
    };
    let spec = ServiceInstanceSpec {
        plan_reference,
        parameters: specified(around),
        update_requests: i64::from(around.update_requests),
        external_id: external_id(around),
        deletion_policy: around.policy,
        cluster_service_class_ref: around.carried.field("clusterServiceClassRef", None),
        cluster_service_plan_ref: around.carried.field("clusterServicePlanRef", None),
        ..ServiceInstanceSpec::default()
    };
    let mut object = ServiceInstance::new("name", spec);
    object.metadata = metadata("name", UID, around, now);
    object.status = Some(status.clone());
    object
}

impl Subject for InstanceReconciler {
    const HAS_SECRET: bool = false;

    fn observed(
        status: &ServiceInstanceStatus,
        around: &Surroundings,
        memory: OperationMemory,
        now: Timestamp,
    ) -> Observed<Self> {
        let object = object(status, around, now);
        let parameters = merged(object.spec.parameters.as_ref(), around);
        let offering = offering(around);
        let plan_of = |properties: &Option<InstanceProperties>| {
            let (plan, offering) = properties.as_ref().zip(offering.as_ref().ok())?;
            Some(Offering { plan_id: plan.plan_id().to_owned(), ..offering.clone() })
        };
        let binding = Arc::new(ServiceBinding::new("creds", ServiceBindingSpec::default()));
        let dependencies = InstanceDependencies {
            common: CommonDependencies {
                taken_id: None,
                precondition_error: None,
                parameters: Some(parameters),
                namespace_uid: Some("namespace-uid".into()),
                cluster_id: "cluster-id".into(),
                replacement: None,
                recorded_broker_exists: !around.broker_gone && status.resolved.is_some(),
            },
            legacy: None,
            acknowledged_offering: plan_of(&status.external_properties),
            requested_offering: plan_of(&status.in_progress_properties),
            offering: offering.clone(),
            context_annotations: Some(annotations(around)),
            defaults: None,
            bindings: if around.bound { vec![binding] } else { vec![] },
        };
        Observed {
            object: Arc::new(object),
            dependencies,
            memory,
            settings: ReconcileSettings::default(),
            now,
        }
    }

    fn request(status: &ServiceInstanceStatus, call: &Call<InstanceRequest>) -> Request {
        let address = call.address();
        let (kind, wish, target) = match call {
            Call::Request(_, InstanceRequest::Provision(body)) => {
                let parameters = Some(checksum(body.parameters.as_ref()));
                let target = Target { service_id: body.service_id.clone(), plan_id: body.plan_id.clone() };
                (Kind::Create, Wish { plan: Some(body.plan_id.to_string()), parameters }, Some(target))
            }
            Call::Request(_, InstanceRequest::Update(body)) => {
                let parameters = body.parameters.as_ref().map(|parameters| checksum(Some(parameters)));
                (
                    Kind::Update,
                    Wish { plan: body.plan_id.as_ref().map(ToString::to_string), parameters },
                    None,
                )
            }
            Call::Delete(_, target, cause) => {
                let kind = Kind::Delete { mitigation: *cause == DeletePurpose::Mitigation };
                (kind, Wish::default(), Some(target.clone()))
            }
            Call::Poll(_, target, _) => {
                let deletion = matches!(phase(status), Phase::Polling(Awaited::Deletion(_), _));
                (Kind::Poll { deletion }, Wish::default(), Some(target.clone()))
            }
            Call::Request(_, InstanceRequest::Fetch(target, _)) => {
                (Kind::Fetch, Wish::default(), Some(target.clone()))
            }
        };
        Request { kind, broker: address.broker.clone(), id: address.instance_id.to_string(), wish, target }
    }

    fn answer(call: &Call<InstanceRequest>, answer: Answer) -> Answered<InstanceReply> {
        call.answered(match call {
            Call::Request(address, InstanceRequest::Provision(body)) => {
                let target = Target { service_id: body.service_id.clone(), plan_id: body.plan_id.clone() };
                let outcome = outcome(answer, true).map(provisioned);
                BrokerAnswer::Request(InstanceReply::Provision(address.clone(), target, outcome))
            }
            Call::Request(_, InstanceRequest::Update(_)) => {
                BrokerAnswer::Request(InstanceReply::Update(outcome(answer, false).map(provisioned)))
            }
            Call::Request(_, InstanceRequest::Fetch(target, fetching)) => {
                let outcome = outcome(answer, false).map(|_| InstanceAnswer::default());
                BrokerAnswer::Request(InstanceReply::Fetch(target.clone(), fetching.clone(), outcome))
            }
            Call::Delete(_, _, cause) => BrokerAnswer::Delete(*cause, outcome(answer, false).map(deleted)),
            Call::Poll(..) => BrokerAnswer::Poll(polled(answer)),
        })
    }

    fn shape(status: &ServiceInstanceStatus, now: Timestamp) -> ServiceInstanceStatus {
        let mut shape = status.clone();
        near_time(&mut shape.progress.last_attempt_time, now);
        near_time(&mut shape.progress.next_attempt_time, now);
        patience(&mut shape.progress.operation_start_time, now);
        wordless(&mut shape.conditions);
        (shape.progress.retries, shape.progress.attempt) =
            (shape.progress.retries.min(2), shape.progress.attempt.min(1));
        shape.progress.observed_intent = None;
        (shape.observed_generation, shape.reconciled_generation) = (0, 0);
        shape
    }

    fn standing(status: &ServiceInstanceStatus) -> Standing {
        let properties = status.external_properties.as_ref();
        Standing {
            id: status.instance_id.to_string(),
            other: None,
            is_ready: condition::is_true(&status.conditions, ConditionType::Ready),
            has_failed: condition::is_true(&status.conditions, ConditionType::Failed),
            says_why: condition::find(&status.conditions, ConditionType::Ready)
                .is_some_and(|ready| !ready.reason.is_empty() && !ready.message.is_empty()),
            is_polling: matches!(phase(status), Phase::Polling(..)),
            may_exist: may_exist::<Instance>(status),
            acknowledged: properties.map(|properties| Content {
                plan: properties.plan_id().to_string(),
                parameters: properties.parameter_checksum.clone(),
            }),
        }
    }

    /// What the spec asks for.
    fn wanted(around: &Surroundings, _: Option<&Content>) -> Option<Content> {
        let plan = offering(around).ok()?.plan_id;
        Some(Content { plan: plan.to_string(), parameters: checksum(specified(around).as_ref()) })
    }
}

/// A PUT or PATCH was answered: at once, or to be polled.
fn provisioned(at_once: bool) -> Provisioned {
    if at_once {
        Provisioned::Done { dashboard_url: None }
    } else {
        Provisioned::Accepted { operation: None, dashboard_url: None }
    }
}

/// A DELETE was answered: at once, or to be polled.
pub fn deleted(at_once: bool) -> Deleted {
    if at_once { Deleted::Done } else { Deleted::Accepted { operation: None } }
}
