//! What a platform must not do: every request is held against the requirements of OSB 2.17 and of its
//! Kubernetes profile, strictly. A finding is a defect of the platform, whatever a script answers.

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::catalog::{flag, offering_flag};
use super::model::{Model, ledger_key};
use super::{Operation, Request};

type Findings = Vec<String>;

/// Everything wrong with the request.
pub(super) fn findings(model: &Model, request: &Request) -> Findings {
    let mut findings = Findings::new();
    let Some(operation) = request.operation else {
        return vec!["there is no such route".to_owned()];
    };
    headers(request, &mut findings);
    query(operation, request, &mut findings);
    match operation {
        Operation::Provision => provision(request, &mut findings),
        Operation::Update => update(request, &mut findings),
        Operation::Bind => bind(request, &mut findings),
        _ if !request.body_bytes.is_empty() => findings.push("a body where none belongs".to_owned()),
        _ => {}
    }
    if findings.is_empty() {
        against_model(model, operation, request, &mut findings);
    }
    findings
}

fn headers(request: &Request, findings: &mut Findings) {
    if request.header("x-broker-api-version").is_none() {
        findings.push("no X-Broker-API-Version".to_owned());
    }
    if request.headers.get("x-broker-api-request-identity").is_some_and(HeaderValue::is_empty) {
        findings.push("an empty X-Broker-API-Request-Identity".to_owned());
    }
    let json = |value: &str| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json");
    if !request.body_bytes.is_empty() && !request.header("content-type").is_some_and(json) {
        findings.push("a body that is not application/json".to_owned());
    }
    if let Some(identity) = request.header("x-broker-api-originating-identity")
        && originating_identity(identity).is_none()
    {
        findings.push(format!("X-Broker-API-Originating-Identity is malformed: {identity}"));
    }
}

/// The user of an `X-Broker-API-Originating-Identity`, if it is one of the Kubernetes profile.
pub(super) fn originating_identity(header: &str) -> Option<Value> {
    let encoded = header.strip_prefix("kubernetes ")?;
    let user: Value = serde_json::from_slice(&STANDARD.decode(encoded).ok()?).ok()?;
    let lists = user["extra"].as_object()?.values().all(Value::is_array);
    let complete = user["username"].is_string() && user["uid"].is_string() && user["groups"].is_array();
    (complete && lists).then_some(user)
}

fn query(operation: Operation, request: &Request, findings: &mut Findings) {
    use Operation as O;
    let allowed: &[&str] = match operation {
        O::Catalog => &[],
        O::Provision | O::Update | O::Bind => &["accepts_incomplete"],
        O::Deprovision | O::Unbind => &["accepts_incomplete", "service_id", "plan_id"],
        O::GetInstance | O::GetBinding => &["service_id", "plan_id"],
        O::PollInstance | O::PollBinding => &["service_id", "plan_id", "operation"],
    };
    for (index, (name, value)) in request.query.iter().enumerate() {
        if !allowed.contains(&name.as_str()) {
            findings.push(format!("unknown query parameter {name:?}"));
        }
        if value.is_empty() {
            findings.push(format!("empty query parameter {name:?}"));
        }
        if name == "accepts_incomplete" && !["true", "false"].contains(&value.as_str()) {
            findings.push(format!("accepts_incomplete is {value:?}"));
        }
        if request.query[..index].iter().any(|(earlier, _)| earlier == name) {
            findings.push(format!("query parameter {name:?} twice"));
        }
    }
    if matches!(operation, O::Deprovision | O::Unbind) {
        for name in ["service_id", "plan_id"] {
            if request.query(name).is_none() {
                findings.push(format!("no query parameter {name:?}"));
            }
        }
    }
}

fn provision(request: &Request, findings: &mut Findings) {
    let required = ["service_id", "plan_id", "organization_guid", "space_guid", "context"];
    object(&request.body, "the body", &required, &["parameters", "maintenance_info"], findings);
    common(&request.body, true, findings);
}

