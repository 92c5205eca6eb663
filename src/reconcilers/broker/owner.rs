//! To whom a class or plan belongs: the broker object that is its controlling owner (property "only what is ours").
//! Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;

use crate::crd::scope::{BrokerObject, EntryObject};

/// Whose an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This broker object's.
    Us,
    /// Nobody's: a user made it, or the original, which did not own the entries of namespaced brokers.
    Nobody,
    /// That of a broker object that had the same name and is gone, as after a restore from a backup.
    Predecessor,
    /// Somebody else's.
    Other,
}

/// The reference that makes an entry a broker's. It does not block the broker's deletion: the broker's finalizer does
/// what is to be done before.
#[must_use]
pub fn reference<B: BrokerObject>(broker: &B) -> OwnerReference {
    OwnerReference {
        api_version: B::api_version(&()).into_owned(),
        block_owner_deletion: Some(false),
        controller: Some(true),
        kind: B::kind(&()).into_owned(),
        name: broker.name_any(),
        uid: broker.uid().unwrap_or_default(),
    }
}

/// Whose an entry is, as seen by a broker.
#[must_use]
pub fn of<E: EntryObject, B: BrokerObject>(entry: &E, broker: &B) -> Owner {
    let ours = reference(broker);
    let controllers = entry.meta().owner_references.iter().flatten();
    match controllers.into_iter().find(|owner| owner.controller == Some(true)) {
        None => Owner::Nobody,
        Some(owner) if owner.uid == ours.uid => Owner::Us,
        Some(owner) if owner.kind == ours.kind && owner.name == ours.name => Owner::Predecessor,
        Some(_) => Owner::Other,
    }
}

/// The entry as this broker's, other owners that do not control it kept.
#[must_use]
pub fn adopted<E: EntryObject, B: BrokerObject>(mut entry: E, broker: &B) -> E {
    let owners = entry.meta_mut().owner_references.get_or_insert_default();
    owners.retain(|owner| owner.controller != Some(true));
    owners.push(reference(broker));
    entry
}
