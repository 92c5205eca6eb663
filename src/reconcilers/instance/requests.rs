//! Which requests does the operator send about an instance, and to which broker? All functions except `send`
//! are pure.
//!
//! Each request comes with its intent, which holds everything that a later DELETE or an identical repetition
//! needs.

use kube::ResourceExt as _;

use super::{
    Instance, InstanceReply, InstanceRequest, InstanceRequestRecord, InstanceView, desired::DesiredInstance,
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
            intent::{IntendedRequest, attempt},
            phase::CurrentOperation,
        },
        references::{self, Offering},
    },
};

impl RequestHooks for Instance {
    /// The address and target come from the status, because class, plan and catalog may have changed since.
    /// If the status of an object of v0.3 does not have them, the spec is resolved again.
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

    /// The address and target of a poll. Its originating identity is the user who requested the operation,
    /// even if another user has edited the object since.
    fn poll_target(view: &InstanceView<'_>, awaited: Awaited<InstanceAction>) -> Option<(Address, Target)> {
        let (mut address, mut target) = Self::recorded_target(view)?;
        let in_progress = view.status.in_progress_properties.as_ref();
        match awaited {
            // The user who changed an annotation is unknown.
            Awaited::Operation(InstanceAction::UpdateContext) => address.identity = None,
            Awaited::Operation(action) => {
                if let Some(user) = in_progress.and_then(|properties| properties.user_info.as_ref()) {
                    address.identity = identity_of(Some(user));
                }
                // During a change of the plan, a poll names the old plan (OSB 2.17, "Polling Last
                // Operation").
                if let (InstanceAction::Provision, Some(properties)) = (action, in_progress) {
                    target.plan_id = properties.plan_id().clone();
                }
            }
            Awaited::Deletion(_) => {}
        }
        Some((address, target))
    }

    fn is_mutating(request: &InstanceRequest) -> bool {
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
            InstanceRequest::Fetch(target, purpose) => {
                let outcome = brokers
                    .ask(caches, broker, async |client| {
                        client.get_instance(instance_id, &target, identity).await
                    })
                    .await;
                InstanceReply::Fetch(target, purpose, outcome)
            }
        }
    }
}

/// A provision and its intent. The repetition of an unanswered provision is the same request with the same
/// id.
pub(super) fn provision(view: &InstanceView<'_>, desired: &DesiredInstance<'_>) -> NextStep<Instance> {
    let annotations = annotations(view);
    let properties = desired.properties(annotations.clone());
    let body = ProvisionRequest {
        service_id: desired.offering.service_id.clone(),
        plan_id: desired.offering.plan_id.clone(),
        organization_guid: view.dependencies.common.cluster_id.clone(),
        space_guid: desired.namespace_uid.to_owned(),
        context: context(view, annotations.as_ref()),
        parameters: desired.parameters.to_send(),
        maintenance_info: MaintenanceInfo::of(desired.maintenance_version),
    };
    let request = InstanceRequest::Provision(Box::new(body));
    attempt_desired(view, desired, InstanceAction::Provision, properties, request)
}

