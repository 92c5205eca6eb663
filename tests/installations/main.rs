//! The operator where something is unlike the default: its settings, the admission policies, the definitions, what is
//! done on the way back to v0.3, and what comes back from a backup.
//!
//! Each module has a control plane of its own.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod early;
mod policies;
mod prevented;
mod restarted_pods;
mod restored;
mod settings;
mod unreadable;
mod watched_pods;
mod way_back;
mod without_policies;

const OPERATOR: &str = env!("CARGO_BIN_EXE_service-catalog");
