//! One implementation for cluster-wide and namespaced brokers: code that is generic over [`Scope`] works with
//! the kinds of both.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{
    Resource, ResourceExt as _,
    core::{PartialObjectMeta, object::HasStatus},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    binding::{BindingOperation, ServiceBinding, ServiceBindingStatus},
    broker::{ClusterServiceBroker, CommonServiceBrokerSpec, SecretAuth, ServiceBroker, ServiceBrokerStatus},
    class::{
        ClusterServiceClass, ClusterServiceClassSpec, CommonServiceClassSpec, ServiceClass, ServiceClassSpec,
    },
    common::{CatalogObjectStatus, LocalObjectReference, ScopeKind},
    defects::Defects,
    instance::{InstanceOperation, ServiceInstance, ServiceInstanceStatus},
    intent::{self, Intent, IntentStatus},
    plan::{ClusterServicePlan, ClusterServicePlanSpec, CommonServicePlanSpec, ServicePlan, ServicePlanSpec},
};

/// A kind that a controller watches.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Applies a pending [`intent`] to the status of an object that was read.
    #[must_use]
    fn complete(self) -> Self {
        self
    }

    /// The status that the API server has, if this object is ahead of it by an intent.
    fn persisted_status(&self) -> Option<&Value> {
        None
    }

    /// The members that a spec must have to be read, as JSON.
    const LEAST_SPEC: &'static str = "";

    /// The parts of the object that cannot be read, if there are any.
    fn defects(&self) -> Option<&Defects> {
        None
    }

    /// Notes the parts of the object that cannot be read.
    fn set_defects(&mut self, _: Arc<Defects>) {}
}

impl Object for PartialObjectMeta<Namespace> {}
impl Object for PartialObjectMeta<Pod> {}
impl Object for PartialObjectMeta<Secret> {}

/// Implements [`Object`] for the kinds whose scopes share a part of the spec.
macro_rules! object_with_common_spec {
    ($($kind:ty),*) => {
        $(impl Object for $kind {
            fn defects(&self) -> Option<&Defects> {
                self.spec.common.defects.as_deref()
            }

            fn set_defects(&mut self, defects: Arc<Defects>) {
                self.spec.common.defects = Some(defects);
            }
        })*
    };
}

object_with_common_spec!(ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan);
object_with_common_spec!(ServiceBroker, ServiceClass, ServicePlan);

/// Implements [`Object`] for a kind whose objects carry an intent.
macro_rules! object_with_intent {
    ($kind:ty, $status:ty, $id:ident, $create:path, $least:literal) => {
        impl IntentStatus for $status {
            fn observed_intent(&mut self) -> &mut Option<MicroTime> {
                &mut self.progress.observed_intent
            }

            fn last_attempt_time(&self) -> Option<&MicroTime> {
                self.progress.last_attempt_time.as_ref()
            }

            fn intent(&mut self) -> &mut Option<Arc<Intent>> {
                &mut self.progress.intent
            }

            fn id(&self) -> &str {
                self.$id.as_str()
            }

            fn is_creating(&self) -> bool {
                self.current_operation == $create
            }
        }

        impl Object for $kind {
            const LEAST_SPEC: &'static str = $least;

            fn complete(mut self) -> Self {
                intent::complete(&self.metadata, &self.spec.external_id, &mut self.status);
                self
            }

            fn persisted_status(&self) -> Option<&Value> {
                self.status.as_ref()?.progress.intent.as_ref()?.persisted()
            }

            fn defects(&self) -> Option<&Defects> {
                self.spec.defects.as_deref()
            }

            fn set_defects(&mut self, defects: Arc<Defects>) {
                self.spec.defects = Some(defects);
            }
        }
    };
}

object_with_intent!(ServiceInstance, ServiceInstanceStatus, instance_id, InstanceOperation::Provision, "");
object_with_intent!(
    ServiceBinding,
    ServiceBindingStatus,
    binding_id,
    BindingOperation::Bind,
    r#""instanceRef":{}"#
);

