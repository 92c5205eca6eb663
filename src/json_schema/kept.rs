//! The schemas that were used last. To read one with regular expressions takes about as long as the rest of an order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{MAX_ROOM, Schema, Unusable, weight};
use crate::{json::RawObject, memory_budget::one_at_a_time};

/// How much all kept schemas take, in bytes. Regular expressions take more for each thread that uses them.
const MOST: usize = 1 << 20;

/// How many times its text a schema takes, without its regular expressions.
const COPIES: usize = 16;

/// The most kept schemas: the search looks at each of them.
const COUNT: usize = 32;

static KEPT: Mutex<Kept> = Mutex::new(Kept { schemas: VecDeque::new(), taken: 0 });

/// Reads a schema, or takes it from those that were used last.
///
/// # Errors
/// See [`Schema::compile`].
pub(super) fn read(text: &RawObject) -> Result<Arc<Schema>, Unusable> {
    if let Some(known) = lock().get(text) {
        return known;
    }
    let mut room = MAX_ROOM;
    let schema = one_at_a_time(weight(text), || Schema::compile(text, &mut room)).map(Arc::new);
    let size = COPIES * text.text().len() + if schema.is_ok() { MAX_ROOM - room } else { 0 };
    lock().add(Entry { text: text.clone(), schema: schema.clone(), size });
    schema
}

fn lock() -> std::sync::MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kept schemas. The one that was used last is the last.
struct Kept {
    schemas: VecDeque<Entry>,
    /// The size of all of them.
    taken: usize,
}

struct Entry {
    text: RawObject,
    schema: Result<Arc<Schema>, Unusable>,
    size: usize,
}

impl Kept {
    fn get(&mut self, text: &RawObject) -> Option<Result<Arc<Schema>, Unusable>> {
        let place = self.schemas.iter().position(|known| known.text.text() == text.text())?;
        let known = self.schemas.remove(place)?;
        let schema = known.schema.clone();
        self.schemas.push_back(known);
        Some(schema)
    }

    /// Adds a schema, and lets go those that were not used for the longest time.
    fn add(&mut self, entry: Entry) {
        self.taken += entry.size;
        self.schemas.push_back(entry);
        while self.taken > MOST || self.schemas.len() > COUNT {
            let Some(oldest) = self.schemas.pop_front() else { return };
            self.taken -= oldest.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(name: usize) -> RawObject {
        json!({ "title": name }).as_object().cloned().unwrap_or_default().into()
    }

    #[test]
    fn the_schemas_that_were_used_last_are_kept_within_a_size() {
        let mut kept = Kept { schemas: VecDeque::new(), taken: 0 };
        let compiled = |name| Schema::compile(&schema(name), &mut MAX_ROOM.clone()).map(Arc::new);
        let entry = |name, size| Entry { text: schema(name), schema: compiled(name), size };
        for name in 0..4 {
            kept.add(entry(name, MOST / 4));
        }
        assert!(kept.get(&schema(0)).is_some());
        kept.add(entry(4, MOST / 4));
        let known: Vec<_> = (0..5).map(|name| kept.get(&schema(name)).is_some()).collect();
        assert_eq!(known, [true, false, true, true, true]);
        kept.add(entry(5, MOST + 1));
        assert_eq!((kept.schemas.len(), kept.taken), (0, 0), "it is larger than all may be");
        for name in 0..=COUNT {
            kept.add(entry(name, 0));
        }
        assert!(kept.get(&schema(0)).is_none() && kept.get(&schema(1)).is_some());
    }
}
