//! What the operator keeps of one kind: the objects, an index over them, and the queue of its controller.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use futures::Stream;
use kube::runtime::{reflector::ObjectRef, watcher::Event};
use tokio::sync::watch;

use super::{
    cached::{Cached, ObjectName, Standing},
    index::Index,
    keys::Key,
    packed::Packer,
    queue::{Queue, Slot},
};
use crate::crd::scope::Object;

/// One kind: its watch fills the objects and the index, and its controller reads the queue.
pub struct Kind<K> {
    present: RwLock<Objects<K>>,
    /// What a list has shown, until it is complete.
    listed: Mutex<Objects<K>>,
    filled: watch::Sender<bool>,
    /// How the objects become small; `None` for kinds that are kept decoded.
    packing: Option<Packing<K>>,
    queue: Arc<Queue>,
}

/// Objects and their index.
struct Objects<K> {
    by_name: HashMap<ObjectName, Cached<K>>,
    index: Index<K>,
}

struct Packing<K> {
    packer: Packer<K>,
    standing: fn(&K) -> Standing,
}

/// How an object has changed in the cache.
pub struct Change<K> {
    /// The version that the cache had; `None` for an object that is new to it.
    before: Option<Cached<K>>,
    /// The version that it has now; `None` for an object that is gone.
    after: Option<Cached<K>>,
}

impl<K: Object> Change<K> {
    /// A change from one version to another.
    #[must_use]
    pub fn new(before: Option<K>, after: Option<K>) -> Self {
        Self {
            before: before.map(Arc::new).map(Cached::decoded),
            after: after.map(Arc::new).map(Cached::decoded),
        }
    }

    /// The version that the cache had; `None` for an object that is new to it.
    #[must_use]
    pub fn before(&self) -> Option<Arc<K>> {
        self.before.as_ref().map(Cached::read)
    }

    /// The version that the cache has now; `None` for an object that is gone.
    #[must_use]
    pub fn after(&self) -> Option<Arc<K>> {
        self.after.as_ref().map(Cached::read)
    }

    /// The versions of the object, of which there are one or two.
    pub fn versions(&self) -> impl Iterator<Item = Arc<K>> {
        self.before.iter().chain(&self.after).map(Cached::read)
    }

    /// The last version of the object.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<K>> {
        self.after().or_else(|| self.before())
    }
}

impl<K> Change<K> {
    /// Namespace and name of the object.
    #[must_use]
    pub fn name(&self) -> Option<&ObjectName> {
        self.after.as_ref().or(self.before.as_ref()).map(Cached::name)
    }

    /// Whether there is no object of its name any more.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.after.is_none()
    }

    /// The object that is gone: now there is no object of its name, or one with another uid.
    #[must_use]
    pub fn gone(&self) -> Option<&Cached<K>> {
        self.before.as_ref().filter(|_| !self.is_same_object())
    }

    /// The object that is new: before, there was no object of its name, or one with another uid.
    #[must_use]
    pub fn added(&self) -> Option<&Cached<K>> {
        self.after.as_ref().filter(|_| !self.is_same_object())
    }

    fn is_same_object(&self) -> bool {
        let versions = (self.before.as_ref(), self.after.as_ref());
        matches!(versions, (Some(before), Some(after)) if before.uid() == after.uid())
    }
}

impl<K: Object> Objects<K> {
    /// Adds a version of an object. `decoded` is the same version.
    fn add(&mut self, object: Cached<K>, decoded: &K) {
        self.index.add(&object, decoded);
        self.by_name.insert(object.name().clone(), object);
    }

    /// Removes a version of an object. `decoded` is the same version.
    fn remove(&mut self, object: &Cached<K>, decoded: &K) {
        self.index.remove(object, decoded);
        self.by_name.remove(object.name());
    }
}

impl<K> Objects<K> {
    fn emptied(&self) -> Self {
        Self { by_name: HashMap::new(), index: self.index.emptied() }
    }
}

impl<K: Object> Kind<K> {
    /// No objects. `keys` says what an object can be looked up by.
    pub(super) fn new(keys: fn(&K) -> Vec<Key>) -> Self {
        let empty = || Objects { by_name: HashMap::new(), index: Index::new(keys) };
        let (present, listed) = (RwLock::new(empty()), Mutex::new(empty()));
        Self { present, listed, filled: watch::Sender::new(false), packing: None, queue: Arc::default() }
    }

    /// No objects. They are kept as compressed text, because there may be very many. `standing` says how an
    /// object stands.
    pub(super) fn packed(keys: fn(&K) -> Vec<Key>, standing: fn(&K) -> Standing) -> Self {
        Self { packing: Some(Packing { packer: Packer::new(), standing }), ..Self::new(keys) }
    }

    fn keep(&self, object: &K) -> Cached<K> {
        match &self.packing {
            None => Cached::decoded(Arc::new(object.clone())),
            Some(Packing { packer, standing }) => Cached::packed(object, standing(object), packer),
        }
    }

