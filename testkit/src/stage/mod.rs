//! A control plane with the product installed and the operator running, and what tests do there.

pub mod case;
pub mod either;
pub mod install;
mod memory_limit;
pub mod objects;
pub mod operator;
mod policy;
pub mod python_broker;
pub mod wait;

use tokio::sync::OnceCell;

use self::{install::install, operator::Operator};
use crate::control_plane::{ControlPlane, Options};

/// The installation for current versions of Kubernetes.
pub const WITH_POLICIES: &str = "config/default";
/// The one without mutating admission policies.
pub const WITHOUT_POLICIES: &str = "config/kubernetes-1.35";

/// A control plane and the operator that runs there.
pub struct Stage {
    pub plane: &'static ControlPlane,
    pub operator: Operator,
}

/// What is installed for the tests of one binary, or of one module of it: a control plane of their own, which the first
/// of them starts.
pub struct Installation {
    program: &'static str,
    folders: &'static [&'static str],
    flags: &'static [&'static str],
    api_server_flags: &'static [&'static str],
    plane: OnceCell<ControlPlane>,
    stage: OnceCell<Stage>,
}

impl Installation {
    /// `program` is the operator: `env!("CARGO_BIN_EXE_service-catalog")`, which only test binaries know. `folders` are
    /// applied in this order. For `flags` see [`Operator::idle`].
    pub const fn new(
        program: &'static str,
        folders: &'static [&'static str],
        flags: &'static [&'static str],
    ) -> Self {
        Self::on_api_server(program, folders, flags, &[])
    }

    /// The same on an API server with more flags.
    pub const fn on_api_server(
        program: &'static str,
        folders: &'static [&'static str],
        flags: &'static [&'static str],
        api_server_flags: &'static [&'static str],
    ) -> Self {
        Self {
            program,
            folders,
            flags,
            api_server_flags,
            plane: OnceCell::const_new(),
            stage: OnceCell::const_new(),
        }
    }

    /// Installs and starts everything if no test has done so yet, and returns when the operator is ready.
    ///
    /// # Panics
    /// When that fails: the message says why.
    pub async fn stage(&'static self) -> &'static Stage {
        match self.stage.get_or_try_init(|| self.start()).await {
            Ok(stage) => stage,
            Err(error) => panic!("the stage cannot be set up: {error:#}"),
        }
    }

    async fn start(&'static self) -> anyhow::Result<Stage> {
        let api_server_flags = self.api_server_flags.iter().map(|&flag| flag.to_owned()).collect();
        let options = Options { api_server_flags, ..Options::default() };
        let plane = self.plane.get_or_try_init(|| ControlPlane::start(options)).await?;
        for folder in self.folders {
            install(plane, folder).await?;
        }
        let operator = Operator::idle(self.program, plane, self.flags);
        operator.begin().await?;
        Ok(Stage { plane, operator })
    }
}
