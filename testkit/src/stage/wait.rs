//! Waiting for objects by watching them, and saying what was last seen when it was in vain.

use std::{fmt::Write as _, pin::pin, time::Duration};

use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher::watch_object};
use serde_json::Value;

use super::{
    Stage,
    objects::{self, EVENT, Hand, Kind},
};

/// Much more than anything takes, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until an object (or its absence, `None`) is as wanted.
///
/// # Panics
/// When it is not in time: with what was last seen of the object, the namespace's Events and the operator's log.
pub async fn until(
    stage: &Stage,
    hand: &Hand,
    (kind, name): (Kind, &str),
    what: &str,
    wanted: impl Fn(Option<&Value>) -> bool,
) -> Option<Value> {
    let mut last = None;
    let search = async {
        let mut seen = pin!(watch_object(kind.api(&hand.client, &hand.namespace), name).default_backoff());
        while let Some(event) = seen.next().await {
            let Ok(object) = event else { continue };
            last = object.map(objects::plain);
            if wanted(last.as_ref()) {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, search).await.is_ok() {
        return last;
    }
    let found = last.map_or_else(|| "nothing".to_owned(), |object| show(&object));
    panic!(
        "waited {PATIENCE:?} in vain for {} {name} {what}. Last seen:\n{found}\n{}",
        kind.name,
        surroundings(stage, hand).await
    );
}

/// What else may explain a failure.
pub async fn surroundings(stage: &Stage, hand: &Hand) -> String {
    let mut text = format!("Events in {}:\n", hand.namespace);
    for event in hand.list(EVENT).await.unwrap_or_default() {
        let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let about = event["regarding"]["name"].as_str().unwrap_or_default();
        let _ = writeln!(text, "  {about} {} {}: {}", field("type"), field("reason"), field("note"));
    }
    let _ = write!(text, "The end of the operator's log:\n{}", stage.operator.log_tail());
    text
}

fn show(object: &Value) -> String {
    serde_saphyr::to_string(object).unwrap_or_else(|_| object.to_string())
}
