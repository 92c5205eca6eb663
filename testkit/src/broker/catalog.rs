//! Builders for catalogs: the ordinary one, and any other a test needs.
//!
//! They produce plain JSON, so that a test can break the result in any way it likes.

use serde_json::{Value, json};

/// The id of the offering `postgresql` in [`default_catalog`].
pub const POSTGRESQL: &str = "offering-postgresql";
/// The id of its plan `small`.
pub const SMALL: &str = "plan-small";
/// The id of its plan `large`.
pub const LARGE: &str = "plan-large";

/// `postgresql` with the plans `small` and `large`: bindable, retrievable, plan changes allowed.
pub fn default_catalog() -> Value {
    catalog([Offering::new(POSTGRESQL, "postgresql")
        .plan(Plan::new(SMALL, "small"))
        .plan(Plan::new(LARGE, "large"))])
}

/// A catalog of these offerings; none makes the valid, empty catalog.
pub fn catalog(offerings: impl IntoIterator<Item = Offering>) -> Value {
    json!({ "services": offerings.into_iter().map(Offering::json).collect::<Vec<_>>() })
}

/// An offering. Starts bindable, `plan_updateable`, `instances_retrievable` and
/// `bindings_retrievable`, without plans.
#[derive(Clone, Debug)]
pub struct Offering(Value);

impl Offering {
    pub fn new(id: &str, name: &str) -> Self {
        Self(json!({
            "id": id,
            "name": name,
            "description": format!("The offering {name}"),
            "bindable": true,
            "plan_updateable": true,
            "instances_retrievable": true,
            "bindings_retrievable": true,
            "plans": [],
        }))
    }

    /// Appends a plan.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        if let Some(plans) = self.0["plans"].as_array_mut() {
            plans.push(plan.json());
        }
        self
    }

    /// Appends `count` plans named `plan-0`, `plan-1`, … with ids that start with the offering's.
    #[must_use]
    pub fn many_plans(self, count: usize) -> Self {
        let id = self.0["id"].as_str().unwrap_or_default().to_owned();
        (0..count).fold(self, |offering, index| {
            offering.plan(Plan::new(&format!("{id}-plan-{index}"), &format!("plan-{index}")))
        })
    }

    /// Sets any property, the builder's own included.
    #[must_use]
    pub fn with(mut self, property: &str, value: impl Into<Value>) -> Self {
        self.0[property] = value.into();
        self
    }

    pub fn json(self) -> Value {
        self.0
    }
}

/// A plan. Starts with the three required properties only.
#[derive(Clone, Debug)]
pub struct Plan(Value);

impl Plan {
    pub fn new(id: &str, name: &str) -> Self {
        Self(json!({ "id": id, "name": name, "description": format!("The plan {name}") }))
    }

    /// Overrides the offering: no bindings.
    #[must_use]
    pub fn not_bindable(self) -> Self {
        self.with("bindable", false)
    }

    /// Overrides the offering: no change away from this plan.
    #[must_use]
    pub fn not_updateable(self) -> Self {
        self.with("plan_updateable", false)
    }

    /// Bindings may be rotated.
    #[must_use]
    pub fn rotatable(self) -> Self {
        self.with("binding_rotatable", true)
    }

    /// The version of the plan's maintenance.
    #[must_use]
    pub fn maintenance(self, version: &str) -> Self {
        self.with("maintenance_info", json!({ "version": version, "description": format!("to {version}") }))
    }

    /// The JSON Schemas of the parameters; `null` leaves one out.
    #[must_use]
    pub fn schemas(self, create: Value, update: Value, bind: Value) -> Self {
        let mut schemas = json!({});
        for (object, action, schema) in [
            ("service_instance", "create", create),
            ("service_instance", "update", update),
            ("service_binding", "create", bind),
        ] {
            if !schema.is_null() {
                schemas[object][action] = json!({ "parameters": schema });
            }
        }
        self.with("schemas", schemas)
    }

    /// Sets any property, the builder's own included.
    #[must_use]
    pub fn with(mut self, property: &str, value: impl Into<Value>) -> Self {
        self.0[property] = value.into();
        self
    }

    pub fn json(self) -> Value {
        self.0
    }
}

/// A flag of a plan, with the offering's value where the plan has none (OSB: plan overrides offering).
/// `None` if the catalog has no such plan.
pub(super) fn flag(catalog: &Value, service_id: &str, plan_id: &str, name: &str) -> Option<bool> {
    let offering = offering(catalog, service_id)?;
    let plan = offering["plans"].as_array()?.iter().find(|plan| plan["id"] == plan_id)?;
    Some(plan[name].as_bool().or(offering[name].as_bool()).unwrap_or(false))
}

/// Whether the catalog has this plan in this offering.
pub(super) fn has_plan(catalog: &Value, service_id: &str, plan_id: &str) -> bool {
    flag(catalog, service_id, plan_id, "bindable").is_some()
}

/// A flag that only offerings have. `None` if the catalog has no such offering.
pub(super) fn offering_flag(catalog: &Value, service_id: &str, name: &str) -> Option<bool> {
    Some(offering(catalog, service_id)?[name].as_bool().unwrap_or(false))
}

fn offering<'a>(catalog: &'a Value, service_id: &str) -> Option<&'a Value> {
    catalog["services"].as_array()?.iter().find(|offering| offering["id"] == service_id)
}
