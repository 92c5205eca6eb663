//! `ClusterServiceBroker` and `ServiceBroker`: the catalog.
pub mod names;
pub mod restrictions;
