//! Objects that the original took and that would be refused today: the operator can still work on them, and their users can
//! still change what is in order. The definitions stand in another group here, as they were and as they are.

use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use service_catalog::crd;

use super::{PATIENCE, plane};

const GROUP: &str = "left-behind.example.com";

/// A definition in the other group, with its rules or as the original had it.
fn definition(kind: &str, rules: bool) -> Value {
    let all = crd::all();
    let found = all.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let mut definition = serde_json::to_value(found).unwrap();
    definition["metadata"]["name"] = format!("{}.{GROUP}", found.spec.names.plural).into();
    definition["spec"]["group"] = GROUP.into();
    if !rules {
        let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let version = &mut definition["spec"]["versions"][0];
        version["schema"]["openAPIV3Schema"] = anything;
        // Only fields of the schema can be selected by.
        version["selectableFields"] = json!([]);
    }
    definition
}

async fn merge(api: &Api<DynamicObject>, patch: Value) -> kube::Result<DynamicObject> {
    api.patch("old", &PatchParams::default(), &Patch::Merge(patch)).await
}

/// Takes a spec before there were rules; afterwards, says what becomes of it.
async fn left_behind(kind: &str, spec: Value, change: Value, worse: Value) {
    let plane = plane().await;
    plane.apply(&definition(kind, false).to_string()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, crd::VERSION, kind));
    let api: Api<DynamicObject> = Api::all_with(plane.admin_client().unwrap(), &resource);
    let api = if kind.starts_with("Cluster") {
        api
    } else {
        Api::default_namespaced_with(plane.admin_client().unwrap(), &resource)
    };
    let object = |name: &str| DynamicObject::new(name, &resource).data(json!({ "spec": spec }));
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Err(error) = api.create(&PostParams::default(), &object("old")).await {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    plane.apply(&definition(kind, true).to_string()).await.unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    while api.create(&dry, &object("new")).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the rules of {kind} are not in force");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    merge(&api, json!({ "metadata": { "finalizers": ["example.com/ours"] } })).await.unwrap();
    // A field of every kind's; those that a kind does not have are pruned.
    let status = json!({ "status": { "lastConditionState": "Seen", "removedFromBrokerCatalog": true } });
    let seen = api.patch_status("old", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let written = [("lastConditionState", json!("Seen")), ("removedFromBrokerCatalog", json!(true))];
    let written = written.iter().filter(|(field, value)| seen.data["status"][*field] == *value);
    assert_eq!(written.count(), 1, "{:#}", seen.data);
    merge(&api, json!({ "spec": change })).await.unwrap();
    let refused = merge(&api, json!({ "spec": worse })).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 422), "{refused}");
    merge(&api, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    api.delete("old", &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_broker_with_restrictions_that_would_be_refused_is_still_worked_on() {
    let restrictions = |text: &str| json!({ "catalogRestrictions": { "serviceClass": [text] } });
    let mut spec = restrictions("name=a, spec.nothing=b");
    spec["url"] = "http://x".into();
    let synced = json!({ "relistRequests": 1 });
    left_behind("ClusterServiceBroker", spec, synced, restrictions("spec.nothing=c")).await;
}

// v0.3 F12
#[tokio::test]
async fn an_instance_with_an_id_and_a_key_that_would_be_refused_is_still_worked_on() {
    let from = |key: &str| json!([{ "secretKeyRef": { "name": "s", "key": key } }]);
    let spec = json!({ "serviceClassExternalName": "a", "externalID": "a b", "parametersFrom": from("a/b") });
    let touched = json!({ "updateRequests": 1, "servicePlanExternalName": "large" });
    left_behind("ServiceInstance", spec, touched, json!({ "parametersFrom": from("a/c") })).await;
}

// v0.3 F12
#[tokio::test]
async fn a_binding_with_transforms_that_would_be_refused_is_still_worked_on() {
    let two = json!([{ "removeKey": { "key": "a" }, "addKey": { "key": "b", "stringValue": "c" } }, {}]);
    let spec = json!({ "instanceRef": { "name": "db" }, "secretTransforms": two });
    let same = json!({ "parameters": { "a": 1 } });
    left_behind("ServiceBinding", spec, same, json!({ "secretTransforms": [{}, {}] })).await;
}

#[tokio::test]
async fn a_plan_without_a_description_is_still_worked_on() {
    let spec = json!({ "externalName": "a", "externalID": "b", "serviceBrokerName": "c", "serviceClassRef": { "name": "d" } });
    left_behind("ServicePlan", spec, json!({ "description": "mended" }), json!({ "description": "" })).await;
}
