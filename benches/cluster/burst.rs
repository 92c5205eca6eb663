//! The load: many orders at once, and the time until the last of them is ready.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Object, Patch, PatchParams},
    core::NotUsed,
    runtime::watcher::{self, Event, watcher},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::stage::objects::{BINDING, Hand, INSTANCE, Kind};

use crate::{
    broker::offering,
    sample::{binding_name, instance_name},
};

/// The namespace of the orders that are measured. As long as that of the samples, so that all objects have one size.
pub const NAMESPACE: &str = "bench-measured";

/// Requests of the driver at the same time.
pub const AT_ONCE: usize = 32;

/// How long a burst may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// An object of which only the name and the conditions are read: the driver must not need much of the machine.
type Shown = Object<NotUsed, Conditions>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Conditions {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Condition {
    r#type: String,
    status: String,
}

fn is_ready(object: &Shown) -> bool {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.r#type == "Ready" && condition.status == "True")
}

/// The spec of an order.
pub fn order(number: usize, offerings: usize) -> Value {
    json!({
        "clusterServiceClassExternalName": offering(number % offerings),
        "clusterServicePlanExternalName": "plan-0",
    })
}

/// Orders so many instances, and waits until all are ready. Returns the time from the first order to the last that is
/// ready.
pub async fn provision(client: &Client, orders: usize, offerings: usize) -> Result<Duration> {
    let specs = (0..orders).map(|number| (instance_name(number), order(number, offerings)));
    until_ready(client, INSTANCE, specs).await
}

/// Binds to all these instances.
pub async fn bind(client: &Client, orders: usize) -> Result<Duration> {
    let specs = (0..orders)
        .map(|number| (binding_name(number), json!({ "instanceRef": { "name": instance_name(number) } })));
    until_ready(client, BINDING, specs).await
}

async fn until_ready(
    client: &Client,
    kind: Kind,
    specs: impl ExactSizeIterator<Item = (String, Value)>,
) -> Result<Duration> {
    let (wanted, mut ready) = (specs.len(), HashSet::new());
    let api: Api<Shown> = Api::namespaced_with(client.clone(), NAMESPACE, &kind.resource());
    let mut events = pin!(watcher(api, watcher::Config::default()));
    while !matches!(events.try_next().await?, Some(Event::InitDone)) {}
    let hand = Hand { client: client.clone(), namespace: NAMESPACE.to_owned() };
    let begun = Instant::now();
    let create = stream::iter(specs)
        .map(async |(name, spec)| hand.create(kind, &name, spec).await)
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()));
    let watch = async {
        while ready.len() < wanted {
            match events.try_next().await?.context("the watch has ended")? {
                Event::Apply(object) | Event::InitApply(object) if is_ready(&object) => {
                    ready.insert(object.name_any());
                }
                _ => {}
            }
        }
        Ok::<_, anyhow::Error>(begun.elapsed())
    };
    let both = async { tokio::try_join!(async { Ok(create.await?) }, watch) };
    let ended = tokio::time::timeout(PATIENCE, both).await;
    let ((), elapsed) =
        ended.with_context(|| format!("{} of {wanted} are ready after {PATIENCE:?}", ready.len()))??;
    Ok(elapsed)
}

/// Removes everything that the last burst has left, without operator and broker.
pub async fn clear(client: &Client) -> Result<()> {
    // Otherwise the garbage collector would delete them during the next round.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    for kind in [BINDING, INSTANCE] {
        let api: Api<Object<NotUsed, NotUsed>> =
            Api::namespaced_with(client.clone(), NAMESPACE, &kind.resource());
        let left = api.list_metadata(&ListParams::default()).await?;
        stream::iter(left.items)
            .map(|object| {
                let (api, name) = (api.clone(), object.name_any());
                async move {
                    let released = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
                    api.patch_metadata(&name, &PatchParams::default(), &released).await?;
                    api.delete(&name, &DeleteParams::background()).await
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |_| Ok(()))
            .await?;
    }
    Ok(())
}