fn update(request: &Request, findings: &mut Findings) {
    let optional = ["context", "plan_id", "parameters", "previous_values", "maintenance_info"];
    object(&request.body, "the body", &["service_id"], &optional, findings);
    common(&request.body, true, findings);
    if let Some(previous) = request.body.get("previous_values") {
        let optional = ["service_id", "plan_id", "organization_id", "space_id", "maintenance_info"];
        object(previous, "previous_values", &[], &optional, findings);
        common(previous, true, findings);
    }
}

fn bind(request: &Request, findings: &mut Findings) {
    let optional = ["context", "app_guid", "bind_resource", "parameters", "predecessor_binding_id"];
    object(&request.body, "the body", &["service_id", "plan_id"], &optional, findings);
    common(&request.body, false, findings);
    if let Some(resource) = request.body.get("bind_resource") {
        object(resource, "bind_resource", &[], &["app_guid", "route"], findings);
        common(resource, false, findings);
    }
}

/// An object with these properties and no others.
fn object(value: &Value, what: &str, required: &[&str], optional: &[&str], findings: &mut Findings) {
    let Some(properties) = value.as_object() else {
        findings.push(format!("{what} is not a JSON object"));
        return;
    };
    for name in required.iter().filter(|name| !properties.contains_key(**name)) {
        findings.push(format!("{what} has no {name}"));
    }
    for name in properties.keys().filter(|name| ![required, optional].concat().contains(&name.as_str())) {
        findings.push(format!("{what} has an unknown property {name:?}"));
    }
}

/// The types that hold wherever a property of that name stands.
fn common(body: &Value, of_instance: bool, findings: &mut Findings) {
    for (name, value) in body.as_object().into_iter().flatten() {
        match name.as_str() {
            "parameters" | "bind_resource" | "previous_values" if !value.is_object() => {
                findings.push(format!("{name} is not an object"));
            }
            "parameters" | "bind_resource" | "previous_values" => {}
            "context" => context(value, of_instance, findings),
            "maintenance_info" => {
                object(value, "maintenance_info", &[], &["version", "description"], findings);
                non_empty(value, "version", "maintenance_info", findings);
            }
            _ => non_empty(body, name, "the body", findings),
        }
    }
}

fn context(context: &Value, of_instance: bool, findings: &mut Findings) {
    if context["platform"] != "kubernetes" {
        findings.push("context.platform is not \"kubernetes\"".to_owned());
    }
    let names: &[&str] =
        if of_instance { &["namespace", "clusterid", "instance_name"] } else { &["namespace", "clusterid"] };
    for name in names {
        non_empty(context, name, "context", findings);
    }
    for name in ["namespace_annotations", "instance_annotations"] {
        let strings = |map: &Value| map.as_object().is_some_and(|map| map.values().all(Value::is_string));
        if context.get(name).is_some_and(|map| !strings(map)) {
            findings.push(format!("context.{name} is not an object of strings"));
        }
    }
}

fn non_empty(object: &Value, name: &str, what: &str, findings: &mut Findings) {
    if object[name].as_str().is_none_or(str::is_empty) {
        findings.push(format!("{name} of {what} is not a non-empty string"));
    }
}

