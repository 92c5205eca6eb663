//! From the objects that there should be to the writes that create or change them. Only differences are
//! written. If another object prevents a write, only this write is left out. The message names all such
//! conflicts. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kube::ResourceExt as _;
use serde_json::json;

use super::{
    BrokerDependencies,
    conflicts::Conflicts,
    desired::{Desired, keep_class},
    moved,
    owner::{self, Ownership},
    refresh,
};
use crate::{
    crd::{
        Scope,
        scope::{BrokerObject, CatalogObject, PlanObject as _},
    },
    kube_api::request::pin,
    reconcilers::writes::{Write, WriteTarget},
};

/// The writes that bring the class and plan objects up to date with the catalog.
pub struct Changes {
    /// Stages of writes: deletions of what this broker takes over from another one, classes, plans to be
    /// deleted, plans, and last the marks of objects that have left the catalog or are back. Empty if there
    /// are no differences.
    pub stages: Vec<Vec<Write>>,
    /// The writes that are left out because of other objects.
    pub conflicts: Conflicts,
}

/// The changes for a catalog.
///
/// # Errors
/// An object cannot be written as JSON.
pub fn changes<S: Scope>(
    mut desired: Desired<S>,
    dependencies: &BrokerDependencies<S>,
    broker: &S::Broker,
) -> Result<Changes, String> {
    let mut conflicts = Conflicts::of(broker);
    let refused = conflicts.check(&desired.classes, &dependencies.classes, broker, &dependencies.replaced);
    desired.classes.retain(|class| !refused.contains(&class.name_any()));
    let of_refused = |plan: &S::Plan| refused.contains(plan.class_name());
    desired
        .kept
        .plans
        .extend(desired.plans.iter().filter(|plan| of_refused(plan)).map(kube::ResourceExt::name_any));
    desired.plans.retain(|plan| !of_refused(plan));
    for class in refused {
        keep_class(&class, dependencies, &mut desired.kept);
    }
    let refused = conflicts.check(&desired.plans, &dependencies.plans, broker, &dependencies.replaced);
    desired.plans.retain(|plan| !refused.contains(&plan.name_any()));
    desired.kept.plans.extend(refused);
    let moved = moved::plans(&mut desired, dependencies, &mut conflicts);

    // The broker of a class or plan object cannot change (a rule of its CRD), so the object is deleted and
    // created again.
    let (taken_classes, present_classes) = taken(&desired.classes, &dependencies.classes, dependencies);
    let (taken_plans, present_plans) = taken(&desired.plans, &dependencies.plans, dependencies);
    let mut takeover: Vec<_> = taken_plans.iter().map(|plan| Write::delete_if_unchanged(&**plan)).collect();
    takeover.extend(taken_classes.iter().map(|class| Write::delete_if_unchanged(&**class)));
    let classes = differences(&desired.classes, &present_classes, broker, refresh::class)?;
    let is_moved = |plan: &Arc<S::Plan>| moved.contains_key(&plan.name_any());
    let deletions = present_plans.iter().filter(|plan| is_moved(plan));
    let deletions = deletions.map(|plan| Write::delete_if_unchanged(&**plan)).collect();
    let unmoved: Vec<_> = present_plans.iter().filter(|plan| !is_moved(plan)).cloned().collect();
    let plans = differences(&desired.plans, &unmoved, broker, refresh::plan)?;
    let mut marks = marks(&desired.classes, &present_classes, &desired.kept.classes, broker);
    marks.extend(self::marks(&desired.plans, &unmoved, &desired.kept.plans, broker));
    let stages = [takeover, classes, deletions, plans, marks];
    let stages = stages.into_iter().filter(|stage| !stage.is_empty()).collect();
    Ok(Changes { stages, conflicts })
}

/// Splits the present objects into those of a replaced broker that the catalog of this one needs, and all
/// others.
fn taken<S: Scope, E: CatalogObject>(
    wanted: &[E],
    present: &[Arc<E>],
    dependencies: &BrokerDependencies<S>,
) -> (Vec<Arc<E>>, Vec<Arc<E>>) {
    if dependencies.replaced.is_empty() {
        return (Vec::new(), present.to_vec());
    }
    let wanted: HashSet<String> = wanted.iter().map(kube::ResourceExt::name_any).collect();
    present.iter().cloned().partition(|entry| {
        dependencies.replaced.contains(entry.broker_name()) && wanted.contains(&entry.name_any())
    })
}

/// The writes that create missing objects and change different ones.
fn differences<E: CatalogObject, B: BrokerObject>(
    wanted: &[E],
    present: &[Arc<E>],
    broker: &B,
    refresh: impl Fn(&E, &E, &B) -> E,
) -> Result<Vec<Write>, String> {
    let present: HashMap<String, &Arc<E>> = present.iter().map(|entry| (entry.name_any(), entry)).collect();
    let mut writes = Vec::new();
    for wanted in wanted {
        let write = match present.get(&wanted.name_any()) {
            None => Write::create(wanted).map(Some),
            Some(present) => Write::change(&***present, &refresh(present, wanted, broker)),
        };
        writes.extend(write.map_err(|error| error.to_string())?);
    }
    Ok(writes)
}

/// Marks the broker's objects whose entries have left the catalog, and removes the mark from those whose
/// entries are back. Objects that a user has made were never in the catalog and stay as they are.
///
/// A mark is only written to the version of the object that was read. The API server ignores the uid in a
/// patch of a status, so the patch could reach another object with the same name. A mark is removed from any
/// object with the name, because its entry is in the catalog.
fn marks<E: CatalogObject, B: BrokerObject>(
    wanted: &[E],
    present: &[Arc<E>],
    kept: &HashSet<String>,
    broker: &B,
) -> Vec<Write> {
    let wanted: HashSet<String> = wanted.iter().map(kube::ResourceExt::name_any).collect();
    let broker_name = broker.name_any();
    let mark = |entry: &Arc<E>| {
        let is_wanted = wanted.contains(&entry.name_any());
        let is_ours = entry.broker_name() == broker_name && owner::of(&**entry, broker) == Ownership::Ours;
        let is_kept = kept.contains(&entry.name_any());
        (entry.is_removed() == is_wanted && !is_kept && (is_ours || is_wanted)).then(|| {
            let mut patch = json!({ "status": { "removedFromBrokerCatalog": !is_wanted } });
            if !is_wanted {
                pin(&mut patch, &**entry);
            }
            Write::PatchStatus(WriteTarget::of(&**entry), patch)
        })
    };
    present.iter().filter_map(mark).collect()
}
