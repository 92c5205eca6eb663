//! The Secret of a binding: what is known of it, and what it is made of.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource as _, ResourceExt as _, core::ObjectMeta, runtime::reflector::ObjectRef};

use super::{
    intent::is_unfit,
    lifetime,
    phase::{self, Phase},
};
use crate::{
    context::Context,
    crd::{ServiceBinding, ServiceBindingStatus},
    osb::outcome::Lifetime,
    reconcilers::{
        backoff::later,
        error::Error,
        secret::{ANNOTATION_BINDING_ID, LABEL_BINDING, OwnedSecret, secret_metadata},
        write::{Write, is_owned},
    },
};

/// How long the watch on Secrets gets to show one that this process has just written.
pub const SETTLING: SignedDuration = SignedDuration::from_secs(5);

/// What is known of the Secret of a binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretState {
    /// It was not looked at: nothing depends on it now.
    Unchecked,
    /// There is none of that name.
    Missing,
    /// It is ours, with the credentials of the broker's binding of this id.
    Ours {
        /// The binding at the broker.
        binding_id: String,
        /// Uid of the Secret.
        uid: Option<String>,
        /// How long the credentials are good for.
        lifetime: Lifetime,
    },
    /// Somebody else's Secret has the name.
    Foreign,
}

/// Whether the credentials of the binding in use are in no Secret of ours. The original did not say in the Secret of which
/// binding it was.
#[must_use]
pub fn is_lost(state: &SecretState, object: &ServiceBinding) -> bool {
    match state {
        SecretState::Missing => true,
        SecretState::Unchecked | SecretState::Foreign => false,
        SecretState::Ours { binding_id, .. } => {
            let status = object.status.clone().unwrap_or_default();
            !binding_id.is_empty() && *binding_id != phase::binding_id(object, &status)
        }
    }
}

/// How long the credentials of the request under way are good for, if they are in the Secret. What the original wrote there
/// belongs to the only binding that it ever asked for.
#[must_use]
pub(super) fn is_written(state: &SecretState, status: &ServiceBindingStatus) -> Option<Lifetime> {
    match state {
        SecretState::Ours { binding_id, lifetime, .. }
            if *binding_id == status.binding_id
                || (binding_id.is_empty() && status.progress.attempt == 0) =>
        {
            Some(*lifetime)
        }
        _ => None,
    }
}

/// Name of the Secret: what the spec says, else the binding's own name.
#[must_use]
pub fn secret_name(object: &ServiceBinding) -> String {
    if object.spec.secret_name.is_empty() { object.name_any() } else { object.spec.secret_name.clone() }
}

/// Looks for the Secret: in the cache where that is enough, at the API server where a mistake would cost credentials.
pub(super) async fn observe(object: &Arc<ServiceBinding>, context: &Context) -> Result<SecretState, Error> {
    let status = object.status.clone().unwrap_or_default();
    let cached = cached(object, context);
    let deleted = object.metadata.deletion_timestamp.is_some();
    // An earlier attempt may have failed because the name was taken, whatever has been reported since.
    let unfit = is_unfit(&status) || status.progress.attempt > 0;
    match phase::phase(&status) {
        _ if deleted => Ok(cached.unwrap_or(SecretState::Unchecked)),
        // Our last look at the API server may be from before a crash: the answer decides whether the broker is asked.
        Phase::Intending(_) => look(object, context).await,
        // If the name was taken the last time, a broker is not asked again for credentials that cannot be written.
        Phase::Absent { .. } | Phase::Retrying(_) if unfit => look(object, context).await,
        Phase::Settled { .. } => match cached {
            Some(state @ SecretState::Ours { .. }) => Ok(state),
            _ if just_written(object, context) => Ok(SecretState::Unchecked),
            _ => look(object, context).await,
        },
        Phase::Absent { .. }
        | Phase::Retrying(_)
        | Phase::Polling(..)
        | Phase::Mitigating { .. }
        | Phase::Unbinding { .. }
        | Phase::Stuck => Ok(cached.unwrap_or(SecretState::Unchecked)),
    }
}

fn just_written(object: &ServiceBinding, context: &Context) -> bool {
    let answered = context.memories.get(&object.uid().unwrap_or_default()).answered;
    answered.is_some_and(|at| jiff::Timestamp::now() < later(at, SETTLING))
}

fn cached(object: &ServiceBinding, context: &Context) -> Option<SecretState> {
    let key = ObjectRef::new(&secret_name(object)).within(&object.namespace().unwrap_or_default());
    let secret = context.stores.secrets.as_ref()?.get(&key)?;
    Some(judge(&secret.metadata, object))
}

async fn look(object: &ServiceBinding, context: &Context) -> Result<SecretState, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let secret = secret_metadata(&context.client, &namespace, &secret_name(object)).await?;
    Ok(secret.map_or(SecretState::Missing, |secret| judge(&secret.metadata, object)))
}

fn judge(metadata: &ObjectMeta, object: &ServiceBinding) -> SecretState {
    if !is_owned(metadata, &object.uid().unwrap_or_default()) {
        return SecretState::Foreign;
    }
    let annotations = metadata.annotations.as_ref();
    let binding_id = annotations.and_then(|all| all.get(ANNOTATION_BINDING_ID)).cloned().unwrap_or_default();
    SecretState::Ours { binding_id, uid: metadata.uid.clone(), lifetime: lifetime::read(annotations) }
}

/// The Secret with credentials, as it is to be written.
pub(super) fn build(
    object: &ServiceBinding,
    binding_id: &str,
    lifetime: Lifetime,
    data: BTreeMap<String, ByteString>,
) -> Write {
    let uid = object.uid().unwrap_or_default();
    let owner = OwnerReference {
        api_version: ServiceBinding::api_version(&()).into_owned(),
        kind: ServiceBinding::kind(&()).into_owned(),
        name: object.name_any(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let annotations = std::iter::once((ANNOTATION_BINDING_ID.to_owned(), binding_id.to_owned()))
        .chain(lifetime::annotations(lifetime));
    let metadata = ObjectMeta {
        name: Some(secret_name(object)),
        namespace: object.namespace(),
        labels: Some(labels(&uid)),
        annotations: Some(annotations.collect()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Write::ApplySecret(Box::new(OwnedSecret { metadata, owner_uid: uid, data }))
}

fn labels(uid: &str) -> BTreeMap<String, String> {
    let labels = [(LABEL_BINDING, uid), ("app.kubernetes.io/managed-by", "service-catalog")];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Makes a Secret that the original wrote known as one of ours: from then on it is watched. Its content stays.
pub(super) fn mark(object: &ServiceBinding, status: &ServiceBindingStatus, uid: Option<String>) -> Write {
    let id = phase::binding_id(object, status);
    Write::MarkSecret(Box::new(ObjectMeta {
        name: Some(secret_name(object)),
        namespace: object.namespace(),
        uid,
        labels: Some(labels(&object.uid().unwrap_or_default())),
        annotations: Some([(ANNOTATION_BINDING_ID.to_owned(), id)].into()),
        ..ObjectMeta::default()
    }))
}

/// The removal of the Secret, if it is ours.
pub(super) fn remove(object: &ServiceBinding, state: &SecretState) -> Vec<Write> {
    let uid = match state {
        SecretState::Missing | SecretState::Foreign => return vec![],
        SecretState::Ours { uid, .. } => uid.clone(),
        SecretState::Unchecked => None,
    };
    vec![Write::DeleteSecret {
        namespace: object.namespace().unwrap_or_default(),
        name: secret_name(object),
        owner_uid: object.uid().unwrap_or_default(),
        uid,
    }]
}