/// One of the two scopes, with its kinds.
pub trait Scope: Clone + Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// The same scope as a value.
    const KIND: ScopeKind;
    /// `ClusterServiceBroker` or `ServiceBroker`.
    type Broker: BrokerObject;
    /// `ClusterServiceClass` or `ServiceClass`.
    type Class: ClassObject;
    /// `ClusterServicePlan` or `ServicePlan`.
    type Plan: PlanObject;
}

/// A broker of either scope.
pub trait BrokerObject: Object + HasStatus<Status = ServiceBrokerStatus> {
    /// The fields of both kinds of broker.
    fn common(&self) -> &CommonServiceBrokerSpec;
    /// The Secret with the credentials, if the spec has `authInfo`.
    fn auth(&self) -> Option<SecretAuth>;
}

/// The common fields of a class or of a plan.
pub trait CatalogObjectSpec {
    /// The name in the catalog.
    fn external_name(&self) -> &str;
    /// The id in the catalog.
    fn external_id(&self) -> &str;
}

/// A class or a plan of either scope.
pub trait CatalogObject: Object + HasStatus<Status = CatalogObjectStatus> {
    /// The fields of both scopes.
    type Common: CatalogObjectSpec;
    /// The fields of both scopes.
    fn common(&self) -> &Self::Common;
    /// The fields of both scopes, mutable.
    fn common_mut(&mut self) -> &mut Self::Common;
    /// The name of the broker object.
    fn broker_name(&self) -> &str;
    /// The fields that name other objects: path and value.
    fn references(&self) -> Vec<(&'static str, &str)>;

    /// The name in the catalog.
    fn external_name(&self) -> &str {
        self.common().external_name()
    }

    /// The id in the catalog.
    fn external_id(&self) -> &str {
        self.common().external_id()
    }

    /// Whether the catalog no longer has it.
    fn is_removed(&self) -> bool {
        self.status().is_some_and(|status| status.removed_from_broker_catalog)
    }

    /// The fields that clients look it up by, through labels: path and value.
    fn lookup_values(&self) -> Vec<(&'static str, &str)> {
        let mut values = self.references();
        values.extend([("spec.externalID", self.external_id()), ("spec.externalName", self.external_name())]);
        values
    }

    /// Replaces the fields of both scopes.
    #[must_use]
    fn with_common(mut self, common: Self::Common) -> Self {
        *self.common_mut() = common;
        self
    }
}

/// A class of either scope.
pub trait ClassObject: CatalogObject<Common = CommonServiceClassSpec> {
    /// Makes a new object, without labels and owner.
    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self;
}

/// A plan of either scope.
pub trait PlanObject: CatalogObject<Common = CommonServicePlanSpec> {
    /// The name of the class object.
    fn class_name(&self) -> &str;
    /// Makes a new object, without labels and owner.
    fn build(name: &str, broker_name: &str, class_name: &str, common: CommonServicePlanSpec) -> Self;
}

/// The cluster: `ClusterServiceBroker`, `ClusterServiceClass`, `ClusterServicePlan`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClusterWide;

/// One namespace: `ServiceBroker`, `ServiceClass`, `ServicePlan`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Namespaced;

impl Scope for ClusterWide {
    const KIND: ScopeKind = ScopeKind::Cluster;
    type Broker = ClusterServiceBroker;
    type Class = ClusterServiceClass;
    type Plan = ClusterServicePlan;
}

impl Scope for Namespaced {
    const KIND: ScopeKind = ScopeKind::Namespace;
    type Broker = ServiceBroker;
    type Class = ServiceClass;
    type Plan = ServicePlan;
}

impl BrokerObject for ClusterServiceBroker {
    fn common(&self) -> &CommonServiceBrokerSpec {
        &self.spec.common
    }

    fn auth(&self) -> Option<SecretAuth> {
        let (method, config) = self.spec.auth_info.as_ref()?.chosen()?;
        let secret = config.secret_ref.clone().unwrap_or_default();
        Some(SecretAuth { method, namespace: secret.namespace, name: secret.name })
    }
}

impl BrokerObject for ServiceBroker {
    fn common(&self) -> &CommonServiceBrokerSpec {
        &self.spec.common
    }

