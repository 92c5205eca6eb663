//! What is the state of a binding's Secret, and what does the operator write to it?

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Resource as _, ResourceExt as _,
    core::{ObjectMeta, PartialObjectMeta},
    runtime::reflector::ObjectRef,
};

use super::{Binding, BindingView, credentials, lifetime, shape, well_known::ServiceType};
use crate::{
    clock::later,
    crd::{ServiceBinding, ServiceBindingStatus, secret_shape::SecretShape},
    kube_api::{
        owner::is_owned,
        secrets::{Keys, read_secret, secret_metadata},
    },
    osb::{
        BindingId,
        extras::Extras,
        outcome::{Credentials, Lifetime},
    },
    reconcilers::{
        context::Context,
        error::ReconcileError,
        operation::{Decoded, Phase, status::StatusHooks as _},
        references::Offering,
        writes::{
            Write,
            digest::{self, Data},
            secret::{ANNOTATION_ADDED_KEYS, ANNOTATION_BINDING_ID, LABEL_BINDING, OwnedSecret, belongs_to},
        },
    },
};

/// The time that the watch on Secrets may take to show a Secret that this process has just written.
pub const SECRET_WATCH_DELAY: SignedDuration = SignedDuration::from_secs(5);

/// What the annotations of a Secret say about its credentials.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// How long the credentials are valid.
    pub lifetime: Lifetime,
    /// What the broker gave beside credentials.
    pub extras: Extras,
    /// The Secret has another shape than `spec.secret` asks for.
    pub is_misshapen: bool,
}

/// The state of the Secret of a binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretState {
    /// The Secret was not read, as no decision depends on it now.
    Unchecked,
    /// No Secret has the name.
    Missing,
    /// The Secret belongs to the binding object. It has the credentials of the binding with this id.
    Owned {
        /// The id of the binding at the broker.
        binding_id: BindingId,
        /// Uid of the Secret.
        uid: Option<String>,
        /// What its annotations say.
        written: Written,
    },
    /// The Secret belongs to the binding object, but somebody has changed its credentials.
    Edited {
        /// Uid of the Secret.
        uid: Option<String>,
        /// What its annotations say.
        written: Written,
    },
    /// The Secret has the credentials of this binding, but not its owner: it was restored from a backup, or somebody has
    /// removed the owner.
    Adoptable {
        /// Uid of the Secret.
        uid: Option<String>,
        /// What its annotations say.
        written: Written,
    },
    /// A Secret that does not belong to the binding has the name.
    NotOwned,
}

/// Whether the credentials of the current binding are not in their Secret as they should be. A Secret of the binding object
/// may still have the credentials of an earlier attempt. v0.3 did not record in the Secret to which binding
/// id it belongs.
#[must_use]
pub fn is_secret_lost(state: &SecretState, decoded: &Decoded<'_, Binding>) -> bool {
    match state {
        SecretState::Missing | SecretState::Edited { .. } => true,
        SecretState::Unchecked | SecretState::Adoptable { .. } | SecretState::NotOwned => false,
        SecretState::Owned { binding_id, written, .. } => {
            !binding_id.is_empty() && (*binding_id != decoded.binding_id() || written.is_misshapen)
        }
    }
}

/// Whether the credentials of the current binding are in their Secret, in another shape than `spec.secret` asks for.
#[must_use]
pub(super) fn is_misshapen(view: &BindingView<'_>) -> bool {
    matches!(&view.dependencies.secret, SecretState::Owned { binding_id, written, .. }
        if written.is_misshapen && *binding_id == view.binding_id())
}

/// What the Secret says about the credentials of the current binding id, if it has them. Without an id in the
/// Secret, v0.3 wrote it, and v0.3 used only the first id.
#[must_use]
pub(super) fn written<'a>(state: &'a SecretState, status: &ServiceBindingStatus) -> Option<&'a Written> {
    match state {
        SecretState::Owned { binding_id, written, .. }
            if *binding_id == status.binding_id
                || (binding_id.is_empty() && status.progress.attempt == 0) =>
        {
            Some(written)
        }
        _ => None,
    }
}

