//! What is recorded before a broker is asked: everything that a later DELETE or an identical repetition needs. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::{
    Call, Recipient, annotations, phase,
    plan::{Next, Seen},
};
use crate::{
    crd::{
        ConditionStatus::{False, True},
        ConditionType::{Failed, OrphanMitigation, Ready},
        ScopeKind, ServiceInstanceStatus,
        condition::{self, Conditioned as _},
        instance::{ContextAnnotations, DeprovisionStatus, InstanceOperation, InstanceProperties},
        progress::Progress,
    },
    osb::wire::{Context, MaintenanceInfo, PLATFORM, PreviousValues, ProvisionRequest, UpdateRequest},
    reconcilers::{
        attempt::identity_of,
        backoff::quiet_until,
        machine::Step,
        offering::{Offering, plan_spelling, shown_class},
        parameters::Parameters,
        reason::Reason,
        told::undoing,
    },
};

/// What the spec asks for.
pub(super) struct Wanted<'a> {
    pub offering: &'a Offering,
    pub parameters: &'a Parameters,
    pub namespace_uid: &'a str,
    /// The version that the instance is to have; none where it has none, or none that is known.
    pub maintenance_version: Option<&'a str>,
}

impl Wanted<'_> {
    /// Whether a broker was asked for this already.
    pub fn is(&self, properties: &InstanceProperties) -> bool {
        properties.plan_id() == self.offering.plan_id
            && properties.parameter_checksum == self.parameters.checksum()
            && properties.maintenance_version.as_deref() == self.maintenance_version
    }

    fn properties(&self, context_annotations: Option<ContextAnnotations>) -> InstanceProperties {
        let Offering { broker, plan_id, plan_name, .. } = self.offering;
        let shared = InstanceProperties {
            parameters: self.parameters.to_show(),
            parameter_checksum: self.parameters.checksum().to_owned(),
            maintenance_version: self.maintenance_version.map(str::to_owned),
            context_annotations,
            ..InstanceProperties::default()
        };
        let (name, id) = (plan_name.clone(), plan_id.clone());
        match broker.scope {
            ScopeKind::Cluster => InstanceProperties {
                cluster_service_plan_external_name: name,
                cluster_service_plan_external_id: id,
                ..shared
            },
            ScopeKind::Namespace => InstanceProperties {
                service_plan_external_name: name,
                service_plan_external_id: id,
                ..shared
            },
        }
    }
}

/// Records a provision and sends it. A repetition of an unanswered one is the same request under the same id.
pub(super) fn provision(observed: &Seen, status: &ServiceInstanceStatus, wanted: &Wanted<'_>) -> Next {
    let mut intent = status.clone();
    intent.instance_id = phase::instance_id(&observed.object, status);
    let annotations = annotations(observed, status);
    begin(observed, &mut intent, wanted.properties(annotations.clone()), InstanceOperation::Provision);
    intent.resolved = Some(wanted.offering.to_record());
    intent.deprovision_status = DeprovisionStatus::Required;
    let body = ProvisionRequest {
        service_id: wanted.offering.service_id.clone(),
        plan_id: wanted.offering.plan_id.clone(),
        organization_guid: observed.world.cluster_id.clone(),
        space_guid: wanted.namespace_uid.to_owned(),
        context: context(observed, annotations.as_ref()),
        parameters: wanted.parameters.to_send(),
        maintenance_info: MaintenanceInfo::of(wanted.maintenance_version),
    };
    let call = Call::Provision(recipient(observed, wanted, &intent), Box::new(body));
    Step::Attempt { intent, call }
}

