//! Conflicts: objects that prevent writes for a catalog. They belong to another broker or owner, or instances
//! use them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use kube::ResourceExt as _;

use super::owner::{self, Ownership};
use crate::crd::scope::{BrokerObject, CatalogObject};

/// How many conflicts of one kind are named.
const NAMED: usize = 20;

/// The conflicts of one catalog, by kind. The message shows all kinds at once, with what to do about each,
/// and up to [`NAMED`] conflicts of each kind.
pub struct Conflicts {
    /// The kind and name of the broker.
    broker: String,
    found: BTreeMap<ConflictKind, Vec<String>>,
}

/// A kind of conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Another broker offers the same id.
    OtherBroker,
    /// Two ids of the catalog give the same object name.
    SameName,
    /// An object that is not of this broker has the name.
    OtherObject,
    /// A plan has moved to another offering while instances use it.
    InUse,
}

impl Conflicts {
    /// No conflict yet.
    pub fn of<B: BrokerObject>(broker: &B) -> Self {
        Self { broker: format!("{} {}", B::kind(&()), broker.name_any()), found: BTreeMap::new() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Adds a conflict.
    pub fn add(&mut self, kind: ConflictKind, text: String) {
        self.found.entry(kind).or_default().push(text);
    }

    /// Finds the objects that cannot be written at all, and returns their names. Objects of the `replaced`
    /// brokers are deleted first, so they are no conflict.
    pub fn check<E: CatalogObject, B: BrokerObject>(
        &mut self,
        wanted: &[E],
        present: &[Arc<E>],
        broker: &B,
        replaced: &BTreeSet<String>,
    ) -> HashSet<String> {
        let present: HashMap<String, &Arc<E>> =
            present.iter().map(|entry| (entry.name_any(), entry)).collect();
        let mut first: HashMap<String, &str> = HashMap::new();
        let mut refused = HashSet::new();
        for wanted in wanted {
            let (name, id) = (wanted.name_any(), wanted.external_id());
            let object = format!("{} {name}", E::kind(&()));
            let conflict = match (first.get(&name), present.get(&name)) {
                (Some(other), _) => {
                    Some((ConflictKind::SameName, format!("{other:?} and {id:?} ({object})")))
                }
                (None, Some(present)) => conflict(&***present, id, &object, broker, replaced),
                (None, None) => None,
            };
            first.entry(name.clone()).or_insert(id);
            if let Some((kind, text)) = conflict {
                self.add(kind, text);
                refused.insert(name);
            }
        }
        refused
    }
}

/// Why an object with the name of an entry is not the object of that entry.
fn conflict<E: CatalogObject, B: BrokerObject>(
    present: &E,
    id: &str,
    object: &str,
    broker: &B,
    replaced: &BTreeSet<String>,
) -> Option<(ConflictKind, String)> {
    let is_taken = replaced.contains(present.broker_name());
    if present.broker_name() != broker.name_any() && !is_taken {
        let other = format!("{} {}", B::kind(&()), present.broker_name());
        return Some((ConflictKind::OtherBroker, format!("{id:?} ({object} of {other})")));
    }
    let difference = if !is_taken && owner::of(present, broker) == Ownership::Foreign {
        "has another owner than this broker".to_owned()
    } else if present.external_id() == id {
        return None;
    } else {
        format!("has spec.externalID {:?}", present.external_id())
    };
    Some((ConflictKind::OtherObject, format!("{object}, needed for the id {id:?}, {difference}")))
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, found } = self;
        for (index, (kind, texts)) in found.iter().enumerate() {
            let (what, remedy) = match kind {
                ConflictKind::OtherBroker => (
                    format!("another broker offers these ids of {broker} already"),
                    "ids are unique among brokers: remove one of the brokers, or leave the ids out with \
                     spec.catalogRestrictions",
                ),
                ConflictKind::SameName => (
                    "these ids lead to the same object name".to_owned(),
                    "ask the broker's operator to change one of them, or leave one out with spec.catalogRestrictions",
                ),
                ConflictKind::OtherObject => (
                    "these objects have names that the catalog needs, but are not its own".to_owned(),
                    "delete them",
                ),
                ConflictKind::InUse => (
                    "these plans have moved to another offering while instances use them".to_owned(),
                    "delete the instances, or ask the broker's operator to offer the plans under new ids",
                ),
            };
            let separator = if index == 0 { "" } else { ". " };
            let named = texts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            write!(f, "{separator}{what}: {named}")?;
            if let Some(more @ 1..) = texts.len().checked_sub(NAMED) {
                write!(f, "; and {more} more")?;
            }
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}
