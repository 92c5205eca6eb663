//! The API: group `servicecatalog.k8s.io`, version `v1beta1`, eight kinds.
//!
//! Kinds, field names, conditions, labels and the finalizer are those of Kubernetes Service Catalog v0.3, so that its
//! manifests and its `svcat` client go on working. Fields that the original did not have stand beside its own and are
//! optional. The structural schemas accept what Go clients of the original send (zero values, empty strings, nulls).

pub mod binding;
pub mod broker;
pub mod class;
pub mod common;
pub mod condition;
mod definition;
pub mod instance;
pub mod plan;
pub mod progress;
mod rule;
pub mod schema;
pub mod scope;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub use binding::{ServiceBinding, ServiceBindingSpec, ServiceBindingStatus};
pub use broker::{
    ClusterServiceBroker, ClusterServiceBrokerSpec, ServiceBroker, ServiceBrokerSpec, ServiceBrokerStatus,
};
pub use class::{ClusterServiceClass, ClusterServiceClassSpec, ServiceClass, ServiceClassSpec};
pub use common::{EntryStatus, UserInfo};
pub use condition::{Condition, ConditionStatus, ConditionType};
pub use instance::{ServiceInstance, ServiceInstanceSpec, ServiceInstanceStatus};
pub use plan::{ClusterServicePlan, ClusterServicePlanSpec, ServicePlan, ServicePlanSpec};
pub use scope::{ClusterWide, Namespaced, Scope, ScopeKind};

/// The API group.
pub const GROUP: &str = "servicecatalog.k8s.io";

/// The one version.
pub const VERSION: &str = "v1beta1";

/// The finalizer on brokers, instances and bindings. `svcat … --abandon` removes exactly this string.
pub const FINALIZER: &str = "kubernetes-incubator/service-catalog";

/// The definitions of all eight kinds, as they stand in `crds/`.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let (of_cluster, of_namespace) = ("clusterServiceBrokerName", "serviceBrokerName");
    vec![
        definition::of::<ClusterServiceBroker>(&broker::columns()),
        definition::of::<ClusterServiceClass>(&class::columns(of_cluster)),
        definition::of::<ClusterServicePlan>(&plan::columns(of_cluster, "clusterServiceClassRef")),
        definition::of::<ServiceBroker>(&broker::columns()),
        definition::of::<ServiceClass>(&class::columns(of_namespace)),
        definition::of::<ServicePlan>(&plan::columns(of_namespace, "serviceClassRef")),
        definition::of::<ServiceInstance>(&instance::columns()),
        definition::of::<ServiceBinding>(&binding::columns()),
    ]
}
