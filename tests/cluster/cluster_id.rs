//! The `ConfigMap` by which brokers know the cluster: made where it is missing, completed where it has no id, and believed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;
use service_catalog::kube_api::cluster_id::ensure;
use testkit::stage::objects::CONFIG_MAP;

use super::unregistered;

// v0.3 K11
#[tokio::test]
async fn the_id_of_a_cluster_is_made_once_and_nothing_else_is_touched() {
    let case = unregistered("cluster-id", false).await;
    let (client, namespace) = (&case.hand.client, case.namespace());
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let kept = async |name: &str| api.get(name).await.unwrap().data.unwrap();
    case.hand.make(CONFIG_MAP, "without", json!({ "data": { "other": "mine" } })).await.unwrap();
    case.hand.make(CONFIG_MAP, "empty", json!({ "data": { "id": "" } })).await.unwrap();
    for name in ["absent", "without", "empty"] {
        let made = ensure(client.clone(), namespace, name).await.unwrap();
        assert_eq!(uuid::Uuid::parse_str(&made).unwrap().get_version_num(), 4, "{name}");
        assert_eq!(kept(name).await["id"], made, "{name}");
        assert_eq!(ensure(client.clone(), namespace, name).await.unwrap(), made, "{name}");
    }
    assert_eq!(kept("without").await["other"], "mine");
    // Whatever it is: it is what brokers know.
    case.hand.make(CONFIG_MAP, "theirs", json!({ "data": { "id": "the original's" } })).await.unwrap();
    assert_eq!(ensure(client.clone(), namespace, "theirs").await.unwrap(), "the original's");
    case.finish().await;
}
