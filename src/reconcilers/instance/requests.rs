//! The requests about an instance and where they go. Pure.
//!
//! Each request comes with its intent: everything that a later DELETE or an identical repetition needs.

use kube::ResourceExt as _;

use super::{
    Instance, InstanceOrder, InstanceReply, InstanceRequest, InstanceView, desired::DesiredInstance,
    phase::InstanceAction,
};
use crate::{
    crd::{
        common::BrokerKey,
        instance::{ContextAnnotations, InstanceProperties},
    },
    osb::wire::{
        ContextObject, MaintenanceInfo, PLATFORM, PreviousValues, ProvisionRequest, Target, UpdateRequest,
    },
    reconcilers::{
        context::Context,
        identity::identity_of,
        operation::{
            Address, Awaited, Call, NextStep, OperationStatus as _,
            call::RequestHooks,
            intent::{Intent, attempt},
            phase::Recorded,
        },
        references::{self, Offering},
    },
};

impl RequestHooks for Instance {
    /// Where a request about what exists goes, from what is on record: class, plan and catalog may have changed since. An
    /// object of v0.3 that records nothing is resolved anew.
    fn recorded_target(view: &InstanceView<'_>) -> Option<(Address, Target)> {
        let status = &view.status;
        let resolved = status
            .resolved
            .clone()
            .or_else(|| view.dependencies.offering.as_ref().ok().map(Offering::to_record))?;
        let properties = status.external_properties.as_ref().or(status.in_progress_properties.as_ref());
        let plan_id = properties
            .map(InstanceProperties::plan_id)
            .filter(|id| !id.is_empty())
            .unwrap_or(&resolved.plan_id);
        let address = address(view, references::recorded_broker(&resolved, view.namespace()));
        Some((address, Target { service_id: resolved.service_id.clone(), plan_id: plan_id.clone() }))
    }

    /// Where a poll goes, and on whose behalf: of the user who asked for the operation, whoever edited the object since.
    fn poll_target(view: &InstanceView<'_>, awaited: Awaited<InstanceAction>) -> Option<(Address, Target)> {
        let (mut address, mut target) = Self::recorded_target(view)?;
        let asked = view.status.in_progress_properties.as_ref();
        match awaited {
            // It is not known who changed an annotation.
            Awaited::Operation(InstanceAction::UpdateContext) => address.identity = None,
            Awaited::Operation(action) => {
                if let Some(user) = asked.and_then(|asked| asked.user_info.as_ref()) {
                    address.identity = identity_of(Some(user));
                }
                // While a plan changes, a poll names the plan before the change (OSB 2.17, "Polling Last Operation").
                if let (InstanceAction::Provision, Some(asked)) = (action, asked) {
                    target.plan_id = asked.plan_id().clone();
                }
            }
            Awaited::Deletion(_) => {}
        }
        Some((address, target))
    }

    fn changes(request: &InstanceRequest) -> bool {
        !matches!(request, InstanceRequest::Fetch(..))
    }

    async fn send(address: Address, request: InstanceRequest, context: &Context) -> InstanceReply {
        let Context { brokers, caches, .. } = context;
        let Address { broker, instance_id, identity, .. } = &address;
        let identity = identity.as_ref();
        match request {
            InstanceRequest::Provision(body) => {
                let outcome = brokers
                    .ask(caches, broker, async |client| client.provision(instance_id, &body, identity).await)
                    .await;
                let ProvisionRequest { service_id, plan_id, .. } = *body;
                InstanceReply::Provision(address, Target { service_id, plan_id }, outcome)
            }
            InstanceRequest::Update(body) => InstanceReply::Update(
                brokers
                    .ask(caches, broker, async |client| client.update(instance_id, &body, identity).await)
                    .await,
            ),
            InstanceRequest::Fetch(target, fetching) => {
                let outcome = brokers
                    .ask(caches, broker, async |client| {
                        client.get_instance(instance_id, &target, identity).await
                    })
                    .await;
                InstanceReply::Fetch(target, fetching, outcome)
            }
        }
    }
}

/// A provision and its intent. The repetition of one without an answer is the same request under the same id.
pub(super) fn provision(view: &InstanceView<'_>, desired: &DesiredInstance<'_>) -> NextStep<Instance> {
    let annotations = annotations(view);
    let properties = desired.properties(annotations.clone());
    let body = ProvisionRequest {
        service_id: desired.offering.service_id.clone(),
        plan_id: desired.offering.plan_id.clone(),
        organization_guid: view.dependencies.cluster_id.clone(),
        space_guid: desired.namespace_uid.to_owned(),
        context: context(view, annotations.as_ref()),
        parameters: desired.parameters.to_send(),
        maintenance_info: MaintenanceInfo::of(desired.maintenance_version),
    };
    let request = InstanceRequest::Provision(Box::new(body));
    attempt_desired(view, desired, InstanceAction::Provision, properties, request)
}