/// The name of the Secret: `spec.secretName`, or else the name of the binding.
#[must_use]
pub fn secret_name(object: &ServiceBinding) -> String {
    if object.spec.secret_name.is_empty() { object.name_any() } else { object.spec.secret_name.clone() }
}

/// Reads the state of the Secret: from the cache if that is enough, and from the API server where a mistake
/// would cost credentials.
pub(super) async fn observe(
    decoded: &Decoded<'_, Binding>,
    context: &Context,
) -> Result<SecretState, ReconcileError> {
    let cached = read_from_cache(decoded, context);
    // An earlier attempt may have failed because another Secret has the name, even if `Ready` does not say so
    // any more.
    let was_rejected =
        Binding::shows_injection_failure(&decoded.status) || decoded.status.progress.attempt > 0;
    match decoded.phase {
        _ if decoded.is_being_deleted() => Ok(cached.unwrap_or(SecretState::Unchecked)),
        // The Secret may have been written before a crash. Then no other request is needed, so the cache is
        // not enough.
        Phase::RequestInFlight(..) => read_from_api(decoded, context).await,
        // If another Secret had the name the last time, the operator does not request credentials that it
        // cannot write.
        Phase::Absent { .. } | Phase::BackingOff(..) if was_rejected => read_from_api(decoded, context).await,
        Phase::Present { .. } => match cached.filter(|cached| !is_of_other_binding(cached, decoded)) {
            Some(state @ SecretState::Owned { .. }) => {
                let present = cached_secret(decoded, context);
                match &present {
                    Some(secret) => judged(state, &secret.metadata, decoded, context).await,
                    None => Ok(state),
                }
            }
            _ if was_just_written(decoded, context) => Ok(SecretState::Unchecked),
            _ => match read_metadata(decoded, context).await? {
                Some(secret) => {
                    let state = classify(&secret.metadata, decoded);
                    judged(state, &secret.metadata, decoded, context).await
                }
                None => Ok(SecretState::Missing),
            },
        },
        Phase::Absent { .. }
        | Phase::BackingOff(..)
        | Phase::Polling(..)
        | Phase::OrphanMitigation { .. }
        | Phase::Deleting { .. }
        | Phase::Failed => Ok(cached.unwrap_or(SecretState::Unchecked)),
    }
}

/// Whether a Secret has the credentials of another binding of the object. The cache may be older than the last renewal.
fn is_of_other_binding(state: &SecretState, decoded: &Decoded<'_, Binding>) -> bool {
    matches!(state, SecretState::Owned { binding_id, .. }
        if !binding_id.is_empty() && *binding_id != decoded.binding_id())
}

fn was_just_written(decoded: &Decoded<'_, Binding>, context: &Context) -> bool {
    // If the write was rejected, there is no Secret to wait for.
    let was_written = !Binding::shows_injection_failure(&decoded.status);
    let answered = context.operations.get(decoded.uid()).answered.filter(|_| was_written);
    answered.is_some_and(|at| crate::clock::now() < later(at, SECRET_WATCH_DELAY))
}

pub(super) fn cached_secret(
    decoded: &Decoded<'_, Binding>,
    context: &Context,
) -> Option<Arc<PartialObjectMeta<Secret>>> {
    let key = ObjectRef::new(&secret_name(decoded.object)).within(decoded.namespace());
    context.caches.secrets.as_ref()?.get(&key)
}

fn read_from_cache(decoded: &Decoded<'_, Binding>, context: &Context) -> Option<SecretState> {
    cached_secret(decoded, context).map(|secret| classify(&secret.metadata, decoded))
}

