//! The operator under test: the real program, as a process of its own, with the rights that it has in a cluster.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};

use super::memory_limit::MemoryLimit;
use crate::control_plane::{ControlPlane, access::write_kubeconfig, process::Process};

/// Namespace and name of its service account, as `config/` has them.
pub const ACCOUNT: &str = "service-catalog";
/// The name by which the API server knows it.
pub const USER: &str = "system:serviceaccount:service-catalog:service-catalog";

/// Short delays, so that tests do not wait for what a cluster has time for, and brokers on this machine.
const FAST: [&str; 8] = [
    "--operation-retry-delay=50ms",
    "--operation-polling-delay=50ms",
    "--operation-polling-maximum-backoff-duration=1s",
    "--secret-recheck-interval=200ms",
    "--osb-api-request-timeout=2s",
    "--broker-minimum-relist-interval=100ms",
    // Brokers of namespaces, too, run on this machine. So does the API server.
    "--namespaced-broker-allowed-cidrs=127.0.0.1",
    // As the Deployment says it.
    "--cluster-id-configmap-namespace=service-catalog",
];

/// The lease of the one that leads, in the namespace of its account.
const LEASE: &str = "service-catalog-controller-manager";

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A port found free can be taken before the operator binds it.
const PORT_ATTEMPTS: u32 = 5;

/// The operator. It ends with the value, and with the test process, whatever ends that.
pub struct Operator {
    program: &'static str,
    plane: &'static ControlPlane,
    dir: PathBuf,
    flags: Vec<String>,
    running: Mutex<Running>,
    // Dropped last: a group goes only without processes.
    limit: Option<MemoryLimit>,
}

#[derive(Default)]
struct Running {
    process: Option<Process>,
    address: Option<SocketAddr>,
    starts: usize,
}

impl Operator {
    /// One that does not run yet. `flags` replace the short delays of the same name; those without dashes are variables
    /// of its environment.
    pub fn idle(program: &'static str, plane: &'static ControlPlane, flags: &[&str]) -> Self {
        Self::named(program, plane, "operator", flags)
    }

    /// Another one on the same control plane, that does not run yet.
    #[must_use]
    pub fn replica(&self, name: &str, flags: &[&str]) -> Self {
        Self::named(self.program, self.plane, name, flags)
    }

    fn named(program: &'static str, plane: &'static ControlPlane, name: &str, flags: &[&str]) -> Self {
        let name_of = |flag: &str| flag.split_once('=').map_or(flag, |(name, _)| name).to_owned();
        let is_given = |short: &&&str| flags.iter().any(|flag| name_of(flag) == name_of(short));
        let short = FAST.iter().filter(|short| !is_given(short));
        let flags = short.chain(flags).map(|&flag| flag.to_owned()).collect();
        Self { program, plane, dir: plane.dir().join(name), flags, running: Mutex::default(), limit: None }
    }

    /// Within a control group that has this limit of memory, in bytes, if this machine lets one be made. The kernel kills
    /// it when it needs more.
    #[must_use]
    pub fn within(self, limit: u64) -> Self {
        Self { limit: MemoryLimit::make(limit), ..self }
    }

    /// Starts an idle one, when `config/` is installed, and waits until it is ready.
    pub async fn begin(&self) -> Result<()> {
        self.begin_as(&self.plane.service_account(ACCOUNT, ACCOUNT).await?, self.plane.url()).await
    }

