//! One watch: fills the cache of a kind, and then passes on each change.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _, future::ready};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::{
    caches::kind::{Change, Kind},
    crd::{Readable, scope::Object},
    kube_api::error::describe_watch,
};

/// The number of objects on a page of a list. A whole page is in memory at once, and each object may be as
/// large as the API server allows.
const PAGE: u32 = 20;

/// The API server has found an invalid parameter.
const UNPROCESSABLE: u16 = 422;

/// The events of a kind.
pub fn readable_events<K: Object>(api: Api<Readable<K>>) -> impl Stream<Item = watcher::Result<Event<K>>> {
    events(api, watcher::Config::default()).modify(drop_managed_fields).map(|event| event.map(readable))
}

/// The events of the objects that a configuration selects. The first objects come in a watch as well, one
/// after the other, so that only one of them is in memory beside the cache. If the API server does not do
/// that (its feature gate `WatchList` is off), they come in small pages.
pub fn events<K>(api: Api<K>, selected: watcher::Config) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: Resource<DynamicType: Clone> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let streamed = watcher(api.clone(), selected.clone().streaming_lists());
    let paged = watcher(api, selected.page_size(PAGE));
    streamed.take_while(|event| ready(!is_refused(event))).chain(paged).default_backoff()
}

/// Whether the API server does not send the first objects in a watch.
fn is_refused<T>(event: &watcher::Result<T>) -> bool {
    matches!(event, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == UNPROCESSABLE)
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
