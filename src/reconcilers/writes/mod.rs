//! How does the operator write to the API server? Every write has the uid or `resourceVersion` that the
//! decision was based on, a field manager, and a time limit. A write is sent at most once: the client does
//! not retry, and the next reconcile decides again.

pub mod digest;
pub mod permits;
mod rejection;
pub mod restart;
pub mod secret;

use http::Method;
use kube::{
    Resource as _, ResourceExt as _,
    api::{DeleteParams, GetParams, Patch, Preconditions},
    core::{ApiResource, DynamicObject, ObjectMeta, Request, object::HasStatus, request},
};
use serde::{Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::SemaphorePermit;

pub use self::rejection::RejectedWrite;
use self::{
    rejection::or_rejected,
    restart::{Eviction, Rollout, evict, roll_out},
    secret::{OwnedSecret, apply_secret, delete_secret, label_secret, release_secret},
};
use super::{context::Context, error::ReconcileError};
use crate::{
    crd::{FINALIZER, Readable, scope::Object},
    json::RawObject,
    kube_api::{
        self,
        request::{diff, ignore_missing, patch_params, pin, post_params, send, timed},
    },
    memory_budget::one_at_a_time,
};

/// A change of another object than the reconciled one. A catalog causes thousands of them, so they are kept
/// as text.
pub enum Write {
    /// Create an object that does not exist.
    Create(Box<WriteTarget>, RawObject),
    /// Merge-patch an object. The patch holds the observed `resourceVersion`.
    Patch(Box<WriteTarget>, RawObject),
    /// Merge-patch the status of an object. If the version of the object matters, the patch holds the
    /// observed `resourceVersion`.
    PatchStatus(Box<WriteTarget>, Value),
    /// Delete an object, if these preconditions hold.
    Delete(Box<WriteTarget>, Preconditions),
    /// Write credentials to a Secret that belongs to the binding, or does not exist yet.
    ApplySecret(Box<OwnedSecret>),
    /// Add labels and annotations to the Secret of this uid.
    LabelSecret(Box<ObjectMeta>),
    /// Remove the finalizer and the label that hold back this version of a Secret.
    ReleaseSecret(Box<ObjectMeta>),
    /// Delete a Secret that belongs to a binding.
    DeleteSecret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Uid of the binding that it must belong to.
        owner_uid: String,
        /// Uid of the Secret, if it is known to belong to that binding.
        uid: Option<String>,
    },
    /// Restart the pods of workloads, because credentials have changed.
    Rollout(Box<Rollout>),
    /// Evict a pod, because credentials have changed.
    Evict(Eviction),
}

/// The object that a [`Write`] changes.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteTarget {
    /// Its kind.
    pub resource: ApiResource,
    /// Its namespace. `None` if the object is cluster-wide.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl WriteTarget {
    /// The target for an object.
    #[must_use]
    pub fn of<K: Object>(object: &K) -> Box<Self> {
        Box::new(Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: object.namespace(),
            name: object.name_any(),
        })
    }

    fn request(&self) -> Request {
        Request::new(DynamicObject::url_path(&self.resource, self.namespace.as_deref()))
    }

    /// Sends a write whose answer says nothing that is needed.
    async fn submit(
        &self,
        context: &Context,
        purpose: &str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<(), kube_api::Error> {
        let ignore = |text: &str| serde_json::from_str(text).map(|IgnoredAny| ());
        self.send(context, purpose, request, ignore).await
    }

    /// Sends a write, waits for it within the time limit, and counts it. `read` reads the answer.
    async fn send<T>(
        &self,
        context: &Context,
        purpose: &str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
        read: impl FnOnce(&str) -> serde_json::Result<T> + Send,
    ) -> Result<T, kube_api::Error> {
        let verb = verb(&request);
        let answer = timed(&self.describe(purpose), send(&context.client, request, read)).await;
        let result = answer.as_ref().map_or_else(kube_api::Error::category, |_| "success");
        context.metrics.api_write(&self.resource.kind, verb, result);
        answer
    }

    fn describe(&self, purpose: &str) -> String {
        let Self { resource, namespace, name } = self;
        match namespace {
            Some(namespace) => format!("{purpose} {} {namespace}/{name}", resource.kind),
            None => format!("{purpose} {} {name}", resource.kind),
        }
    }
}

