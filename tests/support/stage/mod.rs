//! A control plane with the product installed and the operator running, and what tests do there.
//!
//! Beside the rest of the test support, because it needs the operator's program, which only test binaries know.

#![allow(dead_code, reason = "each test binary uses only a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: a broken expectation has to end the test"
)]

pub mod case;
pub mod either;
pub mod install;
pub mod objects;
pub mod operator;
pub mod python_broker;
pub mod wait;

use tokio::sync::OnceCell;

use self::{install::install, operator::Operator};
use crate::support::control_plane::ControlPlane;

/// The installation for current versions of Kubernetes.
pub const WITH_POLICIES: &str = "config/default";
/// The one without mutating admission policies.
pub const WITHOUT_POLICIES: &str = "config/kubernetes-1.35";

/// What the tests of one binary share.
pub struct Stage {
    pub plane: &'static ControlPlane,
    pub operator: Operator,
}

impl Stage {
    /// The stage of this test binary. Whoever asks first says what is installed, so all of one binary ask for the same.
    ///
    /// # Panics
    /// When it cannot be set up: the message says why.
    pub async fn shared(folder: &str) -> &'static Self {
        Self::shared_with(&[folder], &["--context-annotations=example.com/*"]).await
    }

    /// The same with more than one folder, and with settings of its own.
    ///
    /// # Panics
    /// When it cannot be set up: the message says why.
    pub async fn shared_with(folders: &[&str], flags: &[&str]) -> &'static Self {
        static SHARED: OnceCell<Stage> = OnceCell::const_new();
        let start = || async {
            let plane = ControlPlane::shared().await?;
            for folder in folders {
                install(plane, folder).await?;
            }
            anyhow::Ok(Self { plane, operator: Operator::start(plane, flags).await? })
        };
        match SHARED.get_or_try_init(start).await {
            Ok(stage) => stage,
            Err(error) => panic!("the stage cannot be set up: {error:#}"),
        }
    }
}
