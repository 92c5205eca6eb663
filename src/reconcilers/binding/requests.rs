//! Which requests does the operator send about a binding, and to which broker? All functions except `send`
//! are pure.
//!
//! A bind comes with its intent, which holds everything that a later DELETE or an identical repetition needs.

use super::{
    Binding, BindingReply, BindingRequest, BindingRequestRecord, BindingView, desired::DesiredBinding,
    phase::BindingAction,
};
use crate::{
    crd::{binding::BindingProperties, common::ResolvedOffering},
    osb::{
        BindingId, InstanceId,
        wire::{BindRequest, BindResource, ContextObject, PLATFORM, Target},
    },
    reconcilers::{
        context::Context,
        identity::identity_of,
        operation::{
            Address, Call, Decoded, NextStep,
            call::RequestHooks,
            intent::{IntendedRequest, attempt},
        },
        references,
    },
};

impl RequestHooks for Binding {
    /// The address and target come from the status. If the status of an object of v0.3 does not have them,
    /// they come from its instance. The plan is the one that the broker has acknowledged for the instance.
    fn recorded_target(view: &BindingView<'_>) -> Option<(Address, Target)> {
        let (status, instance) = (&view.status, view.dependencies.instance());
        let of_instance = instance.as_ref().and_then(|instance| instance.status.resolved.clone());
        let resolved = status.resolved.clone().or(of_instance).or_else(|| {
            let offering = view.dependencies.offering.as_ref()?.as_ref().ok()?;
            Some(offering.to_record())
        })?;
        let current = instance.as_ref().map(Decoded::instance_id);
        let recorded = Some(status.instance_id.clone()).filter(|id| !id.is_empty());
        let instance_id = recorded.or_else(|| current.clone())?;
        let acknowledged =
            instance.as_ref().and_then(|instance| instance.status.external_properties.as_ref());
        let plan_id = acknowledged
            .map(|properties| properties.plan_id().clone())
            .filter(|id| !id.is_empty() && current.as_ref() == Some(&instance_id))
            .unwrap_or(resolved.plan_id.clone());
        let address = address(view, &resolved, instance_id);
        Some((address, Target { service_id: resolved.service_id, plan_id }))
    }

    fn is_mutating(request: &BindingRequest) -> bool {
        matches!(request, BindingRequest::Bind(..))
    }

    async fn send(address: Address, request: BindingRequest, context: &Context) -> BindingReply {
        let Context { brokers, caches, .. } = context;
        let Address { broker, instance_id, binding_id, identity } = address;
        let (identity, binding_id) = (identity.as_ref(), binding_id.unwrap_or_default());
        match request {
            BindingRequest::Bind(body, accepts_incomplete) => BindingReply::Bind(
                brokers
                    .ask(caches, &broker, async |client| {
                        client.bind(&instance_id, &binding_id, &body, accepts_incomplete, identity).await
                    })
                    .await,
            ),
            BindingRequest::Fetch(target) => BindingReply::Fetch(
                brokers
                    .ask(caches, &broker, async |client| {
                        client.get_binding(&instance_id, &binding_id, &target, identity).await
                    })
                    .await,
            ),
        }
    }
}

/// A bind and its intent. The repetition of an unanswered bind is the same request with the same id.
pub(super) fn bind(view: &BindingView<'_>, desired: &DesiredBinding<'_>) -> NextStep<Binding> {
    let predecessor = predecessor(view, desired);
    let parameters = if predecessor.is_none() { desired.parameters.to_send() } else { None };
    let body = BindRequest {
        service_id: desired.resolved.service_id.clone(),
        plan_id: desired.resolved.plan_id.clone(),
        context: ContextObject {
            platform: PLATFORM,
            namespace: view.namespace().to_owned(),
            clusterid: view.dependencies.common.cluster_id.clone(),
            instance_name: Some(view.object.spec.instance_ref.name.clone()),
            namespace_annotations: None,
            instance_annotations: None,
        },
        bind_resource: BindResource { app_guid: desired.namespace_uid.to_owned() },
        parameters,
        predecessor_binding_id: predecessor.clone(),
    };
    let record = BindingRequestRecord {
        instance_id: desired.instance_id.clone(),
        resolved: desired.resolved.clone(),
        properties: BindingProperties {
            parameters: desired.parameters.to_show(),
            parameter_checksum: desired.parameters.checksum().to_owned(),
            predecessor_binding_id: predecessor.unwrap_or_default(),
            user_info: None,
        },
    };
    let address = address(view, &desired.resolved, desired.instance_id.clone());
    let request = BindingRequest::Bind(Box::new(body), desired.retrievable);
    attempt(view, IntendedRequest::Request(BindingAction::Bind, record), Call::Request(address, request))
}

/// The binding that the request names as the one to replace (OSB 2.17, "Binding Rotation"). The broker takes over its
/// parameters. A broker that has refused this is asked for another binding. The repetition of a request says what the
/// first one said.
fn predecessor(view: &BindingView<'_>, desired: &DesiredBinding<'_>) -> Option<BindingId> {
    if let Some(under_way) = &view.status.in_progress_properties {
        return Some(under_way.predecessor_binding_id.clone()).filter(|id| !id.is_empty());
    }
    let is_first = view.status.progress.retries == 0;
    view.dependencies.predecessor.clone().filter(|_| desired.plan.rotatable && is_first)
}

fn address(view: &BindingView<'_>, resolved: &ResolvedOffering, instance_id: InstanceId) -> Address {
    Address {
        broker: references::recorded_broker(resolved, view.namespace()),
        instance_id,
        binding_id: Some(view.binding_id()),
        identity: identity_of(view.object.spec.user_info.as_ref()),
    }
}
