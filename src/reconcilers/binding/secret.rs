//! The Secret of a binding: what is known of it, and what it is made of.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource as _, ResourceExt as _, core::ObjectMeta, runtime::reflector::ObjectRef};

use super::{Binding, lifetime};
use crate::{
    crd::{ServiceBinding, ServiceBindingStatus},
    kube_api::{owner::is_owned, secrets::secret_metadata},
    osb::{BindingId, outcome::Lifetime},
    reconcilers::{
        backoff::later,
        context::Context,
        error::ReconcileError,
        operation::{Phase, Standing, status::StatusHooks as _},
        writes::{
            Write,
            secret::{ANNOTATION_BINDING_ID, LABEL_BINDING, OwnedSecret},
        },
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
        binding_id: BindingId,
        /// Uid of the Secret.
        uid: Option<String>,
        /// How long the credentials are good for.
        lifetime: Lifetime,
    },
    /// Somebody else's Secret has the name.
    Foreign,
}

/// Whether no Secret of ours has the credentials of the binding in use. v0.3 did not say in the Secret to which binding it
/// belongs.
#[must_use]
pub fn is_lost(state: &SecretState, standing: &Standing<'_, Binding>) -> bool {
    match state {
        SecretState::Missing => true,
        SecretState::Unchecked | SecretState::Foreign => false,
        SecretState::Ours { binding_id, .. } => {
            !binding_id.is_empty() && *binding_id != standing.binding_id()
        }
    }
}

/// How long the credentials of the request under way are good for, if they are in the Secret. What v0.3 wrote there belongs
/// to the only binding that it ever asked for.
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
pub(super) async fn observe(
    standing: &Standing<'_, Binding>,
    context: &Context,
) -> Result<SecretState, ReconcileError> {
    let object = standing.object;
    let cached = cached(object, context);
    // An earlier attempt may have failed because the name was taken, whatever has been reported since.
    let was_rejected =
        Binding::shows_injection_failure(&standing.status) || standing.status.progress.attempt > 0;
    match standing.phase {
        _ if standing.is_being_deleted() => Ok(cached.unwrap_or(SecretState::Unchecked)),
        // The last look at the API server may be from before a crash, and the answer decides whether the broker is asked.
        Phase::RequestInFlight(..) => look(object, context).await,
        // If the name was taken the last time, the broker is not asked again for credentials that cannot be written.
        Phase::Absent { .. } | Phase::BackingOff(..) if was_rejected => look(object, context).await,
        Phase::Present { .. } => match cached {
            Some(state @ SecretState::Ours { .. }) => Ok(state),
            _ if was_just_written(standing, context) => Ok(SecretState::Unchecked),
            _ => look(object, context).await,
        },
        Phase::Absent { .. }
        | Phase::BackingOff(..)
        | Phase::Polling(..)
        | Phase::OrphanMitigation { .. }
        | Phase::Deleting { .. }
        | Phase::Failed => Ok(cached.unwrap_or(SecretState::Unchecked)),
    }
}

fn was_just_written(standing: &Standing<'_, Binding>, context: &Context) -> bool {
    let answered = context.operations.get(standing.uid()).answered;
    answered.is_some_and(|at| jiff::Timestamp::now() < later(at, SETTLING))
}

fn cached(object: &ServiceBinding, context: &Context) -> Option<SecretState> {
    let key = ObjectRef::new(&secret_name(object)).within(&object.namespace().unwrap_or_default());
    let secret = context.caches.secrets.as_ref()?.get(&key)?;
    Some(judge(&secret.metadata, object))
}

async fn look(object: &ServiceBinding, context: &Context) -> Result<SecretState, ReconcileError> {
    let namespace = object.namespace().unwrap_or_default();
    let secret = secret_metadata(&context.client, &namespace, &secret_name(object)).await?;
    Ok(secret.map_or(SecretState::Missing, |secret| judge(&secret.metadata, object)))
}

fn judge(metadata: &ObjectMeta, object: &ServiceBinding) -> SecretState {
    if !is_owned(metadata, &object.uid().unwrap_or_default()) {
        return SecretState::Foreign;
    }
    let annotations = metadata.annotations.as_ref();
    let binding_id: BindingId =
        annotations.and_then(|all| all.get(ANNOTATION_BINDING_ID)).cloned().unwrap_or_default().into();
    SecretState::Ours { binding_id, uid: metadata.uid.clone(), lifetime: lifetime::read(annotations) }
}

/// The Secret with credentials, as it is to be written.
pub(super) fn build(
    standing: &Standing<'_, Binding>,
    lifetime: Lifetime,
    data: BTreeMap<String, ByteString>,
) -> Write {
    let object = standing.object;
    let binding_id = standing.binding_id();
    let uid = object.uid().unwrap_or_default();
    let owner = OwnerReference {
        api_version: ServiceBinding::api_version(&()).into_owned(),
        kind: ServiceBinding::kind(&()).into_owned(),
        name: object.name_any(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let annotations = std::iter::once((ANNOTATION_BINDING_ID.to_owned(), binding_id.to_string()))
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

/// Labels a Secret that v0.3 wrote as one of ours: from then on it is watched. Its content stays.
pub(super) fn label(standing: &Standing<'_, Binding>, uid: Option<String>) -> Write {
    let id = standing.binding_id().to_string();
    Write::LabelSecret(Box::new(ObjectMeta {
        name: Some(secret_name(standing.object)),
        namespace: standing.object.namespace(),
        uid,
        labels: Some(labels(standing.uid())),
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
