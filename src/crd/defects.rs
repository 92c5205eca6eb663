//! What cannot be read of an object. [`super::readable`] finds it.

use std::fmt;

/// The parts of an object that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// Each field of the spec that cannot be read, with the reason.
    pub spec: Vec<String>,
    /// The same for the status. Without it, it is not known what a broker holds for the object.
    pub status: Vec<String>,
}

impl Defects {
    /// Whether all of the object can be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spec.is_empty() && self.status.is_empty()
    }
}

impl fmt::Display for Defects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = self.spec.iter().chain(&self.status).map(String::as_str).collect();
        f.write_str(&all.join("; "))
    }
}
