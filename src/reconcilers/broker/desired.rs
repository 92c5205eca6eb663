//! From a catalog to the class and plan objects that there should be (original, "Brokers", step 5). Pure.

use kube::ResourceExt as _;

use super::{
    World,
    names::Names,
    restrictions::{ClassProperties, PlanProperties, Restrictions},
};
use crate::{
    crd::{
        Scope,
        class::CommonServiceClassSpec,
        plan::{CommonServicePlanSpec, MaintenanceInfo},
        scope::{ClassObject as _, EntryObject, PlanObject as _},
    },
    json::RawObject,
    osb::catalog::{Catalog, Offering, Plan},
    reconcilers::entry::labels,
};

/// The largest entry that is written, in bytes: the API server takes 1.5 MiB at most, labels and owner included.
const MAX_ENTRY: usize = 1 << 20;

/// The objects that there should be, with labels and owner, and what cannot be one.
pub struct Desired<S: Scope> {
    /// The classes.
    pub classes: Vec<S::Class>,
    /// The plans, each of one of the classes.
    pub plans: Vec<S::Plan>,
    /// What was left out although nobody asked for that: the entry and why.
    pub left_out: Vec<String>,
}

/// The objects for a catalog. What the restrictions exclude is not there, nor is a class none of whose plans is.
#[must_use]
pub fn desired<S: Scope>(
    catalog: &Catalog,
    restrictions: &Restrictions,
    broker: &S::Broker,
    world: &World<S>,
) -> Desired<S> {
    let mut desired = Desired {
        classes: Vec::new(),
        plans: Vec::new(),
        left_out: catalog.skipped.iter().map(ToString::to_string).collect(),
    };
    let broker_name = broker.name_any();
    let class_names = Names::of(&world.classes, &broker_name);
    let plan_names = Names::of(&world.plans, &broker_name);
    for offering in &catalog.offerings {
        let name = class_names.for_id(&offering.id);
        let properties =
            ClassProperties { name: &name, external_name: &offering.name, external_id: &offering.id };
        if !restrictions.admit_class(&properties) {
            continue;
        }
        let common = class_fields(offering);
        if is_too_large(&common) {
            desired.left_out.push(format!("offering {:?}: {TOO_LARGE}", offering.name));
            continue;
        }
        let plans = plans::<S>(offering, &name, restrictions, broker, &plan_names, &mut desired.left_out);
        if !plans.is_empty() {
            desired.classes.push(finished(S::Class::build(&name, &broker_name, common), broker));
            desired.plans.extend(plans);
        }
    }
    desired
}

fn plans<S: Scope>(
    offering: &Offering,
    class: &str,
    restrictions: &Restrictions,
    broker: &S::Broker,
    names: &Names<'_>,
    left_out: &mut Vec<String>,
) -> Vec<S::Plan> {
    let broker_name = broker.name_any();
    let mut plans = Vec::new();
    for plan in &offering.plans {
        let name = names.for_id(&plan.id);
        let properties = PlanProperties {
            name: &name,
            external_name: &plan.name,
            external_id: &plan.id,
            free: plan.free,
            class,
        };
        if !restrictions.admit_plan(&properties) {
            continue;
        }
        let common = plan_fields(plan);
        if is_too_large(&common) {
            left_out.push(format!("plan {:?} of offering {:?}: {TOO_LARGE}", plan.name, offering.name));
            continue;
        }
        plans.push(finished(S::Plan::build(&name, &broker_name, class, common), broker));
    }
    plans
}

const TOO_LARGE: &str = "it is larger than 1 MiB, which is more than the cluster can hold";

/// Adds what does not depend on the catalog: namespace, owner, labels.
fn finished<E: EntryObject, B: crate::crd::scope::BrokerObject>(mut entry: E, broker: &B) -> E {
    entry.meta_mut().namespace = broker.namespace();
    entry.meta_mut().owner_references = Some(vec![super::owner::reference(broker)]);
    labels::labelled(entry)
}

fn is_too_large(fields: &impl serde::Serialize) -> bool {
    serde_json::to_vec(fields).map_or(usize::MAX, |text| text.len()) > MAX_ENTRY
}

/// The fields of a class ("Service Offering Object").
fn class_fields(offering: &Offering) -> CommonServiceClassSpec {
    CommonServiceClassSpec {
        external_name: offering.name.clone(),
        external_id: offering.id.clone(),
        description: offering.description.clone(),
        bindable: offering.bindable,
        binding_retrievable: offering.bindings_retrievable,
        instance_retrievable: offering.instances_retrievable,
        plan_updatable: offering.plan_updateable,
        allow_context_updates: offering.allow_context_updates,
        external_metadata: object(offering.metadata.as_ref()),
        tags: offering.tags.clone(),
        requires: offering.requires.clone(),
        default_provision_parameters: None,
    }
}

/// The fields of a plan ("Service Plan Object").
fn plan_fields(plan: &Plan) -> CommonServicePlanSpec {
    CommonServicePlanSpec {
        external_name: plan.name.clone(),
        external_id: plan.id.clone(),
        description: plan.description.clone(),
        bindable: plan.bindable,
        plan_updatable: plan.plan_updateable,
        binding_rotatable: plan.binding_rotatable,
        maximum_polling_duration: plan
            .maximum_polling_duration
            .and_then(|seconds| i64::try_from(seconds).ok()),
        maintenance_info: plan.maintenance_info.as_ref().map(|info| MaintenanceInfo {
            version: info.version.clone(),
            description: info.description.clone().unwrap_or_default(),
        }),
        free: plan.free,
        external_metadata: object(plan.metadata.as_ref()),
        instance_create_parameter_schema: object(plan.schemas.instance_create.as_ref()),
        instance_update_parameter_schema: object(plan.schemas.instance_update.as_ref()),
        service_binding_create_parameter_schema: object(plan.schemas.binding_create.as_ref()),
        default_provision_parameters: None,
    }
}

/// An object that says nothing is as good as none.
fn object(value: Option<&RawObject>) -> Option<RawObject> {
    value.filter(|object| !object.is_empty()).cloned()
}
