//! Has somebody changed the credentials in a Secret of a binding?
//!
//! The operator watches the metadata of these Secrets, and does not keep their data. So it keeps two things:
//!
//! * In each Secret an annotation with a digest of the data, salted with random bytes. Whoever may read the annotation may
//!   read the data too, because Kubernetes has no right to read only metadata. For places to which annotations are copied
//!   alone (`kubectl describe`, tickets), the salt keeps equal credentials from being recognized, and nobody can prepare a
//!   table of digests; credentials that are easy to guess can still be guessed, one by one.
//! * From `managedFields`, whether anybody but the operator has set or removed data. Nearly always nobody has, and then
//!   the data is not read at all. `managedFields` alone are not enough: after the restore of a backup they name another
//!   manager, and the data is as it was.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry},
};
use kube::core::{ObjectMeta, PartialObjectMeta};
use sha2::{Digest as _, Sha256};

use crate::{
    kube_api::{request::MANAGER, secrets::SecretValues},
    reconcilers::hex::hex,
};

/// Annotation on Secrets of bindings: the number of keys, the salt and the digest.
pub const ANNOTATION_DIGEST: &str = "servicecatalog.k8s.io/credentials-digest";

/// The data of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// The salt of the digest on a Secret. The next digest has the same, so that it differs only if the data does.
#[must_use]
pub fn salt(metadata: &ObjectMeta) -> Option<String> {
    parts(metadata).map(|(_, salt, _)| salt.to_owned())
}

/// A salt for a Secret that has none.
#[must_use]
pub fn new_salt() -> String {
    hex(uuid::Uuid::new_v4().as_bytes())
}

/// The value of the annotation for this data.
#[must_use]
pub fn annotation(data: &Data, salt: &str) -> String {
    let values = data.iter().map(|(key, value)| (&**key, &*value.0));
    format!("{} {salt} {}", data.len(), digest(values, salt))
}

fn digest<'a>(data: impl Iterator<Item = (&'a str, &'a [u8])>, salt: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(salt);
    for (key, value) in data {
        // The lengths keep `{"a": "bc"}` from looking like `{"ab": "c"}`.
        for part in [key.as_bytes(), value] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize())
}

/// Whether the data of a Secret is what the operator wrote. `None`: the annotation does not say.
#[must_use]
pub fn is_as_written(metadata: &ObjectMeta, data: &SecretValues) -> Option<bool> {
    let (_, salt, written) = parts(metadata)?;
    Some(digest(data.iter().map(|(key, value)| (&**key, &***value)), salt) == written)
}

fn parts(metadata: &ObjectMeta) -> Option<(usize, &str, &str)> {
    let annotation = metadata.annotations.as_ref()?.get(ANNOTATION_DIGEST)?;
    let mut parts = annotation.split(' ');
    Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}

/// Reduces `managedFields` to what [`may_be_changed`] needs of it. It takes much memory.
pub fn reduce_managed_fields(secret: &mut PartialObjectMeta<Secret>) {
    let metadata = &mut secret.metadata;
    metadata.managed_fields = parts(metadata)
        .is_some_and(|(keys, ..)| is_touched(metadata, keys))
        .then(|| vec![ManagedFieldsEntry::default()]);
}

/// Whether anybody but the operator may have changed the data, by metadata with reduced `managedFields`.
#[must_use]
pub fn may_be_changed(metadata: &ObjectMeta) -> bool {
    metadata.managed_fields.as_ref().is_some_and(|fields| !fields.is_empty())
}

/// Whether anybody but the operator has set a key, or one of the operator's keys is gone.
fn is_touched(metadata: &ObjectMeta, keys: usize) -> bool {
    let fields = metadata.managed_fields.iter().flatten();
    let (ours, theirs): (Vec<_>, Vec<_>) = fields
        .filter_map(|entry| Some((entry, keys_of(entry.fields_v1.as_ref()?)?)))
        .partition(|(entry, _)| entry.manager.as_deref() == Some(MANAGER));
    !theirs.is_empty() || ours.iter().map(|(_, keys)| keys).sum::<usize>() != keys
}

/// How many keys of the data a manager has. `None`: it has nothing to do with the data.
fn keys_of(FieldsV1(fields): &FieldsV1) -> Option<usize> {
    let data = fields.get("f:data")?.as_object()?;
    Some(data.keys().filter(|key| key.starts_with("f:")).count())
}

#[cfg(test)]
mod tests {
    use kube::core::PartialObjectMetaExt as _;
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;

    fn data(values: &[(&str, &str)]) -> Data {
        values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
    }

    fn metadata(annotation: &str) -> ObjectMeta {
        let annotations = [(ANNOTATION_DIGEST.to_owned(), annotation.to_owned())].into();
        ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() }
    }

    fn judged(annotation: &str, data: &Data) -> Option<bool> {
        let read = data.iter().map(|(key, value)| (key.clone(), Zeroizing::new(value.0.clone())));
        is_as_written(&metadata(annotation), &read.collect())
    }

    #[test]
    fn a_digest_tells_any_change_and_nothing_else() {
        let written = data(&[("a", "bc"), ("user", "u")]);
        let digest = annotation(&written, "salt");
        assert_eq!(judged(&digest, &written), Some(true));
        for changed in [
            data(&[("a", "bd"), ("user", "u")]),
            data(&[("ab", "c"), ("user", "u")]),
            data(&[("a", "bc")]),
            data(&[("a", "bc"), ("user", "u"), ("x", "")]),
            data(&[]),
        ] {
            assert_eq!(judged(&digest, &changed), Some(false), "{:?}", changed.keys());
        }
        assert_ne!(digest, annotation(&written, "another"), "equal credentials do not look equal");
        assert_eq!(salt(&metadata(&digest)).as_deref(), Some("salt"));
        assert_ne!(new_salt(), new_salt());
        for strange in ["", "x", "2 salt", "two salt digest"] {
            assert_eq!(judged(strange, &written), None, "{strange:?}");
        }
    }

    #[test]
    fn managed_fields_say_who_has_changed_data() {
        let entry = |manager: &str, fields: serde_json::Value| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        };
        let ours = || entry(MANAGER, json!({ "f:data": { ".": {}, "f:a": {}, "f:b": {} }, "f:type": {} }));
        let labels = || entry("kubectl-label", json!({ "f:metadata": { "f:labels": { "f:x": {} } } }));
        let touched = |annotation: &str, fields: Vec<ManagedFieldsEntry>| {
            let metadata = ObjectMeta { managed_fields: Some(fields), ..metadata(annotation) };
            let mut secret: PartialObjectMeta<Secret> = metadata.into_request_partial();
            reduce_managed_fields(&mut secret);
            may_be_changed(&secret.metadata)
        };
        let other = |key: &str| entry("kubectl-edit", json!({ "f:data": { key: {} } }));
        let removed = || entry(MANAGER, json!({ "f:data": { ".": {}, "f:a": {} } }));
        for (what, fields, expected) in [
            ("as it was written", vec![ours(), labels()], false),
            ("a key was added or changed", vec![ours(), other("f:b")], true),
            ("a key was removed", vec![removed(), labels()], true),
            ("all of it is of another manager, as in a backup", vec![other("f:a")], true),
            ("nobody knows", vec![], true),
        ] {
            assert_eq!(touched("2 salt digest", fields), expected, "{what}");
        }
        assert!(!touched("", vec![other("f:a")]), "without a digest nobody can tell");
        assert!(!touched("0 salt digest", vec![entry(MANAGER, json!({ "f:type": {} }))]), "no credentials");
    }
}
