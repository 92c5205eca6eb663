//! A class or plan object brought up to date with the catalog. Only fields that the catalog sets change, and
//! only if their meaning differs. Pure.
//!
//! The API server does not always return the bytes that it received (`649.0` comes back as `649`, a null may
//! be dropped), and the order of tags has no meaning. So values are compared by their meaning, and an
//! unchanged catalog causes no write.

use serde_json::{Number, Value};

use super::owner::{self, Ownership};
use crate::{
    crd::{
        class::CommonServiceClassSpec,
        common::JsonObject,
        plan::CommonServicePlanSpec,
        scope::{BrokerObject, CatalogObject, ClassObject, PlanObject},
    },
    json::{MAX_VALUES, RawObject, has_at_most},
    reconcilers::catalog_object::labels,
};

/// The class with the fields of the catalog. Fields that users set stay as they are.
#[must_use]
pub fn class<C: ClassObject, B: BrokerObject>(present: &C, wanted: &C, broker: &B) -> C {
    let (old, new) = (present.common(), wanted.common().clone());
    let common = CommonServiceClassSpec {
        external_metadata: object(old.external_metadata.as_ref(), new.external_metadata),
        tags: keep_order(&old.tags, new.tags),
        requires: keep_order(&old.requires, new.requires),
        default_provision_parameters: old.default_provision_parameters.clone(),
        ..new
    };
    with_labels_and_owner(present.clone().with_common(common), broker)
}

/// The plan with the fields of the catalog. Fields that users set stay as they are.
#[must_use]
pub fn plan<P: PlanObject, B: BrokerObject>(present: &P, wanted: &P, broker: &B) -> P {
    let (old, new) = (present.common(), wanted.common().clone());
    let common = CommonServicePlanSpec {
        external_metadata: object(old.external_metadata.as_ref(), new.external_metadata),
        instance_create_parameter_schema: object(
            old.instance_create_parameter_schema.as_ref(),
            new.instance_create_parameter_schema,
        ),
        instance_update_parameter_schema: object(
            old.instance_update_parameter_schema.as_ref(),
            new.instance_update_parameter_schema,
        ),
        service_binding_create_parameter_schema: object(
            old.service_binding_create_parameter_schema.as_ref(),
            new.service_binding_create_parameter_schema,
        ),
        default_provision_parameters: old.default_provision_parameters.clone(),
        ..new
    };
    with_labels_and_owner(present.clone().with_common(common), broker)
}

/// Adds the lookup labels, and the owner reference if no other object owns the entry.
fn with_labels_and_owner<E: CatalogObject, B: BrokerObject>(entry: E, broker: &B) -> E {
    let entry = match owner::of(&entry, broker) {
        Ownership::Ours | Ownership::Foreign => entry,
        Ownership::None | Ownership::Stale => owner::adopted(entry, broker),
    };
    labels::labelled(entry)
}

/// The new list, or the old one if only the order differs.
fn keep_order(old: &[String], new: Vec<String>) -> Vec<String> {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    if sorted(old) == sorted(&new) { old.to_vec() } else { new }
}

/// The new object, or the old one if their meaning is the same.
fn object(old: Option<&RawObject>, new: Option<RawObject>) -> Option<RawObject> {
    let same = old.map(RawObject::text) == new.as_ref().map(RawObject::text)
        || meaning(old).is_some_and(|old| meaning(new.as_ref()).is_some_and(|new| old == new));
    if same { old.cloned() } else { new }
}

/// The meaning of an object. A missing object means the same as an empty one. `None` for an object that is
/// larger than any from a catalog: it is not parsed.
fn meaning(object: Option<&RawObject>) -> Option<JsonObject> {
    let Some(object) = object else {
        return Some(JsonObject::new());
    };
    if !has_at_most(MAX_VALUES, object.text().as_bytes()) {
        return None;
    }
    Some(members(&object.parse().ok()?))
}

fn members(object: &JsonObject) -> JsonObject {
    let present = object.iter().filter(|(_, value)| !value.is_null());
    present.map(|(key, value)| (key.clone(), normalized(value))).collect()
}

/// A value as the API server may return it: without nulls, and with numbers in one form.
fn normalized(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(members(object)),
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(normalized).collect(),
        Value::Number(number) => normalized_number(number),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// A whole number that fits 64 bits is an integer, any other a double, as in the API server.
fn normalized_number(number: &Number) -> Value {
    let Some(double) = number.as_f64().filter(|_| !number.is_i64()) else {
        return Value::Number(number.clone());
    };
    if double.fract() == 0.0
        && let Ok(integer) = format!("{double:.0}").parse::<i64>()
    {
        return integer.into();
    }
    double.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Option<RawObject> {
        match value {
            Value::Object(map) => Some(map.into()),
            Value::Null => None,
            other => panic!("{other} is not an object"),
        }
    }

    #[test]
    fn an_object_that_means_the_same_is_kept_as_it_is() {
        for (old, new, kept) in [
            (json!({"usd": 649}), json!({"usd": 649.0}), true),
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), true),
            (json!({"a": {"b": [1]}}), json!({"a": {"b": [1.0], "c": null}}), true),
            (json!({"n": 18_446_744_073_709_552_000.0}), json!({"n": 18_446_744_073_709_551_615_u64}), true),
            (json!({"n": -0.0}), json!({"n": 0}), true),
            (json!(null), json!({"only": null}), true),
            (json!({"usd": 649}), json!({"usd": 649.5}), false),
            (json!({"a": [1, 2]}), json!({"a": [2, 1]}), false),
            (json!({"a": 1}), json!(null), false),
            (json!(null), json!({"a": 1}), false),
        ] {
            let result = object(map(old.clone()).as_ref(), map(new.clone()));
            assert_eq!(result, map(if kept { old } else { new }));
        }
    }

    #[test]
    fn an_object_of_more_values_than_a_catalog_can_have_is_replaced_unread() {
        let new = map(json!({"b": 2, "a": vec![0; MAX_VALUES - 3]}));
        let old = map(json!({"a": vec![0; MAX_VALUES - 3], "b": 2}));
        assert_eq!(object(old.as_ref(), new.clone()).unwrap().text(), old.unwrap().text());
        let huge = map(json!({"b": 2, "a": vec![0; MAX_VALUES]}));
        let old = map(json!({"a": vec![0; MAX_VALUES], "b": 2}));
        assert_eq!(object(old.as_ref(), huge.clone()).unwrap().text(), huge.unwrap().text());
    }

    #[test]
    fn tags_in_another_order_are_the_same_tags() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(keep_order(&list(&["a", "b"]), list(&["b", "a"])), list(&["a", "b"]));
        assert_eq!(keep_order(&list(&["a", "b"]), list(&["b", "a", "a"])), list(&["b", "a", "a"]));
    }
}
