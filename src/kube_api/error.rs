//! Errors of requests to the API server, and one line of text for each.

use std::{error::Error as StdError, fmt::Write as _, time::Duration};

use kube::{core::Status, runtime::watcher};

/// The longest text of [`describe`], in characters. Admission webhooks can answer with long messages.
const MAX_LENGTH: usize = 1000;

/// A request to the API server that failed. Its `Display` is one line; it has no `source`, because a log
/// prints all sources of an error, and [`kube::Error`] prints the whole answer of the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server answered with an error, or the request did not reach it.
    #[error("cannot {action}: {}", describe(cause))]
    Api {
        /// The purpose of the request, as in `write the status of ServiceInstance shop/db`.
        action: String,
        /// The error of the client, with the API server's answer if there is one.
        cause: Box<kube::Error>,
    },
    /// The API server did not answer in time. If the request was a write, it may have taken effect.
    #[error("cannot {action}: the API server did not answer within {limit:?}")]
    Timeout {
        /// The purpose of the request.
        action: String,
        /// The time limit.
        limit: Duration,
    },
    /// The object has changed since the operator read it (409 Conflict). The change triggers a reconcile of
    /// its own.
    #[error("cannot {action}: the object has changed since the operator read it")]
    Conflict {
        /// The purpose of the request.
        action: String,
    },
}

impl Error {
    /// An error of the client. A 409 because of another version of the object becomes [`Error::Conflict`]; a
    /// 409 because the object already exists does not.
    pub(crate) fn new(action: impl Into<String>, cause: kube::Error) -> Self {
        let action = action.into();
        if answer(&cause).is_some_and(Status::is_conflict) {
            return Self::Conflict { action };
        }
        Self::Api { action, cause: Box::new(cause) }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// Whether an object of this name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// Whether the API server refuses the content of the request, so that a repetition cannot help: it is
    /// invalid, too large, or forbidden (by a policy, or in a namespace that is being deleted).
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        self.status().is_some_and(|status| [400, 403, 413, 422].contains(&status.code))
    }

    /// The error as one word of a closed list, for logs and metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Timeout { .. } => "api-timeout",
            Self::Api { .. } if self.is_rejection() => "rejected",
            Self::Api { .. } if self.is_not_found() => "not-found",
            Self::Api { .. } if self.is_already_exists() => "already-exists",
            Self::Api { .. } => "api",
        }
    }

    /// The API server's answer, if it gave one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { cause, .. } => answer(cause),
            Self::Timeout { .. } | Self::Conflict { .. } => None,
        }
    }
}

/// The API server's answer in an error of the client, if it gave one.
fn answer(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// An error of the client as one line: code, reason and message of the API server's answer, or why there is
/// no answer.
#[must_use]
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => describe_status(status),
        // The text of this error quotes values of the answer, which can be those of a Secret.
        kube::Error::SerdeError(error) => format!(
            "the answer of the API server is not the expected JSON ({:?} error at line {}, column {})",
            error.classify(),
            error.line(),
            error.column()
        ),
        kube::Error::Service(cause) => {
            format!("no answer from the API server: {}", chain(&**cause))
        }
        kube::Error::HyperError(cause) => {
            format!("no answer from the API server: {}", chain(cause))
        }
        // The URL of the proxy can hold a password.
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            "the kubeconfig or the variable HTTPS_PROXY names a proxy, and the operator cannot use a proxy for the API \
             server"
                .to_owned()
        }
        other => chain(other),
    }
}

/// An error of a watch as one line.
#[must_use]
pub(crate) fn describe_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("cannot list the objects: {}", describe(error)),
        watcher::Error::WatchStartFailed(error) => format!("cannot start the watch: {}", describe(error)),
        watcher::Error::WatchFailed(error) => format!("the watch was interrupted: {}", describe(error)),
        watcher::Error::WatchError(status) => {
            format!("the API server ended the watch: {}", describe_status(status))
        }
        watcher::Error::NoResourceVersion => {
            "the API server sent a list without metadata.resourceVersion".to_owned()
        }
    }
}

/// As in `403 Forbidden: leases.coordination.k8s.io "x" is forbidden: User "y" cannot get resource …`.
fn describe_status(status: &Status) -> String {
    let Status { code, reason, message, .. } = status;
    let mut line = code.to_string();
    for (separator, text) in [(" ", reason), (": ", message)] {
        if !text.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(line, "{separator}{text}");
        }
    }
    one_line(&line)
}

/// An error and its sources as one line, from the outermost to the root. Leaves out a source whose text is
/// part of an outer one.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let inner = source.to_string();
        if !text.contains(&inner) {
            let _ = write!(text, ": {inner}");
        }
        next = source.source();
    }
    one_line(&text)
}

/// Without line ends and other control characters, and not longer than [`MAX_LENGTH`].
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn forbidden(message: &str) -> kube::Error {
        let status =
            Status { code: 403, reason: "Forbidden".into(), message: message.into(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct ConnectError(#[source] io::Error);

    #[test]
    fn an_answer_is_one_line_of_code_reason_and_message() {
        let error = Error::new("read Lease a/b", forbidden("User \"x\"\ncannot get\r\n\tleases"));
        assert_eq!(error.to_string(), "cannot read Lease a/b: 403 Forbidden: User \"x\" cannot get leases");
        assert!(error.source().is_none(), "a log would print it as well");
        let bare = kube::Error::Api(Box::new(Status { code: 500, ..Status::default() }));
        assert_eq!(describe(&bare), "500");
    }

    #[test]
    fn a_long_message_is_cut() {
        let line = describe(&forbidden(&"é".repeat(5000)));
        assert_eq!((line.chars().count(), line.ends_with('…')), (MAX_LENGTH + 1, true), "{line}");
    }

    #[test]
    fn a_request_that_did_not_arrive_says_why() {
        let refused = ConnectError(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
        let error = kube::Error::Service(Box::new(refused));
        assert_eq!(
            describe(&error),
            "no answer from the API server: client error (Connect): connection refused"
        );
        let watch = watcher::Error::WatchStartFailed(error);
        assert_eq!(
            describe_watch(&watch),
            "cannot start the watch: no answer from the API server: client error (Connect): connection refused"
        );
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let error = serde_json::from_str::<u8>("\"hunter2\"").unwrap_err();
        let line = describe(&kube::Error::SerdeError(error));
        assert_eq!(
            line,
            "the answer of the API server is not the expected JSON (Data error at line 1, column 9)"
        );
    }

    #[test]
    fn a_watch_that_the_api_server_ends_says_why() {
        let gone = Status {
            code: 410,
            reason: "Expired".into(),
            message: "too old resource version".into(),
            ..Status::default()
        };
        assert_eq!(
            describe_watch(&watcher::Error::WatchError(Box::new(gone))),
            "the API server ended the watch: 410 Expired: too old resource version"
        );
    }
}
