//! Objects as large as the API server takes them: a start reads all of them, and each is in memory once.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use testkit::stage::objects::INSTANCE;

use super::{is_served, namespaced, turn};

const OBJECTS: usize = 60;
const SIZE: usize = 1 << 20;

/// The most memory that the operator may ever have had, in MiB. A page with all objects takes three times their text.
const MEMORY: usize = 130;

#[tokio::test]
async fn a_start_with_large_objects_takes_little_more_memory_than_they_do() {
    let (stage, _turn) = turn().await;
    let other = namespaced(stage, "beside-the-large").await;
    let case = namespaced(stage, "large").await;
    let spec =
        json!({ "serviceClassExternalName": "no-such-class", "parameters": { "a": "a".repeat(SIZE) } });
    let made = stream::iter(0..OBJECTS).map(|index| {
        let (case, spec) = (&case, spec.clone());
        async move { case.hand.create(INSTANCE, &format!("large-{index}"), spec).await }
    });
    made.buffer_unordered(4).try_for_each(async |_| Ok(())).await.unwrap();
    stage.operator.restart().await.unwrap();
    is_served(&other, "served").await;
    let peak = stage.operator.peak_memory().unwrap();
    assert!(peak < MEMORY, "the operator has had {peak} MiB");
    case.finish().await;
    other.finish().await;
}
