//! One watch: fills a store and then passes on which objects were touched.

use std::collections::HashSet;

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::store::Writer,
        watcher::{self, Event, watcher},
    },
};

use crate::crd::scope::Object;

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

/// The events of a kind. An object that cannot be read is dropped and logged here, so that it neither stalls the watch
/// nor concerns anybody further in.
pub fn guarded<K: Object>(api: Api<DeserializeGuard<K>>) -> impl Stream<Item = watcher::Result<Event<K>>> {
    watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(async |event| event.map(readable).transpose())
}

fn readable<K: Object>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::InitDone => Event::InitDone,
    })
}

fn read<K: Object>(DeserializeGuard(object): DeserializeGuard<K>) -> Option<K> {
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
