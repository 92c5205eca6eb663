//! `ClusterServiceBroker` and `ServiceBroker`: where services can be ordered.

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema, ResourceExt as _, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition,
    common::{LocalObjectReference, ObjectReference},
    condition::Conditioned,
    definition::{self, Column, text, time, wide},
    rule,
    schema::{self, is_false, is_zero, null_default},
    scope::BrokerObject,
};

/// An Open Service Broker API broker that offers its services to the whole cluster.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ClusterServiceBroker",
    doc = "A broker whose services all namespaces can order.",
    plural = "clusterservicebrokers",
    singular = "clusterservicebroker",
    status = "ServiceBrokerStatus",
    shortname = "csvcbr",
    selectable = ".spec.url",
    selectable = ".status.lastConditionState"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::has_url())]
#[x_kube(validation = rule::one_way_to_trust())]
#[x_kube(validation = rule::never_less("relistRequests", "relistRequests must be strictly increasing"))]
#[x_kube(validation = rule::has_authentication())]
#[x_kube(validation = rule::has_secret("basic", &["name", "namespace"]))]
#[x_kube(validation = rule::has_secret("bearer", &["name", "namespace"]))]
#[x_kube(validation = rule::no_restriction_by("spec.serviceClass.name", "ClusterServiceBroker", "spec.clusterServiceClass.name"))]
pub struct ClusterServiceBrokerSpec {
    /// What both kinds of broker have.
    #[serde(flatten)]
    pub common: CommonServiceBrokerSpec,
    /// How the operator authenticates to the broker; without it, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_info: Option<AuthInfo<ClusterSecretAuthConfig>>,
}

/// An Open Service Broker API broker that offers its services to one namespace.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "servicecatalog.k8s.io",
    version = "v1beta1",
    kind = "ServiceBroker",
    doc = "A broker whose services can be ordered in its namespace only.",
    plural = "servicebrokers",
    singular = "servicebroker",
    namespaced,
    status = "ServiceBrokerStatus",
    shortname = "svcbr",
    selectable = ".spec.url",
    selectable = ".status.lastConditionState"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::has_url())]
#[x_kube(validation = rule::one_way_to_trust())]
#[x_kube(validation = rule::never_less("relistRequests", "relistRequests must be strictly increasing"))]
#[x_kube(validation = rule::has_authentication())]
#[x_kube(validation = rule::has_secret("basic", &["name"]))]
#[x_kube(validation = rule::has_secret("bearer", &["name"]))]
#[x_kube(validation = rule::no_restriction_by("spec.clusterServiceClass.name", "ServiceBroker", "spec.serviceClass.name"))]
pub struct ServiceBrokerSpec {
    /// What both kinds of broker have.
    #[serde(flatten)]
    pub common: CommonServiceBrokerSpec,
    /// How the operator authenticates to the broker; without it, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_info: Option<AuthInfo<SecretAuthConfig>>,
}

/// What kubectl shows of a broker.
pub(super) fn columns() -> [Column; 5] {
    let fetched = "When the catalog was last fetched and brought a change";
    [
        text("URL", ".spec.url", "Address of the broker"),
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
    /// Address of the broker: `http` or `https`, with the path prefix of its API if it has one.
    #[serde(default, deserialize_with = "null_default")]
    pub url: String,
    /// Accept any TLS certificate. Unsafe; cannot be combined with `caBundle`.
    #[serde(
        default,
        rename = "insecureSkipTLSVerify",
        deserialize_with = "null_default",
        skip_serializing_if = "is_false"
    )]
    pub insecure_skip_tls_verify: bool,
    /// PEM certificates that the broker's TLS certificate must be issued by, in place of the system's, base64-encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub ca_bundle: Option<ByteString>,
    /// `Duration` (fetch the catalog anew after `relistDuration`) or `Manual` (only when `relistRequests` grows).
    /// Empty means `Duration`.
    #[serde(default, deserialize_with = "null_default")]
    pub relist_behavior: RelistBehavior,
    /// How long after a successful fetch the catalog is fetched anew, as in `15m0s`. Without it, the operator's
    /// setting counts (24 hours by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub relist_duration: Option<Duration>,
    /// Increase this number to have the catalog fetched now.
    #[serde(default, deserialize_with = "null_default")]
    #[schemars(range(min = 0))]
    pub relist_requests: i64,
    /// Which classes and plans of the catalog are offered; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_restrictions: Option<CatalogRestrictions>,
}

/// When the catalog is fetched anew.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RelistBehavior {
    /// Not said: as `Duration`.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// After `relistDuration`.
    Duration,
    /// Only when `relistRequests` grows.
    Manual,
}

/// Restrictions of the catalog, each a list of label-selector requirements that must all hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogRestrictions {
    /// On classes: `name`, `spec.externalName`, `spec.externalID`, with `=`, `==`, `!=`, `in (…)`, `notin (…)`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::class_restrictions")]
    pub service_class: Vec<String>,
    /// On plans: as on classes, and `spec.free`, `spec.clusterServiceClass.name`, `spec.serviceClass.name`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::plan_restrictions")]
    pub service_plan: Vec<String>,
}

/// How to authenticate to a broker. When both are given, `basic` counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AuthInfo<C> {
    /// HTTP basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<C>,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<C>,
}

impl<C> AuthInfo<C> {
    /// The original tests `basic` first and ignores `bearer` beside it.
    fn chosen(&self) -> Option<(AuthMethod, &C)> {
        let basic = self.basic.as_ref().map(|config| (AuthMethod::Basic, config));
        basic.or_else(|| self.bearer.as_ref().map(|config| (AuthMethod::Bearer, config)))
    }
}

/// Where the credentials for a cluster-wide broker are.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretAuthConfig {
    /// The Secret: keys `username` and `password` for basic, `token` for bearer authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectReference>,
}

/// Where the credentials for a broker of one namespace are.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretAuthConfig {
    /// The Secret, in the broker's namespace: keys `username` and `password` for basic, `token` for bearer
    /// authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// Status of a broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBrokerStatus {
    /// `Ready`: the catalog was fetched and its classes and plans are in place.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec with which the catalog was last fetched successfully.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub reconciled_generation: i64,
    /// The generation of the spec that the operator last acted on, successfully or not; -1 before it has seen the object.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// When fetching the catalog first failed since it last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub operation_start_time: Option<Time>,
    /// When the catalog was last fetched and brought a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_catalog_retrieval_time: Option<Time>,
    /// `Ready`, or the reason why not.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub last_condition_state: String,
    /// How much of a catalog was read when it was last fetched. An operator that reads more fetches it once more.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub catalog_reader: i64,
}

/// Where the operator finds the credentials for a broker, with the scope resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretAuth {
    /// Basic or bearer.
    pub method: AuthMethod,
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret; empty when the spec does not name one.
    pub name: String,
}

/// How a broker wants to be authenticated to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthMethod {
    /// HTTP basic authentication.
    Basic,
    /// A bearer token.
    Bearer,
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

impl Conditioned for ServiceBrokerStatus {
    fn parts(&mut self) -> (&mut Vec<Condition>, &mut String) {
        (&mut self.conditions, &mut self.last_condition_state)
    }

    fn observed_generation(&self) -> i64 {
        self.observed_generation
    }
}
