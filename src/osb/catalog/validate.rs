//! From the document to a [`Catalog`]: which entries can be offered, and the faults of the others. Pure.

use zeroize::Zeroizing;

use super::{
    Catalog, CatalogOffering, CatalogPlan, InvalidCatalog, LeftOut, MAX_DEPTH, MAX_ENTRIES, MAX_ID, MAX_NAME,
    MAX_SCHEMA, MaintenanceInfo, Schemas,
    duplicates::{CheckedEntry, leave_out_same_ids, leave_out_same_names},
    problems::Findings,
    wire::{self, Member},
};
use crate::json::{self, RawObject, depth, has_at_most};

/// The words of `requires` ("Service Offering Object").
const PERMISSIONS: [&str; 3] = ["syslog_drain", "route_forwarding", "volume_mount"];

pub(super) fn catalog(body: &[u8], secrets: &[Zeroizing<String>]) -> Result<Catalog, InvalidCatalog> {
    let services = wire::services(body).map_err(InvalidCatalog)?;
    let plans = |service: &&[u8]| wire::array(service, "plans").map_or(0, |plans| plans.len());
    let entries = services.len() + services.iter().map(plans).sum::<usize>();
    if entries > MAX_ENTRIES {
        let message = format!("it has {entries} offerings and plans: {MAX_ENTRIES} are the most");
        return Err(InvalidCatalog(message));
    }
    let mut findings = Findings::new(secrets);
    let read = |(index, text)| service(index, text, &mut findings);
    let mut services: Vec<Service> = services.into_iter().enumerate().map(read).collect();
    leave_out_same_ids(services.iter_mut().map(|service| &mut service.offering).collect(), &mut findings);
    leave_out_same_names(services.iter_mut().map(|service| &mut service.offering).collect(), &mut findings);
    leave_out_same_ids(services.iter_mut().flat_map(|service| &mut service.plans).collect(), &mut findings);
    for service in &mut services {
        leave_out_same_names(service.plans.iter_mut().collect(), &mut findings);
    }
    let mut left_out = LeftOut::default();
    let offerings = services.into_iter().filter_map(|service| offered(service, &mut left_out, &mut findings));
    let offerings = offerings.collect();
    Ok(Catalog { offerings, skipped: findings.skipped, tolerated: findings.tolerated, left_out })
}

/// An offering, without its plans, and the plans.
struct Service {
    offering: CheckedEntry<CatalogOffering>,
    plans: Vec<CheckedEntry<CatalogPlan>>,
}

/// The offering with its usable plans. Notes the offerings and plans that are left out.
fn offered(service: Service, left_out: &mut LeftOut, findings: &mut Findings<'_>) -> Option<CatalogOffering> {
    let Service { offering: CheckedEntry { place, id, value, .. }, plans } = service;
    let Some(id) = id else {
        left_out.unknown_offering = true;
        return None;
    };
    let Some(mut offering) = value else {
        left_out.offerings.insert(id);
        return None;
    };
    for CheckedEntry { id: plan_id, value, .. } in plans {
        match (value, plan_id) {
            (Some(plan), _) => offering.plans.push(plan),
            (None, Some(plan_id)) => _ = left_out.plans.insert(plan_id),
            (None, None) => _ = left_out.with_unknown_plans.insert(id.clone()),
        }
    }
    if offering.plans.is_empty() {
        findings.skipped.push(&place, "none of its plans can be used");
        left_out.offerings.insert(id);
        return None;
    }
    Some(offering)
}

fn service(index: usize, text: &[u8], findings: &mut Findings<'_>) -> Service {
    let mut entry = Entry::new(format!("services[{index}]"), findings);
    let Some(wire) = entry.read::<wire::OfferingMembers>(text) else {
        return Service { offering: entry.candidate(None, None, None), plans: Vec::new() };
    };
    let (id, name) = entry.identity(wire.id, wire.name);
    let offering = CatalogOffering {
        id: id.clone().unwrap_or_default().into(),
        name: name.clone().unwrap_or_default(),
        description: entry.description(wire.description, name.as_deref()),
        bindable: entry.bindable(&wire.bindable),
        plan_updateable: entry.flag("plan_updateable", &wire.plan_updateable).unwrap_or(false),
        instances_retrievable: entry
            .flag("instances_retrievable", &wire.instances_retrievable)
            .unwrap_or(false),
        bindings_retrievable: entry.flag("bindings_retrievable", &wire.bindings_retrievable).unwrap_or(false),
        allow_context_updates: entry
            .flag("allow_context_updates", &wire.allow_context_updates)
            .unwrap_or(false),
        tags: entry.texts("tags", wire.tags),
        requires: entry.requires(wire.requires),
        metadata: entry.opaque(text, "metadata", "metadata"),
        plans: Vec::new(),
    };
    let plans = match wire::array(text, "plans") {
        Ok(plans) if plans.is_empty() => Err("plans is empty".to_owned()),
        plans => plans,
    };
    let plans = plans.unwrap_or_else(|problem| {
        entry.fault(problem);
        Vec::new()
    });
    let offering = entry.candidate(id, name, Some(offering));
    let plans = plans.into_iter().enumerate();
    let plans =
        plans.map(|(index, text)| plan(format!("{}: plans[{index}]", offering.place), text, findings));
    let plans = plans.collect();
    Service { offering, plans }
}

