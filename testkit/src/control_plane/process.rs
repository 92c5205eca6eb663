//! Child processes that cannot outlive the process that started them.
//!
//! `PR_SET_PDEATHSIG` would be the kernel's way, but it needs `unsafe` here, exists on Linux only, and
//! fires when the *thread* that forked ends, which for a test harness is long before the process does.
//! Instead every server runs under a guard, a few lines of `sh` that read a pipe whose only writing end is
//! held by us: a line is the name of a signal to pass on, and the end of the pipe, which the kernel
//! brings about however we die, means to kill the server. The pipe is close-on-exec, so no other child
//! keeps it open.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Runs `"$@"` and exits with its status. `wait` returns first when the server ends by itself; the
/// reader is then killed at once, before the server's process number can be given to another process.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{
  while read -r signal; do kill -s "$signal" "$server"; done
  kill -s KILL "$server"
} <&3 3<&- 2>/dev/null &
reader=$!
exec 3<&- </dev/null
wait "$server"
status=$?
kill -s KILL "$reader" 2>/dev/null
exit "$status"
"#;

/// Runs `"$@"` when the pipe ends. The servers are killed by the same event and may still write
/// for a moment, hence the attempts.
const SWEEPER: &str = r#"
while read -r _; do :; done
attempts=0
until "$@" 2>/dev/null || [ "$attempts" -ge 50 ]; do
  attempts=$((attempts + 1))
  sleep 0.1
done
"#;

/// How much of a log an error shows.
const TAIL: u64 = 4000;

/// How long to wait for what SIGKILL has been sent to: only a stuck kernel takes longer.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// `sh` reading a pipe of ours.
#[derive(Debug)]
struct Shell {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Shell {
    /// A command that runs `script` in a process group of its own, so that neither a terminal's
    /// interrupt nor a signal to our group reaches it: it must live on to do its work.
    fn command(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).stdin(Stdio::piped()).process_group(0);
        command
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().context("cannot run /bin/sh, which guards the test control plane")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Closes the pipe and waits for the script to do what it does then.
    fn finish(&mut self) {
        self.pipe = None;
        let deadline = Instant::now() + KILL_DEADLINE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A server under its guard. Dropping kills it and waits.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    shell: Shell,
    log: PathBuf,
}

impl Process {
    /// Starts `program`, whose output goes into `<dir>/<name>.log`, and to standard error too if
    /// `KUBEBUILDER_ATTACH_CONTROL_PLANE_OUTPUT` says so.
    pub fn spawn(name: &'static str, program: &Path, arguments: &[String], dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Shell::command(GUARD);
        command.arg(program).args(arguments).current_dir(dir);
        if attached() {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            thread::spawn(move || copy(reader, file));
        } else {
            command.stdout(file.try_clone()?).stderr(file);
        }
        let shell = Shell::spawn(&mut command)?;
        Ok(Self { name, shell, log })
    }

    /// The server's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.shell.child.try_wait().with_context(|| format!("cannot tell whether {} is running", self.name))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("({} cannot be read: {error})", self.log.display()))
    }

    /// Kills it, without asking, and waits until it is gone.
    pub fn kill(&mut self) {
        self.shell.finish();
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        let pipe = self.shell.pipe.as_mut().with_context(|| format!("{} was killed", self.name))?;
        writeln!(pipe, "{name}").with_context(|| format!("{} has ended", self.name))
    }

    /// Asks it to stop, and kills it when it has not by then. Says whether it stopped by itself.
    pub async fn stop(&mut self, patience: Duration) -> Result<bool> {
        // A guard that is gone has taken its server with it; the wait below finds out.
        let _ = self.signal("TERM");
        let deadline = Instant::now() + patience;
        while self.exited()?.is_none() {
            if Instant::now() >= deadline {
                self.shell.finish();
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(true)
    }
}

/// Removes a folder, or what else is to go, when it is dropped or when this process is gone.
#[derive(Debug)]
pub struct Sweeper {
    _shell: Shell,
}

impl Sweeper {
    /// Starts watching, to remove a folder.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::with(&["rm".as_ref(), "-rf".as_ref(), "--".as_ref(), folder])
    }

    /// Starts watching, to run this command. It is run again when it has failed.
    pub fn with(command: &[&Path]) -> Result<Self> {
        // Not in the folder: a process whose current folder is removed is a trap for later changes.
        let mut shell = Shell::command(SWEEPER);
        Shell::spawn(shell.args(command).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()))
            .map(|shell| Self { _shell: shell })
    }
}

fn attached() -> bool {
    // The spellings of Go's strconv.ParseBool, which envtest uses.
    std::env::var("KUBEBUILDER_ATTACH_CONTROL_PLANE_OUTPUT")
        .is_ok_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

fn copy(mut from: impl io::Read, mut log: File) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let Some(chunk) = buffer.get(..count) else { return };
        // The log is what errors are made of; a closed standard error must not cost it.
        if log.write_all(chunk).is_err() {
            return;
        }
        let _ = io::stderr().write_all(chunk);
    }
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> (Process, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let process = Process::spawn("server", Path::new("/bin/sh"), &arguments, folder.path()).unwrap();
        (process, folder)
    }

    /// Waits for a first line in the log: the script has got so far.
    async fn said_something(process: &Process) {
        let deadline = Instant::now() + KILL_DEADLINE;
        while !process.log_tail().contains('\n') {
            assert!(Instant::now() < deadline, "the script has said nothing");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_by_itself_leaves_its_status_and_its_log() {
        let (mut process, _folder) = sh("echo out; echo err >&2; exit 3");
        let deadline = Instant::now() + KILL_DEADLINE;
        while process.exited().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it has not ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(process.exited().unwrap().unwrap().code(), Some(3));
        assert_eq!(process.log_tail(), "out\nerr\n");
    }

    #[tokio::test]
    async fn a_server_that_listens_is_asked_to_stop() {
        let (mut process, _folder) =
            sh("trap 'echo stopping; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        said_something(&process).await;
        assert!(process.stop(KILL_DEADLINE).await.unwrap());
        assert_eq!(process.log_tail(), "ready\nstopping\n");
        assert_eq!(process.exited().unwrap().unwrap().code(), Some(0));
    }

    #[tokio::test]
    async fn a_server_that_does_not_listen_is_killed() {
        let (mut process, _folder) = sh("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        said_something(&process).await;
        assert!(!process.stop(Duration::from_millis(50)).await.unwrap());
        // As a shell reports SIGKILL.
        assert_eq!(process.exited().unwrap().unwrap().code(), Some(128 + 9));
    }
}
