//! The image on a real node: `config/default` as it is shipped, two Pods, and what happens to them in a cluster.
//!
//! `make test-node` builds what these tests need, and says when this machine cannot run them.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod credentials;
mod disruptions;
mod leftovers;
mod shipped;
mod site;
mod upgrade;
mod work;
