//! A real Kubernetes control plane for tests: etcd, kube-apiserver with RBAC and an audit log, and
//! kube-controller-manager, as child processes on loopback ports.
//!
//! One per test binary ([`ControlPlane::shared`]) and one namespace per test is the intended use: a
//! start costs seconds, a namespace costs milliseconds. There is no kubelet and no scheduler, so Pods
//! stay Pending; everything the API server and the listed controllers do is the real thing. For a node
//! see [`crate::node`].
//!
//! Nothing outlives the test. Dropping the value kills the processes and waits for them, and if the
//! test process dies without dropping anything, by a signal, an abort or a static never dropped, the
//! guards of [`process`] do the same.

pub mod access;
pub mod assets;
pub mod audit;
mod der;
mod home;
mod pki;
pub mod process;
mod servers;
pub(crate) mod timeouts;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use assets::Assets;
use home::Home;
use pki::Pki;
use process::Process;
use servers::Ports;
use timeouts::Timeouts;

pub use audit::AuditEvent;

/// How often readiness is asked for. Short, because it bounds what a start can waste.
const POLL: Duration = Duration::from_millis(50);

/// A port found free can be taken before the server binds it. Losing that race this often in a row
/// means that something else is wrong.
const PORT_ATTEMPTS: u32 = 5;

/// What can be asked of a control plane before it starts.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where its state goes and stays. Starting again there finds the same objects, with new ports
    /// and the same certificate authorities. Without it, a temporary folder that is removed at the
    /// end.
    pub dir: Option<PathBuf>,
    /// More kube-apiserver flags, after the launcher's own, for example `--feature-gates=…`.
    pub api_server_flags: Vec<String>,
    /// The address of this machine that a node can reach, if there is to be one. The API server listens
    /// there instead of on the loopback interface, and every controller runs.
    pub for_node: Option<Ipv4Addr>,
}

/// A running control plane. See the [module](self).
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: clients of a server before the server, the folder after all of them.
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
    home: Home,
    pki: Pki,
    url: String,
    kubectl: PathBuf,
    timeouts: Timeouts,
}

/// The error of an attempt whose port was taken by somebody else in the meantime. It is shown when that
/// has happened in all attempts.
#[derive(Debug, thiserror::Error)]
#[error(
    "{server} found its port in use, {PORT_ATTEMPTS} times in a row; see what listens on so many ports of \
     127.0.0.1. The end of its log:\n{log}"
)]
struct PortTaken {
    server: &'static str,
    log: String,
}

impl ControlPlane {
    /// Starts a control plane and returns when it is usable: the API server is ready and the
    /// controllers have made the `default` service account.
    ///
    /// # Errors
    ///
    /// When binaries are missing (the error says what to run), when a server exits or does not become
    /// ready in time (the error ends with the last lines of its log), or when `dir` is in use.
    pub async fn start(options: Options) -> Result<Self> {
        // Several tests of one process get here; all want the same provider, so the first may win.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let assets = Assets::find()?;
        let timeouts = Timeouts::from_environment()?;
        let home = Home::prepare(options.dir.as_deref())?;
        let address = options.for_node.unwrap_or(Ipv4Addr::LOCALHOST);
        let pki = Pki::load_or_create(&home.path().join("pki"), address)?;

        let mut attempt = 1;
        let started = loop {
            let ports = Ports::free(address)?;
            match servers::start(&assets, &home, &pki, ports, &options, timeouts.start).await {
                Err(error) if error.is::<PortTaken>() && attempt < PORT_ATTEMPTS => attempt += 1,
                other => break other?,
            }
        };
        Ok(Self {
            controller_manager: started.controller_manager,
            api_server: started.api_server,
            etcd: started.etcd,
            url: started.url,
            home,
            pki,
            kubectl: assets.kubectl,
            timeouts,
        })
    }

