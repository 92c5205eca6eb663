//! Objects as they are on the wire, made and changed by some user. JSON, because the tests are about what clients of
//! the API see, and because bad input has no type.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    /// As in manifests.
    pub name: &'static str,
    /// As in URLs and for kubectl.
    pub plural: &'static str,
    namespaced: bool,
}

const fn catalog(name: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { group: "servicecatalog.k8s.io", version: "v1beta1", name, plural, namespaced }
}

pub const CLUSTER_BROKER: Kind = catalog("ClusterServiceBroker", "clusterservicebrokers", false);
pub const CLUSTER_CLASS: Kind = catalog("ClusterServiceClass", "clusterserviceclasses", false);
pub const CLUSTER_PLAN: Kind = catalog("ClusterServicePlan", "clusterserviceplans", false);
pub const BROKER: Kind = catalog("ServiceBroker", "servicebrokers", true);
pub const CLASS: Kind = catalog("ServiceClass", "serviceclasses", true);
pub const PLAN: Kind = catalog("ServicePlan", "serviceplans", true);
pub const INSTANCE: Kind = catalog("ServiceInstance", "serviceinstances", true);
pub const BINDING: Kind = catalog("ServiceBinding", "servicebindings", true);
pub const SECRET: Kind =
    Kind { group: "", version: "v1", name: "Secret", plural: "secrets", namespaced: true };
pub const CONFIG_MAP: Kind =
    Kind { group: "", version: "v1", name: "ConfigMap", plural: "configmaps", namespaced: true };
pub const POD: Kind = Kind { group: "", version: "v1", name: "Pod", plural: "pods", namespaced: true };
pub const NAMESPACE: Kind =
    Kind { group: "", version: "v1", name: "Namespace", plural: "namespaces", namespaced: false };
pub const EVENT: Kind =
    Kind { group: "events.k8s.io", version: "v1", name: "Event", plural: "events", namespaced: true };

pub const ROLE_BINDING: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    name: "RoleBinding",
    plural: "rolebindings",
    namespaced: true,
};

impl Kind {
    /// The objects of this kind, those of a namespace if they have one.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        let resource = self.resource();
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        }
    }

    /// An object of this kind, with a spec.
    pub fn object(self, name: &str, spec: &Value) -> DynamicObject {
        self.manifest(name, &json!({ "spec": spec }))
    }

    /// An object of this kind, with whatever stands beside its metadata.
    pub fn manifest(self, name: &str, body: &Value) -> DynamicObject {
        DynamicObject::new(name, &self.resource()).data(body.clone())
    }

    /// As kube knows it.
    pub fn resource(self) -> ApiResource {
        let known = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&known, self.plural)
    }
}

/// Somebody who works in a namespace.
#[derive(Clone)]
pub struct Hand {
    pub client: Client,
    pub namespace: String,
}

impl Hand {
    /// Creates an object with a spec.
    pub async fn create(&self, kind: Kind, name: &str, spec: Value) -> kube::Result<Value> {
        self.make(kind, name, json!({ "spec": spec })).await
    }

    /// Creates an object with any body.
    pub async fn make(&self, kind: Kind, name: &str, body: Value) -> kube::Result<Value> {
        let object = kind.manifest(name, &body);
        kind.api(&self.client, &self.namespace).create(&PostParams::default(), &object).await.map(plain)
    }

    /// Creates an object as a backup has it.
    pub async fn restore(&self, kind: Kind, backup: &Value) -> kube::Result<Value> {
        let object: DynamicObject =
            serde_json::from_value(backup.clone()).map_err(kube::Error::SerdeError)?;
        kind.api(&self.client, &self.namespace).create(&PostParams::default(), &object).await.map(plain)
    }

    /// Puts a manifest in the place of an object, as `kubectl replace` does.
    pub async fn replace(&self, kind: Kind, name: &str, body: Value) -> kube::Result<Value> {
        let api = kind.api(&self.client, &self.namespace);
        let mut object = kind.manifest(name, &body);
        object.metadata.resource_version = api.get(name).await?.metadata.resource_version;
        api.replace(name, &PostParams::default(), &object).await.map(plain)
    }

    /// Changes an object by a merge patch.
    pub async fn edit(&self, kind: Kind, name: &str, patch: Value) -> kube::Result<Value> {
        let api = kind.api(&self.client, &self.namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(plain)
    }

    /// Asks for the deletion of an object.
    pub async fn delete(&self, kind: Kind, name: &str) -> kube::Result<()> {
        kind.api(&self.client, &self.namespace).delete(name, &DeleteParams::default()).await.map(|_| ())
    }

    /// An object, if it exists.
    pub async fn get(&self, kind: Kind, name: &str) -> kube::Result<Option<Value>> {
        Ok(kind.api(&self.client, &self.namespace).get_opt(name).await?.map(plain))
    }

    /// All objects of a kind.
    pub async fn list(&self, kind: Kind) -> kube::Result<Vec<Value>> {
        let found = kind.api(&self.client, &self.namespace).list(&ListParams::default()).await?;
        Ok(found.into_iter().map(plain).collect())
    }

    /// Creates a Secret of texts.
    pub async fn secret(&self, name: &str, data: Value) -> kube::Result<Value> {
        self.make(SECRET, name, json!({ "stringData": data })).await
    }

    /// The content of a Secret as texts.
    pub async fn content(&self, name: &str) -> kube::Result<Option<Value>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(secrets.get_opt(name).await?.map(|secret| {
            let data = secret.data.unwrap_or_default();
            data.into_iter().map(|(key, value)| (key, Value::from(text(value.0)))).collect()
        }))
    }
}

/// An object as JSON, without what nobody asks about.
pub fn plain(object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.shift_remove("managedFields");
    }
    value
}

/// A condition of an object: status, reason, message.
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether an object is ready, as its present spec says.
pub fn is_ready(object: &Value) -> bool {
    let up_to_date = object["status"]["reconciledGeneration"] == object["metadata"]["generation"];
    up_to_date && condition(object, "Ready").is_some_and(|(status, ..)| status == "True")
}

/// Name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Uid of an object.
pub fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
