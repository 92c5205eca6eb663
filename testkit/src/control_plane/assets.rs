//! Where the four binaries are.
//!
//! The variables are those of envtest, so that whoever has its assets can use them: `KUBEBUILDER_ASSETS`
//! is a folder, `TEST_ASSET_KUBE_APISERVER` and its like replace one binary each. Without them, the
//! binaries are those of `tools/control-plane/build`. A binary that is missing is an error and never a
//! reason to skip: a skipped test looks like a passed one.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::repository;

/// The script that builds the binaries, and knows where it puts them.
const BUILD: &str = "tools/control-plane/build";

/// The four binaries, all present and executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

impl Assets {
    /// Finds the binaries without building anything.
    ///
    /// # Errors
    ///
    /// When one is missing; the error names all that are and says what to run.
    pub fn find() -> Result<Self> {
        Self::find_with(|variable| std::env::var_os(variable).filter(|value| !value.is_empty()), built)
    }

    fn find_with(
        variable: impl Fn(&str) -> Option<OsString>,
        built: impl Fn() -> Result<PathBuf>,
    ) -> Result<Self> {
        let given = variable("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let mut missing = Vec::new();
        let mut locate = |name: &str| -> Result<PathBuf> {
            let replacement = format!("TEST_ASSET_{}", name.replace('-', "_").to_uppercase());
            let (path, remedy) = if let Some(path) = variable(&replacement) {
                (PathBuf::from(path), format!("correct {replacement}"))
            } else if let Some(folder) = &given {
                let remedy = format!(
                    "set {replacement}, or unset KUBEBUILDER_ASSETS and run tools/control-plane/build"
                );
                (folder.join(name), remedy)
            } else {
                let remedy = "run tools/control-plane/build, which takes 5 to 10 minutes the first time";
                (built()?.join(name), remedy.to_owned())
            };
            if !is_executable(&path) {
                missing.push(format!("{} is no executable file: {remedy}", path.display()));
            }
            Ok(path)
        };
        let assets = Self {
            etcd: locate("etcd")?,
            kube_apiserver: locate("kube-apiserver")?,
            kube_controller_manager: locate("kube-controller-manager")?,
            kubectl: locate("kubectl")?,
        };
        if !missing.is_empty() {
            bail!("the test control plane cannot start:\n  {}", missing.join("\n  "));
        }
        Ok(assets)
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The folder the build script puts the binaries into, whether or not it has.
fn built() -> Result<PathBuf> {
    let output = Command::new(repository().join(BUILD))
        .arg("--print-path")
        // It would answer with that folder, and whoever asks here has already looked there.
        .env_remove("KUBEBUILDER_ASSETS")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {BUILD}; it needs bash, restore it from git if it is gone"))?;
    if !output.status.success() {
        bail!("{BUILD} --print-path failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let folder = String::from_utf8(output.stdout).context("the cache folder's path is not UTF-8")?;
    Ok(PathBuf::from(folder.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    #[test]
    fn the_built_ones_are_found_when_nothing_is_set() {
        let folder = folder_with(&NAMES);
        let assets = Assets::find_with(|_| None, || Ok(folder.path().to_owned())).unwrap();
        assert_eq!(assets.kubectl, folder.path().join("kubectl"));
    }

    #[test]
    fn a_given_folder_wins_and_nothing_asks_where_the_built_ones_are() {
        let folder = folder_with(&NAMES);
        let variable = |name: &str| (name == "KUBEBUILDER_ASSETS").then(|| folder.path().into());
        let assets = Assets::find_with(variable, || bail!("asked")).unwrap();
        assert_eq!(assets.etcd, folder.path().join("etcd"));
    }

    #[test]
    fn one_binary_can_be_replaced() {
        let folder = folder_with(&NAMES[..2]);
        let others = folder_with(&NAMES);
        let variable = |name: &str| match name {
            "KUBEBUILDER_ASSETS" => Some(folder.path().into()),
            "TEST_ASSET_KUBE_CONTROLLER_MANAGER" => {
                Some(others.path().join("kube-controller-manager").into())
            }
            "TEST_ASSET_KUBECTL" => Some(others.path().join("kubectl").into()),
            _ => None,
        };
        let assets = Assets::find_with(variable, || bail!("asked")).unwrap();
        assert_eq!(assets.kube_apiserver, folder.path().join("kube-apiserver"));
        assert_eq!(assets.kubectl, others.path().join("kubectl"));
    }

    #[test]
    fn the_error_names_all_that_are_missing_and_what_to_run() {
        let folder = folder_with(&NAMES[..2]);
        let error = Assets::find_with(|_| None, || Ok(folder.path().to_owned())).unwrap_err().to_string();
        assert!(error.contains("kube-controller-manager is no executable file"), "{error}");
        assert!(error.contains("kubectl is no executable file"), "{error}");
        assert!(!error.contains("etcd is no"), "{error}");
        assert!(error.contains("run tools/control-plane/build"), "{error}");
    }
}
