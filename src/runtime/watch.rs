//! One watch: fills a store and then passes on which objects were touched.

use std::{borrow::Cow, collections::HashSet};

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    core::{ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        reflector::store::Writer,
        watcher::{self, Event, watcher},
    },
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{crd::scope::Object, json::text_of};

/// How many objects a list has on one page. A page is there as a whole, and an object may be as large as the API server takes.
const PAGE: u32 = 100;

/// What happened to an object, as the watch tells. Nobody decides on it: it only says where to look.
pub enum Touched<K> {
    /// It is there.
    Present(K),
    /// It is gone.
    Gone(K),
}

impl<K> Touched<K> {
    /// The object, whatever happened to it.
    pub fn object(&self) -> &K {
        match self {
            Self::Present(object) | Self::Gone(object) => object,
        }
    }
}

/// An object, or why it cannot be read: one that cannot does not spoil the list or the watch that it is in.
///
/// As kube's `DeserializeGuard`, but what is looked at twice is the text. As a tree of values, of which that has two, it would
/// take a hundred times the room.
#[derive(Clone, Debug)]
pub struct Guarded<K>(Result<K, Unreadable>);

/// An object that cannot be read.
#[derive(Clone, Debug)]
struct Unreadable {
    error: String,
    metadata: ObjectMeta,
}

impl<'de, K: Object> Deserialize<'de> for Guarded<K> {
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

impl<K: Object> Resource for Guarded<K> {
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

/// The events of a kind. An object that cannot be read is dropped and logged here, so that it neither stalls the watch
/// nor concerns anybody further in.
pub fn guarded<K: Object>(api: Api<Guarded<K>>) -> impl Stream<Item = watcher::Result<Event<K>>> {
    watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .filter_map(async |event| event.map(readable).transpose())
}

fn readable<K: Object>(event: Event<Guarded<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::InitDone => Event::InitDone,
    })
}

fn read<K: Object>(Guarded(object): Guarded<K>) -> Option<K> {
    match object {
        Ok(object) => Some(object),
        Err(invalid) => {
            let (kind, name) = (K::kind(&()), invalid.metadata.name.as_deref().unwrap_or_default());
            let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
            tracing::error!(%kind, namespace, name, error = invalid.error, "ignoring an object that cannot be read; correct or delete it");
            None
        }
    }
}

/// Fills the store with the events of a watch, for as long as there are any, and says what was touched once the store
/// shows it.
pub async fn drive<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    mut writer: Writer<K>,
    pass_on: impl Fn(Touched<K>),
) where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut events = std::pin::pin!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event.modify(strip),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = &error as &dyn std::error::Error, "a watch failed; it is taken up again");
                continue;
            }
        };
        // What a new list does not hold any more has gone while nobody watched.
        let vanished = match &event {
            Event::InitDone => vanished(&writer, &listed),
            Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => Vec::new(),
        };
        writer.apply_watcher_event(&event);
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.push(object),
            Event::InitDone => {
                listed.drain(..).map(Touched::Present).for_each(&pass_on);
                vanished.into_iter().map(Touched::Gone).for_each(&pass_on);
            }
            Event::Apply(object) => pass_on(Touched::Present(object)),
            Event::Delete(object) => pass_on(Touched::Gone(object)),
        }
    }
}

fn vanished<K: Resource<DynamicType = ()> + Clone + 'static>(writer: &Writer<K>, listed: &[K]) -> Vec<K> {
    let listed: HashSet<_> = listed.iter().map(|object| object.meta().uid.as_deref()).collect();
    let known = writer.as_reader().state();
    known
        .iter()
        .filter(|object| !listed.contains(&object.meta().uid.as_deref()))
        .map(|object| K::clone(object))
        .collect()
}

/// Nobody here asks who wrote which field.
fn strip<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;
    use crate::crd::ServiceInstance;

    type Guard = Guarded<ServiceInstance>;

    #[test]
    fn an_object_that_cannot_be_read_does_not_spoil_the_list_that_it_is_in() {
        let object = |name: &str, parameters| {
            let metadata = json!({ "name": name, "namespace": "ns", "resourceVersion": "7" });
            json!({ "metadata": metadata, "spec": { "parameters": parameters } })
        };
        let items = [object("bad", json!([0])), object("good", json!({ "b": [1.5, null], "a": 0.1 }))];
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }).to_string();
        let list: ObjectList<Guard> = serde_json::from_str(&list).unwrap();
        let names: Vec<_> = list.items.iter().map(|guarded| guarded.meta().name.clone().unwrap()).collect();
        assert_eq!(names, ["bad", "good"]);
        let bad = list.items[0].0.as_ref().unwrap_err();
        assert!(bad.error.contains("not an object"), "{}", bad.error);
        assert_eq!(bad.metadata.resource_version.as_deref(), Some("7"));
        let good = list.items[1].0.as_ref().unwrap();
        assert_eq!(good.spec.parameters.as_ref().unwrap().text(), r#"{"b":[1.5,null],"a":0.1}"#);
        // Also when the event names its type last, so that the object is buffered.
        for event in [
            format!(r#"{{"type":"ADDED","object":{}}}"#, items[1]),
            format!(r#"{{"object":{},"type":"ADDED"}}"#, items[1]),
        ] {
            let WatchEvent::Added(Guarded(read)) = serde_json::from_str::<WatchEvent<Guard>>(&event).unwrap()
            else {
                panic!("another event: {event}")
            };
            assert_eq!(read.unwrap().spec.parameters, good.spec.parameters);
        }
    }
}
