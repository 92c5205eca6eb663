use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MAX_LENGTH, MAX_ROOM, SHOWN, Schema, Step, Undecided, Unusable};
use crate::json::RawObject;

fn raw(schema: Value) -> RawObject {
    serde_json::from_value(schema).unwrap()
}

fn compile(schema: Value) -> Result<Schema, Unusable> {
    Schema::compile(&raw(schema), &mut MAX_ROOM.clone())
}

/// The violations as texts.
fn broken(schema: Value, value: &Value) -> Vec<String> {
    let text = schema.to_string();
    let schema = compile(schema).unwrap_or_else(|why| panic!("{text}: {why}"));
    let violations = schema.check(value).unwrap_or_else(|_| panic!("{text} is decided"));
    let step = |step: &Step| match step {
        Step::Key(key) => format!("/{key}"),
        Step::Index(index) => format!("/{index}"),
    };
    let text = |path: &[Step]| path.iter().map(step).collect::<String>();
    violations.iter().map(|broken| format!("{} {}", text(&broken.path), broken.rule)).collect()
}

fn unusable(schema: Value) -> String {
    compile(schema).err().map(|why| why.to_string()).unwrap_or_default()
}

// OSB 54
#[test]
fn each_rule_is_named_with_its_place_and_no_value() {
    for (schema, value, rule) in [
        (json!({"type": "integer"}), json!("s3cret"), " must be an integer (type)"),
        (json!({"type": ["string", "null"]}), json!(7), " must be a string or null (type)"),
        (json!({"enum": ["a", 2, null]}), json!("s3cret"), " must be \"a\" or 2 or null (enum)"),
        (json!({"const": {"a": 1}}), json!({"a": 2}), " must be {\"a\":1} (const)"),
        (json!({"maximum": 10}), json!(11), " must be at most 10 (maximum)"),
        (json!({"minimum": 0.5}), json!(0.4), " must be at least 0.5 (minimum)"),
        (json!({"exclusiveMaximum": 10}), json!(10), " must be less than 10 (exclusiveMaximum)"),
        (
            json!({"maximum": 10, "exclusiveMaximum": true}),
            json!(10),
            " must be less than 10 (exclusiveMaximum)",
        ),
        (
            json!({"minimum": 1, "exclusiveMinimum": true}),
            json!(1.0),
            " must be more than 1 (exclusiveMinimum)",
        ),
        (json!({"multipleOf": 5}), json!(12), " must be a multiple of 5 (multipleOf)"),
        (json!({"maxLength": 3}), json!("s3cret"), " must have at most 3 characters (maxLength)"),
        (json!({"minItems": 2.0}), json!([1]), " must have at least 2 items (minItems)"),
        (json!({"maxProperties": 0}), json!({"a": 1}), " must have at most 0 members (maxProperties)"),
        (json!({"pattern": "^[a-z]+$"}), json!("s3cret"), " must match \"^[a-z]+$\" (pattern)"),
        (
            json!({"uniqueItems": true}),
            json!([1, {"a": 1, "b": 2}, {"b": 2.0, "a": 1}]),
            " must not have the same item twice (uniqueItems)",
        ),
        (json!({"required": ["a", "b"]}), json!({"a": 1}), " must have \"b\" (required)"),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            " must have \"b\", because it has \"a\" (dependentRequired)",
        ),
        (
            json!({"dependencies": {"a": ["b"]}}),
            json!({"a": 1}),
            " must have \"b\", because it has \"a\" (dependencies)",
        ),
        (json!({"dependencies": {"a": {"required": ["c"]}}}), json!({"a": 1}), " must have \"c\" (required)"),
        (
            json!({"properties": {"a": {"items": {"type": "string"}}}}),
            json!({"a": ["x", 1]}),
            "/a/1 must be a string (type)",
        ),
        (
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            json!({"a": 1, "b": 2}),
            "/b is not allowed (additionalProperties)",
        ),
        (
            json!({"patternProperties": {"^x-": true}, "additionalProperties": {"type": "null"}}),
            json!({"x-a": 1, "b": 2}),
            "/b must be null (type)",
        ),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            "/ab has a name that is not allowed (propertyNames)",
        ),
        (
            json!({"prefixItems": [true, {"type": "string"}], "items": false}),
            json!([1, "a", 2]),
            "/2 is not allowed (items)",
        ),
        (
            json!({"items": [{}, {"type": "string"}], "additionalItems": false}),
            json!([1, "a", 2]),
            "/2 is not allowed (additionalItems)",
        ),
        (
            json!({"contains": {"const": 1}}),
            json!([2]),
            " must have at least 1 items that follow the schema of contains (contains)",
        ),
        (
            json!({"contains": {"const": 1}, "maxContains": 1}),
            json!([1, 1]),
            " must have at most 1 items that follow the schema of contains (maxContains)",
        ),
        (json!({"allOf": [true, {"type": "string"}]}), json!(1), " must be a string (type)"),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!(1),
            " must follow one of the 2 schemas of anyOf (anyOf)",
        ),
        (
            json!({"oneOf": [{"type": "integer"}, {"minimum": 0}]}),
            json!(1),
            " must follow one of the 2 schemas of oneOf, and follows 2 (oneOf)",
        ),
        (json!({"not": {"type": "string"}}), json!("s3cret"), " must not follow the schema of not (not)"),
        (
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
            json!({"a": 1}),
            " must have \"b\" (required)",
        ),
        (
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
            json!({}),
            " must have \"c\" (required)",
        ),
        (
            json!({"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false}),
            json!({"a": 1, "b": 2}),
            "/b is not allowed (unevaluatedProperties)",
        ),
        (
            json!({"prefixItems": [true], "unevaluatedItems": {"type": "null"}}),
            json!([1, null, 2]),
            "/2 must be null (type)",
        ),
        (
            json!({"$ref": "#/definitions/size", "definitions": {"size": {"type": "integer"}}}),
            json!("x"),
            " must be an integer (type)",
        ),
        (
            json!({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "integer"}}}),
            json!("x"),
            " must be an integer (type)",
        ),
        (
            json!({"$ref": "#size", "$defs": {"size": {"$anchor": "size", "type": "integer"}}}),
            json!("x"),
            " must be an integer (type)",
        ),
        (
            json!({"$id": "https://example.com/s", "$ref": "https://example.com/s#/$defs/a", "$defs": {"a": {"type": "null"}}}),
            json!("x"),
            " must be null (type)",
        ),
    ] {
        let found = broken(schema.clone(), &value);
        assert_eq!(found, [rule.to_owned()], "{schema}");
        assert!(!found[0].contains("s3cret"));
    }
}

