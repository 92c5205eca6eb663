//! What the shipped files make of the image.

use super::site::{OPERATOR, Turn};

#[tokio::test]
async fn two_restricted_replicas_are_ready_and_one_leads() {
    let site = Turn::shared().await;
    let labels = site.kubectl(&["get", "namespace", OPERATOR, "-o", "jsonpath={.metadata.labels}"]).await;
    assert!(labels.contains(r#""pod-security.kubernetes.io/enforce":"restricted""#), "{labels}");
    assert_eq!(site.restarts().await, 0, "{}", site.node.report().await);
    let mut leading = 0;
    for pod in [site.leader().await, site.standby().await] {
        let path = format!("/api/v1/namespaces/{OPERATOR}/pods/{pod}:8080/proxy/metrics");
        let metrics = site.kubectl(&["get", "--raw", &path]).await;
        let leads = metrics.lines().filter(|line| line.starts_with("leader_election_master_status"));
        leading += leads.filter(|line| line.ends_with(" 1")).count();
    }
    assert_eq!(leading, 1);
}
