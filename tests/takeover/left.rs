//! What the original has left, made from a file: objects with their status, and what the broker has.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha224};
use testkit::{
    broker::{Begun, Broker, Operation, Request},
    stage::{
        Stage,
        case::Case,
        objects::{
            BINDING, BROKER, CLASS, CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, INSTANCE, Kind, NAMESPACE,
            PLAN, SECRET, name, plain, uid,
        },
    },
};

/// As the brokers know the cluster.
pub const CLUSTER_ID: &str = "d3a1f1c2-7a35-4c9b-8b1e-6f0f5e0a9c44";

/// The id of the instance of every state at its broker, made up by the original's webhook.
pub const INSTANCE_ID: &str = "3c1f7a52-64b1-4f0b-8a0e-5d2b9c7e1f10";

/// The id of the binding.
pub const BINDING_ID: &str = "c0a4de8e-93f5-4f1c-b6a3-2f4d8b1e7a21";

/// A state, with everything that was there before the operator came.
pub struct Left {
    pub case: Case,
    /// The objects as they were.
    pub objects: Vec<Value>,
}

impl Left {
    /// Makes everything that a file tells of.
    pub async fn behind(stage: &'static Stage, name: &str, text: &str) -> Result<Self> {
        let wide = text.contains("clusterServiceClassExternalName");
        let case = Case::new(stage, name, wide).await;
        let mut left = Self { case, objects: Vec::new() };
        let catalog = if wide { "cluster" } else { "namespace" };
        let catalog = format!("{}/tests/takeover/catalog/{catalog}.yaml", env!("CARGO_MANIFEST_DIR"));
        for document in left.documents(&std::fs::read_to_string(catalog)?)? {
            left.make(&document).await?;
        }
        for document in left.documents(text)? {
            if document["kind"] == "AtBroker" {
                left.seed(&document).await?;
            } else {
                left.make(&document).await.with_context(|| format!("{document}"))?;
            }
        }
        Ok(left)
    }

    pub fn broker(&self) -> &Broker {
        &self.case.broker
    }

    /// An object as it was.
    pub fn before(&self, kind: Kind, wanted: &str) -> &Value {
        let found = self.objects.iter().find(|object| object["kind"] == kind.name && name(object) == wanted);
        found.unwrap_or_else(|| panic!("the state has no {} {wanted}", kind.name))
    }

    /// What the broker was asked, but for its catalog: operation and id.
    pub fn asked(&self) -> Vec<(Operation, String)> {
        let of = |request: &Request| Some((request.operation?, request.id().to_owned()));
        let asked = self.broker().requests(|request| !request.is(Operation::Catalog));
        asked.iter().filter_map(of).collect()
    }

    /// The changes that the broker was asked for.
    pub fn changes(&self) -> Vec<(Operation, String)> {
        let mut asked = self.asked();
        asked.retain(|(operation, _)| operation.is_mutation());
        asked
    }

    /// The documents of a file, with what is only known now put in.
    fn documents(&self, text: &str) -> Result<Vec<Value>> {
        let text = text.replace("$NS", self.case.namespace()).replace("$URL", &self.broker().url());
        let text = replace_calls(&text, "$sha224(", |value| {
            Sha224::digest(value.as_bytes()).iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        });
        let now = Timestamp::now();
        let text = replace_calls(&text, "$ago(", |seconds| {
            let then = now - Duration::from_secs(seconds.parse().unwrap_or_default());
            format!("\"{then:.0}\"")
        });
        Ok(serde_saphyr::from_multiple(&text)?)
    }

    /// Makes an object, then says its status, as the original did.
    async fn make(&mut self, document: &Value) -> Result<()> {
        let kinds =
            [BROKER, CLASS, PLAN, CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, INSTANCE, BINDING, SECRET];
        let kind = kinds.into_iter().find(|kind| document["kind"] == kind.name).context("an unknown kind")?;
        let mut object = document.clone();
        self.know_owners(&mut object);
        let deleted =
            object["metadata"].as_object_mut().and_then(|meta| meta.shift_remove("deletionTimestamp"));
        let status = object.as_object_mut().and_then(|object| object.shift_remove("status"));
        let object: DynamicObject = serde_json::from_value(object)?;
        let hand = &self.case.hand;
        let api = kind.api(&hand.client, &hand.namespace);
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut made = api.create(&kube::api::PostParams::default(), &object).await?;
        if deleted.is_some() {
            hand.delete(kind, &name).await?;
        }
        if let Some(status) = status {
            let patch = Patch::Merge(json!({ "status": status }));
            made = api.patch_status(&name, &PatchParams::default(), &patch).await?;
        }
        self.objects.push(plain(made));
        Ok(())
    }

    /// Owners are known by their uid.
    fn know_owners(&self, object: &mut Value) {
        for owner in object["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
            let is_it =
                |left: &&Value| left["kind"] == owner["kind"] && left["metadata"]["name"] == owner["name"];
            owner["uid"] = self.objects.iter().find(is_it).map(|left| uid(left).into()).unwrap_or_default();
        }
        if object["metadata"]["ownerReferences"].is_null()
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.shift_remove("ownerReferences");
        }
    }

    /// What the broker has, as if it had been asked for by the original: with the bodies that it sent.
    async fn seed(&self, document: &Value) -> Result<()> {
        let namespace = self.case.get(NAMESPACE, self.case.namespace()).await;
        let context = json!({
            "platform": "kubernetes", "namespace": self.case.namespace(), "clusterid": CLUSTER_ID,
            "instance_name": "db",
        });
        let service = self.case.unique("offering-postgresql");
        let body = |what: &Value, more: Value| {
            let mut body = json!({ "service_id": service, "plan_id": what["plan"], "context": context });
            if what["parameters"].is_object() {
                body["parameters"] = what["parameters"].clone();
            }
            testkit::stage::case::with(body, more)
        };
        for what in document["instances"].as_array().into_iter().flatten() {
            let more = json!({ "organization_guid": CLUSTER_ID, "space_guid": uid(&namespace) });
            let begun = begun(what, &service)?;
            let (id, body) = (text(&what["id"]), body(what, more));
            if what["orphan"] == true {
                self.broker().seed_orphan(id, &body, begun.as_ref());
            } else {
                self.broker().seed_instance(id, &body, begun.as_ref());
            }
        }
        for what in document["bindings"].as_array().into_iter().flatten() {
            let more = json!({ "bind_resource": { "app_guid": uid(&namespace) } });
            let (id, instance) = (text(&what["id"]), text(&what["instance"]));
            let begun = begun(what, &service)?;
            self.broker().seed_binding(id, instance, &body(what, more), &what["credentials"], begun.as_ref());
        }
        Ok(())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The operation that goes on, if one does.
fn begun(what: &Value, service: &str) -> Result<Option<Begun>> {
    let operation = &what["operation"];
    let kind = match operation["kind"].as_str() {
        None => return Ok(None),
        Some("Provision") => Operation::Provision,
        Some("Update") => Operation::Update,
        Some("Deprovision") => Operation::Deprovision,
        Some("Bind") => Operation::Bind,
        Some("Unbind") => Operation::Unbind,
        Some(other) => bail!("there is no operation {other}"),
    };
    let body = json!({ "service_id": service, "plan_id": operation["plan"] });
    Ok(Some(Begun::new(kind, text(&operation["name"])).with_body(body)))
}

/// Replaces `$name(argument)`.
fn replace_calls(text: &str, call: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(call);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (argument, rest) = part.split_once(')').unwrap_or((part, ""));
        replaced.push_str(&value(argument));
        replaced.push_str(rest);
    }
    replaced
}
