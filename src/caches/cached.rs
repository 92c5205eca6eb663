//! One version of an object in a cache. An object at rest is kept as compressed text, which takes about a
//! tenth of the memory of the decoded object. It is decoded when a decision needs it.

use std::{fmt, sync::Arc};

use super::packed::{Packed, Packer};
use crate::crd::scope::Object;

/// Namespace and name of an object of a known kind, as one text: `namespace/name`, or `name` for a
/// cluster-wide object. Cloning is cheap.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// The name of an object.
    #[must_use]
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        Self(namespace.map_or_else(|| name.into(), |namespace| format!("{namespace}/{name}").into()))
    }

    /// `namespace/name`, or `name` for a cluster-wide object.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace; `None` for a cluster-wide object.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    /// The name without the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked of many objects at once, so that none of them is decoded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// It may wait for another object ([`named`](super::named)).
    pub unsettled: bool,
    /// How it stands.
    pub health: Health,
    /// A binding: when its credentials expire, in seconds of Unix time.
    pub expires_at: Option<i64>,
    /// A binding: its credentials are being renewed.
    pub is_renewing: bool,
}

/// How an object stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Health {
    /// It is being deleted.
    Deleting,
    /// The condition `Failed` is true.
    Failed,
    /// The condition `Ready` is true.
    Ready,
    /// None of these.
    #[default]
    NotReady,
}

/// One version of an object. Cloning is cheap.
pub struct Cached<K>(Arc<Version<K>>);

struct Version<K> {
    name: ObjectName,
    /// The uid and the `resourceVersion`, with a space between them.
    identity: Box<str>,
    standing: Standing,
    content: Content<K>,
}

enum Content<K> {
    Decoded(Arc<K>),
    Packed(Packed<K>),
}

impl<K> Clone for Cached<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Object> Cached<K> {
    /// Keeps the object as it is.
    #[must_use]
    pub fn decoded(object: Arc<K>) -> Self {
        Self::new(&*Arc::clone(&object), Standing::default(), Content::Decoded(object))
    }

    /// Keeps the object as compressed text.
    pub(super) fn packed(object: &K, standing: Standing, packer: &Packer<K>) -> Self {
        let packed = packer.pack(object).map(Content::Packed);
        Self::new(object, standing, packed.unwrap_or_else(|| Content::Decoded(Arc::new(object.clone()))))
    }

    fn new(object: &K, standing: Standing, content: Content<K>) -> Self {
        let meta = object.meta();
        let name = ObjectName::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        let (uid, version) = (meta.uid.as_deref(), meta.resource_version.as_deref());
        let identity = format!("{} {}", uid.unwrap_or_default(), version.unwrap_or_default()).into();
        Self(Arc::new(Version { name, identity, standing, content }))
    }

    /// The object. An object that was used lately is still decoded.
    ///
    /// # Panics
    /// Never: an object is packed only if its text can be decoded.
    #[must_use]
    pub fn read(&self) -> Arc<K> {
        match &self.0.content {
            Content::Decoded(object) => Arc::clone(object),
            Content::Packed(packed) => packed.read(),
        }
    }
}

impl<K> Cached<K> {
    /// The length of the text of the object, in bytes. 0 if the object is kept as it is.
    #[must_use]
    pub fn length(&self) -> usize {
        match &self.0.content {
            Content::Decoded(_) => 0,
            Content::Packed(packed) => packed.length(),
        }
    }

    /// Namespace and name.
    #[must_use]
    pub fn name(&self) -> &ObjectName {
        &self.0.name
    }

    /// The uid; empty if there is none.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.0.identity.split_once(' ').map_or("", |(uid, _)| uid)
    }

    /// How the object stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.standing
    }

    /// Whether this is the same version of the same object, also in another list.
    pub(super) fn is_same_version(&self, other: &Self) -> bool {
        let has_version = !self.0.identity.ends_with(' ');
        has_version && self.0.identity == other.0.identity && self.0.name == other.0.name
    }

    /// An address that tells this version from all others.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}
