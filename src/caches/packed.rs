//! Objects as compressed text.
//!
//! The objects of a kind are much alike: the same fields, brokers, classes, users. So the first few texts
//! become a dictionary, and the compression (LZ4) of the others refers to it. The text of an instance or
//! a binding shrinks to a fifth or less.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};

use crate::{crd::scope::Object, json::pieces, memory_budget::one_at_a_time};

/// How long a dictionary becomes, in bytes. A longer one makes each compression slower.
const DICTIONARY: usize = 16 << 10;

/// A text becomes a part of the dictionary if it does not shrink to one part in so many.
const GOOD_RATIO: usize = 6;

/// How many decoded objects of a kind are kept beside their text.
const RECENT: usize = 64;

/// A decoded object is not kept beside its text if that is longer than this, in bytes.
const SMALL: usize = 16 << 10;

/// Packs the objects of one kind.
pub(super) struct Packer<K> {
    dictionary: Mutex<Arc<Dictionary<K>>>,
    recent: Arc<Recent<K>>,
    packed: AtomicUsize,
}

struct Dictionary<K> {
    text: Vec<u8>,
    recent: Arc<Recent<K>>,
}

/// One object as compressed text.
pub(super) struct Packed<K> {
    dictionary: Arc<Dictionary<K>>,
    bytes: Box<[u8]>,
    /// The length of the text, in bytes.
    length: u32,
    /// Differs from that of every other version.
    serial: usize,
}

/// The objects that were decoded lately, each with its serial number in the place that this leads to.
struct Recent<K>([Place<K>; RECENT]);

type Place<K> = Mutex<Option<(usize, Arc<K>)>>;

impl<K> Recent<K> {
    fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| Mutex::new(None))))
    }

    fn get(&self, serial: usize) -> Option<Arc<K>> {
        let kept = self.0[serial % RECENT].lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(of, _)| *of == serial).map(|(_, object)| Arc::clone(object))
    }

    fn keep(&self, serial: usize, object: &Arc<K>) {
        let kept = Some((serial, Arc::clone(object)));
        let before = std::mem::replace(
            &mut *self.0[serial % RECENT].lock().unwrap_or_else(PoisonError::into_inner),
            kept,
        );
        // Not while the lock is held.
        drop(before);
    }
}

impl<K: Object> Packer<K> {
    pub(super) fn new() -> Self {
        let recent = Recent::new();
        let dictionary = Dictionary { text: Vec::new(), recent: Arc::clone(&recent) };
        Self { dictionary: Mutex::new(Arc::new(dictionary)), recent, packed: AtomicUsize::new(0) }
    }

    /// Packs an object. `None` if it cannot be packed: its text does not have what cannot be read of it.
    pub(super) fn pack(&self, object: &K) -> Option<Packed<K>> {
        if object.defects().is_some() {
            return None;
        }
        let text = text_of(object).ok()?;
        let length = u32::try_from(text.len()).ok()?;
        let dictionary = Arc::clone(&self.dictionary.lock().unwrap_or_else(PoisonError::into_inner));
        let mut bytes = vec![0; get_maximum_output_size(text.len())];
        let shrunk = compress_into_with_dict(&text, &mut bytes, &dictionary.text).ok()?;
        let bytes = Box::from(bytes.get(..shrunk)?);
        if shrunk * GOOD_RATIO > text.len() {
            self.learn(&dictionary, &text);
        }
        let serial = self.packed.fetch_add(1, Ordering::Relaxed);
        if text.len() <= SMALL {
            self.recent.keep(serial, &Arc::new(object.clone()));
        }
        Some(Packed { dictionary, bytes, length, serial })
    }

    /// Adds a text to the dictionary for later objects, if there is room.
    fn learn(&self, known: &Arc<Dictionary<K>>, text: &[u8]) {
        if known.text.len() + text.len() > DICTIONARY {
            return;
        }
        let text = [known.text.as_slice(), text].concat();
        let longer = Arc::new(Dictionary { text, recent: Arc::clone(&self.recent) });
        let mut dictionary = self.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&dictionary, known) {
            *dictionary = longer;
        }
    }
}

impl<K: Object> Packed<K> {
    #[expect(clippy::expect_used, reason = "the text is our own; without the object no decision is safe")]
    pub(super) fn read(&self) -> Arc<K> {
        let recent = &self.dictionary.recent;
        if let Some(object) = recent.get(self.serial) {
            return object;
        }
        let length = self.length();
        let object = decompress_with_dict(&self.bytes, length, &self.dictionary.text)
            .map_err(io::Error::other)
            .and_then(|text| Ok(one_at_a_time(length, || serde_json::from_slice::<K>(&text))?))
            .expect("an object that was packed can be read");
        let object = Arc::new(object.complete());
        if length <= SMALL {
            recent.keep(self.serial, &object);
        }
        object
    }
}

impl<K> Packed<K> {
    /// The length of the text, in bytes.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }
}

/// The text of an object as the API server has it: without what a pending intent has changed in its status,
/// because [`Object::complete`] changes it again. There is no tree of the whole object, which may be large.
fn text_of<K: Object>(object: &K) -> serde_json::Result<Vec<u8>> {
    let text = serde_json::to_vec(object)?;
    let Some(persisted) = object.persisted_status() else { return Ok(text) };
    let status = [STATUS, &serde_json::to_vec(persisted)?].concat();
    let others = pieces(&text).filter(|member| !member.starts_with(STATUS));
    let members: Vec<&[u8]> = others.chain([&status[..]]).collect();
    Ok([b"{", &members.join(&b',')[..], b"}"].concat())
}

/// The key of the status in the text of an object.
const STATUS: &[u8] = b"\"status\":";
