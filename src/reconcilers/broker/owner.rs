//! The owner of a class or plan object: the broker object that its controller reference names. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;

use crate::crd::scope::{BrokerObject, CatalogObject};

/// Who owns a class or plan object, as seen by a broker object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This broker object.
    Ours,
    /// No object: a user has created the class or plan, or v0.3, which set no owner on those of namespaced
    /// brokers.
    None,
    /// A former broker object of the same name, as after a restore from a backup.
    Stale,
    /// Another object.
    Foreign,
}

/// The controller reference to a broker. It does not block the broker's deletion, because the broker's
/// finalizer does that.
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

/// Finds the owner of a class or plan object.
#[must_use]
pub fn of<E: CatalogObject, B: BrokerObject>(entry: &E, broker: &B) -> Ownership {
    let ours = reference(broker);
    let controllers = entry.meta().owner_references.iter().flatten();
    match controllers.into_iter().find(|owner| owner.controller == Some(true)) {
        None => Ownership::None,
        Some(owner) if owner.uid == ours.uid => Ownership::Ours,
        Some(owner) if owner.kind == ours.kind && owner.name == ours.name => Ownership::Stale,
        Some(_) => Ownership::Foreign,
    }
}

/// Whether any object controls a class or plan object.
#[must_use]
pub fn has_controller<E: CatalogObject>(entry: &E) -> bool {
    entry.meta().owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

/// Makes this broker the controlling owner. Other owners stay if they are not controllers.
#[must_use]
pub fn adopted<E: CatalogObject, B: BrokerObject>(mut entry: E, broker: &B) -> E {
    let owners = entry.meta_mut().owner_references.get_or_insert_default();
    owners.retain(|owner| owner.controller != Some(true));
    owners.push(reference(broker));
    entry
}
