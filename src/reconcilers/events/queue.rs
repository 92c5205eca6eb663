//! Which Events wait to be published? A queue that never holds more than [`LIMIT`]. No effects.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

/// The largest number of Events that wait. Beyond it the oldest are dropped, Normal ones first.
pub const LIMIT: usize = 1000;

/// The type of an Event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventType {
    /// It is as it should be.
    Normal,
    /// Something prevents it.
    Warning,
}

impl EventType {
    /// The name that the API server knows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// An Event that is not published yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The object that it is about.
    pub object: ObjectReference,
    /// Its type.
    pub type_: EventType,
    /// The reason of the condition.
    pub reason: String,
    /// The message of the condition.
    pub note: String,
    /// When the condition changed.
    pub time: Timestamp,
}

/// The Events that wait: warnings before normal ones, and of each type the oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    warnings: Line,
    normal: Line,
}

impl Queue {
    /// Adds an Event. It takes the place of one with the same object, type and reason. Returns the type of the Event
    /// that is dropped because the queue is full.
    pub fn push(&mut self, event: Pending) -> Option<EventType> {
        match event.type_ {
            EventType::Warning => self.warnings.push(event),
            EventType::Normal => self.normal.push(event),
        }
        if self.warnings.len() + self.normal.len() <= LIMIT {
            return None;
        }
        let dropped = self.normal.pop().or_else(|| self.warnings.pop())?;
        Some(dropped.type_)
    }

    /// Takes the Event that comes next.
    pub fn pop(&mut self) -> Option<Pending> {
        self.warnings.pop().or_else(|| self.normal.pop())
    }

    /// Whether no Event waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.warnings.len() + self.normal.len() == 0
    }
}

/// The Events of one type, in order.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    events: BTreeMap<u64, Pending>,
    places: HashMap<Subject, u64>,
}

/// What an Event says about which object, without its details: the uid of the object, and the reason.
type Subject = (Option<String>, String);

fn subject(event: &Pending) -> Subject {
    (event.object.uid.clone(), event.reason.clone())
}

impl Line {
    fn push(&mut self, event: Pending) {
        let place = *self.places.entry(subject(&event)).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.events.insert(place, event);
    }

    fn pop(&mut self) -> Option<Pending> {
        let (_, event) = self.events.pop_first()?;
        self.places.remove(&subject(&event));
        Some(event)
    }

    fn len(&self) -> usize {
        self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(type_: EventType, uid: usize, reason: &str) -> Pending {
        Pending {
            object: ObjectReference { uid: Some(uid.to_string()), ..ObjectReference::default() },
            type_,
            reason: reason.to_owned(),
            note: String::new(),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    fn normal(uid: usize) -> Pending {
        event(EventType::Normal, uid, "Ready")
    }

    fn warning(uid: usize) -> Pending {
        event(EventType::Warning, uid, "Failed")
    }

    #[test]
    fn warnings_come_first_and_the_oldest_of_each_type() {
        let mut queue = Queue::default();
        for event in [normal(1), warning(2), normal(3), warning(4)] {
            assert_eq!(queue.push(event), None);
        }
        assert!(!queue.is_empty());
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [warning(2), warning(4), normal(1), normal(3)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_newest_note_of_a_repeated_event_is_kept() {
        let mut queue = Queue::default();
        let noted = |note: &str| Pending { note: note.to_owned(), ..warning(1) };
        for event in [noted("a"), normal(1), event(EventType::Warning, 1, "Other"), warning(2), noted("b")] {
            queue.push(event);
        }
        assert_eq!(queue.pop(), Some(noted("b")));
        let others: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(others, [event(EventType::Warning, 1, "Other"), warning(2), normal(1)]);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_normal_ones_first() {
        let mut queue = Queue::default();
        for uid in 1..LIMIT {
            assert_eq!(queue.push(warning(uid)), None);
        }
        assert_eq!(queue.push(normal(1)), None);
        assert_eq!(queue.push(normal(2)), Some(EventType::Normal));
        assert_eq!(queue.push(warning(LIMIT)), Some(EventType::Normal), "normal(2)");
        assert_eq!(queue.push(warning(LIMIT + 1)), Some(EventType::Warning), "warning(1)");
        assert_eq!(queue.push(normal(3)), Some(EventType::Normal), "a normal one displaces no warning");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!((order.len(), &order[0]), (LIMIT, &warning(2)));
        assert!(order.iter().all(|event| event.type_ == EventType::Warning));
    }
}
