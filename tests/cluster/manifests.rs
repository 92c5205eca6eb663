//! What `kubectl` makes of manifests: mistakes are found, everything is explained.

use std::fs;

use serde_json::json;
use testkit::stage::{
    case::Case,
    objects::{BROKER, INSTANCE},
};

use super::{namespaced, users_view::kubectl};

/// A manifest in a file of its own.
fn file(case: &Case, text: &str) -> String {
    let path = case.stage.plane.dir().join(format!("{}.yaml", case.namespace()));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const BROKER_MANIFEST: &str = "\
apiVersion: servicecatalog.k8s.io/v1beta1
kind: ServiceBroker
metadata: {name: later}
spec: {url: 'http://127.0.0.1:1', relistBehavior: Manual}
";

// v0.3 A4, Q43
#[tokio::test]
async fn misspelt_fields_are_refused_and_the_others_explained() {
    let case = namespaced("misspelt").await;
    let manifest = file(&case, &BROKER_MANIFEST.replace("relistBehavior", "relistBehaviour"));
    let arguments = ["-n", case.namespace(), "apply", "--validate=strict", "-f", &manifest];
    let output = case.stage.plane.kubectl(&arguments).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("unknown field \"spec.relistBehaviour\""), "{said}");
    assert!(case.hand.get(BROKER, "later").await.unwrap().is_none());
    let explained = kubectl(&case, &["explain", "serviceinstance.spec.updateRequests"]).await;
    assert!(explained.contains("Increase this number to make the operator send an update"), "{explained}");
    // Old clients send what they do not know better; only who asks for it is told.
    case.order("db", "small", json!({ "nonsense": 1 })).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert!(ready["spec"].get("nonsense").is_none(), "{ready}");
    case.finish().await;
}
