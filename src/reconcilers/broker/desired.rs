//! From a catalog to the class and plan objects that there should be. Pure.

use std::collections::{HashMap, HashSet};

use kube::ResourceExt as _;

use super::{
    BrokerDependencies,
    names::Names,
    restrictions::{ClassProperties, PlanProperties, Restrictions},
};
use crate::{
    crd::{
        Scope,
        class::CommonServiceClassSpec,
        plan::CommonServicePlanSpec,
        scope::{CatalogObject, ClassObject as _, PlanObject},
    },
    json::RawObject,
    osb::catalog::{Catalog, CatalogOffering, CatalogPlan, LeftOut, Problems},
    reconcilers::catalog_object::labels,
};

/// The largest class or plan that is written, in bytes. The API server accepts 1.5 MiB at most, labels and
/// owner included.
const MAX_ENTRY: usize = 1 << 20;

/// The objects that there should be, with labels and owner, and the faults of the catalog.
pub struct Desired<S: Scope> {
    /// The classes.
    pub classes: Vec<S::Class>,
    /// The plans, each of one of the classes.
    pub plans: Vec<S::Plan>,
    /// Names of existing objects that stay as they are, because their entries in the catalog have faults.
    pub kept: Kept,
    /// What was left out of the catalog because of faults.
    pub skipped: Problems,
    /// Faults of the catalog that are tolerated.
    pub tolerated: Problems,
}

/// Names of objects that are neither changed nor marked as removed.
#[derive(Default)]
pub struct Kept {
    /// Names of class objects.
    pub classes: HashSet<String>,
    /// Names of plan objects.
    pub plans: HashSet<String>,
}

impl<S: Scope> Desired<S> {
    /// The faults of the catalog, as sentences for the end of a message. Empty if there are none.
    #[must_use]
    pub fn remarks(&self) -> String {
        let remark = |what: &str, problems: &Problems| {
            if problems.is_empty() { String::new() } else { format!(" {what}: {problems}.") }
        };
        remark("Left out", &self.skipped) + &remark("Accepted despite faults", &self.tolerated)
    }
}

/// How many objects can still be created for a broker. Objects that exist have their place, so that nothing in use
/// goes, and so that a catalog with other entries each time does not add more and more of them.
struct Room {
    left: usize,
    limit: usize,
}

