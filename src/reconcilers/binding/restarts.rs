//! When do pods have to be restarted because the credentials of a binding have changed (`spec.pods.restart`)? All
//! functions but [`observe`] are pure.
//!
//! The Secret carries a digest of its data, salted with random bytes that only readers of the Secret see. The *mark* of
//! the credentials is a digest of that. So it changes only with the credentials, and nobody can guess them from it. The
//! status has the mark of the credentials that the pods have, or get with the restart that is due. A binding whose
//! restart has just been switched on notes the mark that it finds. So neither that nor a restart of the operator restarts
//! any pod.
//!
//! A restart is due half a minute after the change. A rollout covers all bindings that have changed until then.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{Api, ResourceExt as _, api::ListParams};
use sha2::{Digest as _, Sha256};

use super::{Binding, BindingView, pods, secret::cached_secret};
use crate::{
    caches::cached::Cached,
    clock::later,
    crd::{
        ServiceBinding, ServiceBindingStatus,
        pods::{PodRestart, PodSelector, RestartStatus},
    },
    kube_api::request::timed,
    reconcilers::{
        context::Context,
        error::ReconcileError,
        hex::hex,
        operation::{Decoded, NextStep},
        reconciler::{Step, Wait},
        writes::{
            Write,
            digest::ANNOTATION_DIGEST,
            restart::{ChangedBinding, Eviction, Rollout},
        },
    },
};

/// How long the operator waits for other bindings to change too.
const SETTLING: SignedDuration = SignedDuration::from_secs(30);

/// The time between two evictions.
const EVICTION_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// What decisions about a restart depend on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RestartState {
    /// How the pods are restarted.
    pub how: PodRestart,
    /// The mark of the present credentials.
    pub mark: String,
    /// The other bindings of the namespace whose credentials have changed too.
    pub others: Vec<ChangedBinding>,
    /// The pods to be evicted, if evictions are due.
    pub evictions: Evictions,
}

/// The pods that have the old credentials.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Evictions {
    /// How many there are.
    pub left: usize,
    /// Those that can be evicted now: one of each workload whose other pods are ready.
    pub now: Vec<Eviction>,
}

/// The mark of the credentials in the Secret of a binding. `None`: the cache has no such Secret, or it has no digest.
fn mark(decoded: &Decoded<'_, Binding>, context: &Context) -> Option<String> {
    let secret = cached_secret(decoded, context)?;
    let digest = secret.annotations().get(ANNOTATION_DIGEST)?;
    Some(hex(&Sha256::digest(digest)[..16]))
}

fn restart_of(binding: &ServiceBinding) -> Option<(PodRestart, &PodSelector)> {
    let pods = binding.spec.pods.as_ref()?;
    Some((pods.restart, pods.selector.as_ref()?)).filter(|(restart, _)| *restart != PodRestart::None)
}

/// `None`: no pod is restarted, because the binding or the setting does not say so, or there are no credentials.
pub(super) async fn observe(
    decoded: &Decoded<'_, Binding>,
    context: &Context,
) -> Result<Option<RestartState>, ReconcileError> {
    let restart = restart_of(decoded.object).filter(|_| context.settings.restart_pods);
    let (Some((how, selector)), Some(mark)) = (restart, mark(decoded, context)) else { return Ok(None) };
    let mut state = RestartState { how, mark, others: Vec::new(), evictions: Evictions::default() };
    let shown = decoded.status.restart.as_ref();
    if let Some(changed) = shown.and_then(|shown| shown.changed_at.as_ref()) {
        match how {
            PodRestart::Evict => state.evictions = evictions(decoded, selector, changed.0, context).await?,
            PodRestart::Rollout => state.others = others(decoded, context),
            PodRestart::None => {}
        }
    }
    Ok(Some(state))
}

/// The other bindings of the namespace whose workloads have to be rolled out, whether or not that is due.
fn others(decoded: &Decoded<'_, Binding>, context: &Context) -> Vec<ChangedBinding> {
    let changed = |cached: &Cached<ServiceBinding>| {
        let binding = cached.read();
        let (_, selector) = restart_of(&binding).filter(|(how, _)| *how == PodRestart::Rollout)?;
        let other = Decoded::<Binding>::of(&*binding);
        let (shown, mark) = (other.status.restart.as_ref()?, mark(&other, context)?);
        let has_changed = shown.changed_at.is_some() || shown.credentials != mark;
        has_changed.then(|| ChangedBinding { selector: selector.clone(), uid: cached.uid().to_owned(), mark })
    };
    let all = context.caches.bindings_with_pods(decoded.namespace());
    all.iter().filter(|binding| binding.uid() != decoded.uid()).filter_map(changed).collect()
}

