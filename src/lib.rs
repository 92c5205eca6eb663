//! `service-catalog` makes a Kubernetes cluster a consumer of Open Service Broker API brokers.

pub mod brokers;
pub mod context;
pub mod crd;
pub mod osb;
pub mod reconcilers;
pub mod stores;
