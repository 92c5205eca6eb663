//! Logs: one line an event on standard error, as text or as JSON, filtered by `RUST_LOG`.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How a log line is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What is told without `RUST_LOG`.
const DEFAULT: &str = "warn,service_catalog=info";

/// What is never told, whatever `RUST_LOG` says: an answer of the API server that cannot be read is written out by this
/// library as a warning, with the Secret or the parameters that it holds. The error itself is told by those who asked.
const NEVER: &str = "kube_client::client=error";

/// Starts logging. Without `RUST_LOG`, what the operator does is told, and of its libraries only what is wrong.
///
/// # Errors
/// `RUST_LOG` cannot be parsed, or logging was started already.
pub fn init(format: LogFormat) -> anyhow::Result<()> {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV);
    let registry = tracing_subscriber::registry().with(filter(directives.as_deref().unwrap_or(DEFAULT))?);
    // Colours are for people who watch, not for files and log collectors.
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

    #[test]
    fn answers_of_the_api_server_are_never_written_out() {
        for directives in [
            DEFAULT,
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
