//! How are the parameters of a request merged? They come from the spec and from Secrets. The status shows
//! them without the values from Secrets, and with the checksum of v0.3, so that objects of v0.3 do not look
//! changed.
//!
//! Parameters are a tree of values only while they are merged, and only after the values were counted.
//! Reconciles keep them as text, because many reconciles may wait for brokers.

pub mod schema;
mod sources;

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use self::sources::{MAX_SECRET_BYTES, Source, SourceValue, read};
use super::{hex::hex, legacy::checksum};
use crate::{
    crd::common::JsonObject,
    json::{MAX_DEPTH, MAX_VALUES, RawObject, depth, values},
    memory_budget::{Reservation, one_at_a_time},
    osb::redact::redact,
    printable::{clip, display},
};

/// How much of a name or key a message quotes, in bytes. A key of JSON in a Secret may be as long as the
/// Secret.
const QUOTE_LIMIT: usize = 256;

/// The most bytes of `spec.parameters`. The API server stores objects of up to 1.5 MiB, and the operator adds a
/// status. If the status had no room, the operator could not record that the broker has the instance.
pub const MAX_INLINE_BYTES: usize = 1 << 20;

/// The most bytes of parameters that the status shows. It has them twice during an update.
pub const MAX_SHOWN_BYTES: usize = 128 << 10;

/// The status has this text in place of a value from a Secret.
pub const REDACTED: &str = "<redacted>";

/// The parameters of a request. It has no `Debug`, as some values come from Secrets.
#[derive(Clone, Default)]
pub struct Parameters {
    /// All parameters. `None` if there are none.
    sent: Option<RawObject>,
    /// The same, with [`REDACTED`] in place of each value from a Secret.
    shown: Option<RawObject>,
    checksum: String,
    /// The memory for it, if it was reserved. Copies share it.
    _memory: Option<Arc<Reservation>>,
}

/// Why the parameters cannot be merged. The message names the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParametersError {
    /// A sentence for users.
    pub message: String,
}

/// Merges the parameters of the spec and those from Secrets. No key may occur twice. Pure.
///
/// # Errors
/// A Secret or key is missing; a value is not a JSON object, or is too deep or too large; or a key occurs
/// twice.
pub fn merge(inline: Option<&RawObject>, sources: &[Source]) -> Result<Parameters, ParametersError> {
    let of_secret = |source: &Source| match &source.value {
        SourceValue::Bytes(bytes) => bytes.len(),
        SourceValue::NoSecret | SourceValue::NoKey | SourceValue::TooLarge => 0,
    };
    let length =
        sources.iter().map(of_secret).sum::<usize>() + inline.map_or(0, |inline| inline.text().len());
    one_at_a_time(length, || merge_now(inline, sources))
}

fn merge_now(inline: Option<&RawObject>, sources: &[Source]) -> Result<Parameters, ParametersError> {
    let mut budget = ValueBudget::default();
    let mut merged = Merged::default();
    if let Some(inline) = inline {
        refuse_longer("spec.parameters: the value", inline, MAX_INLINE_BYTES)?;
        budget
            .take(inline.text().as_bytes())
            .map_err(|excess| error_at("spec.parameters: the value", &excess))?;
    }
    for (index, source) in sources.iter().enumerate() {
        for (key, value) in object_of(index, source, &mut budget)? {
            merged.secret_keys.insert(key.clone());
            merged.add(key, value)?;
        }
    }
    for (key, value) in
        inline.map(|inline| parsed("spec.parameters", inline)).transpose()?.into_iter().flatten()
    {
        merged.add(key, value)?;
    }
    merged.finish()
}

fn object_of(index: usize, source: &Source, budget: &mut ValueBudget) -> Result<JsonObject, ParametersError> {
    let (name, key) = (clip(&source.reference.name, QUOTE_LIMIT), clip(&source.reference.key, QUOTE_LIMIT));
    let field = format!("spec.parametersFrom[{index}].secretKeyRef");
    let complain = |what: &str| ParametersError { message: format!("{field}: {what}") };
    let bytes = match &source.value {
        SourceValue::NoSecret => {
            return Err(complain(&format!(
                "the Secret {name:?} does not exist; create it in this namespace"
            )));
        }
        SourceValue::NoKey => {
            let what =
                format!("the Secret {name:?} has no key {key:?}; add it, with a JSON object as its value");
            return Err(complain(&what));
        }
        SourceValue::TooLarge => {
            let what =
                format!("with the Secret {name:?} there are more than {MAX_SECRET_BYTES} bytes from Secrets");
            return Err(complain(&format!("{what}, which is too much for one request")));
        }
        SourceValue::Bytes(bytes) => bytes,
    };
    let what = format!("the value of key {key:?} of the Secret {name:?}");
    // A value that is not an object is not parsed, so its size does not matter.
    if bytes.trim_ascii_start().starts_with(b"{") {
        budget.take(bytes).map_err(|excess| complain(&format!("{what} {excess}")))?;
    }
    // The parser's message is not shown, as it would quote the secret.
    serde_json::from_slice(bytes)
        .map_err(|_| complain(&format!("{what} is not a JSON object, such as {{\"name\": \"value\"}}")))
}

