//! A rule of the cluster's own, of which the product knows nothing: something is forbidden in the namespace of a test.

use std::time::{Duration, Instant};

use kube::api::PostParams;
use serde_json::Value;

use super::{case::Case, install::kubectl, objects::Kind, wait::PATIENCE};

impl Case {
    /// Forbids requests in the namespace of this test for which a CEL expression is not true. `rule` is the resource rule in
    /// YAML. Waits until the API server refuses to create this object, which a dry run tells.
    ///
    /// # Panics
    /// When it does not take effect in time.
    pub async fn forbid(&self, rule: &str, allowed: &str, (kind, name, body): (Kind, &str, &Value)) {
        let namespace = self.namespace();
        let policy = format!(
            r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    resourceRules:
    - {rule}
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
  validations:
  - expression: |-
      {allowed}
    message: not in this house
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec: {{policyName: {namespace}, validationActions: [Deny]}}
"
        );
        self.stage.plane.apply(&policy).await.unwrap();
        let (api, probe) = (kind.api(&self.hand.client, namespace), kind.manifest(name, body));
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let deadline = Instant::now() + PATIENCE;
        while api.create(&dry, &probe).await.is_ok() {
            assert!(Instant::now() < deadline, "the policy is not in force");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes back what [`Self::forbid`] has done.
    ///
    /// # Panics
    /// When kubectl fails.
    pub async fn allow(&self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            kubectl(self.stage.plane, &["delete", kind, self.namespace()]).await.unwrap();
        }
    }
}
