//! The offerings and plans that a document contains but that are not offered. Pure.

use std::collections::HashSet;

/// The entries of a catalog that were left out because of a fault. They have not left the catalog, so the
/// platform must not change the objects that it made of them before.
///
/// An entry without a readable id could be any entry, so all existing objects of its kind stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub(super) offerings: HashSet<String>,
    pub(super) plans: HashSet<String>,
    /// Offerings that are offered, but have a plan whose id is not known.
    pub(super) with_unknown_plans: HashSet<String>,
    /// There is an offering whose id is not known.
    pub(super) unknown_offering: bool,
}

impl LeftOut {
    /// Whether the offering with this id is, or may be, among those left out.
    #[must_use]
    pub fn has_offering(&self, id: &str) -> bool {
        self.unknown_offering || self.offerings.contains(id)
    }

    /// Whether a plan with this id, of an offering with that one, is, or may be, among those left out.
    #[must_use]
    pub fn has_plan(&self, id: &str, offering_id: &str) -> bool {
        self.has_offering(offering_id)
            || self.plans.contains(id)
            || self.with_unknown_plans.contains(offering_id)
    }
}
