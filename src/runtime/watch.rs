//! One watch: fills the cache of a kind, and then passes on each change.

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};

use crate::{
    caches::kind::{Change, Kind},
    crd::{Readable, scope::Object},
    kube_api::error::describe_watch,
};

/// The number of objects on a page of a list. A whole page is in memory at once, and each object may be as
/// large as the API server allows.
const PAGE: u32 = 100;

/// The events of a kind.
pub fn readable_events<K: Object>(api: Api<Readable<K>>) -> impl Stream<Item = watcher::Result<Event<K>>> {
    watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .modify(drop_managed_fields)
        .map(|event| event.map(readable))
}

fn readable<K: Object>(event: Event<Readable<K>>) -> Event<K> {
    match event {
        Event::Apply(object) => Event::Apply(read(object)),
        Event::Delete(object) => Event::Delete(read(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(read(object)),
        Event::InitDone => Event::InitDone,
    }
}

fn read<K: Object>(Readable(object): Readable<K>) -> K {
    if let Some(defects) = object.defects() {
        let (kind, name) = (K::kind(&()), object.name_any());
        let namespace = object.namespace().unwrap_or_default();
        tracing::error!(%kind, namespace, name, %defects, "an object cannot be read in full; the operator sends no request for it");
    }
    object.complete()
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
            Ok(event) => kind.apply(&event).iter().for_each(&on_change),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = describe_watch(&error), "a watch failed; the operator starts it again");
            }
        }
    }
}

/// Removes `metadata.managedFields`: the operator never reads it, and it takes much memory.
pub fn drop_managed_fields<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}
