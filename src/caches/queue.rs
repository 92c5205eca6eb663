//! The queue of a kind: the objects that its controller is to reconcile, and when.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::cached::ObjectName;

/// How many reconciles of a kind may have a slot at the same time. Each of them holds decoded objects.
const SLOTS: usize = 64;

/// The right of a reconcile to decide and to write. A reconcile that waits for a broker or for memory gives it back, so
/// that slow brokers stop nobody.
pub struct Slot(#[expect(dead_code, reason = "it counts while it exists")] Option<OwnedSemaphorePermit>);

/// The objects of one kind that wait for a reconcile. An object is queued once, however many events concern
/// it, so the queue is never longer than the cache. One controller reads it, and no object is reconciled twice
/// at the same time.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    pushed: Notify,
    slots: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    /// First in, first out.
    order: VecDeque<ObjectName>,
    /// The same objects as in `order`.
    queued: HashSet<ObjectName>,
    /// The objects that are being reconciled, and whether they must be queued again afterwards.
    running: HashMap<ObjectName, bool>,
    /// The objects that are queued at a certain time, if nothing happens before.
    due: BTreeSet<(Instant, ObjectName)>,
    /// The same objects as in `due`.
    due_at: HashMap<ObjectName, Instant>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: Mutex::default(), pushed: Notify::new(), slots: Arc::new(Semaphore::new(SLOTS)) }
    }
}

impl Waiting {
    fn push(&mut self, object: ObjectName) {
        if let Some(at) = self.due_at.remove(&object) {
            self.due.remove(&(at, object.clone()));
        }
        if let Some(again) = self.running.get_mut(&object) {
            *again = true;
        } else if self.queued.insert(object.clone()) {
            self.order.push_back(object);
        }
    }

    /// Queues what is due. Returns when the next object is due.
    fn push_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, object)) = self.due.first() {
            if *at > now {
                return Some(*at);
            }
            let object = object.clone();
            self.push(object);
        }
        None
    }

    fn schedule(&mut self, object: &ObjectName, at: Instant) {
        if self.queued.contains(object) {
            return;
        }
        if let Some(before) = self.due_at.insert(object.clone(), at) {
            self.due.remove(&(before, object.clone()));
        }
        self.due.insert((at, object.clone()));
    }

    fn pop(&mut self) -> Option<ObjectName> {
        let object = self.order.pop_front()?;
        self.queued.remove(&object);
        self.running.insert(object.clone(), false);
        if self.order.is_empty() {
            // After a burst, give its memory back.
            (self.order, self.queued) = (VecDeque::new(), HashSet::new());
        }
        Some(object)
    }
}

impl Queue {
    /// Adds an object, unless it is in the queue already. An object that is being reconciled is added when its
    /// reconcile has ended.
    pub(super) fn push(&self, object: ObjectName) {
        self.lock().push(object);
        self.pushed.notify_one();
    }

    /// The objects in the order of the queue, without end.
    pub(super) fn read(self: Arc<Self>) -> impl Stream<Item = (ObjectName, Slot)> + Send {
        stream::unfold(self, async |queue| {
            queue.wait().await;
            let slot = queue.slot().await;
            let object = queue.lock().pop()?;
            Some(((object, slot), queue))
        })
    }

    /// Waits for a slot.
    pub(super) async fn slot(&self) -> Slot {
        // The semaphore is never closed.
        Slot(Arc::clone(&self.slots).acquire_owned().await.ok())
    }