    /// The same with the rights of somebody else, and with an API server at this address.
    pub async fn begin_as(&self, user: &kube::Config, server: &str) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        write_kubeconfig(user, &self.dir.join("kubeconfig"))?;
        self.turn_to(server)?;
        self.launch().await
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.running().process.as_mut().context("the operator does not run")?.signal(name)
    }

    /// Waits until it has ended by itself, and says how.
    pub async fn ended(&self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let exited = self.running().process.as_mut().context("the operator does not run")?.exited()?;
            if let Some(status) = exited {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!(
                    "the operator has not ended within {PATIENCE:?}. The end of its log:\n{}",
                    self.log_tail()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills it, as a crash or the kernel does, and returns when it is gone.
    pub fn kill(&self) {
        if let Some(mut process) = self.running().process.take() {
            process.kill();
        }
    }

    /// Asks it to stop, as a kubelet does. Says whether it did so by itself.
    pub async fn stop(&self) -> Result<bool> {
        let process = self.running().process.take();
        match process {
            Some(mut process) => process.stop(PATIENCE).await,
            None => Ok(true),
        }
    }

    /// Kills it if it runs, starts it, and waits until it is ready. It need not wait for the end of the lease of the one
    /// that was killed.
    pub async fn restart(&self) -> Result<()> {
        self.kill();
        self.take_lease_away().await?;
        self.launch().await
    }

    /// Takes away the lease that one that was killed has left behind.
    pub async fn take_lease_away(&self) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.plane.admin_client()?, ACCOUNT);
        match leases.delete(LEASE, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(|_| ()).context("the lease cannot be deleted"),
        }
    }

    /// Whether it was started and not stopped since.
    pub fn was_started(&self) -> bool {
        self.running().process.is_some()
    }

    async fn launch(&self) -> Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let process = self.spawn(address)?;
            self.running().process = Some(process);
            if self.is_ready(address).await? {
                self.running().address = Some(address);
                return Ok(());
            }
        }
        bail!("the operator found its port in use, {PORT_ATTEMPTS} times in a row")
    }

    /// What its `/metrics` says.
    pub async fn metrics(&self) -> Result<String> {
        let address = self.running().address.context("the operator does not run")?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(client.get(format!("http://{address}/metrics")).send().await?.error_for_status()?.text().await?)
    }

    /// Whether its `/readyz` succeeds now.
    pub async fn is_ready_now(&self) -> Result<bool> {
        let address = self.running().address.context("the operator does not run")?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(client.get(format!("http://{address}/readyz")).send().await?.status().is_success())
    }

    /// Whether it leads, as its `/metrics` say.
    pub async fn leads(&self) -> Result<bool> {
        let metrics = self.metrics().await?;
        let status = format!("leader_election_master_status{{name=\"{LEASE}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&status));
        Ok(value.with_context(|| format!("no {status}in\n{metrics}"))? == "1")
    }

    /// From its next start on it finds the API server at this address.
    pub fn turn_to(&self, server: &str) -> Result<()> {
        let path = self.dir.join("kubeconfig");
        let lines = fs::read_to_string(&path)?;
        let is_server = |line: &str| line.trim_start().starts_with("server:");
        let turned = |line: &str| {
            let (indent, _) = line.split_once("server:").unwrap_or_default();
            if is_server(line) { format!("{indent}server: {server}\n") } else { format!("{line}\n") }
        };
        anyhow::ensure!(lines.lines().any(is_server), "no server in the kubeconfig for {}", self.plane.url());
        Ok(fs::write(&path, lines.lines().map(turned).collect::<String>())?)
    }

    /// The most memory that it has had since it was last started, in MiB.
    pub fn peak_memory(&self) -> Result<usize> {
        let address = self.running().address.context("the operator does not run")?;
        let listen = format!("--listen={address}");
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            // Others come and go meanwhile.
            let Ok(command) = fs::read_to_string(process.join("cmdline")) else { continue };
            let mut arguments = command.split('\0');
            if arguments.next() == Some(self.program) && arguments.any(|it| it == listen) {
                let status = fs::read_to_string(process.join("status"))?;
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).context("no peak")?;
                return Ok(kibibytes.trim().parse::<usize>()? / 1024);
            }
        }
        bail!("there is no process with {listen}")
    }

    /// What it last wrote to its log.
    pub fn log_tail(&self) -> String {
        match &self.running().process {
            Some(process) => process.log_tail(),
            None => "(it does not run)".to_owned(),
        }
    }

    /// All that it has written to its logs since it was first started.
    pub fn logs(&self) -> Result<String> {
        let starts = self.running().starts;
        let logs: std::io::Result<Vec<String>> =
            (1..=starts).map(|start| fs::read_to_string(self.log_dir(start).join("operator.log"))).collect();
        Ok(logs?.concat())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn log_dir(&self, start: usize) -> PathBuf {
        self.dir.join(start.to_string())
    }

    fn spawn(&self, address: SocketAddr) -> Result<Process> {
        let start = {
            let mut running = self.running();
            running.starts += 1;
            running.starts
        };
        let dir = self.log_dir(start);
        fs::create_dir_all(&dir)?;
        // By `env`, which becomes the operator: nothing of whoever runs the tests is to decide how it behaves.
        let kubeconfig = format!("KUBECONFIG={}", self.dir.join("kubeconfig").display());
        let environment = ["-i".to_owned(), kubeconfig, "RUST_LOG=warn,service_catalog=debug".to_owned()];
        let (flags, variables): (Vec<_>, Vec<_>) =
            self.flags.iter().cloned().partition(|flag| flag.starts_with("--"));
        let enter = self.limit.as_ref().map(MemoryLimit::enter).unwrap_or_default();
        let program = [self.program.to_owned(), "run".to_owned()];
        let listen = format!("--listen={address}");
        let arguments: Vec<String> = environment
            .into_iter()
            .chain(variables)
            .chain(enter)
            .chain(program)
            .chain(flags)
            .chain([listen])
            .collect();
        Process::spawn("operator", Path::new("/usr/bin/env"), &arguments, &dir)
    }

    /// Waits for `/readyz`. Says `false` when somebody else has taken the port.
    async fn is_ready(&self, address: SocketAddr) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        let client = reqwest::Client::builder().no_proxy().build()?;
        loop {
            let exited = match &mut self.running().process {
                Some(process) => process.exited()?.map(|status| (status, process.log_tail())),
                None => bail!("the operator was killed before it was ready"),
            };
            if let Some((status, log)) = exited {
                if log.contains("cannot listen on") {
                    return Ok(false);
                }
                bail!("the operator ended with {status} before it was ready. The end of its log:\n{log}");
            }
            let answer = client.get(format!("http://{address}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status() == reqwest::StatusCode::OK) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                let log = self.log_tail();
                bail!("the operator was not ready within {PATIENCE:?}. The end of its log:\n{log}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
