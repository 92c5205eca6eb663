//! How are the Secrets with credentials written? They are created if the name is free. They are replaced and
//! deleted only if they belong to the binding: by their owner, or by their label if somebody has removed the owner.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    api::{DeleteParams, Patch, Preconditions},
    core::{ApiResource, ObjectMeta},
};
use serde_json::json;

use super::{
    WriteTarget, digest,
    rejection::{RejectedWrite, or_rejected},
};
use crate::{
    kube_api::{
        Error,
        owner::is_owned,
        request::{ignore_missing, patch_params, post_params},
        secrets::secret_metadata,
    },
    reconcilers::context::Context,
};

/// Label on Secrets of bindings: the uid of the binding. The operator watches the Secrets with this label.
pub const LABEL_BINDING: &str = "servicecatalog.k8s.io/binding-uid";

/// Annotation on Secrets of bindings: the id at the broker of the binding whose credentials they hold.
pub const ANNOTATION_BINDING_ID: &str = "servicecatalog.k8s.io/binding-id";

/// Annotation on Secrets of bindings: the keys of the labels and annotations that the spec of the binding asks for.
pub const ANNOTATION_ADDED_KEYS: &str = "servicecatalog.k8s.io/added-keys";

/// Whether a Secret belongs to the binding of this uid. Tools that copy or restore Secrets remove owner references. The label
/// counts too then, unless the Secret has another controller.
#[must_use]
pub fn belongs_to(metadata: &ObjectMeta, binding_uid: &str) -> bool {
    let is_controlled =
        || metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_BINDING));
    is_owned(metadata, binding_uid) || (label.is_some_and(|uid| uid == binding_uid) && !is_controlled())
}

/// The finalizer that holds back the Secret of a namespaced broker, and the label on it
/// ([`credentials`](crate::reconcilers::credentials)).
pub const HELD: &str = "servicecatalog.k8s.io/broker-credentials";

/// The prefix of all labels and annotations of the operator.
const OURS: &str = "servicecatalog.k8s.io/";

/// How often the write of a Secret is tried. It is tried more often than other writes, as the credentials
/// exist only in memory, and some brokers send them only once.
const SECRET_TRIES: u32 = 5;

/// A Secret with credentials. No `Debug`.
pub struct OwnedSecret {
    /// Name, namespace, labels, and the owner reference to the binding.
    pub metadata: ObjectMeta,
    /// The type of the Secret. `None`: `Opaque`.
    pub type_: Option<String>,
    /// Uid of the binding.
    pub owner_uid: String,
    /// Whether the binding has had a Secret a moment ago, which this one replaces.
    pub replaces: bool,
    /// The credentials.
    pub data: BTreeMap<String, ByteString>,
}

/// Writes credentials, with retries. `Some`: the API server rejects the Secret.
pub(super) async fn apply_secret(
    context: &Context,
    secret: &OwnedSecret,
) -> Result<Option<RejectedWrite>, Error> {
    let mut delay = Duration::from_millis(200);
    for _ in 1..SECRET_TRIES {
        match try_apply_secret(context, secret).await {
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "writing credentials again");
            }
            done => return done,
        }
        tokio::time::sleep(delay).await;
        delay *= 2;
    }
    try_apply_secret(context, secret).await
}

async fn try_apply_secret(context: &Context, secret: &OwnedSecret) -> Result<Option<RejectedWrite>, Error> {
    let target = target(&secret.metadata);
    let (namespace, name) = (target.namespace.as_deref().unwrap_or_default(), &*target.name);
    let mut object = Secret {
        metadata: secret.metadata.clone(),
        type_: secret.type_.clone(),
        data: Some(secret.data.clone()),
        ..Secret::default()
    };
    set_digest(&mut object.metadata, &secret.data, &digest::new_salt());
    let create = async || {
        let request = target.request().create(&post_params(), serialized(&object)?);
        target.submit(context, "create", request).await
    };
    let exists = if secret.replaces {
        None
    } else {
        match create().await {
            Err(error) if error.is_already_exists() => Some(error),
            created => return or_rejected(created),
        }
    };
    let Some(present) = secret_metadata(&context.client, namespace, name).await? else {
        return match exists {
            // The Secret was deleted between the two requests, or the conflict has another cause (the namespace
            // is terminating).
            Some(error) => Err(error),
            None => or_rejected(create().await),
        };
    };
    if !belongs_to(&present.metadata, &secret.owner_uid) {
        return Ok(Some(name_taken(namespace, name)));
    }
    let present_version = Preconditions {
        uid: present.metadata.uid.clone(),
        resource_version: present.metadata.resource_version.clone(),
    };
    if let Some(salt) = digest::salt(&present.metadata) {
        set_digest(&mut object.metadata, &secret.data, &salt);
    }
    keep_foreign(&mut object.metadata, present.metadata);
    let request = target.request().replace(name, &post_params(), serialized(&object)?);
    match target.submit(context, "replace", request).await {
        Err(error) if is_of_other_type(&error) => {}
        replaced => return or_rejected(replaced),
    }
    // The API server has accepted the new Secret but for its name, which becomes free.
    delete(context, &target, present_version).await?;
    object.metadata.resource_version = None;
    let request = target.request().create(&post_params(), serialized(&object)?);
    or_rejected(target.submit(context, "create", request).await)
}

