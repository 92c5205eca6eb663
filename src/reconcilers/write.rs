//! Writes to the API server. Every write carries what it was decided on (uid, resourceVersion), has a field manager and
//! a time limit, and is done at most once: the client's own retries are off, the pass is what is repeated.

use std::{future::Future, time::Duration};

use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, DynamicObject, ObjectMeta, Request, request},
};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::{Map, Value, json};
use tokio::sync::SemaphorePermit;

use super::{
    error::Error,
    secret::{OwnedSecret, apply_secret, delete_secret, mark_secret},
};
use crate::{
    context::Context,
    crd::{FINALIZER, scope::Object},
    json::RawObject,
    osb::text::clip,
};

/// The field manager of every write.
pub const MANAGER: &str = "service-catalog";

/// How long the API server gets to answer.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How many refusals a message names, and how much of what the API server said of each it quotes, in bytes.
const NAMED: usize = 5;
const QUOTED: usize = 512;

/// A change of an object other than the one that is being reconciled. A catalog makes thousands of them, so they wait as text.
pub enum Write {
    /// Create an object that does not exist.
    Create(Box<Target>, RawObject),
    /// Merge-patch an object. The patch holds the observed `resourceVersion`.
    Patch(Box<Target>, RawObject),
    /// Merge-patch the status of an object. Where it matters which object that is, the patch holds the observed
    /// `resourceVersion`.
    PatchStatus(Box<Target>, Value),
    /// Delete an object, if these preconditions hold.
    Delete(Box<Target>, Preconditions),
    /// Write credentials, to a Secret that is ours or does not exist yet.
    ApplySecret(Box<OwnedSecret>),
    /// Add labels and annotations to the Secret of this uid.
    MarkSecret(Box<ObjectMeta>),
    /// Delete a Secret that is ours.
    DeleteSecret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Uid of the binding that it must belong to.
        owner_uid: String,
        /// Uid of the Secret, where it is known to belong to that binding.
        uid: Option<String>,
    },
}

/// Which object a [`Write`] is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its kind.
    pub resource: ApiResource,
    /// Its namespace, unless it is cluster-wide.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The target that an object is.
    #[must_use]
    pub fn of<K: Object>(object: &K) -> Box<Self> {
        Box::new(Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: object.namespace(),
            name: object.name_any(),
        })
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }

    fn request(&self) -> Request {
        Request::new(DynamicObject::url_path(&self.resource, self.namespace.as_deref()))
    }

    fn describe(&self, verb: &str) -> String {
        let Self { resource, namespace, name } = self;
        match namespace {
            Some(namespace) => format!("{verb} {} {namespace}/{name}", resource.kind),
            None => format!("{verb} {} {name}", resource.kind),
        }
    }
}

/// A write that the API server refuses for good, or that would touch what is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A sentence for the user.
    pub message: String,
}

impl Refused {
    /// Several refusals as one, the same whatever order they came in: a status must not change with it.
    #[must_use]
    pub fn all(mut refused: Vec<Self>) -> Option<Self> {
        refused.sort_unstable_by(|one, other| one.message.cmp(&other.message));
        let more = refused.len().saturating_sub(NAMED);
        let named: Vec<_> = refused.into_iter().take(NAMED).map(|refused| refused.message).collect();
        let message = match (named.is_empty(), more) {
            (true, _) => return None,
            (false, 0) => named.join("; "),
            (false, more) => format!("{}; and {more} more", named.join("; ")),
        };
        Some(Self { message })
    }

    /// The refusal that an error is, if it is one: for what the object is, not for the moment. Invalid, too large, or
    /// forbidden (by a policy, or in a namespace that is being deleted).
    fn of(error: &Error) -> Option<Self> {
        let Error::Api { action, source } = error else { return None };
        match &**source {
            kube::Error::Api(status) if [400, 403, 413, 422].contains(&status.code) => {
                Some(Self { message: format!("cannot {action}: {}", clip(&status.message, QUOTED)) })
            }
            _ => None,
        }
    }
}

/// Makes a refusal of what would otherwise be an error.
pub(super) fn or_refused<T>(result: Result<T, Error>) -> Result<Option<Refused>, Error> {
    match result {
        Ok(_) => Ok(None),
        Err(error) => Refused::of(&error).map(Some).ok_or(error),
    }
}

impl Write {
    /// Creates an object.
    pub fn create<K: Object>(object: &K) -> Result<Self, Error> {
        Ok(Self::Create(Target::of(object), to_raw(to_value(object)?)?))
    }

    /// Changes an object from one form to another; nothing if they are the same.
    pub fn change<K: Object>(from: &K, to: &K) -> Result<Option<Self>, Error> {
        let Some(mut patch) = diff(&to_value(from)?, &to_value(to)?) else {
            return Ok(None);
        };
        pin(&mut patch, from);
        Ok(Some(Self::Patch(Target::of(from), to_raw(patch)?)))
    }

    /// Deletes an object, this very one.
    #[must_use]
    pub fn delete<K: Object>(object: &K) -> Self {
        let uid = object.meta().uid.clone();
        Self::Delete(Target::of(object), Preconditions { uid, resource_version: None })
    }

