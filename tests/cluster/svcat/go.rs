//! Objects as the Go types of the original hold them: what these types do not know is lost in reading, and what they
//! always write comes back as zero values and nulls. A value of another type than Go expects ends the reading.

use serde_json::{Map, Value, json};

/// What a field holds.
enum Type {
    Text,
    Flag,
    Number,
    /// Any JSON.
    Raw,
    List(&'static Type),
    Struct(&'static [Field]),
}

/// How Go writes a field that has nothing to say.
#[derive(PartialEq)]
enum How {
    /// As the zero value: a plain field.
    Zero,
    /// Not at all: `omitempty`.
    Omit,
    /// Not at all, but a zero value is something: a pointer with `omitempty`.
    Pointer,
    /// As null: a pointer, or a time, without `omitempty`.
    Null,
}

type Field = (&'static str, How, Type);

use How::{Null, Omit, Pointer, Zero};
use Type::{Flag, List, Number, Raw, Struct, Text};

const NAME: Type = Struct(&[("name", Omit, Text)]);
const NAMED: Type = Struct(&[("namespace", Omit, Text), ("name", Omit, Text)]);
const TEXTS: Type = List(&Text);

const CONDITIONS: Type = List(&Struct(&[
    ("type", Zero, Text),
    ("status", Zero, Text),
    ("lastTransitionTime", Null, Text),
    ("reason", Zero, Text),
    ("message", Zero, Text),
]));

const USER: Type =
    Struct(&[("username", Zero, Text), ("uid", Zero, Text), ("groups", Omit, TEXTS), ("extra", Omit, Raw)]);

const PARAMETERS_FROM: Type =
    List(&Struct(&[("secretKeyRef", Pointer, Struct(&[("name", Zero, Text), ("key", Zero, Text)]))]));

const RESTRICTIONS: Type = Struct(&[("serviceClass", Omit, TEXTS), ("servicePlan", Omit, TEXTS)]);

const BROKER_STATUS: Type = Struct(&[
    ("conditions", Zero, CONDITIONS),
    ("reconciledGeneration", Zero, Number),
    ("operationStartTime", Pointer, Text),
    ("lastCatalogRetrievalTime", Pointer, Text),
    ("lastConditionState", Zero, Text),
]);

/// The spec of a broker, whose credentials are in such a Secret.
macro_rules! broker_spec {
    ($secret:expr) => {
        Struct(&[
            ("url", Zero, Text),
            ("insecureSkipTLSVerify", Omit, Flag),
            ("caBundle", Omit, Text),
            ("relistBehavior", Zero, Text),
            ("relistDuration", Pointer, Text),
            ("relistRequests", Zero, Number),
            ("catalogRestrictions", Pointer, RESTRICTIONS),
            (
                "authInfo",
                Pointer,
                Struct(&[
                    ("basic", Pointer, Struct(&[("secretRef", Pointer, $secret)])),
                    ("bearer", Pointer, Struct(&[("secretRef", Pointer, $secret)])),
                ]),
            ),
        ])
    };
}

/// The spec of a class of such a broker.
macro_rules! class_spec {
    ($broker:expr) => {
        Struct(&[
            ("externalName", Zero, Text),
            ("externalID", Zero, Text),
            ("description", Zero, Text),
            ("bindable", Zero, Flag),
            ("bindingRetrievable", Zero, Flag),
            ("planUpdatable", Zero, Flag),
            ("externalMetadata", Pointer, Raw),
            ("tags", Omit, TEXTS),
            ("requires", Omit, TEXTS),
            ("defaultProvisionParameters", Pointer, Raw),
            ($broker, Zero, Text),
        ])
    };
}

/// The spec of a plan of such a broker and class.
macro_rules! plan_spec {
    ($broker:expr, $class:expr) => {
        Struct(&[
            ("externalName", Zero, Text),
            ("externalID", Zero, Text),
            ("description", Zero, Text),
            ("bindable", Pointer, Flag),
            ("free", Zero, Flag),
            ("externalMetadata", Pointer, Raw),
            ("instanceCreateParameterSchema", Pointer, Raw),
            ("instanceUpdateParameterSchema", Pointer, Raw),
            ("serviceBindingCreateParameterSchema", Pointer, Raw),
            ("defaultProvisionParameters", Pointer, Raw),
            ($broker, Zero, Text),
            ($class, Zero, NAME),
        ])
    };
}

const REMOVED: Type = Struct(&[("removedFromBrokerCatalog", Zero, Flag)]);

const INSTANCE_SPEC: Type = Struct(&[
    ("clusterServiceClassExternalName", Omit, Text),
    ("clusterServicePlanExternalName", Omit, Text),
    ("clusterServiceClassExternalID", Omit, Text),
    ("clusterServicePlanExternalID", Omit, Text),
    ("clusterServiceClassName", Omit, Text),
    ("clusterServicePlanName", Omit, Text),
    ("serviceClassExternalName", Omit, Text),
    ("servicePlanExternalName", Omit, Text),
    ("serviceClassExternalID", Omit, Text),
    ("servicePlanExternalID", Omit, Text),
    ("serviceClassName", Omit, Text),
    ("servicePlanName", Omit, Text),
    ("clusterServiceClassRef", Pointer, NAME),
    ("clusterServicePlanRef", Pointer, NAME),
    ("serviceClassRef", Pointer, NAME),
    ("servicePlanRef", Pointer, NAME),
    ("parameters", Pointer, Raw),
    ("parametersFrom", Omit, PARAMETERS_FROM),
    ("externalID", Zero, Text),
    ("userInfo", Pointer, USER),
    ("updateRequests", Zero, Number),
]);

const INSTANCE_PROPERTIES: Type = Struct(&[
    ("clusterServicePlanExternalName", Zero, Text),
    ("clusterServicePlanExternalID", Zero, Text),
    ("servicePlanExternalName", Omit, Text),
    ("servicePlanExternalID", Omit, Text),
    ("parameters", Pointer, Raw),
    ("parameterChecksum", Omit, Text),
    ("userInfo", Pointer, USER),
]);

const INSTANCE_STATUS: Type = Struct(&[
    ("conditions", Zero, CONDITIONS),
    ("asyncOpInProgress", Zero, Flag),
    ("orphanMitigationInProgress", Zero, Flag),
    ("lastOperation", Pointer, Text),
    ("dashboardURL", Pointer, Text),
    ("currentOperation", Omit, Text),
    ("reconciledGeneration", Zero, Number),
    ("observedGeneration", Zero, Number),
    ("operationStartTime", Pointer, Text),
    ("inProgressProperties", Pointer, INSTANCE_PROPERTIES),
    ("externalProperties", Pointer, INSTANCE_PROPERTIES),
    ("provisionStatus", Zero, Text),
    ("deprovisionStatus", Zero, Text),
    ("defaultProvisionParameters", Pointer, Raw),
    ("lastConditionState", Zero, Text),
    ("userSpecifiedPlanName", Zero, Text),
    ("userSpecifiedClassName", Zero, Text),
]);

const TRANSFORM: Type = Struct(&[
    ("renameKey", Pointer, Struct(&[("from", Zero, Text), ("to", Zero, Text)])),
    (
        "addKey",
        Pointer,
        Struct(&[
            ("key", Zero, Text),
            ("value", Null, Text),
            ("stringValue", Null, Text),
            ("jsonPathExpression", Null, Text),
        ]),
    ),
    ("addKeysFrom", Pointer, Struct(&[("secretRef", Pointer, NAMED)])),
    ("removeKey", Pointer, Struct(&[("key", Zero, Text)])),
]);

const BINDING_SPEC: Type = Struct(&[
    ("instanceRef", Zero, NAME),
    ("parameters", Pointer, Raw),
    ("parametersFrom", Omit, PARAMETERS_FROM),
    ("secretName", Omit, Text),
    ("secretTransforms", Omit, List(&TRANSFORM)),
    ("externalID", Zero, Text),
    ("userInfo", Pointer, USER),
]);

const BINDING_PROPERTIES: Type =
    Struct(&[("parameters", Pointer, Raw), ("parameterChecksum", Omit, Text), ("userInfo", Pointer, USER)]);

const BINDING_STATUS: Type = Struct(&[
    ("conditions", Zero, CONDITIONS),
    ("asyncOpInProgress", Zero, Flag),
    ("lastOperation", Pointer, Text),
    ("currentOperation", Omit, Text),
    ("reconciledGeneration", Zero, Number),
    ("operationStartTime", Pointer, Text),
    ("inProgressProperties", Pointer, BINDING_PROPERTIES),
    ("externalProperties", Pointer, BINDING_PROPERTIES),
    ("orphanMitigationInProgress", Zero, Flag),
    ("unbindStatus", Zero, Text),
    ("lastConditionState", Zero, Text),
]);

/// Spec and status of a kind.
fn types(kind: &str) -> [Type; 2] {
    match kind {
        "ClusterServiceBroker" => [broker_spec!(NAMED), BROKER_STATUS],
        "ServiceBroker" => [broker_spec!(NAME), BROKER_STATUS],
        "ClusterServiceClass" => [class_spec!("clusterServiceBrokerName"), REMOVED],
        "ServiceClass" => [class_spec!("serviceBrokerName"), REMOVED],
        "ClusterServicePlan" => [plan_spec!("clusterServiceBrokerName", "clusterServiceClassRef"), REMOVED],
        "ServicePlan" => [plan_spec!("serviceBrokerName", "serviceClassRef"), REMOVED],
        "ServiceInstance" => [INSTANCE_SPEC, INSTANCE_STATUS],
        "ServiceBinding" => [BINDING_SPEC, BINDING_STATUS],
        other => panic!("Go does not know the kind {other}"),
    }
}

/// An object that was read by a Go client and is written again.
pub fn through(object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let [spec, status] = types(kind);
    let mut metadata = object["metadata"].clone();
    if metadata["creationTimestamp"].is_null() {
        metadata["creationTimestamp"] = Value::Null;
    }
    json!({
        "kind": kind,
        "apiVersion": "servicecatalog.k8s.io/v1beta1",
        "metadata": metadata,
        "spec": written(&format!("{kind}.spec"), &spec, &object["spec"]),
        "status": written(&format!("{kind}.status"), &status, &object["status"]),
    })
}

/// A value of a type as Go writes it after it read this one; null is what was not there.
fn written(place: &str, expected: &Type, value: &Value) -> Value {
    let fits = match expected {
        Text => value.is_string(),
        Flag => value.is_boolean(),
        Number => value.is_i64(),
        Raw => true,
        List(_) => value.is_array(),
        Struct(_) => value.is_object(),
    };
    assert!(fits || value.is_null(), "Go cannot read {place}: {value}");
    match (expected, value) {
        (Text, Value::Null) => json!(""),
        (Flag, Value::Null) => json!(false),
        (Number, Value::Null) => json!(0),
        (List(items), Value::Array(values)) => {
            values.iter().map(|value| written(&format!("{place}[]"), items, value)).collect()
        }
        (Struct(fields), value) => Value::Object(fields_of(place, fields, value)),
        (_, value) => value.clone(),
    }
}

fn fields_of(place: &str, fields: &[Field], value: &Value) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, how, expected) in fields {
        let place = format!("{place}.{name}");
        let read = &value[name];
        let zero = written(&place, expected, &Value::Null);
        let again = written(&place, expected, read);
        let omitted = match how {
            Omit => again == zero || again == json!([]) || again == json!({}),
            Pointer => read.is_null(),
            Zero | Null => false,
        };
        let again = if *how == Null && read.is_null() { Value::Null } else { again };
        if !omitted {
            object.insert((*name).to_owned(), again);
        }
    }
    object
}

#[test]
fn what_go_does_not_know_is_lost_and_what_it_always_writes_comes_back() {
    let object = json!({
        "kind": "ServiceBinding",
        "metadata": { "name": "app" },
        "spec": {
            "instanceRef": { "name": "db", "newer": 1 },
            "newer": true,
            "secretTransforms": [{ "addKey": { "key": "k", "stringValue": "v" } }],
            "parametersFrom": [],
        },
        "status": { "bindingID": "b", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    let add = json!({ "key": "k", "value": null, "stringValue": "v", "jsonPathExpression": null });
    let condition =
        json!({ "type": "Ready", "status": "True", "lastTransitionTime": null, "reason": "", "message": "" });
    assert_eq!(
        through(&object),
        json!({
            "kind": "ServiceBinding",
            "apiVersion": "servicecatalog.k8s.io/v1beta1",
            "metadata": { "name": "app", "creationTimestamp": null },
            "spec": { "instanceRef": { "name": "db" }, "secretTransforms": [{ "addKey": add }], "externalID": "" },
            "status": {
                "conditions": [condition], "asyncOpInProgress": false, "reconciledGeneration": 0,
                "orphanMitigationInProgress": false, "unbindStatus": "", "lastConditionState": "",
            },
        })
    );
}

/// Bodies of `svcat` v0.3.1 itself, as it logs them with `-v 9`: `register`, `provision`, `bind`.
#[test]
fn what_is_made_here_is_what_svcat_sends() {
    for recorded in [
        r#"{"kind":"ServiceBroker","apiVersion":"servicecatalog.k8s.io/v1beta1","metadata":{"name":"b","creationTimestamp":null},
            "spec":{"url":"http://127.0.0.1:36277","relistBehavior":"","relistRequests":0,"catalogRestrictions":{},
            "authInfo":{"basic":{"secretRef":{"name":"creds"}}}},
            "status":{"conditions":null,"reconciledGeneration":0,"lastConditionState":""}}"#,
        r#"{"kind":"ServiceInstance","apiVersion":"servicecatalog.k8s.io/v1beta1","metadata":{"name":"db","namespace":"t",
            "creationTimestamp":null},"spec":{"serviceClassName":"6d9e3c2a-5f0b-4a86-9a0e-2f3b1c7d8e10",
            "servicePlanName":"0b7c9f64-1d0e-4d7b-8f55-5a6c2f1e9a01","parameters":{},"externalID":"","updateRequests":0},
            "status":{"conditions":null,"asyncOpInProgress":false,"orphanMitigationInProgress":false,"reconciledGeneration":0,
            "observedGeneration":0,"provisionStatus":"","deprovisionStatus":"","lastConditionState":"",
            "userSpecifiedPlanName":"","userSpecifiedClassName":""}}"#,
        r#"{"kind":"ServiceBinding","apiVersion":"servicecatalog.k8s.io/v1beta1","metadata":{"name":"db","namespace":"t",
            "creationTimestamp":null},"spec":{"instanceRef":{"name":"db"},"parameters":{},"externalID":""},
            "status":{"conditions":null,"asyncOpInProgress":false,"reconciledGeneration":0,
            "orphanMitigationInProgress":false,"unbindStatus":"","lastConditionState":""}}"#,
    ] {
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        // What a command says itself, without the zero values around it.
        let mut said = recorded.clone();
        let object = said.as_object_mut().unwrap();
        object.shift_remove("status");
        object["spec"].as_object_mut().unwrap().retain(|_, value| *value != "" && *value != 0);
        object["metadata"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(through(&said), recorded);
    }
}
