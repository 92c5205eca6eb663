//! What is needed only for objects that v0.3 created?
//!
//! v0.3 is the last release line of the Go implementation of Kubernetes Service Catalog. It did not record in
//! the status which class and plan it had requested. The operator adds them to the status once. After that,
//! no other code needs to distinguish these objects.

pub mod bindings;
pub mod checksum;
pub mod instances;