#[test]
fn values_that_follow_the_schema_are_accepted() {
    for (schema, values) in [
        (json!({}), json!([1, "a", null, {}])),
        (json!({"type": "integer"}), json!([1, 1.0, -7, 18_446_744_073_709_551_615_u64])),
        (json!({"enum": [1, "a", {"a": [1]}]}), json!([1.0, "a", {"a": [1.0]}])),
        (json!({"maximum": 10, "exclusiveMaximum": false}), json!([10, 9.9, "a", [11]])),
        (json!({"multipleOf": 0.01}), json!([0.07, 19.99, 1, 1_070_468.14])),
        (json!({"maxLength": 2}), json!(["éé", "😀😀", 777])),
        (json!({"required": ["a"], "properties": {"a": false}}), json!([1, [], "a"])),
        (json!({"format": "ipv4", "contentEncoding": "base64"}), json!(["no", 7])),
        (json!({"unknown": {"type": 7}, "default": {"$ref": "http://x"}}), json!([1])),
        (json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}), json!([1, "a"])),
        (json!({"contains": {"const": 1}, "minContains": 0}), json!([[], [2]])),
        (json!({"if": {"type": "string"}}), json!(["a", 1])),
        (
            json!({"anyOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": true}}], "unevaluatedProperties": false}),
            json!([{"a": 1, "b": 2}, {"b": 1}]),
        ),
        (json!({"contains": {"const": 1}, "unevaluatedItems": {"const": 2}}), json!([[1, 2, 1]])),
    ] {
        for value in values.as_array().unwrap() {
            assert_eq!(broken(schema.clone(), value), Vec::<String>::new(), "{schema} {value}");
        }
    }
}

