//! Everything that exists only for objects that v0.3 left behind.
//!
//! v0.3 is the last release line of the Go implementation of Kubernetes Service Catalog. It did not say in status what an
//! object was ordered as. It goes on record once, and from then on nothing need know who ordered it.

pub mod bindings;
pub mod checksum;
pub mod instances;
