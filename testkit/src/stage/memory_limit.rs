//! A limit of memory as a container has it: a control group of the kernel. Making one takes rights that not every
//! machine gives.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

const ROOT: &str = "/sys/fs/cgroup";

/// How long an ended process may stay in its group.
const ATTEMPTS: usize = 50;

/// A control group with a limit of memory. It goes with the value.
pub(super) struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// `None`: this machine lets none be made.
    pub fn make(bytes: u64) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("service-catalog-test-{}-{number}", std::process::id());
        let versions =
            [(Path::new(ROOT).join("memory"), "memory.limit_in_bytes"), (ROOT.into(), "memory.max")];
        versions.into_iter().find_map(|(root, file)| {
            // Elsewhere a folder could be made that is no group.
            root.join("cgroup.procs").exists().then_some(())?;
            let folder = root.join(&name);
            fs::create_dir(&folder).ok()?;
            let limit = Self(folder);
            fs::write(limit.0.join(file), bytes.to_string()).ok()?;
            Some(limit)
        })
    }

    /// The beginning of a command that runs the rest of it in the group.
    pub fn enter(&self) -> Vec<String> {
        let script = r#"echo $$ > "$0" && exec "$@""#.to_owned();
        let processes = self.0.join("cgroup.procs").display().to_string();
        vec!["/bin/sh".to_owned(), "-c".to_owned(), script, processes]
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        for _ in 0..ATTEMPTS {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
