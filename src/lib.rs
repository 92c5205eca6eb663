//! `service-catalog` makes a Kubernetes cluster a consumer of Open Service Broker API brokers.
//!
//! ```text
//! kubectl apply            API server                         service-catalog                     broker
//! ─────────────►  CRDs  +  CEL rules  +  admission   ──watch──►  8 controllers  ──OSB 2.17──►   GET /v2/catalog
//!                           policies                 ◄─status──   4 machines    ◄───────────    PUT/PATCH/DELETE …
//!                           Secrets                  ◄─────────   1 shell
//! ```
//!
//! Deciding is separated from doing. A machine ([`reconcilers::reconciler::Reconciler`]) says in pure functions what comes next
//! (`plan`) and what an answer meant (`absorb`); one shell ([`reconcilers::runner`]) carries that out for all kinds.
//!
//! * [`crd`]: the API, eight kinds. [`admission`]: what admission policies add to it. [`generate`]: both as YAML.
//! * [`osb`]: the Open Service Broker API, platform side. [`brokers`]: connections, credentials and limits per broker.
//! * [`reconcilers`]: the machines, and the shell that runs them.
//! * [`caches`], [`reconcilers::context`]: what is known of the cluster, and what every controller works with.
//!   [`annotation_allowlist`]: what of it brokers are told.
//! * [`runtime`]: watches, controllers, shutdown. [`leader`]: which of several replicas works. [`config`], [`kube_api`],
//!   [`telemetry`], [`metrics`], [`server`]: the process around them. [`json`]: what JSON is like before it is
//!   read, and how it is kept.
//!
//! What must never break: a request that changes something at a broker is announced in the object's status by
//! compare-and-swap before it is sent, with all that undoing it needs; an id is derived, never drawn; a "maybe" is
//! remembered until a DELETE was confirmed; a Secret that is not ours is not touched; what is at rest writes nothing.

pub mod admission;
pub mod annotation_allowlist;
pub mod brokers;
pub mod caches;
pub mod config;
pub mod crd;
pub mod generate;
pub mod json;
pub mod jsonpath;
pub mod kube_api;
pub mod leader;
pub mod metrics;
pub mod osb;
pub mod reconcilers;
pub mod runtime;
pub mod server;
pub mod telemetry;
