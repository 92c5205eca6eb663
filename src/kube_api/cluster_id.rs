//! The id of this cluster, which brokers get with every request: made once, kept in a `ConfigMap`, never
//! changed. v0.3 keeps it in the same place.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::Patch, core::ObjectMeta};
use serde_json::json;
use uuid::Uuid;

use super::{
    error::Error,
    request::{patch_params, post_params, timed},
};

/// The key of the id in the `ConfigMap`.
const KEY: &str = "id";

/// Reads the id from the `ConfigMap`. If there is none, makes a new one and writes it there.
///
/// # Errors
/// See [`Error`].
pub async fn ensure(client: Client, namespace: &str, name: &str) -> Result<String, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let action = format!(
        "read or write the id of this cluster in ConfigMap {namespace}/{name} (see --cluster-id-configmap-name and \
         --cluster-id-configmap-namespace)"
    );
    let new_id = Uuid::new_v4().to_string();
    loop {
        let written = match timed(&action, api.get_opt(name)).await? {
            None => {
                let config_map = ConfigMap {
                    metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
                    data: Some([(KEY.to_owned(), new_id.clone())].into()),
                    ..ConfigMap::default()
                };
                timed(&action, api.create(&post_params(), &config_map)).await
            }
            Some(present) => {
                let id = present.data.as_ref().and_then(|data| data.get(KEY)).filter(|id| !id.is_empty());
                if let Some(id) = id {
                    return Ok(id.clone());
                }
                let version = present.metadata.resource_version;
                let patch =
                    Patch::Merge(json!({"metadata": {"resourceVersion": version}, "data": {KEY: new_id}}));
                timed(&action, api.patch(name, &patch_params(), &patch)).await
            }
        };
        match written {
            Ok(_) => return Ok(new_id),
            // Another process was faster, and its id counts.
            Err(Error::Conflict { .. }) => {}
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
    }
}
