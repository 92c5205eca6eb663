//! `ClusterServiceBroker` and `ServiceBroker`: registered brokers.

use std::sync::Arc;

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition,
    common::{LocalObjectReference, ObjectReference},
    condition::Conditioned,
    defects::Defects,
    definition::{self, Column, text, time, wide},
    rule,
    schema::{self, is_false, is_zero, null_default},
};

/// The spec of a broker that offers its services to the whole cluster.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ClusterServiceBroker",
    doc = "A service broker (Open Service Broker API). All namespaces can order its services.",
    plural = "clusterservicebrokers",
    singular = "clusterservicebroker",
    status = "ServiceBrokerStatus",
    shortname = "csvcbr",
    selectable = ".spec.url",
    selectable = ".status.lastConditionState"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("url"))]
#[x_kube(validation = rule::one_way_to_trust())]
#[x_kube(validation = rule::never_less("relistRequests"))]
#[x_kube(validation = rule::has_authentication())]
#[x_kube(validation = rule::has_secret("basic", &["name", "namespace"]))]
#[x_kube(validation = rule::has_secret("bearer", &["name", "namespace"]))]
#[x_kube(validation = rule::no_restriction_by("spec.serviceClass.name", "ClusterServiceBroker", "spec.clusterServiceClass.name"))]
pub struct ClusterServiceBrokerSpec {
    /// The fields of both kinds of broker.
    #[serde(flatten)]
    pub common: CommonServiceBrokerSpec,
    /// How the operator authenticates to the broker. Without it, the operator sends no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_info: Option<AuthInfo<ClusterSecretAuthConfig>>,
}

/// The spec of a broker that offers its services to one namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceBroker",
    doc = "A service broker (Open Service Broker API). Only its own namespace can order its services.",
    plural = "servicebrokers",
    singular = "servicebroker",
    namespaced,
    status = "ServiceBrokerStatus",
    shortname = "svcbr",
    selectable = ".spec.url",
    selectable = ".status.lastConditionState"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::required("url"))]
#[x_kube(validation = rule::one_way_to_trust())]
#[x_kube(validation = rule::never_less("relistRequests"))]
#[x_kube(validation = rule::has_authentication())]
#[x_kube(validation = rule::has_secret("basic", &["name"]))]
#[x_kube(validation = rule::has_secret("bearer", &["name"]))]
#[x_kube(validation = rule::no_restriction_by("spec.clusterServiceClass.name", "ServiceBroker", "spec.serviceClass.name"))]
pub struct ServiceBrokerSpec {
    /// The fields of both kinds of broker.
    #[serde(flatten)]
    pub common: CommonServiceBrokerSpec,
    /// How the operator authenticates to the broker. Without it, the operator sends no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_info: Option<AuthInfo<SecretAuthConfig>>,
}

/// The columns of kubectl for a broker.
pub(super) fn columns() -> [Column; 5] {
    let fetched = "When a fetch of the catalog last changed classes or plans";
    [
        text("URL", ".spec.url", "The URL of the broker"),
        definition::status(),
        definition::age(),
        wide(time("Last-Fetched", ".status.lastCatalogRetrievalTime", fetched)),
        definition::message(),
    ]
}