    /// Deletes an object, if it is still as it was observed.
    #[must_use]
    pub fn delete_as_seen<K: Object>(object: &K) -> Self {
        let ObjectMeta { uid, resource_version, .. } = object.meta().clone();
        Self::Delete(Target::of(object), Preconditions { uid, resource_version })
    }

    /// Does it. `Ok(Some)` is a refusal for good, `Err` is worth another try.
    pub async fn perform(&self, context: &Context) -> Result<Option<Refused>, Error> {
        let _permit = permit(context).await?;
        let client = &context.client;
        match self {
            Self::Create(target, object) => {
                let request = target.request().create(&post(), object.text().into());
                or_refused(timed::<IgnoredAny>(&target.describe("create"), send(client, request)).await)
            }
            Self::Patch(target, patch) => {
                let request = target.request().patch(&target.name, &parameters(), &Patch::Merge(patch));
                or_refused(timed::<IgnoredAny>(&target.describe("change"), send(client, request)).await)
            }
            Self::PatchStatus(target, patch) => {
                let patch = Patch::Merge(patch);
                let request =
                    target.request().patch_subresource("status", &target.name, &parameters(), &patch);
                let action = target.describe("change the status of");
                or_refused(timed::<IgnoredAny>(&action, send(client, request)).await)
            }
            Self::Delete(target, preconditions) => {
                let api = target.api(client);
                let action = target.describe("delete");
                let only =
                    DeleteParams { preconditions: Some(preconditions.clone()), ..DeleteParams::default() };
                ignore_missing(timed(&action, api.delete(&target.name, &only)).await.map(|_| ()))
                    .map(|()| None)
            }
            Self::ApplySecret(secret) => apply_secret(client, secret).await,
            Self::MarkSecret(metadata) => mark_secret(client, metadata).await.map(|()| None),
            Self::DeleteSecret { namespace, name, owner_uid, uid } => {
                delete_secret(client, (namespace, name), owner_uid, uid.clone()).await.map(|()| None)
            }
        }
    }
}

/// Adds our finalizer, keeping those of others. Fails when the object has changed.
pub async fn add_finalizer<K: Object>(context: &Context, object: &K) -> Result<K, Error> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    set_finalizers(context, object, &finalizers, "add the finalizer to").await
}

/// Removes our finalizer, keeping those of others. Fails when the object has changed. `None`: the object is gone.
pub async fn remove_finalizer<K: Object>(context: &Context, object: &K) -> Result<Option<K>, Error> {
    let finalizers: Vec<String> =
        object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    match set_finalizers(context, object, &finalizers, "remove the finalizer from").await {
        Ok(object) => Ok(Some(object)),
        Err(Error::Api { source, .. }) if is_missing(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn set_finalizers<K: Object>(
    context: &Context,
    object: &K,
    finalizers: &[String],
    verb: &str,
) -> Result<K, Error> {
    let mut patch = json!({ "metadata": { "finalizers": finalizers } });
    pin(&mut patch, object);
    let target = Target::of(object);
    let _permit = permit(context).await?;
    let request = target.request().patch(&target.name, &parameters(), &Patch::Merge(&patch));
    let written = timed(&target.describe(verb), send(&context.client, request)).await?;
    context.memories.wrote(&written);
    Ok(written)
}

/// Writes the difference between the present status and another, by compare-and-swap. This is the fence: an object
/// that is not the one observed is not written.
pub async fn record<K: Object, S: Serialize>(
    context: &Context,
    object: &K,
    from: Option<&S>,
    to: &S,
) -> Result<K, Error> {
    let from = from.map_or_else(|| Ok(json!({})), to_value)?;
    let status = diff(&from, &to_value(to)?).ok_or(Error::Idle)?;
    let mut patch = json!({ "status": status });
    pin(&mut patch, object);
    let target = Target::of(object);
    let _permit = permit(context).await?;
    let patch = Patch::Merge(&patch);
    let request = target.request().patch_subresource("status", &target.name, &parameters(), &patch);
    let action = target.describe("write the status of");
    let written = timed(&action, send(&context.client, request)).await?;
    // So that no later pass works on an older one.
    context.memories.wrote(&written);
    Ok(written)
}

/// Reads the object as the API server has it now. `None`: it is gone, or another one has its name.
pub async fn reread<K: Object>(context: &Context, object: &K) -> Result<Option<K>, Error> {
    let target = Target::of(object);
    let request = target.request().get(&target.name, &GetParams::default());
    let present: K = match timed(&target.describe("read"), send(&context.client, request)).await {
        Err(Error::Api { source, .. }) if is_missing(&source) => return Ok(None),
        read => read?,
    };
    Ok(Some(present).filter(|present| present.meta().uid == object.meta().uid))
}

/// Sends a request and reads the answer as what it is, or not at all: as a tree of values, which could be any object of its
/// kind, it would take many times the room.
async fn send<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> kube::Result<T> {
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}

/// Whether an object belongs to the owner of this uid: by controller reference, and by nothing less.
#[must_use]
pub fn is_owned(metadata: &ObjectMeta, owner_uid: &str) -> bool {
    metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == owner_uid)
}

/// One of the writes that may be under way, as long as this is the replica that works.
async fn permit(context: &Context) -> Result<Option<SemaphorePermit<'_>>, Error> {
    // Nobody closes it.
    let permit = context.writes.acquire().await.ok();
    if context.term.holds() { Ok(permit) } else { Err(Error::Deposed) }
}

/// Waits for the API server, but not for ever.
pub(crate) async fn timed<T>(
    action: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(TIME_LIMIT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) if has_code(&source, 409) && !already_exists(&source) => {
            Err(Error::Outdated { action: action.to_owned() })
        }
        Ok(Err(source)) => Err(Error::Api { action: action.to_owned(), source: Box::new(source) }),
        Err(_) => Err(Error::ApiTimeout { action: action.to_owned(), limit: TIME_LIMIT }),
    }
}

