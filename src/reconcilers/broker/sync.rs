//! From the objects that there should be to the writes that bring them about, or to the conflict that forbids them
//! (original, "Brokers", steps 6 to 8). Only what differs is written, and nothing when anything conflicts. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kube::ResourceExt as _;
use serde_json::json;

use super::{
    World,
    desired::Desired,
    owner::{self, Owner},
    refresh,
};
use crate::{
    crd::{
        Scope,
        scope::{BrokerObject, EntryObject, PlanObject as _},
    },
    reconcilers::write::{Target, Write, pin},
};

/// The stages of writes that bring the cluster from what is there to what should be: classes, plans, and then who is in
/// the catalog. Empty when all is well.
///
/// # Errors
/// A sentence for the user: what stands in the way of the catalog as a whole.
pub fn stages<S: Scope>(
    desired: &Desired<S>,
    world: &World<S>,
    broker: &S::Broker,
) -> Result<Vec<Vec<Write>>, String> {
    let same_class = |present: &S::Plan, wanted: &S::Plan| {
        (present.class_name() != wanted.class_name())
            .then(|| format!("belongs to the class {}, not {}", present.class_name(), wanted.class_name()))
    };
    let classes = changes(&desired.classes, &world.classes, broker, refresh::class, |_, _| None)?;
    let plans = changes(&desired.plans, &world.plans, broker, refresh::plan, same_class)?;
    let mut marks = marks(&desired.classes, &world.classes, broker);
    marks.extend(self::marks(&desired.plans, &world.plans, broker));
    Ok([classes, plans, marks].into_iter().filter(|stage| !stage.is_empty()).collect())
}

/// What to create and what to change.
fn changes<E: EntryObject, B: BrokerObject>(
    wanted: &[E],
    present: &[Arc<E>],
    broker: &B,
    refresh: impl Fn(&E, &E, &B) -> E,
    mismatch: impl Fn(&E, &E) -> Option<String>,
) -> Result<Vec<Write>, String> {
    let present: HashMap<String, &Arc<E>> = present.iter().map(|entry| (entry.name_any(), entry)).collect();
    let mut names = HashSet::new();
    let mut writes = Vec::new();
    for wanted in wanted {
        let name = wanted.name_any();
        if !names.insert(name.clone()) {
            return Err(format!(
                "the id {:?} and another one both lead to the object name {name}; have the broker change one of them, \
                 or leave one out with spec.catalogRestrictions",
                wanted.external_id()
            ));
        }
        let write = match present.get(&name) {
            None => Write::create(wanted).map(Some),
            Some(present) => {
                if let Some(conflict) = conflict(&***present, wanted, broker, &mismatch) {
                    return Err(conflict);
                }
                Write::change(&***present, &refresh(present, wanted, broker))
            }
        };
        writes.extend(write.map_err(|error| error.to_string())?);
    }
    Ok(writes)
}

/// Why an object that has the name of an entry cannot be that entry.
fn conflict<E: EntryObject, B: BrokerObject>(
    present: &E,
    wanted: &E,
    broker: &B,
    mismatch: impl Fn(&E, &E) -> Option<String>,
) -> Option<String> {
    let object = format!("{} {}", E::kind(&()), wanted.name_any());
    let (id, kind, name) = (wanted.external_id(), B::kind(&()), broker.name_any());
    if present.broker_name() != name {
        let other = present.broker_name();
        return Some(format!(
            "the id {id:?} that {kind} {name} offers is in use by {kind} {other} already ({object}), and ids are unique \
             among brokers; remove one of the two brokers, or leave the id out with spec.catalogRestrictions"
        ));
    }
    let mismatch = if owner::of(present, broker) == Owner::Other {
        Some("is owned by something else than this broker".to_owned())
    } else if present.external_id() == id {
        mismatch(present, wanted)
    } else {
        Some(format!("has spec.externalID {:?}", present.external_id()))
    };
    mismatch.map(|mismatch| {
        format!("the name of {object} is needed for the id {id:?} of the catalog, but that object {mismatch}; delete it")
    })
}

/// Marks our entries that have left the catalog, and takes the mark from those that have returned. What a user has made
/// was never in the catalog and is left alone.
///
/// A mark holds for the entry as it was seen, lest another object that has its name by now is taken for it: the API server
/// heeds no uid in a patch of a status. A returned entry may have been changed a moment before, and whatever has its name is
/// in the catalog.
fn marks<E: EntryObject, B: BrokerObject>(wanted: &[E], present: &[Arc<E>], broker: &B) -> Vec<Write> {
    let wanted: HashSet<String> = wanted.iter().map(kube::ResourceExt::name_any).collect();
    let broker_name = broker.name_any();
    let mark = |entry: &Arc<E>| {
        let is_wanted = wanted.contains(&entry.name_any());
        let is_ours = entry.broker_name() == broker_name && owner::of(&**entry, broker) == Owner::Us;
        (entry.is_removed() == is_wanted && (is_ours || is_wanted)).then(|| {
            let mut patch = json!({ "status": { "removedFromBrokerCatalog": !is_wanted } });
            if !is_wanted {
                pin(&mut patch, &**entry);
            }
            Write::PatchStatus(Target::of(&**entry), patch)
        })
    };
    present.iter().filter_map(mark).collect()
}
