//! `spec.pods` of a binding: which pods get the credentials, and how. An admission policy reads it when a pod is
//! created (`admission::injection`).
//!
//! Lists and strings have limits, because the API server limits the cost of a rule and of a policy.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::schema;

/// The variable with the folder of all bindings, as in the Service Binding Specification for Kubernetes.
pub const ROOT_VARIABLE: &str = "SERVICE_BINDING_ROOT";

/// Its value in a container that does not set it.
pub const DEFAULT_ROOT: &str = "/bindings";

/// Names that decide which code a program runs, or whom it talks to. A broker chooses the keys of the credentials, and so
/// the ends of the names with a prefix.
const DANGEROUS_PREFIX: &str = "(?i)^((LD|DYLD|GCONV|GLIBC|OPENSSL|SSL|CURL|REQUESTS|BASH|GIT|JAVA|JDK|MAVEN|GRADLE|CATALINA|NODE|NPM|PYTHON|PIP|GUNICORN|PERL|RUBY|PHP|LUA|ERL|DOTNET|CORECLR|COR|KUBERNETES|SERVICE_BINDING|HTTP|HTTPS|FTP|ALL|NO)_|(SPRING|AWS|DOCKER|VAULT)_$)";
const DANGEROUS_NAME: &str =
    "(?i)^((LD|DYLD|GCONV|GLIBC|KUBERNETES)_.*|PATH|IFS|ENV|BASH_ENV|SERVICE_BINDING_ROOT)$";

/// The pods that get the credentials, and how.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.files) || self.files || has(self.env)")
    .message("files is false and env is not set, so the pods would get nothing: set env, or files to true, or pods to {}"))]
#[x_kube(validation = Rule::new("has(self.selector) || !(has(self.containers) || has(self.files) || has(self.env))")
    .message("selector is missing: say by their labels which pods get the credentials, as in selector: {matchLabels: {app: shop}}; for none, set pods to {}"))]
pub struct Pods {
    /// The labels of these pods. Without a selector, no pod gets the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<PodSelector>,
    /// The names of the containers that get them, init containers included. All, if there are none here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "containers")]
    pub containers: Vec<String>,
    /// Whether the containers get a folder with a file for each key of the Secret:
    /// `$SERVICE_BINDING_ROOT/<name of the binding>`. The default is true, unless `env` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<bool>,
    /// The environment variables that the containers get. A running container never sees other values of them, but it
    /// sees other files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<PodEnvironment>,
    /// What happens to pods that run when the credentials change. `None`, the default: nothing, and the kubelet updates
    /// their files. `Rollout`: their workload (`Deployment`, `StatefulSet`, `DaemonSet`) gets an annotation in its template,
    /// and replaces them. `Evict`: they are evicted one after the other, as disruption budgets allow. Only an operator with
    /// `--restart-pods` does it.
    #[serde(default, skip_serializing_if = "PodRestart::is_none")]
    pub restart: PodRestart,
}

/// What happens to pods that run when the credentials change.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PodRestart {
    /// Nothing.
    #[default]
    None,
    /// Their workload gets another template.
    Rollout,
    /// They are evicted.
    Evict,
}

impl PodRestart {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// A label selector, as in a Deployment. A pod has to fulfil all of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && self.matchExpressions.exists(e, e.operator == 'In' || e.operator == 'Exists'))"
).message("name at least one label that the pods have, in matchLabels or by an expression with In or Exists: otherwise the selector matches all pods, also those of others"))]
pub struct PodSelector {
    /// Labels with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub match_labels: BTreeMap<String, String>,
    /// More rules about labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A rule about a label.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new(
    "(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && size(self.values) > 0)"
).message("In and NotIn need values, Exists and DoesNotExist have none"))]
pub struct LabelRequirement {
    /// The key of the label.
    #[schemars(schema_with = "label_key")]
    pub key: String,
    /// What holds for the label.
    pub operator: LabelOperator,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "label_values")]
    pub values: Vec<String>,
}