    /// Applies one event of the watch, and returns what it has changed. Until a list is complete, that is
    /// nothing.
    pub fn apply(&self, event: &Event<K>) -> Vec<Change<K>> {
        match event {
            Event::Init => {
                let mut listed = self.listed();
                *listed = listed.emptied();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.list(object);
                Vec::new()
            }
            Event::InitDone => self.replace_all(),
            Event::Apply(object) => {
                let after = self.keep(object);
                let before = self.replace(after.name(), Some((&after, object)));
                vec![Change { before, after: Some(after) }]
            }
            Event::Delete(object) => {
                let deleted = self.keep(object);
                let known = self.replace(deleted.name(), None);
                vec![Change { before: Some(known.unwrap_or(deleted)), after: None }]
            }
        }
    }

    /// Replaces the object of this name, and returns the version that there was. Only the watch calls this, so
    /// nothing changes between its two steps.
    fn replace(&self, name: &ObjectName, after: Option<(&Cached<K>, &K)>) -> Option<Cached<K>> {
        let before = self.cached(name).map(|before| (before.read(), before));
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((decoded, before)) = &before {
            present.remove(before, decoded);
        }
        if let Some((after, decoded)) = after {
            present.add(after.clone(), decoded);
        }
        before.map(|(_, before)| before)
    }

    /// Adds an object of a list that is not complete. A version that is known already is not kept twice.
    fn list(&self, object: &K) {
        let mut after = self.keep(object);
        if let Some(known) = self.cached(after.name()).filter(|known| known.is_same_version(&after)) {
            after = known;
        }
        let mut listed = self.listed();
        if let Some(twice) = listed.by_name.get(after.name()).cloned() {
            listed.remove(&twice, &twice.read());
        }
        listed.add(after, object);
    }

    /// Replaces all objects by those of the list. Every object counts as changed, because events may have been
    /// lost before the list.
    fn replace_all(&self) -> Vec<Change<K>> {
        let mut listed = self.listed();
        let after = {
            let empty = listed.emptied();
            std::mem::replace(&mut *listed, empty)
        };
        drop(listed);
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::replace(&mut *present, after).by_name;
        let listed = present.by_name.values().map(|after| {
            let before = before.remove(after.name());
            Change { before, after: Some(after.clone()) }
        });
        let mut changes: Vec<Change<K>> = listed.collect();
        // Objects that are not in the list are gone.
        changes.extend(before.into_values().map(|gone| Change { before: Some(gone), after: None }));
        self.filled.send_replace(true);
        changes
    }

    /// Ends when the first list is complete.
    pub fn filled(&self) -> impl Future<Output = ()> + use<K> {
        let mut filled = self.filled.subscribe();
        async move {
            // It fails only when the cache is dropped. Then nobody waits for it.
            let _ = filled.wait_for(|filled| *filled).await;
        }
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        let name = ObjectName::new(key.namespace.as_deref(), &key.name);
        self.cached(&name).map(|object| object.read())
    }

    /// The objects with this key, in no order.
    pub(super) fn indexed(&self, key: &Key) -> Vec<Arc<K>> {
        self.group(key).iter().map(Cached::read).collect()
    }

    /// All objects, in no order.
    #[must_use]
    pub fn state(&self) -> Vec<Arc<K>> {
        self.all().iter().map(Cached::read).collect()
    }

    /// Adds an object to the queue of the controller.
    pub fn enqueue(&self, object: &ObjectRef<K>) {
        self.queue.push(ObjectName::new(object.namespace.as_deref(), &object.name));
    }
}

impl<K> Kind<K> {
    fn listed(&self) -> std::sync::MutexGuard<'_, Objects<K>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> RwLockReadGuard<'_, Objects<K>> {
        self.present.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of this name, as the cache has it.
    #[must_use]
    pub fn cached(&self, name: &ObjectName) -> Option<Cached<K>> {
        self.present().by_name.get(name).cloned()
    }

    /// All objects as the cache has them, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Cached<K>> {
        self.present().by_name.values().cloned().collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present().by_name.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present().by_name.is_empty()
    }

    /// The objects with this key as the cache has them, in no order.
    pub(super) fn group(&self, key: &Key) -> Vec<Cached<K>> {
        self.present().index.get(key)
    }

    /// The objects that the controller must reconcile, in order and without end, each with its slot. The next
    /// one waits until there is a slot.
    pub fn queue(&self) -> impl Stream<Item = (ObjectName, Slot)> + Send + use<K> {
        Arc::clone(&self.queue).read()
    }

    /// Waits for a slot without the queue: for a reconcile that gave its slot back, and has got what it waited for.
    pub async fn slot(&self) -> Slot {
        self.queue.slot().await
    }

    /// Notes that the reconcile of an object has ended, or that the controller has found that the object is
    /// gone. The object is queued again after `again`, if there is no reason to do so earlier.
    pub fn ended(&self, object: &ObjectName, again: Option<Duration>) {
        self.queue.ended(object, again);
    }

    /// How many objects wait for their reconcile to begin.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.queue.depth()
    }

    /// The objects in the queue, in order.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> Vec<ObjectName> {
        self.queue.queued()
    }

    /// How many groups the index has, and how many objects are in all groups together.
    #[cfg(test)]
    pub(super) fn index_size(&self) -> (usize, usize) {
        self.present().index.size()
    }
}