/// What only somebody who knows the catalog and the instances can see.
fn against_model(model: &Model, operation: Operation, request: &Request, findings: &mut Findings) {
    use Operation as O;
    let mut finding = |wrong: bool, text: &str| {
        if wrong {
            findings.push(text.to_owned());
        }
    };
    let body = &request.body;
    let instance = model.instances.get(request.instance());
    let binding = model.bindings.get(request.id()).filter(|_| request.binding_id.is_some());
    let asked = |name: &str| request.query(name).or_else(|| body[name].as_str());
    let service = asked("service_id").or(instance.map(|instance| instance.service_id.as_str()));

    if let Some(instance) = instance.filter(|_| operation != O::Provision) {
        finding(
            asked("service_id").is_some_and(|id| id != instance.service_id),
            "service_id is not that of the instance",
        );
        let running = instance.operation.as_ref();
        let before = running.map_or(instance.plan_id.as_str(), |running| running.plan_before.as_str());
        let target = instance.updated_by["plan_id"].as_str();
        let ends = running.is_some_and(|running| running.is_going(O::Update)) && operation == O::Deprovision;
        let known = |id: &str| {
            id == instance.plan_id
                || id == before
                || (ends && target == Some(id))
                || binding.is_some_and(|binding| binding.plan_id == id)
        };
        finding(
            operation != O::Update && asked("plan_id").is_some_and(|id| !known(id)),
            "plan_id is not that of the instance or binding",
        );
    }
    match operation {
        O::Provision => {
            finding(
                !model.ids_return && model.deleted.contains(request.instance()),
                "the id of a deleted instance is reused",
            );
        }
        O::Bind => {
            finding(
                !model.ids_return && model.deleted.contains(request.id()),
                "the id of a deleted binding is reused",
            );
            let plan = |name| flag(&model.catalog, request.text("service_id"), request.text("plan_id"), name);
            finding(plan("bindable") == Some(false), "a binding of a plan that is not bindable");
            if let Some(predecessor) = body["predecessor_binding_id"].as_str() {
                finding(plan("binding_rotatable") == Some(false), "a rotation that the plan does not allow");
                let same = |binding: &super::Binding| binding.instance_id == request.instance();
                finding(
                    binding.is_none() && !model.bindings.get(predecessor).is_some_and(same),
                    "predecessor_binding_id is no binding of this instance",
                );
            }
        }
        O::Update => {
            if let Some(instance) = instance.filter(|instance| instance.updated_by != *body) {
                let changes = body["plan_id"].as_str().is_some_and(|id| id != instance.plan_id);
                let updateable =
                    flag(&model.catalog, &instance.service_id, &instance.plan_id, "plan_updateable");
                finding(changes && updateable == Some(false), "a plan change that the plan does not allow");
                let previous = body["previous_values"]["plan_id"].as_str();
                // Whoever repeats a change whose answer was lost still says what was before it.
                let repeated = body["plan_id"].as_str() == Some(instance.plan_id.as_str());
                finding(
                    !repeated && previous.is_some_and(|id| id != instance.plan_id),
                    "previous_values.plan_id is not the plan of the instance",
                );
            }
            let others = ["plan_id", "parameters", "maintenance_info"];
            let allowed = service.and_then(|id| offering_flag(&model.catalog, id, "allow_context_updates"));
            finding(
                body.get("context").is_some()
                    && others.iter().all(|name| body.get(name).is_none())
                    && allowed == Some(false),
                "an update of the context alone, which the offering does not allow",
            );
        }
        O::Deprovision => finding(
            model.bindings.values().any(|binding| binding.instance_id == request.instance()),
            "the instance still has bindings",
        ),
        O::GetInstance | O::GetBinding => {
            let name =
                if operation == O::GetInstance { "instances_retrievable" } else { "bindings_retrievable" };
            let retrievable = service.and_then(|id| offering_flag(&model.catalog, id, name));
            finding(retrievable == Some(false), "fetched, although the offering is not retrievable");
        }
        O::PollInstance | O::PollBinding => {
            let key = ledger_key(request);
            let awaited = model.awaiting.get(&key);
            let issued = model.issued.get(&key);
            finding(
                awaited.is_none() && binding.is_none() && (operation == O::PollBinding || instance.is_none()),
                "a poll for an id that was never sent",
            );
            match request.query("operation") {
                None => finding(awaited == Some(&true), "a poll without the operation of the 202"),
                Some(operation) => finding(
                    !issued.is_some_and(|issued| issued.iter().any(|known| known == operation)),
                    "a poll with an operation that was never handed out",
                ),
            }
        }
        O::Unbind => finding(
            binding.is_some_and(|binding| binding.instance_id != request.instance()),
            "the binding is of another instance",
        ),
        O::Catalog => {}
    }
}
