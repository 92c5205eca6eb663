//! Reads of single namespaces.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ListParams};

use super::{error::Error, request::timed};

/// Whether a namespace is being deleted or does not exist, as the API server knows it and not the cache. The
/// operator may list namespaces, but not get one.
pub(crate) async fn is_ending(client: &Client, name: &str) -> Result<bool, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = timed(&format!("read namespace {name}"), api.list_metadata(&only)).await?;
    Ok(found.items.iter().all(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}
