//! The null writer: for each new instance it does the two writes of a provision, of the same size and with the same
//! number of fields as those of the operator. It reads no catalog, decides nothing and asks no broker. It shows how many
//! provisions the API server of this machine can take.

use std::{collections::HashSet, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, Object, Patch, PatchParams},
    core::NotUsed,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::Deserialize;
use serde_json::json;
use service_catalog::{crd::ServiceInstance, kube_api::client};
use tokio::sync::Semaphore;

use crate::{
    burst,
    sample::{Identity, Sample},
};

/// As the operator has it by default.
const WRITES_AT_ONCE: usize = 64;

/// An instance of which only the metadata and the reference are read.
type Seen = Object<Reference, NotUsed>;

#[derive(Clone, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    cluster_service_class_external_name: Option<String>,
}

struct NullWriter {
    client: Client,
    resource: ApiResource,
    sample: Sample,
    permits: Semaphore,
}

/// Runs until the process is ended.
pub async fn run(sample: &Path) -> Result<()> {
    let (client, _) = client::connect().await?;
    let resource = ApiResource::erase::<ServiceInstance>(&());
    let all: Api<Seen> = Api::all_with(client.clone(), &resource);
    let (sample, permits) = (Sample::load(sample)?, Semaphore::new(WRITES_AT_ONCE));
    let writer = Arc::new(NullWriter { client, resource, sample, permits });
    let mut done = HashSet::new();
    let mut seen = Box::pin(watcher(all, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(seen) = seen.next().await {
        // The watcher begins again by itself.
        let Ok(seen) = seen else { continue };
        let is_new = seen.metadata.annotations.as_ref().is_none_or(std::collections::BTreeMap::is_empty);
        if is_new && done.insert(seen.uid()) {
            let writer = Arc::clone(&writer);
            tokio::spawn(async move {
                if let Err(error) = writer.provision(&seen).await {
                    eprintln!("{}: {error:#}", seen.name_any());
                }
            });
        }
    }
    Ok(())
}

impl NullWriter {
    async fn provision(&self, seen: &Seen) -> Result<()> {
        let identity = Identity {
            namespace: burst::NAMESPACE,
            number: last_number(&seen.name_any())?,
            uid: seen.uid().context("no uid")?,
            offering: last_number(
                seen.spec.cluster_service_class_external_name.as_deref().unwrap_or_default(),
            )?,
        };
        let done = self.sample.copy(&identity)?;
        let api: Api<Object<NotUsed, NotUsed>> =
            Api::namespaced_with(self.client.clone(), burst::NAMESPACE, &self.resource);
        let name = seen.name_any();
        let by_us =
            PatchParams { field_manager: Some("service-catalog".to_owned()), ..PatchParams::default() };
        let pin = |version: Option<String>| json!({ "uid": identity.uid, "resourceVersion": version });

        let mut metadata = pin(seen.resource_version());
        metadata["annotations"] = done["metadata"]["annotations"].clone();
        let filled: serde_json::Map<_, _> = ["clusterServiceClassRef", "clusterServicePlanRef", "externalID"]
            .map(|field| (field.to_owned(), done["spec"][field].clone()))
            .into_iter()
            .collect();
        let intent = Patch::Merge(json!({ "metadata": metadata, "spec": filled }));
        let permit = self.permits.acquire().await?;
        let written = api.patch(&name, &by_us, &intent).await?;
        drop(permit);
        // The operator asks the broker here.
        let result = json!({ "metadata": pin(written.resource_version()), "status": done["status"] });
        let _permit = self.permits.acquire().await?;
        api.patch_status(&name, &by_us, &Patch::Merge(result)).await?;
        Ok(())
    }
}

/// The number at the end of the name of an order or of an offering.
fn last_number(name: &str) -> Result<usize> {
    let (_, number) = name.rsplit_once('-').with_context(|| format!("no number in {name:?}"))?;
    Ok(number.parse()?)
}