/// An update and its intent. The request has only the values that differ from those that the broker has
/// acknowledged.
pub(super) fn update(view: &InstanceView<'_>, desired: &DesiredInstance<'_>) -> NextStep<Instance> {
    let status = &view.status;
    let acknowledged = status.external_properties.clone().unwrap_or_default();
    let sends_all = sends_all(view);
    // An update that repeats the acknowledged values does not include changed annotations. With them the
    // record would look like an update of the context alone. The refusal of such an update counts as having
    // no effect, and its repetition would have fewer values.
    let is_context_update = status.operation() == CurrentOperation::Operation(InstanceAction::UpdateContext);
    let repeats = desired.matches(&acknowledged) && !is_context_update;
    let annotations = if repeats { acknowledged.context_annotations.clone() } else { annotations(view) };
    let properties = desired.properties(annotations.clone());
    let plan_differs = (sends_all && view.dependencies.is_plan_updatable(desired.offering))
        || *acknowledged.plan_id() != desired.offering.plan_id;
    let version_differs =
        sends_all || acknowledged.maintenance_version.as_deref() != desired.maintenance_version;
    let offered = desired.offering.maintenance.as_ref().map(|offered| &*offered.version);
    let body = UpdateRequest {
        service_id: desired.offering.service_id.clone(),
        plan_id: plan_differs.then(|| desired.offering.plan_id.clone()),
        // An empty object means that all parameters were removed. Without the field, all parameters would
        // stay.
        parameters: sends_parameters(view, desired).then(|| desired.parameters.to_send().unwrap_or_default()),
        context: context(view, annotations.as_ref()),
        previous_values: PreviousValues {
            service_id: desired.offering.service_id.clone(),
            plan_id: acknowledged.plan_id().clone(),
            maintenance_info: MaintenanceInfo::of(acknowledged.maintenance_version.as_deref()),
        },
        // A broker accepts only the version that its catalog has (OSB 2.17, "Maintenance Info Object").
        maintenance_info: MaintenanceInfo::of(
            desired.maintenance_version.filter(|version| version_differs && offered == Some(*version)),
        ),
    };
    let request = InstanceRequest::Update(Box::new(body));
    attempt_desired(view, desired, InstanceAction::Update, properties, request)
}

/// Whether an update has all values. If an earlier update may have taken effect, the request has all values that the
/// earlier one may have changed. It also has all values if the user requests an update without a change, and if
/// only an update can repair the instance.
fn sends_all(view: &InstanceView<'_>) -> bool {
    view.has_unanswered_request() || view.is_update_requested() || view.status.unusable
}

/// Whether an update has parameters.
pub(super) fn sends_parameters(view: &InstanceView<'_>, desired: &DesiredInstance<'_>) -> bool {
    let known = view.status.sent_parameters().map(|sent| sent.map_or("", |sent| sent.checksum));
    let [_, acknowledged] = known;
    let checksum = desired.parameters.checksum();
    let ever_had_parameters = known.iter().any(|known| !known.is_empty()) || !checksum.is_empty();
    (sends_all(view) && ever_had_parameters) || acknowledged != checksum
}

/// An update of the context alone and its intent. The request has neither plan nor parameters, and no
/// originating identity. `None` if the broker or the acknowledged properties are unknown.
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
    let intent = IntendedRequest::Request(
        InstanceAction::UpdateContext,
        InstanceRequestRecord { resolved: None, properties },
    );
    // The user who changed an annotation is unknown.
    let address = Address { identity: None, ..address };
    Some(attempt(view, intent, Call::Request(address, InstanceRequest::Update(Box::new(body)))))
}

/// The annotations in the context of a request. The repetition of a request that may have taken effect has
/// the same annotations.
fn annotations(view: &InstanceView<'_>) -> Option<ContextAnnotations> {
    match view.status.in_progress_properties.as_ref().filter(|_| view.has_unanswered_request()) {
        Some(in_progress) => in_progress.context_annotations.clone(),
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
    let record = InstanceRequestRecord { resolved: Some(desired.offering.to_record()), properties };
    let address = address(view, desired.offering.broker.clone());
    attempt(view, IntendedRequest::Request(action, record), Call::Request(address, request))
}

fn address(view: &InstanceView<'_>, broker: BrokerKey) -> Address {
    Address {
        broker,
        instance_id: view.instance_id(),
        binding_id: None,
        identity: identity_of(view.object.spec.user_info.as_ref()),
    }
}

/// The context object: cluster, namespace, instance and annotations (OSB profile, "Context Object",
/// Kubernetes).
fn context(view: &InstanceView<'_>, annotations: Option<&ContextAnnotations>) -> ContextObject {
    ContextObject {
        platform: PLATFORM,
        namespace: view.namespace().to_owned(),
        clusterid: view.dependencies.common.cluster_id.clone(),
        instance_name: Some(view.object.name_any()),
        namespace_annotations: annotations.map(|annotations| annotations.namespace.clone()),
        instance_annotations: annotations.map(|annotations| annotations.instance.clone()),
    }
}
