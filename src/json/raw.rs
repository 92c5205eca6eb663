//! JSON objects that somebody else owns: kept as text, and read only when it must be known what they say.
//!
//! Whoever may create an object of ours decides what stands in its parameters, and as a tree of values a text of JSON takes up
//! to a hundred times its room: a few objects of 1 MiB would be more than the operator has. As text, what the caches hold is
//! about as large as what the API server holds. It is written as it is read, without a tree in between.
//!
//! `serde_json`'s own `RawValue` does not do: it cannot be read behind `#[serde(flatten)]`, and with it every reader of a
//! `Value` takes a member of a certain name for more JSON, which nobody has counted.

use std::{cell::Cell, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    ser::{self, SerializeMap as _, SerializeSeq as _},
};
use serde_json::{Map, Value};

/// A JSON object as compact text, digits and the order of keys kept. Cheap to clone. Two are equal that mean the same.
///
/// A key that is there twice stays so; whoever reads the text gets the last one, as with every other reader here.
#[derive(Clone)]
pub struct RawObject(Arc<str>);

impl RawObject {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        &*self.0 == "{}"
    }

    /// The object as a tree, for a moment: it takes many times the room of the text.
    ///
    /// # Errors
    /// It is deeper than readers of JSON go.
    pub fn parse(&self) -> serde_json::Result<Map<String, Value>> {
        serde_json::from_str(&self.0)
    }
}

impl From<Map<String, Value>> for RawObject {
    fn from(object: Map<String, Value>) -> Self {
        Self(Value::Object(object).to_string().into())
    }
}

/// The one that says nothing.
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
        Passing::of(&mut serde_json::Deserializer::from_str(&self.0)).serialize(serializer)
    }
}

/// All that a deserializer holds, as compact text.
///
/// # Errors
/// It holds no JSON.
pub fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    serde_json::to_string(&Passing::of(deserializer)).map_err(de::Error::custom)
}

/// What a deserializer is about to read, to be written once.
struct Passing<D>(Cell<Option<D>>);

impl<D> Passing<D> {
    fn of(deserializer: D) -> Self {
        Self(Cell::new(Some(deserializer)))
    }
}

impl<'de, D: Deserializer<'de>> Serialize for Passing<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let deserializer = self.0.take().ok_or_else(|| ser::Error::custom("it has been read already"))?;
        deserializer.deserialize_any(Onto(serializer)).map_err(ser::Error::custom)
    }
}

/// Where it is written to.
struct Onto<S>(S);

impl<'de, S: Serializer> Visitor<'de> for Onto<S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<S::Ok, E> {
        self.0.serialize_bool(value).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<S::Ok, E> {
        self.0.serialize_i64(value).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<S::Ok, E> {
        self.0.serialize_u64(value).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<S::Ok, E> {
        self.0.serialize_f64(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<S::Ok, E> {
        self.0.serialize_str(value).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<S::Ok, E> {
        self.0.serialize_unit().map_err(E::custom)
    }

    fn visit_none<E: de::Error>(self) -> Result<S::Ok, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Ok, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<S::Ok, A::Error> {
        let mut list = self.0.serialize_seq(None).map_err(de::Error::custom)?;
        while items.next_element_seed(Item(&mut list))?.is_some() {}
        list.end().map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<S::Ok, A::Error> {
        let mut object = self.0.serialize_map(None).map_err(de::Error::custom)?;
        while members.next_key_seed(Key(&mut object))?.is_some() {
            members.next_value_seed(Member(&mut object))?;
        }
        object.end().map_err(de::Error::custom)
    }
}

struct Item<'s, S>(&'s mut S);

impl<'de, S: ser::SerializeSeq> DeserializeSeed<'de> for Item<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.serialize_element(&Passing::of(deserializer)).map_err(de::Error::custom)
    }
}

struct Key<'s, S>(&'s mut S);

impl<'de, S: ser::SerializeMap> DeserializeSeed<'de> for Key<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.serialize_key(&Passing::of(deserializer)).map_err(de::Error::custom)
    }
}

struct Member<'s, S>(&'s mut S);

impl<'de, S: ser::SerializeMap> DeserializeSeed<'de> for Member<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.serialize_value(&Passing::of(deserializer)).map_err(de::Error::custom)
    }
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
            // Beside what is flattened, everything is buffered.
            let spec: ServiceInstanceSpec =
                serde_json::from_str(&format!(r#"{{"parameters":{text}}}"#)).unwrap();
            assert_eq!(spec.parameters.unwrap().text(), text);
        }
    }

    #[test]
    fn blanks_go_and_of_a_key_that_is_there_twice_the_last_one_counts() {
        let object = raw(" {\n\"a\" : 1, \"b\": [ 1 , 2 ],\t\"a\": 3 } ");
        assert_eq!(object.text(), r#"{"a":1,"b":[1,2],"a":3}"#);
        assert_eq!(Value::Object(object.parse().unwrap()), json!({"a": 3, "b": [1, 2]}));
    }

    #[test]
    fn two_are_equal_that_mean_the_same() {
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
    fn an_object_takes_the_room_of_its_text() {
        let text = format!("{{\"a\":[{}0]}}", "0,".repeat(1000));
        let object = raw(&text);
        let copy = object.clone();
        assert_eq!((object.text().len(), copy.text().as_ptr()), (text.len(), object.text().as_ptr()));
        assert!(size_of::<Option<RawObject>>() <= 16);
    }
}
