//! What the API server does with an object, for tests without one.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// An object after a merge patch. A patch of the spec increases the generation.
pub fn patched<K: Serialize + DeserializeOwned>(object: &K, patch: &serde_json::Value) -> K {
    let mut object = serde_json::to_value(object).unwrap();
    json_patch::merge(&mut object, patch);
    if patch.get("spec").is_some() {
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
    }
    serde_json::from_value(object).unwrap()
}
