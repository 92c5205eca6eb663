//! Orders services from Open Service Broker API brokers, for Kubernetes.

pub mod osb;
