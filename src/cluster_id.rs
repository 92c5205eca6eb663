//! The id of this cluster as brokers know it: made once, kept in a `ConfigMap` as the original does, never changed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::json;
use uuid::Uuid;

use crate::reconcilers::write::MANAGER;

/// The key in the `ConfigMap`.
const KEY: &str = "id";

/// Why the id is not known.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read or keep the cluster id in ConfigMap {namespace}/{name} (see --cluster-id-configmap-namespace): {source}"
)]
pub struct Error {
    namespace: String,
    name: String,
    #[source]
    source: kube::Error,
}

/// The id that the `ConfigMap` holds; if there is none, a new one is made and kept there.
///
/// # Errors
/// The API server refuses, or cannot be reached.
pub async fn ensure(client: Client, namespace: &str, name: &str) -> Result<String, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    kept(&api, name).await.map_err(|source| Error {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source,
    })
}

async fn kept(api: &Api<ConfigMap>, name: &str) -> kube::Result<String> {
    let fresh = Uuid::new_v4().to_string();
    loop {
        let Some(present) = api.get_opt(name).await? else {
            let data = [(KEY.to_owned(), fresh.clone())].into();
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let post = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            match api.create(&post, &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await {
                Ok(_) => return Ok(fresh),
                // Another process was faster; its id counts.
                Err(kube::Error::Api(status)) if status.code == 409 => continue,
                Err(error) => return Err(error),
            }
        };
        if let Some(id) = present.data.as_ref().and_then(|data| data.get(KEY)).filter(|id| !id.is_empty()) {
            return Ok(id.clone());
        }
        let version = present.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "data": {KEY: fresh}});
        let manager = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(name, &manager, &Patch::Merge(patch)).await {
            Ok(_) => return Ok(fresh),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
    }
}
