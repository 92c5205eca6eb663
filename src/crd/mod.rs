//! The API: group `servicecatalog.k8s.io`, version `v1beta1`, eight kinds.
//!
//! Kinds, field names, conditions, labels and the finalizer are those of Kubernetes Service Catalog v0.3, so
//! that its manifests and its `svcat` client continue to work. Fields that v0.3 does not have are optional.
//! The structural schemas accept what Go clients of v0.3 send: zero values, empty strings, nulls.
//!
//! The kinds are data. [`scope`] has the traits over both scopes, [`condition`] and [`progress`] the parts that
//! statuses share. [`readable`] reads objects that do not fit their kind.

pub mod binding;
pub mod broker;
pub mod class;
pub mod common;
pub mod condition;
mod defects;
mod definition;
pub mod instance;
pub mod intent;
pub mod plan;
pub mod pods;
pub mod progress;
pub mod readable;
pub mod rotation;
mod rule;
mod schema;
pub mod scope;
pub mod secret_shape;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub use binding::{ServiceBinding, ServiceBindingSpec, ServiceBindingStatus};
pub use broker::{
    ClusterServiceBroker, ClusterServiceBrokerSpec, ServiceBroker, ServiceBrokerSpec, ServiceBrokerStatus,
};
pub use class::{ClusterServiceClass, ClusterServiceClassSpec, ServiceClass, ServiceClassSpec};
pub use common::{CatalogObjectStatus, ScopeKind, UserInfo};
pub use condition::{Condition, ConditionStatus, ConditionType};
pub use defects::Defects;
pub use instance::{ServiceInstance, ServiceInstanceSpec, ServiceInstanceStatus};
pub use plan::{ClusterServicePlan, ClusterServicePlanSpec, ServicePlan, ServicePlanSpec};
pub use readable::Readable;
pub use scope::{ClusterWide, Namespaced, Scope};

/// The API group of all kinds.
pub const GROUP: &str = "servicecatalog.k8s.io";

/// The only version of the API.
pub const VERSION: &str = "v1beta1";

/// The finalizer of brokers, instances and bindings. `svcat … --abandon` removes exactly this string.
pub const FINALIZER: &str = "kubernetes-incubator/service-catalog";

/// The [`intent`]: what the operator is about to ask a broker for, or has asked it for, as one line of JSON. The
/// operator writes it together with the ids and references of the spec, in one patch, before it sends the request.
/// It begins with the id of the cluster, the namespace, name and uid of the object, and the time of the patch.
/// `status.observedIntent` has the same time when the broker has answered.
pub const INTENT_ANNOTATION: &str = "servicecatalog.k8s.io/intent";

/// The id of this cluster. With it, the operator works on an object that was restored from another cluster.
/// To set it, a user needs the verb `restore`.
pub const ADOPT_ANNOTATION: &str = "servicecatalog.k8s.io/adopt";

/// The name of a broker object in the same namespace, or of a cluster-wide one, that this broker object takes
/// the place of: when that one is deleted, its instances and bindings go on with this one.
pub const REPLACES_ANNOTATION: &str = "servicecatalog.k8s.io/replaces";

/// An annotation of a pod: the bindings whose credentials it has got, separated by commas. An admission policy writes it.
pub const BINDINGS_ANNOTATION: &str = "servicecatalog.k8s.io/bindings";

/// An annotation of a pod: what it has not got of the bindings that name it, and why, with a line for each binding. An
/// admission policy writes it.
pub const OMITTED_ANNOTATION: &str = "servicecatalog.k8s.io/omitted";

/// The definitions of all eight kinds, as `crds/` has them.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let (cluster_broker, namespaced_broker) = ("clusterServiceBrokerName", "serviceBrokerName");
    vec![
        definition::of::<ClusterServiceBroker>(&broker::columns()),
        definition::of::<ClusterServiceClass>(&class::columns(cluster_broker)),
        definition::of::<ClusterServicePlan>(&plan::columns(cluster_broker, "clusterServiceClassRef")),
        definition::of::<ServiceBroker>(&broker::columns()),
        definition::of::<ServiceClass>(&class::columns(namespaced_broker)),
        definition::of::<ServicePlan>(&plan::columns(namespaced_broker, "serviceClassRef")),
        definition::of::<ServiceInstance>(&instance::columns()),
        definition::provisioned_service(definition::of::<ServiceBinding>(&binding::columns())),
    ]
}