/// The verb of a write, as the API server calls it.
fn verb(request: &Result<http::Request<Vec<u8>>, request::Error>) -> &'static str {
    match request.as_ref().map(|request| (request.method(), request.uri().path().ends_with("/status"))) {
        Ok((&Method::POST, _)) => "create",
        Ok((&Method::PUT, _)) => "update",
        Ok((&Method::PATCH, false)) => "patch",
        Ok((&Method::PATCH, true)) => "patch-status",
        Ok((&Method::DELETE, _)) => "delete",
        Ok(_) | Err(_) => "other",
    }
}

impl Write {
    /// Creates an object.
    pub fn create<K: Object>(object: &K) -> Result<Self, ReconcileError> {
        Ok(Self::Create(WriteTarget::of(object), to_raw(to_value(object)?)?))
    }

    /// Changes an object from one form to another. `None` if they are equal.
    pub fn change<K: Object>(from: &K, to: &K) -> Result<Option<Self>, ReconcileError> {
        let Some(mut patch) = diff(&to_value(from)?, &to_value(to)?) else {
            return Ok(None);
        };
        pin(&mut patch, from);
        Ok(Some(Self::Patch(WriteTarget::of(from), to_raw(patch)?)))
    }

    /// Deletes an object, with a precondition on its uid.
    #[must_use]
    pub fn delete<K: Object>(object: &K) -> Self {
        let uid = object.meta().uid.clone();
        Self::Delete(WriteTarget::of(object), Preconditions { uid, resource_version: None })
    }

    /// Deletes an object, if it has not changed since it was observed.
    #[must_use]
    pub fn delete_if_unchanged<K: Object>(object: &K) -> Self {
        let ObjectMeta { uid, resource_version, .. } = object.meta().clone();
        Self::Delete(WriteTarget::of(object), Preconditions { uid, resource_version })
    }

    /// Performs the write. `Ok(Some)`: the API server rejects it, and a retry would not help. `Err`: a retry
    /// may help.
    pub async fn perform(&self, context: &Context) -> Result<Option<RejectedWrite>, ReconcileError> {
        let _permit = permit(context).await?;
        match self {
            Self::Create(target, object) => {
                let request = target.request().create(&post_params(), object.text().into());
                Ok(or_rejected(target.submit(context, "create", request).await)?)
            }
            Self::Patch(target, patch) => {
                let request = target.request().patch(&target.name, &patch_params(), &Patch::Merge(patch));
                Ok(or_rejected(target.submit(context, "change", request).await)?)
            }
            Self::PatchStatus(target, patch) => {
                let patch = Patch::Merge(patch);
                let request =
                    target.request().patch_subresource("status", &target.name, &patch_params(), &patch);
                Ok(or_rejected(target.submit(context, "change the status of", request).await)?)
            }
            Self::Delete(target, preconditions) => {
                let parameters =
                    DeleteParams { preconditions: Some(preconditions.clone()), ..DeleteParams::default() };
                let request = target.request().delete(&target.name, &parameters);
                ignore_missing(target.submit(context, "delete", request).await)?;
                Ok(None)
            }
            Self::ApplySecret(secret) => Ok(apply_secret(context, secret).await?),
            Self::LabelSecret(metadata) => {
                label_secret(context, metadata).await?;
                Ok(None)
            }
            Self::ReleaseSecret(metadata) => {
                release_secret(context, metadata).await?;
                Ok(None)
            }
            Self::DeleteSecret { namespace, name, owner_uid, uid } => {
                delete_secret(context, (namespace, name), owner_uid, uid.clone()).await?;
                Ok(None)
            }
            Self::Rollout(rollout) => {
                roll_out(context, rollout).await?;
                Ok(None)
            }
            Self::Evict(eviction) => {
                evict(context, eviction).await?;
                Ok(None)
            }
        }
    }
}

