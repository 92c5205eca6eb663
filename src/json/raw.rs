//! JSON objects that belong to users or brokers. They are kept as text, and parsed only where their content
//! is needed.
//!
//! A user who may create our objects decides on the size of their parameters, and a tree of values takes up
//! to a hundred times the memory of its text: a few objects of 1 MiB would exhaust the memory of the
//! operator. With text, the caches take about as much memory as the API server does. The text is copied from
//! reader to writer without a tree in between.
//!
//! `serde_json::value::RawValue` cannot be used. It fails with `#[serde(flatten)]`. Its cargo feature also
//! makes every reader of a `Value` parse the member of a certain name as JSON, without a check of its size.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use serde_transcode::{Transcoder, transcode};

/// A JSON object as compact text. It keeps the digits of numbers and the order of keys. Cloning is cheap. Two
/// objects are equal if their content is equal.
///
/// An object can have a key twice. A reader of the text gets the last value, as every other reader in this
/// crate does.
///
/// ```
/// use service_catalog::json::RawObject;
///
/// let object: RawObject = serde_json::from_str(r#"{ "size": 1.0, "name": "db" }"#)?;
/// assert_eq!(object.text(), r#"{"size":1.0,"name":"db"}"#);
/// assert_eq!(object, serde_json::from_str(r#"{"name":"db","size":1.0}"#)?);
/// assert!(serde_json::from_str::<RawObject>("[]").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct RawObject(Arc<str>);

impl RawObject {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether the object has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        &*self.0 == "{}"
    }

    /// Parses the object. The tree takes many times the memory of the text, so drop it soon.
    ///
    /// # Errors
    /// The object has 128 levels or more.
    pub fn parse(&self) -> serde_json::Result<Map<String, Value>> {
        serde_json::from_str(&self.0)
    }
}

impl From<Map<String, Value>> for RawObject {
    fn from(object: Map<String, Value>) -> Self {
        Self(Value::Object(object).to_string().into())
    }
}

/// An object without members.
impl Default for RawObject {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for RawObject {
    fn eq(&self, other: &Self) -> bool {
        let same = || Some(self.parse().ok()? == other.parse().ok()?);
        self.0 == other.0 || same().unwrap_or(false)
    }
}

impl Eq for RawObject {}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        if text.starts_with('{') {
            Ok(Self(text.into()))
        } else {
            Err(de::Error::custom("this is not an object"))
        }
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        transcode(&mut serde_json::Deserializer::from_str(&self.0), serializer)
    }
}

/// The next value of a deserializer, as compact JSON text.
///
/// # Errors
/// The deserializer has no value that JSON can express.
pub fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    serde_json::to_string(&Transcoder::new(deserializer)).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::ServiceInstanceSpec;

    const TEXTS: [&str; 8] = [
        "{}",
        r#"{"b":1,"a":[true,false,null,{}],"":{"":[[],[0]]}}"#,
        r#"{"max":18446744073709551615,"min":-9223372036854775808,"zero":-0.0}"#,
        r#"{"sum":0.30000000000000004,"odd":0.10957860598549463,"tiny":5e-324,"huge":1.7976931348623157e+308}"#,
        r#"{"quote\"":"\\ \n \u0001 \u007f é 𝄞 <&>"}"#,
        r#"{"$serde_json::private::RawValue":"[0,0,0]"}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"{"a":{"$serde_json::private::RawValue":"[0,0,0]"}}"#,
    ];

    fn raw(text: &str) -> RawObject {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn digits_and_the_order_of_keys_are_kept_through_every_reader_and_writer() {
        for text in TEXTS {
            let text = text.replace(r"\u007f", "\u{7f}");
            let object = raw(&text);
            assert_eq!(object.text(), text);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_value(&object).unwrap(), value);
            assert_eq!(Value::Object(object.parse().unwrap()), value);
            assert_eq!(serde_json::from_value::<RawObject>(value).unwrap().text(), text);
            assert_eq!(serde_json::to_string(&object).unwrap(), text);
            // serde buffers all members beside a flattened field.
            let spec: ServiceInstanceSpec =
                serde_json::from_str(&format!(r#"{{"parameters":{text}}}"#)).unwrap();
            assert_eq!(spec.parameters.unwrap().text(), text);
        }
    }

    #[test]
    fn white_space_is_dropped_and_the_last_of_two_equal_keys_counts() {
        let object = raw(" {\n\"a\" : 1, \"b\": [ 1 , 2 ],\t\"a\": 3 } ");
        assert_eq!(object.text(), r#"{"a":1,"b":[1,2],"a":3}"#);
        assert_eq!(Value::Object(object.parse().unwrap()), json!({"a": 3, "b": [1, 2]}));
    }

    #[test]
    fn objects_with_the_same_content_are_equal() {
        assert_eq!(raw(r#"{"a":1,"b":{"c":2,"d":3}}"#), raw(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_eq!(raw(r#"{"a":1,"a":2}"#), raw(r#"{"a":2}"#));
        assert_ne!(raw(r#"{"a":[1,2]}"#), raw(r#"{"a":[2,1]}"#));
        assert_ne!(raw(r#"{"a":1}"#), raw("{}"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "1", "\"{}\"", "null", "", "{", "{\"a\":}", "{\"a\":1e400}"] {
            assert!(serde_json::from_str::<RawObject>(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Option<RawObject>>("null").unwrap(), None);
    }

    #[test]
    fn an_object_takes_as_much_memory_as_its_text() {
        let text = format!("{{\"a\":[{}0]}}", "0,".repeat(1000));
        let object = raw(&text);
        let copy = object.clone();
        assert_eq!((object.text().len(), copy.text().as_ptr()), (text.len(), object.text().as_ptr()));
        assert!(size_of::<Option<RawObject>>() <= 16);
    }
}
