//! The definitions of the eight kinds are, for whoever lists and explains them, those of the original.

use serde_json::{Value, json};
use service_catalog::crd;

/// The definitions as they are on the wire.
fn definitions() -> Vec<Value> {
    let definitions = crd::all().iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
    definitions.expect("JSON")
}

fn kind(definition: &Value) -> &str {
    definition["spec"]["names"]["kind"].as_str().expect("a kind")
}

/// The one version of a definition.
fn version(definition: &Value) -> &Value {
    let versions = definition["spec"]["versions"].as_array().expect("versions");
    assert_eq!(versions.len(), 1, "{}", kind(definition));
    &versions[0]
}

/// Appends the paths of the properties below a schema that have no description, and returns how many there are in all.
fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) -> usize {
    let mut count = 0;
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            count += undescribed(&schema[below], &format!("{path}[]"), found);
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            found.push(path.clone());
        }
        count += 1 + undescribed(property, &path, found);
    }
    count
}

/// All descriptions of a schema.
fn descriptions<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    found.extend(schema["description"].as_str());
    let below = ["items", "additionalProperties"].map(|below| &schema[below]).into_iter();
    let properties = schema["properties"].as_object().into_iter().flatten().map(|(_, property)| property);
    for schema in below.filter(|schema| schema.is_object()).chain(properties) {
        descriptions(schema, found);
    }
}

/// Who reads them knows neither the source nor its predecessor, and nobody comes back to say that a "yet" is over.
#[test]
fn descriptions_are_for_users_and_true_for_as_long_as_they_stand() {
    for definition in definitions() {
        let mut found = Vec::new();
        descriptions(&version(&definition)["schema"]["openAPIV3Schema"], &mut found);
        assert!(found.len() > 10);
        for text in found {
            let foreign = ["::", " the original", "yet"].into_iter().find(|word| text.contains(word));
            assert_eq!(foreign, None, "{}: {text}", kind(&definition));
        }
    }
}

#[test]
fn a_property_without_a_description_is_found_wherever_it_is() {
    let described = |below: Value| json!({ "description": "is", "items": { "properties": below } });
    let schema = json!({ "properties": { "a": described(json!({ "b": {} })), "c": { "description": " " } } });
    let mut found = Vec::new();
    assert_eq!(undescribed(&schema, "Kind", &mut found), 3);
    assert_eq!(found, ["Kind.a[].b", "Kind.c"]);
}

// v0.3 A4
#[test]
fn every_property_of_every_kind_is_described() {
    let mut found = Vec::new();
    for definition in definitions() {
        let schema = &version(&definition)["schema"]["openAPIV3Schema"];
        // What `kubectl explain` says first. Unless told otherwise the generator speaks of itself.
        let itself = schema["description"].as_str().unwrap_or("derived type");
        assert!(!itself.contains("derived type"), "{} itself: {itself}", kind(&definition));
        assert!(undescribed(schema, kind(&definition), &mut found) > 10, "{}", kind(&definition));
    }
    // Those the API server describes by itself.
    let own = ["apiVersion", "kind", "metadata"];
    found.retain(|path| !path.split_once('.').is_some_and(|(_, property)| own.contains(&property)));
    assert_eq!(found, Vec::<String>::new());
}

// v0.3 A3
#[test]
fn every_kind_is_found_with_the_others() {
    let definitions = definitions();
    assert_eq!(definitions.len(), 8);
    // The API server's own short name for Services, which begin alike.
    let mut seen = std::collections::BTreeSet::from(["svc".to_owned()]);
    for definition in &definitions {
        let names = &definition["spec"]["names"];
        let singular = kind(definition).to_lowercase();
        assert_eq!(names["categories"], json!(["all", "svcat"]), "{singular}");
        assert_eq!(names["singular"], singular.as_str());
        let short: String = names["shortNames"][0].as_str().expect("a short name").to_owned();
        assert!(short.starts_with("svc") || short.starts_with("csvc"), "{singular}: {short}");
        assert!(seen.insert(short), "{singular}");
        assert_eq!(definition["metadata"]["labels"]["svcat"], "true", "{singular}");
        let approved = &definition["metadata"]["annotations"]["api-approved.kubernetes.io"];
        assert!(approved.as_str().is_some_and(|approved| !approved.is_empty()), "{singular}: {approved}");
        let version = version(definition);
        assert_eq!((&version["name"], &version["storage"]), (&json!("v1beta1"), &json!(true)), "{singular}");
        assert_eq!(version["subresources"], json!({ "status": {} }), "{singular}");
    }
}