impl PodSelector {
    /// Whether these are the labels of such a pod. The admission policy decides the same.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_same = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(is_same)
            && self.match_expressions.iter().all(|rule| rule.matches(labels))
    }
}

/// As the API server reads it in a list.
impl fmt::Display for PodSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let rules = self.match_expressions.iter().map(ToString::to_string);
        f.write_str(&labels.chain(rules).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            LabelOperator::In => write!(f, "{key} in ({values})"),
            LabelOperator::NotIn => write!(f, "{key} notin ({values})"),
            LabelOperator::Exists => f.write_str(key),
            LabelOperator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

impl LabelRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => is_listed,
            LabelOperator::NotIn => !is_listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// What holds for a label.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum LabelOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or does not exist.
    NotIn,
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}

/// Environment variables from the Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.prefix) || (has(self.variables) && size(self.variables) > 0)")
    .message("set prefix for all keys of the Secret, or variables for some of them"))]
pub struct PodEnvironment {
    /// A variable for each key of the Secret. Its name is this prefix, followed by the key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "prefix")]
    pub prefix: String,
    /// Variables for single keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<PodVariable>,
}

/// An environment variable with the value of a key of the Secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PodVariable {
    /// The name of the variable.
    #[schemars(schema_with = "variable")]
    pub name: String,
    /// The key of the Secret. A container waits for a Secret with this key.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}

/// The pods that `spec.pods` names and that have not ended.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodsStatus {
    /// How many of them have the credentials.
    pub with_credentials: usize,
    /// How many run without them. They were created before the binding named them: restart them.
    pub without_credentials: usize,
    /// The first names of those without credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_without: Vec<String>,
    /// When the numbers last changed. The operator writes new ones after ten seconds at the earliest.
    #[schemars(schema_with = "schema::time")]
    pub changed_at: Time,
}

/// The restart of pods after a change of the credentials.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// A digest of the credentials that the pods have, or get with the restart that is due. Nobody can guess the credentials
    /// from it.
    pub credentials: String,
    /// When the credentials changed, until all pods are restarted. The restart begins half a minute later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub changed_at: Option<Time>,
    /// When the last pods were evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub evicted_at: Option<Time>,
}

fn containers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 64, "items": { "type": "string", "minLength": 1, "maxLength": 63 } })
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-validations": [{
            "rule": "self.all(key, !format.qualifiedName().validate(key).hasValue() && !format.labelValue().validate(self[key]).hasValue())",
            "message": "must be labels that a pod can have: correct the key or the value",
        }],
    })
}

fn label_key(_: &mut SchemaGenerator) -> Schema {
    let rule = "!format.qualifiedName().validate(self).hasValue()".to_owned();
    schema::ruled(317, &[(rule, "must be the key of a label, as in app or example.com/app")])
}

fn label_values(_: &mut SchemaGenerator) -> Schema {
    let value = schema::ruled(
        63,
        &[(
            "!format.labelValue().validate(self).hasValue()".to_owned(),
            "must be the value of a label: letters, digits, '-', '_' and '.', with a letter or digit at the start and at the end",
        )],
    );
    json_schema!({ "type": "array", "maxItems": 16, "items": value })
}

fn prefix(_: &mut SchemaGenerator) -> Schema {
    schema::ruled(
        63,
        &[
            (
                "self.matches('^[A-Za-z][A-Za-z0-9_]*_$')".to_owned(),
                "must begin with a letter, end with '_', and have letters, digits and '_', as in DB_",
            ),
            (
                format!("!self.matches('{DANGEROUS_PREFIX}')"),
                "variables with this prefix decide which code programs run or whom they talk to, and the broker chooses the keys: use another prefix",
            ),
        ],
    )
}

fn variable(_: &mut SchemaGenerator) -> Schema {
    schema::ruled(
        63,
        &[
            (
                "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')".to_owned(),
                "must be the name of a variable: letters, digits and '_', without a digit at the start",
            ),
            (
                format!("!self.matches('{DANGEROUS_NAME}')"),
                "a variable of this name decides which code programs run: use another name",
            ),
        ],
    )
}