pub(super) fn ignore_missing(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Api { source, .. }) if is_missing(&source) => Ok(()),
        // A precondition that does not hold: this object is gone and another has its name, or it has changed, and the
        // change brings a pass of its own.
        Err(Error::Outdated { .. }) => Ok(()),
        other => other,
    }
}

pub(super) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

fn already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

fn is_missing(error: &kube::Error) -> bool {
    has_code(error, 404)
}

pub(super) fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

pub(super) fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// Makes a patch hold only for the object that was observed.
pub(super) fn pin<K: Object>(patch: &mut Value, object: &K) {
    if let Some(patch) = patch.as_object_mut() {
        let metadata = patch.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        metadata["uid"] = json!(object.meta().uid);
        metadata["resourceVersion"] = json!(object.meta().resource_version);
    }
}

fn to_value(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|source| Error::Serialize { what: "an object", source })
}

fn to_raw(object: Value) -> Result<RawObject, Error> {
    serde_json::from_value(object).map_err(|source| Error::Serialize { what: "an object", source })
}

/// The JSON merge patch (RFC 7396) that turns one value into another; `None` if they are equal.
#[must_use]
pub fn diff(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let removed = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter_map(|(key, value)| match from.get(key) {
        None => Some((key.clone(), value.clone())),
        Some(present) => diff(present, value).map(|change| (key.clone(), change)),
    });
    let patch: Map<String, Value> = removed.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    #[test]
    fn a_patch_holds_only_what_differs() {
        let from = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2], "gone": true});
        assert_eq!(diff(&from, &from), None);
        let to = json!({"a": 1, "b": {"c": 1, "d": 3}, "e": [1], "new": {"x": null}});
        assert_eq!(
            diff(&from, &to),
            Some(json!({"b": {"d": 3}, "e": [1], "gone": null, "new": {"x": null}}))
        );
        assert_eq!(diff(&json!(null), &json!({"a": 1})), Some(json!({"a": 1})));
    }

    #[test]
    fn refusals_are_told_in_one_order_and_counted() {
        let refused = |names: &[&str]| {
            Refused::all(names.iter().map(|name| Refused { message: (*name).to_owned() }).collect())
        };
        let message = |names: &[&str]| refused(names).map(|refused| refused.message);
        assert_eq!(message(&[]), None);
        assert_eq!(message(&["b", "a"]).as_deref(), Some("a; b"));
        assert_eq!(
            message(&["g", "f", "e", "d", "c", "b", "a"]).as_deref(),
            Some("a; b; c; d; e; and 2 more")
        );
    }

    #[test]
    fn an_error_that_another_try_may_mend_is_no_refusal() {
        let answer = |code: u16| {
            let status =
                kube::core::Status { code, message: "x".repeat(1000), ..kube::core::Status::default() };
            let source = Box::new(kube::Error::Api(Box::new(status)));
            or_refused::<()>(Err(Error::Api { action: "create Kind a/b".to_owned(), source }))
        };
        for code in [400, 403, 413, 422] {
            let message = answer(code).unwrap().unwrap().message;
            assert!(message.starts_with("cannot create Kind a/b: xxx") && message.len() < 600, "{message}");
        }
        for code in [401, 404, 409, 429, 500, 503, 504] {
            assert!(answer(code).is_err(), "{code}");
        }
    }

    #[test]
    fn only_a_controller_reference_with_the_same_uid_makes_an_object_ours() {
        let owner = |uid: &str, controller| OwnerReference {
            uid: uid.into(),
            controller,
            ..OwnerReference::default()
        };
        let metadata = |owners: Vec<OwnerReference>| ObjectMeta {
            owner_references: Some(owners),
            ..ObjectMeta::default()
        };
        assert!(is_owned(&metadata(vec![owner("other", Some(true)), owner("ours", Some(true))]), "ours"));
        assert!(!is_owned(&metadata(vec![owner("ours", None)]), "ours"));
        assert!(!is_owned(&metadata(vec![owner("other", Some(true))]), "ours"));
        assert!(!is_owned(&ObjectMeta::default(), "ours"));
    }
}
