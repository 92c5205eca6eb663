//! The controller of a kind: reconciles the objects of its queue, each in a task of its own.
//!
//! kube's `Controller` is not used: for each object at rest it keeps its own names and times, and for each
//! object that waits a task, which together takes more memory than the object itself.

use std::{future::Future, panic::resume_unwind, sync::Arc};

use futures::StreamExt as _;
use tokio::task::{JoinError, JoinSet};

use super::Stop;
use crate::{
    caches::{cached::Cached, kind::Kind, queue::Slot},
    crd::scope::Object,
    reconcilers::{ReconcileError, action::Action, context::Context, runner},
};

/// Reconciles what the queue has until `stop` ends. Then it waits for the reconciles that have begun.
pub(super) async fn control<
    K: Object,
    F: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
>(
    context: Arc<Context>,
    kind: Arc<Kind<K>>,
    reconcile: impl Fn(Cached<K>, Arc<Context>, Slot) -> F,
    mut stop: Stop,
) {
    let mut queue = std::pin::pin!(kind.queue());
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = running.join_next() => check(ended),
            Some((name, slot)) = queue.next() => match kind.cached(&name) {
                None => kind.ended(&name, None),
                Some(object) => {
                    let reconcile = reconcile(object.clone(), Arc::clone(&context), slot);
                    let (context, kind) = (Arc::clone(&context), Arc::clone(&kind));
                    running.spawn(async move {
                        let result = reconcile.await;
                        kind.ended(&name, next(&object, result, &context).requeue_after());
                    });
                }
            },
        }
    }
    while let Some(ended) = running.join_next().await {
        check(ended);
    }
}

/// What follows a reconcile. The error of a reconcile is logged here.
fn next<K: Object>(object: &Cached<K>, result: Result<Action, ReconcileError>, context: &Context) -> Action {
    result.unwrap_or_else(|error| {
        let namespace = object.name().namespace().unwrap_or_default();
        let (kind, name, category) = (K::kind(&()), object.name().name(), error.category());
        tracing::warn!(%kind, namespace, name, category, %error, "a reconcile failed; the operator tries again");
        runner::after_error(object.uid(), &error, context)
    })
}

/// Passes on a panic of a reconcile, so that the process ends.
fn check(ended: Result<(), JoinError>) {
    if let Err(panicked) = ended.map_err(JoinError::try_into_panic)
        && let Ok(panicked) = panicked
    {
        resume_unwind(panicked);
    }
}
