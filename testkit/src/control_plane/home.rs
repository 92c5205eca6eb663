//! The folder of a control plane: temporary and removed at the end, or the caller's and kept.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::process::Sweeper;

/// The folder, and what keeps it to one control plane at a time.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    admin_kubeconfig: PathBuf,
    audit_log: PathBuf,
    _keep: Keep,
}

/// What happens to the folder at the end. The values are only held, for what dropping them does.
#[derive(Debug)]
enum Keep {
    Removed { _folder: TempDir, _sweeper: Sweeper },
    Kept { _lock: File },
}

impl Home {
    /// Makes the folder, or takes possession of the one given.
    pub fn prepare(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new()
                .prefix("service-catalog-control-plane-")
                .tempdir()
                .context("cannot make a temporary folder; set TMPDIR to one that can be written to")?;
            let path = temporary.path().canonicalize()?;
            let sweeper = Sweeper::start(&path)?;
            return Ok(Self::at(path, Keep::Removed { _folder: temporary, _sweeper: sweeper }));
        };
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the folder {}; choose another --dir", dir.display()))?;
        let path = dir.canonicalize()?;
        let lock = File::create(path.join("lock"))
            .with_context(|| format!("cannot write into {}; choose another --dir", path.display()))?;
        // Two would share etcd's data: the second would hang until the first is gone.
        match lock.try_lock() {
            Ok(()) => Ok(Self::at(path, Keep::Kept { _lock: lock })),
            Err(TryLockError::WouldBlock) => {
                bail!("another control plane runs in {}; stop it or choose another folder", path.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    fn at(path: PathBuf, keep: Keep) -> Self {
        Self {
            admin_kubeconfig: path.join("admin.kubeconfig"),
            audit_log: path.join("audit.log"),
            path,
            _keep: keep,
        }
    }

    /// The folder, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The administrator's kubeconfig.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// The audit log.
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }
}

/// Writes a file that only its owner can read: it holds a key or a token.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    // An older file keeps the permissions it was made with, so it goes first.
    let _ = fs::remove_file(path);
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| {
            format!("cannot write {}; check that its folder exists and can be written to", path.display())
        })
}
