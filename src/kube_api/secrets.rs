//! Reads of single Secrets.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, core::PartialObjectMeta};

use super::{error::Error, request::timed};

/// Reads a Secret that a spec names. For an illegal name the result is `None`, without a request: specs from before
/// the CRDs had rules can have such names, and as part of a URL path they could lead to another Secret.
pub(crate) async fn find_secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Secret>, Error> {
    if !(is_path_segment(namespace) && is_path_segment(name)) {
        return Ok(None);
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    timed(&format!("read Secret {namespace}/{name}"), api.get_opt(name)).await
}

/// Whether a name can be one segment of a URL path. All names of objects can; the API server checks the rest.
fn is_path_segment(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !matches!(name, "" | "." | "..")
}

/// Reads the metadata of a Secret from the API server, not from the cache.
pub(crate) async fn secret_metadata(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<PartialObjectMeta<Secret>>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    timed(&format!("read the metadata of Secret {namespace}/{name}"), api.get_metadata_opt(name)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        for name in ["db", "db.example.com", "0", "a-b", "Capital"] {
            assert!(is_path_segment(name), "{name}");
        }
        for name in
            ["", ".", "..", "../other/secrets/db", "db/log", "db?watch=1", "db#", "%2e%2e", "a b", "é"]
        {
            assert!(!is_path_segment(name), "{name}");
        }
    }
}
