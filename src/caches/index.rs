//! An index: the objects of one kind, grouped by what other objects look for them by.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry, hash_map::RandomState},
    hash::{BuildHasher as _, Hash, Hasher},
};

use super::{cached::Cached, keys::Key};

/// The groups that the objects of a kind are in. An object is in one group for each of its keys. The keys are
/// a function of the object alone, so what was added for a version of an object is found again when another
/// version replaces it.
///
/// A group is found by a hash of its key of 128 bits. The keys themselves would take several times the memory.
/// The hash has a secret seed, so nobody can choose two keys with the same hash.
pub(super) struct Index<K> {
    keys: fn(&K) -> Vec<Key>,
    seeds: [RandomState; 2],
    groups: HashMap<u128, Group<K>>,
}

/// Most groups have one object.
enum Group<K> {
    One(Cached<K>),
    Many(Box<Many<K>>),
}

struct Many<K>(HashSet<Version<K>>);

impl<K> Index<K> {
    /// No objects.
    pub(super) fn new(keys: fn(&K) -> Vec<Key>) -> Self {
        Self { keys, seeds: [RandomState::new(), RandomState::new()], groups: HashMap::new() }
    }

    /// An index with the same keys and no objects.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.keys)
    }

    /// The objects with this key, in no order.
    pub(super) fn get(&self, key: &Key) -> Vec<Cached<K>> {
        match self.groups.get(&self.hash(key)) {
            None => Vec::new(),
            Some(Group::One(object)) => vec![object.clone()],
            Some(Group::Many(group)) => group.0.iter().map(|Version(object)| object.clone()).collect(),
        }
    }

    /// Adds a version of an object. `decoded` is the same version.
    pub(super) fn add(&mut self, object: &Cached<K>, decoded: &K) {
        for key in (self.keys)(decoded) {
            match self.groups.entry(self.hash(&key)) {
                Entry::Vacant(group) => {
                    group.insert(Group::One(object.clone()));
                }
                Entry::Occupied(mut group) => match group.get_mut() {
                    Group::One(other) if other.address() == object.address() => {}
                    Group::One(other) => {
                        let both = Many([other.clone(), object.clone()].map(Version).into());
                        group.insert(Group::Many(Box::new(both)));
                    }
                    Group::Many(others) => {
                        others.0.insert(Version(object.clone()));
                    }
                },
            }
        }
    }

    /// Removes a version of an object. `decoded` is the same version.
    pub(super) fn remove(&mut self, object: &Cached<K>, decoded: &K) {
        for key in (self.keys)(decoded) {
            let Entry::Occupied(mut group) = self.groups.entry(self.hash(&key)) else { continue };
            match group.get_mut() {
                Group::One(other) if other.address() == object.address() => {
                    group.remove();
                }
                Group::One(_) => {}
                Group::Many(others) => {
                    others.0.remove(&Version(object.clone()));
                    if others.0.is_empty() {
                        group.remove();
                    }
                }
            }
        }
    }

    fn hash(&self, key: &Key) -> u128 {
        let [high, low] = self.seeds.each_ref().map(|seed| u128::from(seed.hash_one(key)));
        high << 64 | low
    }

    /// How many groups there are, and how many objects in all groups together.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let size = |group: &Group<K>| match group {
            Group::One(_) => 1,
            Group::Many(group) => group.0.len(),
        };
        (self.groups.len(), self.groups.values().map(size).sum())
    }
}

/// One version of an object. Two are the same only if they are the same value in memory, so comparing them is
/// cheap.
struct Version<K>(Cached<K>);

impl<K> PartialEq for Version<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.address() == other.0.address()
    }
}

impl<K> Eq for Version<K> {}

impl<K> Hash for Version<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.address().hash(state);
    }
}
