//! Do the parameters of a request follow the schema of the plan? All functions are pure.
//!
//! A schema that cannot be used is not enforced: the broker checks parameters as well. The condition of the broker
//! names such schemas when the catalog is fetched (`osb::catalog`).

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
};

use serde_json::Value;

use super::{Merged, Parameters, QUOTE_LIMIT};
use crate::{
    json::RawObject,
    json_schema::{SHOWN, Schema, Step},
    memory_budget::one_at_a_time,
    printable::clip,
};

/// The annotation on a broker object that switches the check off, with the value `false`. It is not a field of the
/// spec, because clients of v0.3 write back whole specs, and would remove a field that they do not know.
pub const ANNOTATION: &str = "servicecatalog.k8s.io/validate-parameters";

/// Whether parameters for a broker with these annotations are checked.
#[must_use]
pub fn is_checked(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(ANNOTATION).is_none_or(|value| value != "false")
}

/// The message about rules that the parameters break.
#[must_use]
pub fn message(broken: &str, plan: &str) -> String {
    format!(
        "{broken}; correct the parameters: they do not follow the schema of the plan {plan:?}, and the operator sends no \
         request until they do. If the schema is wrong, annotate the broker object with {ANNOTATION}=false"
    )
}

impl Parameters {
    /// The rules of a schema that the parameters break, without any value. `None` if there are none, if the schema
    /// cannot be used, or if the check takes too long. Without parameters, an empty object is checked.
    #[must_use]
    pub fn violations(&self, schema: &RawObject) -> Option<String> {
        let schema = Schema::read(schema).ok()?;
        one_at_a_time(self.length(), || {
            let Merged { all, secret_keys } = self.tree().ok()?;
            let broken = schema.check(&Value::Object(all)).ok()?;
            let shown = broken.iter().take(SHOWN);
            let shown = shown.map(|broken| format!("{}: {}", place(&broken.path, &secret_keys), broken.rule));
            let mut shown: Vec<_> = shown.collect();
            if broken.len() > SHOWN {
                shown.push("and more".to_owned());
            }
            (!shown.is_empty()).then(|| shown.join("; "))
        })
    }
}

/// A path, for people. It ends at a key that comes from a Secret, as the keys in its value may be secret too.
fn place(path: &[Step], secret_keys: &HashSet<String>) -> String {
    if let Some(Step::Key(key)) = path.first()
        && secret_keys.contains(key)
    {
        return format!("spec.parametersFrom: {:?}", clip(key, QUOTE_LIMIT));
    }
    let mut place = "spec.parameters".to_owned();
    for step in path {
        let is_plain =
            |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        // A `String` takes everything.
        let _ = match step {
            Step::Key(key) if is_plain(key) && !key.is_empty() => write!(place, ".{key}"),
            Step::Key(key) => write!(place, "[{:?}]", clip(key, QUOTE_LIMIT)),
            Step::Index(index) => write!(place, "[{index}]"),
        };
    }
    clip(&place, QUOTE_LIMIT)
}
