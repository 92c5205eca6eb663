//! The audit log: which user asked the API server for what, and what the answer was.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{ControlPlane, POLL};

/// One request, as it was when it had been answered.
///
/// Fields that a request does not have are empty: `resource` of `/readyz`, `namespace` of what has none,
/// `name` of a list or of a creation by `generateName`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The user's name, `system:serviceaccount:<namespace>:<name>` for a service account.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The program, as it calls itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The resource in the plural: `secrets`.
    pub resource: String,
    /// `status`, `token`, …
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The status code of the answer.
    pub code: u16,
    /// The path and the query.
    pub request_uri: String,
}

impl ControlPlane {
    /// All requests answered so far, in the order of their answers. A watch is among them when it has
    /// ended, not while it runs.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        let path = self.audit_log();
        let log = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        parse(&log)
    }

    /// The requests that `wanted` chooses, as soon as there are any.
    ///
    /// The API server writes a line before it ends the answer, but a client may take a complete body for
    /// the end; so whoever looks for what must be there should wait for it.
    ///
    /// # Errors
    ///
    /// When there are none within `patience`.
    pub async fn audit_of(
        &self,
        patience: Duration,
        wanted: impl Fn(&AuditEvent) -> bool,
    ) -> Result<Vec<AuditEvent>> {
        let deadline = Instant::now() + patience;
        loop {
            let all = self.audit()?;
            let count = all.len();
            let chosen: Vec<_> = all.into_iter().filter(&wanted).collect();
            if !chosen.is_empty() {
                return Ok(chosen);
            }
            if Instant::now() >= deadline {
                bail!("none of the {count} requests in {} is the one wanted", self.audit_log().display());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The wire form, with what is used of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

fn parse(log: &str) -> Result<Vec<AuditEvent>> {
    // The last line can be one that is being written.
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    let mut events = Vec::new();
    for line in complete.lines() {
        let event: Event = serde_json::from_str(line)
            .with_context(|| format!("a line of the audit log is no audit event: {line}"))?;
        if event.stage == "ResponseComplete" {
            events.push(event.into());
        }
    }
    Ok(events)
}

impl From<Event> for AuditEvent {
    fn from(event: Event) -> Self {
        Self {
            user: event.user.username,
            groups: event.user.groups,
            user_agent: event.user_agent,
            verb: event.verb,
            api_group: event.object_ref.api_group,
            resource: event.object_ref.resource,
            subresource: event.object_ref.subresource,
            namespace: event.object_ref.namespace,
            name: event.object_ref.name,
            code: event.response_status.map_or(0, |status| status.code),
            request_uri: event.request_uri,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: &str = r#"{"kind":"Event","level":"Metadata","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/secrets/b","verb":"get","user":{"username":"ada","groups":["dev"]},"userAgent":"x/1","objectRef":{"resource":"secrets","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":403}}"#;
    const STARTED: &str = r#"{"stage":"ResponseStarted","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"ada"}}"#;

    #[test]
    fn answered_requests_are_read() {
        let events = parse(&format!("{STARTED}\n{ANSWERED}\n")).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].user.as_str(), events[0].code), ("ada", 403));
        assert_eq!((events[0].resource.as_str(), events[0].name.as_str()), ("secrets", "b"));
        assert_eq!(events[0].api_group, "");
    }

    #[test]
    fn a_line_being_written_is_left_for_later() {
        let half = &ANSWERED[..40];
        assert_eq!(parse(&format!("{ANSWERED}\n{half}")).unwrap().len(), 1);
        assert_eq!(parse(half).unwrap().len(), 0);
    }
}
