//! Objects as the operator leaves them. One is provisioned and bound by the operator itself. The others are copies of
//! it, so that they are as large as real ones, and stay so when the operator changes.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::broker::offering;

/// The namespace and the number of the order that the samples are made from.
pub const NAMESPACE: &str = "bench-original";
pub const NUMBER: usize = 0;

/// The names and ids that differ between copies. All have the same length in each copy, and none is part of another.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The namespace.
    pub namespace: &'static str,
    /// The number of the order. The name follows from it.
    pub number: usize,
    /// The uid.
    pub uid: String,
    /// The number of the offering.
    pub offering: usize,
}

/// The name of an instance.
pub fn instance_name(number: usize) -> String {
    format!("order-{number:06}")
}

/// The name of a binding, and of its Secret.
pub fn binding_name(number: usize) -> String {
    format!("access-{number:06}")
}

/// An object of the operator as JSON, to be copied.
pub struct Sample {
    text: String,
    original: Identity,
}

impl Sample {
    /// A sample from an object. Leaves out what the API server sets.
    pub fn of(mut object: Value, offering: usize) -> Result<Self> {
        let metadata = object["metadata"].as_object_mut().context("an object without metadata")?;
        let uid = metadata["uid"].as_str().context("an object without uid")?.to_owned();
        metadata.retain(|field, _| {
            ["name", "namespace", "annotations", "labels", "finalizers", "ownerReferences"]
                .contains(&&**field)
        });
        let original = Identity { namespace: NAMESPACE, number: NUMBER, uid, offering };
        Ok(Self { text: object.to_string(), original })
    }

    /// A copy with another identity.
    pub fn copy(&self, identity: &Identity) -> Result<Value> {
        let Identity { namespace, number, uid, offering: of } = identity;
        let original = &self.original;
        let text = self
            .text
            .replace(original.namespace, namespace)
            .replace(&instance_name(original.number), &instance_name(*number))
            .replace(&binding_name(original.number), &binding_name(*number))
            .replace(&original.uid, uid)
            .replace(&offering(original.offering), &offering(*of));
        Ok(serde_json::from_str(&text)?)
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let Identity { uid, offering, .. } = &self.original;
        let sample = json!({ "text": self.text, "uid": uid, "offering": offering });
        Ok(std::fs::write(path, sample.to_string())?)
    }

    pub fn load(path: &Path) -> Result<Self> {
        let sample: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let text =
            |field: &str| Ok::<_, anyhow::Error>(sample[field].as_str().context("no sample")?.to_owned());
        let offering = usize::try_from(sample["offering"].as_u64().context("no sample")?)?;
        let original = Identity { namespace: NAMESPACE, number: NUMBER, uid: text("uid")?, offering };
        Ok(Self { text: text("text")?, original })
    }
}