#[test]
fn a_keyword_counts_in_the_drafts_that_have_it() {
    let schema = "$schema";
    for (draft, keywords, counts) in [
        ("http://json-schema.org/draft-04/schema#", json!({"const": 1}), false),
        ("http://json-schema.org/draft-06/schema#", json!({"const": 1}), true),
        ("http://json-schema.org/draft-06/schema", json!({"if": true, "then": false}), false),
        ("https://json-schema.org/draft-07/schema#", json!({"if": true, "then": false}), true),
        (
            "http://json-schema.org/draft-07/schema#",
            json!({"$ref": "#/definitions/any", "type": "null", "definitions": {"any": {}}}),
            false,
        ),
        (
            "https://json-schema.org/draft/2019-09/schema",
            json!({"$ref": "#/$defs/any", "type": "null", "$defs": {"any": {}}}),
            true,
        ),
        ("https://json-schema.org/draft/2020-12/schema", json!({"dependentRequired": {"a": ["b"]}}), true),
        ("https://json-schema.org/draft/2020-12/schema", json!({"dependencies": {"a": ["b"]}}), false),
        ("https://json-schema.org/schema", json!({"const": 1}), true),
    ] {
        let mut given = keywords.clone();
        given[schema] = draft.into();
        assert_eq!(!broken(given, &json!({"a": 1})).is_empty(), counts, "{draft} {keywords}");
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    for (schema, why) in [
        (
            json!({"$schema": "http://json-schema.org/draft-03/schema#"}),
            "is not a draft from draft-04 to 2020-12",
        ),
        (json!({"$schema": 4}), "$schema is not a string"),
        (json!({"properties": {"a": {"required": true}}}), "required is not an array of strings"),
        (json!({"properties": {"a": {"type": "any"}}}), "type is not a type of JSON"),
        (json!({"type": vec!["string"; 8]}), "type is not a type of JSON, or a list of types"),
        (json!({"properties": {"a": 7}}), "properties is not a schema"),
        (json!({"properties": []}), "properties is not an object"),
        (
            json!({"items": [{}], "$schema": "https://json-schema.org/draft/2020-12/schema"}),
            "items is not a schema",
        ),
        (json!({"minLength": -1}), "minLength is not a number of things"),
        (json!({"minLength": 1.5}), "minLength is not a number of things"),
        (json!({"minLength": "1"}), "minLength is not a number"),
        (json!({"multipleOf": 0}), "multipleOf is not a positive number"),
        (json!({"allOf": {}}), "allOf is not an array of schemas"),
        (json!({"pattern": "(?=a)"}), "the pattern \"(?=a)\" is wrong, or needs backtracking"),
        (json!({"patternProperties": {"(": {}}}), "the pattern \"(\" is wrong"),
        (
            json!({"$ref": "https://example.com/schema.json"}),
            "$ref \"https://example.com/schema.json\" is outside of the schema",
        ),
        (
            json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
            "$ref \"file:///etc/passwd\" is outside of the schema",
        ),
        (json!({"$ref": "other.json#/a"}), "is outside of the schema"),
        (json!({"$ref": "#/definitions/none"}), "$ref \"#/definitions/none\" leads nowhere"),
        (json!({"$ref": "#none"}), "$ref \"#none\" leads nowhere"),
        (json!({"$ref": "#"}), "a $ref leads back to itself"),
        (
            json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}),
            "a $ref leads back to itself",
        ),
        (json!({"$dynamicRef": "#a"}), "the operator does not know $dynamicRef"),
        (
            json!({"properties": {"a": {"$id": "a", "properties": {"b": {"$ref": "#"}}}}}),
            "it has a $ref in a schema with an $id of its own",
        ),
    ] {
        let said = unusable(schema.clone());
        assert!(said.contains(why), "{schema}: {said:?}");
    }
}

#[test]
fn what_is_too_large_cannot_be_used() {
    let long = |length: usize| json!({"description": "x".repeat(length)});
    assert!(compile(long(MAX_LENGTH - 18)).is_ok());
    assert_eq!(unusable(long(MAX_LENGTH - 17)), "it is larger than 65536 bytes");
    assert_eq!(unusable(long(1 << 20)), "it is larger than 65536 bytes");
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"not": inner}));
    assert!(compile(nested(63)).is_ok());
    assert_eq!(unusable(nested(64)), "it is nested more than 64 levels deep");
    let many: serde_json::Map<_, _> = (0..300).map(|index| (format!("^{index}$"), json!({}))).collect();
    assert_eq!(unusable(json!({"patternProperties": many})), "its regular expressions are too large");
}

#[test]
fn a_schema_may_refer_to_itself_at_each_level_of_the_value() {
    let tree = json!({"properties": {"size": {"type": "integer"}, "next": {"$ref": "#"}}});
    let value = |levels: usize| (0..levels).fold(json!({"size": "x"}), |inner, _| json!({"next": inner}));
    assert_eq!(broken(tree.clone(), &value(2)), ["/next/next/size must be an integer (type)"]);
    assert_eq!(broken(tree, &value(60)).len(), 1);
    // As deep as a check can be, with all its functions on the stack.
    let chain = json!({
        "$ref": "#/definitions/a",
        "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"properties": {"next": {"$ref": "#"}, "size": {"type": "null"}}}}
    });
    assert_eq!(broken(chain, &value(45)).len(), 1);
    let mutual = json!({
        "$ref": "#/definitions/a",
        "definitions": {"a": {"items": {"$ref": "#/definitions/b"}}, "b": {"type": "array", "items": {"$ref": "#/definitions/a"}}}
    });
    assert_eq!(broken(mutual, &json!([[[1]]])), ["/0/0/0 must be an array (type)"]);
}