/// The number of values that one request may still have. It limits the tree of values during the merge.
struct ValueBudget {
    left: usize,
}

impl Default for ValueBudget {
    fn default() -> Self {
        Self { left: MAX_VALUES }
    }
}

impl ValueBudget {
    /// Counts the values of one more object. The error says which limit it exceeds (see [`MAX_DEPTH`] and
    /// [`MAX_VALUES`]).
    fn take(&mut self, text: &[u8]) -> Result<(), String> {
        if depth(text) > MAX_DEPTH {
            return Err(format!("is nested too deep: {MAX_DEPTH} levels of arrays and objects are the most"));
        }
        let count = values(text);
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            let others = match MAX_VALUES - self.left {
                0 => String::new(),
                others => format!(", beside {others} in other parameters"),
            };
            format!("has {count} values{others}: {MAX_VALUES} are the most, counting each array and object as well")
        })?;
        Ok(())
    }
}

/// Parameters of an object that has to stay small enough for the API server.
fn refuse_longer(what: &str, object: &RawObject, most: usize) -> Result<(), ParametersError> {
    let length = object.text().len();
    if length <= most {
        return Ok(());
    }
    let excess = format!("has {length} bytes: {most} are the most; give the broker such data in another way");
    Err(error_at(what, &excess))
}

fn error_at(what: &str, excess: &str) -> ParametersError {
    ParametersError { message: format!("{what} {excess}") }
}

/// Parses an object whose values were counted.
fn parsed(field: &str, object: &RawObject) -> Result<JsonObject, ParametersError> {
    object.parse().map_err(|_| error_at(field, "cannot be read"))
}

/// The parameters while they are merged.
#[derive(Default)]
struct Merged {
    all: JsonObject,
    secret_keys: HashSet<String>,
}

impl Merged {
    fn add(&mut self, key: String, value: Value) -> Result<(), ParametersError> {
        if self.all.contains_key(&key) {
            return Err(duplicate(&key));
        }
        self.all.insert(key, value);
        Ok(())
    }

    fn finish(self) -> Result<Parameters, ParametersError> {
        let Self { mut all, secret_keys } = self;
        if all.is_empty() {
            return Ok(Parameters::default());
        }
        let serialized = |object: &JsonObject| {
            RawObject::deserialize(object).map_err(|_| error_at("the parameters", "cannot be written"))
        };
        let checksum = hex(&Sha256::digest(checksum::text(&all).as_bytes()));
        let sent = serialized(&all)?;
        let shown = if secret_keys.is_empty() {
            sent.clone()
        } else {
            let hidden = all.iter_mut().filter(|(key, _)| secret_keys.contains(*key));
            hidden.for_each(|(_, value)| *value = REDACTED.into());
            serialized(&all)?
        };
        Ok(Parameters { sent: Some(sent), shown: Some(shown), checksum, _memory: None })
    }
}

fn duplicate(key: &str) -> ParametersError {
    let key = clip(key, QUOTE_LIMIT);
    ParametersError {
        message: format!(
            "conflict: duplicate entry for parameter {key:?}; give it only once in spec.parameters and spec.parametersFrom"
        ),
    }
}

