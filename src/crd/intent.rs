//! The intent: what the operator records on an instance or a binding before it sends a request to a broker.
//!
//! One patch of the main resource writes the ids and references into the spec, and the intent into the
//! annotation [`INTENT_ANNOTATION`]. The status follows with the answer of the broker. Until then the intent is
//! pending. [`complete`] applies a pending intent to the status of an object that was read, so that all other
//! code sees one status. The annotation also survives a backup that has no status.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{INTENT_ANNOTATION, schema::is_false};

/// The value of the annotation. The order of the fields is part of the format: admission policies look for
/// `"namespace":"…","name":"…"` and `"time":"…"`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IntentRecord<S> {
    /// The id of the cluster.
    pub cluster: String,
    /// The namespace of the object.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// The uid of the object.
    pub uid: String,
    /// When the operator recorded the intent.
    pub time: MicroTime,
    /// Whether the operator derived `spec.externalID`. Otherwise the user gave it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub derived_id: bool,
    /// The status that the intent leads to, with all that a DELETE at the broker needs.
    pub status: S,
}

/// What an object carries as its intent, beside the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The id of the cluster that the intent was recorded in.
    pub cluster: String,
    /// The uid of the object that the intent was recorded on. An object that is restored from a backup has another.
    pub uid: String,
    /// Whether the operator derived `spec.externalID`. Otherwise the user gave it.
    pub derived_id: bool,
    /// Whether the intent announces a create.
    pub creates: bool,
    /// What the status says of the intent.
    pub state: IntentState,
}

/// What the status of an object says of its intent.
#[derive(Clone, Debug, PartialEq)]
pub enum IntentState {
    /// The status takes the intent into account.
    Observed,
    /// The status does not take the intent into account yet. This is the status that the API server has.
    Pending(Value),
    /// The object was restored from a backup without its status. This is the status that the API server has.
    Restored(Value),
    /// The object is a copy of another object, under another name or in another namespace. The intent says nothing
    /// about the copy.
    OfAnother,
}

impl Intent {
    /// The status that the API server has, if the object is ahead of it.
    #[must_use]
    pub fn persisted(&self) -> Option<&Value> {
        match &self.state {
            IntentState::Observed | IntentState::OfAnother => None,
            IntentState::Pending(status) | IntentState::Restored(status) => Some(status),
        }
    }
}

/// A status that takes intents into account.
pub(super) trait IntentStatus: Default + DeserializeOwned + Serialize {
    /// The time of the last intent that the status takes into account.
    fn observed_intent(&mut self) -> &mut Option<MicroTime>;
    /// The time of the last request.
    fn last_attempt_time(&self) -> Option<&MicroTime>;
    /// The intent that the object carries.
    fn intent(&mut self) -> &mut Option<Arc<Intent>>;
    /// The id at the broker.
    fn id(&self) -> &str;
    /// Whether a create is the current operation.
    fn is_creating(&self) -> bool;
}

/// Decodes the intent of an object that was read, and applies it to the status if it is pending.
pub(super) fn complete<S: IntentStatus>(metadata: &ObjectMeta, external_id: &str, status: &mut Option<S>) {
    let text = metadata.annotations.as_ref().and_then(|annotations| annotations.get(INTENT_ANNOTATION));
    let Some(record) = text.and_then(|text| serde_json::from_str::<IntentRecord<S>>(text).ok()) else {
        return;
    };
    let IntentRecord { cluster, namespace, name, uid, time, derived_id, status: announced } = record;
    let is_own = |value: &Option<String>, recorded: &str| value.as_deref().unwrap_or_default() == recorded;
    let mut present = status.take().unwrap_or_default();
    if !is_own(&metadata.namespace, &namespace) || !is_own(&metadata.name, &name) {
        // A user may have given the copy an id of its own.
        let derived_id = derived_id && announced.id() == external_id;
        let intent = Intent { cluster, uid, derived_id, creates: false, state: IntentState::OfAnother };
        *present.intent() = Some(Arc::new(intent));
        *status = Some(present);
        return;
    }
    let creates = announced.is_creating();
    let observed = present.observed_intent().clone();
    let last = present.last_attempt_time();
    // An operator of a version before intents may have recorded a later request in the status.
    let is_observed = observed.as_ref() == Some(&time) || last.is_some_and(|last| *last > time);
    let is_new = observed.is_none() && last.is_none();
    let state = if is_observed {
        IntentState::Observed
    } else {
        let persisted = serde_json::to_value(&present).unwrap_or_default();
        present = announced;
        *present.observed_intent() = Some(time);
        if is_new && !is_own(&metadata.uid, &uid) {
            IntentState::Restored(persisted)
        } else {
            IntentState::Pending(persisted)
        }
    };
    *present.intent() = Some(Arc::new(Intent { cluster, uid, derived_id, creates, state }));
    *status = Some(present);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::crd::ServiceInstance;
    use crate::crd::scope::Object as _;

    fn instance(annotation: &Value, status: Option<&Value>) -> ServiceInstance {
        let metadata = json!({
            "namespace": "ns", "name": "db", "uid": "u",
            "annotations": { INTENT_ANNOTATION: annotation.to_string() },
        });
        let object = json!({ "metadata": metadata, "spec": {}, "status": status });
        serde_json::from_value::<ServiceInstance>(object).unwrap().complete()
    }

    fn record(namespace: &str, uid: &str, second: i64) -> Value {
        let time = MicroTime(Timestamp::from_second(second).unwrap());
        json!({
            "cluster": "c", "namespace": namespace, "name": "db", "uid": uid, "time": time, "derivedId": true,
            "status": { "conditions": [], "instanceID": "id", "currentOperation": "Provision", "lastAttemptTime": time },
        })
    }

    #[test]
    fn a_pending_intent_is_applied_once() {
        let pending = instance(&record("ns", "u", 7), None);
        let status = pending.status.as_ref().unwrap();
        assert_eq!(status.instance_id.as_str(), "id");
        assert_eq!(pending.persisted_status(), Some(&json!({ "conditions": [] })));
        let observed = instance(&record("ns", "u", 7), Some(&serde_json::to_value(status).unwrap()));
        assert_eq!(observed.persisted_status(), None);
        assert!(observed.status.unwrap().progress.intent.unwrap().derived_id);
        let later =
            json!({ "conditions": [], "lastAttemptTime": MicroTime(Timestamp::from_second(8).unwrap()) });
        assert_eq!(instance(&record("ns", "u", 7), Some(&later)).status.unwrap().instance_id.as_str(), "");
    }

    #[test]
    fn a_restored_object_is_told_from_a_copy() {
        let state =
            |object: ServiceInstance| object.status?.progress.intent.map(|intent| intent.state.clone());
        let restored = instance(&record("ns", "another", 7), None);
        assert!(matches!(state(restored), Some(IntentState::Restored(_))));
        assert_eq!(state(instance(&record("elsewhere", "another", 7), None)), Some(IntentState::OfAnother));
        assert_eq!(state(instance(&json!("nonsense"), None)), None);
    }
}
