//! Secrets: those that specs name are read, and those that hold credentials created where the name is free, replaced and deleted
//! only where they are ours.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, Preconditions},
    core::{ObjectMeta, PartialObjectMeta},
};
use serde_json::json;

use super::{
    error::Error,
    write::{Refused, has_code, ignore_missing, is_owned, or_refused, parameters, post, timed},
};

/// Label on our Secrets: the uid of the binding that they belong to. Selects what is watched.
pub const LABEL_BINDING: &str = "servicecatalog.k8s.io/binding-uid";

/// Annotation on our Secrets: the id at the broker of the binding whose credentials they hold.
pub const ANNOTATION_BINDING_ID: &str = "servicecatalog.k8s.io/binding-id";

/// A Secret is worth more patience than other writes: its credentials exist only in memory, and some brokers give them
/// only once.
const SECRET_TRIES: u32 = 5;

/// A Secret with credentials. No `Debug`.
pub struct OwnedSecret {
    /// Name, namespace, labels, and the owner reference to the binding.
    pub metadata: ObjectMeta,
    /// Uid of the binding.
    pub owner_uid: String,
    /// The credentials.
    pub data: BTreeMap<String, ByteString>,
}

/// Reads a Secret that somebody's spec names. A name that no object can have (specs from before the CRDs had rules may hold
/// one) finds nothing: it becomes part of a path, and must not lead to another Secret.
///
/// # Errors
/// The API server did not answer.
pub async fn find_secret(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
    if !(is_path_segment(namespace) && is_path_segment(name)) {
        return Ok(None);
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    timed(&format!("read Secret {namespace}/{name}"), api.get_opt(name)).await
}

/// What is true of the name of every object. The rest of what names must be is for the API server to say.
fn is_path_segment(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !matches!(name, "" | "." | "..")
}

/// Reads the metadata of a Secret as the API server has it now.
pub async fn secret_metadata(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<PartialObjectMeta<Secret>>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    timed(&format!("read the metadata of Secret {namespace}/{name}"), api.get_metadata_opt(name)).await
}

/// Writes credentials, with patience. `Some` is a refusal for good.
pub(super) async fn apply_secret(client: &Client, secret: &OwnedSecret) -> Result<Option<Refused>, Error> {
    let mut delay = Duration::from_millis(200);
    for _ in 1..SECRET_TRIES {
        match try_secret(client, secret).await {
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "writing credentials again");
            }
            done => return done,
        }
        tokio::time::sleep(delay).await;
        delay *= 2;
    }
    try_secret(client, secret).await
}

async fn try_secret(client: &Client, secret: &OwnedSecret) -> Result<Option<Refused>, Error> {
    let (namespace, name) = (
        secret.metadata.namespace.clone().unwrap_or_default(),
        secret.metadata.name.clone().unwrap_or_default(),
    );
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let mut object =
        Secret { metadata: secret.metadata.clone(), data: Some(secret.data.clone()), ..Secret::default() };
    let action = format!("create Secret {namespace}/{name}");
    let exists = match timed(&action, api.create(&post(), &object)).await {
        Err(Error::Api { source, .. }) if has_code(&source, 409) => source,
        created => return or_refused(created),
    };
    let Some(present) = secret_metadata(client, &namespace, &name).await? else {
        // Gone between the two requests, or a conflict of another kind (the namespace is terminating).
        return Err(Error::Api { action, source: exists });
    };
    if !is_owned(&present.metadata, &secret.owner_uid) {
        return Ok(Some(taken(&namespace, &name)));
    }
    object.metadata.resource_version.clone_from(&present.metadata.resource_version);
    let action = format!("replace Secret {namespace}/{name}");
    or_refused(timed(&action, api.replace(&name, &post(), &object)).await)
}

/// The refusal to touch a Secret that is not ours.
#[must_use]
pub fn taken(namespace: &str, name: &str) -> Refused {
    Refused {
        message: format!(
            "Secret \"{namespace}/{name}\" is not owned by ServiceBinding: spec.secretName is taken by a Secret that this binding did not create; \
             delete this binding and create another with another secretName, or delete that Secret if nobody uses it"
        ),
    }
}

/// Adds labels and annotations to a Secret, this very one. Only metadata travels.
pub(super) async fn mark_secret(client: &Client, metadata: &ObjectMeta) -> Result<(), Error> {
    let (namespace, name) =
        (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let action = format!("label Secret {namespace}/{name}");
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    ignore_missing(timed(&action, api.patch_metadata(&name, &parameters(), &patch)).await.map(|_| ()))
}

/// Deletes a Secret of a binding; one that is not ours, or gone already, is left as it is.
pub(super) async fn delete_secret(
    client: &Client,
    (namespace, name): (&str, &str),
    owner_uid: &str,
    uid: Option<String>,
) -> Result<(), Error> {
    let uid = match uid {
        Some(uid) => Some(uid),
        None => match secret_metadata(client, namespace, name).await? {
            Some(present) if is_owned(&present.metadata, owner_uid) => present.metadata.uid,
            Some(_) | None => return Ok(()),
        },
    };
    let only = DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let action = format!("delete Secret {namespace}/{name}");
    ignore_missing(timed(&action, api.delete(name, &only)).await.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_place_in_a_path() {
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
