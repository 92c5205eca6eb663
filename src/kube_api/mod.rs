//! Access to the Kubernetes API server.
//!
//! * [`client`]: the client. `depth_limit`: a limit on the depth of the JSON that it reads.
//! * `request`: field manager, time limit, preconditions. [`error`]: errors, and one line of text for each.
//! * `owner`: the owner of an object. `secrets`: reads of single Secrets. [`cluster_id`]: the id of this cluster.

pub mod client;
pub mod cluster_id;
mod depth_limit;
pub mod error;
pub(crate) mod namespaces;
pub(crate) mod owner;
pub(crate) mod request;
pub(crate) mod secrets;

pub use error::Error;
