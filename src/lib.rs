//! `service-catalog` makes a Kubernetes cluster a consumer of Open Service Broker API brokers.

pub mod admission;
pub mod brokers;
pub mod context;
pub mod crd;
pub mod generate;
pub mod osb;
pub mod reconcilers;
pub mod stores;