/// Whether the API server refuses a Secret because it has another type than the one that exists. A type cannot be changed.
fn is_of_other_type(error: &Error) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
    error.is_rejection() && causes.is_some_and(|causes| causes.iter().any(|cause| cause.field == "type"))
}

fn set_digest(metadata: &mut ObjectMeta, data: &digest::Data, salt: &str) {
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(digest::ANNOTATION_DIGEST.to_owned(), digest::annotation(data, salt));
}

/// Keeps what others have added to the metadata of the present Secret.
fn keep_foreign(metadata: &mut ObjectMeta, present: ObjectMeta) {
    let added = present.annotations.as_ref().and_then(|all| all.get(ANNOTATION_ADDED_KEYS)).cloned();
    let added: Vec<&str> = added.iter().flat_map(|keys| keys.split(',')).collect();
    let is_foreign = |(key, _): &(String, String)| !key.starts_with(OURS) && !added.contains(&key.as_str());
    let keep = |ours: &mut Option<BTreeMap<String, String>>, present: Option<BTreeMap<String, String>>| {
        let ours = ours.get_or_insert_default();
        let foreign = present.into_iter().flatten().filter(is_foreign);
        for (key, value) in foreign {
            ours.entry(key).or_insert(value);
        }
    };
    keep(&mut metadata.labels, present.labels);
    keep(&mut metadata.annotations, present.annotations);
    metadata.finalizers = present.finalizers;
    metadata.resource_version = present.resource_version;
}

fn serialized(secret: &Secret) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(secret).map_err(|error| Error::new("write a Secret", kube::Error::SerdeError(error)))
}

fn target(metadata: &ObjectMeta) -> WriteTarget {
    WriteTarget {
        resource: ApiResource::erase::<Secret>(&()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The rejection to change a Secret that does not belong to the binding.
#[must_use]
pub fn name_taken(namespace: &str, name: &str) -> RejectedWrite {
    RejectedWrite {
        message: format!(
            "Secret \"{namespace}/{name}\" is not owned by ServiceBinding: spec.secretName is taken by a Secret that this binding did not create; \
             delete this binding and create another with another secretName, or delete that Secret if nobody uses it"
        ),
    }
}

/// Adds labels and annotations to the Secret of this uid. The patch and the response have only metadata.
pub(super) async fn label_secret(context: &Context, metadata: &ObjectMeta) -> Result<(), Error> {
    let target = target(metadata);
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    let request = target.request().patch_metadata(&target.name, &patch_params(), &patch);
    ignore_missing(target.submit(context, "label", request).await)
}

/// Removes the finalizer and the label that hold back this version of a Secret.
pub(super) async fn release_secret(context: &Context, metadata: &ObjectMeta) -> Result<(), Error> {
    let target = target(metadata);
    let others: Vec<&String> = metadata.finalizers.iter().flatten().filter(|name| *name != HELD).collect();
    let patch = Patch::Merge(json!({ "metadata": {
        "finalizers": others,
        "labels": { HELD: null },
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    } }));
    let request = target.request().patch_metadata(&target.name, &patch_params(), &patch);
    ignore_missing(target.submit(context, "release", request).await)
}

/// Deletes a Secret of a binding. A Secret of another owner is left as it is.
pub(super) async fn delete_secret(
    context: &Context,
    (namespace, name): (&str, &str),
    owner_uid: &str,
    uid: Option<String>,
) -> Result<(), Error> {
    let uid = match uid {
        Some(uid) => Some(uid),
        None => match secret_metadata(&context.client, namespace, name).await? {
            Some(present) if belongs_to(&present.metadata, owner_uid) => present.metadata.uid,
            Some(_) | None => return Ok(()),
        },
    };
    let metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    delete(context, &target(&metadata), Preconditions { uid, resource_version: None }).await
}

async fn delete(context: &Context, target: &WriteTarget, preconditions: Preconditions) -> Result<(), Error> {
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let request = target.request().delete(&target.name, &parameters);
    ignore_missing(target.submit(context, "delete", request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> ObjectMeta {
        let map = |entries: &[(&str, &str)]| {
            Some(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        ObjectMeta { labels: map(labels), annotations: map(annotations), ..ObjectMeta::default() }
    }

    #[test]
    fn what_others_have_added_to_a_secret_stays() {
        let mut new = metadata(&[(LABEL_BINDING, "u")], &[(ANNOTATION_BINDING_ID, "2")]);
        let expires = "servicecatalog.k8s.io/expires-at";
        let present = ObjectMeta {
            finalizers: Some(vec!["example.com/keep".into()]),
            resource_version: Some("7".into()),
            ..metadata(
                &[(LABEL_BINDING, "u"), ("team", "a"), ("tier", "old")],
                &[
                    (ANNOTATION_BINDING_ID, "1"),
                    (expires, "soon"),
                    ("example.com/copy", "yes"),
                    ("example.com/note", "old"),
                    (ANNOTATION_ADDED_KEYS, "tier,example.com/note"),
                ],
            )
        };
        keep_foreign(&mut new, present.clone());
        let wanted = metadata(
            &[(LABEL_BINDING, "u"), ("team", "a")],
            &[(ANNOTATION_BINDING_ID, "2"), ("example.com/copy", "yes")],
        );
        assert_eq!((new.labels, new.annotations), (wanted.labels, wanted.annotations));
        assert_eq!((new.finalizers, new.resource_version), (present.finalizers, present.resource_version));
    }
}
