//! What a broker offers: `GET /v2/catalog` (OSB 2.17, "Catalog Management"), read leniently and judged strictly. Pure.
//!
//! Unknown fields and nulls are as if absent. What the spec forbids is collected, all of it, so that a broker's author
//! sees every problem at once. A catalog that breaks the identity of things (a required field missing, an id or a name
//! twice, an offering without plans) is refused whole, as half of it could be taken for something that it is not; the
//! caller keeps the last good one. An entry that is legal but does not fit the cluster is left out alone, and
//! [`Catalog::skipped`] says why.
//!
//! `dashboard_client` is never read: it holds a secret and is of no use on Kubernetes.

use std::fmt;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::json::RawObject;

mod read;

/// The longest name of an offering or plan, in characters: that of the original's `externalName`.
pub const MAX_NAME: usize = 63;
/// The longest id of an offering or plan, in characters. The spec sets no limit; object names are derived from ids.
pub const MAX_ID: usize = 256;
/// The largest schema, in bytes ("Schemas Object": 64 kB).
pub const MAX_SCHEMA: usize = 64 * 1024;
pub use crate::json::MAX_DEPTH;
/// The most values of a catalog. In memory each takes some 230 bytes, however few it has in the text, and while a new catalog
/// becomes objects it is there three times: this much fits into what the Deployment allows. Ten thousand plans with metadata
/// and three schemas each are as many.
pub const MAX_VALUES: usize = 700_000;

/// A valid catalog.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// `services`, without those in `skipped`; may be empty.
    pub offerings: Vec<Offering>,
    /// What was left out although the rest is good: names and ids too long for the cluster, schemas that are too large,
    /// schemas and metadata that are too deep (the entry stays then), offerings none of whose plans is left.
    pub skipped: Vec<Problem>,
}

/// "Service Offering Object".
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, named and defaulted by the spec")]
pub struct Offering {
    /// `id`: the only thing about an offering that never changes.
    pub id: String,
    /// `name`: unique within the catalog.
    pub name: String,
    /// `description`
    pub description: String,
    /// `bindable`: what holds for plans that do not say.
    pub bindable: bool,
    /// `plan_updateable` (the spec's spelling): what holds for plans that do not say. Default false.
    pub plan_updateable: bool,
    /// `instances_retrievable`. Default false.
    pub instances_retrievable: bool,
    /// `bindings_retrievable`. Default false.
    pub bindings_retrievable: bool,
    /// `allow_context_updates`. Default false.
    pub allow_context_updates: bool,
    /// `tags`
    pub tags: Vec<String>,
    /// `requires`: any of `syslog_drain`, `route_forwarding`, `volume_mount`.
    pub requires: Vec<String>,
    /// `metadata`: opaque, kept as it is.
    pub metadata: Option<RawObject>,
    /// `plans`: at least one.
    pub plans: Vec<Plan>,
}

/// "Service Plan Object".
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// `id`: the only thing about a plan that never changes; unique among all plans.
    pub id: String,
    /// `name`: unique within the offering.
    pub name: String,
    /// `description`
    pub description: String,
    /// `free`. Default **true**, as the spec says; the original took a missing value for false.
    pub free: bool,
    /// `bindable`, which overrides the offering's; see [`Plan::is_bindable`].
    pub bindable: Option<bool>,
    /// `plan_updateable`, which overrides the offering's; see [`Plan::is_updateable`].
    pub plan_updateable: Option<bool>,
    /// `binding_rotatable`: honoured on plans only, as the prose has it. Default false.
    pub binding_rotatable: bool,
    /// `maximum_polling_duration` in seconds; a value that is not a positive integer is ignored, as it can only
    /// shorten what the platform does anyway.
    pub maximum_polling_duration: Option<u64>,
    /// `maintenance_info`
    pub maintenance_info: Option<MaintenanceInfo>,
    /// `schemas`
    pub schemas: Schemas,
    /// `metadata`: opaque, kept as it is.
    pub metadata: Option<RawObject>,
}

impl Plan {
    /// Whether bindings may be requested: the plan's word, else the offering's.
    #[must_use]
    pub fn is_bindable(&self, offering: &Offering) -> bool {
        self.bindable.unwrap_or(offering.bindable)
    }

    /// Whether an instance of this plan may be moved to another: the plan's word, else the offering's.
    #[must_use]
    pub fn is_updateable(&self, offering: &Offering) -> bool {
        self.plan_updateable.unwrap_or(offering.plan_updateable)
    }
}

/// "Maintenance Info Object".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaintenanceInfo {
    /// `version`: Semantic Versioning 2.0, to be compared for equality only.
    pub version: String,
    /// `description`
    pub description: Option<String>,
}

/// "Schemas Object": JSON schemas of parameters. Stored, never dereferenced.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Schemas {
    /// `service_instance.create.parameters`
    pub instance_create: Option<RawObject>,
    /// `service_instance.update.parameters`
    pub instance_update: Option<RawObject>,
    /// `service_binding.create.parameters`
    pub binding_create: Option<RawObject>,
}

/// One thing that is wrong: `services[2] "redis": plans[0]: id is missing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The entry: `services[2] "redis": plans[0]`. Empty for the document itself.
    pub place: String,
    /// What is wrong with it: `id is missing`.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a catalog is refused, with every problem that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCatalog {
    /// The problems in the order of the document, the first [`InvalidCatalog::KEPT`] of them.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl InvalidCatalog {
    /// How many problems are kept: a broken generator repeats one mistake for each of ten thousand plans.
    pub const KEPT: usize = 100;
    /// How many are shown.
    const SHOWN: usize = 10;
}

impl std::error::Error for InvalidCatalog {}

impl fmt::Display for InvalidCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker's catalog is invalid: ")?;
        for (index, problem) in self.problems.iter().take(Self::SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.problems.len().saturating_sub(Self::SHOWN) + self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Catalog {
    /// Reads the body of a 200.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidCatalog> {
        Self::parse_redacting(body, &[])
    }

    /// As [`Catalog::parse`], with problems that do not repeat these secrets: problems quote the broker.
    pub fn parse_redacting(body: &[u8], secrets: &[Zeroizing<String>]) -> Result<Self, InvalidCatalog> {
        read::catalog(body, secrets)
    }
}

#[cfg(test)]
mod tests;
