//! A process that is measured: its CPU time and its memory, as the kernel counts them.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

/// The clock ticks of a second in `/proc`. The kernel has always told user space this number.
const TICKS: f64 = 100.0;

/// A process is at rest if it has used less CPU than this in [`REST`].
const IDLE: Duration = Duration::from_millis(20);
const REST: Duration = Duration::from_secs(1);
/// How long it may take until a process is at rest.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running process. It is killed when the value is dropped.
pub struct Process {
    child: Child,
    pid: u32,
}

/// The memory of a process, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub now: f64,
    pub peak: f64,
}

impl Process {
    /// Starts a program with these arguments in an otherwise empty environment. Its output goes to a file.
    pub fn start(program: &Path, arguments: &[&str], kubeconfig: &Path, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let pid = child.id().context("the process has ended")?;
        Ok(Self { child, pid })
    }

    /// The CPU time that it has used, user and system.
    pub fn cpu(&self) -> Result<Duration> {
        let text = self.read("stat")?;
        // The name of the program, in parentheses, may have spaces.
        let fields = text.rsplit_once(')').context("no name in stat")?.1;
        let ticks: f64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }

    pub fn memory(&self) -> Result<Memory> {
        let text = self.read("status")?;
        let mebibytes = |field: &str| -> Result<f64> {
            let value = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
            Ok(value.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
        };
        Ok(Memory { now: mebibytes("VmRSS:")?, peak: mebibytes("VmHWM:")? })
    }

    /// Waits until it has nothing to do.
    pub async fn rest(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let before = self.cpu()?;
            tokio::time::sleep(REST).await;
            if self.cpu()?.saturating_sub(before) <= IDLE {
                return Ok(());
            }
        }
        bail!("the process still works after {PATIENCE:?}")
    }

    /// Asks it to stop, as a kubelet does, and waits until it has ended.
    pub async fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.pid.to_string()).status().await?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.context("the process does not stop")??;
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("the process has ended: no {path}; see its log"))
    }
}
