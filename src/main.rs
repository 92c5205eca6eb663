//! `service-catalog`: arguments to subcommand.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use service_catalog::{client, config::Config, generate, runtime, server, telemetry};

/// Order services from any Open Service Broker API broker with kubectl.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator against the cluster of the kubeconfig, or of the pod it runs in.
    Run {
        /// How log lines are written.
        #[arg(long, env, value_enum, default_value = "text")]
        log_format: telemetry::LogFormat,
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Print the admission policies as YAML.
    Policies,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run { log_format, config } => {
            telemetry::init(log_format)?;
            let threads = tokio::runtime::Runtime::new().context("cannot start threads")?;
            let ended = threads.block_on(run(&config));
            // Nothing is waited for: who leads no more is to end at once.
            threads.shutdown_background();
            ended
        }
        Command::Crds => print(generate::crds_yaml()?),
        Command::Policies => print(generate::admission_yaml()?),
    }
}

async fn run(config: &Config) -> anyhow::Result<()> {
    let listener = server::bind(config.listen).await?;
    runtime::run(client::connect().await?, config, listener, stop_signal()?).await
}

/// Ends on the signals that a container runtime and a terminal send.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop; finishing what is under way");
    })
}

fn print(files: Vec<(String, String)>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (_, text) in files {
        write!(out, "---\n{text}").context("cannot write to standard output")?;
    }
    Ok(())
}