/// An update and its intent. It says only what differs from what the broker has acknowledged.
pub(super) fn update(view: &InstanceView<'_>, desired: &DesiredInstance<'_>) -> NextStep<Instance> {
    let status = &view.status;
    let present = status.external_properties.clone().unwrap_or_default();
    // An earlier update may have taken effect unnoticed: then everything that it may have changed is said again. So it is
    // when the user asks for the same again, and when only another update can repair the instance.
    let all = view.is_in_doubt() || view.is_update_requested() || status.unusable;
    // An update that repeats what is acknowledged leaves changed annotations for later. With them it would look like an
    // update of the context alone, whose refusal leaves no doubt, and whose repetition says less.
    let is_context_update = status.operation() == Recorded::Operation(InstanceAction::UpdateContext);
    let repeats = desired.is(&present) && !is_context_update;
    let annotations = if repeats { present.context_annotations.clone() } else { annotations(view) };
    let properties = desired.properties(annotations.clone());
    let plan_differs = (all && view.dependencies.is_plan_updatable(desired.offering))
        || *present.plan_id() != desired.offering.plan_id;
    let asked = status.in_progress_properties.as_ref();
    let ever_given = |properties: &InstanceProperties| !properties.parameter_checksum.is_empty();
    let any = ever_given(&present) || asked.is_some_and(ever_given) || desired.parameters.to_send().is_some();
    let parameters_differ = (all && any) || present.parameter_checksum != desired.parameters.checksum();
    let version_differs = all || present.maintenance_version.as_deref() != desired.maintenance_version;
    let offered = desired.offering.maintenance.as_ref().map(|offered| &*offered.version);
    let body = UpdateRequest {
        service_id: desired.offering.service_id.clone(),
        plan_id: plan_differs.then(|| desired.offering.plan_id.clone()),
        // An empty object says that all parameters were removed; leaving them out would say that they stay.
        parameters: parameters_differ.then(|| desired.parameters.to_send().unwrap_or_default()),
        context: context(view, annotations.as_ref()),
        previous_values: PreviousValues {
            service_id: desired.offering.service_id.clone(),
            plan_id: present.plan_id().clone(),
            maintenance_info: MaintenanceInfo::of(present.maintenance_version.as_deref()),
        },
        // A broker takes only the version that its catalog has.
        maintenance_info: MaintenanceInfo::of(
            desired.maintenance_version.filter(|version| version_differs && offered == Some(*version)),
        ),
    };
    let request = InstanceRequest::Update(Box::new(body));
    attempt_desired(view, desired, InstanceAction::Update, properties, request)
}

/// An update of the context alone and its intent. It says nothing of plan or parameters, and no user asked for it. `None`
/// when it is not known where to send it.
pub(super) fn context_update(view: &InstanceView<'_>) -> Option<NextStep<Instance>> {
    let (address, target) = Instance::recorded_target(view)?;
    let acknowledged = view.status.external_properties.as_ref()?;
    let context_annotations = view.dependencies.context_annotations.clone();
    let body = UpdateRequest {
        service_id: target.service_id.clone(),
        plan_id: None,
        parameters: None,
        context: context(view, context_annotations.as_ref()),
        previous_values: PreviousValues {
            service_id: target.service_id,
            plan_id: target.plan_id,
            maintenance_info: MaintenanceInfo::of(acknowledged.maintenance_version.as_deref()),
        },
        maintenance_info: None,
    };
    let properties = InstanceProperties { context_annotations, ..acknowledged.clone() };
    let intent = Intent::Request(InstanceAction::UpdateContext, InstanceOrder { resolved: None, properties });
    // It is not known who changed an annotation.
    let address = Address { identity: None, ..address };
    Some(attempt(view, intent, Call::Request(address, InstanceRequest::Update(Box::new(body)))))
}

/// The annotations that a request names. The repetition of one that may have taken effect names the same.
fn annotations(view: &InstanceView<'_>) -> Option<ContextAnnotations> {
    match view.status.in_progress_properties.as_ref().filter(|_| view.is_in_doubt()) {
        Some(asked) => asked.context_annotations.clone(),
        None => view.dependencies.context_annotations.clone(),
    }
}

fn attempt_desired(
    view: &InstanceView<'_>,
    desired: &DesiredInstance<'_>,
    action: InstanceAction,
    properties: InstanceProperties,
    request: InstanceRequest,
) -> NextStep<Instance> {
    let order = InstanceOrder { resolved: Some(desired.offering.to_record()), properties };
    let address = address(view, desired.offering.broker.clone());
    attempt(view, Intent::Request(action, order), Call::Request(address, request))
}

fn address(view: &InstanceView<'_>, broker: BrokerKey) -> Address {
    Address {
        broker,
        instance_id: view.instance_id(),
        binding_id: None,
        identity: identity_of(view.object.spec.user_info.as_ref()),
    }
}

/// Who and where (Kubernetes profile, "Context Object").
fn context(view: &InstanceView<'_>, annotations: Option<&ContextAnnotations>) -> ContextObject {
    ContextObject {
        platform: PLATFORM,
        namespace: view.namespace().to_owned(),
        clusterid: view.dependencies.cluster_id.clone(),
        instance_name: Some(view.object.name_any()),
        namespace_annotations: annotations.map(|annotations| annotations.namespace.clone()),
        instance_annotations: annotations.map(|annotations| annotations.instance.clone()),
    }
}