// v0.3 A1
#[test]
fn every_kind_has_the_scope_and_the_columns_of_the_original() {
    let broker = ["URL=.spec.url", "Status=.status.lastConditionState"];
    let name = "External-Name=.spec.externalName";
    let wide = "Broker=.spec.clusterServiceBrokerName";
    let narrow = "Broker=.spec.serviceBrokerName";
    let expected: [(&str, &str, &[&str]); 8] = [
        ("ClusterServiceBroker", "Cluster", &broker),
        ("ClusterServiceClass", "Cluster", &[name, wide]),
        ("ClusterServicePlan", "Cluster", &[name, wide, "Class=.spec.clusterServiceClassRef.name"]),
        ("ServiceBroker", "Namespaced", &broker),
        ("ServiceClass", "Namespaced", &[name, narrow]),
        ("ServicePlan", "Namespaced", &[name, narrow, "Class=.spec.serviceClassRef.name"]),
        (
            "ServiceInstance",
            "Namespaced",
            &[
                "Class=.status.userSpecifiedClassName",
                "Plan=.status.userSpecifiedPlanName",
                "Status=.status.lastConditionState",
            ],
        ),
        (
            "ServiceBinding",
            "Namespaced",
            &[
                "Service-Instance=.spec.instanceRef.name",
                "Secret-Name=.spec.secretName",
                "Status=.status.lastConditionState",
            ],
        ),
    ];
    for (definition, (expected, scope, columns)) in definitions().iter().zip(expected) {
        assert_eq!((kind(definition), &definition["spec"]["scope"]), (expected, &json!(scope)));
        let shown = version(definition)["additionalPrinterColumns"].as_array().expect("columns");
        let text = |column: &Value, field: &str| column[field].as_str().expect("text").to_owned();
        // A column with a priority is shown on request only, and the original had none of those.
        let shown = shown.iter().filter(|column| column["priority"].as_i64().unwrap_or_default() == 0);
        let shown: Vec<_> =
            shown.map(|column| format!("{}={}", text(column, "name"), text(column, "jsonPath"))).collect();
        let age = "Age=.metadata.creationTimestamp";
        let columns: Vec<_> = columns.iter().copied().chain([age]).collect();
        assert_eq!(shown, columns, "{expected}");
    }
}

// v0.3 A3
#[test]
fn what_is_wide_comes_after_what_the_original_showed() {
    for definition in definitions() {
        let columns = version(&definition)["additionalPrinterColumns"].as_array().expect("columns");
        let priority = |column: &Value| column["priority"].as_i64().unwrap_or_default();
        assert!(columns.iter().map(priority).is_sorted(), "{}", kind(&definition));
        assert!(columns.iter().any(|column| priority(column) > 0), "{}", kind(&definition));
        assert!(columns.iter().all(|column| column["name"] == "Age" || column["description"].is_string()));
    }
}

#[test]
fn an_object_that_nobody_has_seen_yet_says_so_where_it_has_conditions() {
    for definition in definitions() {
        let status = &version(&definition)["schema"]["openAPIV3Schema"]["properties"]["status"];
        let judged = status["properties"]["conditions"].is_object();
        let expected = if judged { json!({ "observedGeneration": -1 }) } else { Value::Null };
        assert_eq!(status["default"], expected, "{}", kind(&definition));
        let of_condition = &status["properties"]["conditions"]["items"]["properties"]["observedGeneration"];
        assert_eq!(of_condition.is_object(), judged, "{}", kind(&definition));
    }
}

/// The original wrote them whatever their value, and scripts wait for one of them to be false.
// v0.3 D10, E9
#[test]
fn what_the_original_always_said_is_said_before_anybody_has_written_it() {
    let unsaid = [
        ("asyncOpInProgress", json!(false)),
        ("orphanMitigationInProgress", json!(false)),
        ("reconciledGeneration", json!(0)),
    ];
    let mut found = 0;
    for definition in definitions() {
        let status = &version(&definition)["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
        for (field, value) in &unsaid {
            if status[*field].is_object() {
                assert_eq!(&status[*field]["default"], value, "{}: {field}", kind(&definition));
                found += 1;
            }
        }
    }
    assert_eq!(found, 2 + 3 + 3, "of brokers, instances and bindings");
}
