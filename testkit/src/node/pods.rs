//! Pods, by `kubectl`, and by the processes that they are.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};

use super::{Node, PATIENCE};

impl Node {
    /// Creates a Pod with this spec, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it is not ready in time: with what the API server knows of it.
    pub async fn run(&self, namespace: &str, name: &str, spec: &Value) -> Result<()> {
        // A namespace has none at first, and a Pod needs one.
        self.wait(namespace, "serviceaccount/default", "create").await?;
        let metadata = json!({ "name": name, "namespace": namespace });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        self.plane.apply(&pod.to_string()).await?;
        self.wait(namespace, &format!("pod/{name}"), "condition=Ready").await
    }

    /// Waits as `kubectl wait --for` does.
    ///
    /// # Errors
    ///
    /// When it waits in vain: with what the API server knows of the object.
    pub async fn wait(&self, namespace: &str, object: &str, condition: &str) -> Result<()> {
        let condition = format!("--for={condition}");
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let waited = self.kubectl(&["wait", "-n", namespace, object, &condition, &timeout]).await;
        if let Err(error) = waited {
            let known = self.kubectl(&["describe", "-n", namespace, object]).await;
            return Err(error.context(known.unwrap_or_else(|error| error.to_string())));
        }
        Ok(())
    }

    /// Runs a command in the first container of a Pod, and says what it has written.
    ///
    /// # Errors
    ///
    /// When it fails: what it and kubectl said.
    pub async fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", "-n", namespace, pod, "--"], command].concat()).await
    }

    /// What the first container of a Pod has written, since it was last started.
    ///
    /// # Errors
    ///
    /// What kubectl says.
    pub async fn logs(&self, namespace: &str, pod: &str) -> Result<String> {
        self.kubectl(&["logs", "-n", namespace, pod]).await
    }

    /// Runs `kubectl` as the administrator.
    ///
    /// # Errors
    ///
    /// What kubectl says.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.plane.kubectl(arguments).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {} failed: {}", arguments.join(" "), said.trim_end());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Kills the processes of the first container of a Pod, as the kernel does when memory runs out.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn kill(&self, namespace: &str, pod: &str) -> Result<()> {
        let found = Api::<Pod>::namespaced(self.plane.admin_client()?, namespace).get(pod).await?;
        let statuses = found.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let id = statuses.first().and_then(|status| status.container_id.as_deref());
        let id = id.and_then(|id| id.strip_prefix("containerd://")).context("the Pod has no container")?;
        let processes = processes_of(id)?;
        let killed = Command::new("kill").arg("-KILL").args(&processes).status()?;
        ensure!(killed.success(), "the processes {processes:?} of {pod} cannot be killed");
        Ok(())
    }

    /// What the API server knows of all Pods, to explain a failure.
    pub async fn report(&self) -> String {
        let mut report = String::new();
        for arguments in ["get pods -A -o wide", "get events -A", "describe pods -A"] {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            report += &self.kubectl(&arguments).await.unwrap_or_else(|error| error.to_string());
        }
        report
    }
}

/// The processes of a container: its id is in the names of their control groups.
fn processes_of(container: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().into_owned();
        // Others come and go meanwhile.
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if number.bytes().all(|byte| byte.is_ascii_digit()) && groups.contains(container) {
            found.push(number);
        }
    }
    ensure!(!found.is_empty(), "the container {container} has no process");
    Ok(found)
}
