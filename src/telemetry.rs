//! Logs: one line for each event on standard error, as text or as JSON, filtered by `RUST_LOG`.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The format of a log line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Text, for people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// The filter if `RUST_LOG` is not set: the messages of the operator, and the warnings of its libraries. The
/// last module logs each failed request without its object. The operator logs these errors itself, with the
/// object.
pub(crate) const DEFAULT_FILTER: &str = "warn,service_catalog=info,kube_client::client::builder=off";

/// This filter always applies, also with `RUST_LOG`. When this library cannot read an answer of the API
/// server, it logs the whole answer as a warning, including a Secret or parameters. The operator logs the
/// error itself.
const NEVER: &str = "kube_client::client=error";

/// Starts the log.
///
/// # Errors
/// `RUST_LOG` is not a valid filter, or the log was started before.
pub fn init(format: LogFormat) -> anyhow::Result<()> {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV);
    let filter = filter(directives.as_deref().unwrap_or(DEFAULT_FILTER))
        .context("RUST_LOG is not a valid filter; write it as in warn,service_catalog=debug")?;
    let registry = tracing_subscriber::registry().with(filter);
    // Colours are for a terminal, not for files and log collectors.
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json()).try_init()?,
    }
    Ok(())
}

fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(directives)?.add_directive(NEVER.parse()?))
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled, subscriber::with_default};

    use super::*;

    // v0.3 Q6
    #[test]
    fn answers_of_the_api_server_are_never_written_out() {
        for directives in [
            DEFAULT_FILTER,
            "trace",
            "service_catalog=info,kube_client=trace",
            "kube_client::client=trace,service_catalog=info",
        ] {
            with_default(tracing_subscriber::registry().with(filter(directives).unwrap()), || {
                assert!(!enabled!(target: "kube_client::client", Level::WARN), "{directives}");
                assert!(enabled!(target: "kube_client::client", Level::ERROR), "{directives}");
                assert!(enabled!(target: "service_catalog::runtime", Level::INFO), "{directives}");
            });
        }
    }
}