async fn read_metadata(
    decoded: &Decoded<'_, Binding>,
    context: &Context,
) -> Result<Option<PartialObjectMeta<Secret>>, ReconcileError> {
    let name = secret_name(decoded.object);
    let mut secret = secret_metadata(&context.client, decoded.namespace(), &name).await?;
    secret.iter_mut().for_each(digest::reduce_managed_fields);
    Ok(secret)
}

async fn read_from_api(
    decoded: &Decoded<'_, Binding>,
    context: &Context,
) -> Result<SecretState, ReconcileError> {
    let secret = read_metadata(decoded, context).await?;
    Ok(secret.map_or(SecretState::Missing, |secret| classify(&secret.metadata, decoded)))
}

/// The state with the knowledge whether somebody has changed the credentials. The data is read only if somebody may have,
/// and once for each version of the Secret.
async fn judged(
    state: SecretState,
    metadata: &ObjectMeta,
    decoded: &Decoded<'_, Binding>,
    context: &Context,
) -> Result<SecretState, ReconcileError> {
    let SecretState::Owned { binding_id, uid, written } = &state else { return Ok(state) };
    if *binding_id != decoded.binding_id() || !digest::may_be_changed(metadata) {
        return Ok(state);
    }
    let mut memory = context.operations.get(decoded.uid());
    let version = |metadata: &ObjectMeta| metadata.resource_version.as_deref().and_then(|it| it.parse().ok());
    let is_edited = if let Some((_, is_edited)) =
        memory.judged.filter(|(judged, _)| Some(*judged) == version(metadata))
    {
        is_edited
    } else {
        let (name, memory_of_secrets) = (secret_name(decoded.object), &context.memory.secrets);
        let address = (decoded.namespace(), &*name);
        let Some(data) = read_secret(&context.client, memory_of_secrets, address, Keys::All).await? else {
            return Ok(SecretState::Missing);
        };
        let present = read_metadata(decoded, context).await?;
        let present = present.and_then(|present| version(&present.metadata));
        if present.is_none() || present != version(metadata) {
            // The digest may not be that of this data. The watch will show the new version.
            return Ok(state);
        }
        let is_edited = digest::is_as_written(metadata, &data) == Some(false);
        memory.judged = present.map(|version: u64| (version, is_edited));
        context.operations.set(decoded.uid(), memory);
        is_edited
    };
    Ok(if is_edited { SecretState::Edited { uid: uid.clone(), written: written.clone() } } else { state })
}

fn classify(metadata: &ObjectMeta, decoded: &Decoded<'_, Binding>) -> SecretState {
    let annotations = metadata.annotations.as_ref();
    let binding_id: BindingId =
        annotations.and_then(|all| all.get(ANNOTATION_BINDING_ID)).cloned().unwrap_or_default().into();
    let uid = metadata.uid.clone();
    let is_misshapen = !shape::is_of(&decoded.object.spec.secret, metadata);
    let extras = annotations.and_then(|all| all.get(ANNOTATION_EXTRAS)).map(|text| extras_of(text));
    let written =
        Written { lifetime: lifetime::read(annotations), extras: extras.unwrap_or_default(), is_misshapen };
    // Without its owner, a Secret of an earlier attempt is replaced, like one with its owner.
    let is_of_other_attempt = || !binding_id.is_empty() && binding_id != decoded.binding_id();
    if is_owned(metadata, decoded.uid()) || (belongs_to(metadata, decoded.uid()) && is_of_other_attempt()) {
        SecretState::Owned { binding_id, uid, written }
    } else if belongs_to(metadata, decoded.uid())
        || (binding_id == decoded.binding_id() && was_owned(metadata, decoded.object))
    {
        SecretState::Adoptable { uid, written }
    } else {
        SecretState::NotOwned
    }
}

/// Annotation on Secrets of bindings: what the broker gave beside credentials, as the status shows it. So it is not lost if
/// the status cannot be written.
const ANNOTATION_EXTRAS: &str = "servicecatalog.k8s.io/binding-extras";

