//! From JSON to a [`Catalog`], collecting what is wrong on the way. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    Catalog, InvalidCatalog, MAX_DEPTH, MAX_ID, MAX_NAME, MAX_SCHEMA, MAX_VALUES, MaintenanceInfo, Offering,
    Plan, Problem, Schemas,
};
use crate::{
    json::{self, RawObject, depth, has_at_most},
    osb::{semver, text},
};

/// What `requires` may hold ("Service Offering Object").
const PERMISSIONS: [&str; 3] = ["syslog_drain", "route_forwarding", "volume_mount"];
/// How much of a broker's text stands in a place or a problem.
const QUOTED: usize = 64;

pub(super) fn catalog(body: &[u8], secrets: &[Zeroizing<String>]) -> Result<Catalog, InvalidCatalog> {
    let mut findings = Findings::new(secrets);
    if !has_at_most(MAX_VALUES, body) {
        findings.fail::<()>("", format!("it has more than {MAX_VALUES} values, counting arrays and objects"));
        return Err(findings.invalid);
    }
    let offerings = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(document)) => services(document, &mut findings),
        Ok(_) => findings.fail("", "it is not a JSON object"),
        Err(error) => findings.fail("", format!("it is not JSON: {error}")),
    };
    if findings.invalid.problems.is_empty() {
        Ok(Catalog { offerings: offerings.unwrap_or_default(), skipped: findings.skipped })
    } else {
        Err(findings.invalid)
    }
}

/// What was found wrong: with the whole (invalid) and with single entries (skipped).
struct Findings<'s> {
    invalid: InvalidCatalog,
    skipped: Vec<Problem>,
    /// What a quotation must not repeat.
    secrets: &'s [Zeroizing<String>],
}

impl<'s> Findings<'s> {
    fn new(secrets: &'s [Zeroizing<String>]) -> Self {
        Self { invalid: InvalidCatalog { problems: Vec::new(), more: 0 }, skipped: Vec::new(), secrets }
    }

    /// A piece of the broker's text, without secrets.
    fn quoted(&self, text: &str) -> String {
        format!("\"{}\"", text::quote(text, self.secrets, QUOTED))
    }

    /// Notes a problem that makes the catalog invalid. Always `None`, in place of the value that could not be read.
    fn fail<T>(&mut self, place: &str, message: impl Into<String>) -> Option<T> {
        if self.invalid.problems.len() < InvalidCatalog::KEPT {
            self.invalid.problems.push(Problem { place: place.to_owned(), message: message.into() });
        } else {
            self.invalid.more += 1;
        }
        None
    }

    /// Notes why an entry is left out. Always `None`.
    fn skip<T>(&mut self, place: &str, message: impl Into<String>) -> Option<T> {
        self.skipped.push(Problem { place: place.to_owned(), message: message.into() });
        None
    }
}

/// The ids and names met so far, each with the place that has it.
#[derive(Default)]
struct Seen(HashMap<String, String>);

impl Seen {
    fn meet(&mut self, place: &str, field: &str, value: &str, findings: &mut Findings<'_>) {
        if let Some(first) = self.0.get(value) {
            let message = format!("{field} {} is already that of {first}", findings.quoted(value));
            return findings.fail(place, message).unwrap_or_default();
        }
        self.0.insert(value.to_owned(), place.to_owned());
    }
}

fn services(mut document: Map<String, Value>, findings: &mut Findings<'_>) -> Option<Vec<Offering>> {
    let services = match document.remove("services") {
        Some(Value::Array(services)) => services,
        None | Some(Value::Null) => return findings.fail("", "services is missing"),
        Some(_) => return findings.fail("", "services is not an array"),
    };
    let (mut ids, mut names, mut plan_ids) = (Seen::default(), Seen::default(), Seen::default());
    let mut offerings = Vec::new();
    for (index, service) in services.into_iter().enumerate() {
        let Some(mut entry) = Entry::new("", "services", index, service, findings) else {
            continue;
        };
        entry.meet(&mut ids, &mut names);
        offerings.extend(offering(&mut entry, &mut plan_ids));
    }
    Some(offerings)
}

