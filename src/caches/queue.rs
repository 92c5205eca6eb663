//! The queue of a kind: the objects that its controller is to reconcile.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, stream};
use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::sync::Notify;

/// The objects of one kind that wait for a reconcile. An object is queued once, however many events concern
/// it, so the queue is never longer than the cache. One controller reads it.
pub(super) struct Queue<K: Resource<DynamicType = ()>> {
    waiting: Mutex<Waiting<K>>,
    pushed: Notify,
}

struct Waiting<K: Resource<DynamicType = ()>> {
    /// First in, first out.
    order: VecDeque<ObjectRef<K>>,
    /// The same objects as in `order`.
    queued: HashSet<ObjectRef<K>>,
    /// The controller has read these from the queue, but their reconcile has not begun: an earlier reconcile
    /// of the same object may still run. They are only counted for the metric. An object in this set can be
    /// queued again.
    read: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Default for Queue<K> {
    fn default() -> Self {
        let waiting = Waiting { order: VecDeque::new(), queued: HashSet::new(), read: HashSet::new() };
        Self { waiting: Mutex::new(waiting), pushed: Notify::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Queue<K> {
    /// Adds an object, unless it is in the queue already.
    pub(super) fn push(&self, object: ObjectRef<K>) {
        let mut waiting = self.lock();
        if waiting.queued.insert(object.clone()) {
            waiting.order.push_back(object);
            self.pushed.notify_one();
        }
    }

    /// The objects in the order of the queue, without end.
    pub(super) fn read(self: Arc<Self>) -> impl Stream<Item = ObjectRef<K>> {
        stream::unfold(self, async |queue| {
            loop {
                // A push between the two lines leaves a permit behind. Then the wait ends at once.
                if let Some(object) = queue.pop() {
                    return Some((object, queue));
                }
                queue.pushed.notified().await;
            }
        })
    }

    fn pop(&self) -> Option<ObjectRef<K>> {
        let mut waiting = self.lock();
        let object = waiting.order.pop_front()?;
        waiting.queued.remove(&object);
        waiting.read.insert(object.clone());
        Some(object)
    }

    /// Notes that the reconcile of an object begins, or that the object is gone.
    pub(super) fn begin(&self, object: &ObjectRef<K>) {
        self.lock().read.remove(object);
    }

    /// How many objects wait for their reconcile to begin.
    pub(super) fn depth(&self) -> usize {
        let waiting = self.lock();
        waiting.queued.union(&waiting.read).count()
    }

    /// The objects in the queue, in order.
    #[cfg(test)]
    pub(super) fn queued(&self) -> Vec<ObjectRef<K>> {
        self.lock().order.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<K>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::crd::ServiceInstance;

    fn key(name: &str) -> ObjectRef<ServiceInstance> {
        ObjectRef::new(name).within("ns")
    }

    #[test]
    fn an_object_is_queued_once_and_in_order() {
        let queue = Arc::new(Queue::default());
        for name in ["b", "a", "b"] {
            queue.push(key(name));
        }
        let mut objects = pin!(Arc::clone(&queue).read());
        let mut next = || objects.next().now_or_never().flatten();
        assert_eq!([next(), next(), next()], [Some(key("b")), Some(key("a")), None]);
        queue.push(key("b"));
        assert_eq!(next(), Some(key("b")), "what was read can be queued again");
    }

    #[test]
    fn the_reader_wakes_when_an_object_is_queued() {
        let queue = Arc::new(Queue::default());
        let mut objects = pin!(Arc::clone(&queue).read());
        let waiting = objects.next();
        let mut waiting = pin!(waiting);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        queue.push(key("a"));
        assert_eq!(waiting.now_or_never(), Some(Some(key("a"))));
    }

    #[test]
    fn an_object_counts_until_its_reconcile_begins() {
        let queue = Arc::new(Queue::default());
        queue.push(key("a"));
        queue.push(key("b"));
        assert_eq!(queue.depth(), 2);
        let mut objects = pin!(Arc::clone(&queue).read());
        objects.next().now_or_never();
        assert_eq!(queue.depth(), 2);
        queue.push(key("a"));
        assert_eq!(queue.depth(), 2, "queued again while it waits");
        queue.begin(&key("a"));
        assert_eq!(queue.depth(), 2);
        objects.next().now_or_never();
        objects.next().now_or_never();
        queue.begin(&key("b"));
        queue.begin(&key("a"));
        assert_eq!(queue.depth(), 0);
    }
}
