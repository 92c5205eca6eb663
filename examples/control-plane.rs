//! Runs the control plane of the tests for a demo, a script, or a person with `kubectl`.
//!
//! ```sh
//! tools/control-plane/build
//! cargo run --example control-plane -- --dir target/control-plane
//! ```
//!
//! With `--node` there is a node, too, on which Pods run. It needs Linux and root, and what `make test-node` builds.
//!
//! When it is ready it prints one line of JSON: where the kubeconfig, the API server, kubectl, the folder
//! and the audit log are, and the address of this machine that Pods reach. It runs until it is interrupted or its standard input is closed, so that a script
//! that starts it through a pipe cannot leave it behind.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use testkit::{
    control_plane::{ControlPlane, Options},
    node::Node,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Run a Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, without nodes.
#[derive(Parser)]
struct Arguments {
    /// Keep its state in this folder, and continue with the state that is there. The default is a
    /// temporary folder that is removed at the end.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Start a node, too. Its state is always temporary.
    #[arg(long, conflicts_with_all = ["dir", "api_server_flag"])]
    node: bool,
    /// An image for the node, and the whole name that it gets there; can be repeated.
    #[arg(long, value_name = "ARCHIVE=NAME", requires = "node")]
    image: Vec<String>,
    /// Do not stop when standard input is closed.
    #[arg(long)]
    ignore_stdin: bool,
    /// One more flag for kube-apiserver, after those it is always given; can be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    api_server_flag: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace, even if the environment asks for one: the message says what to do.
            let _ = writeln!(io::stderr(), "control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    // Before anything is started: a signal during the start must stop what has been started.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let closed = stdin_closed(arguments.ignore_stdin);
    let end = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = closed => {}
        }
    };
    tokio::pin!(end);

    if arguments.node {
        let node = tokio::select! {
            started = start_node(&arguments.image) => started?,
            () = &mut end => return Ok(()),
        };
        announce(&node.plane, Some(&node))?;
        end.await;
        return Ok(());
    }
    let options =
        Options { dir: arguments.dir, api_server_flags: arguments.api_server_flag, ..Options::default() };
    let plane = tokio::select! {
        started = ControlPlane::start(options) => started?,
        () = &mut end => return Ok(()),
    };
    announce(&plane, None)?;
    end.await;
    plane.stop().await
}

async fn start_node(images: &[String]) -> Result<Node> {
    let node = Node::start().await?;
    for image in images {
        let (archive, name) = image.split_once('=').context("--image needs ARCHIVE=NAME")?;
        for imported in node.import(Path::new(archive)).await? {
            node.tag(&imported, name).await?;
        }
    }
    Ok(node)
}

fn announce(plane: &ControlPlane, node: Option<&Node>) -> Result<()> {
    let kubectl = plane.kubectl_command();
    let line = serde_json::json!({
        "address": node.map(Node::address),
        "kubeconfig": plane.kubeconfig(),
        "url": plane.url(),
        "kubectl": PathBuf::from(kubectl.get_program()),
        "dir": plane.dir(),
        "audit": plane.audit_log(),
    });
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot print where the control plane is; is standard output closed?")
}

/// Ends when standard input does, or never.
async fn stdin_closed(ignore: bool) {
    if ignore {
        return std::future::pending().await;
    }
    let (sender, receiver) = oneshot::channel();
    // A thread of its own: a read of standard input cannot be cancelled, and the runtime would wait for
    // one of its threads when it ends.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