async fn evictions(
    decoded: &Decoded<'_, Binding>,
    selector: &PodSelector,
    changed: Timestamp,
    context: &Context,
) -> Result<Evictions, ReconcileError> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), decoded.namespace());
    let named = ListParams::default().labels(&selector.to_string());
    let found = timed("list pods", pods.list(&named)).await?;
    Ok(choose(&found.items, &decoded.object.name_any(), changed))
}

/// Chooses the pods to evict: of each workload one that was created before the change, if all other pods of the workload are
/// ready. A pod without a workload would not come back, and that of a Job has its own end.
pub(super) fn choose(pods: &[Pod], binding: &str, changed: Timestamp) -> Evictions {
    let mut workloads: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        let controller = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        if let Some(controller) = controller.filter(|owner| replaces_pods(owner)) {
            workloads.entry(&controller.uid).or_default().push(pod);
        }
    }
    let mut evictions = Evictions::default();
    for pods in workloads.into_values() {
        let is_old = |pod: &&&Pod| {
            let is_older = pod.creation_timestamp().is_some_and(|created| created.0 <= changed);
            is_older && pods::bindings_in(pod.annotations()).any(|name| name == binding)
        };
        evictions.left += pods.iter().filter(is_old).count();
        // One that is not ready goes first: the old credentials may be the reason.
        let Some(next) = pods.iter().filter(is_old).min_by_key(|pod| (is_ready(pod), pod.name_any())) else {
            continue;
        };
        let is_whole = pods.iter().all(|pod| pod.name_any() == next.name_any() || is_ready(pod));
        if is_whole && next.metadata.deletion_timestamp.is_none() {
            evictions.now.push(Eviction {
                namespace: next.namespace().unwrap_or_default(),
                name: next.name_any(),
                uid: next.uid(),
            });
        }
    }
    evictions
}

fn replaces_pods(owner: &OwnerReference) -> bool {
    ["ReplicaSet", "StatefulSet", "DaemonSet"].contains(&&*owner.kind)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

/// The next step of a binding that would otherwise wait: its pods may have to be restarted.
pub(super) fn plan(view: &BindingView<'_>, wait: Wait) -> NextStep<Binding> {
    let (state, shown) = (view.dependencies.restart.as_ref(), view.status.restart.as_ref());
    let Some(state) = state else {
        return if shown.is_none() { pods::plan(view, wait) } else { record(view, None) };
    };
    // Credentials that change again and again must not put off a rollout again and again.
    let pending =
        shown.and_then(|shown| shown.changed_at.clone()).filter(|_| state.how == PodRestart::Rollout);
    let noted = |changed_at| RestartStatus { credentials: state.mark.clone(), changed_at, evicted_at: None };
    let Some(shown) = shown else { return record(view, Some(noted(None))) };
    if shown.credentials != state.mark {
        return record(view, Some(noted(Some(pending.unwrap_or(Time(view.now))))));
    }
    let Some(changed) = &shown.changed_at else { return pods::plan(view, wait) };
    let past = |time: &Time| view.settings.past(time.0, view.now);
    let due = later(past(changed), SETTLING);
    let due = shown.evicted_at.as_ref().map_or(due, |at| due.max(later(past(at), EVICTION_INTERVAL)));
    if due > view.now {
        return pods::plan(view, wait.earlier(Wait::Until(due)));
    }
    match state.how {
        PodRestart::Evict if state.evictions.left > 0 && state.evictions.now.is_empty() => {
            pods::plan(view, wait.earlier(Wait::Until(later(view.now, EVICTION_INTERVAL))))
        }
        PodRestart::Evict if state.evictions.left > 0 => Step::WriteAndRecord(
            state.evictions.now.iter().cloned().map(Write::Evict).collect(),
            with(view, Some(RestartStatus { evicted_at: Some(Time(view.now)), ..shown.clone() })),
        ),
        PodRestart::Rollout => {
            Step::WriteAndRecord(vec![rollout(view, state)], with(view, Some(noted(None))))
        }
        PodRestart::Evict | PodRestart::None => record(view, Some(noted(None))),
    }
}

fn rollout(view: &BindingView<'_>, state: &RestartState) -> Write {
    let selector = restart_of(view.object).map(|(_, selector)| selector.clone()).unwrap_or_default();
    let own = ChangedBinding { selector, uid: view.uid().to_owned(), mark: state.mark.clone() };
    let bindings = std::iter::once(own).chain(state.others.iter().cloned()).collect();
    Write::Rollout(Box::new(Rollout { namespace: view.namespace().to_owned(), bindings }))
}

fn with(view: &BindingView<'_>, restart: Option<RestartStatus>) -> ServiceBindingStatus {
    ServiceBindingStatus { restart, ..view.status_copy() }
}

fn record(view: &BindingView<'_>, restart: Option<RestartStatus>) -> NextStep<Binding> {
    Step::Record(with(view, restart))
}
