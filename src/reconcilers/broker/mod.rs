//! `ClusterServiceBroker` and `ServiceBroker`: the catalog.