/// Merges two objects. Members that are objects in both are merged in the same way. For other members, the
/// value of `upper` counts. `None` if both are empty.
#[must_use]
pub fn merge_objects(lower: Option<&JsonObject>, upper: Option<&JsonObject>) -> Option<JsonObject> {
    let mut merged = lower.cloned().unwrap_or_default();
    for (key, value) in upper.into_iter().flatten() {
        match (merged.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => {
                *below = merge_objects(Some(below), Some(above)).unwrap_or_default();
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    (!merged.is_empty()).then_some(merged)
}

/// The defaults of a plan merged over those of its class. `None` if both are empty.
///
/// # Errors
/// The defaults are too deep, have too many values, or are longer than the status may show.
pub fn merge_defaults(
    of_class: Option<&RawObject>,
    of_plan: Option<&RawObject>,
) -> Result<Option<RawObject>, ParametersError> {
    let mut budget = ValueBudget::default();
    for given in [of_class, of_plan].into_iter().flatten() {
        budget.take(given.text().as_bytes()).map_err(|excess| error_at(DEFAULTS, &excess))?;
    }
    let tree = |given: Option<&RawObject>| given.map(|given| parsed(DEFAULTS, given)).transpose();
    let merged = merge_objects(tree(of_class)?.as_ref(), tree(of_plan)?.as_ref());
    let merged = merged.map(without_nulls).filter(|merged| !merged.is_empty()).map(RawObject::from);
    merged.iter().try_for_each(|merged| refuse_longer(DEFAULTS, merged, MAX_SHOWN_BYTES))?;
    Ok(merged)
}

/// Removes defaults that are null. Defaults are recorded in status by a merge patch, in which null removes a
/// field. So a null would be sent with the first request, and not with its repetition.
fn without_nulls(object: JsonObject) -> JsonObject {
    let deeper = |value| match value {
        Value::Object(members) => Value::Object(without_nulls(members)),
        other => other,
    };
    let kept = object.into_iter().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| (key, deeper(value))).collect()
}

const DEFAULTS: &str = "the defaultProvisionParameters of the class and the plan: the value";

impl Parameters {
    /// These parameters merged over defaults. A key that comes from a Secret has only the Secret's value.
    ///
    /// # Errors
    /// The parameters or the defaults are too deep, or have too many values.
    pub fn with_defaults(self, defaults: Option<&RawObject>) -> Result<Self, ParametersError> {
        let Some(defaults) = defaults else {
            return Ok(self);
        };
        one_at_a_time(self.length() + defaults.text().len(), || self.with_given_defaults(defaults))
    }

    fn with_given_defaults(self, defaults: &RawObject) -> Result<Self, ParametersError> {
        let mut budget = ValueBudget::default();
        if let Some(sent) = &self.sent {
            budget.take(sent.text().as_bytes()).map_err(|excess| error_at("the parameters", &excess))?;
        }
        budget.take(defaults.text().as_bytes()).map_err(|excess| error_at(DEFAULTS, &excess))?;
        let Merged { all, secret_keys } = self.tree()?;
        let mut defaults = parsed(DEFAULTS, defaults)?;
        defaults.retain(|key, _| !secret_keys.contains(key));
        let all = merge_objects(Some(&defaults), Some(&all)).unwrap_or_default();
        Merged { all, secret_keys }.finish()
    }

    /// The length of the text for the broker, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.sent.as_ref().map_or(0, |sent| sent.text().len())
    }

    /// These parameters with the memory that was reserved for them.
    #[must_use]
    pub fn keeping(self, memory: Option<Arc<Reservation>>) -> Self {
        Self { _memory: memory, ..self }
    }

    /// The parameters for the broker. `None` if there are none.
    #[must_use]
    pub fn to_send(&self) -> Option<RawObject> {
        self.sent.clone()
    }

    /// The parameters for status, without values from Secrets. `None` if there are none, or more than
    /// [`MAX_SHOWN_BYTES`].
    #[must_use]
    pub fn to_show(&self) -> Option<RawObject> {
        self.shown.clone().filter(|shown| shown.text().len() <= MAX_SHOWN_BYTES)
    }

    /// SHA-256 of the parameters as Go's `encoding/json` writes them, in hexadecimal. Empty if there are
    /// none.
    #[must_use]
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// Replaces values from Secrets that a broker's text repeats, also in the form in which such texts are
    /// shown. Values of fewer than four characters stay: they are no secrets, and without them little of the
    /// text would remain.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        one_at_a_time(self.length(), || self.redact_now(text))
    }

    fn redact_now(&self, text: &str) -> String {
        let Ok(Merged { all, secret_keys }) = self.tree() else {
            return REDACTED.to_owned();
        };
        let mut secrets = Vec::new();
        for key in &secret_keys {
            if let Some(value) = all.get(key) {
                collect_strings(value, &mut secrets);
            }
        }
        let shown: Vec<_> = secrets.iter().map(|secret| Zeroizing::new(display(secret))).collect();
        secrets.extend(shown);
        secrets.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
        redact(text, &secrets)
    }

    /// All parameters, and the keys that come from Secrets. A value of the spec that is [`REDACTED`] counts
    /// as one from a Secret. That does no harm: it is not an object that defaults are merged into, and
    /// replacing it in a text does not change the text.
    fn tree(&self) -> Result<Merged, ParametersError> {
        let tree = |object: &Option<RawObject>| {
            object.as_ref().map_or_else(|| Ok(JsonObject::new()), |object| parsed("the parameters", object))
        };
        let (all, shown) = (tree(&self.sent)?, tree(&self.shown)?);
        let secret_keys =
            shown.into_iter().filter(|(_, value)| value == REDACTED).map(|(key, _)| key).collect();
        Ok(Merged { all, secret_keys })
    }
}

/// The fewest characters of a value that is replaced in texts.
const SHORTEST_SECRET: usize = 4;

fn collect_strings(value: &Value, into: &mut Vec<Zeroizing<String>>) {
    match value {
        Value::String(text) if !text.is_empty() => into.push(Zeroizing::new(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| collect_strings(item, into)),
        Value::Object(members) => members.values().for_each(|member| collect_strings(member, into)),
        Value::Number(number) => into.push(Zeroizing::new(number.to_string())),
        Value::String(_) | Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests;