/// Records an update and sends it: only what differs from what the broker has acknowledged.
pub(super) fn update(observed: &Seen, status: &ServiceInstanceStatus, wanted: &Wanted<'_>) -> Next {
    let mut intent = status.clone();
    intent.instance_id = phase::instance_id(&observed.object, status);
    let present = status.external_properties.clone().unwrap_or_default();
    // An earlier update may have taken effect unnoticed: then everything that it may have changed is said again.
    // So it is when the user asks for the same again, and when only another update can repair the instance.
    let all = phase::is_in_doubt(status)
        || observed.object.spec.update_requests > phase::seen_update_requests(&observed.object, status)
        || status.unusable;
    // An update that repeats what is acknowledged waits with changed annotations, or it would look like one that says
    // nothing else: a refusal of that leaves no doubt, and its repetition says less.
    let repeats = wanted.is(&present) && !annotations::are_being_told(status);
    let annotations =
        if repeats { present.context_annotations.clone() } else { annotations(observed, status) };
    begin(observed, &mut intent, wanted.properties(annotations.clone()), InstanceOperation::Update);
    intent.resolved = Some(wanted.offering.to_record());
    let plan_differs = (all && observed.world.is_plan_updatable(wanted.offering))
        || present.plan_id() != wanted.offering.plan_id;
    let asked = status.in_progress_properties.as_ref();
    let ever_given = |properties: &InstanceProperties| !properties.parameter_checksum.is_empty();
    let any = ever_given(&present) || asked.is_some_and(ever_given) || wanted.parameters.to_send().is_some();
    let parameters_differ = (all && any) || present.parameter_checksum != wanted.parameters.checksum();
    let version_differs = all || present.maintenance_version.as_deref() != wanted.maintenance_version;
    let offered = wanted.offering.maintenance.as_ref().map(|offered| &*offered.version);
    let body = UpdateRequest {
        service_id: wanted.offering.service_id.clone(),
        plan_id: plan_differs.then(|| wanted.offering.plan_id.clone()),
        // An empty object says that all parameters were removed; leaving them out would say that they stay.
        parameters: parameters_differ.then(|| wanted.parameters.to_send().unwrap_or_default()),
        context: context(observed, annotations.as_ref()),
        previous_values: PreviousValues {
            service_id: wanted.offering.service_id.clone(),
            plan_id: present.plan_id().to_owned(),
            maintenance_info: MaintenanceInfo::of(present.maintenance_version.as_deref()),
        },
        // A broker takes only the version that its catalog has.
        maintenance_info: MaintenanceInfo::of(
            wanted.maintenance_version.filter(|version| version_differs && offered == Some(*version)),
        ),
    };
    let call = Call::Update(recipient(observed, wanted, &intent), Box::new(body));
    Step::Attempt { intent, call }
}

fn in_flight(operation: InstanceOperation) -> (Reason, &'static str) {
    match operation {
        InstanceOperation::Update => {
            (Reason::UpdateInstanceRequestInFlight, "Update request for ServiceInstance in-flight to Broker")
        }
        InstanceOperation::Provision | InstanceOperation::Deprovision | InstanceOperation::None => {
            (Reason::ProvisionRequestInFlight, "Provision request for ServiceInstance in-flight to Broker")
        }
    }
}

/// The annotations that a request names. The repetition of one that may have been done repeats them as they were.
fn annotations(observed: &Seen, status: &ServiceInstanceStatus) -> Option<ContextAnnotations> {
    let asked = status.in_progress_properties.as_ref().filter(|_| phase::is_in_doubt(status));
    match asked {
        Some(asked) => asked.context_annotations.clone(),
        None => observed.world.context_annotations.clone(),
    }
}

/// What provision and update record alike.
fn begin(
    observed: &Seen,
    intent: &mut ServiceInstanceStatus,
    properties: InstanceProperties,
    operation: InstanceOperation,
) {
    let moved = phase::has_moved(&observed.object, intent);
    observe_spec(observed, intent);
    count_repetition(intent);
    if moved || intent.current_operation != operation {
        // After a mitigation the next attempt goes on counting, or a broker that fails each of them would be asked
        // every second for ever.
        intent.progress.retries =
            if moved || intent.progress.next_attempt_time.is_none() { 0 } else { intent.progress.retries };
        if moved || intent.progress.operation_start_time.is_none() {
            intent.progress.operation_start_time = Some(Time(observed.now));
        }
        // A later attempt leaves on show why the one before failed.
        if intent.progress.retries == 0 {
            let (reason, message) = in_flight(operation);
            intent.mark(Ready, False, reason, message, observed.now);
        }
    }
    intent.unmark(Failed);
    intent.current_operation = operation;
    intent.in_progress_properties = Some(properties);
    intent.default_provision_parameters.clone_from(&observed.world.defaults);
    intent.progress.stamp(observed.now);
}

/// Records an update of the context alone. The instance stays what it is meanwhile, ready above all.
pub(super) fn begin_telling(
    observed: &Seen,
    intent: &mut ServiceInstanceStatus,
    acknowledged: &InstanceProperties,
) {
    count_repetition(intent);
    intent.progress.operation_start_time.get_or_insert(Time(observed.now));
    intent.current_operation = InstanceOperation::Update;
    let context_annotations = observed.world.context_annotations.clone();
    intent.in_progress_properties = Some(InstanceProperties { context_annotations, ..acknowledged.clone() });
    intent.progress.stamp(observed.now);
}