/// What the annotation says. Users can change it, so it is trusted no more than a broker.
fn extras_of(text: &str) -> Extras {
    serde_json::from_str(text).map(|extras: Extras| extras.shown().0).unwrap_or_default()
}

fn extras_annotation(extras: &Extras) -> Option<(String, String)> {
    let text = serde_json::to_string(extras).ok().filter(|_| !extras.is_empty())?;
    Some((ANNOTATION_EXTRAS.to_owned(), text))
}

/// Whether a Secret belonged to an earlier object with the name of this binding, or to none that is known: a backup need
/// not have owner references.
fn was_owned(metadata: &ObjectMeta, object: &ServiceBinding) -> bool {
    let mut controllers =
        metadata.owner_references.iter().flatten().filter(|owner| owner.controller == Some(true));
    controllers.all(|owner| owner.kind == ServiceBinding::kind(&()) && owner.name == object.name_any())
}

/// The credentials of a binding that has none.
pub(super) fn no_credentials() -> Credentials {
    Credentials::new(serde_json::Map::new())
}

/// The write of the Secret with these credentials, after `spec.secretTransforms` and `spec.secret`; and what there is to
/// tell about its keys.
///
/// # Errors
/// The credentials cannot be stored in a Secret. The error is a sentence for the user.
pub(super) fn with_credentials(
    view: &BindingView<'_>,
    beside: (Lifetime, &Extras),
    credentials: &Credentials,
) -> Result<(Write, Option<String>), String> {
    let spec = &view.object.spec;
    let shape = (&*spec.secret_transforms, &spec.secret);
    let service = spec.secret.service_binding.as_ref().map(|_| service(view));
    let sources = &view.dependencies.source_secrets;
    let shaped = credentials::to_data(credentials, shape, sources, service.as_ref())?;
    let told = shaped.told();
    Ok((build(view, beside, (shaped.type_, shaped.data)), told))
}

/// What is known of the service. Without its class, the names in the record of the last request say it.
fn service(view: &BindingView<'_>) -> ServiceType {
    let offering = view.dependencies.offering.as_ref().and_then(|offering| offering.as_ref().ok());
    if let Some(Offering { labels, broker, .. }) = offering {
        return ServiceType::of((&labels.name, &labels.tags), labels.metadata.as_ref(), &broker.name);
    }
    let record = view.status.resolved.as_ref();
    let (class, broker) =
        record.map_or(("", ""), |resolved| (resolved.class.as_str(), resolved.broker.as_str()));
    ServiceType::of((class, &[]), None, broker)
}

fn build(
    view: &BindingView<'_>,
    (lifetime, extras): (Lifetime, &Extras),
    (type_, data): (Option<String>, Data),
) -> Write {
    let object = view.object;
    let binding_id = view.binding_id();
    let uid = object.uid().unwrap_or_default();
    // What the operator needs comes last, and so replaces what the spec says.
    let annotations = shape::annotations(&object.spec.secret)
        .chain([(ANNOTATION_BINDING_ID.to_owned(), binding_id.to_string())])
        .chain(lifetime::annotations(lifetime))
        .chain(extras_annotation(extras))
        .chain(added_keys(&object.spec.secret));
    let labels = object.spec.secret.labels.clone().into_iter().chain(labels(&uid));
    let metadata = ObjectMeta {
        name: Some(secret_name(object)),
        namespace: object.namespace(),
        labels: Some(labels.collect()),
        annotations: Some(annotations.collect()),
        owner_references: Some(vec![owner(object)]),
        ..ObjectMeta::default()
    };
    let replaces = matches!(view.dependencies.secret, SecretState::Owned { .. } | SecretState::Edited { .. });
    Write::ApplySecret(Box::new(OwnedSecret { metadata, type_, owner_uid: uid, replaces, data }))
}

