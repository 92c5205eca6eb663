//! `service-catalog` makes a Kubernetes cluster a consumer of Open Service Broker API brokers.
pub mod admission;
pub mod crd;
pub mod generate;