fn plan(place: String, text: &[u8], findings: &mut Findings<'_>) -> CheckedEntry<CatalogPlan> {
    let mut entry = Entry::new(place, findings);
    let Some(wire) = entry.read::<wire::PlanMembers>(text) else {
        return entry.candidate(None, None, None);
    };
    let (id, name) = entry.identity(wire.id, wire.name);
    let plan = CatalogPlan {
        id: id.clone().unwrap_or_default().into(),
        name: name.clone().unwrap_or_default(),
        description: entry.description(wire.description, name.as_deref()),
        free: entry.flag("free", &wire.free).unwrap_or(true),
        bindable: entry.flag("bindable", &wire.bindable),
        plan_updateable: entry.flag("plan_updateable", &wire.plan_updateable),
        binding_rotatable: entry.flag("binding_rotatable", &wire.binding_rotatable).unwrap_or(false),
        maximum_polling_duration: entry.seconds(&wire.maximum_polling_duration),
        maintenance_info: entry.maintenance_info(text),
        schemas: entry.schemas(text),
        metadata: entry.opaque(text, "metadata", "metadata"),
    };
    entry.candidate(id, name, Some(plan))
}

/// One offering or plan while it is read.
struct Entry<'f, 's> {
    place: String,
    findings: &'f mut Findings<'s>,
    /// It cannot be offered.
    is_faulty: bool,
}

impl<'f, 's> Entry<'f, 's> {
    fn new(place: String, findings: &'f mut Findings<'s>) -> Self {
        Self { place, findings, is_faulty: false }
    }

    fn candidate<T>(self, id: Option<String>, name: Option<String>, value: Option<T>) -> CheckedEntry<T> {
        CheckedEntry { place: self.place, id, name, value: value.filter(|_| !self.is_faulty) }
    }

    /// Notes why the entry cannot be offered.
    fn fault(&mut self, message: impl Into<String>) {
        self.findings.skipped.push(&self.place, message);
        self.is_faulty = true;
    }

    /// Notes why a field is left out of the entry.
    fn skip_field(&mut self, message: String) {
        self.findings.skipped.push(&self.place, message);
    }

    /// Notes a fault that is tolerated.
    fn tolerate(&mut self, message: impl Into<String>) {
        self.findings.tolerated.push(&self.place, message);
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self, text: &[u8]) -> Option<T> {
        wire::entry(text).map_err(|problem| self.fault(problem)).ok()
    }

    /// Id and name. From now on, messages show the name with the place.
    fn identity(&mut self, id: Member<String>, name: Member<String>) -> (Option<String>, Option<String>) {
        if let Member::Present(name) = &name
            && !name.is_empty()
        {
            let name = self.findings.quoted(name);
            self.place = format!("{} {name}", self.place);
        }
        (self.required("id", id, MAX_ID), self.required("name", name, MAX_NAME))
    }