    /// Waits until there is an object in the queue.
    async fn wait(&self) {
        loop {
            // A push between here and the wait leaves a permit behind. Then the wait ends at once.
            let next = {
                let mut waiting = self.lock();
                let next = waiting.push_due(Instant::now());
                if !waiting.order.is_empty() {
                    return;
                }
                next
            };
            let pushed = self.pushed.notified();
            match next {
                None => pushed.await,
                Some(at) => tokio::select! {
                    () = pushed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    /// Notes that the reconcile of an object has ended. It is queued again after `again`, or at once if it was
    /// pushed meanwhile.
    pub(super) fn ended(&self, object: &ObjectName, again: Option<Duration>) {
        let mut waiting = self.lock();
        if waiting.running.remove(object) == Some(true) {
            waiting.push(object.clone());
        } else if let Some(at) = again.and_then(|again| Instant::now().checked_add(again)) {
            waiting.schedule(object, at);
        }
        drop(waiting);
        self.pushed.notify_one();
    }

    /// How many objects wait for their reconcile to begin.
    pub(super) fn depth(&self) -> usize {
        let waiting = self.lock();
        waiting.order.len() + waiting.running.values().filter(|again| **again).count()
    }

    /// The objects in the queue, in order.
    #[cfg(test)]
    pub(super) fn queued(&self) -> Vec<ObjectName> {
        self.lock().order.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    fn key(name: &str) -> ObjectName {
        ObjectName::new(Some("ns"), name)
    }

    #[test]
    fn an_object_is_queued_once_and_in_order() {
        let queue = Arc::new(Queue::default());
        for name in ["b", "a", "b"] {
            queue.push(key(name));
        }
        let mut objects = pin!(Arc::clone(&queue).read());
        let mut next = || objects.next().now_or_never().flatten().map(|(object, _)| object);
        assert_eq!([next(), next(), next()], [Some(key("b")), Some(key("a")), None]);
    }

    #[test]
    fn an_object_is_not_reconciled_twice_at_the_same_time() {
        let queue = Arc::new(Queue::default());
        let mut objects = pin!(Arc::clone(&queue).read());
        let mut next = || objects.next().now_or_never().flatten().map(|(object, _)| object);
        queue.push(key("a"));
        assert_eq!((next(), queue.depth()), (Some(key("a")), 0));
        queue.push(key("a"));
        assert_eq!((next(), queue.depth()), (None, 1), "it waits for the end of its reconcile");
        queue.ended(&key("a"), None);
        assert_eq!((next(), queue.depth()), (Some(key("a")), 0));
        queue.ended(&key("a"), None);
        assert_eq!(next(), None);
    }

    #[test]
    fn the_reader_wakes_when_an_object_is_queued() {
        let queue = Arc::new(Queue::default());
        let mut objects = pin!(Arc::clone(&queue).read());
        let waiting = objects.next();
        let mut waiting = pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        queue.push(key("a"));
        assert!(waiting.now_or_never().flatten().is_some_and(|(object, _)| object == key("a")));
    }

    #[test]
    fn the_next_object_waits_for_a_slot() {
        let queue = Arc::new(Queue::default());
        (0..=SLOTS).for_each(|number| queue.push(key(&number.to_string())));
        let mut objects = pin!(Arc::clone(&queue).read());
        let mut next = || objects.next().now_or_never().flatten();
        let mut slots: Vec<_> = (0..SLOTS).map(|_| next().unwrap().1).collect();
        assert!(next().is_none());
        slots.pop();
        assert!(next().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_queued_again_when_it_is_due_or_pushed_before() {
        let queue = Arc::new(Queue::default());
        let mut objects = pin!(Arc::clone(&queue).read());
        let begun = Instant::now();
        queue.push(key("a"));
        for (pushed, after) in [(false, 600), (true, 600)] {
            let (object, _slot) = objects.next().await.unwrap();
            queue.ended(&object, Some(Duration::from_secs(600)));
            if pushed {
                queue.push(key("a"));
            }
            assert_eq!(objects.next().await.unwrap().0, key("a"));
            assert_eq!(begun.elapsed().as_secs(), after);
            queue.ended(&object, Some(Duration::ZERO));
        }
        let waiting = queue.lock();
        assert_eq!((waiting.due.len(), waiting.due_at.len()), (1, 1));
    }
}
