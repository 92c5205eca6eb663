//! What a broker offers: `GET /v2/catalog` (OSB 2.17, "Catalog Management"). Pure.
//!
//! Each offering and plan is validated alone. One that breaks a rule is left out, and the message names all
//! its faults; the others are offered. If several offerings or plans have the same id, or the same name where
//! names must differ, all of them are left out, because it is unknown which one is meant. [`LeftOut`] names
//! what was left out, so that the caller keeps the objects of these entries. A fault without risk is
//! tolerated, or only the field that has it is left out. Faults that v0.3 accepted are accepted.
//!
//! A document is refused as a whole only if it is not a JSON object with an array `services`, or is too
//! large. The caller then keeps the last good catalog.
//!
//! `dashboard_client` is never read: it holds a secret, and Kubernetes has no use for it.

use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    ids::{PlanId, ServiceId},
    wire::MaintenanceInfo,
};
pub use crate::json::MAX_DEPTH;
use crate::json::RawObject;

mod duplicates;
mod left_out;
mod problems;

mod validate;
mod wire;

pub use left_out::LeftOut;
pub use problems::{InvalidCatalog, Problem, Problems};

/// The longest name of an offering or plan, in characters: the limit of `spec.externalName` in v0.3.
pub const MAX_NAME: usize = 63;
/// The longest id of an offering or plan, in characters. The spec sets no limit; object names are derived
/// from ids.
pub const MAX_ID: usize = 256;
pub use crate::json_schema::MAX_LENGTH as MAX_SCHEMA;
/// The most offerings and plans of a catalog together: twice as many as the largest catalog that is tested. Each
/// becomes an object, which takes far more memory than its text may have.
pub const MAX_ENTRIES: usize = 20_000;
/// The most values of a catalog, counted by [`crate::json::values`]: ten thousand plans with metadata and
/// three schemas each. It bounds the memory for reading it.
pub const MAX_VALUES: usize = 700_000;

/// A catalog, and the faults in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// The entries of `services` that can be used. May be empty.
    pub offerings: Vec<CatalogOffering>,
    /// What was left out, and why: offerings, plans, and fields of entries that are offered without them.
    pub skipped: Problems,
    /// Faults that are tolerated: the entry is offered, with the value that the message names.
    pub tolerated: Problems,
    /// The offerings and plans that are in the document but not in `offerings`.
    pub left_out: LeftOut,
}

/// "Service Offering Object".
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, named and defaulted by the spec")]
pub struct CatalogOffering {
    /// `id`: the only property of an offering that never changes.
    pub id: ServiceId,
    /// `name`: unique within the catalog.
    pub name: String,
    /// `description`, or the name where it is missing.
    pub description: String,
    /// `bindable`: the default for plans that do not set it. False where it is missing, as in v0.3.
    pub bindable: bool,
    /// `plan_updateable` (the spec's spelling): the default for plans that do not set it. Default false.
    pub plan_updateable: bool,
    /// `instances_retrievable`. Default false.
    pub instances_retrievable: bool,
    /// `bindings_retrievable`. Default false.
    pub bindings_retrievable: bool,
    /// `allow_context_updates`. Default false.
    pub allow_context_updates: bool,
    /// `tags`
    pub tags: Vec<String>,
    /// `requires`. The spec has `syslog_drain`, `route_forwarding` and `volume_mount`; other words are kept.
    pub requires: Vec<String>,
    /// `metadata`: opaque, kept as it is.
    pub metadata: Option<RawObject>,
    /// `plans`: at least one.
    pub plans: Vec<CatalogPlan>,
}

/// "Service Plan Object".
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogPlan {
    /// `id`: the only property of a plan that never changes; unique among all plans.
    pub id: PlanId,
    /// `name`: unique within the offering.
    pub name: String,
    /// `description`, or the name where it is missing.
    pub description: String,
    /// `free`. Default **true**, as in the spec. In v0.3 a missing value meant false.
    pub free: bool,
    /// `bindable`, which overrides the offering's; see [`CatalogPlan::is_bindable`].
    pub bindable: Option<bool>,
    /// `plan_updateable`, which overrides the offering's; see [`CatalogPlan::is_updateable`].
    pub plan_updateable: Option<bool>,
    /// `binding_rotatable`. The text of the spec defines it for plans only. Default false.
    pub binding_rotatable: bool,
    /// `maximum_polling_duration`, in seconds, if it is a positive integer.
    pub maximum_polling_duration: Option<u64>,
    /// `maintenance_info`, if its version is a semantic version.
    pub maintenance_info: Option<MaintenanceInfo>,
    /// `schemas`
    pub schemas: Schemas,
    /// `metadata`: opaque, kept as it is.
    pub metadata: Option<RawObject>,
}

impl CatalogPlan {
    /// Whether bindings may be requested: the plan's value, else the offering's.
    #[must_use]
    pub fn is_bindable(&self, offering: &CatalogOffering) -> bool {
        self.bindable.unwrap_or(offering.bindable)
    }

    /// Whether an instance of this plan may be moved to another plan: the plan's value, else the offering's.
    #[must_use]
    pub fn is_updateable(&self, offering: &CatalogOffering) -> bool {
        self.plan_updateable.unwrap_or(offering.plan_updateable)
    }
}

/// "Schemas Object": JSON schemas of parameters ([`crate::json_schema`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Schemas {
    /// `service_instance.create.parameters`
    pub instance_create: Option<RawObject>,
    /// `service_instance.update.parameters`
    pub instance_update: Option<RawObject>,
    /// `service_binding.create.parameters`
    pub binding_create: Option<RawObject>,
}

impl Catalog {
    /// Reads the body of an answer with status 200.
    ///
    /// ```
    /// use service_catalog::osb::Catalog;
    ///
    /// let body = br#"{ "services": [
    ///     { "id": "1", "name": "redis", "description": "A cache", "bindable": true,
    ///       "plans": [{ "id": "2", "name": "small", "description": "1 GiB" }] },
    ///     { "id": "3", "name": "mysql", "description": "A database", "bindable": true, "plans": [] }
    /// ] }"#;
    /// let catalog = Catalog::parse(body)?;
    /// assert_eq!(catalog.offerings[0].plans[0].name, "small");
    /// assert_eq!(catalog.skipped.to_string(), r#"services[1] "mysql": plans is empty"#);
    /// # Ok::<(), service_catalog::osb::InvalidCatalog>(())
    /// ```
    pub fn parse(body: &[u8]) -> Result<Self, InvalidCatalog> {
        Self::parse_redacting(body, &[])
    }

    /// As [`Catalog::parse`]; `secrets` are taken out of what the problems quote of the document.
    pub fn parse_redacting(body: &[u8], secrets: &[Zeroizing<String>]) -> Result<Self, InvalidCatalog> {
        validate::catalog(body, secrets)
    }
}

#[cfg(test)]
mod tests;