impl Room {
    fn take(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    fn fault(&self) -> String {
        format!(
            "the limit of {} classes and plans of one broker is reached (--broker-max-catalog-entries); exclude others with \
             spec.catalogRestrictions, or ask the administrator of the cluster to raise the limit",
            self.limit
        )
    }
}

/// The objects for a catalog, without those that the restrictions exclude, without classes that have no plans left, and
/// without new ones over the `limit` on the classes and plans of a broker.
#[must_use]
pub fn desired<S: Scope>(
    catalog: &Catalog,
    restrictions: &Restrictions,
    broker: &S::Broker,
    dependencies: &BrokerDependencies<S>,
    limit: usize,
) -> Desired<S> {
    let broker_name = broker.name_any();
    let mut desired = Desired {
        classes: Vec::new(),
        plans: Vec::new(),
        kept: kept(&catalog.left_out, restrictions, &broker_name, dependencies),
        skipped: catalog.skipped.clone(),
        tolerated: catalog.tolerated.clone(),
    };
    let class_names = Names::of(&dependencies.classes, &broker_name);
    let plan_names = Names::of(&dependencies.plans, &broker_name);
    let mut room = Room { left: limit.saturating_sub(class_names.count() + plan_names.count()), limit };
    for offering in &catalog.offerings {
        let name = class_names.for_id(offering.id.as_str());
        let properties =
            ClassProperties { name: &name, external_name: &offering.name, external_id: offering.id.as_str() };
        if !restrictions.admit_class(&properties) {
            continue;
        }
        let common = class_fields(offering);
        if is_too_large(&common) {
            desired.skipped.push(&format!("offering {:?}", offering.name), TOO_LARGE);
            keep_class(&name, dependencies, &mut desired.kept);
            continue;
        }
        if !class_names.has(&name) && !room.take() {
            desired.skipped.push(&format!("offering {:?}", offering.name), room.fault());
            continue;
        }
        let plans = plans::<S>(offering, &name, restrictions, broker, (&plan_names, &mut room), &mut desired);
        if plans.is_empty() {
            room.left += usize::from(!class_names.has(&name));
        } else {
            desired
                .classes
                .push(with_namespace_labels_and_owner(S::Class::build(&name, &broker_name, common), broker));
            desired.plans.extend(plans);
        }
    }
    desired
}

fn plans<S: Scope>(
    offering: &CatalogOffering,
    class: &str,
    restrictions: &Restrictions,
    broker: &S::Broker,
    (names, room): (&Names<'_>, &mut Room),
    desired: &mut Desired<S>,
) -> Vec<S::Plan> {
    let broker_name = broker.name_any();
    let mut plans = Vec::new();
    for plan in &offering.plans {
        let name = names.for_id(plan.id.as_str());
        let properties = PlanProperties {
            name: &name,
            external_name: &plan.name,
            external_id: plan.id.as_str(),
            free: plan.free,
            class,
        };
        if !restrictions.admit_plan(&properties) {
            continue;
        }
        let common = plan_fields(plan);
        if is_too_large(&common) {
            let place = format!("plan {:?} of offering {:?}", plan.name, offering.name);
            desired.skipped.push(&place, TOO_LARGE);
            desired.kept.plans.insert(name);
            continue;
        }
        if !names.has(&name) && !room.take() {
            let place = format!("plan {:?} of offering {:?}", plan.name, offering.name);
            desired.skipped.push(&place, room.fault());
            continue;
        }
        plans.push(with_namespace_labels_and_owner(
            S::Plan::build(&name, &broker_name, class, common),
            broker,
        ));
    }
    plans
}

/// The objects of this broker whose entries were left out of the catalog, unless the restrictions exclude
/// them.
fn kept<S: Scope>(
    left_out: &LeftOut,
    restrictions: &Restrictions,
    broker_name: &str,
    dependencies: &BrokerDependencies<S>,
) -> Kept {
    let ours = dependencies.classes.iter().filter(|class| class.broker_name() == broker_name);
    let admitted: HashMap<String, &str> = ours
        .map(|class| (class.name_any(), &**class))
        .filter(|(name, class)| {
            let (external_name, external_id) = (class.external_name(), class.external_id());
            restrictions.admit_class(&ClassProperties { name, external_name, external_id })
        })
        .map(|(name, class)| (name, class.external_id()))
        .collect();
    let classes = admitted.iter().filter(|(_, id)| left_out.has_offering(id));
    let plan = |plan: &&std::sync::Arc<S::Plan>| {
        let properties = PlanProperties {
            name: &plan.name_any(),
            external_name: plan.external_name(),
            external_id: plan.external_id(),
            free: plan.common().free,
            class: plan.class_name(),
        };
        plan.broker_name() == broker_name
            && admitted.get(plan.class_name()).is_some_and(|id| left_out.has_plan(plan.external_id(), id))
            && restrictions.admit_plan(&properties)
    };
    Kept {
        classes: classes.map(|(name, _)| name.clone()).collect(),
        plans: dependencies.plans.iter().filter(plan).map(|plan| plan.name_any()).collect(),
    }
}

/// Keeps a class and its plans as they are.
pub(super) fn keep_class<S: Scope>(name: &str, dependencies: &BrokerDependencies<S>, kept: &mut Kept) {
    let plans = dependencies.plans.iter().filter(|plan| plan.class_name() == name);
    kept.plans.extend(plans.map(|plan| plan.name_any()));
    kept.classes.insert(name.to_owned());
}

const TOO_LARGE: &str = "it is larger than 1 MiB, which is more than the cluster can hold";

/// Adds what does not depend on the catalog: namespace, owner, labels.
fn with_namespace_labels_and_owner<E: CatalogObject, B: crate::crd::scope::BrokerObject>(
    mut entry: E,
    broker: &B,
) -> E {
    entry.meta_mut().namespace = broker.namespace();
    entry.meta_mut().owner_references = Some(vec![super::owner::reference(broker)]);
    labels::labelled(entry)
}

fn is_too_large(fields: &impl serde::Serialize) -> bool {
    serde_json::to_vec(fields).map_or(usize::MAX, |text| text.len()) > MAX_ENTRY
}

/// The fields of a class ("Service Offering Object").
fn class_fields(offering: &CatalogOffering) -> CommonServiceClassSpec {
    CommonServiceClassSpec {
        defects: None,
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
fn plan_fields(plan: &CatalogPlan) -> CommonServicePlanSpec {
    CommonServicePlanSpec {
        defects: None,
        external_name: plan.name.clone(),
        external_id: plan.id.clone(),
        description: plan.description.clone(),
        bindable: plan.bindable,
        plan_updatable: plan.plan_updateable,
        binding_rotatable: plan.binding_rotatable,
        maximum_polling_duration: plan
            .maximum_polling_duration
            .and_then(|seconds| i64::try_from(seconds).ok()),
        maintenance_info: plan.maintenance_info.clone(),
        free: plan.free,
        external_metadata: object(plan.metadata.as_ref()),
        instance_create_parameter_schema: object(plan.schemas.instance_create.as_ref()),
        instance_update_parameter_schema: object(plan.schemas.instance_update.as_ref()),
        service_binding_create_parameter_schema: object(plan.schemas.binding_create.as_ref()),
        default_provision_parameters: None,
    }
}

/// An empty object counts as no object.
fn object(value: Option<&RawObject>) -> Option<RawObject> {
    value.filter(|object| !object.is_empty()).cloned()
}
