//! `service-catalog` makes a Kubernetes cluster a consumer of Open Service Broker API brokers.
pub mod crd;
//OSB
