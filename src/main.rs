//! `service-catalog`: reads the command line and runs a subcommand.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use service_catalog::{admission, config::Config, generate, kube_api, runtime, server, telemetry};

/// The allocator of the system keeps what a burst has taken. This one gives it back after some seconds, and needs less
/// for many small objects.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Order services from any Open Service Broker API broker with kubectl.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator for the cluster of the kubeconfig, or of the pod that it runs in.
    Run(Box<Config>),
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Print the admission policies as YAML.
    Policies {
        /// The account that the operator runs under, as the API server names it in requests. The policies leave
        /// its writes alone.
        #[arg(long, env, default_value = admission::OPERATOR, value_name = "USER")]
        operator_account: String,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(config) => run(&config),
        Command::Crds => print(generate::crds_yaml()),
        Command::Policies { operator_account } => print(generate::admission_yaml(&operator_account)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::init(config.log_format)?;
    let threads = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let result = threads.block_on(operate(config));
    // What has not ended by now is not waited for.
    threads.shutdown_background();
    result
}

async fn operate(config: &Config) -> anyhow::Result<()> {
    let listener = server::bind(config.listen).await?;
    let (client, api_server) = kube_api::client::connect().await?;
    runtime::run(client, api_server, config, listener, stop_signal()?).await
}

/// Ends on SIGTERM, which a container runtime sends, and on SIGINT, which a terminal sends.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("received a stop signal; finishing the requests that are under way");
    })
}

/// Writes a fatal error as one line: to the log if there is one, so that a program can read it.
fn report(error: &anyhow::Error) {
    let line = kube_api::error::chain(error.as_ref());
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{line}");
    } else {
        // There is no other place to report that standard error is closed.
        let _ = writeln!(io::stderr(), "service-catalog: {line}");
    }
}

fn print(files: Result<Vec<(String, String)>, generate::GenerateError>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for (_, text) in files? {
        write!(out, "---\n{text}").context("cannot write to standard output")?;
    }
    Ok(())
}