/// The fields that both kinds of broker have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommonServiceBrokerSpec {
    /// The URL of the broker: `http` or `https`, with the path before `/v2` if there is one.
    #[serde(default, deserialize_with = "null_default")]
    pub url: String,
    /// Accept any TLS certificate of the broker. This is unsafe. It cannot be set together with `caBundle`.
    #[serde(
        default,
        rename = "insecureSkipTLSVerify",
        deserialize_with = "null_default",
        skip_serializing_if = "is_false"
    )]
    pub insecure_skip_tls_verify: bool,
    /// The certificate authorities that may issue the TLS certificate of the broker, in place of those of the
    /// system: PEM, encoded in base64.
    #[serde(default, deserialize_with = "schema::lenient_bytes", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub ca_bundle: Option<ByteString>,
    /// When the operator fetches the catalog again: after `relistDuration` (`Duration`, the default), or only
    /// when `relistRequests` increases (`Manual`).
    #[serde(default, deserialize_with = "null_default")]
    pub relist_behavior: RelistBehavior,
    /// The time between two fetches of the catalog, as in `15m0s`. Without it, the setting of the operator
    /// applies (24 hours by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub relist_duration: Option<Duration>,
    /// Increase this number to make the operator fetch the catalog now.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(range(min = 0))]
    pub relist_requests: i64,
    /// Which classes and plans of the catalog the cluster offers. Without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_restrictions: Option<CatalogRestrictions>,
    /// The parts of the object that cannot be read. They are not part of the API.
    #[serde(skip)]
    pub defects: Option<Arc<Defects>>,
}

/// When the operator fetches the catalog again.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RelistBehavior {
    /// The same as `Duration`.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// After `relistDuration`, and when `relistRequests` increases.
    Duration,
    /// Only when `relistRequests` increases.
    Manual,
}

/// Restrictions of the catalog. A class or plan is offered if all selectors of its list match.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogRestrictions {
    /// Selectors for classes over `name`, `spec.externalName` and `spec.externalID`, with `=`, `==`, `!=`,
    /// `in (…)` and `notin (…)`, as in `spec.externalName in (a, b)`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::class_restrictions")]
    pub service_class: Vec<String>,
    /// Selectors for plans: as for classes, and over `spec.free`, and `spec.clusterServiceClass.name` or
    /// `spec.serviceClass.name`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::plan_restrictions")]
    pub service_plan: Vec<String>,
}

/// How the operator authenticates to a broker. If both are set, `basic` applies.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AuthInfo<C> {
    /// HTTP basic authentication, with user name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<C>,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<C>,
}

impl<C> AuthInfo<C> {
    /// v0.3 tests `basic` first and ignores `bearer` beside it.
    pub(super) fn chosen(&self) -> Option<(AuthMethod, &C)> {
        let basic = self.basic.as_ref().map(|config| (AuthMethod::Basic, config));
        basic.or_else(|| self.bearer.as_ref().map(|config| (AuthMethod::Bearer, config)))
    }
}

/// The credentials for a cluster-wide broker.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretAuthConfig {
    /// The Secret with the credentials. Its keys are `username` and `password` for basic authentication,
    /// `token` for a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectReference>,
}

/// The credentials for a broker of one namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretAuthConfig {
    /// The Secret with the credentials, in the namespace of the broker. Its keys are `username` and
    /// `password` for basic authentication, `token` for a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// The status of a broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBrokerStatus {
    /// The conditions. `Ready`: the operator has fetched the catalog and written its classes and plans.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec at the last successful fetch of the catalog.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on, with or without success. -1 before the
    /// first time.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// When a fetch of the catalog first failed after the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub operation_start_time: Option<Time>,
    /// When a fetch of the catalog last changed classes or plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_catalog_retrieval_time: Option<Time>,
    /// `Ready`, or the reason of the condition that is not true.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub last_condition_state: String,
    /// The version of the catalog reader at the last fetch. An operator with a newer reader fetches the
    /// catalog again.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub catalog_reader: i64,
}

/// The credentials for a broker of either scope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretAuth {
    /// The method of authentication.
    pub method: AuthMethod,
    /// The namespace of the Secret.
    pub namespace: String,
    /// The name of the Secret; empty if the spec does not name one.
    pub name: String,
}

/// A method of authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthMethod {
    /// HTTP basic authentication, with user name and password.
    Basic,
    /// A bearer token.
    Bearer,
}

impl Conditioned for ServiceBrokerStatus {
    fn conditions_mut(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }

    fn observed_generation(&self) -> i64 {
        self.observed_generation
    }
}
