//! Plans that the broker has moved to another offering. The class of a plan object cannot change (a rule of
//! its CRD), so the object is deleted and created again, if no instance uses it. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kube::ResourceExt as _;

use super::{
    BrokerDependencies,
    conflicts::{ConflictKind, Conflicts},
    desired::Desired,
};
use crate::{
    caches::cached::{Cached, ObjectName},
    crd::{Scope, ServiceInstance, scope::PlanObject},
    reconcilers::catalog_object::usage,
};

/// How many instances of one plan are named.
const NAMED: usize = 3;

/// The plan objects that must be deleted before they are created again, by name. If instances use a moved
/// plan, it is removed from `desired`, stays as it is, and is added to the conflicts.
pub(super) fn plans<S: Scope>(
    desired: &mut Desired<S>,
    dependencies: &BrokerDependencies<S>,
    conflicts: &mut Conflicts,
) -> BTreeMap<String, Arc<S::Plan>> {
    let wanted: HashMap<String, &str> =
        desired.plans.iter().map(|plan| (plan.name_any(), plan.class_name())).collect();
    let has_moved =
        |plan: &Arc<S::Plan>| wanted.get(&plan.name_any()).is_some_and(|class| *class != plan.class_name());
    let mut moved: BTreeMap<String, Arc<S::Plan>> = BTreeMap::new();
    for plan in dependencies.plans.iter().filter(|plan| has_moved(plan)) {
        moved.insert(plan.name_any(), Arc::clone(plan));
    }
    if moved.is_empty() {
        return moved;
    }
    let users = Users::of::<S>(&dependencies.instances);
    moved.retain(|name, plan| {
        let users = users.of_plan(&**plan);
        if let Some(users) = list_of(&users) {
            let class = plan.class_name();
            conflicts.add(
                ConflictKind::InUse,
                format!("{} {name} of the class {class}, used by {users}", kind::<S>()),
            );
            desired.kept.plans.insert(name.clone());
            return false;
        }
        true
    });
    desired.plans.retain(|plan| !desired.kept.plans.contains(&plan.name_any()));
    moved
}

fn kind<S: Scope>() -> String {
    use kube::Resource as _;
    S::Plan::kind(&()).into_owned()
}

/// Which instances use which plan.
struct Users {
    /// By name of the plan object.
    of_object: HashMap<String, Vec<ObjectName>>,
    /// By name of the class object and id of the plan.
    of_id: HashMap<(String, String), Vec<ObjectName>>,
}

impl Users {
    fn of<S: Scope>(instances: &[Cached<ServiceInstance>]) -> Self {
        let mut users = Self { of_object: HashMap::new(), of_id: HashMap::new() };
        for cached in instances {
            let instance = cached.read();
            let Some(held) = usage::held(&instance).filter(|held| held.scope == S::KIND) else { continue };
            let id = (held.class.to_owned(), held.present_plan.to_owned());
            users.of_id.entry(id).or_default().push(cached.name().clone());
            users.of_object.entry(held.plan.to_owned()).or_default().push(cached.name().clone());
        }
        users
    }

    fn of_plan<P: PlanObject>(&self, plan: &P) -> Vec<&str> {
        let of_object = self.of_object.get(plan.name_any().as_str());
        let of_id = self.of_id.get(&(plan.class_name().to_owned(), plan.external_id().to_owned()));
        let mut users: Vec<&str> =
            of_object.into_iter().chain(of_id).flatten().map(ObjectName::as_str).collect();
        users.sort_unstable();
        users.dedup();
        users
    }
}

/// The names of the first instances, and the number of the others. `None` if there are no instances.
fn list_of(users: &[&str]) -> Option<String> {
    let (shown, more) = users.split_at(users.len().min(NAMED));
    let shown = shown.join(", ");
    match more.len() {
        _ if users.is_empty() => None,
        0 => Some(shown),
        more => Some(format!("{shown} and {more} more")),
    }
}
