//! Reads the Secrets that `parametersFrom` names: each once, no more than one request may have, and none after
//! the first problem.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use zeroize::Zeroizing;

use crate::{
    crd::common::{ParametersFromSource, SecretKeyReference},
    kube_api::{
        Error,
        secrets::{Keys, SecretValues, read_secret},
    },
    reconcilers::context::Context,
};

/// How many bytes are read from Secrets for one request: four of the largest Secrets. A spec may name one
/// Secret many times.
pub const MAX_SECRET_BYTES: usize = 4 << 20;

/// A value in a Secret that `parametersFrom` names.
pub struct Source {
    /// The entry of the spec.
    pub reference: SecretKeyReference,
    /// The value, or why there is none.
    pub value: SourceValue,
}

/// The result of reading an entry of `parametersFrom`.
pub enum SourceValue {
    /// The Secret does not exist.
    NoSecret,
    /// The Secret does not have the key.
    NoKey,
    /// The value.
    Bytes(Arc<Zeroizing<Vec<u8>>>),
    /// Together with the values before it, the value exceeds the limit for one request.
    TooLarge,
}

impl SourceValue {
    /// A value.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self::Bytes(Arc::new(Zeroizing::new(bytes)))
    }
}

/// Reads the Secrets that `parametersFrom` names, up to the first entry without a value.
///
/// # Errors
/// The API server did not answer. A missing Secret is not an error here, as [`merge`](super::merge) reports it.
pub async fn read(
    context: &Context,
    namespace: &str,
    entries: &[ParametersFromSource],
) -> Result<Vec<Source>, Error> {
    let mut collected = Collected::new(entries);
    while let Some(secret) = collected.missing() {
        let keys: Vec<&str> = collected.keys_of(secret).into_iter().collect();
        let address = (namespace, secret);
        let values =
            read_secret(&context.client, &context.memory.secrets, address, Keys::Only(&keys)).await?;
        collected.add(secret, values);
    }
    Ok(collected.sources)
}

/// Values of a Secret by key. An entry may name a value that another entry names too.
type SharedValues = BTreeMap<String, Arc<Zeroizing<Vec<u8>>>>;

/// The values so far, in the order of the entries.
struct Collected<'a> {
    entries: &'a [ParametersFromSource],
    secrets: HashMap<&'a str, Option<SharedValues>>,
    used: HashSet<(&'a str, &'a str)>,
    /// The bytes that the request may still have.
    left: usize,
    sources: Vec<Source>,
}

impl<'a> Collected<'a> {
    fn new(entries: &'a [ParametersFromSource]) -> Self {
        Self {
            entries,
            secrets: HashMap::new(),
            used: HashSet::new(),
            left: MAX_SECRET_BYTES,
            sources: Vec::new(),
        }
    }