fn offering(entry: &mut Entry<'_, '_>, plan_ids: &mut Seen) -> Option<Offering> {
    let (id, name, description) =
        (entry.required("id"), entry.required("name"), entry.required("description"));
    let bindable = match entry.flag("bindable") {
        None if !entry.has("bindable") => entry.fail("bindable is missing"),
        flag => flag,
    };
    let [plan_updateable, instances_retrievable, bindings_retrievable, allow_context_updates] =
        ["plan_updateable", "instances_retrievable", "bindings_retrievable", "allow_context_updates"]
            .map(|key| entry.flag(key).unwrap_or(false));
    let tags = entry.texts("tags");
    let requires = entry.texts("requires");
    for unknown in requires.iter().filter(|name| !PERMISSIONS.contains(&name.as_str())) {
        let unknown = entry.findings.quoted(unknown);
        entry.fail::<()>(format!("requires holds {unknown}, which the protocol does not know"));
    }
    let metadata = entry.metadata();
    let fits = entry.fits();
    let plans = plans(entry, plan_ids);
    if fits.is_some() && plans.is_empty() {
        return entry.findings.skip(&entry.place, "none of its plans can be used");
    }
    fits?;
    Some(Offering {
        id: id?,
        name: name?,
        description: description?,
        bindable: bindable?,
        plan_updateable,
        instances_retrievable,
        bindings_retrievable,
        allow_context_updates,
        tags,
        requires,
        metadata,
        plans,
    })
}

fn plans(offering: &mut Entry<'_, '_>, ids: &mut Seen) -> Vec<Plan> {
    let plans = match offering.object.remove("plans") {
        Some(Value::Array(plans)) if !plans.is_empty() => plans,
        Some(Value::Array(_)) => return offering.fail("plans is empty").unwrap_or_default(),
        None | Some(Value::Null) => return offering.fail("plans is missing").unwrap_or_default(),
        Some(_) => return offering.fail("plans is not an array").unwrap_or_default(),
    };
    let mut names = Seen::default();
    let mut usable = Vec::new();
    for (index, value) in plans.into_iter().enumerate() {
        let Some(mut entry) = Entry::new(&offering.place, "plans", index, value, offering.findings) else {
            continue;
        };
        entry.meet(ids, &mut names);
        usable.extend(plan(&mut entry));
    }
    usable
}

fn plan(entry: &mut Entry<'_, '_>) -> Option<Plan> {
    let (id, name, description) =
        (entry.required("id"), entry.required("name"), entry.required("description"));
    let free = entry.flag("free").unwrap_or(true);
    let bindable = entry.flag("bindable");
    let plan_updateable = entry.flag("plan_updateable");
    let binding_rotatable = entry.flag("binding_rotatable").unwrap_or(false);
    let maintenance_info = maintenance_info(entry);
    let metadata = entry.metadata();
    entry.fits()?;
    Some(Plan {
        id: id?,
        name: name?,
        description: description?,
        free,
        bindable,
        plan_updateable,
        binding_rotatable,
        maximum_polling_duration: seconds(entry.object.get("maximum_polling_duration")),
        maintenance_info,
        schemas: Schemas {
            instance_create: schema(entry, ["service_instance", "create"]),
            instance_update: schema(entry, ["service_instance", "update"]),
            binding_create: schema(entry, ["service_binding", "create"]),
        },
        metadata,
    })
}

fn seconds(value: Option<&Value>) -> Option<u64> {
    value?.as_u64().filter(|seconds| *seconds > 0)
}

fn maintenance_info(entry: &mut Entry<'_, '_>) -> Option<MaintenanceInfo> {
    let info = entry.take("maintenance_info")?;
    let version = match info.get("version") {
        Some(Value::String(version)) if semver::is_valid(version) => version.clone(),
        Some(Value::String(version)) => {
            let version = entry.findings.quoted(version);
            return entry.fail(format!("maintenance_info.version {version} is not a semantic version"));
        }
        None | Some(Value::Null) => return entry.fail("maintenance_info.version is missing"),
        Some(_) => return entry.fail("maintenance_info.version is not a string"),
    };
    let description = info.get("description").and_then(Value::as_str).map(str::to_owned);
    Some(MaintenanceInfo { version, description })
}

