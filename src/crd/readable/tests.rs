use kube::core::{ObjectList, WatchEvent};
use serde_json::{Value, json};

use super::*;
use crate::crd::{
    self, ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan, ServiceBinding, ServiceBroker,
    ServiceClass, ServiceInstance, ServicePlan,
};

fn read_text<K: Object>(text: &str) -> Readable<K> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_object_that_cannot_be_read_in_full_does_not_spoil_the_list_that_it_is_in() {
    let object = |name: &str, parameters| {
        let metadata = json!({ "name": name, "namespace": "ns", "resourceVersion": "7" });
        json!({ "metadata": metadata, "spec": { "parameters": parameters, "externalID": "id" } })
    };
    let items = [object("bad", json!([0])), object("good", json!({ "b": [1.5, null], "a": 0.1 }))];
    let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }).to_string();
    let list: ObjectList<Readable<ServiceInstance>> = serde_json::from_str(&list).unwrap();
    let [Readable(bad), Readable(good)] = &list.items[..] else { panic!("{list:?}") };
    assert_eq!(bad.defects().unwrap().to_string(), "spec.parameters: this is not an object");
    assert_eq!(bad.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!((&*bad.spec.external_id, &bad.spec.parameters), ("id", &None));
    assert_eq!(good.spec.parameters.as_ref().unwrap().text(), r#"{"b":[1.5,null],"a":0.1}"#);
    assert_eq!(good.defects(), None);
    // This must also hold if the event has `type` as its last member, so that serde buffers the object.
    for event in [
        format!(r#"{{"type":"ADDED","object":{}}}"#, items[1]),
        format!(r#"{{"object":{},"type":"ADDED"}}"#, items[1]),
    ] {
        let WatchEvent::Added(Readable(read)) =
            serde_json::from_str::<WatchEvent<Readable<ServiceInstance>>>(&event).unwrap()
        else {
            panic!("another event: {event}")
        };
        assert_eq!(read.spec.parameters, good.spec.parameters);
    }
}

#[test]
fn all_that_can_be_read_is_kept_and_all_that_cannot_is_named() {
    let object = json!({
        "metadata": { "name": "db" },
        "spec": { "externalID": 7, "parametersFrom": [{}], "updateRequests": 3, "surplus": [] },
        "status": { "conditions": "none", "provisionStatus": "Perhaps", "instanceID": "id", "attempt": 2 },
    });
    let Readable(read) = read_text::<ServiceInstance>(&object.to_string());
    let Defects { spec, status } = read.defects().unwrap();
    assert_eq!(spec[0], "spec.externalID: invalid type: integer `7`, expected a string");
    assert!(spec[1].starts_with("spec.parametersFrom: missing field `secretKeyRef`"), "{spec:?}");
    assert!(
        status[0].starts_with("status.conditions: ") && status[1].starts_with("status.provisionStatus: ")
    );
    assert_eq!((spec.len(), status.len(), read.spec.update_requests), (2, 2, 3));
    let status = read.status.unwrap();
    assert_eq!((status.instance_id.as_str(), status.progress.attempt), ("id", 2));
    for object in [r#"{"metadata":{}}"#, r#"{"metadata":{},"spec":"x"}"#, r#"{"metadata":{},"spec":null}"#] {
        assert!(!read_text::<ServiceBinding>(object).0.defects().unwrap().spec.is_empty(), "{object}");
    }
    // The value may be long, and it may be a secret.
    let long = format!(r#"{{"metadata":{{}},"spec":{{"instanceRef":"{}"}}}}"#, "x".repeat(1000));
    assert!(read_text::<ServiceBinding>(&long).0.defects().unwrap().to_string().len() < 300);
}

#[test]
fn bytes_are_read_as_the_api_server_accepts_them() {
    for (text, bytes) in
        [("QR==", &b"A"[..]), ("QQ==", b"A"), ("", b""), ("QUJD", b"ABC"), ("QU\nJD\r\n", b"ABC")]
    {
        let object = json!({ "metadata": {}, "spec": { "url": "u", "caBundle": text } }).to_string();
        let Readable(broker) = read_text::<ServiceBroker>(&object);
        assert_eq!(broker.spec.common.ca_bundle.unwrap().0, bytes, "{text:?}");
    }
    let object = r#"{"metadata":{},"spec":{"url":"u","caBundle":"?"}}"#;
    let Readable(broker) = read_text::<ServiceBroker>(object);
    assert_eq!(broker.defects().unwrap().to_string(), "spec.caBundle: this is not base64");
    assert_eq!(broker.spec.common.url, "u");
}

/// Values of a schema, among them those at its edges. Each object has one odd member at a time.
fn values(schema: &Value) -> Vec<Value> {
    let mut values = if let Some(words) = schema["enum"].as_array() {
        words.clone()
    } else {
        match (schema["type"].as_str().unwrap_or_default(), schema["format"].as_str()) {
            ("string", Some("byte")) => vec![json!("QQ=="), json!("QR=="), json!("QUI="), json!("////")],
            ("string", Some("date-time")) => [
                "2026-01-02T03:04:05Z",
                "2026-01-02t03:04:05z",
                "2026-01-02T03:04:05.123456789+14:00",
                "0001-01-01T00:00:00Z",
                "9999-12-30T00:00:00-00:00",
                "2016-12-31T23:59:60Z",
            ]
            .map(Value::from)
            .to_vec(),
            ("string", _) if schema.to_string().contains("duration(self)") => {
                ["15m0s", "1.s", "1.5h1h", "0.000000001s", "1µs", "2540400h10m10.999999999s", "00000001ns"]
                    .map(Value::from)
                    .to_vec()
            }
            ("string", _) => vec![json!("x"), json!(""), json!("\0\u{202e}é\n\""), json!("y".repeat(5000))],
            ("integer", _) => {
                vec![json!(i64::MAX), json!(0), schema.get("minimum").map_or(json!(i64::MIN), |_| json!(1))]
            }
            ("boolean", _) => vec![json!(true), json!(false)],
            ("array", _) => {
                let items = items(&schema["items"]);
                items.into_iter().map(|item| json!([item])).chain([json!([])]).collect()
            }
            ("object", _) => objects(schema),
            (other, _) => panic!("a schema of the type {other:?}: {schema}"),
        }
    };
    if schema["nullable"] == true {
        values.push(Value::Null);
    }
    values
}

fn items(schema: &Value) -> Vec<Value> {
    if schema.is_object() { values(schema) } else { vec![json!(1)] }
}

fn objects(schema: &Value) -> Vec<Value> {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return vec![json!({}), json!({ "": [null, 1e308, -0.0, { "a": u64::MAX }], "a": { "a": "\0" } })];
    }
    if let Some(of_each) = schema.get("additionalProperties") {
        return values(of_each).into_iter().map(|value| json!({ "": value })).chain([json!({})]).collect();
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let least: serde_json::Map<String, Value> = properties
        .iter()
        .filter(|(name, _)| required.iter().any(|required| required == *name))
        .map(|(name, schema)| (name.clone(), values(schema).swap_remove(0)))
        .collect();
    let mut objects = vec![Value::Object(least.clone())];
    for (name, schema) in &properties {
        for value in values(schema) {
            let mut object = least.clone();
            object.insert(name.clone(), value);
            objects.push(object.into());
        }
    }
    objects
}

/// Reads objects of a kind with each of the values of its schema, and with a value of another type in each place. Says
/// how many there were.
fn check<K: Object>() -> usize {
    let definition = crd::all().into_iter().find(|crd| crd.spec.names.kind == K::kind(&())).unwrap();
    let schema = serde_json::to_value(definition.spec.versions[0].schema.as_ref().unwrap()).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for part in ["spec", "status"] {
        let schema = &schema["openAPIV3Schema"]["properties"][part];
        let object = |value: &Value| {
            let mut object = json!({ "metadata": { "name": "x" }, "spec": {} });
            object[part] = value.clone();
            object.to_string()
        };
        for value in values(schema) {
            let text = object(&value);
            let Readable(read) = read_text::<K>(&text);
            let mut defects = read.defects().cloned().unwrap_or_default();
            // The other part is empty here.
            defects.spec.retain(|defect| part == "spec" || !defect.contains("missing field"));
            if !defects.is_empty() {
                wrong.push(format!("{}: {defects}: {text:.300}", K::kind(&())));
            }
            count += 1;
        }
        for (name, property) in schema["properties"].as_object().unwrap() {
            for other in
                [json!([7]), json!({ "a": 7 }), json!(7), json!("\u{1}"), json!(true), json!(-1.5e300)]
            {
                let text = object(&json!({ name: other }));
                let Readable(read) = read_text::<K>(&text);
                let named = read.defects().is_some_and(|defects| {
                    let field = format!("{part}.{name}: ");
                    defects.spec.iter().chain(&defects.status).any(|defect| defect.starts_with(&field))
                });
                let is_right = match property["type"].as_str().unwrap() {
                    "integer" => other.is_i64(),
                    "boolean" => other.is_boolean(),
                    // Some strings have a form, some objects take any member, and serde reads others from a list.
                    "string" if other.is_string() => continue,
                    "object" if other.is_object() || other.is_array() => continue,
                    _ => false,
                };
                if named == is_right {
                    wrong.push(format!("{}: {:?}: {text}", K::kind(&()), read.defects()));
                }
                count += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    count
}

#[test]
fn every_value_that_a_schema_accepts_can_be_read_and_no_other_hides_an_object() {
    let counts = [
        check::<ClusterServiceBroker>(),
        check::<ClusterServiceClass>(),
        check::<ClusterServicePlan>(),
        check::<ServiceBroker>(),
        check::<ServiceClass>(),
        check::<ServicePlan>(),
        check::<ServiceInstance>(),
        check::<ServiceBinding>(),
    ];
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
