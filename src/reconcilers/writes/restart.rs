//! How are pods restarted? By a new annotation in the template of their workload, or by evictions.
//!
//! The annotation has a field manager of its own, so a tool that applies the workload server-side sees no difference. Its
//! value is a digest and no time, so the same credentials never cause a second rollout.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;

use crate::{
    crd::pods::PodSelector,
    kube_api::{
        Error,
        request::{ignore_missing, timed},
    },
    reconcilers::context::Context,
};

/// The beginning of the annotations of templates. The uid of a binding follows.
pub const MARK_PREFIX: &str = "credentials.servicecatalog.k8s.io/";

/// The field manager of these annotations.
const MANAGER: &str = "service-catalog-restarts";

/// The workloads that replace their pods when their template changes.
const WORKLOADS: [(&str, &str); 3] =
    [("Deployment", "deployments"), ("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets")];

/// The number of workloads on a page of a list.
const PAGE: u32 = 50;

/// A rollout of all workloads of the first of these bindings. It marks the changes of the others too, so that a workload is
/// rolled out once for all of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rollout {
    /// The namespace of the bindings.
    pub namespace: String,
    /// The bindings whose credentials have changed.
    pub bindings: Vec<ChangedBinding>,
}

/// A binding whose credentials have changed, and whose workloads are rolled out because of that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangedBinding {
    /// Its pods.
    pub selector: PodSelector,
    /// Its uid.
    pub uid: String,
    /// The mark of its credentials.
    pub mark: String,
}

/// The eviction of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Eviction {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub name: String,
    /// The uid of the pod.
    pub uid: Option<String>,
}

/// Rolls out the workloads, of which the others go on if one fails.
pub(super) async fn roll_out(context: &Context, rollout: &Rollout) -> Result<(), Error> {
    let mut result = Ok(());
    for (kind, plural) in WORKLOADS {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", kind), plural);
        let api = Api::namespaced_with(context.client.clone(), &rollout.namespace, &resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let workloads = timed(&format!("list {plural}"), api.list(&page)).await?;
            for workload in &workloads.items {
                if let Some(annotations) = annotations(workload, &rollout.bindings) {
                    let marked = mark(context, &api, &resource, workload, annotations).await;
                    result = result.and(ignore_missing(marked));
                }
            }
            match workloads.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    result
}

/// All marks of the template of a workload. `None`: they are there already, or the first binding does not name its pods.
fn annotations(workload: &DynamicObject, bindings: &[ChangedBinding]) -> Option<BTreeMap<String, String>> {
    let template = workload.data.pointer("/spec/template/metadata")?;
    let texts = |field: &str| {
        serde_json::from_value::<BTreeMap<String, String>>(template[field].clone()).unwrap_or_default()
    };
    let labels = texts("labels");
    let mut named = bindings.iter().map(|binding| (binding, binding.selector.matches(&labels)));
    if !named.clone().next().is_some_and(|(_, is_named)| is_named) {
        return None;
    }
    let mut marks = texts("annotations");
    marks.retain(|key, _| key.starts_with(MARK_PREFIX));
    let before = marks.clone();
    named.by_ref().filter(|(_, is_named)| *is_named).for_each(|(binding, _)| {
        marks.insert(format!("{MARK_PREFIX}{}", binding.uid), binding.mark.clone());
    });
    (marks != before).then_some(marks)
}

async fn mark(
    context: &Context,
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    workload: &DynamicObject,
    annotations: BTreeMap<String, String>,
) -> Result<(), Error> {
    let name = workload.metadata.name.clone().unwrap_or_default();
    let patch = Patch::Apply(json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        // An apply would create an object that is gone. Not with this uid.
        "metadata": { "name": name, "uid": workload.metadata.uid },
        "spec": { "template": { "metadata": { "annotations": annotations } } },
    }));
    let parameters = PatchParams::apply(MANAGER).force();
    let applied = api.patch(&name, &parameters, &patch);
    let applied = timed(&format!("restart the pods of {} {name}", resource.kind), applied).await;
    let result = applied.as_ref().map_or_else(Error::category, |_| "success");
    context.metrics.api_write(&resource.kind, "patch", result);
    applied.map(|_| ())
}

/// Evicts a pod. A disruption budget that does not allow it now is an error, so that it is tried again later and later.
pub(super) async fn evict(context: &Context, eviction: &Eviction) -> Result<(), Error> {
    let Eviction { namespace, name, uid } = eviction;
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
    let delete_options = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let parameters = EvictParams { delete_options: Some(delete_options), ..EvictParams::default() };
    let evicted = timed(&format!("evict pod {namespace}/{name}"), pods.evict(name, &parameters)).await;
    let result = evicted.as_ref().map_or_else(Error::category, |_| "success");
    context.metrics.api_write("Pod", "evict", result);
    ignore_missing(evicted.map(|_| ()))
}