/// Each of these asks for more steps than there are.
#[test]
fn a_check_that_would_not_end_is_given_up_soon() {
    let doubling: serde_json::Map<_, _> = (0..60)
        .map(|level| {
            let next = json!({"$ref": format!("#/definitions/{}", level + 1)});
            (level.to_string(), json!({"allOf": [next, next]}))
        })
        .chain([("60".to_owned(), json!({}))])
        .collect();
    let chain: serde_json::Map<_, _> = (0..1000)
        .map(|level| (level.to_string(), json!({"$ref": format!("#/definitions/{}", level + 1)})))
        .chain([("1000".to_owned(), json!({}))])
        .collect();
    let deep = (0..60).fold(json!({}), |inner, _| json!({"a": inner}));
    let twice = json!({"properties": {"a": {"$ref": "#"}}});
    let unevaluated =
        (0..30).fold(json!({}), |inner, _| json!({"allOf": [inner], "unevaluatedProperties": true}));
    let keys: Value =
        (0..4000).map(|key| (format!("k{key}"), json!(0))).collect::<serde_json::Map<_, _>>().into();
    let names: Vec<_> = (0..4000).map(|key| format!("k{key}")).collect();
    for (what, schema, value) in [
        ("a doubling $ref", json!({"$ref": "#/definitions/0", "definitions": doubling}), json!({})),
        ("a long chain of $ref", json!({"$ref": "#/definitions/0", "definitions": chain}), json!({})),
        ("doubling at each level", json!({"allOf": [twice, twice]}), deep),
        ("doubling by unevaluated", unevaluated, json!({"a": 1})),
        (
            "all keys required of each",
            json!({"additionalProperties": {"required": names}}),
            (0..4000)
                .map(|key| (format!("k{key}"), json!({"a": 1})))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        ),
        (
            "many expressions on many keys",
            json!({"patternProperties": (0..100).map(|it| (format!("(x+x+)+y{it}"), json!({}))).collect::<serde_json::Map<_, _>>()}),
            keys,
        ),
        (
            "a long text for an expression",
            json!({"items": {"pattern": "^(a+)+$"}}),
            json!([("a".repeat(1 << 20) + "!")]),
        ),
    ] {
        let started = Instant::now();
        let result = compile(schema).unwrap().check(&value);
        assert!(started.elapsed() < Duration::from_secs(5), "{what}: {:?}", started.elapsed());
        if what != "all keys required of each" && what != "doubling by unevaluated" {
            assert_eq!(result, Err(Undecided), "{what}");
        }
    }
}

#[test]
fn large_parameters_are_decided() {
    let schema = json!({"properties": {"list": {"items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}}}}}});
    let mut items = vec![json!({"a": 1}); 30_000];
    items.push(json!({"a": -1}));
    assert_eq!(broken(schema, &json!({"list": items})), ["/list/30000/a must be at least 0 (minimum)"]);
}

#[test]
fn a_violation_that_is_found_counts_although_the_check_does_not_end() {
    let schema = json!({"properties": {"size": {"maximum": 1}, "text": {"pattern": "^(a+)+$"}}});
    let value = json!({"size": 2, "text": "a".repeat(2 << 20)});
    assert_eq!(broken(schema, &value), ["/size must be at most 1 (maximum)"]);
    let twice = json!({"allOf": [{"maximum": 1}, {"maximum": 1}]});
    assert_eq!(broken(twice, &json!(2)), [" must be at most 1 (maximum)"]);
}

#[test]
fn a_few_violations_are_found_in_the_order_of_the_schema_and_the_value() {
    let schema = json!({"required": ["z"], "additionalProperties": {"type": "null"}});
    let value = json!({"d": 1, "c": 1, "b": null, "a": 1, "e": 1});
    let found = broken(schema, &value);
    assert_eq!(found.len(), SHOWN + 1);
    assert_eq!(
        found[..3],
        [" must have \"z\" (required)", "/d must be null (type)", "/c must be null (type)"]
    );
}
