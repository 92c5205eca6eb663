//! One watch: fills the cache of a kind, and then passes on each change.

use std::borrow::Cow;

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    core::{ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    caches::kind::{Change, Kind},
    crd::scope::Object,
    json::text_of,
    kube_api::error::describe_watch,
};

/// The number of objects on a page of a list. A whole page is in memory at once, and each object may be as
/// large as the API server allows.
const PAGE: u32 = 100;

/// An object, or the error why it cannot be read. An unreadable object does not end its list or watch.
///
/// The same as kube's `DeserializeGuard`, but it keeps the object as text until it is read.
/// `DeserializeGuard` keeps two trees of values, which take up to a hundred times the memory of the text.
#[derive(Clone, Debug)]
pub struct ReadResult<K>(Result<K, Unreadable>);

/// An object that cannot be read.
#[derive(Clone, Debug)]
struct Unreadable {
    error: String,
    metadata: ObjectMeta,
}

impl<'de, K: Object> Deserialize<'de> for ReadResult<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        Ok(Self(match serde_json::from_str(&text) {
            Ok(object) => Ok(object),
            Err(error) => {
                let PartialObjectMeta { metadata, .. } =
                    serde_json::from_str::<PartialObjectMeta<K>>(&text).map_err(D::Error::custom)?;
                Err(Unreadable { error: error.to_string(), metadata })
            }
        }))
    }
}

impl<K: Object> Resource for ReadResult<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

/// The events of a kind. An object that cannot be read is logged and left out, so that it neither stops the
/// watch nor reaches a controller.
pub fn readable_events<K: Object>(api: Api<ReadResult<K>>) -> impl Stream<Item = watcher::Result<Event<K>>> {
    watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .filter_map(async |event| event.map(readable).transpose())
}

fn readable<K: Object>(event: Event<ReadResult<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::InitDone => Event::InitDone,
    })
}

fn read<K: Object>(ReadResult(object): ReadResult<K>) -> Option<K> {
    match object {
        Ok(object) => Some(object.complete()),
        Err(invalid) => {
            let (kind, name) = (K::kind(&()), invalid.metadata.name.as_deref().unwrap_or_default());
            let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
            tracing::error!(%kind, namespace, name, error = invalid.error, "ignoring an object that cannot be read; correct or delete it");
            None
        }
    }
}

/// Fills the cache with the events of a watch, for as long as there are any. Passes on each change once the
/// cache shows it.
pub async fn run_watch<K: Object>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    kind: &Kind<K>,
    on_change: impl Fn(&Change<K>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => kind.apply(&event.modify(drop_managed_fields)).iter().for_each(&on_change),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = describe_watch(&error), "a watch failed; the operator starts it again");
            }
        }
    }
}

/// Removes `metadata.managedFields`: the operator never reads it, and it takes much memory.
fn drop_managed_fields<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;
    use crate::crd::ServiceInstance;

    type Read = ReadResult<ServiceInstance>;

    #[test]
    fn an_object_that_cannot_be_read_does_not_spoil_the_list_that_it_is_in() {
        let object = |name: &str, parameters| {
            let metadata = json!({ "name": name, "namespace": "ns", "resourceVersion": "7" });
            json!({ "metadata": metadata, "spec": { "parameters": parameters } })
        };
        let items = [object("bad", json!([0])), object("good", json!({ "b": [1.5, null], "a": 0.1 }))];
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }).to_string();
        let list: ObjectList<Read> = serde_json::from_str(&list).unwrap();
        let names: Vec<_> = list.items.iter().map(|object| object.meta().name.clone().unwrap()).collect();
        assert_eq!(names, ["bad", "good"]);
        let bad = list.items[0].0.as_ref().unwrap_err();
        assert!(bad.error.contains("not an object"), "{}", bad.error);
        assert_eq!(bad.metadata.resource_version.as_deref(), Some("7"));
        let good = list.items[1].0.as_ref().unwrap();
        assert_eq!(good.spec.parameters.as_ref().unwrap().text(), r#"{"b":[1.5,null],"a":0.1}"#);
        // This must also hold if the event has `type` as its last member, so that serde buffers the object.
        for event in [
            format!(r#"{{"type":"ADDED","object":{}}}"#, items[1]),
            format!(r#"{{"object":{},"type":"ADDED"}}"#, items[1]),
        ] {
            let WatchEvent::Added(ReadResult(read)) =
                serde_json::from_str::<WatchEvent<Read>>(&event).unwrap()
            else {
                panic!("another event: {event}")
            };
            assert_eq!(read.unwrap().spec.parameters, good.spec.parameters);
        }
    }
}
