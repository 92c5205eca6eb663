//! What is merged, shown and refused.

use serde_json::json;

use super::*;
use crate::crd::common::SecretKeyReference;

fn object(value: &Value) -> RawObject {
    value.as_object().cloned().unwrap().into()
}

fn source(value: SourceValue) -> Source {
    Source { reference: SecretKeyReference { name: "s".into(), key: "k".into() }, value }
}

fn holding(text: &str) -> Source {
    source(SourceValue::of(text.as_bytes().to_vec()))
}

// v0.3 D5
#[test]
fn inline_and_secret_parameters_are_one_object() {
    let inline = object(&json!({"a": 1}));
    let parameters = merge(Some(&inline), &[holding(r#"{"b": {"c": "hunter2"}}"#)]).ok().unwrap();
    assert_eq!(parameters.to_send(), Some(object(&json!({"a": 1, "b": {"c": "hunter2"}}))));
    assert_eq!(parameters.to_show(), Some(object(&json!({"a": 1, "b": "<redacted>"}))));
    assert_eq!(parameters.redact("bad value hunter2 for c"), "bad value <redacted> for c");
}

#[test]
fn one_object_over_another_is_merged_all_the_way_down() {
    let over = |lower: Value, upper: Value| {
        merge_objects(lower.as_object(), upper.as_object()).map_or(Value::Null, Value::Object)
    };
    let rows = [
        (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
        (
            json!({"a": {"b": {"c": 1, "d": 2}}}),
            json!({"a": {"b": {"d": 3}}}),
            json!({"a": {"b": {"c": 1, "d": 3}}}),
        ),
        (json!({"a": {"b": 1}}), json!({"a": 2}), json!({"a": 2})),
        (json!({"a": 2}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
        (json!({"a": 1}), json!({"a": null}), json!({"a": null})),
        (json!({}), json!({}), Value::Null),
    ];
    for (lower, upper, merged) in rows {
        assert_eq!(over(lower.clone(), upper.clone()), merged, "{upper} over {lower}");
    }
}

#[test]
fn defaults_never_show_through_a_key_of_a_secret() {
    let given = merge(Some(&object(&json!({"a": {"x": 1}}))), &[holding(r#"{"b": {"c": "hunter2"}}"#)]);
    let defaults = object(&json!({"a": {"y": 2}, "b": {"c": "plain", "d": 3}, "e": 4}));
    let parameters = given.ok().unwrap().with_defaults(Some(&defaults)).ok().unwrap();
    let expected = json!({"a": {"x": 1, "y": 2}, "b": {"c": "hunter2"}, "e": 4});
    assert_eq!(parameters.to_send(), Some(object(&expected)));
    let shown = json!({"a": {"x": 1, "y": 2}, "b": "<redacted>", "e": 4});
    assert_eq!(parameters.to_show(), Some(object(&shown)));
    assert_eq!(merge(None, &[]).ok().unwrap().with_defaults(None).ok().unwrap().to_send(), None);
    let deep = (0..MAX_DEPTH).fold(json!(1), |below, _| json!({ "a": below }));
    let refused = merge(None, &[]).ok().unwrap().with_defaults(Some(&object(&json!({ "b": deep })))).err();
    assert!(refused.unwrap().message.starts_with("the defaultProvisionParameters of the class and the plan"));
}

#[test]
fn the_checksum_is_over_the_whole() {
    let parameters = merge(Some(&object(&json!({"name": "test", "args": {"x": 1}}))), &[]).ok().unwrap();
    assert_eq!(parameters.checksum(), hex(&Sha256::digest(br#"{"args":{"x":1},"name":"test"}"#)));
}

// OSB 88
// v0.3 D5
#[test]
fn nothing_is_sent_when_there_is_nothing() {
    let parameters = merge(Some(&object(&json!({}))), &[holding("{}")]).ok().unwrap();
    assert_eq!((parameters.to_send(), parameters.to_show(), parameters.checksum()), (None, None, ""));
}

#[test]
fn every_fault_names_the_field_and_what_to_do() {
    let message =
        |inline: Value, sources: &[Source]| merge(Some(&object(&inline)), sources).err().unwrap().message;
    assert!(
        message(json!({}), &[source(SourceValue::NoSecret)])
            .contains(r#"spec.parametersFrom[0].secretKeyRef: the Secret "s" does not exist"#)
    );
    assert!(message(json!({}), &[source(SourceValue::NoKey)]).contains(r#"has no key "k""#));
    for value in ["", "[]", "7", "hunter2", "{\"a\":"] {
        let message = message(json!({}), &[holding(value)]);
        assert!(message.contains("is not a JSON object") && !message.contains("hunter2"), "{message}");
    }
    assert!(
        message(json!({"a": 1}), &[holding(r#"{"a": 2}"#)]).contains(r#"duplicate entry for parameter "a""#)
    );
    let twice = [holding(r#"{"a": 2}"#), holding(r#"{"a": 2}"#)];
    assert!(message(json!({}), &twice).contains("duplicate"));
}

// OSB 88
#[test]
fn parameters_that_are_too_deep_are_refused_by_field_wherever_they_come_from() {
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let inline = |levels| object(&serde_json::from_str(&nested(levels)).unwrap());
    assert!(merge(Some(&inline(64)), &[]).is_ok());
    assert!(merge(None, &[holding(&nested(64))]).is_ok());
    let said = |result: Result<Parameters, ParametersError>| result.err().unwrap().message;
    let message = said(merge(Some(&inline(65)), &[]));
    assert_eq!(
        message,
        "spec.parameters: the value is nested too deep: 64 levels of arrays and objects are the most"
    );
    // At the second, our reader of JSON gives up.
    for levels in [65, 200, 100_000] {
        let message = said(merge(None, &[holding(&nested(levels))]));
        assert!(
            message.starts_with("spec.parametersFrom[0].secretKeyRef: the value of key \"k\""),
            "{message}"
        );
        assert!(message.contains("64 levels"), "{message}");
    }
    let brackets = format!("{{\"a\": \"{}\"}}", "[".repeat(100));
    assert!(merge(None, &[holding(&brackets)]).is_ok());
}

/// An object of so many values: itself, a list, and what is in that.
fn zeros(values: usize) -> String {
    format!("{{\"a\":[{}0]}}", "0,".repeat(values - 3))
}

// OSB 88
// v0.3 D5
#[test]
fn parameters_of_too_many_values_are_refused_by_field_wherever_they_come_from() {
    let inline = |values| serde_json::from_str::<RawObject>(&zeros(values)).unwrap();
    let other = |values| holding(&zeros(values).replace('a', "b"));
    assert_eq!(values(zeros(MAX_VALUES).as_bytes()), MAX_VALUES);
    assert!(merge(Some(&inline(MAX_VALUES)), &[]).is_ok());
    assert!(merge(None, &[other(MAX_VALUES)]).is_ok());
    assert!(merge(Some(&inline(60_000)), &[other(40_000)]).is_ok());
    let most = "100000 are the most, counting each array and object as well";
    let field = "spec.parametersFrom[0].secretKeyRef: the value of key \"k\" of the Secret \"s\"";
    for (inline, sources, message) in [
        (Some(inline(100_001)), vec![], format!("spec.parameters: the value has 100001 values: {most}")),
        (None, vec![other(100_001)], format!("{field} has 100001 values: {most}")),
        (
            Some(inline(60_000)),
            vec![other(40_001)],
            format!("{field} has 40001 values, beside 60000 in other parameters: {most}"),
        ),
    ] {
        assert_eq!(merge(inline.as_ref(), &sources).err().unwrap().message, message);
    }
    // What is no object is not counted, and not read.
    let list = merge(None, &[holding(&format!("[{}0]", "0,".repeat(MAX_VALUES)))]).err().unwrap();
    assert!(list.message.contains("is not a JSON object"), "{}", list.message);
}

#[test]
fn what_is_written_within_a_text_is_not_read_as_more_parameters() {
    let text = format!(r#"{{"a":{{"$serde_json::private::RawValue":"[{}0]"}}}}"#, "0,".repeat(MAX_VALUES));
    let given: RawObject = serde_json::from_str(&text).unwrap();
    let sent = merge(Some(&given), &[]).ok().unwrap().to_send().unwrap();
    assert_eq!(sent.text(), text);
}

#[test]
fn defaults_of_too_many_values_are_refused() {
    let object = |values| serde_json::from_str::<RawObject>(&zeros(values)).unwrap();
    let whose = "the defaultProvisionParameters of the class and the plan: the value has ";
    let refused = |result: Result<Option<RawObject>, ParametersError>| {
        let message = result.err().unwrap().message;
        assert!(message.starts_with(whose), "{message}");
    };
    refused(merge_defaults(Some(&object(100_001)), None));
    refused(merge_defaults(None, Some(&object(100_001))));
    refused(merge_defaults(Some(&object(60_000)), Some(&object(40_001))));
    assert_eq!(merge_defaults(Some(&object(50_000)), Some(&object(50_000))).unwrap(), Some(object(50_000)));
    assert_eq!(merge_defaults(None, Some(&RawObject::default())).unwrap(), None);
    let given = merge(Some(&object(60_000)), &[]).ok().unwrap();
    refused(given.with_defaults(Some(&object(40_001))).map(|over| over.to_send()));
}

// v0.3 D5
#[test]
fn secrets_of_more_bytes_than_are_read_are_refused_by_field() {
    let message = merge(None, &[holding("{}"), source(SourceValue::TooLarge)]).err().unwrap().message;
    assert_eq!(
        message,
        "spec.parametersFrom[1].secretKeyRef: with the Secret \"s\" there are more than 4194304 bytes from Secrets, \
         which is too much for one request"
    );
}

// etcd refuses an object that is too large, and then the status of an order could not be written.
#[test]
fn parameters_that_leave_no_room_for_a_status_are_refused_or_not_shown() {
    let of_length = |length: usize| object(&json!({ "a": "x".repeat(length - r#"{"a":""}"#.len()) }));
    for (length, is_shown) in
        [(MAX_SHOWN_BYTES, true), (MAX_SHOWN_BYTES + 1, false), (MAX_INLINE_BYTES, false)]
    {
        let given = of_length(length);
        let parameters = merge(Some(&given), &[]).ok().unwrap();
        assert_eq!(parameters.to_send().as_ref(), Some(&given));
        assert_eq!(parameters.to_show(), Some(given).filter(|_| is_shown));
    }
    // The status shows the keys of a Secret, which may be long.
    let key = json!({ "k".repeat(MAX_SHOWN_BYTES): 1 });
    assert_eq!(merge(None, &[holding(&key.to_string())]).ok().unwrap().to_show(), None);
    let message = merge(Some(&of_length(MAX_INLINE_BYTES + 1)), &[]).err().unwrap().message;
    assert_eq!(
        message,
        "spec.parameters: the value has 1048577 bytes: 1048576 are the most; give the broker such data in another way"
    );
    // The status keeps the defaults.
    assert!(merge_defaults(None, Some(&of_length(MAX_SHOWN_BYTES))).is_ok());
    let message = merge_defaults(None, Some(&of_length(MAX_SHOWN_BYTES + 1))).err().unwrap().message;
    assert!(message.contains("has 131073 bytes: 131072 are the most"), "{message}");
}

// v0.3 D5
#[test]
fn digits_are_sent_and_fingerprinted_as_they_were_given() {
    // As Go reads and writes them.
    let text = r#"{"a":0.30000000000000004,"b":0.10957860598549463,"c":5e-324,"d":9007199254740993}"#;
    let given: RawObject = serde_json::from_str(text).unwrap();
    let parameters = merge(Some(&given), &[]).ok().unwrap();
    assert_eq!(parameters.to_send().unwrap().text(), text);
    let go = text.replace("9007199254740993", "9007199254740992");
    assert_eq!(parameters.checksum(), hex(&Sha256::digest(go.as_bytes())));
}

#[test]
fn a_default_of_null_is_none_as_no_status_can_hold_it() {
    let class = object(&json!({"a": null, "b": {"c": null, "d": [null]}, "e": 1}));
    let plan = object(&json!({"e": null}));
    assert_eq!(merge_defaults(Some(&class), Some(&plan)), Ok(Some(object(&json!({"b": {"d": [null]}})))));
    assert_eq!(merge_defaults(None, Some(&plan)), Ok(None));
}

#[test]
fn violations_name_the_path_and_the_rule_and_no_value() {
    let parameters = merge(
        Some(&object(&json!({"size": 70, "list": [{"a b": "plain-value"}], "extra": 1}))),
        &[holding(r#"{"password": "hunter2", "users": {"alice": {"pin": "9876"}}}"#)],
    );
    let parameters = parameters.ok().unwrap();
    for (schema, said) in [
        (json!({}), None),
        (
            json!({"properties": {"size": {"maximum": 64}}}),
            Some("spec.parameters.size: must be at most 64 (maximum)"),
        ),
        (
            json!({"properties": {"list": {"items": {"additionalProperties": {"type": "null"}}}}}),
            Some("spec.parameters.list[0][\"a b\"]: must be null (type)"),
        ),
        (
            json!({"properties": {"password": {"enum": ["x"]}}}),
            Some("spec.parametersFrom: \"password\": must be \"x\" (enum)"),
        ),
        (
            json!({"properties": {"users": {"propertyNames": {"maxLength": 2}}}}),
            Some("spec.parametersFrom: \"users\": has a name that is not allowed (propertyNames)"),
        ),
        (
            json!({"properties": {"users": {"additionalProperties": {"properties": {"pin": {"type": "integer"}}}}}}),
            Some("spec.parametersFrom: \"users\": must be an integer (type)"),
        ),
        (json!({"required": ["name"]}), Some("spec.parameters: must have \"name\" (required)")),
        (
            json!({"additionalProperties": false}),
            Some(
                "spec.parametersFrom: \"password\": is not allowed (additionalProperties); spec.parametersFrom: \"users\": is not allowed (additionalProperties); spec.parameters.size: is not allowed (additionalProperties); and more",
            ),
        ),
        (json!({"additionalProperties": false, "$dynamicRef": "#a"}), None),
    ] {
        assert_eq!(parameters.violations(&object(&schema)).as_deref(), said, "{schema}");
    }
    let none = Parameters::default().violations(&object(&json!({"required": ["size"]})));
    assert_eq!(none.as_deref(), Some("spec.parameters: must have \"size\" (required)"));
}

#[test]
fn a_broker_object_can_switch_the_check_off() {
    let with = |value: &str| [(schema::ANNOTATION.to_owned(), value.to_owned())].into();
    assert!(schema::is_checked(&std::collections::BTreeMap::new()) && schema::is_checked(&with("true")));
    assert!(!schema::is_checked(&with("false")));
}
