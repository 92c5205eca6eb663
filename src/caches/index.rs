//! An index: the objects of one kind, grouped by what other objects look for them by.

use std::{
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::keys::Key;

/// The groups that the objects of a kind are in. An object is in one group for each of its keys. The keys are
/// a function of the object alone, so what was added for a version of an object is found again when another
/// version replaces it.
pub(super) struct Index<K> {
    keys: fn(&K) -> Vec<Key>,
    groups: HashMap<Key, HashSet<Version<K>>>,
}

impl<K> Index<K> {
    /// No objects.
    pub(super) fn new(keys: fn(&K) -> Vec<Key>) -> Self {
        Self { keys, groups: HashMap::new() }
    }

    /// The objects with this key, in no order.
    pub(super) fn get(&self, key: &Key) -> Vec<Arc<K>> {
        let group = self.groups.get(key).into_iter().flatten();
        group.map(|Version(object)| Arc::clone(object)).collect()
    }

    /// Replaces a version of an object by the next one.
    pub(super) fn replace(&mut self, before: Option<&Arc<K>>, after: Option<&Arc<K>>) {
        if let Some(before) = before {
            self.remove(before);
        }
        if let Some(after) = after {
            self.add(after);
        }
    }

    /// Replaces all objects.
    pub(super) fn replace_all<'a>(&mut self, objects: impl IntoIterator<Item = &'a Arc<K>>)
    where
        K: 'a,
    {
        self.groups = HashMap::new();
        objects.into_iter().for_each(|object| self.add(object));
    }

    fn add(&mut self, object: &Arc<K>) {
        for key in (self.keys)(object) {
            self.groups.entry(key).or_default().insert(Version(Arc::clone(object)));
        }
    }

    fn remove(&mut self, object: &Arc<K>) {
        let version = Version(Arc::clone(object));
        for key in (self.keys)(object) {
            if let Some(group) = self.groups.get_mut(&key) {
                group.remove(&version);
                if group.is_empty() {
                    self.groups.remove(&key);
                }
            }
        }
    }

    /// All groups.
    #[cfg(test)]
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Key, Vec<Arc<K>>)> {
        self.groups.keys().map(|key| (key, self.get(key)))
    }
}

/// One version of an object. Two are the same only if they are the same value in memory, so comparing them is
/// cheap.
struct Version<K>(Arc<K>);

impl<K> PartialEq for Version<K> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<K> Eq for Version<K> {}

impl<K> Hash for Version<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
