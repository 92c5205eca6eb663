//! `service-catalog` is a Kubernetes operator: it makes a cluster a client ("platform") of service brokers.
//! Users order services with kubectl. The operator sends the orders to brokers, over the Open Service Broker
//! API (OSB) 2.17.
//!
//! # Architecture
//!
//! ```text
//! API server ──watch──► cache ──► triggers ──► queue ──► observe ──► plan ──► intent ──► call ──► broker
//!     ▲                                                                │                           │
//!     └──────────────────────────── status, Secret ◄───────────────────┴──────── absorb ◄───────── answer
//! ```
//!
//! The operator has eleven watches. Eight are for the kinds of its own API ([`crd`]), and each of these kinds
//! has a controller. The others are for the Secrets of namespaced brokers ([`reconcilers::credentials`]), which
//! have one too, and for namespaces and the Secrets of bindings, which have none ([`runtime`]). A setting adds one
//! for pods. A watch fills
//! the cache of its kind ([`caches`]). Then [`runtime::triggers`] names the objects that depend on the change,
//! and the controllers reconcile them. One reconcile takes one object as far as possible:
//!
//! 1. [`observe`] reads what the decision depends on: other objects from the caches, and Secrets.
//! 2. [`plan`] decides the next step. It is a pure function, without clock, cache and network.
//! 3. If the step is an attempt ([`Step::Attempt`]), the [`runner`](reconcilers::runner) first writes the
//!    *intent* that announces the request, to the object itself ([`crd::intent`]). Then it sends the request
//!    ([`call`]).
//! 4. [`absorb`], also pure, decides what the answer means: Secrets, classes and plans to write, and then a
//!    new status. The runner writes them, and plans again, until `plan` says wait.
//!
//! Brokers, instances and bindings each have such a reconciler. Classes and plans send no requests, and have
//! a shorter one ([`reconcilers::catalog_object`]).
//!
//! | question | module |
//! | --- | --- |
//! | Which fields and rules do the objects have? | [`crd`]; the policies beside them: [`admission`]; both as YAML: [`generate`] |
//! | What does the operator know of the cluster, and what causes a reconcile? | [`caches`], [`runtime`] |
//! | What happens next to an object? | [`reconcilers`]; for instances and bindings: [`reconcilers::operation`] |
//! | How is a request sent, and what does an answer mean in OSB? | [`osb`] |
//! | Which connection, credentials and limits does a broker have? | [`brokers`] |
//! | Are the admission policies installed? | [`installed_policies`] |
//! | Which annotations does a broker get? | [`annotation_allowlist`] |
//! | How do requests to the API server work? | [`kube_api`] |
//! | Which replica works? | [`leader`] |
//! | What time is it? | [`clock`] |
//! | Which settings, logs, metrics and HTTP endpoints are there? | [`config`], [`telemetry`], [`metrics`], [`server`] |
//! | How is a text of others made fit to be shown? | [`printable`] |
//! | How is JSON of users and brokers checked, kept and searched? | [`json`], [`json_schema`], [`jsonpath`] |
//! | How much memory may all of it take? How are secrets wiped from it? | [`memory_budget`], [`wiped`] |
//!
//! What must never break:
//!
//! * Before the operator sends a request that creates or changes something, it writes the intent. This write
//!   fails if the object has changed. The object then has everything that a later DELETE needs.
//! * The operator derives the id of an instance or binding from the object. So a crash cannot lose an id.
//! * If the operator does not know whether a create took effect, this stays in the status until a DELETE is
//!   confirmed.
//! * The operator does not change or delete a Secret that it does not own.
//! * If nothing has changed, the operator writes nothing.
//!
//! `docs/architecture.md` has the details.
//!
//! # Glossary
//!
//! * **Broker**: a server that offers services and speaks OSB. A
//!   [`ClusterServiceBroker`](crd::ClusterServiceBroker) or [`ServiceBroker`](crd::ServiceBroker) object says
//!   where it is, and [`brokers::Brokers`] holds the connections.
//! * **Offering**: a kind of service in the catalog of a broker ([`osb::catalog::CatalogOffering`]), for
//!   example a database. After the references of an instance are resolved,
//!   [`reconcilers::references::Offering`] has the offering and the plan that they mean.
//! * **Class**: the object for an offering, [`ClusterServiceClass`](crd::ClusterServiceClass) or
//!   [`ServiceClass`](crd::ServiceClass). [`reconcilers::broker`] writes it.
//! * **Plan**: a variant of an offering, with a size and a price ([`osb::catalog::CatalogPlan`]), and the
//!   object for it, [`ClusterServicePlan`](crd::ClusterServicePlan) or [`ServicePlan`](crd::ServicePlan). The
//!   function [`Reconciler::plan`] is something else: it decides the next step.
//! * **Instance**: a service that a user has ordered, [`ServiceInstance`](crd::ServiceInstance).
//!   [`reconcilers::instance`] provisions, updates and deprovisions it.
//! * **Binding**: access to an instance, [`ServiceBinding`](crd::ServiceBinding). [`reconcilers::binding`]
//!   binds, writes the credentials to a Secret, and unbinds.
//! * **Successor**: a broker object that takes the place of another one, which is gone or is being deleted
//!   ([`caches::successors`]). Instances and bindings go on with it.
//! * **Intent**: what the operator records on the object before it sends a request, in an annotation
//!   ([`crd::intent`], [`reconcilers::operation::intent`]). After a crash, the next process sees in it that the
//!   request may have been sent, and under which id. An intent is pending until a status takes it into account.
//! * **Fence**: the check that a request which needs an intent follows a write of the same reconcile
//!   ([`reconcilers::reconciler::Admitted`]). That write fails if the cache was outdated or another replica
//!   has written, so no outdated request reaches a broker.
//! * **Quiet period**: the time after an intent in which the broker may still act on the request
//!   ([`quiet_period`](reconcilers::settings::ReconcileSettings::quiet_period)). After a create without an
//!   answer, the operator sends the DELETE only when this time is over.
//! * **Orphan mitigation**: a DELETE at the broker after a create that failed or had no answer, because the
//!   create may have left something there
//!   ([`Phase::OrphanMitigation`](reconcilers::operation::Phase::OrphanMitigation)).
//! * **v0.3**: Kubernetes Service Catalog v0.3.x, the predecessor of this operator, written in Go. The
//!   operator takes over its objects ([`reconcilers::legacy`]). Comments such as `v0.3 K1` in tests name rows
//!   of `docs/reference/compatibility.md`.
//!
//! [`observe`]: reconcilers::reconciler::Reconciler::observe
//! [`plan`]: reconcilers::reconciler::Reconciler::plan
//! [`call`]: reconcilers::reconciler::Reconciler::call
//! [`absorb`]: reconcilers::reconciler::Reconciler::absorb
//! [`Reconciler::plan`]: reconcilers::reconciler::Reconciler::plan
//! [`Step::Attempt`]: reconcilers::reconciler::Step::Attempt

pub mod admission;
pub mod annotation_allowlist;
pub mod brokers;
pub mod caches;
pub mod clock;
pub mod config;
pub mod crd;
pub mod generate;
pub mod installed_policies;
pub mod json;
pub mod json_schema;
pub mod jsonpath;
pub mod kube_api;
pub mod leader;
pub mod memory_budget;
pub mod metrics;
pub mod osb;
pub mod printable;
pub mod reconcilers;
pub mod runtime;
pub mod server;
pub mod telemetry;
pub mod wiped;