/// An intent that is still on record was perhaps carried out.
fn count_repetition(intent: &mut ServiceInstanceStatus) {
    if matches!(phase::phase(intent), phase::Phase::Intending(..)) {
        intent.progress.repeat();
    }
}

/// Records that the spec is acted on.
pub(super) fn observe_spec(observed: &Seen, status: &mut ServiceInstanceStatus) {
    status.observed_generation = observed.object.metadata.generation.unwrap_or(0);
    status.observed_update_requests = observed.object.spec.update_requests;
    show_spec(observed, status);
}

/// What the original has ordered goes on record as if it had been ordered here, once: then a deletion needs neither spec
/// nor catalog any more.
pub(super) fn taken_over(observed: &Seen, status: &ServiceInstanceStatus) -> Option<ServiceInstanceStatus> {
    let inherited = observed.world.inherited.as_ref().filter(|_| status.resolved.is_none())?;
    Some(ServiceInstanceStatus {
        instance_id: phase::instance_id(&observed.object, status),
        observed_update_requests: phase::seen_update_requests(&observed.object, status),
        resolved: Some(inherited.clone()),
        // The original wrote them into the spec: there they stand, unless a user took them out.
        default_provision_parameters: None,
        ..status.clone()
    })
}

/// Records what the print columns show.
pub(super) fn show_spec(observed: &Seen, status: &mut ServiceInstanceStatus) {
    let reference = &observed.object.spec.plan_reference;
    status.user_specified_class_name = shown_class(reference);
    status.user_specified_plan_name =
        plan_spelling(reference).map_or_else(String::new, |spelling| spelling.value().to_owned());
}

/// Clears what belongs to an operation that has come to its end.
pub(super) fn end_operation(status: &mut ServiceInstanceStatus) {
    status.current_operation = InstanceOperation::None;
    status.progress.end();
}

/// Records that what a create may have left must be deleted before anything else is tried. When the create was never
/// answered, a DELETE proves something only after the create can no longer take effect.
pub(super) fn start_mitigation(
    observed: &Seen,
    status: &ServiceInstanceStatus,
    reason: Reason,
    why: &str,
    may_still_come: bool,
) -> ServiceInstanceStatus {
    let mut started = status.clone();
    let quiet = quiet_until(observed, status.progress.last_attempt_time.as_ref());
    started.progress.undo(may_still_come, quiet);
    started.deprovision_status = DeprovisionStatus::Required;
    if !condition::is_true(&started.conditions, Failed) {
        let message = undoing(why, "instance", started.progress.next_attempt_time.as_ref());
        started.mark(Ready, False, Reason::StartingInstanceOrphanMitigation, &message, observed.now);
    }
    // As in the original, this one keeps the cause.
    started.mark(OrphanMitigation, True, reason, why, observed.now);
    started
}

/// Only a deletion records that the instance is being deleted, and a deletion cannot be taken back; but an object can be
/// restored from a backup, with the status that it had then. The deletion goes on, and what comes after it is another attempt.
pub(super) fn restored(observed: &Seen, status: &ServiceInstanceStatus) -> ServiceInstanceStatus {
    let mut restored = ServiceInstanceStatus {
        current_operation: InstanceOperation::None,
        progress: Progress { orphan_mitigation_in_progress: true, ..status.progress.clone() },
        deprovision_status: DeprovisionStatus::Required,
        ..status.clone()
    };
    let why = "The instance was being deleted, as its status says, but its object is to exist";
    let reason = Reason::StartingInstanceOrphanMitigation;
    restored.mark(Ready, False, reason, &undoing(why, "instance", None), observed.now);
    restored
}

fn recipient(observed: &Seen, wanted: &Wanted<'_>, intent: &ServiceInstanceStatus) -> Recipient {
    Recipient {
        broker: wanted.offering.broker.clone(),
        instance_id: intent.instance_id.clone(),
        identity: identity_of(observed.object.spec.user_info.as_ref()),
    }
}

/// Who and where.
pub(super) fn context(observed: &Seen, annotations: Option<&ContextAnnotations>) -> Context {
    Context {
        platform: PLATFORM,
        namespace: observed.object.namespace().unwrap_or_default(),
        clusterid: observed.world.cluster_id.clone(),
        instance_name: Some(observed.object.name_any()),
        namespace_annotations: annotations.map(|annotations| annotations.namespace.clone()),
        instance_annotations: annotations.map(|annotations| annotations.instance.clone()),
    }
}
