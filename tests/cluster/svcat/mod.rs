//! An unmodified `svcat` v0.3, request by request: every command that talks to the API, and what becomes of its requests.
//!
//! `completion`, `install plugin` and `version --client` are local; `version` asks Kubernetes for its own.

mod bindings;
mod catalog;
mod command;
mod go;
mod instances;
mod wire;
mod zero_values;

use super::{Case, cluster_wide, namespaced, unregistered};
