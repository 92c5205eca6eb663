//! The parts that all requests to the API server share: field manager, time limit, preconditions.

use std::{future::Future, time::Duration};

use kube::{
    Client, Resource,
    api::{PatchParams, PostParams},
    core::request,
};
use serde_json::{Map, Value, json};

use super::error::Error;

/// The field manager of every write.
pub(crate) const MANAGER: &str = "service-catalog";

/// The time limit of one request.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Sends a request, and reads the text of the answer without a tree of JSON values in between, which would take
/// many times the memory. Unlike `Client::request`, it does not write an answer that it cannot read to the log.
pub(crate) async fn send<T>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
    read: impl FnOnce(&str) -> serde_json::Result<T> + Send,
) -> kube::Result<T> {
    let text = client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
    read(&text).map_err(kube::Error::SerdeError)
}

/// Waits for a request within the time limit. `action` is its purpose, for the text of an error.
///
/// The request has a place of its own in memory. As part of the futures around it, its kilobytes would be moved with each
/// of them.
pub(crate) fn timed<'a, T: 'a>(
    action: &'a str,
    request: impl Future<Output = kube::Result<T>> + Send + 'a,
) -> impl Future<Output = Result<T, Error>> + Send + 'a {
    let request = tokio::time::timeout(TIME_LIMIT, Box::pin(request));
    async move {
        match request.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::new(action, error)),
            Err(_) => Err(Error::Timeout { action: action.to_owned(), limit: TIME_LIMIT }),
        }
    }
}

/// The result of a deletion or of a removal of something from an object: a missing object is no error. A failed
/// precondition is no error either, because the change of the object triggers a reconcile of its own.
pub(crate) fn ignore_missing(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Conflict { .. }) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

pub(crate) fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// The parameters of every create and replace.
pub(crate) fn post_params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// Adds the uid and the `resourceVersion` of an observed object to a merge patch. The API server then rejects the
/// patch for any other version of the object.
pub(crate) fn pin<K: Resource>(patch: &mut Value, object: &K) {
    if let Some(patch) = patch.as_object_mut() {
        let metadata = patch.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        metadata["uid"] = json!(object.meta().uid);
        metadata["resourceVersion"] = json!(object.meta().resource_version);
    }
}

/// The JSON merge patch (RFC 7396) from one value to another. `None` if they are equal.
pub(crate) fn diff(from: &Value, to: &Value) -> Option<Value> {
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
    use super::*;

    #[test]
    fn a_patch_has_only_the_differences() {
        let from = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2], "gone": true});
        assert_eq!(diff(&from, &from), None);
        let to = json!({"a": 1, "b": {"c": 1, "d": 3}, "e": [1], "new": {"x": null}});
        assert_eq!(
            diff(&from, &to),
            Some(json!({"b": {"d": 3}, "e": [1], "gone": null, "new": {"x": null}}))
        );
        assert_eq!(diff(&json!(null), &json!({"a": 1})), Some(json!({"a": 1})));
    }

    #[tokio::test]
    async fn a_409_is_a_conflict_only_because_of_the_version() {
        let answer = |reason: &str| {
            let status =
                kube::core::Status { code: 409, reason: reason.into(), ..kube::core::Status::default() };
            async { Err::<(), _>(kube::Error::Api(Box::new(status))) }
        };
        assert!(matches!(timed("x", answer("Conflict")).await, Err(Error::Conflict { .. })));
        assert!(timed("x", answer("AlreadyExists")).await.unwrap_err().is_already_exists());
    }
}