/// A schema, unless it is none or too large. It only helps people to fill in a form and the broker validates anyway,
/// so a bad one costs no more than itself.
fn schema(entry: &mut Entry<'_, '_>, [kind, action]: [&str; 2]) -> Option<RawObject> {
    let (mut holder, mut path) = (entry.object.get_mut("schemas")?, String::from("schemas"));
    for key in [kind, action, "parameters"] {
        match holder {
            Value::Object(members) => holder = members.get_mut(key)?,
            Value::Null => return None,
            _ => return entry.skip_once(format!("{path} is not an object")),
        }
        path = format!("{path}.{key}");
    }
    let schema = match holder.take() {
        Value::Object(schema) => schema,
        Value::Null => return None,
        _ => return entry.skip_once(format!("{path} is not an object")),
    };
    let schema = RawObject::from(schema);
    if schema.text().len() > MAX_SCHEMA {
        return entry.skip_once(format!("{path} is larger than {MAX_SCHEMA} bytes"));
    }
    entry.opaque(&path, schema)
}

/// One offering or plan while it is being read. What is large is taken out of it: a copy would double what a catalog takes.
struct Entry<'a, 's> {
    place: String,
    object: Map<String, Value>,
    findings: &'a mut Findings<'s>,
}

impl<'a, 's> Entry<'a, 's> {
    fn new(
        parent: &str,
        list: &str,
        index: usize,
        value: Value,
        findings: &'a mut Findings<'s>,
    ) -> Option<Self> {
        let separator = if parent.is_empty() { "" } else { ": " };
        let place = format!("{parent}{separator}{list}[{index}]");
        let Value::Object(object) = value else {
            return findings.fail(&place, "it is not an object");
        };
        let place = match object.get("name") {
            Some(Value::String(name)) if !name.is_empty() => format!("{place} {}", findings.quoted(name)),
            _ => place,
        };
        Some(Self { place, object, findings })
    }

    fn fail<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.findings.fail(&self.place, message)
    }

    /// Notes what is left out of the entry, unless that was the last thing noted. Always `None`.
    fn skip_once<T>(&mut self, message: String) -> Option<T> {
        let noted = self.findings.skipped.last();
        if noted.is_some_and(|last| last.place == self.place && last.message == message) {
            return None;
        }
        self.findings.skip(&self.place, message)
    }

    fn has(&self, key: &str) -> bool {
        self.object.get(key).is_some_and(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.object.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    fn meet(&mut self, ids: &mut Seen, names: &mut Seen) {
        for (field, seen) in [("id", ids), ("name", names)] {
            if let Some(value) = self.text(field).map(str::to_owned) {
                seen.meet(&self.place, field, &value, self.findings);
            }
        }
    }

    fn required(&mut self, key: &str) -> Option<String> {
        match self.object.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::String(_)) => self.fail(format!("{key} is empty")),
            None | Some(Value::Null) => self.fail(format!("{key} is missing")),
            Some(_) => self.fail(format!("{key} is not a string")),
        }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        match self.object.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(*flag),
            Some(_) => self.fail(format!("{key} is not a boolean")),
        }
    }

    fn take(&mut self, key: &str) -> Option<Map<String, Value>> {
        match self.object.remove(key) {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(_) => self.fail(format!("{key} is not an object")),
        }
    }

    fn metadata(&mut self) -> Option<RawObject> {
        let metadata = self.take("metadata")?;
        self.opaque("metadata", metadata.into())
    }

    /// An opaque object, unless it would make the cluster's object unreadable, or reading it too dear; notes why not.
    fn opaque(&mut self, what: &str, object: RawObject) -> Option<RawObject> {
        let text = object.text().as_bytes();
        if depth(text) > MAX_DEPTH {
            return self
                .findings
                .skip(&self.place, format!("{what} is nested more than {MAX_DEPTH} levels deep"));
        }
        if !has_at_most(json::MAX_VALUES, text) {
            return self
                .findings
                .skip(&self.place, format!("{what} has more than {} values", json::MAX_VALUES));
        }
        Some(object)
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let texts = match self.object.get(key) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        texts.or_else(|| self.fail(format!("{key} is not an array of strings"))).unwrap_or_default()
    }

    /// Whether the cluster can hold an entry with this id and name; notes why not.
    fn fits(&mut self) -> Option<()> {
        let mut fits = Some(());
        for (key, limit) in [("id", MAX_ID), ("name", MAX_NAME)] {
            if self.text(key).is_some_and(|text| text.chars().count() > limit) {
                fits = self.findings.skip(&self.place, format!("{key} is longer than {limit} characters"));
            }
        }
        fits
    }
}