/// Removes our finalizer, and keeps the others. Fails if the object has changed. `None`: the object does not
/// exist any more.
pub async fn remove_finalizer<K: Object>(context: &Context, object: &K) -> Result<Option<K>, ReconcileError> {
    let finalizers: Vec<String> =
        object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    let patch = json!({ "metadata": { "finalizers": finalizers } });
    match patch_object(context, object, patch, "remove the finalizer from").await {
        Err(ReconcileError::Kube(error)) if error.is_not_found() => Ok(None),
        written => written.map(Some),
    }
}

/// Writes a merge patch of an object itself, by compare-and-swap. This is the fence: the write fails if the object
/// is not the observed version.
pub async fn patch_object<K: Object>(
    context: &Context,
    object: &K,
    mut patch: Value,
    purpose: &str,
) -> Result<K, ReconcileError> {
    pin(&mut patch, object);
    let target = WriteTarget::of(object);
    // Thousands of writes may wait. A request is text.
    let request = target.request().patch(&target.name, &patch_params(), &Patch::Merge(&patch));
    drop(patch);
    let _permit = permit(context).await?;
    let Readable(written) = target.send(context, purpose, request, Readable::<K>::from_text).await?;
    context.expectations.observe_write(&written);
    Ok(written.complete())
}

/// Writes the difference between the current status and another one, by compare-and-swap: the write fails if
/// the object is not the observed version.
pub async fn record<K: Object + HasStatus<Status: Serialize>>(
    context: &Context,
    object: &K,
    to: &K::Status,
) -> Result<K, ReconcileError> {
    let target = WriteTarget::of(object);
    // Thousands of writes may wait. A request is text.
    let request = one_at_a_time(text_length(to), || {
        let from = match (object.persisted_status(), object.status()) {
            (Some(persisted), _) => persisted.clone(),
            (None, Some(status)) => to_value(status)?,
            (None, None) => json!({}),
        };
        let status = diff(&from, &to_value(to)?).ok_or(ReconcileError::NoopWrite)?;
        let mut patch = json!({ "status": status });
        pin(&mut patch, object);
        let patch = Patch::Merge(&patch);
        Ok::<_, ReconcileError>(target.request().patch_subresource(
            "status",
            &target.name,
            &patch_params(),
            &patch,
        ))
    })?;
    let _permit = permit(context).await?;
    let read = Readable::<K>::from_text;
    let Readable(written) = target.send(context, "write the status of", request, read).await?;
    // No later reconcile works on an older version.
    context.expectations.observe_write(&written);
    Ok(written.complete())
}

/// Reads the object from the API server. `None`: it does not exist any more, or another object has its name.
pub async fn reread<K: Object>(context: &Context, object: &K) -> Result<Option<K>, ReconcileError> {
    let target = WriteTarget::of(object);
    let request = target.request().get(&target.name, &GetParams::default());
    let read = send(&context.client, request, Readable::<K>::from_text);
    let Readable(present) = match timed(&target.describe("read"), read).await {
        Err(error) if error.is_not_found() => return Ok(None),
        read => read?,
    };
    Ok(Some(present.complete()).filter(|present| present.meta().uid == object.meta().uid))
}

/// Waits for a permit to write. Fails if this replica is not the leader.
async fn permit(context: &Context) -> Result<Option<SemaphorePermit<'_>>, ReconcileError> {
    let permit = context.writes.acquire().await;
    if context.leadership.is_valid() { Ok(permit) } else { Err(ReconcileError::NotLeader) }
}

fn to_value(value: &impl Serialize) -> Result<Value, ReconcileError> {
    serde_json::to_value(value).map_err(|source| ReconcileError::Serialize { what: "an object", source })
}

/// The length of a value as JSON, in bytes.
pub fn text_length(value: &impl Serialize) -> usize {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).map_or(0, |()| length.0)
}

/// Counts the bytes that are written, and keeps none.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn to_raw(object: Value) -> Result<RawObject, ReconcileError> {
    serde_json::from_value(object).map_err(|source| ReconcileError::Serialize { what: "an object", source })
}
