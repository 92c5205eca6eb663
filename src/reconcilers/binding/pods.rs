//! How many of the pods that a binding names have its credentials? All functions are pure.
//!
//! The admission policy writes into an annotation of a pod which bindings it has got, so the metadata of pods is all that
//! the operator watches of them. Numbers that change again and again, as in a rollout, are written every ten seconds at
//! most: `changedAt` in the status says when they were last written.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    ResourceExt as _,
    core::{ObjectMeta, PartialObjectMeta},
};

use super::{Binding, BindingView};
use crate::{
    caches::Caches,
    clock::later,
    crd::{BINDINGS_ANNOTATION, ServiceBinding, ServiceBindingStatus, pods::PodsStatus},
    reconcilers::{
        operation::NextStep,
        reconciler::{Step, Wait},
    },
};

/// The shortest interval between two writes of the numbers.
const INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// How many names of pods without credentials the status has.
const MAX_NAMES: usize = 10;

/// The pods that a binding names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PodCount {
    /// How many have the credentials.
    pub with: usize,
    /// The names of the others, in order.
    pub without: Vec<String>,
}

impl PodCount {
    fn first_without(&self) -> &[String] {
        &self.without[..self.without.len().min(MAX_NAMES)]
    }

    fn is_shown_by(&self, status: &PodsStatus) -> bool {
        status.with_credentials == self.with
            && status.without_credentials == self.without.len()
            && status.first_without == self.first_without()
    }
}

/// Removes all metadata of a pod that the operator does not need.
pub fn reduce(pod: &mut PartialObjectMeta<Pod>) {
    let ObjectMeta {
        name, namespace, uid, resource_version, deletion_timestamp, labels, annotations, ..
    } = std::mem::take(&mut pod.metadata);
    let annotations = annotations.map(|mut all| {
        all.retain(|key, _| key == BINDINGS_ANNOTATION);
        all
    });
    pod.metadata = ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        deletion_timestamp,
        labels,
        annotations,
        ..ObjectMeta::default()
    };
}

/// The bindings that a pod with these annotations has got.
pub fn bindings_in(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    annotations.get(BINDINGS_ANNOTATION).map(String::as_str).unwrap_or_default().split(',')
}

/// Counts the pods that a binding names. `None` if it names none, or the operator does not watch pods.
pub(super) fn count(binding: &ServiceBinding, caches: &Caches) -> Option<PodCount> {
    let selector = binding.spec.pods.as_ref()?.selector.as_ref()?;
    let (namespace, name) = (binding.namespace().unwrap_or_default(), binding.name_any());
    let pods = caches.pods(&namespace, selector)?;
    let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let (with, without): (Vec<_>, Vec<_>) =
        staying.partition(|pod| bindings_in(pod.annotations()).any(|it| it == name));
    let mut without: Vec<_> = without.into_iter().map(|pod| pod.name_any()).collect();
    without.sort_unstable();
    Some(PodCount { with: with.len(), without })
}

/// The next step of a binding that would otherwise wait: the status may have to show other numbers.
pub(super) fn plan(view: &BindingView<'_>, wait: Wait) -> NextStep<Binding> {
    let (counted, shown) = (view.dependencies.pods.as_ref(), view.status.pods.as_ref());
    let is_shown = match (counted, shown) {
        (Some(counted), Some(shown)) => counted.is_shown_by(shown),
        (None, None) => true,
        _ => false,
    };
    if is_shown {
        return Step::Wait(wait);
    }
    let due = shown.map(|shown| later(view.settings.past(shown.changed_at.0, view.now), INTERVAL));
    if let Some(due) = due.filter(|due| *due > view.now) {
        return Step::Wait(wait.earlier(Wait::Until(due)));
    }
    let pods = counted.map(|counted| PodsStatus {
        with_credentials: counted.with,
        without_credentials: counted.without.len(),
        first_without: counted.first_without().to_vec(),
        changed_at: Time(view.now),
    });
    Step::Record(ServiceBindingStatus { pods, ..view.status_copy() })
}