    /// The control plane all tests of this binary share, started by the first that asks.
    ///
    /// Statics are never dropped: the guards stop the processes and remove the folder when the test
    /// binary ends.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: tokio::sync::OnceCell<ControlPlane> = tokio::sync::OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(Options::default())).await
    }

    /// Stops the processes politely, so that what is in [`dir`](Self::dir) is complete.
    ///
    /// Dropping is faster and enough when the state is thrown away.
    ///
    /// # Errors
    ///
    /// When a process had to be killed because it did not stop in time. All are gone in either case.
    pub async fn stop(mut self) -> Result<()> {
        let mut stubborn = Vec::new();
        for process in [&mut self.controller_manager, &mut self.api_server, &mut self.etcd] {
            if !process.stop(self.timeouts.stop).await? {
                stubborn.push(process.name());
            }
        }
        if !stubborn.is_empty() {
            bail!(
                "{} did not stop within {:?} and had to be killed; raise {} if the machine is slow",
                stubborn.join(" and "),
                self.timeouts.stop,
                timeouts::STOP,
            );
        }
        Ok(())
    }

    /// The URL of the API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with everything of this control plane: logs (`*.log`), etcd's data, `pki`, the
    /// kubeconfig and the audit log.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// The kubeconfig of the administrator (group `system:masters`), with its certificates inline.
    pub fn kubeconfig(&self) -> &Path {
        self.home.admin_kubeconfig()
    }

    /// The audit log: one JSON object a line. [`audit`](Self::audit) reads it.
    pub fn audit_log(&self) -> &Path {
        self.home.audit_log()
    }
}

impl Ports {
    /// Three ports nobody listens on now. They are held together, so that they differ.
    fn free(api_server: Ipv4Addr) -> Result<Self> {
        let mut held = Vec::new();
        let mut port = |address: Ipv4Addr| -> Result<u16> {
            let listener = TcpListener::bind((address, 0)).with_context(|| {
                format!("cannot get a free port on {address}; is its interface up, and are ports left?")
            })?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        let local = Ipv4Addr::LOCALHOST;
        Ok(Self { etcd: port(local)?, etcd_peer: port(local)?, api_server: port(api_server)? })
    }
}

/// Asks until there is an answer. While there is none, a process that has exited ends the wait at once.
pub(crate) async fn wait_until<T, F>(
    what: &str,
    process: &mut Process,
    deadline: Instant,
    mut ask: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    loop {
        // Looked at before asking, so that an answer is never that of somebody else on the same port.
        if let Some(status) = process.exited()? {
            let tail = process.log_tail();
            if tail.contains("address already in use") {
                return Err(PortTaken { server: process.name(), log: tail }.into());
            }
            bail!("{} ended with {status} before {what}. The end of its log:\n{tail}", process.name());
        }
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            bail!(
                "gave up waiting: {what} did not happen in time (last answer: {error:#}). Raise {} if the \
                 machine is slow. The end of the log of {}:\n{}",
                timeouts::START,
                process.name(),
                process.log_tail(),
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    async fn ending_with(script: &str, patience: Duration) -> anyhow::Error {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let mut process = Process::spawn("server", Path::new("/bin/sh"), &arguments, folder.path()).unwrap();
        let deadline = Instant::now() + patience;
        let never = || async { Err::<(), _>(anyhow!("connection refused")) };
        wait_until("it was ready", &mut process, deadline, never).await.unwrap_err()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_port_taken_by_another_is_told_apart() {
        let script = "echo 'listen tcp 127.0.0.1:1: bind: address already in use' >&2; exit 1";
        assert!(ending_with(script, LONG).await.is::<PortTaken>());
    }

    #[tokio::test]
    async fn an_early_end_shows_the_log() {
        let error = ending_with("echo 'no such key' >&2; exit 7", LONG).await.to_string();
        assert!(error.contains("server ended with exit status: 7 before it was ready"), "{error}");
        assert!(error.contains("no such key"), "{error}");
    }

    #[tokio::test]
    async fn running_out_of_time_shows_the_log_and_the_last_answer() {
        let error = ending_with("echo thinking; exec sleep 1000", POLL * 4).await.to_string();
        assert!(error.contains("it was ready did not happen in time"), "{error}");
        assert!(error.contains("connection refused"), "{error}");
        assert!(error.contains("thinking"), "{error}");
        assert!(error.contains(timeouts::START), "{error}");
    }
}