/// The keys of the labels and annotations that the spec asks for, so that they can be removed when it no longer does.
fn added_keys(shape: &SecretShape) -> Option<(String, String)> {
    let keys: Vec<&str> = shape.labels.keys().chain(shape.annotations.keys()).map(String::as_str).collect();
    (!keys.is_empty()).then(|| (ANNOTATION_ADDED_KEYS.to_owned(), keys.join(",")))
}

fn owner(object: &ServiceBinding) -> OwnerReference {
    OwnerReference {
        api_version: ServiceBinding::api_version(&()).into_owned(),
        kind: ServiceBinding::kind(&()).into_owned(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn labels(uid: &str) -> BTreeMap<String, String> {
    let labels = [(LABEL_BINDING, uid), ("app.kubernetes.io/managed-by", "service-catalog")];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The write that labels a Secret of v0.3, so that the operator watches it. Its data does not change.
pub(super) fn label(decoded: &Decoded<'_, Binding>, uid: Option<String>) -> Write {
    let id = decoded.binding_id().to_string();
    Write::LabelSecret(Box::new(ObjectMeta {
        name: Some(secret_name(decoded.object)),
        namespace: decoded.object.namespace(),
        uid,
        labels: Some(labels(decoded.uid())),
        annotations: Some([(ANNOTATION_BINDING_ID.to_owned(), id)].into()),
        ..ObjectMeta::default()
    }))
}

/// The write that makes a Secret belong to the binding that was restored, or whose owner somebody has removed. Its data does
/// not change.
pub(super) fn adopt(decoded: &Decoded<'_, Binding>, uid: Option<String>) -> Write {
    let id = decoded.binding_id().to_string();
    Write::LabelSecret(Box::new(ObjectMeta {
        name: Some(secret_name(decoded.object)),
        namespace: decoded.object.namespace(),
        uid,
        labels: Some(labels(decoded.uid())),
        owner_references: Some(vec![owner(decoded.object)]),
        annotations: Some([(ANNOTATION_BINDING_ID.to_owned(), id)].into()),
        ..ObjectMeta::default()
    }))
}

/// The deletion of the Secret, if it belongs to the binding.
pub(super) fn remove(object: &ServiceBinding, state: &SecretState) -> Vec<Write> {
    let uid = match state {
        SecretState::Missing | SecretState::NotOwned => return vec![],
        SecretState::Owned { uid, .. }
        | SecretState::Edited { uid, .. }
        | SecretState::Adoptable { uid, .. } => uid.clone(),
        SecretState::Unchecked => None,
    };
    vec![Write::DeleteSecret {
        namespace: object.namespace().unwrap_or_default(),
        name: secret_name(object),
        owner_uid: object.uid().unwrap_or_default(),
        uid,
    }]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_annotation_keeps_what_was_given_beside_credentials_and_is_not_trusted() {
        let endpoint = json!({ "host": "h", "ports": ["1-2"], "protocol": "udp" });
        let extras: Extras = serde_json::from_value(json!({ "endpoints": [endpoint] })).unwrap();
        let (_, text) = extras_annotation(&extras).unwrap();
        assert_eq!(extras_of(&text), extras);
        assert_eq!(extras_annotation(&Extras::default()), None);
        let hostile = json!({
            "endpoints": vec![endpoint.clone(); 1000], "routeServiceURL": "https://u:p@r",
            "volumeMounts": [{
                "driver": "\u{1b}", "containerDir": "/", "mode": "r", "deviceType": "shared", "volumeID": "v",
            }],
        });
        let shown = extras_of(&hostile.to_string());
        assert_eq!((shown.endpoints.len(), shown.volume_mounts.len()), (32, 0));
        assert_eq!(shown.route_service_url.as_deref(), Some("https://r/"));
        for strange in ["", "7", "[]", r#"{"endpoints":[7]}"#] {
            assert_eq!(extras_of(strange), Extras::default(), "{strange}");
        }
    }
}