    /// Goes on with the entries whose Secrets were read. Returns the Secret that is needed next. `None`: there
    /// is nothing left to read.
    fn missing(&mut self) -> Option<&'a str> {
        loop {
            let ParametersFromSource { secret_key_ref: reference } = self.entries.get(self.sources.len())?;
            let Some(secret) = self.secrets.get(&*reference.name) else { return Some(&reference.name) };
            let value = match secret.as_ref().map(|values| values.get(&reference.key)) {
                None => SourceValue::NoSecret,
                Some(None) => SourceValue::NoKey,
                Some(Some(value)) => {
                    // The first use of a value was counted when it was read.
                    let again = !self.used.insert((&reference.name, &reference.key));
                    let more = if again { value.len() } else { 0 };
                    self.taken(more, SourceValue::Bytes(Arc::clone(value)))
                }
            };
            if !self.push(reference, value) {
                return None;
            }
        }
    }

    /// The keys of a Secret that the entries name.
    fn keys_of(&self, secret: &str) -> HashSet<&'a str> {
        let references = self.entries.iter().map(|entry| &entry.secret_key_ref);
        references.filter(|entry| entry.name == secret).map(|entry| &*entry.key).collect()
    }

    /// Adds a Secret that was read.
    fn add(&mut self, secret: &'a str, values: Option<SecretValues>) {
        let length = values.iter().flatten().map(|(_, value)| value.len()).sum();
        if matches!(self.taken(length, SourceValue::NoKey), SourceValue::TooLarge) {
            if let Some(entry) = self.entries.get(self.sources.len()) {
                self.push(&entry.secret_key_ref, SourceValue::TooLarge);
            }
            self.entries = &[];
            return;
        }
        let shared =
            |values: SecretValues| values.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
        self.secrets.insert(secret, values.map(shared));
    }

    fn taken(&mut self, length: usize, value: SourceValue) -> SourceValue {
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                value
            }
            None => SourceValue::TooLarge,
        }
    }

    /// Adds the next source. Returns whether more of them are needed.
    fn push(&mut self, reference: &SecretKeyReference, value: SourceValue) -> bool {
        let is_value = matches!(value, SourceValue::Bytes(_));
        self.sources.push(Source { reference: reference.clone(), value });
        is_value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of entries, if Secrets have these keys with values of these lengths; and which Secrets are
    /// read.
    fn collected(entries: &[(&str, &str)], secrets: &[(&str, &[(&str, usize)])]) -> (String, Vec<String>) {
        let reference = |(name, key): &(&str, &str)| ParametersFromSource {
            secret_key_ref: SecretKeyReference { name: (*name).into(), key: (*key).into() },
        };
        let entries: Vec<_> = entries.iter().map(reference).collect();
        let (mut collected, mut read) = (Collected::new(&entries), Vec::new());
        while let Some(name) = collected.missing() {
            read.push(name.to_owned());
            let keys = collected.keys_of(name);
            let values = secrets.iter().find(|(secret, _)| *secret == name).map(|(_, values)| {
                let wanted = values.iter().filter(|(key, _)| keys.contains(key));
                wanted.map(|(key, length)| ((*key).to_owned(), Zeroizing::new(vec![0; *length]))).collect()
            });
            collected.add(name, values);
        }
        let letter = |source: &Source| match source.value {
            SourceValue::NoSecret => 'S',
            SourceValue::NoKey => 'K',
            SourceValue::Bytes(_) => 'b',
            SourceValue::TooLarge => 'L',
        };
        (collected.sources.iter().map(letter).collect(), read)
    }

    const MIB: usize = 1 << 20;

    #[test]
    fn a_secret_is_read_once_however_often_it_is_named() {
        let secrets: &[(&str, &[(&str, usize)])] =
            &[("a", &[("x", 10), ("y", 10), ("large", 9 * MIB)]), ("b", &[("x", 10)])];
        let entries = [("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")];
        assert_eq!(collected(&entries, secrets), ("bbbb".to_owned(), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(collected(&[("a", "x"); 256], secrets).1.len(), 1);
    }

    #[test]
    fn nothing_is_read_after_the_limit_or_the_first_problem() {
        let large: &[(&str, &[(&str, usize)])] = &[
            ("0", &[("k", MIB)]),
            ("1", &[("k", MIB)]),
            ("2", &[("k", MIB)]),
            ("3", &[("k", MIB)]),
            ("4", &[("k", 1)]),
        ];
        let names = ["0", "1", "2", "3", "4", "5", "6"];
        let all = names.map(|name| (name, "k"));
        let (letters, read) = collected(&all, large);
        assert_eq!((&*letters, read.len()), ("bbbbL", 5));
        // The same value many times counts as often as it is named.
        assert_eq!(collected(&[("0", "k"); 256], large).0, "bbbbL");
        let (letters, read) = collected(&[("4", "k"), ("5", "k"), ("0", "k")], large);
        assert_eq!((&*letters, read.len()), ("bS", 2));
        let (letters, read) = collected(&[("4", "gone"), ("0", "k")], large);
        assert_eq!((&*letters, read.len()), ("K", 1));
        // Keys that come later count when their Secret is read.
        let later = ("0", &[("a", 1), ("b", 5 * MIB)] as &[(&str, usize)]);
        assert_eq!(collected(&[("0", "a"), ("4", "k"), ("0", "b")], &[later]).0, "L");
    }
}
