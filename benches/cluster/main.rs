//! What the work of the operator costs beside few and beside many objects: `make bench`.
//!
//! One control plane, a broker that answers at once, and the release build of the operator as a process. The operator
//! takes turns with a *null writer* ([`null_writer`]), which does the two writes of a provision and nothing else. So
//! the ratio of the two says what everything else costs, on any machine. Each round is one burst of orders
//! ([`rounds`]). The rounds come in the order operator, null writer, null writer, operator, so that a machine that
//! becomes slower or faster does not favour one of them.
//!
//! The same is measured in a small cluster and in a larger one ([`Size`]). The report ([`report`]) compares both, and
//! says what grows.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench is no product code"
)]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small, and the results are rounded")]

mod broker;
mod burst;
mod null_writer;
mod plot;
mod process;
mod report;
mod rounds;
mod sample;
mod stand;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

use self::{report::Report, stand::Stand};

/// Measure the operator beside a null writer, in a small and in a larger cluster.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The instances of the larger cluster, and as many bindings.
    #[arg(long, default_value_t = 1_000)]
    objects: usize,
    /// The plans of the larger cluster.
    #[arg(long, default_value_t = 2_000)]
    plans: usize,
    /// The orders of one burst.
    #[arg(long, default_value_t = 1_000)]
    orders: usize,
    /// How often the four rounds are repeated.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// The folder for the results.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    #[allow(dead_code, reason = "cargo adds it to the command line")]
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run as the null writer. Its cluster is that of KUBECONFIG.
    NullWriter {
        /// An instance that the operator has provisioned.
        sample: PathBuf,
    },
}

/// What is in the cluster while a burst is measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Size {
    /// Instances that are ready, and as many bindings with their Secrets.
    pub objects: usize,
    /// Plans in the catalog of the broker.
    pub plans: usize,
}

/// The cluster that the larger one is compared with.
const SMALL: Size = Size { objects: 1_000, plans: 100 };

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::NullWriter { sample }) => null_writer::run(sample).await,
        None => measure(&arguments).await,
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let larger = Size { objects: arguments.objects, plans: arguments.plans };
    let small = Size { objects: SMALL.objects.min(larger.objects), plans: SMALL.plans.min(larger.plans) };
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let mut stand = Stand::start(out.canonicalize()?, small.plans).await?;
    let mut levels = Vec::new();
    for size in [Some(small), Some(larger).filter(|larger| *larger != small)].into_iter().flatten() {
        stand.grow_to(size).await?;
        levels.push(rounds::measure(&stand, size, arguments.orders, arguments.repeat).await?);
    }
    let report = Report { orders: arguments.orders, empty_mib: stand.empty_mib, levels };
    report.print();
    report.save(out)?;
    plot::draw(out)
}