    fn auth(&self) -> Option<SecretAuth> {
        let (method, config) = self.spec.auth_info.as_ref()?.chosen()?;
        let secret = config.secret_ref.clone().unwrap_or_default();
        Some(SecretAuth { method, namespace: self.namespace().unwrap_or_default(), name: secret.name })
    }
}

impl CatalogObjectSpec for CommonServiceClassSpec {
    fn external_name(&self) -> &str {
        &self.external_name
    }

    fn external_id(&self) -> &str {
        self.external_id.as_str()
    }
}

impl CatalogObjectSpec for CommonServicePlanSpec {
    fn external_name(&self) -> &str {
        &self.external_name
    }

    fn external_id(&self) -> &str {
        self.external_id.as_str()
    }
}

/// Implements [`CatalogObject`] for a kind. The kinds differ only in the fields that name the broker and, for
/// a plan, the class. Each field is given as the Rust name and as the path in the API.
macro_rules! catalog_object {
    ($kind:ty, $common:ty, $broker:ident = $broker_path:literal $(, $class:ident = $class_path:literal)?) => {
        impl CatalogObject for $kind {
            type Common = $common;

            fn common(&self) -> &$common {
                &self.spec.common
            }

            fn common_mut(&mut self) -> &mut $common {
                &mut self.spec.common
            }

            fn broker_name(&self) -> &str {
                &self.spec.$broker
            }

            fn references(&self) -> Vec<(&'static str, &str)> {
                vec![$(($class_path, self.spec.$class.name.as_str()),)? ($broker_path, self.broker_name())]
            }
        }
    };
}

catalog_object!(
    ClusterServiceClass,
    CommonServiceClassSpec,
    cluster_service_broker_name = "spec.clusterServiceBrokerName"
);
catalog_object!(ServiceClass, CommonServiceClassSpec, service_broker_name = "spec.serviceBrokerName");
catalog_object!(
    ClusterServicePlan,
    CommonServicePlanSpec,
    cluster_service_broker_name = "spec.clusterServiceBrokerName",
    cluster_service_class_ref = "spec.clusterServiceClassRef.name"
);
catalog_object!(
    ServicePlan,
    CommonServicePlanSpec,
    service_broker_name = "spec.serviceBrokerName",
    service_class_ref = "spec.serviceClassRef.name"
);

impl ClassObject for ClusterServiceClass {
    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self {
        let cluster_service_broker_name = broker_name.to_owned();
        Self::new(name, ClusterServiceClassSpec { common, cluster_service_broker_name })
    }
}

impl ClassObject for ServiceClass {
    fn build(name: &str, broker_name: &str, common: CommonServiceClassSpec) -> Self {
        Self::new(name, ServiceClassSpec { common, service_broker_name: broker_name.to_owned() })
    }
}

impl PlanObject for ClusterServicePlan {
    fn class_name(&self) -> &str {
        &self.spec.cluster_service_class_ref.name
    }

    fn build(name: &str, broker_name: &str, class_name: &str, common: CommonServicePlanSpec) -> Self {
        let cluster_service_broker_name = broker_name.to_owned();
        let cluster_service_class_ref = LocalObjectReference { name: class_name.to_owned() };
        Self::new(
            name,
            ClusterServicePlanSpec { common, cluster_service_broker_name, cluster_service_class_ref },
        )
    }
}

impl PlanObject for ServicePlan {
    fn class_name(&self) -> &str {
        &self.spec.service_class_ref.name
    }

    fn build(name: &str, broker_name: &str, class_name: &str, common: CommonServicePlanSpec) -> Self {
        let service_broker_name = broker_name.to_owned();
        let service_class_ref = LocalObjectReference { name: class_name.to_owned() };
        Self::new(name, ServicePlanSpec { common, service_broker_name, service_class_ref })
    }
}
