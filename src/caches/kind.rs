//! What the operator keeps of one kind: the objects, an index over them, and the queue of its controller.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
};

use futures::Stream;
use kube::{
    Resource,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};

use super::{index::Index, keys::Key, queue::Queue};

/// One kind: its watch fills the store and the index, and its controller reads the queue.
pub struct Kind<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    written: RwLock<Written<K>>,
    queue: Arc<Queue<K>>,
}

/// What the watch writes. Store and index change under one lock, so a lookup in the index finds every object
/// that the store had.
struct Written<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    index: Index<K>,
}

/// How an object has changed in the cache.
pub struct Change<K> {
    /// The version that the cache had; `None` for an object that is new to it.
    pub before: Option<Arc<K>>,
    /// The version that it has now; `None` for an object that is gone.
    pub after: Option<Arc<K>>,
}

impl<K: Resource<DynamicType = ()>> Change<K> {
    /// The versions of the object, of which there are one or two.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<K>> {
        self.before.iter().chain(&self.after)
    }

    /// The object that is gone: now there is no object of its name, or one with another uid.
    #[must_use]
    pub fn gone(&self) -> Option<&Arc<K>> {
        self.before.as_ref().filter(|_| !self.is_same_object())
    }

    /// The object that is new: before, there was no object of its name, or one with another uid.
    #[must_use]
    pub fn added(&self) -> Option<&Arc<K>> {
        self.after.as_ref().filter(|_| !self.is_same_object())
    }

    fn is_same_object(&self) -> bool {
        let uids = (self.before.as_ref(), self.after.as_ref());
        matches!(uids, (Some(before), Some(after)) if before.meta().uid == after.meta().uid)
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Kind<K> {
    /// No objects. `keys` says what an object can be looked up by.
    pub(super) fn new(keys: fn(&K) -> Vec<Key>) -> Self {
        let writer = Writer::default();
        let store = writer.as_reader();
        let written = RwLock::new(Written { writer, index: Index::new(keys) });
        Self { store, written, queue: Arc::default() }
    }

    /// Applies one event of the watch, and returns what it has changed. Until a list is complete, that is
    /// nothing.
    pub fn apply(&self, event: &Event<K>) -> Vec<Change<K>> {
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        let Written { writer, index } = &mut *written;
        match event {
            Event::Init | Event::InitApply(_) => {
                writer.apply_watcher_event(event);
                Vec::new()
            }
            Event::InitDone => {
                let before = self.store.state();
                writer.apply_watcher_event(event);
                let after = self.store.state();
                index.replace_all(&after);
                changes(before, after)
            }
            Event::Apply(object) | Event::Delete(object) => {
                let key = ObjectRef::from_obj(object);
                let known = self.store.get(&key);
                writer.apply_watcher_event(event);
                let after = self.store.get(&key);
                index.replace(known.as_ref(), after.as_ref());
                let before = known.or_else(|| after.is_none().then(|| Arc::new(object.clone())));
                vec![Change { before, after }]
            }
        }
    }

    /// Ends when the first list is complete.
    pub fn filled(&self) -> impl Future<Output = ()> + use<K> {
        let store = self.store.clone();
        async move {
            // The writer lives as long as the store, so the wait cannot fail.
            let _ = store.wait_until_ready().await;
        }
    }

    /// The store, for the controller.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        self.store.get(key)
    }

    /// All objects, in no order.
    #[must_use]
    pub fn state(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The objects with this key, in no order.
    pub(super) fn indexed(&self, key: &Key) -> Vec<Arc<K>> {
        self.written.read().unwrap_or_else(PoisonError::into_inner).index.get(key)
    }

    /// Adds an object to the queue of the controller.
    pub fn enqueue(&self, object: ObjectRef<K>) {
        self.queue.push(object);
    }

    /// The objects that the controller must reconcile, in order and without end.
    pub fn queue(&self) -> impl Stream<Item = ObjectRef<K>> + use<K> {
        Arc::clone(&self.queue).read()
    }

    /// Notes that the reconcile of an object begins, or that the controller has found that the object is
    /// gone.
    pub fn begin(&self, object: &ObjectRef<K>) {
        self.queue.begin(object);
    }

    /// How many objects wait for their reconcile to begin.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.queue.depth()
    }

    /// The objects in the queue, in order.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> Vec<ObjectRef<K>> {
        self.queue.queued()
    }

    /// All groups of the index.
    #[cfg(test)]
    pub(super) fn groups(&self) -> HashMap<Key, Vec<Arc<K>>> {
        let written = self.written.read().unwrap();
        written.index.groups().map(|(key, objects)| (key.clone(), objects)).collect()
    }
}

/// The changes of a list. It reports every object as changed, because events may have been lost before it.
fn changes<K: Resource<DynamicType = ()>>(before: Vec<Arc<K>>, after: Vec<Arc<K>>) -> Vec<Change<K>> {
    let by_name = |object: Arc<K>| (ObjectRef::from_obj(&*object), object);
    let mut before: HashMap<ObjectRef<K>, Arc<K>> = before.into_iter().map(by_name).collect();
    let listed = after.into_iter().map(|object| {
        let before = before.remove(&ObjectRef::from_obj(&*object));
        Change { before, after: Some(object) }
    });
    let mut changes: Vec<Change<K>> = listed.collect();
    // Objects that are not in the list are gone.
    changes.extend(before.into_values().map(|gone| Change { before: Some(gone), after: None }));
    changes
}
