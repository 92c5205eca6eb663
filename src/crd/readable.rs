//! Objects that cannot be read in full. The API server may have what this program cannot read: objects that
//! were stored under another definition, or values that its schema check lets through. Such an object is not
//! invisible: the rest of it is read, and [`Defects`] says what is missing. The reconcilers then send no
//! request for it, say why in a condition, and let it be deleted.

use std::{borrow::Cow, sync::Arc};

use kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{defects::Defects, scope::Object};
use crate::{
    json::{member, pieces, text_of},
    memory_budget::one_at_a_time,
    printable::clip,
};

/// How many bytes of a reason are shown: it may quote the value.
const MAX_REASON: usize = 200;

/// An object of the API server, with its [`Defects`] if it cannot be read in full. Its metadata must be
/// readable.
///
/// The object is kept as text until it is read, because serde would keep a tree of values, which takes up to a
/// hundred times the memory of the text.
#[derive(Clone, Debug)]
pub struct Readable<K>(pub K);

impl<K: Object> Readable<K> {
    /// Reads the text of an object.
    ///
    /// # Errors
    /// The text is not that of an object with readable metadata.
    pub fn from_text(text: &str) -> serde_json::Result<Self> {
        let read = || serde_json::from_str(text).or_else(|error| salvage(text, &error));
        one_at_a_time(text.len(), read).map(Self)
    }
}

impl<'de, K: Object> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_text(&text_of(deserializer)?).map_err(D::Error::custom)
    }
}

impl<K: Object> Resource for Readable<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Reads the fields of an object that can be read.
fn salvage<K: Object>(text: &str, error: &serde_json::Error) -> serde_json::Result<K> {
    let object = text.as_bytes();
    let metadata = member(object, "metadata").unwrap_or(b"{}");
    let (spec, of_spec) =
        readable_members(member(object, "spec"), "spec", |piece| read::<K>(b"{}", &[piece], &[]).map(drop));
    let (status, of_status) = readable_members(member(object, "status"), "status", |piece| {
        read::<K>(b"{}", &[], &[piece]).map(drop)
    });
    let mut defects = Defects { spec: of_spec, status: of_status };
    let mut salvaged = if let Ok(object) = read::<K>(metadata, &spec, &status) {
        object
    } else {
        // Its fields can be read one by one, but not together.
        defects.spec.push(reason("spec", error));
        defects.status.push(reason("status", error));
        read::<K>(metadata, &[], &[])?
    };
    if defects.is_empty() {
        // An object without a spec, for example.
        defects.spec.push(reason("spec", error));
    }
    salvaged.set_defects(Arc::new(defects));
    Ok(salvaged)
}

/// The members of a part of an object that can be read, and what prevents the others.
fn readable_members<'t>(
    part: Option<&'t [u8]>,
    name: &str,
    check: impl Fn(&[u8]) -> serde_json::Result<()>,
) -> (Vec<&'t [u8]>, Vec<String>) {
    let part = match part {
        None | Some(b"null") => return (Vec::new(), Vec::new()),
        Some(part) if !part.starts_with(b"{") => {
            return (Vec::new(), vec![format!("{name}: this is not an object")]);
        }
        Some(part) => part,
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for piece in pieces(part) {
        match check(piece) {
            Ok(()) => good.push(piece),
            Err(error) => bad.push(reason(&format!("{name}.{}", key_of(piece)), &error)),
        }
    }
    (good, bad)
}

fn read<K: Object>(metadata: &[u8], spec: &[&[u8]], status: &[&[u8]]) -> serde_json::Result<K> {
    let least = Some(K::LEAST_SPEC.as_bytes());
    let least = least.filter(|least| spec.iter().all(|piece| key_of(piece) != key_of(least)));
    let spec: Vec<&[u8]> = spec.iter().copied().chain(least).filter(|piece| !piece.is_empty()).collect();
    let (spec, status) = (spec.join(&b','), status.join(&b','));
    let status = if status.is_empty() { Vec::new() } else { [b",\"status\":{", &status[..], b"}"].concat() };
    let text = [b"{\"metadata\":", metadata, b",\"spec\":{", &spec, b"}", &status, b"}"].concat();
    serde_json::from_slice(&text)
}

/// The key of `"key": value`.
fn key_of(piece: &[u8]) -> String {
    let mut keys = serde_json::Deserializer::from_slice(piece).into_iter::<String>();
    clip(&keys.next().and_then(Result::ok).unwrap_or_default(), MAX_REASON)
}

/// A field, and why it cannot be read. Line and column of the error count in a part of the text.
fn reason(field: &str, error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(reason, _)| reason);
    format!("{field}: {}", clip(message, MAX_REASON))
}

#[cfg(test)]
mod tests;