    fn required(&mut self, key: &str, field: Member<String>, limit: usize) -> Option<String> {
        let problem = match &field {
            Member::Present(text) if text.is_empty() => "is empty".to_owned(),
            Member::Present(text) if text.chars().count() > limit => {
                format!("is longer than {limit} characters")
            }
            Member::Present(_) => String::new(),
            Member::Absent(()) => "is missing".to_owned(),
            Member::Mistyped(_) => "is not a string".to_owned(),
        };
        if !problem.is_empty() {
            self.fault(format!("{key} {problem}"));
        }
        match field {
            Member::Present(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The description. The class and plan objects need one, so it is the name if the broker sends none.
    fn description(&mut self, field: Member<String>, name: Option<&str>) -> String {
        let problem = match field {
            Member::Present(text) if !text.is_empty() => return text,
            Member::Present(_) => "is empty",
            Member::Absent(()) => "is missing",
            Member::Mistyped(_) => "is not a string",
        };
        self.tolerate(format!("description {problem}; the name is used"));
        name.unwrap_or_default().to_owned()
    }

    /// `bindable` of an offering, which the spec requires.
    fn bindable(&mut self, field: &Member<bool>) -> bool {
        if matches!(field, Member::Absent(())) {
            self.tolerate("bindable is missing; false is used");
        }
        self.flag("bindable", field).unwrap_or(false)
    }

    fn flag(&mut self, key: &str, field: &Member<bool>) -> Option<bool> {
        match field {
            Member::Present(flag) => Some(*flag),
            Member::Absent(()) => None,
            Member::Mistyped(_) => {
                self.fault(format!("{key} is not a boolean"));
                None
            }
        }
    }

    fn texts(&mut self, key: &str, field: Member<Vec<Member<String>>>) -> Vec<String> {
        let items = match field {
            Member::Present(items) => items,
            Member::Absent(()) => return Vec::new(),
            Member::Mistyped(_) => {
                self.skip_field(format!("{key} is not an array of strings"));
                return Vec::new();
            }
        };
        let text = |item| if let Member::Present(text) = item { Some(text) } else { None };
        let count = items.len();
        let texts: Vec<String> = items.into_iter().filter_map(text).collect();
        if texts.len() < count {
            self.skip_field(format!("{key} holds values that are not strings"));
        }
        texts
    }

    fn requires(&mut self, field: Member<Vec<Member<String>>>) -> Vec<String> {
        let requires = self.texts("requires", field);
        for unknown in requires.iter().filter(|word| !PERMISSIONS.contains(&word.as_str())) {
            let unknown = self.findings.quoted(unknown);
            self.tolerate(format!("requires holds {unknown}, which is no permission of the protocol"));
        }
        requires
    }

    /// Zero means that the plan sets no limit, as an absent value does.
    fn seconds(&mut self, field: &Member<u64>) -> Option<u64> {
        match field {
            Member::Present(seconds) => Some(*seconds).filter(|seconds| *seconds > 0),
            Member::Absent(()) => None,
            Member::Mistyped(_) => {
                self.skip_field("maximum_polling_duration is not a positive integer".to_owned());
                None
            }
        }
    }

    fn maintenance_info(&mut self, plan: &[u8]) -> Option<MaintenanceInfo> {
        let text = self.object(plan, "maintenance_info", "maintenance_info")?;
        let problem = match wire::entry::<wire::MaintenanceInfoMembers>(text) {
            Err(problem) => format!("maintenance_info: {problem}"),
            Ok(info) => match info.version {
                Member::Present(version) if semver::Version::parse(&version).is_ok() => {
                    let description = match info.description {
                        Member::Present(description) => description,
                        Member::Absent(()) | Member::Mistyped(_) => String::new(),
                    };
                    return Some(MaintenanceInfo { version, description });
                }
                Member::Present(version) => {
                    let version = self.findings.quoted(&version);
                    format!("maintenance_info.version {version} is not a semantic version")
                }
                Member::Absent(()) => "maintenance_info.version is missing".to_owned(),
                Member::Mistyped(_) => "maintenance_info.version is not a string".to_owned(),
            },
        };
        self.skip_field(problem);
        None
    }

    /// The schemas. The broker validates parameters anyway, so only a bad schema itself is left out.
    fn schemas(&mut self, plan: &[u8]) -> Schemas {
        let Some(schemas) = self.object(plan, "schemas", "schemas") else {
            return Schemas::default();
        };
        let instance = self.object(schemas, "service_instance", "schemas.service_instance");
        let binding = self.object(schemas, "service_binding", "schemas.service_binding");
        let mut schema = |actions: Option<&[u8]>, key: &str, path: &str| {
            let input = self.object(actions?, key, path)?;
            self.schema(input, &format!("{path}.parameters"))
        };
        Schemas {
            instance_create: schema(instance, "create", "schemas.service_instance.create"),
            instance_update: schema(instance, "update", "schemas.service_instance.update"),
            binding_create: schema(binding, "create", "schemas.service_binding.create"),
        }
    }

    fn schema(&mut self, input: &[u8], path: &str) -> Option<RawObject> {
        let schema = self.opaque(input, "parameters", path)?;
        if schema.text().len() > MAX_SCHEMA {
            self.skip_field(format!("{path} is larger than {MAX_SCHEMA} bytes"));
            return None;
        }
        if let Some(why) = self.findings.unusable(&schema) {
            self.tolerate(format!("{path} is not enforced: {why}"));
        }
        Some(schema)
    }

    /// The text of an object. Notes a value that is not an object. `path` names it in the message.
    fn object<'t>(&mut self, holder: &'t [u8], key: &str, path: &str) -> Option<&'t [u8]> {
        wire::object(holder, key)
            .map_err(|()| self.skip_field(format!("{path} is not an object")))
            .ok()
            .flatten()
    }

    /// An object that is stored as it is. It is left out if it would make the object in the cluster
    /// unreadable, or if reading it would take too much memory.
    fn opaque(&mut self, holder: &[u8], key: &str, path: &str) -> Option<RawObject> {
        let text = self.object(holder, key, path)?;
        let problem = if depth(text) > MAX_DEPTH {
            format!("is nested more than {MAX_DEPTH} levels deep")
        } else if !has_at_most(json::MAX_VALUES, text) {
            format!("has more than {} values", json::MAX_VALUES)
        } else {
            match serde_json::from_slice(text) {
                Ok(object) => return Some(object),
                Err(error) => format!("cannot be read: {}", wire::reason(&error)),
            }
        };
        self.skip_field(format!("{path} {problem}"));
        None
    }
}
